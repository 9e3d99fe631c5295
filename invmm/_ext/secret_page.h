/* A page of memory for one secret: alone in its page, kept out of swap and of core dumps where the system allows it.
 *
 * Locking is best effort: a process may lock only so much (RLIMIT_MEMLOCK), and a secret that cannot be locked is
 * still alone and still wiped. The caller wipes before `secret_page_free`.
 */
#ifndef INVMM_SECRET_PAGE_H
#define INVMM_SECRET_PAGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* One zeroed page, or NULL. `*locked` says whether it is kept out of swap. */
static inline uint8_t *secret_page_new(int *locked)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        return NULL;
    *locked = mlock(page, size) == 0;
#ifdef MADV_DONTDUMP
    (void)madvise(page, size, MADV_DONTDUMP);
#endif
    return (uint8_t *)page;
}

static inline void secret_page_free(uint8_t *page)
{
    (void)munmap(page, (size_t)sysconf(_SC_PAGESIZE));
}

#endif
