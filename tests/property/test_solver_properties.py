"""The corrected policy: kernel against its twin, and what must hold whatever the market does."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invmm._ext.solver import POLICY_INPUT_DTYPE, InventoryMMPolicy
from tests.reference import solver as original
from tests.reference.policy import (
    ONE,
    OPEN,
    PENDING_CANCEL,
    PENDING_NEW,
    UNKNOWN,
    Decision,
    Order,
    Rule,
    Top,
    View,
)

CANCEL, QUOTE, TAKE = 1, 2, 3
SHARE = 1_000_000

sizes = st.one_of(
    st.sampled_from([0, 1, 99, 10_000, SHARE, 50 * SHARE, 100 * SHARE, 300 * SHARE, 10**12]),
    st.integers(5 * SHARE, 500 * SHARE),
    st.integers(5 * SHARE, 500 * SHARE),
    st.integers(0, 2_000 * SHARE),
)
averages = st.one_of(st.integers(1_000, 5_000), st.integers(3_000, 6_000), st.integers(0, 11_000))


@st.composite
def tops(draw, tick):
    """Both displayed books: usually mirrors of each other, sometimes one behind, sometimes an empty side."""
    ticks = ONE // tick
    bid = draw(st.integers(1, ticks - 2)) * tick
    ask = min(bid + draw(st.integers(1, 5)) * tick, ONE - tick)
    up = Top(bid, ask, draw(sizes), draw(st.booleans()))
    down = Top(ONE - ask, ONE - bid, draw(sizes), draw(st.booleans()))
    if draw(st.integers(0, 4)) == 0:
        down = Top(
            draw(st.integers(1, 9_998)), draw(st.integers(1, ONE - 1)), draw(sizes), draw(st.booleans())
        )
    for top in (up, down):
        if draw(st.integers(0, 9)) == 0:
            top.ask = None
        if draw(st.integers(0, 9)) == 0:
            top.bid = None
    return up, down


@st.composite
def cases(draw):
    rule = Rule(
        num_levels=draw(st.sampled_from([0, 1, 2, 3, 3, 4, 6])),
        offset=Fraction(draw(st.sampled_from([0, 10, 50, 100, 200, 333, 2_500])), ONE),
        margin=Fraction(draw(st.sampled_from([0, 1, 80, 100, 280, 500])), ONE),
        max_imbalance=Fraction(draw(st.sampled_from([0, 10, 50, 80, 100])), 100),
        order_size=draw(
            st.sampled_from([10_000, 5 * SHARE, 20 * SHARE, 37_500_000, 100 * SHARE, 100_000 * SHARE])
        ),
        spread=Fraction(draw(st.sampled_from([0, 10, 25, 50, 100, 200])), 100),
    )
    tick = draw(st.sampled_from([1, 10, 25, 50, 100, 1_000]))
    held = draw(sizes)
    position = (held, held if draw(st.integers(0, 3)) == 0 else draw(sizes))
    cost = tuple(min(held * draw(averages) // ONE + draw(st.integers(0, 3)), 2 * 10**12) for held in position)
    view = View(position, cost, draw(tops(tick)), tick, draw(st.sampled_from([0, 5 * SHARE])))
    view.fee_ppm = draw(st.sampled_from([0, 70_000, SHARE]))
    wanted = Decision(rule, view)
    near = [(token, price) for token in (0, 1) for price, _ in wanted.ladders[token]]
    for key in range(draw(st.integers(0, 8))):
        if near and draw(st.booleans()):
            token, price = draw(st.sampled_from(near))
        else:
            token, price = draw(st.integers(0, 1)), draw(st.integers(1, ONE // tick - 1)) * tick
        full = rule.order_size
        remaining = draw(
            st.sampled_from([full, full, full - full // 100, max(full - 99_999, 0), full // 2, 0])
        )
        state = draw(st.sampled_from([OPEN, OPEN, OPEN, PENDING_NEW, PENDING_CANCEL, UNKNOWN]))
        side = draw(st.sampled_from([0, 0, 0, 0, 1]))
        view.orders.append(
            Order(100 + key, token, price, remaining, state, side, draw(st.integers(0, 9)) == 0)
        )
    return rule, view


def record(view):
    result = np.zeros((), POLICY_INPUT_DTYPE)
    result["position_micro"] = view.position
    result["cost_micro"] = view.cost
    for token, top in enumerate(view.top):
        bid = -1 if top.bid is None else top.bid
        ask = -1 if top.ask is None else top.ask
        result["top"][token] = (bid, ask, 0, top.ask_size, False, top.ask_is_ours)
    result["tick_e4"] = view.tick
    result["min_size_micro"] = view.min_size
    result["fee_rate_ppm"] = view.fee_ppm
    result["n_orders"] = len(view.orders)
    for index, order in enumerate(view.orders):
        result["orders"][index] = (
            order.key,
            order.remaining,
            order.remaining,
            order.price,
            order.token,
            order.side,
            order.state,
            order.is_taker,
        )
    return result


def policy_of(rule, compatible=False):
    return InventoryMMPolicy(
        rule.num_levels,
        float(rule.offset),
        float(rule.margin),
        float(rule.max_imbalance),
        rule.order_size / SHARE,
        float(rule.spread),
        compatible=compatible,
    )


def act(view, actions):
    """The view after everything that was asked for has happened, except that nothing filled."""
    gone = {int(action["key"]) for action in actions if action["kind"] == CANCEL}
    orders = [order for order in view.orders if order.key not in gone]
    for number, action in enumerate(actions[actions["kind"] == QUOTE]):
        orders.append(
            Order(
                1_000 + len(orders) + number,
                int(action["token"]),
                int(action["price_e4"]),
                int(action["size_micro"]),
            )
        )
    return View(view.position, view.cost, view.top, view.tick, view.min_size, view.fee_ppm, orders)


@settings(max_examples=300, deadline=None)
@given(cases())
def test_kernel_equals_its_twin(case):
    rule, view = case
    actions, reasons, imbalance = policy_of(rule).decide(record(view))
    twin = Decision(rule, view)
    cancels = [(int(a["key"]), int(a["reason"])) for a in actions if a["kind"] == CANCEL]
    quotes = [(int(a["token"]), int(a["level"]), int(a["price_e4"])) for a in actions if a["kind"] == QUOTE]
    takes = [
        (int(a["token"]), int(a["price_e4"]), int(a["size_micro"])) for a in actions if a["kind"] == TAKE
    ]
    assert cancels == twin.cancels
    assert quotes == twin.quotes
    assert takes == ([twin.take] if twin.take else [])
    assert reasons == tuple(twin.reason)
    assert imbalance == pytest.approx(float(twin.imbalance), abs=1e-12)
    assert list(actions["kind"]) == sorted(actions["kind"])


@given(cases())
def test_no_quote_can_meet_an_order_of_ours(case):
    rule, view = case
    actions, _, _ = policy_of(rule).decide(record(view))
    buys = actions[actions["kind"] != CANCEL]
    mine = [(int(action["token"]), int(action["price_e4"])) for action in buys]
    live = [(order.token, order.side, order.price) for order in view.orders if order.remaining > 0]
    for token, price in mine:
        assert all(price + other < ONE for side, other in mine if side != token)
        for other, side, theirs in live:
            assert not (side == 0 and other != token and price + theirs >= ONE)
            assert not (side == 1 and other == token and price >= theirs)


@given(cases())
def test_quotes_are_passive_on_tick_and_never_more_than_intended(case):
    rule, view = case
    actions, reasons, _ = policy_of(rule).decide(record(view))
    gone = {int(action["key"]) for action in actions if action["kind"] == CANCEL}
    for token in (0, 1):
        quotes = actions[(actions["kind"] == QUOTE) & (actions["token"] == token)]
        top, other = view.top[token], view.top[1 - token]
        for price in map(int, quotes["price_e4"]):
            assert 100 <= price < ONE
            assert price % view.tick == 0
            assert price < top.ask
            assert other.bid is None or price < ONE - other.bid
        kept = [
            order
            for order in view.orders
            if order.token == token
            and order.key not in gone
            and not order.is_taker
            and order.state in (OPEN, PENDING_NEW)
        ]
        prices = [order.price for order in kept] + [int(price) for price in quotes["price_e4"]]
        assert len(prices) == len(set(prices)) <= rule.num_levels
        assert all(quotes["size_micro"] == rule.order_size)
        assert (reasons[token] == 0) == bool(prices)


@given(cases())
def test_the_pair_stays_profitable_when_both_best_bids_fill(case):
    rule, view = case
    view.orders.clear()
    actions, _, _ = policy_of(rule).decide(record(view))
    paid = Fraction(0)
    quoted = actions[actions["kind"] == QUOTE]
    for token in (0, 1):
        cost, held = min(view.cost[token], 2 * view.position[token]), view.position[token]
        if cost == 0:
            held = 0
        prices = quoted["price_e4"][quoted["token"] == token]
        if len(prices):
            cost += Fraction(rule.order_size * int(prices.max()), ONE)
            held += rule.order_size
        paid += Fraction(cost, held) if held else 0
    if len(quoted) and not any(action["kind"] == TAKE for action in actions):
        assert paid <= 1 - rule.margin


@given(cases())
def test_acting_once_leaves_nothing_to_do(case):
    rule, view = case
    view.orders = [order for order in view.orders if order.state in (OPEN, PENDING_NEW)]
    policy = policy_of(rule)
    # What waits for a cancel, or for a taker order to be over, comes in the second round.
    for _ in range(2):
        actions, _, _ = policy.decide(record(view))
        view = act(view, actions)
        for top in view.top:
            top.ask_size = 0
    assert len(policy.decide(record(view))[0]) == 0


@given(cases())
def test_taker_is_one_and_never_more_than_the_imbalance(case):
    rule, view = case
    actions, _, _ = policy_of(rule).decide(record(view))
    takes = actions[actions["kind"] == TAKE]
    assert len(takes) <= 1
    for take in takes:
        light = int(take["token"])
        assert view.position[light] < view.position[1 - light]
        assert take["size_micro"] <= view.position[1 - light] - view.position[light]
        assert take["size_micro"] <= min(view.top[light].ask_size, rule.order_size)
        assert not any(order.is_taker and order.remaining > 0 for order in view.orders)


@given(cases())
def test_pending_and_unknown_orders_are_never_cancelled_again(case):
    rule, view = case
    actions, _, _ = policy_of(rule).decide(record(view))
    cancelled = {int(action["key"]) for action in actions if action["kind"] == CANCEL}
    for order in view.orders:
        if order.state in (PENDING_CANCEL, UNKNOWN) or order.is_taker:
            assert order.key not in cancelled


def compatible_record(rule, view):
    """The same situation as the original's own input: integers as the doubles that they stand for."""
    result = {
        "config": {
            "num_levels": rule.num_levels,
            "tick_size": view.tick / ONE,
            "base_offset": float(rule.offset),
            "min_profit_margin": float(rule.margin),
            "max_imbalance": float(rule.max_imbalance),
            "order_size": rule.order_size / SHARE,
            "spread_per_level": float(rule.spread),
        },
        "inventory": {},
    }
    for token, name in enumerate(("up", "down")):
        held, cost, top = view.position[token], view.cost[token], view.top[token]
        result["inventory"][f"{name}_size"] = held / SHARE
        result["inventory"][f"{name}_avg_price"] = cost / held if held else 0.0
        ask = None if top.ask is None else (top.ask / ONE, top.ask_size / SHARE)
        result[f"{name}_orderbook"] = {"best_ask": ask, "best_ask_is_ours": top.ask_is_ours}
        result[f"{name}_bids"] = [
            {"order_id": order.key, "price": order.price / ONE, "remaining_size": order.remaining / SHARE}
            for order in view.orders
            if order.token == token
            and order.side == 0
            and not order.is_taker
            and order.state in (OPEN, PENDING_NEW)
        ]
    return result


@given(cases())
def test_compatible_policy_gives_the_originals_actions(case):
    rule, view = case
    actions, _, imbalance = policy_of(rule, compatible=True).decide(record(view))
    wanted = original.solve(compatible_record(rule, view))
    assert imbalance == wanted["imbalance"]
    assert [int(a["key"]) for a in actions if a["kind"] == CANCEL] == wanted["cancellations"]
    for kind, orders in ((QUOTE, wanted["limit_orders"]), (TAKE, wanted["taker_orders"])):
        got = [
            (int(a["token"]), int(a["price_e4"]), int(a["size_micro"])) for a in actions if a["kind"] == kind
        ]
        assert got == [
            (("up", "down").index(o["token"]), round(o["price"] * ONE), round(o["size"] * SHARE))
            for o in orders
        ]
