"""What is known about one order: a join of all evidence, and the state that follows from it.

Bits are only ever set, times are largest and smallest ones, and legs are a set, so evidence may come in any
order and any number of times: the record is the same. The state is a function of the record. `asked` is the
time of a question, by the engine clock.

| evidence (OrderStatus)                      | joins into the record                                        |
|---------------------------------------------|--------------------------------------------------------------|
| SENT                                        | bytes left; the signed size, if smaller                      |
| LIVE, DELAYED (answer, user channel)        | landed; seen at                                              |
| MATCHED (answer, user channel, query)       | landed; seen at; matched size at least; full at              |
| REJECTED, REFUSED                           | refused                                                      |
| DUPLICATED; UNKNOWN with reason IN_FLIGHT   | landed: an earlier copy did                                  |
| UNKNOWN (425, 429, 5xx, time-out, …)        | unanswered                                                   |
| RESENT                                      | two copies may have arrived: one refusal proves nothing now  |
| COPY_REFUSED (by the venue, or not sent)    | the second copy is none; of the first it says nothing        |
| CANCELED (answer, user channel, query)      | cancelled; ended at                                          |
| NOT_CANCELED                                | nothing; the cancel may be repeated                          |
| FOUND (a query by id lists it open)         | landed; seen at asked; found at asked                        |
| NOT_FOUND (a query by id does not know it)  | absent at asked                                              |
| FENCED (orders and trades clean as well)    | ended at asked, if that was after the order's fence          |
| a trade stage naming the order              | landed; a leg keyed (trade, order)                           |

The state is the first line that holds:

| state    | when                                                                                            |
|----------|-------------------------------------------------------------------------------------------------|
| UNKNOWN  | filled or ended by the lines below, but a query asked after that found it open (alarm)          |
| FILLED   | legs of its whole size; any leg, if it takes                                                    |
| DEAD     | cancelled or fenced; or refused, never landed and, if sent twice, refused both times            |
| UNKNOWN  | landed, but a query after the last sign of life did not know it; or only DUPLICATED says so     |
| LIVE     | landed                                                                                          |
| UNKNOWN  | unanswered, not known to a query, or refused once of two times                                  |
| SENT     | bytes left                                                                                      |
| PREPARED | none of these                                                                                   |

No order is sent more than twice, and each refusal has a bit of its own: a repeated one is not two.

The flag of a cancel under way belongs to our own actions and is no part of the record.
"""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy

from invmm._ext.records cimport (
    EVENT_USER_EVENT,
    FOK,
    R_IN_FLIGHT,
    STATUS_CANCELED,
    STATUS_COPY_REFUSED,
    STATUS_DELAYED,
    STATUS_DUPLICATED,
    STATUS_FENCED,
    STATUS_FOUND,
    STATUS_LIVE,
    STATUS_MATCHED,
    STATUS_NOT_CANCELED,
    STATUS_NOT_FOUND,
    STATUS_REFUSED,
    STATUS_REJECTED,
    STATUS_RESENT,
    STATUS_SENT,
    STATUS_UNKNOWN,
    event_t,
)

cdef int64_t SECOND_NS = 1000000000
cdef int64_t FENCE_SLACK_NS = 5 * SECOND_NS
cdef int64_t CANCEL_SOON_NS = SECOND_NS // 2    # how often an unknown order is cancelled …
cdef int64_t CANCEL_LATER_NS = 5 * SECOND_NS    # … and after this long, as seldom as that


cdef inline uint8_t state_unlanded(const order_t* order) noexcept nogil:
    if order.said & (SAID_UNANSWERED | SAID_ABSENT | SAID_RESENT | SAID_COPY_REFUSED | SAID_REJECTED):
        return ORDER_UNKNOWN
    return ORDER_SENT if order.said & SAID_SENT else ORDER_PREPARED


cdef uint8_t evidence_state_c(const order_t* order) noexcept nogil:
    """The second table above."""
    cdef:
        bint full = order.filled_micro + DUST_MICRO > order.original_micro
        bint proven = (order.said & (SAID_CANCELED | SAID_FENCED)) != 0
        bint found = (order.said & SAID_FOUND) != 0

    if order.order_type >= FOK and order.said & SAID_LEG:
        full = True  # what takes never rests: its first fill ends it, later ones find it on the watch list
    if (
        order.said & SAID_REJECTED and not order.said & SAID_LANDED
        and (not order.said & SAID_RESENT or order.said & SAID_COPY_REFUSED)
    ):
        proven = True
    if full:
        # Only a failed leg could put shares back into the book.
        if found and order.failed_micro and order.found_ns > max(order.matched_ns, order.ended_ns):
            return ORDER_UNKNOWN
        return ORDER_FILLED
    if proven:
        return ORDER_UNKNOWN if found and order.found_ns > order.ended_ns else ORDER_DEAD
    if order.said & SAID_LANDED:
        if order.said & SAID_ABSENT and order.absent_ns > order.seen_ns:
            return ORDER_UNKNOWN
        if order.said & SAID_LANDED == SAID_DUPLICATED:
            return ORDER_UNKNOWN
        # A trade that precedes the answer says nothing about the rest, which the answer will.
        if order.said & SAID_LANDED == SAID_LEG:
            return state_unlanded(order)
        return ORDER_LIVE
    return state_unlanded(order)


cdef inline void ended_at(order_t* order, int64_t time_ns) noexcept nogil:
    order.ended_ns = max(order.ended_ns, time_ns)
    if order.ended_first_ns == 0 or time_ns < order.ended_first_ns:
        order.ended_first_ns = time_ns


