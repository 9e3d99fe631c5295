"""What Up is worth by the market's own settlement rule, from prices of its underlying."""

from libc.stdint cimport int32_t, int64_t, uint64_t

from invmm._ext.records cimport event_t
from invmm._ext.solver cimport policy_input_t


cdef enum:
    RULE_UNKNOWN = 0
    RULE_POINT = 1              # last price at or before the end against last price at or before the start
    RULE_AVERAGE = 2            # averages over as long before the end and before the start
    RULE_CANDLE = 3             # last price before the end against first price from the start on

    STRIKE_UNKNOWN = 0
    STRIKE_TOLD = 1             # somebody said so
    STRIKE_OBSERVED = 2         # from the prices of its own window
    STRIKE_READ = 3             # from the settlement feed itself, at the start

    FAIR_KNOWN = 0              # why there is no value, or that there is one
    FAIR_NO_RULE = 1
    FAIR_NO_PRICE = 2
    FAIR_NO_STRIKE = 3
    FAIR_EARLY = 4              # nothing of the strike's window has passed: even odds, which says nothing
    FAIR_GAP = 5                # the average so far has a hole
    FAIR_STATES = 6

    POINTS = 256                # of a series that are kept, for its value a few seconds ago


cdef struct series_t:           # one feed's prices; times are seconds after the start of the window
    uint64_t n                  # accepted
    double first_s              # since then without a hole
    double last_s
    double last
    double area                 # integral from first_s to last_s, dollar seconds
    double[POINTS] at_s         # a ring
    double[POINTS] at_price
    double[POINTS] at_area
    uint64_t points
    double[3] mark              # the integral up to: opening average's begin, start, closing average's begin
    bint[3] marked
    double sampled_s            # of the variance
    double sampled
    double squares              # Σ squared log moves, fading
    double seconds              # Σ their time, fading


cdef struct fair_rule_t:
    int kind                    # RULE_*
    double average_s
    double length_s             # of the window
    double sigma                # before prices tell: of log price, per square root of a second
    double sigma_floor
    double sigma_cap
    double basis                # before readings tell: how far direct and settlement feed drift apart
    double move                 # a change of the value by so much deserves a new decision


cdef struct fair_t:             # one valuation
    int state                   # FAIR_*
    double up                   # probability
    double x                    # its log-odds
    double variance             # of x, by what is not known of volatility, basis and present price
    double age_s                # of the price


cdef class FairValue:
    cdef:
        fair_rule_t rule
        series_t direct
        series_t spot           # the settlement feed
        double basis            # of log price, spot over direct
        double basis_n          # readings behind it, fading
        double basis_squares
        double strike
        double strike_s         # READ: when
        bint strike_is_direct   # in prices of the direct feed
        int64_t start_ms
        readonly int strike_from        # STRIKE_*
        readonly uint64_t prices        # accepted
        readonly uint64_t refused       # late, repeated or absurd
        double shown            # value at the last decision
        fair_t value

    cdef bint told_c(self, const event_t* event, int64_t now_ns) noexcept nogil
    cdef void fill_c(self, policy_input_t* view, int64_t now_ns) noexcept nogil
    cdef void value_c(self, double now_s) noexcept nogil
    cdef bint push_c(self, series_t* series, double at_s, double price) noexcept nogil
    cdef void strike_c(
        self, const series_t* series, double before_s, double before, double at_s
    ) noexcept nogil
    cdef void basis_c(self, double at_s, double price) noexcept nogil
    cdef double past_c(self, int edge, double at_s, bint by_direct, double factor) noexcept nogil
    cdef double basis_variance_c(self) noexcept nogil
    cdef double sigma_c(self) noexcept nogil


cdef double up_c(double mean, double strike, double variance) noexcept nogil
cdef double left_c(int kind, double average_s, double tau_s) noexcept nogil
