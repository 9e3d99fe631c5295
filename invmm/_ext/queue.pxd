"""Shares ahead of one own resting order, estimated from public data. Plain functions on a struct, no GIL."""

cimport cython
from libc.stdint cimport int64_t


cdef enum:
    QUEUE_CONSERVATIVE = 0      # cancels come from behind us whenever they can
    QUEUE_PROPORTIONAL = 1      # cancels are spread evenly over the level
    MEET_MS = 250               # a print comes within this time of its decrease (33-39 ms were captured)

    QUEUE_POWER = 2             # values above 1: share of the front ~ front^n / (front^n + back^n)


cdef struct queue_t:
    int64_t ahead_micro         # the estimate
    int64_t joined_micro        # the estimate when the order was acknowledged
    int64_t settle_ms           # venue time up to which level increases may still be ahead of us
    int64_t unseen_trade_micro  # trades whose level decrease has not been seen yet
    int64_t credited_micro      # level decreases not yet explained by a trade ...
    int64_t credited_ahead_micro    # ... and how much of the estimate they took
    int64_t credited_ms         # venue time of the last of them
    int64_t batch_ms            # venue time of the last decrease ...
    int64_t batch_taken_micro   # ... and how much of the estimate that timestamp took
    int exponent                # QUEUE_*
    bint known                  # the order has been acknowledged
    bint settled                # the feed has passed settle_ms: until then it may still tell of shares ahead


cdef inline int64_t _least(int64_t a, int64_t b) noexcept nogil:
    return a if a < b else b


cdef void queue_join_c(queue_t* queue, int64_t level_micro, int64_t settle_ms, int exponent) noexcept nogil
cdef void queue_level_c(queue_t* queue, int64_t old_micro, int64_t new_micro, int64_t venue_ms) noexcept nogil
cdef void queue_trade_c(queue_t* queue, int64_t size_micro, int64_t venue_ms) noexcept nogil
cdef void queue_front_c(queue_t* queue) noexcept nogil


@cython.final
cdef class QueueEstimate:
    cdef queue_t queue
