"""Fair value in log-odds: both books' microprices, fused with a settlement model's value.

A microprice weighs each side's price by the other side's size: a book with many bids and few offers is
about to go up. In log-odds a tick near the edge counts for more than one in the middle, as it should. The
two books mirror each other, so each is a reading of the same thing, and both count alike: swapping the
tokens swaps the sign, to the last bit.

Fused are the two by what is not known of either, as variance of log-odds: the model says its own (volatility,
basis, age of its price), the books' is that of their spread, but at least BOOK_DOUBT². A model's value also
fades out with its age, so that none drops out all at once.
"""

from libc.math cimport fabs, log
from libc.stdint cimport int32_t, int64_t

from invmm._ext.quoting cimport ONE_E4
from invmm._ext.records cimport BUY, DOWN, UP
from invmm._ext.reservation cimport logit
from invmm._ext.solver cimport own_order_t, top_t
from invmm._ext.trend cimport nowcast_c


cdef inline double logit_e4(int32_t price_e4) noexcept nogil:
    """Log-odds of a price between 0 and 1 dollar; of mirror prices they are opposite to the last bit."""
    if price_e4 > ONE_E4 // 2:
        return -log(<double> (ONE_E4 - price_e4) / <double> price_e4)
    return log(<double> price_e4 / <double> (ONE_E4 - price_e4))

cdef double BOOK_DOUBT = 0.1


cdef bint micro_logit_c(const policy_input_t* view, int token, double* x) noexcept nogil:
    """Microprice of one token's book in log-odds; whether there is one. Own shares do not count."""
    cdef:
        const own_order_t* order
        int32_t bid = view.top[token].bid_e4
        int32_t ask = view.top[token].ask_e4
        double bids = view.top[token].bid_micro
        double asks = view.top[token].ask_micro
        int32_t price
        int i

    if bid <= 0 or ask <= 0 or bid >= ask:
        return False
    if view.top[token].bid_is_ours or view.top[token].ask_is_ours:
        for i in range(view.n_orders):
            order = &view.orders[i]
            if order.is_taker:
                continue
            # A bid for this token, or an offer of the other one, which amounts to the same.
            price = order.price_e4 if order.side == BUY else ONE_E4 - order.price_e4
            if (order.token == token) == (order.side == BUY):
                if price == bid and view.top[token].bid_is_ours:
                    bids -= order.remaining_micro
            elif ONE_E4 - price == ask and view.top[token].ask_is_ours:
                asks -= order.remaining_micro
    bids = max(bids, 0.0)
    asks = max(asks, 0.0)
    if bids + asks <= 0.0:
        bids = asks = 1.0
    x[0] = (asks * logit_e4(bid) + bids * logit_e4(ask)) / (bids + asks)
    return True


cdef double book_variance_c(const policy_input_t* view) noexcept nogil:
    """What the books leave open, as variance of log-odds: all of the tighter spread alike."""
    cdef:
        double spread
        double least = 100.0
        int token

    for token in range(2):
        if 0 < view.top[token].bid_e4 < view.top[token].ask_e4:
            spread = logit(view.top[token].ask_e4 / 10_000.0) - logit(view.top[token].bid_e4 / 10_000.0)
            least = min(least, spread * spread / 12.0)
    return max(least, BOOK_DOUBT * BOOK_DOUBT)


cdef inline bint are_mirrors(const top_t* up, const top_t* down) noexcept nogil:
    """Whether both books show one and the same, own orders aside: then one of them is enough."""
    return (
        up.bid_e4 + down.ask_e4 == ONE_E4 and up.ask_e4 + down.bid_e4 == ONE_E4
        and up.bid_micro == down.ask_micro and up.ask_micro == down.bid_micro
        and not (up.bid_is_ours or up.ask_is_ours or down.bid_is_ours or down.ask_is_ours)
    )


cdef bint fair_logit_c(
    const policy_input_t* view, int64_t max_age_ns, trend_t* trend, follow_t* follow, double* x
) noexcept nogil:
    """Log-odds of Up: both books' microprices where they are heading (as they are, if `trend` is NULL), and
    the settlement model's value where there is one, which loses its weight evenly until it is `max_age_ns`
    old. Whether anything is known.
    """
    cdef:
        double doubt
        double up = 0.0
        double down = 0.0
        double model
        double weight
        int n = 0

    if micro_logit_c(view, UP, &up):
        n += 1
        if are_mirrors(&view.top[UP], &view.top[DOWN]):
            n += 1
            down = -up
    if n < 2 and micro_logit_c(view, DOWN, &down):
        n += 1
    if n > 0:
        x[0] = (up - down) / n
        if trend != NULL:
            x[0] = nowcast_c(trend, follow, x[0], -view.ms_to_end)
    if 0 < view.fair_ppm < 1_000_000 and 0 <= view.fair_age_ns < max_age_ns:
        model = logit(view.fair_ppm / 1e6)
        weight = 1.0 if n == 0 else 1.0 - <double> view.fair_age_ns / <double> max_age_ns
        if n > 0:
            doubt = book_variance_c(view)
            weight *= doubt / (doubt + fabs(view.fair_variance))
        x[0] = weight * model + (1.0 - weight) * x[0]
        n += 1
    return n > 0
