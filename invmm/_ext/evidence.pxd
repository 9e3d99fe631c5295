"""The record of one order: all evidence about it, and functions on that. No GIL."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t

from invmm._ext.queue cimport queue_t
from invmm._ext.records cimport event_t


cdef enum:
    DUST_MICRO = 10000          # a remainder below 0.01 share is none
    RESEND_WINDOW_S = 2         # an unanswered order is not sent again later than this

    ORDER_NONE = 0              # order states
    ORDER_PREPARED = 1          # handed to the ring
    ORDER_SENT = 2              # its bytes are leaving
    ORDER_LIVE = 3              # acknowledged
    ORDER_UNKNOWN = 4           # no usable answer: counts as fully alive
    ORDER_DEAD = 5              # proven cancelled, expired, rejected or never sent
    ORDER_FILLED = 6

    ALARM_REFUSED_ALIVE = 1     # both accepted and refused
    ALARM_REVIVED = 2           # a query asked after a proof of its end found it open

    SAID_SENT = 1               # what has ever been heard of an order: bits that are only ever set
    SAID_LIVE = 2               # accepted: live, delayed, placement
    SAID_MATCHED = 4
    SAID_DUPLICATED = 8         # a copy was refused because an earlier one had landed
    SAID_UNANSWERED = 16
    SAID_FOUND = 32             # a query by id listed it open
    SAID_ABSENT = 64            # a query by id did not know it
    SAID_CANCELED = 128
    SAID_REJECTED = 256
    SAID_FENCED = 512           # its fence passed, and orders and trades were clean
    SAID_RESENT = 1024          # two copies of it may have arrived
    SAID_LEG = 2048             # a trade named it
    SAID_CLOSED = 4096          # the user channel told its cancellation, and with that what had been matched
    SAID_COPY_REFUSED = 8192    # the second copy was refused; the first one's refusal is REJECTED
    SAID_LANDED = 2 | 4 | 8 | 32 | 2048


cdef struct order_t:
    uint64_t key
    uint8_t state               # ORDER_*, a function of what follows
    uint8_t token
    uint8_t side
    uint8_t order_type
    uint8_t level               # ladder level it serves
    uint8_t reason              # Reason of its end, the largest one told
    uint8_t cancel_sent         # a cancel is under way
    uint8_t cancel_wanted       # cancel as soon as it can be named (Reason), 0 if not
    uint8_t replaced            # the open transaction removes it once its successor is proven
    uint16_t said               # SAID_*
    int32_t price_e4
    int64_t original_micro
    int64_t filled_micro        # sum of the legs we know, failed ones included: they do not come back
    int64_t failed_micro        # of these, void
    int64_t hinted_micro        # matched size told by an answer, whose fills may still come
    int64_t expiration_s        # GTD: stated expiration; 0 otherwise
    int64_t sent_ns
    int64_t live_ns             # when it was first known to rest
    int64_t seen_ns             # last time it was said to be alive
    int64_t found_ns            # last time that a query said so
    int64_t absent_ns           # last query that did not know it
    int64_t matched_ns          # last time it was said to be matched in full
    int64_t ended_ns            # last time that it was said to be cancelled or fenced
    int64_t ended_first_ns      # first one
    int64_t unknown_ns          # when it became UNKNOWN, 0: it is not
    int64_t cancel_ns           # when the last cancel was handed over
    int64_t cancel_first_ns     # … and the first one
    int64_t solved_ahead_micro  # the queue estimate that the last solve saw
    queue_t queue
    uint8_t[32] order_id        # the venue's id, told when the bytes leave; zero before


cdef struct fence_t:
    int64_t early_ns            # the venue ends a GTD order this long before its stated expiration
    int64_t clock_bound_ns      # how far the venue's clock may be from ours
    int64_t resolved_ns         # when the market was known to be resolved, 0: it is not


cdef uint8_t evidence_state_c(const order_t* order) noexcept nogil
cdef bint evidence_join_c(order_t* order, const event_t* event, const fence_t* rule) noexcept nogil
cdef int64_t evidence_fence_c(const order_t* order, const fence_t* rule) noexcept nogil
cdef bint evidence_cancel_due_c(const order_t* order, int64_t now_ns) noexcept nogil
cdef bint evidence_resend_due_c(const order_t* order, int64_t asked_ns) noexcept nogil
cdef int evidence_alarms_c(const order_t* order) noexcept nogil
