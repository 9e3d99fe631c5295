"""The exposure of one market: sums over every order that may be alive, and position intervals. No GIL."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from invmm._ext.evidence cimport order_t
from invmm._ext.registry cimport Registry


cdef struct bounds_t:
    int64_t max_direction_micro     # one token over the other, if everything filled at worst
    int64_t max_gross_micro         # shares of all orders
    int64_t max_cash_e10            # cash in positions and bids, 1e-10 dollars
    int64_t funds_e10               # confirmed cash less what is kept back; below 0: not known
    int64_t max_orders
    int32_t fee_rate_ppm            # taker fee per share is rate*p*(1-p)


cdef struct exposure_t:
    int64_t[2] high_micro           # most shares held once every provisional fill has ended
    int64_t[2] low_micro            # least shares
    int64_t[2] reserved_micro       # of these, promised to a merge
    int64_t[2] buys_micro           # unfilled shares of bids
    int64_t[2] sells_micro          # … of offers
    int64_t gross_micro             # … of both
    int64_t bids_e10                # cash that the bids would take, fees in
    int64_t spent_e10               # cash paid minus received
    int64_t unsettled_e10           # cash of provisional buys
    int64_t orders
    int32_t[2] highest_bid_e4       # 0: none
    int32_t[2] lowest_ask_e4        # 20000: none


cdef int64_t exposure_owed_c(const order_t* order, Registry registry) noexcept nogil
cdef void exposure_begin_c(exposure_t* sums, Registry registry, bint with_owed) noexcept nogil
cdef void exposure_of_c(exposure_t* sums, Registry registry) noexcept nogil
cdef void exposure_add_c(
    exposure_t* sums, int token, int side, int32_t price_e4, int64_t size_micro, int32_t fee_rate_ppm
) noexcept nogil
cdef void exposure_order_c(exposure_t* sums, Registry registry, const order_t* order) noexcept nogil
cdef int64_t exposure_cost_c(int32_t price_e4, int64_t size_micro, int32_t fee_rate_ppm) noexcept nogil
cdef uint8_t exposure_refuses_c(
    const exposure_t* sums, const bounds_t* bounds, int token, int side, int32_t price_e4, int64_t size_micro,
    bint takes,
) noexcept nogil
cdef uint8_t exposure_exceeds_c(const exposure_t* sums, const bounds_t* bounds) noexcept nogil


cdef class Exposure:
    cdef exposure_t sums
    cdef bounds_t bounds
