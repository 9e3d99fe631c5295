/* Where a thread reads frames: one result for all markets of the thread, because a result lives for one frame only. What a
 * frame meant stays in its first cache lines, whichever market it was for; a book's own memory is all that grows with markets.
 */
#ifndef INVMM_SCRATCH_H
#define INVMM_SCRATCH_H

#include <stdlib.h>

#include "scan.h"

/* Of one frame: the levels it names, and those that its snapshots drop, which it may have named before itself. */
#define CHANGES_ROOM 120000

typedef struct { /* one level whose size changed */
    uint8_t token, side;
    int32_t price_e4;
    int64_t old_micro, new_micro;
} change_t;

typedef struct scratch {
    struct scratch *next;
    const void *thread; /* the address of its thread's `scratch_mine`, which no other living thread has */
    const void *owner; /* the books whose changes these are */
    int busy;          /* the parser is at work, which may run foreign code: nobody else comes in */
    scan_frame_t frame;
    change_t changes[CHANGES_ROOM + 1];
} scratch_t;

#ifdef __GLIBC__
#define SCRATCH_MODEL __attribute__((tls_model("initial-exec"))) /* one load; the loader keeps room for such a pointer */
#else
#define SCRATCH_MODEL
#endif

/* Called by the decoder alone: each compiled module that includes this has pointers of its own. */
static __thread scratch_t *scratch_mine SCRATCH_MODEL;
static scratch_t *scratch_all; /* never shortened: there are as many as threads that read frames at the same time */

/* A new one, or that of an ended thread in whose place this one lives. */
static __attribute__((noinline, cold)) scratch_t *scratch_new(void)
{
    scratch_t *found = __atomic_load_n(&scratch_all, __ATOMIC_ACQUIRE);
    while (found && found->thread != (const void *)&scratch_mine) found = found->next;
    if (found) {
        found->owner = NULL;
        found->busy = 0;
        return scratch_mine = found;
    }
    if (!(found = calloc(1, sizeof *found))) return NULL;
    found->thread = (const void *)&scratch_mine;
    found->next = __atomic_load_n(&scratch_all, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&scratch_all, &found->next, found, 1, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {}
    return scratch_mine = found;
}

/* The calling thread's scratch, made at its first call; NULL if there is no memory for it. */
INLINE scratch_t *scratch_of_thread(void)
{
    scratch_t *scratch = scratch_mine;
    return LIKELY(scratch != NULL) ? scratch : scratch_new();
}

#endif
