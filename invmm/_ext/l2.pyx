"""L2 request authentication: the five `POLY_*` header lines of a private REST call.

    signature = base64url(HMAC-SHA256(base64url-decoded secret, timestamp + method + path + body))

Takes the bytes that will be sent and unix seconds. The states of SHA-256 after the key's blocks are kept, so
a call costs the blocks of its message plus two. The secret is not kept; the kept states and the header text
are wiped at the end.
"""

from binascii import Error as Base64Error
from binascii import a2b_base64

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, strlen

from invmm._ext.amounts import OrderRuleError

from invmm._ext.amounts cimport RULE_CAPACITY, RULE_TIMESTAMP
from invmm._ext.wire cimport put, put_base64url, put_number


cdef extern from "sha256.h" nogil:
    void invmm_wipe(void* memory, size_t size) noexcept
    void invmm_hmac_key(invmm_hmac_t* hmac, const uint8_t* key, size_t size, int portable) noexcept
    void invmm_hmac_sign(
        const invmm_hmac_t* hmac, const uint8_t* head, size_t head_size,
        const uint8_t* body, size_t body_size, uint8_t* out,
    ) noexcept


cdef enum:
    HEAD_MAX = 512              # longest timestamp + method + path that is signed
    SIGNATURE_SIZE = 44         # base64 of 32 bytes
    NUMBER_MAX = 20


cdef bytes line_text(str name, object value):
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not value:
        raise ValueError(f"{name}: expected printable ASCII")
    return value.encode()


@cython.final
cdef class L2Signer:
    """Signs private REST requests with one set of API credentials.

    Parameters
    ----------
    api_key, secret, passphrase
        As the venue issued them; the secret in URL-safe or standard base64, with or without padding.
    address
        The account of the private key (not the wallet that pays), as it is to be sent.
    portable
        Do without the processor's SHA instructions; the result is the same.
    """

    def __cinit__(self, api_key, secret, passphrase, address, *, bint portable=False):
        cdef bytes key, text
        try:
            text = secret.replace("-", "+").replace("_", "/").rstrip("=").encode()
            key = a2b_base64(text + b"=" * (3 - (len(text) + 3) % 4), strict_mode=True)
        except (AttributeError, Base64Error, ValueError):
            key = b""
        if not key:
            raise ValueError("API secret: expected base64 text")
        self.address = line_text("address", address).decode()
        text = (b"POLY_ADDRESS: " + line_text("address", address)
                + b"\r\nPOLY_API_KEY: " + line_text("API key", api_key)
                + b"\r\nPOLY_PASSPHRASE: " + line_text("passphrase", passphrase)
                + b"\r\nPOLY_SIGNATURE: ")
        self.constant_size = PyBytes_GET_SIZE(text)
        self.hmac = <invmm_hmac_t*>calloc(1, sizeof(invmm_hmac_t))
        self.constant = <char*>calloc(1, self.constant_size)
        if self.hmac == NULL or self.constant == NULL:
            raise MemoryError
        memcpy(self.constant, PyBytes_AS_STRING(text), self.constant_size)
        invmm_hmac_key(self.hmac, <const uint8_t*>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), portable)
        self.capacity = self.constant_size + SIGNATURE_SIZE + 18 + NUMBER_MAX + 2

    def __dealloc__(self):
        if self.hmac != NULL:
            invmm_wipe(self.hmac, sizeof(invmm_hmac_t))
            free(self.hmac)
        if self.constant != NULL:
            invmm_wipe(self.constant, self.constant_size)
            free(self.constant)

    def __repr__(self):
        return f"L2Signer({self.address})"

    def __reduce__(self):
        raise TypeError("L2Signer holds API credentials: it cannot be pickled or copied")

    cdef int headers_c(
        self, const char* method, const char* path, const char* body, size_t size, int64_t timestamp_s,
        char* out, size_t capacity,
    ) noexcept nogil:
        """Writes the five header lines, each with its \\r\\n, for a request; their length, or a negative
        `RULE_*`.

        Parameters
        ----------
        method, path
            Zero-terminated; the method in upper case. What follows a "?" in the path is not signed, as the
            venue wants it.
        body, size
            The bytes that will be sent; NULL and 0 if there are none.
        timestamp_s
            Unix seconds.
        out, capacity
            At least `self.capacity` bytes.
        """
        cdef char[HEAD_MAX] head
        cdef uint8_t[32] digest
        cdef char* at
        cdef size_t method_size = strlen(method), path_size = 0
        if timestamp_s <= 0:
            return RULE_TIMESTAMP
        while path[path_size] != 0 and path[path_size] != 63:
            path_size += 1
        if capacity < self.capacity or method_size + path_size + NUMBER_MAX > HEAD_MAX:
            return RULE_CAPACITY
        at = put_number(head, <unsigned long long>timestamp_s)
        at = put(put(at, method, method_size), path, path_size)
        invmm_hmac_sign(self.hmac, <const uint8_t*>head, at - head, <const uint8_t*>body, size, digest)
        at = put_base64url(put(out, self.constant, self.constant_size), digest)
        at = put_number(put(at, b"\r\nPOLY_TIMESTAMP: ", 18), <unsigned long long>timestamp_s)
        return <int>(put(at, b"\r\n", 2) - out)

    def headers(self, str method not None, str path not None, bytes body not None, int64_t timestamp_s):
        """`headers_c` for callers with the GIL: the header lines as bytes, each ended by a line break.

        Raises
        ------
        OrderRuleError
            The timestamp is not positive, or the path is longer than 480 characters.
        """
        cdef bytes method_text = line_text("method", method), path_text = line_text("path", path)
        cdef int size
        cdef char* out = <char*>calloc(1, self.capacity)
        if out == NULL:
            raise MemoryError
        try:
            size = self.headers_c(
                PyBytes_AS_STRING(method_text), PyBytes_AS_STRING(path_text), PyBytes_AS_STRING(body),
                PyBytes_GET_SIZE(body), timestamp_s, out, self.capacity,
            )
            if size < 0:
                raise OrderRuleError(size, f"timestamp_s={timestamp_s}, path of {len(path)} characters")
            return out[:size]
        finally:
            invmm_wipe(out, self.capacity)
            free(out)
