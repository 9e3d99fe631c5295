"""The replace transaction against an adversary who decides what arrives when: no limit is ever broken."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from invmm.types import COMMAND_DTYPE, CommandArray, CommandKind, EventKind, OrderStatus
from tests.reference.transaction import Bounds, Truth, VenueOrder
from tests.unit.test_transaction import Replacing, bid

SHARE = 1_000_000
LIMITS = """[risk]
max_cash_dollars = 130
max_direction_shares = 220
max_gross_shares = 350
max_open_orders = 5
[engine]
quote_lifetime_s = 0
book_max_age_ms = 600000
"""
BOUNDS = Bounds(direction=220 * SHARE, gross=350 * SHARE, cash_e10=130 * 10**10, orders=5)
SAID = {
    "live": OrderStatus.LIVE,
    "rejected": OrderStatus.REJECTED,
    "canceled": OrderStatus.CANCELED,
    "not_canceled": OrderStatus.NOT_CANCELED,
}

quotes = st.lists(
    st.tuples(st.integers(0, 1), st.integers(40, 52), st.integers(5, 100)),
    max_size=4,
    unique_by=lambda q: q[:2],
)


class Duel:
    """The compiled step on one side, the true venue on the other, the adversary's choices between."""

    def __init__(self) -> None:
        self.desk = Replacing(LIMITS)
        self.desk.open(bids={1000: 100}, asks={9000: 100})
        self.truth = Truth()
        self.at_ms = 100.0

    def send(self, commands: CommandArray) -> None:
        for c in commands:
            key = int(c["key"])
            if c["kind"] == CommandKind.PLACE:
                order = VenueOrder(
                    key, int(c["token"]), int(c["side"]), int(c["price_e4"]), int(c["size_micro"])
                )
                self.truth.asked("place", key, order)
            elif c["kind"] == CommandKind.CANCEL:
                self.truth.asked("cancel", key)
        self.check()

    def want(self, target: list[tuple[int, int, int]]) -> None:
        self.at_ms += 5
        self.send(self.desk.want(self.at_ms, *(bid(t, 100 * cents, shares) for t, cents, shares in target)))

    def hear(self, index: int) -> None:
        what, key, shares, trade = self.truth.tell(index)
        order = self.truth.orders[key]
        self.at_ms += 1
        if what == "fill":
            about: dict[str, Any] = {
                "status": OrderStatus.TRADE_MATCHED,
                "trade": trade,
                "size_micro": shares,
            }
            kind = EventKind.USER_EVENT
        else:
            about = {"status": SAID[what], "size_micro": order.size}
            kind = EventKind.ORDER_RESULT
        about |= {"key": key, "token": order.token, "side": order.side, "price_e4": order.price_e4}
        self.send(self.desk.event(kind, self.at_ms, **about))
        if what == "canceled":  # the user channel says it, too, and how much had been matched
            about |= {"filled_micro": order.filled}
            self.send(self.desk.event(EventKind.USER_EVENT, self.at_ms, **about))
        self.send(self.desk.event(EventKind.BUFFER_END, self.at_ms))

    def lose(self, index: int) -> None:
        """A request is lost on its way; its sender hears of no answer."""
        kind, key = self.truth.requests.pop(index)
        self.at_ms += 1
        record = np.zeros(1, dtype=COMMAND_DTYPE)
        record["key"], record["token"] = key, self.truth.orders[key].token
        if kind == "place":
            self.send(self.desk.said(record[0], OrderStatus.UNKNOWN, self.at_ms))

    def wait(self, ms: float) -> None:
        self.at_ms += ms
        self.send(self.desk.event(EventKind.TIMER, self.at_ms))

    def check(self) -> None:
        for landed in (False, True):
            assert not self.truth.state(landed=landed).breaches(BOUNDS)
        alive = {order["key"] for order in self.desk.live()}
        for key, order in self.truth.orders.items():
            assert not order.resting or key in alive, "an order rests that the engine has forgotten"

    def rest(self) -> None:
        """Everything arrives and is told, until nothing happens any more."""
        for _ in range(400):
            if self.truth.requests:
                self.truth.arrive(0)
            elif self.truth.answers:
                self.hear(0)
            elif self.desk.replaced["open"] or self.desk.replaced["closing"]:
                self.wait(500)
            else:
                self.wait(6_000)
                if not self.truth.requests:
                    return
        raise AssertionError("it never comes to rest")


STEPS = ("want", "arrive", "arrive", "hear", "hear", "hear", "fill", "refuse", "lose", "wait")


@given(st.data())
@settings(deadline=None, max_examples=80)
def test_every_limit_holds_at_the_venue_whatever_arrives_in_whatever_order(data: st.DataObject) -> None:
    duel = Duel()
    truth = duel.truth
    for step in data.draw(st.lists(st.sampled_from(STEPS), max_size=40), "steps"):
        places = [n for n, (kind, _) in enumerate(truth.requests) if kind == "place"]
        resting = [key for key, order in truth.orders.items() if order.resting]
        if step == "want":
            duel.want(data.draw(quotes, "target"))
        elif step == "arrive" and truth.requests:
            truth.arrive(data.draw(st.integers(0, len(truth.requests) - 1), "request"))
        elif step == "hear" and truth.answers:
            duel.hear(data.draw(st.integers(0, len(truth.answers) - 1), "answer"))
        elif step == "fill" and resting:
            truth.fill(data.draw(st.sampled_from(resting), "order"), data.draw(st.integers(1, 100)) * SHARE)
        elif step == "refuse" and places:
            truth.refuse(data.draw(st.sampled_from(places), "placement"))
        elif step == "lose" and truth.requests:
            duel.lose(data.draw(st.integers(0, len(truth.requests) - 1), "request"))
        elif step == "wait":
            duel.wait(data.draw(st.sampled_from([10, 100, 600, 2_500]), "ms"))
        duel.check()


@given(quotes, quotes)
@example(
    [(0, cents, 5) for cents in (40, 41, 42)], [(0, cents, 10) for cents in (40, 41, 42)]
)  # 6 orders of 5
@settings(deadline=None, max_examples=40)
def test_an_unchanged_target_sends_nothing_once_at_rest(
    first: list[tuple[int, int, int]], second: list[tuple[int, int, int]]
) -> None:
    duel = Duel()
    duel.want(first)
    duel.rest()
    duel.want(second)
    duel.rest()
    asked = len(duel.truth.orders)
    for _ in range(3):
        duel.want(second)
        assert not duel.truth.requests
    assert len(duel.truth.orders) == asked
    counts = duel.desk.replaced
    assert counts["begun"] == counts["committed"] + counts["reverted"]


@given(quotes.filter(lambda q: len({t for t, *_ in q}) == 1), quotes)
@settings(deadline=None, max_examples=40)
def test_without_faults_the_newest_target_is_what_rests_in_the_end(
    first: list[tuple[int, int, int]], newest: list[tuple[int, int, int]]
) -> None:
    newest = newest[:1]
    duel = Duel()
    duel.want(first)
    duel.want(newest)
    duel.rest()
    resting: Counter[tuple[int, int]] = Counter()
    for order in duel.truth.orders.values():
        if order.resting:
            resting[order.token, order.price_e4] += order.size
    assert set(resting) == {(t, 100 * cents) for t, cents, _ in newest}
    for token, cents, shares in newest:
        assert resting[token, 100 * cents] > (shares - 5) * SHARE, (
            "less than the venue's smallest order is missing"
        )
