"""Orders of all markets, signed into the body of a request."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from invmm._ext.ahead cimport SignedAhead
from invmm._ext.records cimport command_t
from invmm._ext.template cimport OrderTemplate


cdef class OrderSigning:
    cdef readonly uint32_t markets
    cdef void** places              # OrderTemplate of market × 2 + token, or NULL
    cdef dict templates             # keeps alive what `places` points at
    cdef list retired               # templates that were replaced; the executor thread lets them go
    cdef uint64_t rehearsing        # an OrderTemplate whose key signs in rehearsals, or 0
    cdef public SignedAhead ahead   # orders prepared while there is nothing to do; or None
    cdef int64_t ahead_after_ns     # CLOCK_MONOTONIC: when to look next whether one can be prepared

    cdef int sign_c(self, command_t* leg, int64_t unix_ms, char* at, size_t room, int* rule) noexcept nogil
    cdef int build_c(
        self, command_t* leg, uint32_t place, OrderTemplate template, int64_t unix_ms, char* at, size_t room
    ) noexcept nogil
    cdef void ahead_c(self, bint allowed, int64_t unix_ms) noexcept nogil
    cdef bint rehearse_signature_c(self) noexcept nogil
    cdef void rehearse_body_c(self, char* at, size_t room) noexcept nogil
