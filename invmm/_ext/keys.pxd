"""C interface of the native key. Only signing code holds a `KeyBuffer`."""

from libc.stdint cimport uint8_t


ctypedef int (*sign_recoverable_t)(
    const void* context, void* signature, const uint8_t* digest, const uint8_t* key,
    void* nonce, const void* data,
) noexcept nogil
ctypedef int (*serialize_compact_t)(
    const void* context, uint8_t* out, int* recovery, const void* signature
) noexcept nogil


cdef class KeyBuffer:           # owns the private key; every user of the key shares this one object
    cdef uint8_t* key           # 32 bytes, wiped when the last user is gone
    cdef const void* context    # of libsecp256k1, blinded, never changed after construction
    cdef sign_recoverable_t sign_recoverable
    cdef serialize_compact_t serialize_compact
    cdef object keeper          # keeps the context alive

    cdef int load(self, object private_key) except -1
    cdef bytes account(self)
    cdef int sign_c(self, const uint8_t* digest, uint8_t* signature) noexcept nogil
