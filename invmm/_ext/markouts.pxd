"""How far fair value moves against own fills: the session's estimate, and one market's fills on their way."""

from libc.stdint cimport int64_t, uint8_t, uint64_t


cdef enum:
    TIMED = 3                   # horizons of time; one more is the market's end
    HORIZONS = 4
    MAX_PENDING = 64
    MAX_SAMPLES = 32


cdef struct moments_t:
    double n
    double mean                 # dollars per share
    double m2                   # sum of squared deviations


cdef struct pending_t:
    int64_t at_ms
    double fair                 # of the token, before the fill
    uint8_t token
    uint8_t done                # horizons that were measured


cdef class Markouts:
    cdef:
        readonly double prior       # dollars per share
        readonly double prior_sd
        moments_t[HORIZONS] seen
    cdef double adverse_c(self) noexcept nogil
    cdef double expected_c(self, int horizon) noexcept nogil


cdef struct watch_t:            # of one market
    pending_t[MAX_PENDING] pending
    int n_pending
    uint64_t dropped            # fills for which there was no room
    int64_t[MAX_SAMPLES] sample_ms
    double[MAX_SAMPLES] sample  # fair value of Up, a ring
    uint64_t n_samples
    double[2] fills             # per token, for the end
    double[2] fair_sum
    double variance             # of fair value, dollars² per second
    int64_t moved_ms
    double moved_from


cdef void watch_fair_c(watch_t* watch, Markouts markouts, double fair, int64_t now_ms) noexcept nogil
cdef void watch_fill_c(watch_t* watch, int token) noexcept nogil
cdef void watch_end_c(watch_t* watch, Markouts markouts, int winner) noexcept nogil
