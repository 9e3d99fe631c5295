"""Integer kernels of the inventory strategy, for the policy that calls them."""

from invmm._ext.solver cimport ladder_rule_t, policy_input_t, policy_output_t


cdef int check_view(const policy_input_t* view) noexcept nogil
cdef void decide_integers(
    const ladder_rule_t* rule, const policy_input_t* view, policy_output_t* out
) noexcept nogil
