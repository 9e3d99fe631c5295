"""Hand-computed cases for every rule of the embedded venue's matching."""

from __future__ import annotations

from dataclasses import replace

import pytest

from invmm.sim import rules
from invmm.sim.orders import Order
from invmm.sim.rules import Refusal
from invmm.types import OrderStatus, OrderType, Outcome, Reason, Side
from tests.reference.frames import DOWN, MARKET, UP, at, book_frame, change, tick_change, trade
from tests.reference.stage import ASKS, BIDS, PROFILE, SHARE, Stage, fills

# ---- rule 1: volume at the price, after the shares ahead ---------------------------------------------------


def test_trade_at_the_price_first_takes_the_shares_ahead() -> None:
    stage = Stage([(100, [trade(UP, "SELL", "0.5", "60", 100), change("BUY", "0.5", "40", 100)])])
    order = stage.bid(5000, 10)
    assert stage.ahead(order) == 100
    stage.to(100)
    assert stage.ahead(order) == 40
    assert fills(order) == []


def test_volume_past_the_shares_ahead_fills_and_no_more() -> None:
    stage = Stage([(100, [trade(UP, "SELL", "0.5", "106", 100), change("BUY", "0.5", "50", 100)])])
    order = stage.bid(5000, 10)
    stage.to(100)
    assert fills(order) == [(5000, 6)]
    assert order.left_micro == 4 * SHARE
    assert order.state == "LIVE"


def test_one_trade_is_used_once_across_own_orders() -> None:
    stage = Stage([(100, [trade(UP, "SELL", "0.5", "112", 100), change("BUY", "0.5", "50", 100)])])
    first, second = stage.bid(5000, 10), stage.bid(5000, 10)
    stage.to(100)
    assert fills(first) == [(5000, 10)]
    assert fills(second) == [(5000, 2)]


def test_trade_that_hit_the_other_side_does_not_move_the_queue() -> None:
    stage = Stage([(100, [trade(UP, "BUY", "0.53", "60", 100), change("SELL", "0.53", "40", 100)])])
    order = stage.bid(5000, 10)
    stage.to(100)
    assert stage.ahead(order) == 100


def test_trade_in_the_other_token_is_the_same_queue() -> None:
    # A taker who buys Down at 0.50 hits Up's bid at 0.50.
    stage = Stage([(100, [trade(DOWN, "BUY", "0.5", "104", 100), change("BUY", "0.5", "50", 100)])])
    order = stage.bid(5000, 10)
    stage.to(100)
    assert fills(order) == [(5000, 4)]


def test_buying_down_waits_among_the_asks_of_up() -> None:
    stage = Stage([(100, [trade(UP, "BUY", "0.53", "105", 100), change("SELL", "0.53", "40", 100)])])
    order = stage.order(Outcome.DOWN, Side.BUY, 4700, 10)
    assert (order.up_side, order.up_price_e4) == (Side.SELL, 5300)
    assert stage.ahead(order) == 100
    stage.to(100)
    assert fills(order) == [(4700, 5)]


def test_selling_down_waits_among_the_bids_of_up() -> None:
    frames = [trade(UP, "SELL", "0.5", "105", 100), change("BUY", "0.5", "40", 100)]
    stage = Stage([(100, frames)], tokens=(0, 20))
    order = stage.order(Outcome.DOWN, Side.SELL, 5000, 10)
    stage.to(100)
    assert fills(order) == [(5000, 5)]


# ---- rule 2: traded through --------------------------------------------------------------------------------


def test_bid_is_filled_in_full_when_a_trade_prints_below_it() -> None:
    # Not even as much volume as the order: the print at 0.49 could not happen with our 0.50 standing.
    stage = Stage([(100, [trade(UP, "SELL", "0.49", "1", 100), change("BUY", "0.5", "0", 100)])])
    order = stage.bid(5000, 30)
    stage.to(100)
    assert fills(order) == [(5000, 30)]
    assert order.state == "MATCHED"


def test_print_above_does_not_reach_a_bid_behind() -> None:
    stage = Stage([(100, [trade(UP, "SELL", "0.5", "100", 100), change("BUY", "0.5", "0", 100)])])
    order = stage.bid(4900, 30)
    stage.to(100)
    assert fills(order) == []
    assert stage.ahead(order) == 200


# ---- rule 3: reached by the other side ---------------------------------------------------------------------


def test_bid_is_filled_in_full_when_the_ask_comes_down_to_it() -> None:
    # No trade evidence is needed: an ask at our price would have matched us.
    stage = Stage([(100, [change("BUY", "0.5", "0", 100), change("SELL", "0.5", "5", 100)])], derived=False)
    order = stage.bid(5000, 30)
    stage.to(100)
    assert fills(order) == [(5000, 30)]


