"""Own order key to order id, for the executor's intake."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef enum:
    GENERATION_MAX = 1 << 15        # keys in one generation
    TABLE_SIZE = 1 << 16            # slots of one: at most half full
    TABLE_WORDS = TABLE_SIZE // 64


cdef struct entry_t:
    uint64_t key
    uint8_t[32] order_id


cdef class KeyTable:
    """Own order key to order id, at least the last GENERATION_MAX of them."""
    cdef uint64_t[2][TABLE_WORDS] used      # which slots of each generation are, a bit each
    cdef entry_t* generations       # two tables of TABLE_SIZE
    cdef int current
    cdef uint32_t count             # in the current one

    cdef const uint8_t* find_c(self, uint64_t key) noexcept nogil       # NULL if it is not there
    cdef void insert_c(self, uint64_t key, const uint8_t* order_id) noexcept nogil
    cdef bint is_used(self, int generation, uint64_t slot) noexcept nogil
    cdef uint64_t slot(self, int generation, uint64_t key) noexcept nogil
