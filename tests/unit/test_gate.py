"""The gate: its checks one by one, in their order, and every way that an order could take past it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import invmm
from invmm._ext.ahead import SignedAhead
from invmm._ext.gate import Gate
from invmm._ext.l2 import L2Signer
from invmm._ext.pace import Pace
from invmm._ext.ring import CommandRing, ResultRing
from invmm._ext.sign import OrderSigner
from invmm._ext.template import OrderTemplate
from invmm._ext.words import SharedWords
from invmm.clock import LiveClock
from invmm.execution.intake import Intake
from invmm.types import (
    COMMAND_DTYPE,
    EVENT_DTYPE,
    CommandArray,
    CommandFlag,
    CommandKind,
    Mode,
    OrderStatus,
    Reason,
    VenueMode,
)

SECOND = 10**9
NOW_NS = 1_800_000_000 * SECOND
SIGNER = OrderSigner("0x" + "22" * 32)
BY_CALLER = -2


def leg(**fields: object) -> CommandArray:
    legs = np.zeros(1, COMMAND_DTYPE)
    legs["kind"], legs["key"], legs["salt"], legs["batch"] = CommandKind.PLACE, 1, 1, 1
    legs["price_e4"], legs["size_micro"], legs["flags"] = 5_000, 10_000_000, CommandFlag.LAST
    legs["market_version"], legs["deadline_ns"] = 1, NOW_NS + SECOND
    legs["book_ms"] = NOW_NS // 10**6
    for name, value in fields.items():
        legs[name] = value
    return legs


def stop(gate: Gate) -> None:
    gate.stopping = True


def limit_age(gate: Gate) -> None:
    gate.book_max_age_ns = 2 * SECOND


FORBIDDEN: list[tuple[Reason, Callable[[Gate], object], dict[str, object]]] = [
    (Reason.SHUTDOWN, stop, {}),
    (Reason.KILLED, lambda gate: setattr(gate.words, "kill", 1), {}),
    (Reason.MODE, lambda gate: setattr(gate.words, "mode", Mode.PAUSED), {}),
    (Reason.UNAUTHORIZED, lambda gate: setattr(gate.words, "venue_stop", Reason.UNAUTHORIZED), {}),
    (Reason.HEARTBEAT, lambda gate: setattr(gate.words, "missed_heartbeats", 1), {}),
    (Reason.VENUE_MODE, lambda gate: setattr(gate.words, "venue_mode", VenueMode.CANCEL_ONLY), {}),
    (Reason.HEARTBEAT, lambda gate: setattr(gate.words, "heartbeat_until_ns", 1), {}),
    (Reason.VENUE_NOT_READY, lambda gate: None, {"market": 2}),
    (Reason.VENUE_NOT_READY, lambda gate: None, {"token": 2}),
    (Reason.STALE, lambda gate: gate.words.set_market_version(0, 2), {}),
    (Reason.OLD_BOOK, limit_age, {"book_ms": NOW_NS // 10**6 - 2_001}),
    (Reason.MARKET_ENDING, lambda gate: gate.words.set_market_close(0, 1), {}),
    (Reason.DEADLINE, lambda gate: None, {"deadline_ns": NOW_NS - 1}),
    (Reason.JOURNAL, lambda gate: setattr(gate.words, "journal_stop", Reason.JOURNAL), {}),
]
"""In the order in which they are checked."""
NAMES = [f"{number}-{reason.name}" for number, (reason, *_) in enumerate(FORBIDDEN)]


@pytest.mark.parametrize(
    ("reason", "forbid", "fields"), FORBIDDEN, ids=lambda value: getattr(value, "name", "")
)
def test_each_thing_that_forbids_an_order_does_so_by_its_own_reason(
    reason: Reason, forbid: Callable[[Gate], object], fields: dict[str, object]
) -> None:
    gate = Gate(SharedWords(2))
    assert gate.check(leg(), NOW_NS) == Reason.NONE
    forbid(gate)
    assert gate.check(leg(**fields), NOW_NS) == reason


def test_a_leg_without_a_template_is_not_written() -> None:
    assert Gate(SharedWords(2)).check(leg(), NOW_NS, False) == Reason.VENUE_NOT_READY


def test_what_is_checked_first_is_what_is_said() -> None:
    gate, fields, expected = Gate(SharedWords(2)), {}, []
    for reason, forbid, more in reversed(FORBIDDEN):
        forbid(gate)
        if more not in ({"market": 2}, {"token": 2}):
            fields |= more
            assert gate.check(leg(**fields), NOW_NS) == reason
            expected.append(reason)
    assert expected[-1] is Reason.SHUTDOWN


def test_a_book_without_a_time_and_a_market_without_an_end_are_not_judged_by_them() -> None:
    gate = Gate(SharedWords(2))
    limit_age(gate)
    assert gate.check(leg(book_ms=0), NOW_NS) == Reason.NONE
    gate.words.set_market_close(1, 1)
    assert gate.check(leg(), NOW_NS) == Reason.NONE


class Desk:
    """An intake with its rings and no sockets."""

    def __init__(self) -> None:
        self.ring, self.results, self.words = CommandRing(256), ResultRing(1024), SharedWords(2)
        l2 = L2Signer("key", "c2VjcmV0", "pass", SIGNER.address)
        self.clock = LiveClock()
        self.intake = Intake(self.ring, self.results, self.words, l2, "venue.test", self.clock)
        self.intake.set_template(0, 0, OrderTemplate(SIGNER, "123456789", "v2", "key"))

    def now(self, **fields: object) -> CommandArray:
        now_ns = self.clock.now_ns()
        return leg(**{"deadline_ns": now_ns + 60 * SECOND, "book_ms": now_ns // 10**6} | fields)

    def push(self, legs: CommandArray) -> int:
        assert self.ring.push_many(legs) == len(legs)
        return self.intake.take(0, 0, -1, BY_CALLER, BY_CALLER)

    def told(self) -> list[tuple[OrderStatus, Reason]]:
        out = np.zeros(1024, EVENT_DTYPE)
        got = self.results.pop_into(out)
        return [(OrderStatus(r["status"]), Reason(r["reason"])) for r in out[:got]]


def placed(desk: Desk) -> bool:
    return desk.push(desk.now()) == CommandKind.PLACE


def placed_after_waiting(desk: Desk) -> bool:
    """Popped while no connection was free, kept by the executor, tried again."""
    return desk.intake.again(desk.now(), BY_CALLER) == CommandKind.PLACE


def sent_again(desk: Desk) -> bool:
    legs = desk.now()
    return desk.intake.why_not(legs) == Reason.NONE


WAYS = (placed, placed_after_waiting, sent_again)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize(
    ("reason", "forbid", "fields"),
    [row for row in FORBIDDEN if not row[2]],
    ids=lambda value: getattr(value, "name", ""),
)
def test_no_way_out_leads_past_the_gate_and_each_refusal_is_counted(
    way: Callable[[Desk], bool], reason: Reason, forbid: Callable[[Gate], object], fields: dict[str, object]
) -> None:
    desk = Desk()
    if way is sent_again:
        assert placed(desk)
        assert sent_again(desk)
    forbid(desk.intake.gate)
    assert not way(desk)
    assert desk.intake.gate.refusals() == {reason.name: 1}
    if way is not sent_again:
        assert desk.told() == [(OrderStatus.REFUSED, reason)]


def test_orders_signed_ahead_pass_the_gate_like_any_other() -> None:
    desk = Desk()
    desk.intake.orders.ahead = SignedAhead(16, 60_000, 3)
    assert placed(desk)
    assert desk.intake.take(0, 30_000_000, -1, BY_CALLER, BY_CALLER) == 0
    assert desk.intake.orders.ahead.counts()["signed"] > 0
    desk.words.kill = 1
    assert desk.push(desk.now(key=2)) == 0
    assert desk.intake.orders.ahead.held() == []
    desk.words.kill = 0
    assert desk.push(desk.now(key=3, salt=3)) == CommandKind.PLACE


def test_an_order_is_written_in_two_places_only() -> None:
    """Requests that carry orders: the intake's, after the gate, and the same bytes again, after `why_not`."""
    root = Path(invmm.__file__).parent
    writers = {
        str(path.relative_to(root))
        for pattern in ("execution/*.py", "execution/*.pyx", "_ext/*.pyx", "*.py")
        for path in root.glob(pattern)
        if re.search(r'"POST", b?"/order', path.read_text())
    }
    assert writers == {"execution/intake.pyx", "execution/errands.py", "execution/requests.pyx"}


