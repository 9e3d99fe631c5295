"""Three-way merge: what was there when a target was decided, what is there now, and what is wanted.

`slots_of_c` turns a decision into slots: one for each own order that is kept, replaced or removed, one for
each quote without an order. `merge_c` is the table of one slot. "Wanted" is what shall rest from now on.

| order then       | now                 | wanted                | result                                    |
|------------------|---------------------|-----------------------|-------------------------------------------|
| live             | unchanged           | same price, same size | keep                                      |
| live             | unchanged           | same price, larger    | child for the difference                  |
| live             | unchanged           | same price, smaller   | keep within limits, else replace          |
| live             | unchanged           | other price, nothing  | replace, cancel                           |
| live             | about to expire     | same price            | refresh                                   |
| live             | partly filled       | any                   | the same on what is left, else conflict   |
| live             | filled              | any                   | conflict                                  |
| live             | cancelled, expired  | something             | place while running, else conflict        |
| unknown or dying | any                 | any                   | nothing until it is proven                |
| none             | an order            | any                   | manage ours, halt at a foreign one        |
| none             | none                | something             | place                                     |

Quotes at the price of orders that the policy would replace are first served by those orders: a half-filled
order keeps its place in the queue, and only the difference is added. What is left on both sides is paired by
token and side, in the order of the levels.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memset

from invmm._ext.decode cimport MarketBooks
from invmm._ext.evidence cimport ORDER_UNKNOWN, order_t
from invmm._ext.records cimport BUY, FOK
from invmm._ext.registry cimport MAX_LIVE, Registry
from invmm._ext.solver cimport ACTION_CANCEL, ACTION_QUOTE, MAX_ACTIONS, action_t, policy_output_t, top_t

cdef int64_t SECOND_NS = 1000000000
cdef tuple RESULTS = (
    "nothing", "keep", "child", "replace", "cancel", "place", "refresh", "conflict", "manage", "halt"
)
cdef tuple STATES = ("none", "live", "pending", "filled", "gone", "recovered", "foreign")


cdef void base_of_c(
    base_t* base, Registry registry, MarketBooks books, uint64_t mode, int64_t deadline_ns
) noexcept nogil:
    """What a decision of this moment rests on."""
    cdef int token

    base.orders = registry.orders_version
    base.inventory = registry.inventory_version
    base.settlement = registry.settlement_version
    base.mode = mode
    base.tick_e4 = books.tick_e4
    base.min_size_micro = books.min_size_micro
    base.book_ms = books.venue_ms
    base.deadline_ns = deadline_ns
    for token in range(2):
        base.epoch[token] = books.epoch[token]
        base.position_micro[token] = registry.position_micro[token]


cdef bint base_moved_c(const base_t* base, MarketBooks books, uint64_t mode) noexcept nogil:
    """Whether something has changed since then that no placement may survive."""
    return (
        base.mode != mode
        or base.tick_e4 != books.tick_e4
        or base.min_size_micro != books.min_size_micro
        or base.epoch[0] != books.epoch[0]
        or base.epoch[1] != books.epoch[1]
    )


cdef uint8_t merge_c(
    uint8_t base, uint8_t now, bint same_price, bint expiring, int64_t remaining_micro, int64_t wanted_micro,
    int64_t filled_since_micro, int64_t min_size_micro, bint running, bint within_limits,
) noexcept nogil:
    """One slot's result, MERGE_*.

    `remaining_micro`: unfilled shares of the order now; `wanted_micro`: 0 for nothing;
    `filled_since_micro`: since the decision; `running`: the venue takes orders; `within_limits`: all that is
    there.
    """
    cdef int64_t difference_micro = wanted_micro - remaining_micro

    if base == BASE_NONE:
        if now == BASE_FOREIGN:
            return MERGE_HALT
        if now != BASE_NONE and now != BASE_GONE:
            return MERGE_MANAGE
        return (MERGE_PLACE if running else MERGE_CONFLICT) if wanted_micro else MERGE_NOTHING
    if now == BASE_FILLED:
        return MERGE_CONFLICT
    if now == BASE_GONE or now == BASE_NONE:
        if not wanted_micro:
            return MERGE_NOTHING
        if filled_since_micro > tolerance_c(wanted_micro):
            return MERGE_CONFLICT
        return MERGE_PLACE if running else MERGE_CONFLICT
    if base == BASE_PENDING or now == BASE_PENDING:
        return MERGE_NOTHING
    if filled_since_micro > tolerance_c(max(wanted_micro, remaining_micro + filled_since_micro)):
        return MERGE_CONFLICT
    if not wanted_micro:
        return MERGE_CANCEL
    if not same_price:
        return MERGE_REPLACE
    if expiring:
        return MERGE_REFRESH
    if -tolerance_c(wanted_micro) < difference_micro < tolerance_c(wanted_micro):
        return MERGE_KEEP
    if difference_micro > 0:
        return MERGE_CHILD if difference_micro >= min_size_micro else MERGE_KEEP
    return MERGE_KEEP if within_limits else MERGE_REPLACE


cdef uint8_t state_of(const order_t* order) noexcept nogil:
    if order.cancel_sent or order.cancel_wanted or order.replaced:
        return BASE_PENDING
    if order.state == ORDER_UNKNOWN:
        # Until it is given up it is wanted: the same bytes may go out again.
        return BASE_PENDING if order.cancel_first_ns else BASE_LIVE
    return BASE_LIVE


cdef uint8_t slot_now_c(const slot_t* slot, Registry registry) noexcept nogil:
    """What became of a slot's order, BASE_*."""
    cdef const order_t* order

    if slot.key == 0:
        return BASE_NONE
    order = registry.find_c(slot.key)
    if order != NULL:
        return state_of(order)
    order = registry.find_ended_c(slot.key)
    if order != NULL and order.filled_micro + 10000 > order.original_micro:
        return BASE_FILLED
    return BASE_GONE


