"""The registry against its twin: evidence about fills gives one position, in every order and with every repetition."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from invmm.types import EventKind, OrderStatus, Side
from tests.reference.registry import Order, RegistryTwin, Stage
from tests.unit.test_step import Desk

TERMINAL = (None, OrderStatus.TRADE_CONFIRMED, OrderStatus.TRADE_FAILED)


@st.composite
def evidence(draw: Any) -> list[tuple[str, int, Stage | None]]:
    """For two orders: `("cancel", order, None)` and `("stage", order, stage)` items, shuffled and partly repeated; orders by index."""
    items: list[tuple[str, int, Stage | None]] = []
    for trade in range(1, draw(st.integers(0, 6)) + 1):
        for order in draw(st.lists(st.integers(0, 1), min_size=1, max_size=2, unique=True)):
            size = draw(st.integers(1, 150_000_000))
            said = [OrderStatus.TRADE_MATCHED, *draw(st.sets(st.sampled_from([OrderStatus.TRADE_MINED, OrderStatus.TRADE_RETRYING])))]
            terminal = draw(st.sampled_from(TERMINAL))
            said += [terminal] if terminal is not None else []
            heard = draw(st.lists(st.sampled_from(said), min_size=1, unique=True))  # some stages may never be heard
            items += [("stage", order, Stage(trade, order, status, size)) for status in heard]
    items += [("cancel", order, None) for order in draw(st.sets(st.integers(0, 1)))]
    items += draw(st.lists(st.sampled_from(items), max_size=8)) if items else []
    return draw(st.permutations(items))


@given(evidence())
@settings(deadline=None, max_examples=150)
def test_every_order_and_repetition_of_evidence_gives_the_position_of_the_twin(items: list[tuple[str, int, Stage | None]]) -> None:
    desk = Desk()
    placed = desk.open()
    desk.accept(placed, 10)
    registry, ledger = desk.market.step.registry, desk.market.ledger
    orders = [Order(int(c["key"]), int(c["token"]), Side(int(c["side"])), int(c["price_e4"]), int(c["size_micro"])) for c in placed]
    assert len(orders) == 2
    for kind, index, stage in items:
        order = orders[index]
        about = {"key": order.key, "token": order.token, "side": order.side, "price_e4": order.price_e4}
        if stage is None:
            desk.event(EventKind.ORDER_RESULT, 20, status=OrderStatus.CANCELED, **about)
        else:
            desk.event(EventKind.USER_EVENT, 20, status=stage.status, trade=stage.trade, size_micro=stage.size_micro, **about)
    twin = RegistryTwin(
        orders, [Stage(s.trade, orders[s.key].key, s.status, s.size_micro) for _, _, s in items if s is not None]
    )
    assert list(registry.position()) == twin.position_micro
    assert list(registry.confirmed()) == twin.confirmed_micro
    assert ledger.spent_e10 == twin.spent_e10
    assert {(leg.trade, leg.key) for leg in ledger.standing} == set(twin.legs)
    assert registry.counts()["foreign"] == 0


@given(evidence())
@settings(deadline=None, max_examples=100)
def test_cancelled_orders_are_gone_and_what_may_trade_is_never_negative(items: list[tuple[str, int, Stage | None]]) -> None:
    desk = Desk()
    placed = desk.open()
    desk.accept(placed, 10)
    cancelled = set()
    for _kind, index, stage in items:
        key = int(placed[index]["key"])
        if stage is None:
            cancelled.add(key)
            desk.event(EventKind.ORDER_RESULT, 20, status=OrderStatus.CANCELED, key=key)
        else:
            desk.event(EventKind.USER_EVENT, 20, status=stage.status, trade=stage.trade, size_micro=stage.size_micro, key=key)
        live = desk.live()
        assert cancelled.isdisjoint(order["key"] for order in live)
        assert all(0 <= order["remaining_micro"] <= order["original_micro"] for order in live)
