"""Ordered access to shared 64-bit words; see atomics.h."""

from libc.stdint cimport uint64_t


cdef extern from "atomics.h" nogil:
    uint64_t atomic_load_acquire(const uint64_t *word) noexcept
    uint64_t atomic_load_relaxed(const uint64_t *word) noexcept
    void atomic_store_release(uint64_t *word, uint64_t value) noexcept
    void atomic_store_relaxed(uint64_t *word, uint64_t value) noexcept
    uint64_t atomic_swap(uint64_t *word, uint64_t value) noexcept
    uint64_t atomic_add(uint64_t *word, uint64_t value) noexcept
    bint atomic_replace(uint64_t *word, uint64_t expected, uint64_t value) noexcept
