"""Reconciliation: when it asks, what it makes of the answers, and what it never concludes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import numpy as np
import pytest

from invmm.errors import TransportError, VenueError
from invmm.execution.reconcile import Reconciler
from invmm.execution.unknown import Ladder
from invmm.permission import AlarmKind, Permission
from invmm.types import CommandKind, EventKind, Mode, OrderStatus, VenueMode
from tests.reference import wire
from tests.unit.test_step import START_S, Desk

NS = 1_000_000_000


class FakeVenue:
    """A `Listing` that is set by hand and notes what it was asked."""

    def __init__(self) -> None:
        self.open: list[dict[str, Any]] = []
        self.by_id: dict[str, dict[str, Any]] = {}
        self.matches: list[dict[str, Any]] = []
        self.cash = 1_000_000_000
        self.clock_s = 0.0
        self.tokens: dict[str, int] = {}
        self.error: Exception | None = None
        self.asked: list[str] = []

    def _note(self, what: str) -> None:
        self.asked.append(what)
        if self.error is not None:
            raise self.error

    async def open_orders(self) -> list[dict[str, Any]]:
        self._note("orders")
        return self.open

    async def order(self, order_id: str, /) -> dict[str, Any] | None:
        self._note("order")
        return self.by_id.get(order_id)

    async def trades(self, after: int | None = None) -> list[dict[str, Any]]:
        self._note(f"trades after {(after or 0) - START_S}")
        return self.matches

    async def balance_allowance(
        self, asset_type: str = "COLLATERAL", token_id: str | None = None
    ) -> dict[str, Any]:
        self._note("token" if token_id else "cash")
        if token_id and token_id not in self.tokens:
            raise VenueError(404, "No orderbook exists for the requested token id")
        return {"balance": str(self.tokens[token_id] if token_id else self.cash)}

    async def ask(self, method: str, path: str, /) -> Any:
        self._note("clock")
        return START_S + int(self.clock_s)


class Rig:
    """A desk whose placed orders are live at a fake venue; time in seconds after the start of the window."""

    scale = 1.0

    def __init__(self) -> None:
        self.desk, self.venue, self.at_s, self.mode = Desk(), FakeVenue(), 0.0, VenueMode.RUNNING
        self.placed = self.desk.open()
        self.ids = {int(c["key"]): "0x" + f"{n + 1:02x}" * 32 for n, c in enumerate(self.placed)}
        self.desk.accept(self.placed, 10)
        self.venue.open = [self.row(c) for c in self.placed]
        self.venue.by_id = {row["id"]: row for row in self.venue.open}
        self.said: list[str] = []
        self.clock_off_s = 0.0
        self.permission = Permission(lambda mode: None, self.said.append)
        self.reconciler = Reconciler(self, self.permission, self, self, self.tokens)  # type: ignore[arg-type]
        self.reconciler.demand()

    @property
    def tokens(self) -> dict[str, tuple[int, int]]:
        return {wire.UP: (0, 0), wire.DOWN: (0, 1)}

    def row(self, command: np.void, **changes: Any) -> dict[str, Any]:
        return {
            "id": self.ids[int(command["key"])],
            "asset_id": wire.UP if command["token"] == 0 else wire.DOWN,
            "side": "BUY",
            "status": "LIVE",
            "price": str(int(command["price_e4"]) / 1e4),
            "original_size": str(int(command["size_micro"]) / 1e6),
            "size_matched": "0",
        } | changes

    def match(self, command: np.void, shares: float, status: str = "TRADE_STATUS_MATCHED") -> dict[str, Any]:
        row = self.row(command)
        maker = {"order_id": row["id"], "asset_id": row["asset_id"], "price": row["price"], "side": "BUY"}
        return {
            "id": f"trade of {row['id']}",
            "status": status,
            "side": "SELL",
            "size": str(shares),
            "price": row["price"],
            "asset_id": row["asset_id"],
            "taker_order_id": "0x" + "ee" * 32,
            "maker_orders": [maker | {"matched_amount": str(shares)}],
        }

    # Clock, EdgeThread and Account in one.

    def now_ns(self) -> int:
        return START_S * NS + round(self.at_s * NS)

    def ask(self, job: Any, done: Any) -> bool:
        try:
            outcome = asyncio.run(job(self.venue))
        except Exception as error:
            outcome = error
        done(outcome)
        return True

    @property
    def markets(self) -> Any:
        return self.desk.engine.markets

    def key_of(self, order_id: bytes, /) -> int | None:
        return next((key for key, text in self.ids.items() if text == "0x" + order_id.hex()), None)

    def order_ids(self, keys: Collection[int], /) -> dict[int, str]:
        return {key: text for key, text in self.ids.items() if key in keys}

    def take_evidence(self, records: Any, /) -> None:
        for record in records:
            self.desk.engine.step(record, self.now_ns())

    def venue_mode(self) -> int:
        return self.mode

    def tick(self, at_s: float) -> list[str]:
        """The timer at that time; what the venue was asked."""
        self.at_s = self.venue.clock_s = at_s
        self.venue.clock_s += self.clock_off_s
        self.venue.asked.clear()
        self.reconciler.tick(self.now_ns())
        return list(self.venue.asked)

    def state(self, number: int = 0) -> str:
        order = self.desk.market.step.registry.order(int(self.placed[number]["key"]))
        assert order is not None
        return str(order["state"])

    def know_nothing(self, number: int = 0) -> None:
        command = self.placed[number]
        self.desk.event(EventKind.ORDER_RESULT, 500, status=OrderStatus.UNKNOWN, key=command["key"])


def test_nothing_is_quoted_before_the_first_pass_which_asks_for_everything():
    rig = Rig()
    assert rig.permission.mode == Mode.PAUSED
    assert rig.tick(1) == ["orders", "trades after -600", "cash", "token", "token", "clock"]
    assert rig.permission.mode == Mode.RUNNING


def test_open_orders_are_asked_every_five_seconds_and_trades_with_cash_every_ten():
    rig = Rig()
    rig.tick(0)
    asked = {at: rig.tick(at) for at in np.arange(0.5, 26, 0.5)}
    assert {at: told for at, told in asked.items() if told} == {
        5.0: ["orders"],
        10.0: ["orders", "trades after -120", "cash"],
        15.0: ["orders"],
        20.0: ["orders", "trades after -110", "cash"],
        25.0: ["orders"],
    }
    rig.tick(295)
    assert rig.tick(300)[-2:] == ["cash", "clock"]  # everything; the shares of a market that is over are not


def test_a_demand_pulls_everything_at_once_and_only_a_pass_that_began_later_satisfies_it():
    rig = Rig()
    rig.tick(0)
    rig.permission.pause("lost")
    rig.reconciler.demand()
    assert not rig.reconciler.is_current
    rig.venue.error = TransportError("no route")
    rig.tick(1)
    assert rig.permission.mode == Mode.PAUSED
    assert "trades could not be listed: no route" in rig.said
    rig.venue.error = None
    assert rig.tick(1.4) == []
    rig.tick(1.6)
    assert rig.permission.mode == Mode.RUNNING


@pytest.mark.parametrize("asks_by_id", [False, True])
def test_an_error_that_nobody_has_foreseen_is_an_alarm_and_not_silence(asks_by_id: bool):
    rig = Rig()
    rig.tick(0)
    if asks_by_id:
        del rig.venue.open[0]
        rig.tick(10)
    rig.venue.error = KeyError("a text that may quote anything")
    rig.tick(10.1 if asks_by_id else 5)
    (alarm,) = rig.permission.alarms
    assert alarm.startswith("reconciliation failed: KeyError at ")
    assert "anything" not in alarm
    assert rig.permission.kinds[AlarmKind.RECONCILE] == 1
    assert rig.permission.mode == Mode.PAUSED
    rig.venue.error = None
    rig.tick(16)
    assert rig.reconciler.stats.passes >= 2, "it goes on asking"


def test_fills_that_no_message_told_are_found_in_the_trades():
    rig = Rig()
    rig.tick(0)
    rig.venue.matches = [rig.match(rig.placed[0], 7)]
    rig.venue.open[0] = rig.row(rig.placed[0], size_matched="7")
    rig.tick(5)
    rig.tick(10)
    assert rig.desk.market.ledger.held_micro(0) + rig.desk.market.ledger.held_micro(1) == 7_000_000
    assert rig.reconciler.stats.missed_fills == 1
    assert not rig.permission.alarms


def test_an_order_missing_from_the_list_is_asked_for_by_id_and_never_dropped():
    rig = Rig()
    rig.tick(0)
    del rig.venue.open[0]
    rig.tick(5)
    assert "order" not in rig.tick(5.1), "it is younger than ten seconds"
    rig.tick(10)
    assert rig.tick(10.1) == ["order"]
    assert rig.state() == "live", "the query knows it"
    del rig.venue.by_id[rig.ids[int(rig.placed[0]["key"])]]
    rig.tick(15)
    rig.tick(15.1)
    assert rig.state() == "unknown", "neither list nor query: alive all the same"
    assert rig.desk.market.step.registry.counts()["live"] == len(rig.placed)


def test_an_order_cancelled_behind_our_back_is_dead_when_the_query_says_so():
    rig = Rig()
    rig.tick(0)
    row = rig.venue.open.pop(0)
    rig.venue.by_id[row["id"]] = row | {"status": "CANCELED_MARKET_RESOLVED"}
    rig.tick(11)
    rig.tick(11.1)
    assert rig.state() == "dead"


def test_orders_of_unknown_fate_climb_the_ladder():
    rig = Rig()
    rig.tick(0)
    rig.know_nothing()
    rig.desk.event(
        EventKind.ORDER_RESULT,
        600,
        status=OrderStatus.NOT_FOUND,
        key=rig.placed[0]["key"],
        time_ns=START_S * NS + 600_000_000,
    )
    assert rig.state() == "unknown"
    del rig.venue.by_id[rig.venue.open.pop(0)["id"]]
    asked = [at for at in np.round(np.arange(0.6, 16, 0.05), 2) if "order" in rig.tick(float(at))]
    assert list(asked) == pytest.approx([0.6, 0.85, 1.1, 1.6, 2.6, 4.6, 9.6, 14.6])


def test_after_its_fence_one_clean_look_ends_an_order_and_a_trade_that_names_it_does_not():
    for clean in (True, False):
        rig = Rig()
        rig.know_nothing()
        command = rig.placed[0]
        rig.desk.event(
            EventKind.ORDER_RESULT,
            600,
            status=OrderStatus.NOT_FOUND,
            key=command["key"],
            time_ns=START_S * NS + 600_000_000,
        )
        rig.venue.open.pop(0)
        rig.venue.by_id.clear()
        rig.tick(129)
        assert rig.state() == "unknown", "184 − 60 + 1 + 5 seconds are not over"
        rig.venue.matches = [] if clean else [rig.match(command, 3)]
        for at in range(130, 142):
            rig.tick(at)
        assert rig.state() == ("dead" if clean else "unknown")


def test_a_row_that_cannot_be_read_rejects_its_whole_snapshot():
    rig = Rig()
    rig.tick(0)
    rig.venue.matches = [rig.match(rig.placed[0], 7), {"id": None}]
    rig.tick(5)
    rig.tick(10)
    assert rig.reconciler.stats.rejected == 1
    assert rig.desk.market.ledger.legs == {}


def test_a_foreign_order_is_an_alarm_that_forbids_new_risk_for_good():
    rig = Rig()
    rig.venue.open.append(rig.row(rig.placed[0], id="0x" + "77" * 32))
    rig.tick(0)
    assert rig.permission.mode == Mode.PAUSED
    assert list(rig.permission.alarms) == ["an open order is not ours: 0x" + "77" * 32]
    assert rig.permission.kinds[AlarmKind.FOREIGN_ORDER] == 1
    rig.venue.open.pop()
    rig.reconciler.demand()
    rig.tick(5)
    assert rig.permission.mode == Mode.PAUSED
    assert len(rig.permission.alarms) == 1


def test_the_same_difference_twice_in_a_row_is_an_alarm_and_dust_is_none():
    rig = Rig()
    rig.venue.open[0] = rig.row(rig.placed[0], size_matched="0.01")
    rig.tick(0)
    rig.venue.open[0] = rig.row(rig.placed[0], size_matched="3")
    for at in (5, 10, 15):
        rig.tick(at)
    assert not rig.permission.alarms
    rig.tick(20)
    assert [text[-32:] for text in rig.permission.alarms] == ["venue has +3 shares to our fills"]
    assert rig.permission.kinds[AlarmKind.FILLS] == 1


def test_cash_that_is_missing_in_two_passes_is_an_alarm_and_a_fill_on_its_way_is_not():
    rig = Rig()
    rig.tick(0)
    rig.venue.matches = [rig.match(rig.placed[0], 7)]
    rig.venue.open[0] = rig.row(rig.placed[0], size_matched="7")
    paid = 7 * int(rig.placed[0]["price_e4"]) * 100
    for at in (5, 10, 15, 20):
        rig.tick(at)
    rig.venue.cash -= paid  # settled while we only know that it matched
    for at in (25, 30, 35, 40):
        rig.tick(at)
    assert not rig.permission.alarms
    rig.venue.cash -= 2_000_000
    for at in (45, 50, 55):
        rig.tick(at)
    assert not rig.permission.alarms, "one pass may have been too early"
    rig.tick(60)
    assert list(rig.permission.alarms) == ["the venue's balance is off by -2 dollars"]
    assert rig.permission.kinds[AlarmKind.BALANCE] == 1


def test_after_the_venue_was_away_quotes_wait_for_a_pass():
    rig = Rig()
    rig.tick(0)
    rig.mode = VenueMode.RESTARTING
    rig.tick(1)
    assert rig.permission.mode == Mode.RUNNING, "the executor refuses meanwhile"
    rig.mode, rig.venue.error = VenueMode.POST_ONLY, TransportError("away")
    rig.tick(2)
    assert rig.permission.mode == Mode.PAUSED
    rig.venue.error = None
    rig.tick(3)
    assert rig.permission.mode == Mode.RUNNING


@pytest.mark.parametrize(
    ("off_s", "bound_s", "mode"), [(0, 1, 0), (-3, 3, 0), (4, 5, 0), (-7, 7, 1), (7, 8, 1)]
)
def test_the_measured_distance_of_the_clocks_is_part_of_every_fence(off_s: int, bound_s: int, mode: int):
    rig = Rig()
    rig.clock_off_s = off_s
    rig.tick(0)
    assert rig.reconciler.clock_bound_ns == bound_s * NS
    order = rig.desk.live()[0]
    assert order["fence_ns"] == (START_S + 184 - 60 + bound_s + 5) * NS
    assert rig.permission.mode == mode
    assert any("clock" in text for text in rig.said) == (off_s != 0)
    assert rig.permission.kinds[AlarmKind.CLOCK] == mode
    assert rig.permission.kinds[AlarmKind.CLOCK_DRIFT] == (1 < abs(off_s) <= 5)


def test_a_settlement_told_both_ways_is_an_alarm():
    rig = Rig()
    rig.tick(0)
    rig.desk.fill(rig.placed[0], 5, 20, status=OrderStatus.TRADE_FAILED)
    rig.desk.fill(rig.placed[0], 5, 30, status=OrderStatus.TRADE_CONFIRMED)
    rig.tick(1)
    assert list(rig.permission.alarms) == ["m: a trade was told confirmed and failed"]
    assert rig.permission.kinds[AlarmKind.EVIDENCE] == 1


def test_an_unanswered_order_is_sent_again_when_the_first_query_does_not_know_it():
    desk = Desk()
    placed = desk.open()
    desk.answer(placed[0], OrderStatus.UNKNOWN, 500)
    assert [int(c["kind"]) for c in desk.answer(placed[0], OrderStatus.NOT_FOUND, 600)] == [
        CommandKind.RESEND
    ]


def test_the_ladder_waits_for_an_answer_and_forgets_what_is_resolved():
    ladder = Ladder()
    assert ladder.due([(1, 0), (2, 0)], 0) == [1, 2]
    assert ladder.due([(1, 0), (2, 0)], 10 * NS) == [], "both are still asked for"
    ladder.answered(1)
    assert ladder.due([(1, 0)], 10 * NS) == [1]
    ladder.answered(1)
    assert ladder.due([], 20 * NS) == []
    assert ladder.due([(1, 20 * NS)], 20 * NS) == [1], "unknown anew: from the first rung"
