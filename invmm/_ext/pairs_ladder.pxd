"""One token's bids. Plain functions, no GIL."""

from libc.stdint cimport int32_t, uint8_t

from invmm._ext.pairs_policy cimport pairs_counters_t, pairs_rule_t, side_t, terms_t
from invmm._ext.solver cimport policy_input_t


cdef inline bint is_steep(const terms_t* terms) noexcept nogil:
    """Whether adverse selection grows about as fast as the distance: a lower bid earns no more."""
    return terms.slope > 0.9


cdef inline double dollars(int32_t price_e4) noexcept nogil:
    return price_e4 * 1e-4


cdef inline double fee_of(const terms_t* terms, double price) noexcept nogil:
    """What a taker pays per share, dollars."""
    return terms.fee * price * (1.0 - price)


cdef int ladder_c(
    const pairs_rule_t* rule, const terms_t* terms, const policy_input_t* view, int token, side_t* sides,
    uint8_t* ends, pairs_counters_t* counters,
) noexcept nogil
