"""Hand-computed cases for what fills a resting order of ours, and what moves it forward in its queue."""

from __future__ import annotations

from dataclasses import replace

import pytest

from invmm.types import Outcome, Side
from tests.reference.frames import DOWN, UP, book_frame, change, trade
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
