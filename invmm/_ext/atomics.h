/* Ordered access to words shared by two threads, wherever they live (a numpy array, a struct).
 *
 * Compiler builtins and not <stdatomic.h>: the words belong to arrays that other code declared as plain integers,
 * and `_Atomic` would have to be cast on. On x86-64 the loads and stores are plain moves, the exchange one locked
 * instruction that is also a full barrier.
 */
#ifndef INVMM_ATOMICS_H
#define INVMM_ATOMICS_H

#include <stdint.h>

static inline uint64_t atomic_load_acquire(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline uint64_t atomic_load_relaxed(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline void atomic_store_release(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline void atomic_store_relaxed(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static inline uint64_t atomic_swap(uint64_t *word, uint64_t value)
{
    return __atomic_exchange_n(word, value, __ATOMIC_ACQ_REL);
}

/* The value before. Sequentially consistent: what follows is not begun before the sum is seen by all. */
static inline uint64_t atomic_add(uint64_t *word, uint64_t value)
{
    return __atomic_fetch_add(word, value, __ATOMIC_SEQ_CST);
}

/* Replaces `expected` by `value`; 0 if the word held something else. */
static inline int atomic_replace(uint64_t *word, uint64_t expected, uint64_t value)
{
    return __atomic_compare_exchange_n(word, &expected, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

#endif
