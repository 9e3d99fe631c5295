"""The engine's own orders and position in one market. Fixed tables, no allocation after start."""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from invmm._ext.queue cimport queue_t
from invmm._ext.records cimport command_t, event_t


cdef enum:
    MAX_LIVE = 64               # possibly-live orders of one market
    MAX_ENDED = 1024            # ended orders remembered for late fills (newest win)
    DUST_MICRO = 10000          # a remainder below 0.01 share is none
    FILL_SLOTS = 16384          # (trade, order) legs remembered, a power of two

    ORDER_NONE = 0              # order states
    ORDER_PREPARED = 1          # handed to the ring
    ORDER_SENT = 2              # its bytes are leaving
    ORDER_LIVE = 3              # acknowledged
    ORDER_UNKNOWN = 4           # no usable answer: counts as fully alive
    ORDER_DEAD = 5              # proven cancelled, expired, rejected or never sent
    ORDER_FILLED = 6

    APPLIED = 1                 # apply_event_c: something about our orders or position changed
    IGNORED = 0
    FOREIGN = -1                # it names no order of ours
    TABLE_FULL = -2


cdef struct order_t:
    uint64_t key
    uint8_t state               # ORDER_*
    uint8_t token
    uint8_t side
    uint8_t order_type
    uint8_t level               # ladder level it serves
    uint8_t reason              # Reason of its end
    uint8_t cancel_sent         # a cancel is under way
    uint8_t cancel_wanted       # cancel as soon as it can be named (Reason), 0 if not
    int32_t price_e4
    int64_t original_micro
    int64_t filled_micro        # sum of the fills we know
    int64_t hinted_micro        # matched size told by an answer, whose fills may still come
    int64_t expiration_s        # GTD: stated expiration; 0 otherwise
    int64_t sent_ns
    int64_t live_ns
    int64_t cancel_ns           # when the last cancel was handed over
    int64_t solved_ahead_micro  # the queue estimate that the last solve saw
    queue_t queue


cdef struct fill_leg_t:
    uint64_t trade              # 0: free slot
    uint64_t key
    int64_t size_micro
    int32_t price_e4
    uint8_t token
    uint8_t side
    uint8_t status              # STATUS_TRADE_*
    uint8_t taker


@cython.final
cdef class Registry:
    cdef:
        order_t live[MAX_LIVE]          # the first n_live are possibly alive
        int n_live
        order_t ended[MAX_ENDED]        # ring of ended orders
        uint64_t n_ended
        fill_leg_t legs[FILL_SLOTS]
        int n_legs
        int64_t position_micro[2]       # provisional and confirmed fills
        int64_t confirmed_micro[2]
        int64_t cost_e10[2]             # paid for the present position, 1e-10 dollars (price_e4 x size_micro)
        int64_t bought_micro[2]         # over the whole market
        int64_t spent_e10               # cash paid minus received, fees apart
        uint64_t orders                 # placements handed over
        int64_t placed_micro            # their shares
        uint64_t fills
        uint64_t foreign                # events naming no order of ours
        uint64_t failed_legs

    cdef order_t* find_c(self, uint64_t key) noexcept nogil
    cdef order_t* find_ended_c(self, uint64_t key) noexcept nogil
    cdef order_t* add_c(self, const command_t* command) noexcept nogil
    cdef int apply_event_c(self, const event_t* event) noexcept nogil
    cdef int64_t remaining_c(self, const order_t* order) noexcept nogil
    cdef void end_c(self, order_t* order, uint8_t state, uint8_t reason) noexcept nogil
    cdef int apply_leg_c(self, const event_t* event) noexcept nogil
    cdef void move_c(self, const fill_leg_t* leg, int sign) noexcept nogil
