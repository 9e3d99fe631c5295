"""The data guards of one market: what must be true of its books before anything is quoted on them."""

from libc.stdint cimport int64_t, uint8_t

from invmm._ext.decode cimport MarketBooks
from invmm._ext.desk cimport limits_t
from invmm._ext.records cimport event_t


cdef struct guards_t:
    int64_t[2] vouched_ns       # a witness had this token's book at that time, engine clock
    int64_t[2] disputed_ns      # a witness had another book, 0: none; until the next snapshot
    int64_t unconfirmed_ns      # since when a snapshot waits for a second source, 0: none does
    int64_t missing_ns          # since when a token has no snapshot, 0: both have one
    int64_t crossed_ns          # since when a book is crossed, 0: none is
    int64_t unlike_ns           # since when books contradict the message or each other, 0: they do not
    int64_t clock_ns            # venue clock minus engine clock, as measured
    uint8_t held                # Reason told from outside, 0: none
    uint8_t resync              # Reason why fresh snapshots are wanted, 0: they are not


cdef uint8_t guards_check_c(
    guards_t* guards, const limits_t* limits, MarketBooks books, int64_t now_ns
) noexcept nogil
cdef bint guards_told_c(guards_t* guards, MarketBooks books, const event_t* event) noexcept nogil
cdef void guards_reset_c(guards_t* guards) noexcept nogil
