/* Two native threads on one ring: nothing lost, repeated, reordered or torn, and room kept for the urgent.
 *
 *   ring_harness COUNT CAPACITY RESERVE SPIN_NS     exit 0 when every record arrived as it was sent
 *
 * Also loaded as a shared library by the bench, which needs a consumer that never touches the interpreter lock.
 * Built with -fsanitize=thread it must be silent; with -DRING_WEAKEN=1 or 2 as well it must not.
 */
#define _GNU_SOURCE
#include "ring_wait.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define WORDS (RING_RECORD_BYTES / 8)

typedef struct {
    ring_t *ring;
    int eventfd;
    uint64_t count;
    int64_t spin_ns;
    uint64_t wrong;
    uint64_t overrun; /* placements that entered the reserve */
} side_t;

static void fill(uint64_t *record, uint64_t sequence)
{
    for (int i = 0; i < WORDS; i++)
        record[i] = sequence * 0x9E3779B97F4A7C15u + (uint64_t)i;
}

static void *produce(void *argument)
{
    side_t *side = argument;
    ring_t *ring = side->ring;
    uint64_t record[8 * WORDS];

    for (uint64_t sent = 0; sent < side->count;) {
        const int urgent = sent % 7 == 0;
        uint64_t batch = sent % 3 ? 1 : 1 + sent % 5;

        if (batch > side->count - sent)
            batch = side->count - sent;
        if (batch > ring->capacity - ring->reserve)
            batch = 1;
        for (uint64_t i = 0; i < batch; i++)
            fill(record + i * WORDS, sent + i);
        while (!ring_push(ring, record, batch, urgent)) {
            if (ring_must_wake(ring))
                ring_signal(side->eventfd);
            ring_relax();
        }
        /* The consumer only makes room, so the count cannot have been smaller when the push was taken. */
        if (!urgent && ring_count(ring) > ring->capacity - ring->reserve)
            side->overrun++;
        sent += batch;
        if (sent % 5 == 0 && ring_must_wake(ring))
            ring_signal(side->eventfd);
    }
    if (ring_must_wake(ring))
        ring_signal(side->eventfd);
    return NULL;
}

static void *consume(void *argument)
{
    side_t *side = argument;
    uint64_t record[WORDS], expected[WORDS];

    for (uint64_t taken = 0; taken < side->count;) {
        if (!ring_pop(side->ring, record)) {
            ring_wait(side->ring, side->eventfd, side->spin_ns, 10000000000, -1);
            continue;
        }
        fill(expected, taken++);
        if (memcmp(record, expected, sizeof record))
            side->wrong++;
    }
    return NULL;
}

/* For the bench: takes `count` commands and notes how long each was on its way, by CLOCK_MONOTONIC: since it was due
 * (word 9 of a record, `decided_ns`) in latency_ns[0…count), and since it was pushed (word 10, 0 if not said) in the
 * `count` places behind. The mark goes up once the thread runs. */
void ring_harness_measure(ring_t *ring, int eventfd_, int64_t spin_ns, uint64_t count, int64_t *latency_ns,
                          volatile int64_t *mark)
{
    uint64_t record[WORDS];

    *mark = 1;
    for (uint64_t taken = 0; taken < count;) {
        if (!ring_pop(ring, record)) {
            if (ring_wait(ring, eventfd_, spin_ns, 5000000000, -1) == RING_WAIT_TIMEOUT)
                return;
            continue;
        }
        const int64_t now = ring_monotonic_ns();

        latency_ns[taken] = now - (int64_t)record[9];
        latency_ns[count + taken++] = now - (int64_t)record[10];
    }
}

/* For the bench: sends `count` records, one each `gap_ns` (0: as fast as they are taken); returns how long it took.
 * The time in a record is when it was due, so that a stall counts for everyone it delayed. */
int64_t ring_harness_send(ring_t *ring, int eventfd_, uint64_t count, int64_t gap_ns)
{
    uint64_t record[WORDS] = {0};
    const int64_t start = ring_monotonic_ns() + gap_ns;

    for (uint64_t sent = 0; sent < count; sent++) {
        int64_t due = start + (int64_t)sent * gap_ns;

        if (gap_ns)
            while (ring_monotonic_ns() < due)
                ring_relax();
        record[9] = (uint64_t)due;
        if (gap_ns)
            record[10] = (uint64_t)ring_monotonic_ns();
        while (!ring_push(ring, record, 1, 1))
            ring_relax();
        if ((gap_ns || sent % 64 == 63 || sent + 1 == count) && ring_must_wake(ring))
            ring_signal(eventfd_);
    }
    while (ring_count(ring))
        ring_relax();
    return ring_monotonic_ns() - start;
}

/* For the bench: takes `count` records and does nothing with them. */
void ring_harness_swallow(ring_t *ring, uint64_t count)
{
    uint64_t record[WORDS];

    while (count)
        count -= (uint64_t)ring_pop(ring, record);
}

int main(int argc, char **argv)
{
    pthread_t producer, consumer;
    ring_t *ring;
    uint64_t capacity, reserve, wrong;
    side_t in, out;

    if (argc != 5) {
        fprintf(stderr, "usage: %s COUNT CAPACITY RESERVE SPIN_NS\n", argv[0]);
        return 2;
    }
    capacity = strtoull(argv[2], NULL, 10);
    reserve = strtoull(argv[3], NULL, 10);
    ring = aligned_alloc(RING_ALIGNMENT, ring_bytes(capacity));
    if (!ring || capacity == 0 || capacity & (capacity - 1) || reserve >= capacity)
        return 2;
    memset(ring, 0, ring_bytes(capacity));
    ring_init(ring, capacity, reserve, UINT64_MAX - capacity / 2); /* the cursors wrap on the way */
    in = (side_t){ring, ring_eventfd(), strtoull(argv[1], NULL, 10), strtoll(argv[4], NULL, 10), 0, 0};
    out = in;
    pthread_create(&consumer, NULL, consume, &out);
    pthread_create(&producer, NULL, produce, &in);
    pthread_join(producer, NULL);
    pthread_join(consumer, NULL);
    wrong = out.wrong + in.overrun + (ring->head != ring->tail);
    printf("%llu records, %llu wrong, %llu into the reserve, %llu left\n", (unsigned long long)in.count,
           (unsigned long long)out.wrong, (unsigned long long)in.overrun, (unsigned long long)(ring->tail - ring->head));
    free(ring);
    return wrong != 0;
}