cdef bint order_expiring_c(const order_t* order, int64_t early_ns, int64_t now_ns) noexcept nogil:
    """Whether the venue ends an order within REFRESH_BEFORE_S. It does so `early_ns` before the stated time.
    """
    return (
        order.expiration_s != 0
        and (order.expiration_s - REFRESH_BEFORE_S) * SECOND_NS - early_ns <= now_ns
    )


cdef bint slot_passed_c(const slot_t* slot, const top_t* top) noexcept nogil:
    """Whether the market has passed an own order's price, so that it is in danger where it is: the other side
    has come to it, or it is left alone on top and is wanted further back.
    """
    if slot.side == BUY:
        return (top.ask_e4 >= 0 and top.ask_e4 <= slot.base_price_e4) or (
            top.bid_e4 < slot.base_price_e4 and slot.price_e4 < slot.base_price_e4
        )
    return top.bid_e4 >= slot.base_price_e4 or (
        (top.ask_e4 < 0 or top.ask_e4 > slot.base_price_e4) and slot.price_e4 > slot.base_price_e4
    )


cdef inline slot_t* slot_c(slot_t* slots, int* n, const order_t* order) noexcept nogil:
    """A new slot; with an order, one that wants nothing yet."""
    cdef slot_t* slot = &slots[n[0]]

    n[0] += 1
    memset(slot, 0, sizeof(slot_t))
    slot.kind = ACTION_CANCEL
    if order != NULL:
        slot.key = order.key
        slot.token, slot.side, slot.level = order.token, order.side, order.level
        slot.base = state_of(order)
        slot.base_filled_micro = order.filled_micro
        slot.base_price_e4 = order.price_e4
    return slot


cdef inline void want_c(slot_t* slot, const action_t* action, int64_t size_micro) noexcept nogil:
    slot.kind = action.kind
    slot.token, slot.side, slot.level = action.token, action.side, action.level
    slot.reason = action.reason
    slot.price_e4 = action.price_e4
    slot.size_micro = size_micro


