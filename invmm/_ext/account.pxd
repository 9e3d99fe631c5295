"""Limits over all markets of one account. Engine thread only."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from invmm._ext.journal cimport Journal


cdef enum:
    ACCOUNT_REASONS = 128


cdef struct share_t:                # of one market
    int64_t committed_e10           # cash in positions and possibly-live bids, 1e-10 dollars
    int64_t open_e10                # of that, what the venue has not moved yet: bids and unsettled buys
    int64_t orders                  # possibly live
    uint8_t stop                    # Reason for which nothing is placed in it, or 0


cdef class Account:
    cdef:
        public Journal journal      # of inputs: keeps what it is told from outside the steps; or None
        int64_t max_total_e10
        int64_t max_orders
        int64_t per_minute
        int64_t reserve_e10
        int64_t cash_e10            # the venue's last word about our collateral, or -1
        int64_t settled_then_e10    # `settled` when it was said
        readonly uint32_t markets
        share_t* shares             # by market
        int64_t committed_e10       # sums over the markets
        int64_t open_e10
        int64_t parked_e10          # of closed markets, until what they hold is dollars again
        int64_t orders
        int64_t* times_ns           # of the last `per_minute` placements, a ring
        int64_t placed              # since the start
        uint8_t stop                # Reason for which nothing is placed at all, or 0
        uint64_t[ACCOUNT_REASONS] refused

    cdef uint8_t admit_c(self, uint32_t market, int side, int64_t cash_e10, int64_t now_ns) noexcept nogil
    cdef uint8_t why_not_c(self, uint32_t market, int side, int64_t cash_e10, int64_t now_ns) noexcept nogil
    cdef void commit_c(
        self, uint32_t market, int64_t committed_e10, int64_t open_e10, int64_t orders
    ) noexcept nogil
    cdef int64_t settled_c(self) noexcept nogil
