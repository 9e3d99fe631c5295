"""Own order key to order id, for the executor's intake."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef enum:
    GENERATION_MAX = 1 << 15        # keys in one generation
    TABLE_SIZE = 1 << 16            # slots of one: at most half full


cdef struct entry_t:
    uint64_t key
    uint8_t[32] order_id
    bint used


cdef class KeyTable:
    """Own order key to order id, at least the last GENERATION_MAX of them."""
    cdef entry_t* generations       # two tables of TABLE_SIZE
    cdef int current
    cdef uint32_t count             # in the current one

    cdef const uint8_t* find_c(self, uint64_t key) noexcept nogil       # NULL if it is not there
    cdef void insert_c(self, uint64_t key, const uint8_t* order_id) noexcept nogil
    cdef entry_t* _slot(self, int generation, uint64_t key) noexcept nogil
