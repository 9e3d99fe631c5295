"""C interface of order signing. An executor builds an `OrderTemplate` per token once and then calls `build_c`
without the GIL.

A template holds no scratch state: several threads may call it at the same time, as long as none of them
changes `tick_e4` meanwhile.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from invmm._ext.keys cimport KeyBuffer
from invmm._ext.records cimport command_t


cdef struct piece_t:            # constant text of a body; its owner keeps the bytes object behind it
    const char* text
    size_t size


cdef struct sealed_t:           # an order as far as it is signed; type, expiration and post-only are not
    uint64_t salt
    int64_t maker
    int64_t taker
    int64_t timestamp_ms
    uint8_t[32] order_id
    uint8_t[32] struct_hash
    uint8_t[65] signature
    uint8_t side


cdef class OrderTemplate:
    cdef KeyBuffer keys
    cdef readonly str token_id
    cdef readonly str exchange
    cdef readonly uint64_t serial           # of templates in this process, from 1: no two have the same
    cdef readonly size_t body_capacity      # bytes that one body needs at most
    cdef public int32_t tick_e4
    cdef public int64_t min_size_micro      # 0: not checked here
    cdef public int64_t min_notional_micro  # 0: not checked here
    cdef public int64_t gtd_lead_s          # 0: not checked here
    cdef bint wrapped                       # signature type 3
    cdef uint8_t[384] words                 # ABI encoding of the order, the changing words are zero
    cdef uint8_t[66] digest_input           # 0x1901, domain separator, struct hash
    cdef uint8_t[224] wallet_words          # ABI encoding of the ERC-7739 wrapper, type 3
    cdef list texts                         # owns what the pieces point at
    cdef piece_t middle                     # from the salt's end to the maker amount
    cdef piece_t after_expiration
    cdef piece_t after_timestamp
    cdef piece_t before_contents            # hex around the struct hash of a wrapped signature
    cdef piece_t after_contents
    cdef piece_t after_signature

    cdef int hold(self, uint8_t* place, bytes content, Py_ssize_t size) except -1
    cdef piece_t piece(self, str text) except *
    cdef int check_c(self, const command_t* command, int64_t timestamp_ms) noexcept nogil
    cdef int admit_c(
        self, const command_t* command, int64_t timestamp_ms, int64_t* maker, int64_t* taker
    ) noexcept nogil
    cdef int seal_c(
        self, const command_t* command, int64_t maker, int64_t taker, int64_t timestamp_ms, sealed_t* sealed,
        bint ahead,
    ) noexcept nogil
    cdef int render_c(
        self, const command_t* command, const sealed_t* sealed, char* body, size_t capacity
    ) noexcept nogil
    cdef int build_c(
        self, const command_t* command, int64_t timestamp_ms, uint8_t* order_id, char* body, size_t capacity
    ) noexcept nogil
    cdef int build_any_c(
        self, const command_t* command, int64_t timestamp_ms, uint8_t* order_id, char* body, size_t capacity,
        bint ahead,
    ) noexcept nogil
    cdef int release_c(self, const command_t* command, int64_t time_ms) noexcept nogil


cdef int check_terms(const command_t* command, int64_t timestamp_ms) noexcept nogil