def test_ask_is_filled_in_full_when_the_bid_comes_up_to_it() -> None:
    stage = Stage([(100, [change("SELL", "0.53", "0", 100), change("BUY", "0.53", "5", 100)])], derived=False)
    order = stage.order(Outcome.DOWN, Side.BUY, 4700, 30)
    stage.to(100)
    assert fills(order) == [(4700, 30)]


# ---- rule 4: swept -----------------------------------------------------------------------------------------


def test_bid_is_filled_in_full_when_its_level_is_swept_without_a_recorded_trade() -> None:
    stage = Stage([(100, [change("BUY", "0.5", "0", 100)])])
    order = stage.bid(5000, 30)
    stage.to(100)
    assert fills(order) == [(5000, 30)]


def test_level_cancelled_on_the_live_feed_is_not_a_sweep() -> None:
    # A `price_change` without a `book` frame: nobody traded.
    stage = Stage([(100, [change("BUY", "0.5", "0", 100)])], derived=False)
    order = stage.bid(5000, 30)
    stage.to(100)
    assert fills(order) == []
    assert stage.ahead(order) == 0


def test_book_frame_after_a_trade_is_evidence_of_a_sweep() -> None:
    stage = Stage([(100, book_frame(BIDS[1:], ASKS, 100))], derived=False)
    order = stage.bid(5000, 30)
    stage.to(100)
    assert fills(order) == [(5000, 30)]


def test_trade_on_the_other_side_contradicts_a_sweep() -> None:
    stage = Stage([(100, [trade(UP, "BUY", "0.53", "60", 100), change("BUY", "0.5", "0", 100)])])
    order = stage.bid(5000, 30)
    stage.to(100)
    assert fills(order) == []


def test_better_bid_inside_the_spread_is_swept_before_the_displayed_best() -> None:
    stage = Stage([(100, [change("BUY", "0.5", "0", 100)])])
    order = stage.bid(5100, 30)
    stage.to(100)
    assert fills(order) == [(5100, 30)]


def test_sweep_of_several_levels_takes_the_bids_on_its_way_only() -> None:
    stage = Stage([(100, [change("BUY", "0.5", "0", 100), change("BUY", "0.49", "0", 100)])])
    on_the_way, beyond = stage.bid(4900, 30), stage.bid(4800, 30)
    stage.to(100)
    assert fills(on_the_way) == [(4900, 30)]
    assert fills(beyond) == []


def test_level_behind_an_untouched_best_is_cancelled_not_swept() -> None:
    stage = Stage([(100, [change("BUY", "0.49", "0", 100)])])
    order = stage.bid(4900, 30)
    stage.to(100)
    assert fills(order) == []


def test_level_that_is_gone_and_back_within_one_timestamp_was_not_swept() -> None:
    stage = Stage([(100, [change("BUY", "0.5", "0", 100), change("BUY", "0.5", "80", 100)])])
    order = stage.bid(5000, 30)
    stage.to(100)
    assert fills(order) == []
    assert stage.ahead(order) == 80


# ---- rule 6: cancellations and queue models ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "expected"), [("conservative", 100), ("proportional", 80), ("power:2", 80), ("power:0.5", 80)]
)
def test_cancellation_in_an_even_queue_is_halved_unless_it_comes_from_behind(
    model: str, expected: int
) -> None:
    frames = [
        (100, [change("BUY", "0.5", "200", 100)]),  # 100 join behind us
        (200, [change("BUY", "0.5", "160", 200)]),  # 40 leave
    ]
    stage = Stage(frames, profile=replace(PROFILE, queue_model=model))
    order = stage.bid(5000, 30)
    stage.to(200)
    assert stage.ahead(order) == expected


def test_power_model_puts_cancellations_on_the_longer_side() -> None:
    frames = [
        (100, [change("BUY", "0.5", "400", 100)]),  # 100 ahead, 300 behind
        (200, [change("BUY", "0.5", "300", 200)]),  # of 100 gone, 1/(1+9) stood ahead
    ]
    stage = Stage(frames, profile=replace(PROFILE, queue_model="power:2"))
    order = stage.bid(5000, 30)
    stage.to(200)
    assert stage.ahead(order) == 90


def test_shares_ahead_are_never_more_than_displayed() -> None:
    stage = Stage([(100, [change("BUY", "0.5", "30", 100)])])
    order = stage.bid(5000, 30)
    stage.to(100)
    assert stage.ahead(order) == 30


