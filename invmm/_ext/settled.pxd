"""What settlement says of a market. A plain function, no GIL."""

from libc.stdint cimport int64_t

from invmm._ext.records cimport event_t
from invmm._ext.registry cimport Registry


cdef bint settlement_told_c(Registry registry, const event_t* event, int64_t now_ns) noexcept nogil
