"""A policy that joins the best bids: the yardstick of a comparison."""

from libc.stdint cimport int64_t

from invmm._ext.quoting cimport half_t
from invmm._ext.solver cimport Policy, ladder_rule_t, policy_input_t, policy_output_t


cdef class JoinTouchPolicy(Policy):
    cdef ladder_rule_t rule
    cdef int decide_c(self, const policy_input_t* view, policy_output_t* out) noexcept nogil
    cdef void price_c(
        self, const policy_input_t* view, int token, int64_t ahead, int64_t base, half_t* half
    ) noexcept nogil
