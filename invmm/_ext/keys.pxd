"""C interface of the native key. Only signing code holds a `KeyBuffer`."""

from libc.stdint cimport uint8_t, uint64_t

from invmm._ext.caps cimport SignerCaps


ctypedef int (*sign_recoverable_t)(
    const void* context, void* signature, const uint8_t* digest, const uint8_t* key,
    void* nonce, const void* data,
) noexcept nogil
ctypedef int (*serialize_compact_t)(
    const void* context, uint8_t* out, int* recovery, const void* signature
) noexcept nogil


cdef class KeyBuffer:           # owns the private key; every user of the key shares this one object
    cdef uint8_t* key           # 32 bytes in a page of their own, wiped by `close` or with the last user
    cdef int locked             # the page is kept out of swap
    cdef uint64_t closed
    cdef uint64_t signing       # threads inside `sign_c`
    cdef SignerCaps caps        # None: no caps; set at most once, so a reader needs no reference of its own
    cdef const void* context    # of libsecp256k1, blinded, never changed after construction
    cdef sign_recoverable_t sign_recoverable
    cdef serialize_compact_t serialize_compact
    cdef object keeper          # keeps the context alive

    cdef int load(self, object private_key) except -1
    cdef bytes account(self)
    cdef void close_c(self) noexcept nogil
    cdef int sign_c(self, const uint8_t* digest, uint8_t* signature) noexcept nogil
