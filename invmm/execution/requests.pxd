"""Signed HTTP requests, written into one piece of memory."""

from libc.stdint cimport int64_t

from invmm._ext.l2 cimport L2Signer
from invmm._ext.records cimport command_t


cdef enum:
    HEAD_ROOM = 2048                # of a request, before its body
    BODY_ROOM = 128 * 1024


cdef class RequestWriter:
    cdef L2Signer signer
    cdef object clock
    cdef bytes host_lines           # header lines that every request has
    cdef const char* host_text      # their text
    cdef char* buffer               # HEAD_ROOM, then the body
    cdef char* body                 # BODY_ROOM bytes
    cdef size_t start               # of the request in `buffer`
    cdef size_t size                # of the request

    cdef int64_t send_c(self, int fd) noexcept nogil
    cdef bint compose_c(
        self, const char* method, const char* path, size_t body_size, int64_t unix_s
    ) noexcept nogil
    cdef bint cancels_c(self, const command_t* legs, size_t count, int64_t unix_s) noexcept nogil
    cdef void rehearse_c(self, size_t body_size) noexcept nogil
