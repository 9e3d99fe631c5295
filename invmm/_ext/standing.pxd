"""A policy that wants what it was last told."""

from invmm._ext.solver cimport MAX_ACTIONS, Policy, action_t, policy_input_t, policy_output_t


cdef enum:
    MAX_STANDING = 48           # quotes of one target


cdef class StandingPolicy(Policy):
    cdef:
        action_t[MAX_STANDING] quotes
        int n_quotes
    cdef int decide_c(self, const policy_input_t* view, policy_output_t* out) noexcept nogil
