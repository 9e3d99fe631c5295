/* Counts calls of the C allocator while it is armed. Built by test_allocations.py, loaded with LD_PRELOAD.
 *
 * malloc_counter_armed  written by the test: 1 counts, 0 does not
 * malloc_counter_calls  calls of malloc, calloc, realloc, free and the aligned kinds while armed, all threads
 *
 * dlsym itself may call calloc before the real one is known; those few bytes come from a static arena.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

volatile int malloc_counter_armed = 0;
_Atomic uint64_t malloc_counter_calls = 0;

static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static void (*real_free)(void *);
static int (*real_posix_memalign)(void **, size_t, size_t);
static void *(*real_aligned_alloc)(size_t, size_t);

static _Alignas(16) char arena[16384];
static size_t arena_used;
static int resolving;

static void *from_arena(size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (arena_used + size > sizeof arena)
        return NULL;
    void *p = arena + arena_used;
    arena_used += size;
    return p;
}

static int is_arena(const void *p)
{
    return (const char *)p >= arena && (const char *)p < arena + sizeof arena;
}

static void resolve(void)
{
    resolving = 1;
    real_malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    real_calloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
    real_realloc = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
    real_free = (void (*)(void *))dlsym(RTLD_NEXT, "free");
    real_posix_memalign = (int (*)(void **, size_t, size_t))dlsym(RTLD_NEXT, "posix_memalign");
    real_aligned_alloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "aligned_alloc");
    resolving = 0;
}

static void count(void)
{
    if (malloc_counter_armed)
        atomic_fetch_add_explicit(&malloc_counter_calls, 1, memory_order_relaxed);
}

void *malloc(size_t size)
{
    count();
    if (!real_malloc) {
        if (resolving)
            return from_arena(size);
        resolve();
    }
    return real_malloc(size);
}

void *calloc(size_t number, size_t size)
{
    count();
    if (!real_calloc) {
        if (resolving)
            return from_arena(number * size); /* static memory, never reused: already zero */
        resolve();
    }
    return real_calloc(number, size);
}

void *realloc(void *old, size_t size)
{
    count();
    if (!real_realloc)
        resolve();
    if (is_arena(old)) {
        size_t kept = (size_t)(arena + sizeof arena - (char *)old);
        void *fresh = real_malloc(size);
        if (fresh)
            memcpy(fresh, old, size < kept ? size : kept);
        return fresh;
    }
    return real_realloc(old, size);
}

void free(void *p)
{
    if (!p || is_arena(p))
        return;
    count();
    if (!real_free)
        resolve();
    real_free(p);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    count();
    if (!real_posix_memalign)
        resolve();
    return real_posix_memalign ? real_posix_memalign(out, alignment, size) : ENOMEM;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    count();
    if (!real_aligned_alloc)
        resolve();
    return real_aligned_alloc ? real_aligned_alloc(alignment, size) : NULL;
}