cdef bint evidence_join_c(order_t* order, const event_t* event, const fence_t* rule) noexcept nogil:
    """Adds evidence to an order's record; whether more than its state may be different now."""
    cdef:
        uint8_t status = event.status
        bint changed = False

    if status == STATUS_SENT:
        order.said |= SAID_SENT
        memcpy(order.order_id, event.order_id, 32)
        if 0 < event.size_micro < order.original_micro:
            # Signed amounts are rounded down; waiting for the rest would keep a filled order alive.
            order.original_micro = event.size_micro
    elif status == STATUS_LIVE or status == STATUS_DELAYED or status == STATUS_MATCHED:
        if order.live_ns == 0 or event.time_ns < order.live_ns:
            order.live_ns = event.time_ns
        order.seen_ns = max(order.seen_ns, event.time_ns)
        if status == STATUS_MATCHED:
            order.said |= SAID_MATCHED
            order.hinted_micro = max(order.hinted_micro, event.filled_micro)
            if event.filled_micro + DUST_MICRO > order.original_micro:
                order.matched_ns = max(order.matched_ns, event.time_ns)
            changed = True
        else:
            order.said |= SAID_LIVE
    elif status == STATUS_FOUND:
        if order.live_ns == 0 or event.time_ns < order.live_ns:
            order.live_ns = event.time_ns
        order.said |= SAID_FOUND
        order.seen_ns = max(order.seen_ns, event.time_ns)
        order.found_ns = max(order.found_ns, event.time_ns)
    elif status == STATUS_NOT_FOUND:
        order.said |= SAID_ABSENT
        order.absent_ns = max(order.absent_ns, event.time_ns)
    elif status == STATUS_UNKNOWN:
        order.said |= SAID_DUPLICATED if event.reason == R_IN_FLIGHT else SAID_UNANSWERED
        order.cancel_sent = 0
        changed = True
    elif status == STATUS_DUPLICATED:
        order.said |= SAID_DUPLICATED
    elif status == STATUS_RESENT:
        order.said |= SAID_RESENT
    elif status == STATUS_COPY_REFUSED:
        order.said |= SAID_COPY_REFUSED
    elif status == STATUS_NOT_CANCELED:
        # One that is known to rest is cancelled again soon; an unknown one when its next cancel is due.
        if order.state == ORDER_LIVE:
            order.cancel_sent = 0
            changed = True
    elif status == STATUS_REJECTED or status == STATUS_REFUSED:
        order.said |= SAID_REJECTED
        order.reason = max(order.reason, event.reason)
    elif status == STATUS_CANCELED:
        order.said |= SAID_CANCELED
        if event.kind == EVENT_USER_EVENT and event.filled_micro >= 0:
            order.hinted_micro = max(order.hinted_micro, event.filled_micro)
            changed = not order.said & SAID_CLOSED
            order.said |= SAID_CLOSED
        order.reason = max(order.reason, event.reason)
        ended_at(order, event.time_ns)
    elif status == STATUS_FENCED:
        if 0 < evidence_fence_c(order, rule) <= event.time_ns:
            order.said |= SAID_FENCED
            ended_at(order, event.time_ns)
    return changed


cdef int64_t evidence_fence_c(const order_t* order, const fence_t* rule) noexcept nogil:
    """Engine time after which not even a resting copy is left, 0 while there is none: the order's expiry at
    the venue, or the resolution of its market if it has no expiration, plus the clock bound plus 5 s.
    """
    if order.expiration_s:
        return order.expiration_s * SECOND_NS - rule.early_ns + rule.clock_bound_ns + FENCE_SLACK_NS
    return rule.resolved_ns + rule.clock_bound_ns + FENCE_SLACK_NS if rule.resolved_ns else 0


cdef bint evidence_cancel_due_c(const order_t* order, int64_t now_ns) noexcept nogil:
    """Whether an UNKNOWN order is to be cancelled now (once more): not while the same bytes may still go
    out again, then every 0.5 s for 5 s, then every 5 s.
    """
    if order.cancel_first_ns == 0:
        return now_ns - order.sent_ns >= RESEND_WINDOW_S * SECOND_NS
    if now_ns - max(order.cancel_first_ns, order.unknown_ns) < CANCEL_LATER_NS:
        return now_ns - order.cancel_ns >= CANCEL_SOON_NS
    return now_ns - order.cancel_ns >= CANCEL_LATER_NS


cdef bint evidence_resend_due_c(const order_t* order, int64_t asked_ns) noexcept nogil:
    """Whether the same bytes may go out again: still wanted, unanswered, not known to the query, young.

    What takes was wanted at once or not at all; and without a fence it is its one answer that proves its end.
    """
    return (
        order.state == ORDER_UNKNOWN
        and order.order_type < FOK
        and not order.cancel_wanted
        and order.cancel_first_ns == 0
        and (order.said & SAID_UNANSWERED) != 0
        and not order.said & (SAID_LANDED | SAID_RESENT | SAID_REJECTED)
        and asked_ns - order.sent_ns < RESEND_WINDOW_S * SECOND_NS
    )


cdef int evidence_alarms_c(const order_t* order) noexcept nogil:
    """ALARM_* bits: what the evidence says that cannot be."""
    cdef int alarms = 0

    # One that takes or dies is announced while the venue holds it, and refused when it finds nothing: no
    # contradiction.
    if (
        order.order_type < FOK and order.said & SAID_REJECTED
        and order.said & (SAID_LIVE | SAID_FOUND)
    ):
        alarms |= ALARM_REFUSED_ALIVE
    if order.said & (SAID_CANCELED | SAID_FENCED) and order.found_ns > order.ended_first_ns:
        alarms |= ALARM_REVIVED
    return alarms
