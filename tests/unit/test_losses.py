"""Losses at worst, and the triggers that a session trips."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invmm.execution.breakers import Breakers
from invmm.execution.losses import DayLoss, Kept, worst_micro
from invmm.settings import RiskSettings
from invmm.settlement.ledger import Ledger, taker_fee_micro
from invmm.types import EVENT_DTYPE, MICRO, OrderStatus, Outcome, Reason, Side

SECOND = 10**9
DAY_NS = 86_400 * SECOND
NOON_NS = 20_000 * DAY_NS + DAY_NS // 2
CONFIRMED, FAILED, MATCHED = (
    OrderStatus.TRADE_CONFIRMED,
    OrderStatus.TRADE_FAILED,
    OrderStatus.TRADE_MATCHED,
)


def fill(ledger: Ledger, outcome: Outcome, price_e4: int, shares: int, **more: Any) -> None:
    number = len(ledger.legs) + 1
    about = {"side": Side.BUY, "status": CONFIRMED, "time_ns": number} | more
    ledger.fill(
        trade=number, key=number, outcome=outcome, price_e4=price_e4, size_micro=shares * MICRO, **about
    )


def test_unmatched_shares_are_worth_nothing_and_pairs_their_dollar() -> None:
    ledger = Ledger()
    fill(ledger, Outcome.UP, 4_800, 10)
    fill(ledger, Outcome.DOWN, 5_000, 4)
    assert worst_micro(ledger, None) == (-4_800_000 - 2_000_000) + 4_000_000
    assert worst_micro(ledger, Outcome.UP) == 10_000_000 - 6_800_000


def test_a_fill_that_may_still_fail_stands_where_that_is_worse() -> None:
    ledger = Ledger()
    fill(ledger, Outcome.UP, 4_800, 10)
    fill(ledger, Outcome.DOWN, 5_000, 10, status=MATCHED)
    # Up wins: the Down shares are paid and worth nothing. Down wins: they may never have been bought.
    assert worst_micro(ledger, Outcome.UP) == 5_200_000 - 5_000_000
    assert worst_micro(ledger, Outcome.DOWN) == -4_800_000
    assert worst_micro(ledger, None) == -4_800_000


def test_fees_are_in_and_rebates_are_out() -> None:
    ledger = Ledger()
    fill(ledger, Outcome.UP, 5_000, 10, taker=True)
    fee = taker_fee_micro(10 * MICRO, 5_000, ledger.fee_rate_ppm)
    assert fee > 0
    assert worst_micro(ledger, Outcome.UP) == 5_000_000 - fee
    maker = Ledger()
    fill(maker, Outcome.UP, 5_000, 10)
    assert maker.rebates_micro > 0
    assert worst_micro(maker, Outcome.UP) == 5_000_000


LEGS = st.lists(
    st.tuples(
        st.sampled_from(list(Outcome)),
        st.sampled_from(list(Side)),
        st.integers(1, 9_999),
        st.integers(1, 50),
        st.booleans(),
        st.sampled_from([CONFIRMED, FAILED, MATCHED]),
    ),
    max_size=7,
)


@given(LEGS)
def test_the_loss_at_worst_is_the_worst_of_all_ways_it_can_end(legs: list[tuple[Any, ...]]) -> None:
    ledger = Ledger()
    for outcome, side, price, shares, taker, status in legs:
        fill(ledger, outcome, price, shares, side=side, taker=taker, status=status)
    open_ = [i for i, leg in enumerate(legs) if leg[5] is MATCHED]
    worst = None
    for winner in Outcome:
        for pattern in range(2 ** len(open_)):
            stands = {i for bit, i in enumerate(open_) if pattern >> bit & 1}
            total = 0
            for i, (outcome, side, price, shares, taker, status) in enumerate(legs):
                if status is CONFIRMED or i in stands:
                    gain = ((10_000 if outcome == winner else 0) - price) * shares * MICRO
                    total += gain if side == Side.BUY else -gain
                    total -= taker_fee_micro(shares * MICRO, price, ledger.fee_rate_ppm) * 10_000 * taker
            worst = total if worst is None else min(worst, total)
    assert worst is not None
    assert worst_micro(ledger, None) == worst // 10_000


def test_a_day_forgets_the_markets_that_ended_before_it() -> None:
    day = DayLoss(5)
    day.told("old", Kept(-3, 1, 5))
    day.told("long", Kept(-4, 1, 6))
    assert day.micro == 7
    day.turn(6)
    assert day.micro == 4
    day.turn(5)  # a clock that was set back brings nothing back
    assert (day.number, day.micro) == (6, 4)


def test_fills_that_are_booked_again_after_a_restart_count_once() -> None:
    day = DayLoss(5, before={"m": Kept(-10, 3, 5)})
    day.told("m", Kept(-2, 1, 5))
    assert (day.micro, day.loss_of("m")) == (12, 12)
    assert day.all() == {"m": Kept(-12, 4, 5)}
    day.told("m", Kept(-11, 3, 5))
    assert (day.micro, day.loss_of("m")) == (11, 11)


# ---- triggers --------------------------------------------------------------------------------------------


def result(status: OrderStatus, key: int, at_ns: int, reason: Reason = Reason.NONE, code: int = 0) -> Any:
    record = np.zeros(1, EVENT_DTYPE)[0]
    record["status"], record["key"], record["time_ns"] = status, key, at_ns
    record["reason"], record["code"] = reason, code
    return record


def trips(breakers: Breakers, now_ns: int = 0) -> list[Reason]:
    return [trip.reason for trip in breakers.look(now_ns)]


def test_a_storm_of_refusals_is_many_within_ten_seconds() -> None:
    breakers = Breakers(RiskSettings(max_rejects=5))
    for i in range(20):
        breakers.heard(result(OrderStatus.REJECTED, i, 3 * i * SECOND))
    assert trips(breakers) == []
    for i in range(6):
        breakers.heard(result(OrderStatus.REJECTED, i, 100 * SECOND + i, Reason.VENUE_POST_ONLY))
    assert trips(breakers) == []
    for i in range(6):
        breakers.heard(result(OrderStatus.REJECTED, i, 100 * SECOND + i))
    assert trips(breakers) == [Reason.REJECT_STORM]
    breakers.heard(result(OrderStatus.REJECTED, 7, 100 * SECOND + 7))
    assert trips(breakers) == []
    breakers.reset()
    for i in range(6):
        breakers.heard(result(OrderStatus.REJECTED, i, 100 * SECOND + i))
    assert trips(breakers) == [Reason.REJECT_STORM]


@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_a_slow_venue_is_one_that_lets_more_than_one_in_a_hundred_wait(scale: float) -> None:
    breakers = Breakers(RiskSettings(), scale)
    wait_ns = int(4 * SECOND * scale)
    for key in range(200):
        breakers.heard(result(OrderStatus.SENT, key, 0))
        breakers.heard(result(OrderStatus.LIVE, key, wait_ns if key % 100 == 0 else wait_ns // 2))
    assert trips(breakers) == []
    for key in range(3):  # answered, though not about the order: 429, 503
        breakers.heard(result(OrderStatus.SENT, key, 0))
        breakers.heard(result(OrderStatus.UNKNOWN, key, 1, code=429))
    assert trips(breakers, wait_ns) == []
    for key in range(3):  # without any answer
        breakers.heard(result(OrderStatus.SENT, key, 0))
        breakers.heard(result(OrderStatus.UNKNOWN, key, 1))
    assert trips(breakers, wait_ns // 2) == []
    assert trips(breakers, wait_ns) == [Reason.SLOW_VENUE]


def test_fills_that_fail_too_often_are_told() -> None:
    breakers, ledger = Breakers(RiskSettings()), Ledger()
    for i in range(12):
        fill(ledger, Outcome.UP, 5_000, 5, status=FAILED if i % 4 == 0 else CONFIRMED)
    assert breakers.look(0, [ledger]) == []
    fill(ledger, Outcome.UP, 5_000, 5, status=FAILED)
    assert [trip.reason for trip in breakers.look(0, [ledger])] == [Reason.SETTLEMENT_FAILURES]


@pytest.mark.parametrize(
    ("reason", "code", "told"),
    [
        (Reason.SIGNER_CAP, -17, True),  # a token that is not traded
        (Reason.SIGNER_CAP, -19, True),
        (Reason.SIGNER_CAP, -21, False),  # the rate: orders that waited go together
        (Reason.SEEN_ID, 0, True),
        (Reason.DEADLINE, 0, False),
    ],
)
def test_an_order_beyond_the_signers_caps_is_an_attempt(reason: Reason, code: int, told: bool) -> None:
    breakers = Breakers(RiskSettings())
    breakers.heard(result(OrderStatus.REFUSED, 1, 0, reason, code))
    assert trips(breakers) == [Reason.LIMIT_ATTEMPT] * told


def test_a_flood_of_messages_is_told() -> None:
    breakers = Breakers(RiskSettings(max_messages_minute=10))
    for i in range(30):
        breakers.heard(result(OrderStatus.CANCELED, i, i * 6 * SECOND))
    assert trips(breakers) == []
    for i in range(11):
        breakers.heard(result(OrderStatus.CANCELED, i, 1_000 * SECOND))
    assert trips(breakers) == [Reason.MESSAGE_RATE]
