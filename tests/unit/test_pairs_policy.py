"""The policy `pairs`, situation by situation, and the markouts that it learns from."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from invmm._ext.markouts import Markouts
from invmm._ext.pairs_policy import PairsPolicy
from invmm._ext.solver import POLICY_INPUT_DTYPE
from invmm.settings import PairsSettings, Settings
from invmm.strategy.policies import PairsTerms, make_policy
from invmm.types import Reason

SHARE = 1_000_000
CANCEL, QUOTE, TAKE = 1, 2, 3
BUY, SELL = 0, 1
UP, DOWN = 0, 1


def situation(
    held: tuple[int, int] = (0, 0), bid: int = 4900, ask: int = 5100, ms_to_end: int = 200_000, **more: Any
) -> npt.NDArray[np.void]:
    view = np.zeros((), POLICY_INPUT_DTYPE)
    for name in ("position_micro", "low_micro", "high_micro", "sellable_micro"):
        view[name] = np.array(held) * SHARE
    view["cost_micro"] = np.array(held) * SHARE // 2
    view["tick_e4"], view["min_size_micro"], view["fee_rate_ppm"] = 100, 5 * SHARE, 70_000
    view["ms_to_end"] = ms_to_end
    view["top"][UP] = (bid, ask, 50 * SHARE, 50 * SHARE, False, False)
    view["top"][DOWN] = (10_000 - ask, 10_000 - bid, 50 * SHARE, 50 * SHARE, False, False)
    view["ahead_micro"] = -1
    for name, value in more.items():
        view[name] = value
    return view


def with_bids(
    view: npt.NDArray[np.void], *bids: tuple[int, int, int], state: int = 1
) -> npt.NDArray[np.void]:
    """With own bids: token, price, shares. Their keys are 1, 2, …"""
    view = view.copy()
    view["n_orders"] = len(bids)
    for index, (token, price, shares) in enumerate(bids):
        view["orders"][index] = (index + 1, shares * SHARE, shares * SHARE, price, token, BUY, state, False)
    return view


def actions(policy: PairsPolicy, view: npt.NDArray[np.void], kind: int) -> list[tuple[int, int, int, int]]:
    """Token, side, price and whole shares."""
    decided, _, _ = policy.decide(view)
    return [
        (int(a["token"]), int(a["side"]), int(a["price_e4"]), int(a["size_micro"]) // SHARE)
        for a in decided[decided["kind"] == kind]
    ]


def test_a_balanced_book_is_quoted_alike_on_both_sides_each_level_a_little_lower() -> None:
    quotes = actions(PairsPolicy(), situation(), QUOTE)
    assert [price for token, _, price, _ in quotes if token == UP] == [4900, 4800, 4700]
    assert [price for token, _, price, _ in quotes if token == DOWN] == [4900, 4800, 4700]


def test_an_own_book_under_water_is_completed_all_the_same() -> None:
    """Average cost has no say: 200 Up at 80 cents, worth 50 now."""
    view = situation((200, 0), cost_micro=np.array([160 * SHARE, 0]))
    down = [price for token, _, price, _ in actions(PairsPolicy(), view, QUOTE) if token == DOWN]
    assert down
    assert max(down) > 4800


def test_the_worst_end_of_the_position_prices_each_token() -> None:
    sure = situation((100, 100))
    unsettled = situation((100, 100), low_micro=np.array([0, 100]) * SHARE)
    assert actions(PairsPolicy(), sure, QUOTE)[0][2] == 4900
    best = {token: price for token, _, price, _ in reversed(actions(PairsPolicy(), unsettled, QUOTE))}
    assert best == {UP: 4900, DOWN: 4800}  # of Up there are 100 at most, of Down it may be 100 ahead


def test_orders_of_unknown_fate_count_as_filled() -> None:
    view = with_bids(situation(), (UP, 4000, 100), state=4)
    up = [price for token, _, price, _ in actions(PairsPolicy(), view, QUOTE) if token == UP]
    assert up == [4800, 4700, 4600]


def test_a_lead_is_completed_once_it_costs_more_than_the_pair() -> None:
    eager = PairsPolicy(dollars_at_risk=200.0, sells=False)
    patient = PairsPolicy(dollars_at_risk=5_000.0, sells=False)
    view = situation((100, 0), ms_to_end=29_000)
    assert actions(eager, view, TAKE) == [(DOWN, BUY, 5100, 50)]  # what is displayed
    assert actions(patient, view, TAKE) == []
    assert PairsPolicy(dollars_at_risk=200.0).decide(view)[0][-1]["reason"] == Reason.SELLS_LEAD


def test_waiting_for_a_maker_fill_is_worth_something_until_thirty_seconds_are_left() -> None:
    policy = PairsPolicy(dollars_at_risk=650.0, sells=False)
    assert actions(policy, situation((100, 0), ms_to_end=150_000), TAKE) == []
    assert actions(policy, situation((100, 0), ms_to_end=30_000), TAKE) == [(DOWN, BUY, 5100, 50)]


def test_one_order_that_takes_is_in_flight() -> None:
    policy = PairsPolicy(dollars_at_risk=200.0)
    view = with_bids(situation((200, 0), ms_to_end=29_000), (DOWN, 5100, 50))
    view["orders"]["is_taker"][0] = True
    assert actions(policy, view, TAKE) == []


def test_the_heavier_token_is_sold_only_as_far_as_it_may_be() -> None:
    policy = PairsPolicy(dollars_at_risk=200.0)
    view = situation((100, 0), ms_to_end=29_000)
    assert actions(policy, view, TAKE) == [(UP, SELL, 4900, 50)]
    view["sellable_micro"] = (20 * SHARE, 0)
    assert actions(policy, view, TAKE) == [(DOWN, BUY, 5100, 50)]  # more of it is displayed than may be sold


def test_an_own_bid_makes_way_before_a_lead_is_completed() -> None:
    policy = PairsPolicy(dollars_at_risk=200.0)
    view = with_bids(situation((100, 0), ms_to_end=29_000, bid=4900), (UP, 4900, 5))
    decided = policy.decide(view)[0]
    assert [(int(a["kind"]), int(a["key"])) for a in decided if a["token"] == UP] == [(CANCEL, 1)]
    assert not any(decided["kind"] == TAKE)
    assert policy.stats()["takes_blocked"] == 1


def test_an_orphan_below_the_minimum_is_held_or_overshot_by_rule() -> None:
    view = situation((3, 0), ms_to_end=29_000)
    held = PairsPolicy(dollars_at_risk=10.0, sells=False)
    assert actions(held, view, TAKE) == []
    assert held.stats()["small_orphans"] == 1
    overshooting = PairsPolicy(dollars_at_risk=10.0, overshoot=True, sells=False)
    assert actions(overshooting, view, TAKE) == []  # 2 shares too many cost about as much as 3
    assert actions(overshooting, situation((4, 0), ms_to_end=29_000), TAKE) == [(DOWN, BUY, 5100, 5)]


def test_near_the_end_only_what_narrows_the_lead_is_quoted_and_then_nothing() -> None:
    policy = PairsPolicy()
    late = situation((40, 0), ms_to_end=50_000)
    quotes = actions(policy, late, QUOTE)
    assert {token for token, *_ in quotes} == {DOWN}
    assert sum(shares for *_, shares in quotes) == 40
    assert policy.decide(late)[1] == (Reason.NARROWING, 0)
    over = with_bids(situation((40, 0), ms_to_end=19_000), (DOWN, 4800, 40))
    decided, reasons, _ = policy.decide(over)
    assert list(decided["kind"]) == [CANCEL]
    assert reasons == (Reason.NO_EXIT, Reason.NO_EXIT)


def test_a_pair_costs_at_most_what_is_allowed_where_that_is_set() -> None:
    view = situation((200, 0), cost_micro=np.array([120 * SHARE, 0]))
    free = [price for token, _, price, _ in actions(PairsPolicy(), view, QUOTE) if token == DOWN]
    capped = [
        price for token, _, price, _ in actions(PairsPolicy(max_pair_cost=0.98), view, QUOTE) if token == DOWN
    ]
    assert max(free) > 3800
    assert max(capped) == 3800
    assert PairsPolicy(max_pair_cost=0.6).decide(view)[1][DOWN] == Reason.PAIR_COST


def test_a_resting_order_is_moved_only_for_more_than_its_messages_and_its_place() -> None:
    behind, front = (with_bids(situation(), (UP, 4800, 100)) for _ in range(2))
    behind["ahead_micro"][0], front["ahead_micro"][0] = 10_000 * SHARE, 0

    def is_outbid(message: float, view: npt.NDArray[np.void]) -> bool:
        return (UP, BUY, 4900, 100) in actions(PairsPolicy(message=message), view, QUOTE)

    assert is_outbid(0.0, behind)
    assert is_outbid(0.0, front)
    assert is_outbid(0.015, behind)
    assert not is_outbid(0.015, front)
    assert not is_outbid(1.0, behind)


def test_an_order_within_the_least_edge_goes() -> None:
    view = with_bids(situation(), (UP, 5000, 100))
    decided = PairsPolicy().decide(view)[0]
    assert [int(a["reason"]) for a in decided if a["kind"] == CANCEL] == [Reason.TOO_DEAR]


def test_fair_value_is_the_microprice_and_a_models_value_by_its_age() -> None:
    policy = PairsPolicy(fair_max_age_ms=2_000.0)
    book = situation()
    assert policy.fair(book) == pytest.approx(0.5)
    heavy = situation()
    heavy["top"]["bid_micro"][UP] = heavy["top"]["ask_micro"][DOWN] = 500 * SHARE
    assert policy.fair(heavy) == pytest.approx(0.508, abs=0.002)
    ages = [
        policy.fair(situation(fair_ppm=700_000, fair_age_ns=age * 1_000_000)) for age in (0, 1_000, 2_000)
    ]
    assert ages[0] == pytest.approx(0.7)
    assert 0.59 < (ages[1] or 0) < 0.62
    assert ages[2] == pytest.approx(0.5)
    empty = situation(bid=-1, ask=-1)
    empty["top"][DOWN] = (-1, -1, 0, 0, False, False)
    assert policy.fair(empty) is None
    assert policy.decide(empty)[1] == (Reason.NO_FAIR, Reason.NO_FAIR)


def test_own_shares_do_not_move_the_microprice() -> None:
    view = with_bids(situation(), (UP, 4900, 30))
    view["top"][UP] = (4900, 5100, 80 * SHARE, 50 * SHARE, True, False)
    view["top"][DOWN] = (4900, 5100, 50 * SHARE, 80 * SHARE, False, True)
    assert PairsPolicy().fair(view) == pytest.approx(0.5)


def test_a_position_outside_its_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="low <= position <= high"):
        PairsPolicy().decide(situation((10, 0), high_micro=np.array([5, 0]) * SHARE))


def test_the_defaults_fill_at_their_first_level() -> None:
    """γ·n·p(1−p)/2 is at most half a tick of a cent."""
    settings = Settings()
    policy = make_policy("pairs", settings.strategy, pairs=PairsTerms.new(settings.pairs))
    assert policy.name == "pairs"
    assert 0 < policy.stats()["first_level_cents"] <= 0.5


def steep() -> Markouts:
    """Whoever bids behind the best is filled by sweeps."""
    return Markouts(slope=2.5)


def test_where_bids_behind_the_best_lose_only_the_best_price_is_bid() -> None:
    assert actions(PairsPolicy(steep()), situation(bid=4900, ask=5100), QUOTE) == [
        (UP, BUY, 4900, 100),
        (DOWN, BUY, 4900, 100),
    ]
    policy = PairsPolicy(steep(), dollars_at_risk=400.0)  # 3 cents below fair value for its own risk alone
    assert actions(policy, situation(bid=4900, ask=5100), QUOTE) == []
    assert policy.decide(situation(bid=4900, ask=5100))[1] == (Reason.ADVERSE, Reason.ADVERSE)


def test_a_bid_that_was_left_behind_goes() -> None:
    policy = PairsPolicy(steep())
    decided = policy.decide(with_bids(situation(bid=5100, ask=5300), (UP, 4900, 100)))[0]
    assert [(int(a["key"]), int(a["reason"])) for a in decided if a["kind"] == CANCEL] == [
        (1, Reason.ADVERSE)
    ]
    assert (UP, BUY, 5100, 100) in actions(policy, situation(bid=5100, ask=5300), QUOTE)


def test_the_heavier_token_is_offered_where_that_is_wanted_and_may_be_sold() -> None:
    bids = PairsPolicy()
    offers = PairsPolicy(offers=True)
    view = situation((200, 0))
    wanted = [(price, shares) for token, _, price, shares in actions(bids, view, QUOTE) if token == DOWN]
    assert len(wanted) == 3
    quotes = actions(offers, view, QUOTE)
    sold = [(10_000 - price, shares) for token, side, price, shares in quotes if (token, side) == (UP, SELL)]
    assert sold == wanted[:2]  # 200 may be sold
    assert [quote for quote in quotes if quote[0] == DOWN] == [(DOWN, BUY, *wanted[2])]
    assert offers.stats()["offers"] == 2


def test_an_own_offer_is_kept_like_the_bid_that_it_amounts_to() -> None:
    view = with_bids(situation((200, 0)), (UP, 5100, 100))
    view["orders"]["side"][0] = SELL
    view["sellable_micro"] = (100 * SHARE, 0)
    cancels = actions(PairsPolicy(offers=True), view, CANCEL)
    assert cancels == []
    dear = with_bids(situation((200, 0)), (UP, 4800, 100))  # below what it is worth, risk in
    dear["orders"]["side"][0] = SELL
    dear["position_micro"] = dear["low_micro"] = dear["high_micro"] = np.array([10, 0]) * SHARE
    assert actions(PairsPolicy(offers=True), dear, CANCEL) == [(UP, SELL, 4800, 100)]


# ---- where the books are heading --------------------------------------------------------------------------


def test_a_rise_is_followed_until_it_is_old() -> None:
    """Up rises by four cents at once: its bid goes ahead of the microprice, and back within a second."""
    follower, doubter = (PairsPolicy(Markouts(follow=follow)) for follow in (1.0, 0.0))

    def best(policy: PairsPolicy, mid: int, ms: int) -> tuple[int, int]:
        view = situation(bid=mid - 200, ask=mid + 200, ms_to_end=200_000 - ms)
        quotes = actions(policy, view, QUOTE)
        up, down = (max(price for token, _, price, _ in quotes if token == side) for side in (UP, DOWN))
        return up, down

    assert best(follower, 5000, 0) == best(doubter, 5000, 0)
    still = best(doubter, 5400, 100)
    ahead = best(follower, 5400, 100)
    assert ahead[0] > still[0]
    assert ahead[1] < still[1]
    assert best(follower, 5400, 2_000) == best(doubter, 5400, 2_000)


def test_how_far_a_rise_goes_on_is_learnt_from_the_books() -> None:
    """Each second of ten the mid rises by a cent and then by another: what rises goes on."""
    markouts = Markouts(follow=0.0)
    policy = PairsPolicy(markouts)
    for market in range(12):
        mid = 4000
        for ms in range(0, 20_000, 100):
            mid += 100 if ms % 1_000 in (0, 500) and ms % 2_000 < 1_000 else 0
            policy.decide(
                situation(bid=mid - 100, ask=mid + 100, ms_to_end=200_000_000 - market * 60_000 - ms)
            )
    assert markouts.follow > 0.1
    silent = Markouts(follow=0.5)
    PairsPolicy(silent).decide(situation())
    assert silent.follow == pytest.approx(0.5)


def test_adverse_selection_is_a_line_over_the_distance_behind_the_best_bid() -> None:
    markouts = Markouts(0.003, 0.005, 0.0, 1.0)
    rng = np.random.default_rng(7)
    for distance in rng.choice([0.0, 0.01, 0.02], 3_000):
        markouts.add(0, 0.004 + 1.5 * distance + rng.normal(0, 0.01), distance)
    line = markouts.stats()[0]
    assert line["base"] == pytest.approx(0.004, abs=0.002)
    assert line["slope"] == pytest.approx(1.5, abs=0.1)
    assert markouts.at(0.02) == pytest.approx(line["base"] + 0.02 * line["slope"])


def test_the_decay_of_fills_is_what_own_bids_say() -> None:
    """Bids rest as long in every half cent up to four cents; their fills fall off with k = 80."""
    markouts = Markouts(decay=200.0)
    distances = [0.0025 + 0.005 * i for i in range(8)]
    for distance in distances:
        markouts.rested(distance, 1_000.0)
    assert markouts.decay == 200.0
    few = 0.0
    for scale in (1.0, 400.0):
        for distance in distances:
            markouts.filled(distance, scale * math.exp(-80.0 * distance))
        if scale == 1.0:
            few = markouts.decay
    assert 100.0 < few < 200.0  # a dozen fills move the prior a little
    assert markouts.decay == pytest.approx(80.0, rel=0.05)


def test_the_policy_counts_what_rests_and_what_is_filled() -> None:
    policy = PairsPolicy(Markouts(decay=300.0))
    for ms in range(0, 20_000, 250):
        view = with_bids(situation(ms_to_end=200_000 - ms), (UP, 4900, 100), (UP, 4600, 100))
        policy.decide(view)
    for _ in range(20):
        policy.filled(UP, 4600)  # only the far one is ever filled
    assert policy.stats()["fill_decay"] < 150.0


# ---- markouts ---------------------------------------------------------------------------------------------


def test_without_fills_the_prior_is_charged_and_with_many_what_was_seen() -> None:
    markouts = Markouts(0.003, 0.005)
    assert markouts.at(0.0) == pytest.approx(0.003)
    for _ in range(400):
        for horizon in range(3):
            markouts.add(horizon, 0.012 if horizon == 1 else 0.004)
    assert markouts.at(0.0) == pytest.approx(0.012, abs=0.0005)  # the worst horizon's
    markouts.add(3, 0.6)
    assert markouts.at(0.0) == pytest.approx(0.012, abs=0.0005)  # one market's end tells next to nothing


def test_a_fill_is_measured_from_before_it_was_told() -> None:
    """Fair value falls by 2 cents, the fill is told 100 ms later, and it stays down."""
    markouts = Markouts()
    policy = PairsPolicy(markouts)
    times = [(0, 5000), (150, 4800), (250, 4800)]
    for ms, mid in times:
        policy.decide(situation(bid=mid - 100, ask=mid + 100, ms_to_end=200_000 - ms))
    policy.filled(UP, 4900)
    policy.filled(DOWN, 4900)
    for ms in (1_300, 5_300, 30_300):
        policy.decide(situation(bid=4700, ask=4900, ms_to_end=200_000 - ms))
    seen = markouts.stats()
    assert [row["count"] for row in seen] == [2, 2, 2, 0]
    assert [row["mean"] for row in seen[:3]] == pytest.approx([0.0] * 3, abs=1e-9)  # Up lost what Down won
    policy.settled(UP)
    policy.settled(UP)
    assert markouts.stats()[3]["count"] == 1
    assert markouts.stats()[3]["mean"] == pytest.approx(0.0)


def test_a_session_learns_over_its_markets_and_each_has_its_own_rebate() -> None:
    terms = PairsTerms.new(PairsSettings(adverse=0.004, adverse_slope=0.0, min_edge=0.002))
    first, second = (make_policy("pairs", Settings().strategy, pairs=terms.at(share)) for share in (0.0, 1.0))
    assert isinstance(first, PairsPolicy)
    assert isinstance(second, PairsPolicy)
    assert first.markouts is second.markouts
    poor, rich = (actions(policy, situation(), QUOTE)[0][2] for policy in (first, second))
    assert poor < rich


@pytest.mark.parametrize(
    ("name", "value"),
    [("dollars_at_risk", 0.0), ("min_edge", 0.0), ("message", float("nan")), ("num_levels", 32)],
)
def test_a_parameter_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        PairsPolicy(**{name: value})


def test_fair_value_is_fused_by_what_books_and_model_leave_open() -> None:
    policy = PairsPolicy(fair_max_age_ms=2_000.0)

    def fused(deviation: float, **book: int) -> float:
        found = policy.fair(situation(fair_ppm=700_000, fair_variance=deviation**2, **book))
        assert found is not None
        return found

    sure, even, unsure = fused(0.0), fused(0.1), fused(10.0)
    assert sure == pytest.approx(0.7)
    assert even == pytest.approx(1 / (1 + (3 / 7) ** 0.5))  # half way in log-odds, where the books' is 0.1
    assert unsure == pytest.approx(0.5, abs=1e-4)
    assert fused(0.5, bid=3500, ask=6500) > fused(0.5)  # a wide book leaves more open
