"""The policy's view of one market: best levels, position and own orders, as `policy_input_t` has them.

The best levels are filled apart: the trigger and the guards want them far more often than the rest.
"""

from libc.stdint cimport int32_t, int64_t

from invmm._ext.book cimport book_best_ask, book_best_bid, book_size, book_t
from invmm._ext.decode cimport MarketBooks
from invmm._ext.desk cimport limits_t
from invmm._ext.exposure cimport exposure_begin_c, exposure_t
from invmm._ext.records cimport BUY, FOK, SELL
from invmm._ext.evidence cimport ORDER_LIVE, ORDER_UNKNOWN, order_t
from invmm._ext.registry cimport Registry
from invmm._ext.solver cimport ORDER_OPEN as VIEW_OPEN
from invmm._ext.solver cimport ORDER_PENDING_CANCEL as VIEW_PENDING_CANCEL
from invmm._ext.solver cimport ORDER_PENDING_NEW as VIEW_PENDING_NEW
from invmm._ext.solver cimport ORDER_UNKNOWN as VIEW_UNKNOWN
from invmm._ext.solver cimport own_order_t, policy_input_t

cdef int64_t NO_END_MS = 1 << 62
cdef int64_t MILLISECOND_NS = 1000000


cdef void view_tops_c(policy_input_t* view, MarketBooks books) noexcept nogil:
    """Best levels of both tokens; whether they are ours is left as it was."""
    cdef:
        int token
        const book_t* book
        int32_t price_e4

    for token in range(2):
        book = books.book[token]
        price_e4 = book_best_bid(book)
        view.top[token].bid_e4 = price_e4
        view.top[token].bid_micro = book_size(book, BUY, price_e4) if price_e4 >= 0 else 0
        price_e4 = book_best_ask(book)
        view.top[token].ask_e4 = price_e4
        view.top[token].ask_micro = book_size(book, SELL, price_e4) if price_e4 >= 0 else 0


cdef void view_fill_c(
    policy_input_t* view, Registry registry, MarketBooks books, const limits_t* limits, int64_t end_ms,
    int64_t now_ns,
) noexcept nogil:
    """Market rules, time, position, own orders, and which tops are ours; the tops themselves are filled
    already. `end_ms` 0: not known.
    """
    cdef:
        int i
        int token
        const order_t* order
        own_order_t* seen
        int32_t price_e4
        exposure_t sums

    view.tick_e4 = books.tick_e4
    view.min_size_micro = books.min_size_micro
    view.fee_rate_ppm = limits.fee_rate_ppm
    view.ms_to_end = (end_ms if end_ms else NO_END_MS) - now_ns // MILLISECOND_NS
    exposure_begin_c(&sums, registry, True)
    for token in range(2):
        # What an ended order still owes may come as a fill.
        view.low_micro[token] = min(
            sums.low_micro[token] - sums.sells_micro[token], registry.position_micro[token]
        )
        view.high_micro[token] = max(
            sums.high_micro[token] + sums.buys_micro[token], registry.position_micro[token]
        )
        view.sellable_micro[token] = view.low_micro[token] - sums.reserved_micro[token]
        view.position_micro[token] = registry.position_micro[token]
        view.cost_micro[token] = (registry.cost_e10[token] + 5000) // 10000
        view.top[token].bid_is_ours = False
        view.top[token].ask_is_ours = False
    view.n_orders = registry.n_live
    for i in range(registry.n_live):
        order = &registry.live[i]
        seen = &view.orders[i]
        seen.key = order.key
        seen.original_micro = order.original_micro
        seen.remaining_micro = registry.remaining_c(order)
        seen.price_e4 = order.price_e4
        seen.token = order.token
        seen.side = order.side
        seen.is_taker = order.order_type >= FOK
        view.ahead_micro[i] = order.queue.ahead_micro if order.queue.known else -1
        if order.side == SELL:
            view.sellable_micro[order.token] -= seen.remaining_micro
        if order.cancel_sent or order.cancel_wanted or order.replaced:
            seen.state = VIEW_PENDING_CANCEL
        elif order.state == ORDER_UNKNOWN:
            # Until it is given up it is one of the policy's orders, so that it is kept only while wanted.
            seen.state = VIEW_UNKNOWN if order.cancel_first_ns else VIEW_PENDING_NEW
        elif order.state == ORDER_LIVE:
            seen.state = VIEW_OPEN
        else:
            seen.state = VIEW_PENDING_NEW
        if limits.book_shows_own:
            # Our bid for one token is displayed as an ask of the other; our offer of one as a bid for the
            # other.
            token = order.token if order.side == BUY else 1 - order.token
            price_e4 = order.price_e4 if order.side == BUY else 10000 - order.price_e4
            if price_e4 == view.top[token].bid_e4:
                view.top[token].bid_is_ours = True
            if 10000 - price_e4 == view.top[1 - token].ask_e4:
                view.top[1 - token].ask_is_ours = True
