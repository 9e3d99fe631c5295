"""Integer kernels of the inventory strategy, for the policies that call them."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from invmm._ext.compatible cimport MAX_LEVELS
from invmm._ext.solver cimport ladder_rule_t, policy_input_t, policy_output_t


cdef enum:
    ONE_E4 = 10_000             # one dollar as a price
    MIN_PRICE_E4 = 100          # no policy quotes below a cent


# One token of a decision in the making.
cdef struct half_t:
    int64_t held                # micro-shares with a known cost: what weighs in an average
    int64_t cost                # micro-dollars paid for them
    int64_t average             # micro-dollars per share, rounded up; 0 when nothing is held
    int64_t anchor              # micro-dollars: price of level 0 before any cap
    int32_t price               # best bid wanted, 1e-4 dollars; 0: none
    uint8_t reason              # why there is none
    int n
    int32_t prices[MAX_LEVELS]
    uint8_t levels[MAX_LEVELS]
    bint served[MAX_LEVELS]     # a live order stands at this price already
    int32_t highest_buy         # of possibly live own orders, 1e-4 dollars; 0: none
    int32_t lowest_sell         # ONE_E4: none


cdef inline int32_t floor_to_tick(int64_t price_micro, int32_t tick_e4) noexcept nogil:
    """Return the highest tick at or below a price in micro-dollars, in 1e-4 dollars; 0 if there is none."""
    if price_micro <= 0:
        return 0
    return <int32_t>(price_micro // (100 * <int64_t>tick_e4)) * tick_e4


cdef int check_view(const policy_input_t* view) noexcept nogil
cdef int32_t passive_limit(const policy_input_t* view, int token) noexcept nogil
cdef void note_orders(const policy_input_t* view, half_t* halves) noexcept nogil
cdef void emit_quotes(
    const ladder_rule_t* rule, const policy_input_t* view, half_t* halves, policy_output_t* out
) noexcept nogil
cdef void decide_integers(
    const ladder_rule_t* rule, const policy_input_t* view, policy_output_t* out
) noexcept nogil
