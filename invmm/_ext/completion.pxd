"""Completing a lead at the displayed price. Plain functions, no GIL."""

from invmm._ext.pairs_policy cimport pairs_counters_t, pairs_rule_t, side_t, take_t, terms_t
from invmm._ext.solver cimport policy_input_t


cdef void complete_c(
    const pairs_rule_t* rule, const terms_t* terms, const policy_input_t* view, side_t* sides,
    double variance, take_t* take, pairs_counters_t* counters,
) noexcept nogil
