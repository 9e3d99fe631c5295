"""The fast protocol of inventory models: structs in, structs out, no Python object.

Another model is a Cython subclass of `FastModel` that overrides `ranges_c`; `ModelPolicy` quotes with it.
"""

from libc.stdint cimport int64_t


cdef enum:
    MODEL_OK = 0                # statuses of ranges_c; the others are Reasons for no quote
    MODEL_NO_RESULT = 111       # no opinion
    MODEL_ERROR = 112           # it failed
    MODEL_NONSENSE = 113        # a number is missing, not finite or negative
    MODEL_FALLBACK = 114        # it says itself that it failed

    MAX_BARS = 1024             # samples of a history


cdef struct bar_t:              # one sample: the price at its end, the extremes within it
    double price
    double high
    double low
    double open
    double close


cdef struct model_view_t:
    double amount0              # tokens held, in units of value: shares of Up
    double amount1              # shares of Down, in Up's price
    double spot                 # price of token 0 in token 1
    const bar_t* bars           # oldest first
    int n_bars                  # 0…MAX_BARS
    int64_t first_bar           # how many samples came before; -1: unknown, all may be new


cdef struct ranges_t:
    double range_a              # percent of the spot price
    double range_b
    double ratio                # share of token 0 in the whole value
    double target
    double deviation
    double volatility           # of a year


cdef class FastModel:
    cdef:
        readonly str name
        readonly double min_range   # percent: what its ranges are bounded by, to tell how often they are
        readonly double max_range
    cdef int ranges_c(self, const model_view_t* view, ranges_t* out) noexcept nogil
    cdef int checked_c(self, const model_view_t* view, ranges_t* out) noexcept nogil


cdef class FastAvellanedaStoikov(FastModel):
    cdef:
        double risk_aversion
        double target
        double base_spread
        double low
        double high
        int window
    cdef int ranges_c(self, const model_view_t* view, ranges_t* out) noexcept nogil
    cdef void widths_c(self, double skew, ranges_t* out) noexcept nogil


cdef class FastGLFT(FastAvellanedaStoikov):
    cdef:
        double execution_cost
        double inventory_penalty
        double terminal_penalty
    cdef void widths_c(self, double skew, ranges_t* out) noexcept nogil


cdef class FastSimple(FastModel):
    cdef:
        double base_range
        double sensitivity
        double target
        double low
        double high
    cdef int ranges_c(self, const model_view_t* view, ranges_t* out) noexcept nogil


cdef class FastMeanReversion(FastModel):
    cdef:
        double base_range
        double strength
        int lookback
    cdef int ranges_c(self, const model_view_t* view, ranges_t* out) noexcept nogil
