"""Hand-computed cases for orders that take, end or are refused, and for the money that they move."""

from __future__ import annotations

from dataclasses import replace

import pytest

from invmm.sim import rules
from invmm.sim.orders import Order
from invmm.sim.rules import Refusal
from invmm.types import OrderStatus, OrderType, Outcome, Reason, Side
from tests.reference.frames import MARKET, UP, at, change, tick_change, trade
from tests.reference.stage import PROFILE, SHARE, Stage, fills

# ---- taking ------------------------------------------------------------------------------------------------


def test_taker_is_held_and_cannot_be_cancelled_meanwhile() -> None:
    stage = Stage([])
    order = stage.order(Outcome.UP, Side.BUY, 5300, 10)
    assert order.state == "DELAYED"
    assert stage.core.cancel(order.request.order_id) == rules.HELD
    stage.to(149)
    assert fills(order) == []
    stage.to(150)
    assert fills(order) == [(5300, 10)]


def test_held_taker_meets_the_book_of_its_release() -> None:
    stage = Stage([(100, [change("SELL", "0.53", "0", 100)])])
    order = stage.order(Outcome.UP, Side.BUY, 5300, 10)
    stage.to(160)
    assert fills(order) == []
    assert order.state == "LIVE"


def test_taker_walks_the_levels_and_rests_its_remainder() -> None:
    stage = Stage([])
    order = stage.order(Outcome.UP, Side.BUY, 5400, 350)
    stage.to(150)
    assert fills(order) == [(5300, 100), (5400, 200)]
    assert order.left_micro == 50 * SHARE
    assert order.state == "LIVE"


def test_buying_down_takes_the_bids_of_up_at_their_complement() -> None:
    stage = Stage([])
    order = stage.order(Outcome.DOWN, Side.BUY, 5100, 140)
    stage.to(150)
    assert fills(order) == [(5000, 100), (5100, 40)]
    assert [made.price_up_e4 for made in order.trades] == [5000, 4900]


def test_price_improvement_goes_to_the_taker() -> None:
    stage = Stage([])
    order = stage.order(Outcome.UP, Side.BUY, 6000, 10)
    stage.to(150)
    assert fills(order) == [(5300, 10)]


def test_taking_consumes_what_is_displayed_until_it_is_restated() -> None:
    stage = Stage([(400, [change("SELL", "0.53", "100", 400)])])
    first = stage.order(Outcome.UP, Side.BUY, 5300, 100)
    stage.to(150)
    second = stage.order(Outcome.UP, Side.BUY, 5300, 10)
    assert second.state == "LIVE"  # nothing is left at 0.53, so it is not marketable
    stage.core.cancel(second.request.order_id)
    stage.to(400)
    third = stage.order(Outcome.UP, Side.BUY, 5300, 10)
    stage.to(600)
    assert fills(first) == [(5300, 100)]
    assert fills(second) == []
    assert fills(third) == [(5300, 10)]


def test_remainder_is_not_filled_by_the_shares_that_we_took() -> None:
    # Rule 5: 0.53 still displays the 100 that we took; 20 of them vanish, then 15 new ones come.
    frames = [(300, [change("SELL", "0.53", "80", 300)]), (400, [change("SELL", "0.53", "95", 400)])]
    stage = Stage(frames, derived=False)
    order = stage.order(Outcome.UP, Side.BUY, 5300, 130)
    stage.to(300)
    assert fills(order) == [(5300, 100)]
    stage.to(400)
    assert fills(order) == [(5300, 100), (5300, 15)]


def test_fok_is_all_or_nothing() -> None:
    stage = Stage([])
    killed = stage.order(Outcome.UP, Side.BUY, 5300, 101, OrderType.FOK)
    filled = stage.order(Outcome.UP, Side.BUY, 5300, 100, OrderType.FOK)
    stage.to(150)
    assert fills(killed) == []
    assert killed.state == f"CANCELED_{rules.FOK_KILLED}"
    assert fills(filled) == [(5300, 100)]


def test_fak_takes_what_is_there_and_dies() -> None:
    stage = Stage([])
    order = stage.order(Outcome.UP, Side.BUY, 5300, 130, OrderType.FAK)
    stage.to(150)
    assert fills(order) == [(5300, 100)]
    assert order.state == "CANCELED"
    assert stage.core.open_orders() == []


def test_fak_without_a_match_is_refused() -> None:
    answer = Stage([]).ask(Outcome.UP, Side.BUY, 5200, 10, OrderType.FAK)
    assert answer == Refusal(400, rules.FAK_KILLED)


# ---- own orders against each other -------------------------------------------------------------------------


