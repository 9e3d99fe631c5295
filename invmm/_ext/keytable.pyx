"""Own order key to order id: a bounded hash table that forgets the oldest and never allocates.

Every order asks for what is not there, and puts it there. So which slots are used is told by bits
apart from the entries, few enough to stay in the caches, and the entries' pages are made at construction: the
first store to a page would cost as much as the rest of the gate.
"""

cimport cython
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset


@cython.final
cdef class KeyTable:
    """Own order key to order id, without allocation: two generations, of which the older is forgotten at once
    when the newer is full. At least the last 32768 keys are known.
    """

    def __cinit__(self):
        self.generations = <entry_t*>malloc(2 * TABLE_SIZE * sizeof(entry_t))
        if self.generations == NULL:
            raise MemoryError
        memset(self.generations, 0xFF, 2 * TABLE_SIZE * sizeof(entry_t))

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

    cdef bint is_used(self, int generation, uint64_t slot) noexcept nogil:
        return (self.used[generation][slot >> 6] >> (slot & 63)) & 1

    cdef uint64_t slot(self, int generation, uint64_t key) noexcept nogil:
        """The key's place, or the free one where it would go."""
        cdef:
            const entry_t* table = self.generations + generation * TABLE_SIZE
            uint64_t i = (key * 0x9E3779B97F4A7C15ULL) >> 48

        while self.is_used(generation, i) and table[i].key != key:
            i = (i + 1) & (TABLE_SIZE - 1)
        return i

    cdef const uint8_t* find_c(self, uint64_t key) noexcept nogil:
        cdef:
            int generation = self.current
            uint64_t i = self.slot(generation, key)

        if not self.is_used(generation, i):
            generation = 1 - generation
            i = self.slot(generation, key)
        return self.generations[generation * TABLE_SIZE + i].order_id if self.is_used(generation, i) else NULL

    cdef void insert_c(self, uint64_t key, const uint8_t* order_id) noexcept nogil:
        cdef:
            uint64_t i = self.slot(self.current, key)
            entry_t* entry

        if not self.is_used(self.current, i):
            if self.count == GENERATION_MAX:
                self.current = 1 - self.current
                memset(self.used[self.current], 0, sizeof(self.used[0]))
                self.count = 0
                i = self.slot(self.current, key)
            self.count += 1
            self.used[self.current][i >> 6] |= <uint64_t>1 << (i & 63)
        entry = self.generations + self.current * TABLE_SIZE + i
        entry.key = key
        memcpy(entry.order_id, order_id, 32)
