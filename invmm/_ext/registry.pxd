"""The engine's own orders and position in one market. Fixed tables, no allocation after start."""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from invmm._ext.evidence cimport fence_t, order_t
from invmm._ext.records cimport command_t, event_t


cdef enum:
    MAX_LIVE = 64               # possibly-live orders of one market
    MAX_ENDED = 4096            # ended orders remembered for late fills (newest win)
    FILL_SLOTS = 16384          # (trade, order) legs remembered, a power of two

    LEG_TERMINAL_CONFLICT = 1   # CONFIRMED and FAILED were both said
    LEG_SIZE_CONFLICT = 2       # two sizes or prices were said

    APPLIED = 1                 # apply_event_c: something about our orders or position changed
    IGNORED = 0
    FOREIGN = -1                # it names no order of ours
    TABLE_FULL = -2


cdef struct fill_leg_t:
    uint64_t trade              # 0: free slot
    uint64_t key
    int64_t size_micro
    int32_t price_e4
    uint8_t token
    uint8_t side
    uint8_t status              # STATUS_TRADE_*
    uint8_t taker
    uint8_t conflict            # LEG_*_CONFLICT


@cython.final
cdef class Registry:
    cdef:
        order_t live[MAX_LIVE]          # the first n_live are possibly alive
        int n_live
        order_t* ended                  # MAX_ENDED, ring of ended orders; key 0: came back to life
        uint64_t n_ended
        int64_t listed_ns               # when the trades were last asked for that are known by now
        uint64_t owing_from             # no order that ended before this one has matched shares without a leg
        fill_leg_t* legs                # FILL_SLOTS, by hash
        int n_legs
        int64_t position_micro[2]       # provisional and confirmed fills
        int64_t confirmed_micro[2]
        int64_t unsettled_buys_micro[2]
        int64_t unsettled_sells_micro[2]
        int64_t unsettled_e10           # cash of the unsettled buys
        int64_t reserved_micro[2]       # confirmed shares promised to a merge
        int64_t settled_micro           # pairs that left by merges, less those that splits brought
        int32_t fee_rate_ppm            # of orders that take
        int64_t cost_e10[2]             # paid for the present position, 1e-10 dollars (price_e4 x size_micro)
        int64_t bought_micro[2]         # over the whole market
        int64_t bought_e10[2]
        int64_t spent_e10               # cash paid minus received, fees apart
        uint64_t orders                 # placements handed over
        int64_t placed_micro            # their shares
        uint64_t fills                  # legs heard of
        uint64_t foreign                # events naming no order of ours
        uint64_t failed_legs
        uint64_t terminal_conflicts     # legs CONFIRMED and FAILED both: trading is closed
        uint64_t size_conflicts         # legs told with two sizes or prices
        uint64_t revived                # orders that a query found open after a proof of their end
        uint64_t contradicted           # orders both accepted and refused
        uint64_t full                   # evidence that no table had room for
        uint64_t orders_version         # grows when an order's record changes in a way that matters
        uint64_t inventory_version      # … when a fill is booked or taken back
        uint64_t settlement_version     # … when one becomes final
        fence_t fence                   # what an order's fence is made of

    cdef order_t* find_c(self, uint64_t key) noexcept nogil
    cdef order_t* find_ended_c(self, uint64_t key) noexcept nogil
    cdef order_t* add_c(self, const command_t* command) noexcept nogil
    cdef int apply_event_c(self, const event_t* event) noexcept nogil
    cdef int64_t remaining_c(self, const order_t* order) noexcept nogil
    cdef int64_t exposed_c(self, const order_t* order) noexcept nogil
    cdef bint join_c(self, order_t* order, const event_t* event) noexcept nogil
    cdef int settle_c(self, order_t* order, bint ended, int64_t now_ns, bint changed) noexcept nogil
    cdef void end_c(self, order_t* order) noexcept nogil
    cdef int apply_leg_c(self, const event_t* event) noexcept nogil
    cdef bint revise_c(self, fill_leg_t* leg, const event_t* event, order_t* order) noexcept nogil
    cdef void price_c(self, int token) noexcept nogil
    cdef void move_c(self, const fill_leg_t* leg, int sign) noexcept nogil
    cdef void settle_leg_c(self, const fill_leg_t* leg, int sign, bint confirmed) noexcept nogil