cdef int slots_of_c(slot_t* slots, const policy_output_t* wanted, Registry registry) noexcept nogil:
    """A decision as slots (room for MAX_SLOTS); how many. Orders that are dying or take are no slots."""
    cdef:
        int i
        int k
        int n = 0
        int last
        const order_t* order
        const action_t* action
        slot_t* slot
        int64_t[MAX_ACTIONS] rest_micro
        uint8_t[MAX_LIVE] refused       # Reason for which the policy wants an order's end, 0: it keeps it
        uint64_t left = 0               # bit k: order k is unwanted and serves no quote yet

    for i in range(registry.n_live):
        order = &registry.live[i]
        refused[i] = 0
        if order.order_type >= FOK or state_of(order) != BASE_LIVE:
            continue
        for k in range(wanted.n_actions):
            if wanted.actions[k].kind != ACTION_CANCEL:
                break
            if wanted.actions[k].key == order.key:
                refused[i] = wanted.actions[k].reason if wanted.actions[k].reason else 3
                left |= (<uint64_t> 1) << i
                break
        if refused[i] == 0:
            slot = slot_c(slots, &n, order)
            slot.kind = ACTION_QUOTE
            slot.reason = 1
            slot.price_e4 = order.price_e4
            slot.size_micro = registry.remaining_c(order)
    # First the orders that are at the wanted price already.
    for k in range(wanted.n_actions):
        action = &wanted.actions[k]
        rest_micro[k] = action.size_micro
        if action.kind != ACTION_QUOTE:
            continue
        last = -1
        for i in range(registry.n_live):
            order = &registry.live[i]
            if (
                not (left >> i) & 1 or rest_micro[k] <= 0 or order.token != action.token
                or order.side != action.side or order.price_e4 != action.price_e4
            ):
                continue
            last = n
            want_c(slot_c(slots, &n, order), action, min(rest_micro[k], registry.remaining_c(order)))
            rest_micro[k] -= registry.remaining_c(order)
            left &= ~((<uint64_t> 1) << i)
        if last >= 0:
            if rest_micro[k] > 0:
                slots[last].size_micro += rest_micro[k]
            rest_micro[k] = 0
    # Then replacements, paired by token and side.
    for k in range(wanted.n_actions):
        action = &wanted.actions[k]
        if action.kind == ACTION_CANCEL or rest_micro[k] <= 0:
            continue
        slot = NULL
        if action.kind == ACTION_QUOTE:
            for i in range(registry.n_live):
                order = &registry.live[i]
                if (left >> i) & 1 and order.token == action.token and order.side == action.side:
                    left &= ~((<uint64_t> 1) << i)
                    slot = slot_c(slots, &n, order)
                    break
        if slot == NULL:
            slot = slot_c(slots, &n, NULL)
        want_c(slot, action, rest_micro[k])
    for i in range(registry.n_live):
        if (left >> i) & 1:
            slot = slot_c(slots, &n, &registry.live[i])
            slot.reason = refused[i]
    return n


def merge(
    *, str base, str now, bint same_price=True, bint expiring=False, int64_t remaining_micro=0,
    int64_t wanted_micro=0, int64_t filled_since_micro=0, int64_t min_size_micro=0, bint running=True,
    bint within_limits=True,
) -> str:
    """The table of one slot, for tests and explorers.

    Parameters
    ----------
    base, now : str
        The slot's order at the time of the decision and now: none, live, pending (unknown or dying), filled,
        gone, recovered, foreign.
    same_price, expiring, running, within_limits : bool
        Of the wanted quote; of the order; the venue takes orders; all that is there is within the limits.
    remaining_micro, wanted_micro, filled_since_micro, min_size_micro : int
        Shares, 1e-6. Nothing wanted is 0.

    Returns
    -------
    str
        nothing, keep, child, replace, cancel, place, refresh, conflict, manage or halt.
    """
    return RESULTS[
        merge_c(
            STATES.index(base), STATES.index(now), same_price, expiring, remaining_micro, wanted_micro,
            filled_since_micro, min_size_micro, running, within_limits,
        )
    ]
