"""The policy `pairs`: kernel against its twin, and what must hold whatever the market does."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from invmm._ext.markouts import Markouts
from invmm._ext.pairs_policy import PairsPolicy
from invmm._ext.reservation import half_spread, reservation_price
from invmm._ext.solver import POLICY_INPUT_DTYPE
from tests.reference import pairs as twin
from tests.reference.pairs import ONE, PENDING_CANCEL, SHARE, Decision, Rule

CANCEL, QUOTE, TAKE = 1, 2, 3
Record = npt.NDArray[np.void]

probabilities = st.one_of(st.floats(1e-6, 1 - 1e-6), st.floats(0.05, 0.95))
gammas = st.one_of(st.just(0.0), st.floats(1e-12, 1e-6), st.floats(1e-5, 0.1))
leads = st.one_of(st.integers(-500, 500), st.floats(-20_000, 20_000))
lots = st.one_of(st.integers(1, 300), st.floats(0.01, 5_000))


# ---- the reservation price ------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(probabilities, gammas, leads, lots)
def test_reservation_equals_decimal_arithmetic(p: float, gamma: float, lead: float, n: float) -> None:
    odds = math.log(p / (1 - p))
    exact = twin.reservation(1 / (1 + (-Decimal(odds)).exp()), Decimal(gamma), Decimal(lead), Decimal(n))
    assert reservation_price(p, gamma, lead, n) == pytest.approx(float(exact), rel=1e-9, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(probabilities, leads, lots)
def test_without_risk_aversion_a_share_is_worth_its_odds(p: float, lead: float, n: float) -> None:
    assert reservation_price(p, 0.0, lead, n) == pytest.approx(p, abs=1e-12)
    assert reservation_price(p, 1e-13, lead, n) == pytest.approx(p, abs=1e-8)


@settings(max_examples=40, deadline=None)
@given(gammas, st.integers(-500, 500), st.integers(1, 100))
def test_a_share_that_surely_pays_is_worth_a_dollar_and_one_that_surely_does_not_nothing(
    gamma: float, lead: int, n: int
) -> None:
    gamma = min(gamma, 0.01)  # at a larger one a lead of 500 is more dreadful than 10^-15 is improbable
    assert reservation_price(1 - 1e-15, gamma, lead, n) == pytest.approx(1.0, abs=1e-9)
    assert reservation_price(1e-15, gamma, lead, n) == pytest.approx(0.0, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(probabilities, gammas, leads, lots, lots)
def test_reservations_of_both_tokens_sum_to_a_dollar_at_most(
    p: float, gamma: float, lead: float, n: float, m: float
) -> None:
    both = reservation_price(p, gamma, lead, n) + reservation_price(1 - p, gamma, -lead, m)
    assert both <= 1 + 1e-12


@settings(max_examples=40, deadline=None)
@given(probabilities, gammas, leads, lots, st.floats(0, 1_000))
def test_reservation_falls_with_the_lead_and_with_the_size(
    p: float, gamma: float, lead: float, n: float, more: float
) -> None:
    now = reservation_price(p, gamma, lead, n)
    assert 0 <= now <= 1 + 1e-12
    assert reservation_price(p, gamma, lead + more, n) <= now + 1e-12
    assert reservation_price(p, gamma, lead, n + more) <= now + 1e-12


@settings(max_examples=40, deadline=None)
@given(gammas, lots, st.floats(1, 10_000))
def test_half_spread_equals_its_formula(gamma: float, n: float, decay: float) -> None:
    exact = twin.half_spread(Decimal(gamma), Decimal(n), Decimal(decay))
    assert half_spread(gamma, n, decay) == pytest.approx(float(exact), rel=1e-9)


def test_a_ladder_of_three_hundreds_is_priced_as_stated() -> None:
    assert [round(reservation_price(0.5, 0.004, q, 100), 3) for q in (0, 100, 200)] == [0.45, 0.355, 0.27]


# ---- the whole decision ---------------------------------------------------------------------------------


@st.composite
def cases(draw: st.DrawFn) -> tuple[Rule, Record]:
    rule = Rule(
        dollars_at_risk=draw(st.sampled_from([100.0, 500.0, 2500.0, 1e9])),
        fill_decay=draw(st.sampled_from([50.0, 200.0, 1000.0])),
        min_edge=draw(st.sampled_from([0.0005, 0.002, 0.02])),
        message=draw(st.sampled_from([0.0, 0.01, 1.0])),
        max_pair_cost=draw(st.sampled_from([0.0, 0.0, 0.99, 1.02])),
        order_size=draw(st.sampled_from([3.0, 5.0, 20.0, 100.0])),
        max_lead=draw(st.sampled_from([0.0, 50.0, 400.0, 5_000.0])),
        num_levels=draw(st.sampled_from([0, 1, 3, 5])),
        overshoot=draw(st.booleans()),
        sells=draw(st.booleans()),
        offers=draw(st.booleans()),
    )
    tick = draw(st.sampled_from([10, 25, 100]))
    view = np.zeros((), POLICY_INPUT_DTYPE)
    view["tick_e4"], view["min_size_micro"] = tick, draw(st.sampled_from([0, 5 * SHARE]))
    view["fee_rate_ppm"] = draw(st.sampled_from([0, 70_000]))
    view["ms_to_end"] = draw(st.sampled_from([15_000, 25_000, 45_000, 90_000, 290_000, 1 << 62]))
    shares = st.one_of(st.just(0), st.integers(0, 400).map(lambda n: n * SHARE), st.integers(0, 400 * SHARE))
    for token in (0, 1):
        held = draw(shares)
        view["position_micro"][token] = held
        view["cost_micro"][token] = held * draw(st.integers(10, 95)) // 100
        view["low_micro"][token] = held - (min(held, draw(shares)) if draw(st.booleans()) else 0)
        view["high_micro"][token] = held + (draw(shares) if draw(st.integers(0, 3)) == 0 else 0)
        view["sellable_micro"][token] = view["low_micro"][token]
    ticks = ONE // tick
    bid = draw(st.integers(1, ticks - 3)) * tick
    ask = min(bid + draw(st.integers(1, 4)) * tick, ONE - tick)
    sizes = st.sampled_from([0, 5 * SHARE, 40 * SHARE, 500 * SHARE])
    bids, asks = draw(sizes), draw(sizes)
    view["top"][0] = (bid, ask, bids, asks, False, False)
    view["top"][1] = (ONE - ask, ONE - bid, asks, bids, False, False)
    if draw(st.integers(0, 9)) == 0:
        view["top"][draw(st.integers(0, 1))][draw(st.sampled_from(["bid_e4", "ask_e4"]))] = -1
    count = draw(st.integers(0, 6))
    view["n_orders"] = count
    for index in range(count):
        token = draw(st.integers(0, 1))
        near = int(view["top"][token]["bid_e4"]) + draw(st.integers(-4, 2)) * tick
        price = min(max(near, tick), ONE - tick)
        left = draw(st.sampled_from([0, 2 * SHARE, 20 * SHARE, 100 * SHARE]))
        state = draw(st.sampled_from([1, 1, 1, 2, 3, 4]))
        side, takes = draw(st.sampled_from([0, 0, 0, 0, 0, 0, 1])), draw(st.integers(0, 12)) == 0
        view["orders"][index] = (100 + index, left, left, price, token, side, state, takes)
        view["ahead_micro"][index] = draw(st.sampled_from([-1, 0, 50 * SHARE, 900 * SHARE]))
    return rule, view


slopes = st.sampled_from([0.0, 0.5, 0.89, 1.2, 2.5])


def policy_of(rule: Rule, slope: float) -> PairsPolicy:
    terms = asdict(rule)
    return PairsPolicy(Markouts(slope=slope, decay=terms.pop("fill_decay")), **terms)


def split(actions: Any) -> tuple[Any, Any, Any]:
    return tuple(actions[actions["kind"] == kind] for kind in (CANCEL, QUOTE, TAKE))  # type: ignore[return-value]


@settings(max_examples=120, deadline=None)
@given(cases(), slopes)
def test_kernel_equals_its_twin(case: tuple[Rule, Record], slope: float) -> None:
    rule, view = case
    actions, reasons, _ = policy_of(rule, slope).decide(view)
    cancels, quotes, takes = split(actions)
    wanted = Decision(rule, view, slope=slope)
    assert [tuple(int(a[n]) for n in ("token", "side", "price_e4", "size_micro")) for a in quotes] == (
        wanted.quotes
    )
    assert {int(a["key"]) for a in cancels} == wanted.cancels
    taken = [(int(a["token"]), int(a["side"]), int(a["price_e4"]), int(a["size_micro"])) for a in takes]
    assert taken == ([wanted.take] if wanted.take else [])
    assert list(actions["kind"]) == sorted(actions["kind"])
    for token in (0, 1):
        if not any(acts(a)[0] == token for a in quotes):
            kept = [o for o in resting(view, cancels) if acts(o)[0] == token]
            assert (reasons[token] != 0) == (not kept)


def acts(order: Any) -> tuple[int, int]:
    """Token and price, an offer as the bid for the other token that it amounts to."""
    token, price = int(order["token"]), int(order["price_e4"])
    return (token, price) if order["side"] == 0 else (1 - token, ONE - price)


def resting(view: Record, cancels: Any) -> list[Any]:
    """Own bids and offers that stay."""
    gone = {int(action["key"]) for action in cancels}
    return [
        order
        for order in view["orders"][: int(view["n_orders"])]
        if order["state"] < PENDING_CANCEL
        and not order["is_taker"]
        and order["remaining_micro"] > 0
        and int(order["key"]) not in gone
    ]


def alive(view: Record) -> list[Any]:
    """Own orders that may be alive, whatever the decision does to them."""
    return [o for o in view["orders"][: int(view["n_orders"])] if o["remaining_micro"] > 0]


@settings(max_examples=60, deadline=None)
@given(cases(), slopes)
def test_own_bids_of_both_tokens_leave_a_tick_below_a_dollar(case: tuple[Rule, Record], slope: float) -> None:
    rule, view = case
    cancels, quotes, takes = split(policy_of(rule, slope).decide(view)[0])
    new = [acts(a) for a in (*quotes, *takes)]
    old = [acts(o) for o in alive(view)]
    for token, price in new:
        for other, theirs in new + old:
            assert token == other or price + theirs < ONE
    kept = [acts(o) for o in resting(view, cancels)]
    for token, price in kept:
        for other, theirs in kept:
            assert token == other or price + theirs <= ONE - int(view["tick_e4"])


@settings(max_examples=60, deadline=None)
@given(cases(), slopes)
def test_no_bid_is_within_the_least_edge_of_what_it_is_worth(case: tuple[Rule, Record], slope: float) -> None:
    rule, view = case
    assert_edges(rule, policy_of(rule, slope), view)


@settings(max_examples=25, deadline=None)
@given(
    cases(),
    st.sampled_from([0.0, 0.5]),
    st.integers(-6, 6).filter(bool),
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9)), min_size=4, max_size=8, unique=True),
)
def test_after_each_change_of_fair_value_what_rests_keeps_the_least_edge(
    case: tuple[Rule, Record], slope: float, ticks: int, resting_at: list[tuple[int, int]]
) -> None:
    """Orders rest at and behind the best bids; the market moves by some ticks; those too near go."""
    rule, view = case
    rule = replace(rule, num_levels=5, max_lead=5_000.0, dollars_at_risk=2_500.0, message=1.0)
    view = view.copy()
    tick = int(view["tick_e4"])
    bid = min(max(int(view["top"][0]["bid_e4"]), 20 * tick), ONE - 24 * tick)
    view["ms_to_end"], view["n_orders"] = 290_000, len(resting_at)
    for index, (token, behind) in enumerate(resting_at):
        price = (bid if token == 0 else ONE - bid - 2 * tick) - behind * tick
        view["orders"][index] = (index + 1, 20 * SHARE, 20 * SHARE, price, token, 0, 1, False)
    bid += ticks * tick
    sizes = (100 * SHARE, 100 * SHARE, False, False)
    view["top"][0] = (bid, bid + 2 * tick, *sizes)
    view["top"][1] = (ONE - bid - 2 * tick, ONE - bid, *sizes)
    assert_edges(rule, policy_of(rule, slope), view)


def assert_edges(rule: Rule, policy: PairsPolicy, view: Record) -> None:
    """What stays and what is new keeps the least edge, in the order in which it would fill."""
    cancels, quotes, takes = split(policy.decide(view)[0])
    p = policy.fair(view)
    assume(p is not None)
    assert p is not None
    for token in (0, 1):
        lead = (int(view["high_micro"][token]) - int(view["low_micro"][1 - token])) / SHARE
        for order in view["orders"][: int(view["n_orders"])]:
            if acts(order)[0] == token and (order["is_taker"] or order["state"] == 4):
                lead += order["remaining_micro"] / SHARE
        for take in takes:
            if acts(take)[0] == token:
                lead += take["size_micro"] / SHARE
        bids = [
            (acts(o)[1], o["remaining_micro"] / SHARE) for o in resting(view, cancels) if acts(o)[0] == token
        ]
        bids += [(acts(a)[1], a["size_micro"] / SHARE) for a in quotes if acts(a)[0] == token]
        odds = p if token == 0 else 1 - p
        for price in sorted({price for price, _ in bids}, reverse=True):
            n = sum(size for at, size in bids if at == price)
            worth = reservation_price(odds, 1 / rule.dollars_at_risk, lead, n)
            assert price / ONE <= worth - rule.min_edge + 1e-9
            lead += n


@settings(max_examples=60, deadline=None)
@given(cases(), slopes)
def test_what_is_wanted_keeps_the_lead_within_its_limit(case: tuple[Rule, Record], slope: float) -> None:
    rule, view = case
    cancels, quotes, _ = split(policy_of(rule, slope).decide(view)[0])
    most = 0.0 if view["ms_to_end"] <= rule.narrow_s * 1000 else rule.max_lead
    for token in (0, 1):
        new = sum(a["size_micro"] for a in quotes if acts(a)[0] == token) / SHARE
        if not new:
            continue
        lead = (int(view["high_micro"][token]) - int(view["low_micro"][1 - token])) / SHARE
        lead += sum(o["remaining_micro"] for o in resting(view, cancels) if acts(o)[0] == token) / SHARE
        assert lead + new <= most + 0.011 * len(view["orders"])


@settings(max_examples=60, deadline=None)
@given(cases(), slopes)
def test_swapping_the_tokens_swaps_the_decision(case: tuple[Rule, Record], slope: float) -> None:
    rule, view = case
    swapped = view.copy()
    for name in ("position_micro", "cost_micro", "low_micro", "high_micro", "sellable_micro", "top"):
        swapped[name] = view[name][::-1]
    swapped["orders"]["token"] = 1 - view["orders"]["token"]
    here, there = (policy_of(rule, slope).decide(v)[0] for v in (view, swapped))
    there = there.copy()
    there["token"] = 1 - there["token"]
    assert sorted(map(str, here)) == sorted(map(str, there))


@settings(max_examples=60, deadline=None)
@given(cases(), slopes, st.integers(1, 200))
def test_a_larger_lead_never_raises_a_bid_for_the_leading_token(
    case: tuple[Rule, Record], slope: float, more: int
) -> None:
    rule, view = case
    rule = replace(rule, max_lead=100_000.0, max_pair_cost=0.0, taker_delay_ms=0.0, sells=False)
    view = view.copy()
    view["n_orders"] = 0
    view["ms_to_end"] = 290_000
    ahead = view.copy()
    for name in ("position_micro", "low_micro", "high_micro"):
        ahead[name][0] += more * SHARE
    best = []
    for state in (view, ahead):
        _, quotes, takes = split(policy_of(rule, slope).decide(state)[0])
        assume(not len(takes))
        up, down = ([acts(a)[1] for a in quotes if acts(a)[0] == token] for token in (0, 1))
        best.append((max(up, default=0), max(down, default=0)))
    assert best[1][0] <= best[0][0]
    assert best[1][1] >= best[0][1]


@settings(max_examples=60, deadline=None)
@given(cases(), slopes)
def test_an_unchanged_market_is_left_alone(case: tuple[Rule, Record], slope: float) -> None:
    """Once what it wanted has happened; the end of a dying order is a change."""
    rule, view = case
    orders = view["orders"][: int(view["n_orders"])]
    assume(not any(order["state"] >= PENDING_CANCEL for order in orders))
    cancels, quotes, takes = split(policy_of(rule, slope).decide(view)[0])
    assume(not len(takes))
    after = view.copy()
    stay = [
        index for index in range(int(view["n_orders"])) if view["orders"]["key"][index] not in cancels["key"]
    ]
    after["n_orders"] = len(stay) + len(quotes)
    after["orders"][: len(stay)] = view["orders"][stay]
    after["ahead_micro"][: len(stay)] = view["ahead_micro"][stay]
    after["ahead_micro"][len(stay) :] = -1
    for index, quote in enumerate(quotes, len(stay)):
        size, side = quote["size_micro"], quote["side"]
        after["orders"][index] = (500 + index, size, size, quote["price_e4"], quote["token"], side, 1, 0)
        if side:
            after["sellable_micro"][quote["token"]] -= size
    cancels, _, _ = split(policy_of(rule, slope).decide(after)[0])
    assert not len(cancels)
