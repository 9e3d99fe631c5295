"""C interface of L2 request authentication. An `L2Signer` has no scratch state: threads may share it."""

from libc.stdint cimport int64_t


cdef extern from "sha256.h" nogil:
    ctypedef struct invmm_hmac_t:
        pass


cdef class L2Signer:
    cdef invmm_hmac_t* hmac                 # midstates of the secret, wiped
    cdef char* constant                     # the header lines that do not change, wiped
    cdef size_t constant_size
    cdef readonly str address
    cdef readonly size_t capacity           # bytes that the header lines need at most

    cdef int headers_c(
        self, const char* method, const char* path, const char* body, size_t size, int64_t timestamp_s,
        char* out, size_t capacity,
    ) noexcept nogil
