"""Own order key to the venue's order id: a bounded hash table that forgets the oldest and never allocates."""

cimport cython
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset


@cython.final
cdef class KeyTable:
    """Own order key to order id, without allocation: two generations, of which the older is forgotten at once
    when the newer is full. At least the last 32768 keys are known.
    """

    def __cinit__(self):
        self.generations = <entry_t*>calloc(2 * TABLE_SIZE, sizeof(entry_t))
        if self.generations == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.generations)

    def insert(self, uint64_t key, bytes order_id not None):
        """Remembers an id of 32 bytes."""
        if len(order_id) != 32:
            raise ValueError(f"order_id: expected 32 bytes, got {len(order_id)}")
        self.insert_c(key, order_id)

    def find(self, uint64_t key):
        """The id, or None."""
        cdef const uint8_t* found = self.find_c(key)

        return None if found == NULL else <bytes>found[:32]

    cdef entry_t* _slot(self, int generation, uint64_t key) noexcept nogil:
        """The key's place, or the free one where it would go."""
        cdef:
            entry_t* table = self.generations + generation * TABLE_SIZE
            uint64_t i = (key * 0x9E3779B97F4A7C15ULL) >> 48

        while table[i].used and table[i].key != key:
            i = (i + 1) & (TABLE_SIZE - 1)
        return table + i

    cdef const uint8_t* find_c(self, uint64_t key) noexcept nogil:
        cdef:
            entry_t* entry = self._slot(self.current, key)

        if not entry.used:
            entry = self._slot(1 - self.current, key)
        return entry.order_id if entry.used else NULL

    cdef void insert_c(self, uint64_t key, const uint8_t* order_id) noexcept nogil:
        cdef entry_t* entry = self._slot(self.current, key)

        if not entry.used:
            if self.count == GENERATION_MAX:
                self.current = 1 - self.current
                memset(self.generations + self.current * TABLE_SIZE, 0, TABLE_SIZE * sizeof(entry_t))
                self.count = 0
                entry = self._slot(self.current, key)
            self.count += 1
        entry.used = True
        entry.key = key
        memcpy(entry.order_id, order_id, 32)
