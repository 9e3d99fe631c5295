"""What the engine tells the steps about the data, and what it does when they ask for fresh books."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from invmm.dataguard import DataGuard
from invmm.engine import Engine
from invmm.execution.snapshot import ClockReading
from invmm.feed.states import EndCause, FeedState
from invmm.permission import AlarmKind
from invmm.settings import Settings
from invmm.types import EVENT_DTYPE, EventKind, GuardFact, Outcome, Reason
from tests.reference import wire
from tests.unit.test_guards import Guarded, crossed
from tests.unit.test_step import ASKS, BIDS, MS, NS, START_S

SECOND_MS = 1000


class Feed:
    def __init__(self) -> None:
        self.state = FeedState.LIVE
        self.token_ids: tuple[str, ...] = (wire.UP, wire.DOWN)
        self.patient = False
        self.replaced: list[EndCause] = []

    def set_tokens(self, token_ids: tuple[str, ...]) -> None:
        self.token_ids = token_ids

    def replace(self, cause: EndCause = EndCause.RESYNC) -> bool:
        self.replaced.append(cause)
        return True


class Rig:
    """A guard over one market that is driven by hand."""

    def __init__(self) -> None:
        self.desk = Guarded()
        self.desk.accept(self.desk.open(), 10)
        self.at_ms = 20.0
        clock: Any = SimpleNamespace(now_ns=lambda: START_S * NS + round(self.at_ms * MS), scale=1.0)
        self.asked: list[tuple[Any, Callable[[Any], object]]] = []
        self.guard = DataGuard(self.desk.engine.markets, clock, Settings(), self.ask)
        self.feed: Any = Feed()
        self.desk.market.feed = self.feed
        self.disagrees = self.guard.watch(self.desk.market)
        self.user: Any = SimpleNamespace(is_live=True)
        self.reconciler: Any = SimpleNamespace(reconciled_ns=START_S * NS, clock_offset_ns=0)

    def account(self) -> None:
        self.guard.user_feed, self.guard.reconciler = self.user, self.reconciler

    def ask(self, job: Any, done: Callable[[Any], object]) -> bool:
        self.asked.append((job, done))
        return True

    def tick(self, at_ms: float) -> Reason:
        self.at_ms = at_ms
        self.guard.tick(START_S * NS + round(at_ms * MS))
        self.desk.timer(at_ms)
        return self.desk.reason


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_nothing_is_quoted_until_the_user_channel_has_spoken_and_after_it_is_lost(rig: Rig) -> None:
    rig.account()
    rig.user.is_live = False
    assert rig.tick(100) == Reason.USER_FEED
    rig.user.is_live = True
    assert rig.tick(150) == Reason.NONE
    rig.user.is_live = False
    assert rig.tick(200) == Reason.USER_FEED


def test_nothing_is_quoted_when_the_last_reconciliation_is_older_than_15_s(rig: Rig) -> None:
    rig.account()
    for at in range(1000, 16_000, 1000):
        rig.desk.change(at)
    assert rig.tick(15_000) == Reason.NONE
    assert rig.tick(15_001) == Reason.UNRECONCILED
    rig.reconciler.reconciled_ns = START_S * NS + 15_000 * MS
    assert rig.tick(15_050) == Reason.NONE


def test_without_an_account_neither_is_asked_for(rig: Rig) -> None:
    for at in range(1000, 30_000, 1000):
        rig.desk.change(at)
    assert rig.tick(29_500) == Reason.NONE


@pytest.mark.parametrize(
    ("offset_ms", "reason"), [(999, Reason.NONE), (1001, Reason.CLOCK), (-1001, Reason.CLOCK)]
)
def test_the_venues_clock_may_be_one_second_off(rig: Rig, offset_ms: int, reason: Reason) -> None:
    rig.account()
    rig.reconciler.clock_offset_ns = offset_ms * MS
    assert rig.tick(100) == reason


def test_a_reading_of_the_clock_says_only_what_is_certain() -> None:
    assert ClockReading(0, NS).offset_ns == 0
    assert ClockReading(2 * NS, 3 * NS, -2 * NS).offset_ns == -2 * NS


def test_a_market_that_is_opened_later_is_told_what_holds(rig: Rig) -> None:
    rig.account()
    rig.user.is_live = False
    rig.tick(100)
    other = rig.desk.engine.add_market(rig.desk.market.info, number=7)
    rig.guard.watch(other)
    rig.tick(150)
    other.step.step(event_of(rig, 7), START_S * NS + 160 * MS)
    assert other.step.no_quote_reasons == (Reason.USER_FEED, Reason.USER_FEED)
    del rig.desk.engine.markets[7]
    rig.tick(200)
    with pytest.raises(KeyError):
        rig.guard.witness(7)


def event_of(rig: Rig, number: int) -> Any:
    event = np.zeros(1, EVENT_DTYPE)
    event["kind"], event["market"] = EventKind.TIMER, number
    return event


def test_a_crossed_book_replaces_the_connection_once_it_lasts(rig: Rig) -> None:
    rig.desk.frame(crossed(100), 100)
    rig.tick(200)
    assert not rig.feed.replaced
    rig.tick(400)
    rig.tick(450)
    assert rig.feed.replaced
    assert rig.guard.resyncs == len(rig.feed.replaced)
    assert "fresh books wanted (crossed)" in "\n".join(rig.desk.engine.messages)


@pytest.mark.parametrize("state", [FeedState.SUBSCRIBING, FeedState.CONNECTING, FeedState.BACKING_OFF])
def test_a_connection_that_is_not_up_yet_is_left_alone(rig: Rig, state: FeedState) -> None:
    rig.desk.frame(crossed(100), 100)
    rig.feed.state = state
    rig.tick(200)
    rig.tick(600)
    assert not rig.feed.replaced


def test_f1_a_quiet_market_is_asked_about_and_its_quotes_stand_while_the_answer_is_ours(rig: Rig) -> None:
    for at in range(1000, 10_000, 50):
        assert rig.tick(at) == Reason.NONE
        for job, done in rig.asked:
            assert job is not None
            done(listed(1_000 * START_S))
        rig.asked.clear()
    assert not rig.disagrees((wire.UP, wire.DOWN))
    assert rig.guard.witness(0).stats.agreed >= 8


def test_f1_a_dead_stream_is_disputed_before_the_limit_of_silence(rig: Rig) -> None:
    for at in range(1000, 2_900, 50):
        if rig.tick(at) != Reason.NONE:
            break
        for _, done in rig.asked:
            done(listed(1_000 * START_S + 900, {4900: 5.0, 4800: 200.0}))
        rig.asked.clear()
    assert rig.desk.reason == Reason.DISPUTED
    assert at < 2_000
    rig.tick(at + 50)
    assert rig.feed.replaced


def test_f1_without_any_answer_quotes_are_pulled_at_the_limit(rig: Rig) -> None:
    reason = Reason.NONE
    for at in range(1000, 3_050, 50):
        reason = rig.tick(at)
    assert reason == Reason.STALE
    assert rig.disagrees((wire.UP, wire.DOWN))


def test_f5_checksums_that_are_wrong_twice_in_a_row_lead_to_one_question(rig: Rig) -> None:
    hashes = rig.desk.market.hashes
    assert rig.desk.market.step.watcher is None
    bad = wire.change("BUY", 4700, 33, 4900, 5100, START_S * 1000 + 50)
    for at in (50, 60, 70, 80):
        rig.desk.frame(bad, at)
        rig.desk.market.compare_hash(rig.desk.market.step.books, bad)
        rig.tick(at)
    assert hashes.in_a_row == 4
    assert len(rig.asked) == 1
    assert rig.desk.reason == Reason.NONE
    assert rig.guard.witness(0).stats.doubts == 1


def test_a_held_or_ended_market_is_not_asked_about(rig: Rig) -> None:
    rig.desk.market.held = True
    rig.tick(2_000)
    rig.desk.market.held = False
    rig.tick(290_000)
    assert not rig.asked


def test_f11_a_feed_expects_silence_by_the_clock_though_no_event_told_it(rig: Rig) -> None:
    rig.tick(299_999)
    assert not rig.feed.patient
    rig.tick(300_000)
    assert rig.feed.patient
    assert rig.feed.token_ids
    rig.tick(310_000)
    assert not rig.feed.token_ids


@pytest.mark.parametrize("state", [FeedState.REFUSED, FeedState.FAILED])
def test_f9_a_feed_that_has_stopped_for_good_is_an_alarm(state: FeedState) -> None:
    engine = Engine()
    feed: Any = SimpleNamespace(name="user", last_error="upgrade answered with 401", is_live=False)
    engine._told(feed, state, EndCause.REFUSED)
    (alarm,) = engine.permission.alarms
    assert "user feed" in alarm
    assert engine.permission.kinds[AlarmKind.FEED] == 1
    assert ("401" in alarm) is (state is FeedState.REFUSED)
    engine._told(feed, FeedState.BACKING_OFF, EndCause.CONNECT)
    assert len(engine.permission.alarms) == 1


def test_facts_reach_the_step_as_events(rig: Rig) -> None:
    rig.guard._tell(rig.desk.market, GuardFact.DISPUTE, token=Outcome.DOWN, time_ns=START_S * NS)
    assert rig.desk.reason == Reason.DISPUTED


def listed(ms: int, bids: dict[int, float] | None = None) -> list[dict[str, Any]]:
    """What `/books` would answer, both tokens."""

    def row(bids: dict[int, float], asks: dict[int, float]) -> dict[str, Any]:
        return {
            "timestamp": str(ms),
            "bids": [{"price": wire.price_text(p), "size": f"{s:g}"} for p, s in bids.items()],
            "asks": [{"price": wire.price_text(p), "size": f"{s:g}"} for p, s in asks.items()],
        }

    bids = dict(BIDS) if bids is None else bids
    return [row(bids, ASKS), row(wire.mirrored(ASKS), wire.mirrored(bids))]


def test_f12_a_callback_that_fails_is_a_fault_and_the_market_is_not_quoted(rig: Rig) -> None:
    """As the socket drives it: the listener sees the fault, ends the connection and tells the step."""
    step = rig.desk.market.step

    def fail(books: object, frame: bytes) -> None:
        raise RuntimeError("a watcher's own mistake")

    step.watcher, step.wants_frame = fail, True
    step.on_frame(wire.change("BUY", 4700, 1, 4900, 5100, START_S * 1000 + 30), START_S * NS + 30 * MS)
    assert step.fault == 1
    step.on_disconnect(START_S * NS + 31 * MS)
    assert rig.desk.reason == Reason.DISCONNECTED
