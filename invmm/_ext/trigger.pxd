"""Does what changed since the last solve deserve another? Plain functions on a struct, no GIL."""

cimport cython
from libc.stdint cimport int32_t, int64_t


cdef struct trigger_t:
    int64_t size_change_ppm     # a best size counts when it moved by more than this since the last solve
    int64_t queue_change_ppm    # so does an estimate of shares ahead, by this share of its start
    int32_t bid_e4[2]           # at the last solve, per token
    int32_t ask_e4[2]
    int64_t bid_micro[2]
    int64_t ask_micro[2]
    bint armed                  # a solve has happened


cdef inline bint moved_c(int64_t before, int64_t now, int64_t base, int64_t limit_ppm) noexcept nogil:
    """Whether a size moved by more than limit_ppm of base. Sizes stay below 2^43, so the products fit."""
    cdef int64_t change = now - before if now > before else before - now

    if change >= 4000000000000LL:  # the product would not fit; nothing is that large and unmoved
        return 1
    return change * 1000000 > base * limit_ppm


cdef bint best_moved_c(
    const trigger_t* trigger, int token, int32_t bid_e4, int64_t bid_micro, int32_t ask_e4, int64_t ask_micro
) noexcept nogil
cdef void remember_best_c(
    trigger_t* trigger, int token, int32_t bid_e4, int64_t bid_micro, int32_t ask_e4, int64_t ask_micro
) noexcept nogil


@cython.final
cdef class Trigger:
    cdef trigger_t trigger
