"""How far fair value moves against own fills: the session's estimate, and one market's fills on their way."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from invmm._ext.decay cimport decay_t
from invmm._ext.solver cimport policy_input_t
from invmm._ext.trend cimport follow_t, trend_t


cdef enum:
    TIMED = 3                   # horizons of time; one more is the market's end
    HORIZONS = 4
    MAX_PENDING = 64
    MAX_SAMPLES = 32


cdef struct sums_t:             # over fills: distance d behind the best bid, move y against us, dollars
    double n
    double d
    double dd
    double y
    double dy
    double yy


cdef struct pending_t:
    int64_t at_ms
    double fair                 # of the token, before the fill
    double distance             # by how much it was behind the best bid, dollars
    uint8_t token
    uint8_t done                # horizons that were measured


cdef class Markouts:
    cdef:
        readonly double prior       # dollars per share
        readonly double prior_sd
        readonly double prior_slope
        readonly double prior_slope_sd
        sums_t[HORIZONS] seen
        double[HORIZONS] base       # what is believed: base + slope * distance
        double[HORIZONS] slope
        uint64_t fits               # how often any of this was estimated
        int worst                   # horizon that is charged
        follow_t trend              # what books do after a rise
        decay_t fills               # how they become rarer with the distance
    cdef void fit_c(self, int horizon) noexcept nogil
    cdef void observe_c(self, int horizon, double distance, double move) noexcept nogil


cdef struct watch_t:            # of one market
    pending_t[MAX_PENDING] pending
    int n_pending
    uint64_t dropped            # fills for which there was no room
    int64_t[MAX_SAMPLES] sample_ms
    double[MAX_SAMPLES] sample  # fair value of Up, a ring
    int32_t[MAX_SAMPLES][2] best_e4     # best bids then
    uint64_t n_samples
    double[2] fills             # per token, for the end
    double[2] fair_sum
    double[2] distance_sum
    double variance             # of fair value, dollars² per second
    int64_t moved_ms
    double moved_from
    trend_t trend
    int64_t rested_ms           # until then what rests was counted


cdef void watch_fair_c(
    watch_t* watch, Markouts markouts, double fair, const policy_input_t* view
) noexcept nogil
cdef void watch_fill_c(
    watch_t* watch, Markouts markouts, int token, int32_t price_e4, double orders
) noexcept nogil
cdef void watch_end_c(watch_t* watch, Markouts markouts, int winner) noexcept nogil


cdef inline double adverse_at(Markouts markouts, double distance) noexcept nogil:
    """What a bid so far behind the best is charged, dollars per share."""
    return markouts.base[markouts.worst] + markouts.slope[markouts.worst] * max(distance, 0.0)