def test_print_after_its_book_frames_is_not_counted_twice() -> None:
    less = [("0.5", "70"), *BIDS[1:]]
    stage = Stage(
        [(100, book_frame(less, ASKS, 100)), (135, [trade(UP, "SELL", "0.5", "30", 135)])], derived=False
    )
    order = stage.bid(5000, 10)
    stage.to(100)
    assert stage.ahead(order) == 70
    stage.to(135)
    assert stage.ahead(order) == 70


def test_decrease_that_a_late_print_explained_is_not_cancelled_later() -> None:
    # 100 ahead and 40 behind: the trade of 30 leaves 70 ahead; nothing else happens.
    frames = [
        (50, [change("BUY", "0.5", "140", 50)]),
        (100, book_frame([("0.5", "110"), *BIDS[1:]], ASKS, 100)),
        (135, [trade(UP, "SELL", "0.5", "30", 135)]),
        (900, [change("BUY", "0.49", "201", 900)]),
    ]
    stage = Stage(frames, derived=False, profile=replace(PROFILE, queue_model="proportional"))
    order = stage.bid(5000, 10)
    stage.to(900)
    assert stage.ahead(order) == 70


def test_decrease_without_its_print_becomes_a_cancellation() -> None:
    # Without the print, 30 of 140 were cancelled: 100/140 of them ahead, rounded down.
    frames = [
        (50, [change("BUY", "0.5", "140", 50)]),
        (100, book_frame([("0.5", "110"), *BIDS[1:]], ASKS, 100)),
        (900, [change("BUY", "0.49", "201", 900)]),
    ]
    stage = Stage(frames, derived=False, profile=replace(PROFILE, queue_model="proportional"))
    order = stage.bid(5000, 10)
    stage.to(900)
    assert stage.core.true_ahead_micro(order.key) == 100 * SHARE - 30 * SHARE * 100 // 140


def test_shares_that_join_do_not_bring_back_the_ones_that_left() -> None:
    frames = [
        (100, book_frame([("0.5", "70"), *BIDS[1:]], ASKS, 100)),
        (120, [change("BUY", "0.5", "95", 120)]),
        (135, [trade(UP, "SELL", "0.5", "30", 135)]),
    ]
    stage = Stage(frames, derived=False)
    order = stage.bid(5000, 10)
    for ms in (100, 120, 135):
        stage.to(ms)
        assert stage.ahead(order) == 70


def test_trade_and_newcomer_of_one_moment_do_not_cancel_out() -> None:
    frames = [*book_frame([("0.5", "70"), *BIDS[1:]], ASKS, 100), change("BUY", "0.5", "100", 100)]
    stage = Stage([(100, frames), (135, [trade(UP, "SELL", "0.5", "30", 135)])], derived=False)
    order = stage.bid(5000, 10)
    stage.to(100)
    assert stage.ahead(order) == 70
    stage.to(135)
    assert stage.ahead(order) == 70


def test_order_between_a_trade_and_its_print_keeps_its_place() -> None:
    frames = [
        (100, book_frame([("0.5", "70"), *BIDS[1:]], ASKS, 100)),
        (135, [trade(UP, "SELL", "0.5", "30", 135)]),
    ]
    stage = Stage(frames, derived=False)
    early = stage.bid(5000, 10)
    stage.to(110)
    late = stage.bid(5000, 10)
    assert (stage.ahead(early), stage.ahead(late)) == (70, 70)
    stage.to(135)
    assert (stage.ahead(early), stage.ahead(late)) == (70, 70)


def test_late_print_does_not_reach_an_order_that_came_after_its_trade() -> None:
    frames = [(100, book_frame(BIDS[1:], ASKS, 100)), (135, [trade(UP, "SELL", "0.49", "5", 135)])]
    stage = Stage(frames, derived=False)
    stage.to(110)
    order = stage.bid(5000, 10)
    stage.to(135)
    assert fills(order) == []


def test_late_print_fills_from_behind_the_shares_that_its_book_showed_gone() -> None:
    # 100 ahead, 4 joined behind; the trade of 103 took the 100 and then ours before it could reach them.
    frames = [
        (50, [change("BUY", "0.5", "104", 50)]),
        (100, book_frame([("0.5", "1"), *BIDS[1:]], ASKS, 100)),
        (135, [trade(UP, "SELL", "0.5", "103", 135)]),
    ]
    stage = Stage(frames, derived=False)
    order = stage.bid(5000, 10)
    stage.to(135)
    assert fills(order) == [(5000, 3)]


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
