"""Queue places of a market's own orders: what a frame, a trade or an acknowledgement means for each.

The estimate itself is `_ext/queue`; this module knows which level is whose and what part of a trade was our
own.
"""

from libc.stdint cimport int32_t, int64_t

from invmm._ext.book cimport book_size
from invmm._ext.decode cimport MarketBooks, change_t
from invmm._ext.queue cimport queue_front_c, queue_join_c, queue_level_c, queue_trade_c
from invmm._ext.records cimport BUY, UP, event_t
from invmm._ext.evidence cimport order_t
from invmm._ext.registry cimport Registry
from invmm._ext.trigger cimport moved_c


cdef enum:
    # Clocks differ and prints come late (33-39 ms were captured): what is stamped up to this long after an
    # acknowledgement may have happened before it.
    SETTLE_MS = 100

cdef int64_t OWN_FILL_NS = 1000000000   # a fill of ours and the print that contains it come within this time
cdef int64_t MILLISECOND_NS = 1000000


cdef void places_frame_c(
    Registry registry, MarketBooks books, own_fills_t* fills, int64_t now_ns
) noexcept nogil:
    """Queue positions of own orders, from the changes and the trade of the last frame."""
    cdef:
        order_t* order
        const change_t* change
        int i
        int j

    for i in range(registry.n_live):
        order = &registry.live[i]
        if not order.queue.known:
            continue
        if books.venue_ms > order.queue.settle_ms:
            order.queue.settled = True
        for j in range(books.n_changes):
            change = &books.changes[j]
            if (
                change.price_e4 == order.price_e4
                and change.token == order.token
                and change.side == order.side
            ):
                queue_level_c(&order.queue, change.old_micro, change.new_micro, books.venue_ms)
    if books.has_trade:
        places_traded_c(registry, books, fills, now_ns)


cdef void places_traded_c(
    Registry registry, MarketBooks books, own_fills_t* fills, int64_t now_ns
) noexcept nogil:
    """A trade printed: it took from the front of our level what our own better orders left of it."""
    cdef:
        order_t* order
        int i
        int32_t trade_e4[2]     # the trade in the terms of each token
        int taker_side[2]
        int token = books.trade.token
        int64_t left_micro = books.trade.size_micro
        int hit                 # side that was taken from, in Up terms

    trade_e4[token] = books.trade.price_e4
    trade_e4[1 - token] = 10000 - books.trade.price_e4
    taker_side[token] = books.trade.side
    taker_side[1 - token] = 1 - books.trade.side
    hit = 1 - taker_side[UP]
    # Shares of this print that were ours took nothing from anybody ahead of us. Their fill may have been told
    # already.
    if now_ns - fills.told_ns[hit] < OWN_FILL_NS:
        left_micro -= fills.micro[hit]
    fills.micro[hit] = 0
    for i in range(registry.n_live):
        order = &registry.live[i]
        if order.queue.known and order.side != taker_side[order.token] and (
            trade_e4[order.token] < order.price_e4
            if order.side == BUY
            else trade_e4[order.token] > order.price_e4
        ):
            if books.venue_ms > order.queue.settle_ms:  # else it may have traded before we joined
                queue_front_c(&order.queue)  # it traded through our price
            left_micro -= registry.remaining_c(order)
    if left_micro <= 0:
        return
    for i in range(registry.n_live):
        order = &registry.live[i]
        if (
            order.queue.known
            and order.side != taker_side[order.token]
            and trade_e4[order.token] == order.price_e4
            and books.venue_ms > order.queue.settle_ms  # else its decrease was displayed before we joined
        ):
            queue_trade_c(&order.queue, left_micro, books.venue_ms)


cdef void places_own_fill_c(own_fills_t* fills, const event_t* event, int64_t now_ns) noexcept nogil:
    """A fill of ours was told: its shares are part of a print that took nothing from anybody ahead of us."""
    cdef int side = event.side if event.token == UP else 1 - event.side

    if now_ns - fills.told_ns[side] >= OWN_FILL_NS:
        fills.micro[side] = 0
    fills.micro[side] += event.size_micro
    fills.told_ns[side] = now_ns


cdef void places_join_c(
    Registry registry, MarketBooks books, order_t* order, int64_t now_ns, int exponent, bint book_shows_own
) noexcept nogil:
    """The order has been acknowledged: what is displayed at its price stands before it."""
    cdef int64_t level_micro = book_size(books.book[order.token], order.side, order.price_e4)

    if book_shows_own:
        level_micro -= registry.remaining_c(order)
        if level_micro < 0:
            level_micro = 0
    queue_join_c(
        &order.queue, level_micro, now_ns // MILLISECOND_NS + SETTLE_MS, exponent
    )


cdef bint places_moved_c(Registry registry, int64_t change_ppm) noexcept nogil:
    """Whether an estimate moved past its threshold since the last solve."""
    cdef:
        int i
        const order_t* order

    for i in range(registry.n_live):
        order = &registry.live[i]
        if order.queue.known and moved_c(
            order.solved_ahead_micro, order.queue.ahead_micro, order.queue.joined_micro, change_ppm
        ):
            return True
    return False
