"""Fair value in log-odds. Plain functions, no GIL."""

from libc.stdint cimport int64_t

from invmm._ext.solver cimport policy_input_t
from invmm._ext.trend cimport follow_t, trend_t


cdef bint fair_logit_c(
    const policy_input_t* view, int64_t max_age_ns, trend_t* trend, follow_t* follow, double* x
) noexcept nogil
