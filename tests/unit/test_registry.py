"""Own orders leave the table on proof only, and a fill counts once, however late or often it is told."""

from __future__ import annotations

import pytest

from invmm.types import EventKind, OrderStatus, Reason
from tests.unit.test_step import Desk


@pytest.fixture
def desk() -> Desk:
    made = Desk()
    made.first = made.open()
    made.command = made.first[0]
    return made


def tell(desk: Desk, status: OrderStatus, **fields: object) -> None:
    """An answer about the first order, without a solve after it."""
    about = {name: desk.command[name] for name in ("key", "token", "side", "price_e4", "size_micro")}
    desk.event(EventKind.ORDER_RESULT, 20, status=status, **{**about, **fields})


def fill(desk: Desk, shares: float, status: OrderStatus = OrderStatus.TRADE_MATCHED, trade: int = 1) -> None:
    about = {name: desk.command[name] for name in ("key", "token", "side", "price_e4")}
    desk.event(EventKind.USER_EVENT, 30, status=status, trade=trade, size_micro=round(shares * 1e6), **about)


def state(desk: Desk) -> str | None:
    """State of the first order, None when it has left the table."""
    return next((str(o["state"]) for o in desk.live() if o["key"] == desk.command["key"]), None)


def held(desk: Desk) -> int:
    return desk.market.step.registry.position()[int(desk.command["token"])]


def test_an_order_is_prepared_sent_and_live_in_turn(desk):
    assert state(desk) == "prepared"
    tell(desk, OrderStatus.SENT)
    assert state(desk) == "sent"
    tell(desk, OrderStatus.LIVE)
    assert state(desk) == "live"


def test_no_answer_keeps_an_order_alive_in_every_count(desk):
    tell(desk, OrderStatus.SENT)
    tell(desk, OrderStatus.UNKNOWN)
    assert state(desk) == "unknown"
    tell(desk, OrderStatus.LIVE)
    assert state(desk) == "live"


@pytest.mark.parametrize("status", [OrderStatus.REJECTED, OrderStatus.REFUSED, OrderStatus.CANCELED])
def test_proof_of_the_end_takes_an_order_out(desk, status):
    tell(desk, OrderStatus.SENT)
    tell(desk, status, reason=Reason.VENUE_REJECTED)
    assert state(desk) is None


def test_refusal_of_a_repeated_copy_says_nothing_about_an_order_that_rests(desk):
    tell(desk, OrderStatus.LIVE)
    tell(desk, OrderStatus.REJECTED)
    assert state(desk) == "live"


def test_fill_after_a_cancel_still_counts(desk):
    tell(desk, OrderStatus.LIVE)
    tell(desk, OrderStatus.CANCELED)
    fill(desk, 30)
    assert held(desk) == 30_000_000
    assert desk.market.step.registry.counts()["foreign"] == 0


def test_fill_before_any_answer_counts(desk):
    fill(desk, 30)
    assert held(desk) == 30_000_000
    assert state(desk) == "prepared"


def test_failed_voids_a_fill_once(desk):
    fill(desk, 30)
    fill(desk, 20, trade=2)
    for _ in range(3):
        fill(desk, 30, OrderStatus.TRADE_FAILED)
    assert held(desk) == 20_000_000
    assert desk.market.step.registry.counts()["failed_legs"] == 1


def test_failed_before_matched_leaves_nothing(desk):
    fill(desk, 30, OrderStatus.TRADE_FAILED)
    fill(desk, 30)
    assert held(desk) == 0


def test_first_terminal_stage_wins(desk):
    fill(desk, 30, OrderStatus.TRADE_CONFIRMED)
    fill(desk, 30, OrderStatus.TRADE_FAILED)
    assert held(desk) == 30_000_000
    assert desk.market.step.registry.confirmed()[int(desk.command["token"])] == 30_000_000


def test_an_order_filled_in_full_leaves_the_table(desk):
    tell(desk, OrderStatus.LIVE)
    size = int(desk.command["size_micro"]) / 1e6
    fill(desk, size - 10)
    assert state(desk) == "live"
    fill(desk, 10, trade=2)
    assert state(desk) is None


def test_signed_size_is_the_size_of_the_order(desk):
    size_micro = int(desk.command["size_micro"])
    before = desk.market.step.registry.counts()["placed_micro"]
    tell(desk, OrderStatus.SENT, size_micro=size_micro - 10_000)
    assert desk.market.step.registry.counts()["placed_micro"] == before - 10_000
    fill(desk, (size_micro - 10_000) / 1e6)
    assert state(desk) is None  # nothing is left that the venue never heard of


def test_sent_never_makes_an_order_larger(desk):
    size_micro = int(desk.command["size_micro"])
    tell(desk, OrderStatus.SENT, size_micro=size_micro + 10_000)
    assert next(o["original_micro"] for o in desk.live() if o["key"] == desk.command["key"]) == size_micro


def test_news_about_a_foreign_order_is_counted_and_moves_nothing(desk):
    desk.event(EventKind.USER_EVENT, 30, status=OrderStatus.TRADE_MATCHED, key=99, trade=5, size_micro=1_000_000)
    assert desk.market.step.registry.counts()["foreign"] == 1
    assert desk.market.step.registry.position() == (0, 0)
