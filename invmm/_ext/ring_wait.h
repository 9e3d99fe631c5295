/* How the consumer of a ring waits: spin, spin then park, park. The ring itself (ring.h) knows nothing of this.
 *
 * The consumer parks in ppoll on the ring's eventfd and, if it has one, on another descriptor: an epoll set is itself
 * pollable, so sockets need not know about the ring, and looking never consumes what epoll has to say.
 */
#ifndef INVMM_RING_WAIT_H
#define INVMM_RING_WAIT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "ring.h"

#define RING_WAIT_TIMEOUT 0
#define RING_WAIT_RING 1
#define RING_WAIT_FD 2
#define RING_WAIT_SIGNAL 4

/* A round of looks at the tail takes about half a microsecond; a look at the descriptor is a system call of about as
 * much, so sixteen rounds apart it costs a few percent of the looks and answers within ten microseconds. */
#define RING_LOOKS_PER_ROUND 16
#define RING_ROUNDS_PER_POLL 16

static inline void ring_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb");
#endif
}

static inline int64_t ring_monotonic_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int ring_eventfd(void)
{
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static inline void ring_signal(int eventfd_)
{
    const uint64_t one = 1;

    while (write(eventfd_, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

static inline void ring_drain_signal(int eventfd_)
{
    uint64_t count;

    while (read(eventfd_, &count, sizeof count) < 0 && errno == EINTR) {
    }
}

static inline int ring_poll_fd(int fd)
{
    struct pollfd look = {fd, POLLIN, 0};

    return fd >= 0 && poll(&look, 1, 0) > 0;
}

/* Consumer: waits at most timeout_ns (below 0: for ever), the first spin_ns of it spinning (below 0: all of it).
 * `fd` is the other descriptor, or -1. Returns RING_WAIT_RING and/or RING_WAIT_FD, or RING_WAIT_TIMEOUT, or
 * RING_WAIT_SIGNAL when a signal handler interrupted the sleep. A ring that is never empty hides the descriptor:
 * the caller looks at it now and then by itself. */
static inline int ring_wait(ring_t *ring, int eventfd_, int64_t spin_ns, int64_t timeout_ns, int fd)
{
    const int64_t start = ring_monotonic_ns();
    int64_t elapsed = 0;
    unsigned int round, look;

    if (ring_ready(ring))
        return RING_WAIT_RING;
    for (round = 1; spin_ns < 0 || elapsed < spin_ns; round++) {
        for (look = 0; look < RING_LOOKS_PER_ROUND; look++) {
            if (ring_ready(ring))
                return RING_WAIT_RING;
            ring_relax();
        }
        if (round % RING_ROUNDS_PER_POLL == 0 && ring_poll_fd(fd))
            return RING_WAIT_FD;
        elapsed = ring_monotonic_ns() - start;
        if (timeout_ns >= 0 && elapsed >= timeout_ns)
            break;
    }
    for (;;) {
        struct pollfd looks[2] = {{eventfd_, POLLIN, 0}, {fd, POLLIN, 0}};
        struct timespec left = {0, 0};
        int woken, seen = 0;

        if (timeout_ns >= 0 && elapsed < timeout_ns) {
            left.tv_sec = (timeout_ns - elapsed) / 1000000000;
            left.tv_nsec = (timeout_ns - elapsed) % 1000000000;
        }
        if (!ring_park(ring))
            return RING_WAIT_RING;
        woken = ppoll(looks, fd >= 0 ? 2 : 1, timeout_ns < 0 ? NULL : &left, NULL);
        seen = woken < 0 ? errno : 0;
        ring_unpark(ring);
        if (woken > 0 && looks[0].revents)
            ring_drain_signal(eventfd_);
        if (seen == EINTR && !ring_ready(ring))
            return RING_WAIT_SIGNAL;
        seen = (ring_ready(ring) ? RING_WAIT_RING : 0) | (woken > 0 && fd >= 0 && looks[1].revents ? RING_WAIT_FD : 0);
        elapsed = ring_monotonic_ns() - start;
        if (seen || (timeout_ns >= 0 && elapsed >= timeout_ns))
            return seen;
    }
}

#endif