def test_the_same_key_or_the_same_id_goes_out_once() -> None:
    desk = Desk()
    assert placed(desk)
    assert desk.push(desk.now()) == 0
    assert [reason for _, reason in desk.told()] == [Reason.NONE, Reason.IN_FLIGHT]
    twins = np.concatenate([desk.now(key=7, salt=9), desk.now(key=8, salt=9)])
    twins["flags"][0] = 0
    assert desk.push(twins) == CommandKind.PLACE  # equal salts in one millisecond: equal bytes, equal ids
    assert desk.told() == [(OrderStatus.REFUSED, Reason.SEEN_ID), (OrderStatus.SENT, Reason.NONE)]
    assert desk.intake.gate.refusals() == {"IN_FLIGHT": 1, "SEEN_ID": 1}


def test_what_was_never_sent_is_not_sent_again() -> None:
    desk = Desk()
    assert desk.intake.why_not(desk.now()) == Reason.NOT_WANTED


def test_rates_are_asked_after_the_legs_that_may_not_go_anyway() -> None:
    desk = Desk()
    desk.intake.gate.pace = Pace([(1, 0, 10**9, 2, 0)])
    group = np.concatenate(
        [desk.now(key=key, salt=key, deadline_ns=d) for key, d in ((1, 1), (2, 0), (3, 0), (4, 0))]
    )
    group["flags"][:-1] = 0
    assert desk.push(group) == CommandKind.PLACE
    assert desk.intake.gate.refusals() == {"DEADLINE": 1, "THROTTLED": 1}
    assert desk.intake.legs_copy()["key"].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("reason", "forbid", "fields"), FORBIDDEN, ids=lambda value: getattr(value, "name", "")
)
def test_nothing_that_stops_orders_stops_cancels(
    reason: Reason, forbid: Callable[[Gate], object], fields: dict[str, object]
) -> None:
    desk = Desk()
    assert placed(desk)
    forbid(desk.intake.gate)
    cancel = desk.now(kind=CommandKind.CANCEL)
    assert desk.push(cancel) == CommandKind.CANCEL
    assert desk.push(desk.now(kind=CommandKind.CANCEL_ALL)) == CommandKind.CANCEL_ALL


def test_arguments_that_are_no_commands_are_errors() -> None:
    gate = Gate(SharedWords(2))
    for wrong in (None, np.zeros(1, EVENT_DTYPE)):
        with pytest.raises(TypeError, match="COMMAND_DTYPE"):
            gate.check(wrong, NOW_NS)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one"):
        gate.check(np.zeros(0, COMMAND_DTYPE), NOW_NS)
    with pytest.raises(ValueError, match="0 to 3"):
        gate.words.kill = 4
    with pytest.raises(IndexError, match="below 2"):
        gate.words.set_market_close(2, 1)
