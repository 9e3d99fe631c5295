/* Single-producer single-consumer ring of 128-byte records, without locks.
 *
 *   line pair 0   capacity, reserve          written once
 *   line pair 1   tail, cached head, woken   written by the producer
 *   line pair 2   head, cached tail          written by the consumer
 *   line pair 3   parked                     exchanged by both, rarely
 *   slots         capacity × 128 bytes
 *
 * Cursors count records since the start and never wrap in practice (they may: all arithmetic is modulo 2^64); a
 * slot's index is cursor & mask. Each side keeps the last value it saw of the other side's cursor and looks again
 * only when that value says "full" or "empty", so that in steady flow a record costs each side one shared line.
 *
 * Order: the producer writes the slot, then stores tail with release; the consumer loads tail with acquire, then
 * reads the slot. The consumer stores head with release after its copy; the producer loads it with acquire before it
 * writes that slot again. Nothing stronger is needed.
 *
 * Parking needs "publish, then look whether the other sleeps" against "say that I sleep, then look whether something
 * was published". Both sides exchange the same word, so one of the two exchanges comes second, and being an acquire it
 * sees what the other side released: no wake-up is lost, and no fence is needed (which thread sanitizers do not model).
 *
 * Line pairs (128 bytes) and not lines, because the adjacent-line prefetcher moves two lines at a time.
 *
 * RING_WEAKEN exists for the tests alone: 1 publishes tail relaxed, 2 frees slots relaxed. A sanitizer that does not
 * report such a build is not watching.
 */
#ifndef INVMM_RING_H
#define INVMM_RING_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "atomics.h"

#define RING_RECORD_BYTES 128
#define RING_ALIGNMENT 128

#if defined(RING_WEAKEN) && RING_WEAKEN == 1
#define RING_STORE_TAIL atomic_store_relaxed
#else
#define RING_STORE_TAIL atomic_store_release
#endif
#if defined(RING_WEAKEN) && RING_WEAKEN == 2
#define RING_STORE_HEAD atomic_store_relaxed
#else
#define RING_STORE_HEAD atomic_store_release
#endif

typedef struct {
    uint64_t capacity;
    uint64_t mask;
    uint64_t reserve; /* slots that only urgent records may take */
    unsigned char end_fixed[RING_ALIGNMENT - 3 * sizeof(uint64_t)];

    uint64_t tail;        /* next slot to write */
    uint64_t cached_head; /* head as last seen by the producer */
    uint64_t woken;       /* tail at the last wake-up: nothing new, nobody to wake */
    uint64_t refused;     /* pushes that found no room */
    unsigned char end_producer[RING_ALIGNMENT - 4 * sizeof(uint64_t)];

    uint64_t head;        /* next slot to read */
    uint64_t cached_tail; /* tail as last seen by the consumer */
    unsigned char end_consumer[RING_ALIGNMENT - 2 * sizeof(uint64_t)];

    uint64_t parked; /* 1 while the consumer sleeps or is about to */
    unsigned char end_parking[RING_ALIGNMENT - sizeof(uint64_t)];
} ring_t;

static inline size_t ring_bytes(uint64_t capacity)
{
    return sizeof(ring_t) + (size_t)capacity * RING_RECORD_BYTES;
}

static inline unsigned char *ring_slot(ring_t *ring, uint64_t cursor)
{
    return (unsigned char *)(ring + 1) + (size_t)(cursor & ring->mask) * RING_RECORD_BYTES;
}

/* `memory` is ring_bytes(capacity) zeroed bytes on a RING_ALIGNMENT boundary; capacity a power of two above reserve.
 * `first` is where the cursors start (0, or near 2^64 to test the wrap). */
static inline void ring_init(ring_t *ring, uint64_t capacity, uint64_t reserve, uint64_t first)
{
    ring->capacity = capacity;
    ring->mask = capacity - 1;
    ring->reserve = reserve;
    ring->tail = ring->cached_head = ring->woken = first;
    ring->head = ring->cached_tail = first;
}

/* Producer: free slots that such a record may take. Looks at the real head only when the known one promises fewer
 * than `wanted`, so the answer may be smaller than the truth only if it is at least `wanted`. */
static inline uint64_t ring_room(ring_t *ring, uint64_t wanted, int urgent)
{
    const uint64_t limit = ring->capacity - (urgent ? 0 : ring->reserve);
    uint64_t used = ring->tail - ring->cached_head;

    if (used + wanted > limit) {
        ring->cached_head = atomic_load_acquire(&ring->head);
        used = ring->tail - ring->cached_head;
    }
    return used < limit ? limit - used : 0;
}

/* Producer: all `count` records or none, visible to the consumer at once. */
static inline int ring_push(ring_t *ring, const void *records, uint64_t count, int urgent)
{
    const uint64_t tail = ring->tail;
    uint64_t i;

    if (ring_room(ring, count, urgent) < count) {
        atomic_store_relaxed(&ring->refused, ring->refused + 1);
        return 0;
    }
    for (i = 0; i < count; i++)
        memcpy(ring_slot(ring, tail + i), (const unsigned char *)records + i * RING_RECORD_BYTES, RING_RECORD_BYTES);
    RING_STORE_TAIL(&ring->tail, tail + count);
    return 1;
}

/* Consumer: whether a record waits. */
static inline int ring_ready(ring_t *ring)
{
    if (ring->cached_tail != ring->head)
        return 1;
    ring->cached_tail = atomic_load_acquire(&ring->tail);
    return ring->cached_tail != ring->head;
}

/* Consumer: the oldest record where it lies, NULL when there is none; good until the next pop. */
static inline const void *ring_front(ring_t *ring)
{
    return ring_ready(ring) ? ring_slot(ring, ring->head) : NULL;
}

/* Consumer: copies the oldest record out; 0 when there is none. */
static inline int ring_pop(ring_t *ring, void *record)
{
    const uint64_t head = ring->head;

    if (!ring_ready(ring))
        return 0;
    memcpy(record, ring_slot(ring, head), RING_RECORD_BYTES);
    RING_STORE_HEAD(&ring->head, head + 1);
    return 1;
}

/* Producer, after the last push of a step: 1 when the consumer sleeps and must be woken, which is the caller's to do. */
static inline int ring_must_wake(ring_t *ring)
{
    if (ring->woken == ring->tail)
        return 0;
    ring->woken = ring->tail;
    return atomic_swap(&ring->parked, 0) != 0;
}

/* Consumer, before it sleeps: 1 when it may; 0 when a record came in between. */
static inline int ring_park(ring_t *ring)
{
    atomic_swap(&ring->parked, 1);
    if (!ring_ready(ring))
        return 1;
    atomic_swap(&ring->parked, 0);
    return 0;
}

/* Consumer, awake again. */
static inline void ring_unpark(ring_t *ring)
{
    atomic_swap(&ring->parked, 0);
}

/* Any thread: records inside, a moment ago. */
static inline uint64_t ring_count(const ring_t *ring)
{
    const uint64_t head = atomic_load_acquire(&ring->head);
    const uint64_t count = atomic_load_acquire(&ring->tail) - head;

    return count < ring->capacity ? count : ring->capacity;
}

#endif
