"""Transactions that have closed and wait for the ends of their orders.

What is left of a closed transaction can only shrink what may be alive. It counts as committed, or as
reverted, when the last order that it cancelled is proven dead.
"""

from libc.stdint cimport uint64_t

from invmm._ext.registry cimport MAX_LIVE, Registry


cdef void endings_await_c(
    endings_t* endings, uint64_t key, uint64_t transaction, bint reverts
) noexcept nogil:
    """An order's end belongs to a transaction's outcome, unless an earlier one waits for it already."""
    cdef int i

    for i in range(endings.n):
        if endings.entries[i].key == key:
            return
    if endings.n < MAX_LIVE:
        endings.entries[endings.n].key = key
        endings.entries[endings.n].transaction = transaction
        endings.entries[endings.n].reverts = reverts
        endings.n += 1


cdef inline void count_c(endings_t* endings, bint reverts) noexcept nogil:
    if reverts:
        endings.reverted += 1
    else:
        endings.committed += 1


cdef void endings_close_c(endings_t* endings, uint64_t transaction, bint reverts) noexcept nogil:
    """A transaction has closed: counted at once if it waits for nothing."""
    cdef int i

    for i in range(endings.n):
        if endings.entries[i].transaction == transaction:
            endings.entries[i].reverts = reverts
            return
    count_c(endings, reverts)


cdef void endings_drain_c(endings_t* endings, Registry registry, uint64_t open_transaction) noexcept nogil:
    """Takes orders out that are proven dead; counts transactions of which it was the last one.

    `open_transaction` has not closed yet (0: none is open).
    """
    cdef:
        int i
        int k
        ending_t ended

    for i in range(endings.n - 1, -1, -1):
        if registry.find_c(endings.entries[i].key) != NULL:
            continue
        ended = endings.entries[i]
        endings.n -= 1
        endings.entries[i] = endings.entries[endings.n]
        if ended.transaction == open_transaction:
            continue
        for k in range(endings.n):
            if endings.entries[k].transaction == ended.transaction:
                endings.entries[k].reverts = endings.entries[k].reverts or ended.reverts
                break
        else:
            count_c(endings, ended.reverts)