def test_own_complementary_bids_match_when_they_reach_a_dollar() -> None:
    # BUY Up at 0.52 rests; BUY Down at 0.48 mints a pair with it at 0.52 + 0.48.
    stage = Stage([])
    up = stage.bid(5200, 10)
    down = stage.order(Outcome.DOWN, Side.BUY, 4800, 10)
    stage.to(150)
    assert fills(up) == [(5200, 10)]
    assert fills(down) == [(4800, 10)]
    assert up.trades == down.trades
    assert [leg.is_taker for leg in up.trades[0].legs] == [True, False]
    stage.account.check()


def test_own_order_behind_public_shares_waits_for_them() -> None:
    # The own ask at 0.53 stands behind 100 public shares: an own taker of 105 meets those first, then 5 of
    # ours.
    stage = Stage([], tokens=(50, 0))
    resting = stage.order(Outcome.UP, Side.SELL, 5300, 20)
    taker = stage.order(Outcome.UP, Side.BUY, 5300, 105)
    stage.to(150)
    assert fills(taker) == [(5300, 100), (5300, 5)]
    assert fills(resting) == [(5300, 5)]


@pytest.mark.parametrize(
    ("token", "side", "price"),
    [
        (Outcome.UP, Side.BUY, 5300),  # the displayed ask
        (Outcome.DOWN, Side.BUY, 5000),  # the mirrored bid
        (Outcome.DOWN, Side.BUY, 4800),  # an own bid at 0.52
    ],
)
def test_post_only_is_refused_when_it_would_match(token: Outcome, side: Side, price: int) -> None:
    stage = Stage([])
    stage.bid(5200, 10)
    answer = stage.ask(token, side, price, 10, post_only=True)
    assert answer == Refusal(400, rules.POST_ONLY_CROSSES, Reason.VENUE_POST_ONLY)


# ---- cancels and ends --------------------------------------------------------------------------------------


def test_cancel_after_the_match_loses() -> None:
    stage = Stage([(100, [change("BUY", "0.5", "0", 100)])])
    order = stage.bid(5000, 30)
    stage.to(100)
    assert stage.core.cancel(order.request.order_id) == rules.ALREADY_MATCHED
    assert order.filled_micro == 30 * SHARE


def test_cancel_before_the_match_wins() -> None:
    stage = Stage([(100, [change("BUY", "0.5", "0", 100)])])
    order = stage.bid(5000, 30)
    stage.to(99)
    assert stage.core.cancel(order.request.order_id) == ""
    stage.to(100)
    assert fills(order) == []
    assert stage.core.cancel(order.request.order_id) == rules.NOT_FOUND


def test_market_end_cancels_what_is_open_and_refuses_what_comes() -> None:
    stage = Stage([])
    order = stage.bid(4900, 10)
    stage.to(300_000)
    assert order.state == "CANCELED_MARKET_RESOLVED"
    assert stage.ask(Outcome.UP, Side.BUY, 4900, 10) == Refusal(404, rules.NO_BOOK, Reason.MARKET_ENDING)


def test_gtd_expires_a_minute_early() -> None:
    stage = Stage([])
    second = at(0) // 1_000_000_000
    order = stage.order(Outcome.UP, Side.BUY, 4900, 10, OrderType.GTD, expiration_s=second + 200)
    stage.to(139_999)
    assert order.state == "LIVE"
    stage.to(140_000)
    assert order.state == "CANCELED_EXPIRED_ORDER"


def test_finer_tick_is_accepted_after_the_change() -> None:
    stage = Stage([(100, [tick_change("0.01", "0.001", 100)])])
    assert isinstance(stage.ask(Outcome.UP, Side.BUY, 4910, 10), Refusal)
    stage.to(100)
    assert isinstance(stage.ask(Outcome.UP, Side.BUY, 4910, 10), Order)


# ---- money -------------------------------------------------------------------------------------------------


def test_taker_pays_price_and_fee_and_maker_pays_price_only() -> None:
    stage = Stage([(400, [change("BUY", "0.5", "0", 400)])])
    taker = stage.order(Outcome.UP, Side.BUY, 5300, 10)
    maker = stage.bid(5000, 10)
    stage.to(400)
    # 10 × 0.53 = 5.30; fee 10 × 0.07 × 0.53 × 0.47 = 0.17437 exactly; 10 × 0.50 = 5.00.
    assert taker.trades[0].legs[0].fee_micro == 174_370
    assert maker.trades[0].legs[0].fee_micro == 0
    assert stage.account.cash_micro == 10_000 * SHARE - 5_300_000 - 174_370 - 5_000_000
    assert stage.account.tokens_micro(Outcome.UP) == 20 * SHARE
    # The maker fill stands for a fee of 10 × 0.07 × 0.25 = 0.175; a fifth of it is the rebate, once it is
    # mined.
    stage.to(10_000)
    assert stage.account.rebate_micro(0.2) == 35_000
    stage.account.check()


