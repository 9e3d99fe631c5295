"""The policy's view of one market, filled from its books and registry. Plain functions, no GIL."""

from libc.stdint cimport int64_t

from invmm._ext.decode cimport MarketBooks
from invmm._ext.desk cimport limits_t
from invmm._ext.registry cimport Registry
from invmm._ext.solver cimport policy_input_t


cdef void view_tops_c(policy_input_t* view, MarketBooks books) noexcept nogil
cdef void view_fill_c(
    policy_input_t* view, Registry registry, MarketBooks books, const limits_t* limits, int64_t end_ms,
    int64_t now_ns,
) noexcept nogil
