"""Queue position: hand-computed cases of each rule."""

import pytest

from invmm._ext.queue import QueueEstimate


def test_cancel_comes_from_behind_as_long_as_someone_is_behind():
    estimate = QueueEstimate(100)
    estimate.on_level(100, 150, 10)  # 50 join behind us
    estimate.on_level(150, 110, 20)  # 40 leave: all may have stood behind
    assert estimate.ahead_micro == 100
    estimate.on_level(110, 80, 30)  # 30 leave, 10 were behind: 20 must have been ahead
    assert estimate.ahead_micro == 80


def test_proportional_model_spreads_a_cancel_over_the_level():
    estimate = QueueEstimate(100, 0, 1)
    estimate.on_level(100, 200, 10)
    estimate.on_level(200, 160, 20)  # half of the 40 stood ahead
    assert estimate.ahead_micro == 80


def test_power_model_favours_the_larger_part():
    estimate = QueueEstimate(300, 0, 2)
    estimate.on_level(300, 400, 10)  # 100 behind
    estimate.on_level(400, 390, 20)  # 9/(9+1) of the 10 stood ahead
    assert estimate.ahead_micro == 291


@pytest.mark.parametrize("model", [0, 1, 2, 3])
def test_trade_and_its_decrease_count_once_in_either_order(model):
    trade_first = QueueEstimate(100, 0, model)
    trade_first.on_trade(30)
    trade_first.on_level(100, 70, 10)
    decrease_first = QueueEstimate(100, 0, model)
    decrease_first.on_level(100, 70, 10)
    decrease_first.on_trade(30)
    assert trade_first.ahead_micro == decrease_first.ahead_micro == 70


def test_increase_stamped_before_the_acknowledgement_counts_as_ahead():
    estimate = QueueEstimate(100, settle_ms=50)
    estimate.on_level(100, 130, 40)
    assert estimate.ahead_micro == 130
    estimate.on_level(130, 160, 60)
    assert estimate.ahead_micro == 130


def test_trade_through_our_price_puts_us_first():
    estimate = QueueEstimate(100)
    estimate.on_front()
    assert estimate.ahead_micro == 0


@pytest.mark.parametrize(
    ("level", "model", "word"), [(-1, 0, "level_micro"), (1, 5, "model"), (1, -1, "model")]
)
def test_constructor_names_what_it_expected(level, model, word):
    with pytest.raises(ValueError, match=word):
        QueueEstimate(level, 0, model)


def test_cancellation_that_is_refilled_within_one_timestamp_is_none():
    estimate = QueueEstimate(100)
    estimate.on_level(100, 50, 10)
    estimate.on_level(50, 120, 10)  # the same change of the venue, told in two pieces
    assert estimate.ahead_micro == 100
    estimate.on_level(120, 60, 20)
    estimate.on_level(60, 130, 21)  # another timestamp: who joins now stands behind
    assert estimate.ahead_micro == 60


def test_print_gives_back_what_its_decrease_took_however_old_cancellations_were():
    estimate = QueueEstimate(100)
    estimate.on_level(100, 150, 10)
    estimate.on_level(150, 100, 20)  # 50 cancelled behind us
    estimate.on_level(100, 70, 30)  # a trade of 30, whose print comes later
    estimate.on_trade(30, 65)
    assert estimate.ahead_micro == 70
