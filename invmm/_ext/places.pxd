"""Queue places of all own orders of a market. Functions on its registry and books, no GIL."""

from libc.stdint cimport int64_t

from invmm._ext.decode cimport MarketBooks
from invmm._ext.records cimport event_t
from invmm._ext.evidence cimport order_t
from invmm._ext.registry cimport Registry


cdef struct own_fills_t:        # own fills not yet seen in a print, by the side hit in Up terms
    int64_t[2] micro
    int64_t[2] told_ns          # when the last of them was told


cdef void places_frame_c(
    Registry registry, MarketBooks books, own_fills_t* fills, int64_t now_ns
) noexcept nogil
cdef void places_traded_c(
    Registry registry, MarketBooks books, own_fills_t* fills, int64_t now_ns
) noexcept nogil
cdef void places_own_fill_c(own_fills_t* fills, const event_t* event, int64_t now_ns) noexcept nogil
cdef void places_join_c(
    Registry registry, MarketBooks books, order_t* order, int64_t now_ns, int exponent, bint book_shows_own
) noexcept nogil
cdef bint places_moved_c(Registry registry, int64_t change_ppm) noexcept nogil
