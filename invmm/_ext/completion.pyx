"""Completing a lead at the displayed price: buying the lighter token, or selling the heavier one.

Both take the same liquidity, so both are priced as a purchase of the lighter token. Done where

    price + fee + drift + W  ≤  reservation price of the lighter token

`drift` is what fair value is expected to move against us while the venue holds an order that takes, the mean
gain of a normal move: nobody gets filled after a move in our favour only. W is what a maker fill would save.
"""

from libc.math cimport floor, sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t

from invmm._ext.pairs_ladder cimport dollars, fee_of
from invmm._ext.quoting cimport ONE_E4
from invmm._ext.records cimport BUY, DOWN, SELL, UP
from invmm._ext.reservation cimport reservation


cdef enum:
    REASON_COMPLETES = 123      # invmm.types.Reason
    REASON_SELLS_LEAD = 124
    REASON_MAKES_WAY = 125

    LOT_MICRO = 10_000          # the venue takes sizes with two decimals
    PATIENT_MS = 30_000         # until then a maker fill may still come

cdef int64_t MIN_TAKER_E10 = 10_000_000_000     # the venue's minimum for a marketable buy: 1 dollar
cdef double AGAINST_US = 1e-9                   # dollars: more than the error of any figure here
cdef double MEAN_MOVE = 0.3989422804014327      # mean of a standard normal move, losses counted as nothing


cdef void complete_c(
    const pairs_rule_t* rule, const terms_t* terms, const policy_input_t* view, side_t* sides,
    double variance, take_t* take, pairs_counters_t* counters,
) noexcept nogil:
    """Whether a lead is to be completed now, and how; the bids that are in the way are capped."""
    cdef:
        side_t* heavy
        side_t* light
        int token = DOWN
        int64_t need
        int64_t size
        int64_t displayed
        int32_t price_e4
        int64_t priced = 0
        double price
        double value = 0.0              # reservation of `priced` shares
        double worth
        double drift = MEAN_MOVE * sqrt(variance * rule.delay_s)
        double waiting
        double cost
        double best = -1.0              # what the best way found gains, dollars
        bint buys
        int i

    for i in range(view.n_orders):
        if view.orders[i].is_taker and view.orders[i].remaining_micro > 0:
            return
    if sides[UP].lead + sides[UP].dying < 0.0:
        token = UP
    light, heavy = &sides[token], &sides[1 - token]
    need = <int64_t> floor(-(light.lead + light.dying) * 100.0 + 1e-6) * LOT_MICRO
    if need <= 0:
        return
    if need < view.min_size_micro:
        counters.small_orphans += 1
        if not rule.overshoot:
            return
        need = (view.min_size_micro + LOT_MICRO - 1) // LOT_MICRO * LOT_MICRO
    need = min(need, max(rule.order_micro, view.min_size_micro))
    waiting = min(
        1.0, max(0.0, <double> (view.ms_to_end - PATIENT_MS) / max(1, rule.patience_ms - PATIENT_MS))
    )
    for buys in range(2):
        price_e4 = view.top[token].ask_e4 if buys else view.top[1 - token].bid_e4
        displayed = view.top[token].ask_micro if buys else view.top[1 - token].bid_micro
        if price_e4 <= 0 or (view.top[token].ask_is_ours if buys else view.top[1 - token].bid_is_ours):
            continue
        size = min(need, displayed)
        if not buys:
            size = min(size, view.sellable_micro[1 - token]) if rule.sells else 0
        size -= size % LOT_MICRO
        if size < view.min_size_micro or size <= 0 or (buys and size * price_e4 < MIN_TAKER_E10):
            continue
        price = dollars(price_e4)
        # Selling the heavier token at a price is buying the lighter one at what is left of a dollar.
        cost = (price if buys else 1.0 - price) + fee_of(terms, price)
        if rule.max_pair_cost > 0.0 and cost + heavy.paid > rule.max_pair_cost:
            continue
        if size != priced:
            value = reservation(light.x, rule.gamma, light.lead + light.dying, size * 1e-6)
            priced = size
        worth = value - (cost + AGAINST_US + drift)
        # A maker fill would save the fee and a tick, and bring the rebate.
        worth -= waiting * (fee_of(terms, price) * (1.0 + rule.rebate_share) + dollars(view.tick_e4))
        if worth >= 0.0 and worth * size / 1e6 > best + AGAINST_US:
            best = worth * size / 1e6
            take.size_micro = size
            take.price_e4 = price_e4
            take.token = <uint8_t> (token if buys else 1 - token)
            take.side = BUY if buys else SELL
            take.reason = REASON_COMPLETES if buys else REASON_SELLS_LEAD
    if take.size_micro == 0:
        return
    heavy.cap_e4 = (ONE_E4 - take.price_e4 if take.side == BUY else take.price_e4) - view.tick_e4
    heavy.cap_reason = REASON_MAKES_WAY
    if heavy.highest_bid > heavy.cap_e4:
        counters.takes_blocked += 1
        take.size_micro = 0
        return
    if take.side == BUY:
        counters.takes += 1
        light.highest_bid = max(light.highest_bid, take.price_e4)
    else:
        counters.sales += 1
        light.highest_bid = max(light.highest_bid, ONE_E4 - take.price_e4)
        heavy.offered_micro = take.size_micro
    light.lead += take.size_micro / 1e6