def test_failed_trade_is_void_exactly() -> None:
    stage = Stage([(100, [change("BUY", "0.5", "0", 100)])], profile=replace(PROFILE, failure_rate=1.0))
    stage.bid(5000, 10)
    stage.to(100)
    assert stage.account.cash_micro == 9_995 * SHARE
    stage.to(60_000)
    assert stage.account.trades[0].status == OrderStatus.TRADE_FAILED
    assert stage.account.cash_micro == 10_000 * SHARE
    assert stage.account.tokens_micro(Outcome.UP) == 0
    stage.account.check()


def test_stages_come_after_the_profiles_delays() -> None:
    stage = Stage([(100, [change("BUY", "0.5", "0", 100)])])
    stage.bid(5000, 10)
    stage.to(60_000)
    assert [report.time_ns for report in stage.reports if report.kind == "trade"] == [
        at(100),
        at(2_100),
        at(6_100),
    ]
    assert stage.account.trades[0].status == OrderStatus.TRADE_CONFIRMED


def test_strict_balance_counts_open_orders_and_unsettled_trades() -> None:
    stage = Stage(
        [(100, [change("BUY", "0.5", "0", 100)])], profile=replace(PROFILE, collateral_micro=10 * SHARE)
    )
    stage.bid(5000, 10)  # holds $5
    answer = stage.ask(Outcome.UP, Side.BUY, 4900, 11)
    assert isinstance(answer, Refusal)
    assert answer.text == (
        "not enough balance / allowance: the balance is not enough -> balance: 5000000, order amount: 5390000"
    )
    stage.to(200)  # matched, not mined: still spent, and the tokens cannot be sold yet
    assert isinstance(stage.ask(Outcome.UP, Side.BUY, 4900, 11), Refusal)
    assert isinstance(stage.ask(Outcome.UP, Side.SELL, 6000, 10), Refusal)
    stage.to(3_000)
    assert isinstance(stage.ask(Outcome.UP, Side.SELL, 6000, 10), Order)


def test_partial_fill_moves_its_share_of_the_reserve_and_no_more() -> None:
    frames = [(100, [trade(UP, "SELL", "0.5", "106", 100), change("BUY", "0.5", "50", 100)])]
    stage = Stage(frames, profile=replace(PROFILE, collateral_micro=10 * SHARE))
    stage.bid(5000, 10)  # holds $5; $3 of it are spent at 100 ms, $2 stay held
    stage.to(100)
    assert isinstance(stage.ask(Outcome.UP, Side.BUY, 5000, 10.02), Refusal)
    assert isinstance(stage.ask(Outcome.UP, Side.BUY, 5000, 10), Order)


def test_merge_takes_pairs_and_the_venue_cancels_what_is_uncovered() -> None:
    stage = Stage([], tokens=(20, 20))
    order = stage.order(Outcome.UP, Side.SELL, 6000, 15)
    assert stage.core.merge(10 * SHARE) == 10 * SHARE
    assert order.state == "CANCELED_NOT_ENOUGH_BALANCE"
    assert stage.account.settled_tokens_micro == [10 * SHARE, 10 * SHARE]
    assert stage.account.cash_micro == 10_010 * SHARE


def test_resolution_pays_a_dollar_per_winning_share() -> None:
    stage = Stage([], market=replace(MARKET, winner=Outcome.UP))
    stage.order(Outcome.UP, Side.BUY, 5300, 10)
    stage.to(310_000)
    assert stage.core.settlement.winner == Outcome.UP
    assert stage.account.payout_micro == 10 * SHARE
    assert stage.account.cash_micro == 10_010 * SHARE - 5_300_000 - 174_370
    stage.account.check()


def test_truth_is_recorded_at_every_change() -> None:
    stage = Stage([(100, [change("BUY", "0.5", "70", 100)]), (200, [change("BUY", "0.5", "90", 200)])])
    order = stage.bid(5000, 10)
    stage.to(300)
    assert order.truth == [(at(0), 100 * SHARE), (at(100), 70 * SHARE)]
    assert stage.core.true_ahead_micro(order.key, at(99)) == 100 * SHARE
    stage.core.cancel(order.request.order_id)
    assert stage.core.true_ahead_micro(order.key, at(299)) == 70 * SHARE
    assert stage.core.true_ahead_micro(order.key, at(300)) is None
