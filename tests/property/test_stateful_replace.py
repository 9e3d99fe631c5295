"""The compiled step against a venue and a network that do their worst: whatever arrives, is lost, comes late
or twice, the limits hold at the venue, no order is forgotten, and after the faults the newest target is
in place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from invmm.engine import Engine
from invmm.replay.tape import MarketInfo
from invmm.settings import Settings
from invmm.types import EVENT_DTYPE, EventKind, Mode, OrderStatus, Outcome, Reason
from tests.reference import wire
from tests.reference.unkind_venue import SECOND, News, UnkindVenue

START_S = 1_700_000_000
MAX_CASH, MAX_DIRECTION, MAX_OPEN, MAX_ORDER = 14, 25, 4, 10
TEXT = f"""
[risk]
max_cash_dollars = {MAX_CASH}.0
max_direction_shares = {MAX_DIRECTION}.0
max_open_orders = {MAX_OPEN}
max_order_shares = {MAX_ORDER}.0
[strategy]
num_levels = 2
order_size = {MAX_ORDER}.0
"""
PICK = st.integers(0, 1_000)
PAUSES_MS = (20, 600, 2_500, 6_000, 130_000)


class ReplaceMachine(RuleBasedStateMachine):
    """Engine, venue and the wire between them; every rule is one thing that somebody decides."""

    tells_fills_first = True
    """Whether an order's fills are told before its end is: see the last test of this file."""
    text = TEXT
    max_cash = MAX_CASH

    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine(Settings.parse(self.text), policy="inventory_mm")
        info = MarketInfo("m", wire.MARKET, wire.UP, wire.DOWN, START_S, START_S + 1_000_000)
        self.market = self.engine.add_market(info)
        self.step = self.market.step
        self.venue = UnkindVenue()
        self.now_ns = START_S * SECOND
        self.sequence = 0
        self.ask_e4, self.tick_e4 = 5_100, 100
        self.running = True
        self.told: dict[int, OrderStatus] = {}
        self.book()

    # ---- talking to the engine -----------------------------------------------------------------------------

    @property
    def now_s(self) -> float:
        return self.now_ns / SECOND

    def event(self, kind: EventKind, frame: bytes = b"", **fields: Any) -> int:
        """One event and the end of its buffer; the number of commands that they led to."""
        count = 0
        for each, data in ((kind, frame), (EventKind.BUFFER_END, b"")):
            record = np.zeros(1, dtype=EVENT_DTYPE)
            self.sequence += 1
            record["kind"], record["sequence"], record["length"] = each, self.sequence, len(data)
            record["time_ns"] = self.now_ns
            if each == kind:
                for name, value in fields.items():
                    record[name] = value
            commands = self.engine.step(record, self.now_ns, data).copy()
            self.venue.take(commands)
            count += len(commands)
        return count

    def book(self) -> int:
        """A snapshot of both books around the present price."""
        tick, best = self.tick_e4, self.ask_e4
        bids = {best - n * tick: 50 for n in (2, 3, 4)}
        asks = {best + n * tick: 50 for n in (0, 1, 2)}
        text = wire.price_text(tick)
        ms = self.now_ns // 1_000_000
        up = wire.book_text(wire.UP, bids, asks, ms, tick=text)
        down = wire.book_text(wire.DOWN, wire.mirrored(asks), wire.mirrored(bids), ms, tick=text)
        return self.event(EventKind.FRAME, f"[{up},{down}]\n".encode())

    def tell(self, news: News) -> None:
        """One answer or user event reaches the engine."""
        if "trade" in news:
            before = self.told.get(news["trade"])
            if before not in (OrderStatus.TRADE_CONFIRMED, OrderStatus.TRADE_FAILED):
                self.told[news["trade"]] = news["status"]
            order = self.venue.orders[news["key"]]
            about = {"token": order.token, "price_e4": order.price_e4}
            self.event(EventKind.USER_EVENT, **about, **news)
            return
        if news["key"] in self.venue.unanswered and news["status"] != OrderStatus.NOT_CANCELED:
            self.venue.unanswered.remove(news["key"])
        if news["status"] in (OrderStatus.CANCELED, OrderStatus.FENCED) and self.tells_fills_first:
            for trade in self.venue.trades:
                if trade.key == news["key"] and trade.number not in self.told:
                    self.tell(self.venue.stage(trade))
        self.event(EventKind.ORDER_RESULT, **news)

    # ---- what may happen -----------------------------------------------------------------------------------

    @rule(move=st.integers(-6, 6))
    def market_moves(self, move: int) -> None:
        self.ask_e4 = min(8_000, max(2_000, self.ask_e4 + move * self.tick_e4))
        self.book()

    @rule(tick_e4=st.sampled_from([100, 10]))
    def tick_changes(self, tick_e4: int) -> None:
        if tick_e4 != self.tick_e4:
            old, new = wire.price_text(self.tick_e4), wire.price_text(tick_e4)
            self.tick_e4 = tick_e4
            self.ask_e4 -= self.ask_e4 % 100
            for token in (wire.UP, wire.DOWN):
                self.event(EventKind.FRAME, wire.tick_change(token, old, new, self.now_ns // 1_000_000))
            self.book()

    @precondition(lambda self: self.venue.handed)
    @rule(pick=PICK)
    def executor_sends(self, pick: int) -> None:
        command = self.venue.handed.pop(pick % len(self.venue.handed))
        self.venue.placements.append(command)
        self.venue.unanswered.append(int(command["key"]))
        self.event(EventKind.ORDER_RESULT, key=int(command["key"]), status=OrderStatus.SENT)

    @precondition(lambda self: self.venue.handed)
    @rule(pick=PICK)
    def gate_refuses(self, pick: int) -> None:
        command = self.venue.handed[pick % len(self.venue.handed)]
        if int(command["key"]) not in {int(one["key"]) for one in self.venue.placements}:
            self.venue.handed.pop(pick % len(self.venue.handed))
            key = int(command["key"])
            self.event(EventKind.ORDER_RESULT, key=key, status=OrderStatus.REFUSED, reason=Reason.DEADLINE)

    @precondition(lambda self: self.venue.unanswered)
    @rule(pick=PICK)
    def answer_is_overdue(self, pick: int) -> None:
        key = self.venue.unanswered.pop(pick % len(self.venue.unanswered))
        self.event(EventKind.ORDER_RESULT, key=key, status=OrderStatus.UNKNOWN, reason=Reason.TRANSPORT)

    @precondition(lambda self: self.venue.placements)
    @rule(pick=PICK, willing=st.sampled_from([True, True, True, False]))
    def order_arrives(self, pick: int, willing: bool) -> None:
        self.venue.accept(self.venue.placements.pop(pick % len(self.venue.placements)), self.now_s, willing)

    @precondition(lambda self: self.venue.placements)
    @rule(pick=PICK)
    def order_is_lost(self, pick: int) -> None:
        self.venue.placements.pop(pick % len(self.venue.placements))

    @precondition(lambda self: self.venue.cancels)
    @rule(pick=PICK, lost=st.booleans())
    def cancel_arrives_or_is_lost(self, pick: int, lost: bool) -> None:
        key = self.venue.cancels.pop(pick % len(self.venue.cancels))
        if not lost:
            self.venue.cancel(key)

    @precondition(lambda self: self.venue.news)
    @rule(pick=PICK)
    def news_is_told(self, pick: int) -> None:
        self.tell(self.venue.news.pop(pick % len(self.venue.news)))

    @precondition(lambda self: self.venue.news)
    @rule(pick=PICK)
    def news_is_told_twice(self, pick: int) -> None:
        news = self.venue.news.pop(pick % len(self.venue.news))
        self.tell(news)
        before = self.figures()
        self.tell(news)
        assert self.figures() == before

    @precondition(lambda self: self.venue.news)
    @rule(pick=PICK)
    def news_is_lost(self, pick: int) -> None:
        self.venue.news.pop(pick % len(self.venue.news))

    @precondition(lambda self: self.venue.alive())
    @rule(pick=PICK, whole=st.booleans())
    def order_is_filled(self, pick: int, whole: bool) -> None:
        resting = self.venue.alive()
        order = resting[pick % len(resting)]
        self.venue.fill(order, order.left_micro if whole else min(order.left_micro, 3_000_000))

    @precondition(lambda self: self.open_trades())
    @rule(pick=PICK, stands=st.sampled_from([True, True, False]))
    def trade_settles(self, pick: int, stands: bool) -> None:
        trades = self.open_trades()
        status = OrderStatus.TRADE_CONFIRMED if stands else OrderStatus.TRADE_FAILED
        self.venue.settle(trades[pick % len(trades)], status)

    @precondition(lambda self: self.step.registry.unknown())
    @rule(pick=PICK)
    def unknown_order_is_asked_for(self, pick: int) -> None:
        unknown = self.step.registry.unknown()
        self.ask(unknown[pick % len(unknown)][0])

    @rule()
    def open_orders_are_listed(self) -> None:
        """Reconciliation: what it does not find is asked for by id, and so is what is unknown."""
        open_keys = {order.key for order in self.venue.alive()}
        for order in self.step.registry.orders_live():
            if order["state"] == "unknown" or (order["state"] == "live" and order["key"] not in open_keys):
                self.ask(order["key"])

    @rule()
    def trades_are_listed(self) -> None:
        for trade in self.venue.trades:
            self.tell(self.venue.stage(trade))

    @rule(pause_ms=st.sampled_from(PAUSES_MS))
    def time_passes(self, pause_ms: int) -> None:
        self.now_ns += pause_ms * 1_000_000
        self.venue.expire(self.now_s)
        self.event(EventKind.TIMER)

    @rule()
    def mode_changes(self) -> None:
        self.running = not self.running
        self.event(EventKind.MODE, status=Mode.RUNNING if self.running else Mode.PAUSED)

    @precondition(lambda self: self.fenced())
    @rule()
    def fence_is_used(self) -> None:
        for key in self.fenced():
            for trade in self.venue.trades:
                if trade.key == key:
                    self.tell(self.venue.stage(trade))
            self.tell({"key": key, "status": OrderStatus.FENCED})

    def open_trades(self) -> list[Any]:
        return [trade for trade in self.venue.trades if trade.status == OrderStatus.TRADE_MATCHED]

    def fenced(self) -> list[int]:
        """Orders of unknown fate whose fence has passed."""
        orders = self.step.registry.orders_live()
        return [
            order["key"]
            for order in orders
            if order["state"] == "unknown" and 0 < order["fence_ns"] <= self.now_ns
        ]

    def ask(self, key: int) -> None:
        status = self.venue.asked(key)
        known = self.venue.orders.get(key)
        matched_micro = known.matched_micro if known is not None and status == OrderStatus.MATCHED else 0
        self.tell({"key": key, "status": status, "filled_micro": matched_micro})

    def figures(self) -> tuple[Any, ...]:
        """What the engine believes, commands under way aside."""
        registry = self.step.registry
        known = [
            {name: order[name] for name in ("key", "state", "filled_micro", "failed_micro", "hinted_micro")}
            for order in registry.orders_live()
        ]
        return known, registry.position(), registry.confirmed(), registry.counts()["fills"], registry.alarms()

    # ---- what must hold ------------------------------------------------------------------------------------

    @invariant()
    def limits_hold_at_the_venue(self) -> None:
        venue = self.venue
        assert venue.committed_e10() <= self.max_cash * 10**10
        assert len(venue.alive()) <= MAX_OPEN
        for token in Outcome:
            assert venue.lead_micro(token) <= MAX_DIRECTION * 10**6
        up, down = (venue.best_bid_e4(token) for token in Outcome)
        assert up + down < 10_000 or not (up and down)

    @invariant()
    def nothing_alive_is_forgotten(self) -> None:
        believed = {order["key"] for order in self.step.registry.orders_live()}
        assert {order.key for order in self.venue.alive()} <= believed
        assert {int(command["key"]) for command in self.venue.handed} <= believed | self.ended_after_resend()

    def ended_after_resend(self) -> set[int]:
        """Copies that wait to be sent again may have been overtaken by the end of their order."""
        return {int(command["key"]) for command in self.venue.handed if command["kind"] != 1}

    @invariant()
    def position_is_what_was_told(self) -> None:
        expected = [0, 0]
        for trade in self.venue.trades:
            if self.told.get(trade.number, OrderStatus.TRADE_FAILED) != OrderStatus.TRADE_FAILED:
                expected[self.venue.orders[trade.key].token] += trade.size_micro
        assert list(self.step.registry.position()) == expected

    @invariant()
    def evidence_never_contradicts_itself(self) -> None:
        assert not any(self.step.registry.alarms().values())

    # ---- the end -------------------------------------------------------------------------------------------

    def calm(self) -> None:
        """Without further faults: everything is sent, arrives and is told; questions are answered."""
        venue = self.venue
        for _ in range(4):
            for _ in range(len(venue.handed)):
                self.executor_sends(0)
            for _ in range(len(venue.placements)):
                self.order_arrives(0, True)
            for _ in range(len(venue.cancels)):
                venue.cancel(venue.cancels.pop(0))
            for _ in range(len(venue.news)):
                self.tell(venue.news.pop(0))
        for key in list(venue.unanswered):
            self.answer_is_overdue(venue.unanswered.index(key))

    def teardown(self) -> None:
        """The newest target comes into place, and then the same target sends nothing (PO4, PO5, PO7)."""
        if not self.running:
            self.mode_changes()
        for _ in range(80):
            self.calm()
            self.trades_are_listed()
            self.open_orders_are_listed()
            if self.fenced():
                self.fence_is_used()
            self.calm()
            sent = self.settle_down()
            self.limits_hold_at_the_venue()
            self.nothing_alive_is_forgotten()
            if not sent and not self.step.registry.unknown():
                break
        else:
            raise AssertionError(f"not at rest: {self.step.registry.orders_live()} {self.step.stats()}")
        alive = {order["key"] for order in self.step.registry.orders_live()}
        assert alive == {order.key for order in self.venue.alive()}
        for _ in range(3):
            assert self.book() == 0

    def settle_down(self) -> int:
        """Some time and a book of then; the number of commands that they lead to."""
        self.now_ns += 5 * SECOND
        self.venue.expire(self.now_s)
        return self.book() + self.event(EventKind.TIMER) + self.book()


ReplaceMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=60, deadline=None, print_blob=True
)
TestReplaceMachine = ReplaceMachine.TestCase


class LateTrades(ReplaceMachine):
    """Cancels are acknowledged at once, trades are told late: two connections, nothing unusual."""

    tells_fills_first = False
    max_cash = 10
    text = TEXT.replace(f"max_cash_dollars = {MAX_CASH}", "max_cash_dollars = 10").replace("= 2", "= 1")


def test_untold_fills_of_cancelled_orders_count_in_the_limits() -> None:
    machine = LateTrades()
    venue, late = machine.venue, []
    for move in (0, -4, -4, 5):
        machine.market_moves(move)
        for _ in range(3):
            while venue.handed:
                machine.executor_sends(0)
            while venue.placements:
                machine.order_arrives(0, True)
            for order in venue.alive():
                if not order.matched_micro:
                    venue.fill(order, 3_000_000)
            while venue.cancels:
                venue.cancel(venue.cancels.pop(0))
            for news in venue.news:
                if "trade" in news:
                    late.append(news)
                else:
                    machine.tell(news)
            venue.news.clear()
            machine.time_passes(100)
    assert len(late) >= 2
    machine.limits_hold_at_the_venue()
