"""Transactions that have closed and wait for the ends of their orders. Plain struct and functions, no GIL."""

from libc.stdint cimport uint64_t

from invmm._ext.registry cimport MAX_LIVE, Registry


cdef struct ending_t:           # an order whose end belongs to the outcome of a transaction
    uint64_t key
    uint64_t transaction
    bint reverts


cdef struct endings_t:
    ending_t[MAX_LIVE] entries
    int n
    uint64_t committed          # transactions whose every target is proven
    uint64_t reverted           # … whose every new order is proven dead


cdef void endings_await_c(endings_t* endings, uint64_t key, uint64_t transaction, bint reverts) noexcept nogil
cdef void endings_close_c(endings_t* endings, uint64_t transaction, bint reverts) noexcept nogil
cdef void endings_drain_c(endings_t* endings, Registry registry, uint64_t open_transaction) noexcept nogil
