"""The private key in native memory: its address, signatures over digests, and nothing else.

Takes a key as text or bytes without making another Python object of it, gives the address and 65-byte
signatures. Signing is libsecp256k1 by the function addresses that coincurve's library object shows, so it
needs no GIL. The buffer is a page of its own, out of swap and core dumps where the system allows it; it is
wiped by `close_c`, or when the last object that uses the key is gone. No message of this module contains what
was given as a key.
"""

from coincurve._libsecp256k1 import ffi as _ffi
from coincurve._libsecp256k1 import lib as _lib
from coincurve.context import Context

cimport cython
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint8_t, uint64_t, uintptr_t
from libc.string cimport memcpy

from invmm._ext.amounts cimport RULE_CLOSED, RULE_SIGNING
from invmm._ext.atomics cimport atomic_add, atomic_load_acquire, atomic_swap
from invmm._ext.eip712 cimport keccak


cdef extern from "sha256.h" nogil:
    void invmm_wipe(void* memory, size_t size) noexcept


cdef extern from "secret_page.h" nogil:
    uint8_t* secret_page_new(int* locked) noexcept
    void secret_page_free(uint8_t* page) noexcept


cdef enum:
    KEY_SIZE = 32


cdef uintptr_t address_of(str function) except 0:
    return int(_ffi.cast("uintptr_t", _ffi.addressof(_lib, function)))


cdef inline int digit_of(char c) noexcept:
    if 48 <= c <= 57:
        return c - 48
    if 97 <= c <= 102:
        return c - 87
    if 65 <= c <= 70:
        return c - 55
    return -1


@cython.final
cdef class KeyBuffer:
    """Native memory of one private key. Not for use from Python: it shows nothing and cannot be copied."""

    def __cinit__(self):
        self.key = secret_page_new(&self.locked)
        if self.key == NULL:
            raise MemoryError
        # An own context: signing only reads it, while the library's shared one may be blinded anew by other
        # code.
        self.keeper = Context()
        self.context = <const void*><uintptr_t>int(_ffi.cast("uintptr_t", self.keeper.ctx))
        self.sign_recoverable = <sign_recoverable_t>address_of("secp256k1_ecdsa_sign_recoverable")
        self.serialize_compact = <serialize_compact_t>address_of(
            "secp256k1_ecdsa_recoverable_signature_serialize_compact"
        )

    def __dealloc__(self):
        if self.key != NULL:
            invmm_wipe(self.key, KEY_SIZE)
            secret_page_free(self.key)

    def __reduce__(self):
        raise TypeError("KeyBuffer holds a private key: it cannot be pickled or copied")

    cdef int load(self, object private_key) except -1:
        """Fills the buffer from 32 bytes or hex text without making another Python object of the key."""
        cdef const char* text
        cdef Py_ssize_t size = 0, i
        cdef int high, low
        cdef const uint8_t[::1] view
        if isinstance(private_key, str):
            text = PyUnicode_AsUTF8AndSize(private_key, &size)
            if size == 66 and text[0] == 48 and (text[1] == 120 or text[1] == 88):
                text += 2
                size -= 2
            if size != 64:
                raise ValueError("private key: expected 32 bytes or 64 hex digits")
            for i in range(32):
                high = digit_of(text[2 * i])
                low = digit_of(text[2 * i + 1])
                if high < 0 or low < 0:
                    raise ValueError("private key: expected 32 bytes or 64 hex digits")
                self.key[i] = <uint8_t>(high << 4 | low)
        elif isinstance(private_key, (bytes, bytearray, memoryview)):
            if len(private_key) != 32:
                raise ValueError("private key: expected 32 bytes or 64 hex digits")
            view = private_key
            memcpy(self.key, &view[0], 32)
        else:
            raise TypeError(f"private key: expected str or bytes, found {type(private_key).__name__}")
        return 0

    cdef void close_c(self) noexcept nogil:
        """Wipes the key for good. Signatures that other threads are making are finished first: one made over
        a half-wiped key could give the key away.
        """
        atomic_swap(&self.closed, 1)
        while atomic_add(&self.signing, 0):
            pass
        invmm_wipe(self.key, KEY_SIZE)

    cdef bytes account(self):
        """The 20 bytes of the key's address."""
        key = _ffi.cast("unsigned char *", <uintptr_t>self.key)
        public = _ffi.new("secp256k1_pubkey *")
        if not _lib.secp256k1_ec_pubkey_create(self.keeper.ctx, public, key):
            raise ValueError("private key: expected a number of the curve, 1 up to the group order")
        out = _ffi.new("unsigned char [65]")
        size = _ffi.new("size_t *", 65)
        _lib.secp256k1_ec_pubkey_serialize(self.keeper.ctx, out, size, public, _lib.SECP256K1_EC_UNCOMPRESSED)
        return keccak(bytes(_ffi.buffer(out, 65))[1:])[12:]

    cdef int sign_c(self, const uint8_t* digest, uint8_t* signature) noexcept nogil:
        """65 bytes r, s, v (27 or 28) over a digest, nonce by RFC 6979, low s; 0, `RULE_SIGNING`, or
        `RULE_CLOSED` once the key was wiped.
        """
        cdef uint8_t[65] opaque
        cdef int recovery = 0, status = 0
        # Announced before `closed` is looked at, as `close_c` looks here after setting it: one of the two
        # sees the other.
        atomic_add(&self.signing, 1)
        if atomic_load_acquire(&self.closed):
            status = RULE_CLOSED
        elif not self.sign_recoverable(self.context, opaque, digest, self.key, NULL, NULL):
            status = RULE_SIGNING
        atomic_add(&self.signing, <uint64_t>-1)
        if status:
            return status
        self.serialize_compact(self.context, signature, &recovery, opaque)
        signature[64] = <uint8_t>(27 + recovery)
        return 0
