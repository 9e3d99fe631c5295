"""The live engine against a venue that fails: it pulls its quotes or recovers, and counts every fill.

Engine, executor and feeds run in this process, the venue in a child, as in a session. Times are generous:
machines are slow.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from invmm.clock import LiveClock
from invmm.engine import Engine, Market
from invmm.execution.remote import RemoteVenue
from invmm.execution.state import StateFolder
from invmm.permission import AlarmKind
from invmm.replay.player import venue_profile
from invmm.replay.tape import Tape
from invmm.settings import Settings
from invmm.sim.child import ChildCredentials, VenueChild
from invmm.sim.market import generate
from invmm.types import Reason
from invmm.venue.auth import ApiCredentials, OrderSigner
from invmm.venue.profile import loopback
from tests import markers

SPEED = 4.0
PATIENCE_S = 25.0
NO_DATA = (Reason.DISCONNECTED, Reason.NO_SNAPSHOT, Reason.STALE, Reason.DISPUTED)


@pytest.fixture(scope="module")
def tape() -> Tape:
    return generate(4, day="quiet")


class Rig:
    """A running engine, its venue, and what was seen of its reasons."""

    def __init__(self, child: VenueChild, venue: RemoteVenue, engine: Engine, market: Market) -> None:
        self.child, self.venue, self.engine, self.market = child, venue, engine, market

    @property
    def live(self) -> int:
        return self.market.step.registry.counts()["live"]

    @property
    def said(self) -> str:
        return "\n".join(self.engine.messages)

    def prevented(self, *reasons: Reason) -> int:
        """How often quotes were ended or prevented for these reasons."""
        counted = self.market.step.stats()["reasons"]
        return sum(counted.get(int(reason), 0) for reason in reasons)

    async def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Waits; fails with what the engine said."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE_S
        while not holds():
            assert loop.time() < end, f"not in {PATIENCE_S:g} s: {what}; the engine said:\n{self.said}"
            await asyncio.sleep(0.01)

    async def quotes(self) -> None:
        """Waits until orders rest and both tokens have a say."""
        await self.until("quotes", lambda: self.live > 0 and not all(self.market.step.no_quote_reasons))

    async def fault(self, kind: str, **figures: Any) -> None:
        await asyncio.to_thread(self.child.fault, kind, **figures)

    async def truth(self) -> dict[str, Any]:
        return await asyncio.to_thread(self.child.truth)


@asynccontextmanager
async def rig(
    tape: Tape, settings: Settings | None = None, *, stop_s: float = 5.0, state: StateFolder | None = None
) -> AsyncIterator[Rig]:
    """A session that quotes; at the end it must stop clean, with every share that the venue knows."""
    settings = settings or Settings()
    signer = OrderSigner(markers.PRIVATE_KEY)
    key = ChildCredentials(markers.API_KEY, markers.API_SECRET, markers.PASSPHRASE, signer.address)
    child = VenueChild([tape], credentials=key, profile=venue_profile(settings.sim), seed=1)
    with child:
        mapping = await asyncio.to_thread(child.begin, 0, speed=SPEED, in_s=0.6)
        clock = LiveClock(SPEED, int(mapping["tape_ns"]), int(mapping["monotonic_ns"]))
        credentials = ApiCredentials(key.api_key, key.secret, key.passphrase)
        venue = RemoteVenue(loopback(child.port), credentials, signer, clock, settings)
        engine = Engine(settings, policy="inventory_mm", venue=venue, clock=clock, seed=1)
        engine.state = state
        desk = Rig(child, venue, engine, engine.add_market(tape.market, number=0))
        await engine.start()
        stopped = False
        try:
            await desk.quotes()
            yield desk
            stopped = True
            clean = await engine.stop(stop_s)
            truth = await desk.truth()
            assert list(desk.market.step.registry.position()) == truth["tokens_micro"], desk.said
            # An order whose answer was lost and that never arrived has no proof of its end before its fence.
            left = desk.market.step.registry.orders_live()
            if venue.executor.error is not None:  # what nobody takes off the ring stays what it is
                left = [order for order in left if order["state"] != "prepared"]
            assert all(o["state"] == "unknown" and o["fence_ns"] > clock.now_ns() for o in left), left
            assert clean == (not left), desk.said
            assert desk.said.count("may be alive until its fence at ") == len(left)
            assert not [o for o in truth["orders"] if o["state"] in ("LIVE", "DELAYED")]
        finally:
            if not stopped:
                await engine.stop()


def session(
    tape: Tape,
    act: Callable[[Rig], Coroutine[Any, Any, None]],
    settings: Settings | None = None,
    *,
    stop_s: float = 5.0,
) -> None:
    async def play() -> None:
        async with rig(tape, settings, stop_s=stop_s) as desk:
            await act(desk)

    asyncio.run(play())


def test_killed_market_socket_pulls_the_quotes_until_fresh_books_have_come(tape: Tape) -> None:
    async def act(desk: Rig) -> None:
        before = desk.prevented(*NO_DATA)
        await desk.fault("kill")
        await desk.until("quotes pulled", lambda: desk.prevented(*NO_DATA) > before)
        await desk.until(
            "a new connection",
            lambda: desk.engine.feeds[0].stats().reconnects == 1 and desk.engine.feeds[0].is_live,
        )
        await desk.quotes()
        assert "market feed connecting" in desk.said.split("market feed live", 1)[1]

    session(tape, act)


def test_garbage_changes_nothing_is_counted_and_told(tape: Tape) -> None:
    async def act(desk: Rig) -> None:
        for text in (
            "",
            "no JSON",
            '{"event_type":"price_change","price_changes":[',
            '{"event_type":"book","bids":7}',
            "[" * 500,
        ):
            await desk.fault("garbage", text=text)
        books = desk.market.step.books
        await desk.until("refusals", lambda: sum(books.stats["decode_failures"].values()) >= 3)
        await desk.until("words", lambda: "refused" in desk.said)
        await desk.quotes()
        assert desk.engine.feeds[0].stats().reconnects == 0
        assert (books.stats["best_mismatches"], books.stats["mirror_mismatches"]) == (0, 0)

    session(tape, act)


def test_messages_split_over_several_frames_are_read_as_one(tape: Tape) -> None:
    async def act(desk: Rig) -> None:
        await desk.fault("split", parts=4, count=300)
        books, frames = desk.market.step.books, desk.market.step.stats()["frames"]
        await desk.until("frames", lambda: desk.market.step.stats()["frames"] > frames + 400)
        assert desk.engine.feeds[0].stats().joined > 0
        assert books.stats["decode_failures"] == {}
        assert (books.stats["best_mismatches"], books.stats["mirror_mismatches"]) == (0, 0)
        await desk.quotes()

    session(tape, act)


def test_silence_while_pong_continues_pulls_the_quotes(tape: Tape) -> None:
    async def act(desk: Rig) -> None:
        await desk.fault("stall")
        await desk.until("quotes pulled", lambda: desk.live == 0 and all(desk.market.step.no_quote_reasons))
        assert set(desk.market.step.no_quote_reasons) <= {int(reason) for reason in NO_DATA}
        await desk.until("words", lambda: "market feed silent" in desk.said or "disputed" in desk.said)
        await desk.fault("resume")
        await desk.quotes()

    session(tape, act)


def test_a_venue_that_hangs_for_seconds_is_survived(tape: Tape) -> None:
    async def act(desk: Rig) -> None:
        pid = desk.child.pid
        assert pid is not None
        before = desk.prevented(*NO_DATA)
        os.kill(pid, signal.SIGSTOP)
        try:
            await desk.until("quotes pulled", lambda: desk.prevented(*NO_DATA) > before)
            await asyncio.sleep(2)
        finally:
            os.kill(pid, signal.SIGCONT)
        await desk.quotes()

    session(tape, act)


def test_fills_missed_by_the_user_feed_are_asked_for_before_anything_is_quoted_again(tape: Tape) -> None:
    async def act(desk: Rig) -> None:
        await desk.fault("stall", channel="user")
        known = desk.market.step.registry.counts()["fills"]

        async def missed() -> bool:
            return len((await desk.truth())["trades"]) > known + 1

        end = asyncio.get_running_loop().time() + PATIENCE_S
        while not await missed():
            assert asyncio.get_running_loop().time() < end, "no fill to miss"
            await asyncio.sleep(0.1)
        assert desk.market.step.registry.counts()["fills"] == known
        await desk.fault("kill", channel="user")
        await desk.until("words", lambda: "user feed lost: quotes pulled" in desk.said)
        await desk.until("reconciliation", lambda: "reconciled with the venue" in desk.said)
        assert "reconciled with the venue: 0 fills" not in desk.said
        assert desk.market.step.registry.counts()["fills"] > known
        await desk.fault("resume", channel="user")
        await desk.quotes()

    session(tape, act)


def test_a_listing_that_fails_is_asked_for_again(tape: Tape) -> None:
    async def act(desk: Rig) -> None:
        await desk.fault("http", method="GET", count=2, status=503)
        await desk.fault("kill", channel="user")
        await desk.until("words", lambda: "trades could not be listed" in desk.said)
        await desk.until("reconciliation", lambda: "reconciled with the venue" in desk.said)
        await desk.quotes()

    session(tape, act)


def test_an_order_that_arrives_after_the_listing_of_a_shutdown_is_found_and_cancelled(tape: Tape) -> None:
    async def act(desk: Rig) -> None:
        def unanswered() -> bool:
            return any(o["state"] == "unknown" for o in desk.market.step.registry.orders_live())

        await desk.fault("slow", method="POST", path="/orders", seconds=9.0, rate=1.0, before=True)
        await desk.until("an order without an answer", unanswered)

    # Quotes that live long: a shorter date would be refused as too near on arrival.
    session(tape, act, Settings.parse("[engine]\nquote_lifetime_s = 600\n"), stop_s=0.3)


def test_an_executor_that_fails_is_an_alarm_and_all_quotes_go(
    tape: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(desk: Rig) -> None:
        def broken(now_ns: int) -> None:
            raise RuntimeError("a text that may quote a secret")

        monkeypatch.setattr(desk.venue.executor, "_expire", broken)
        await desk.until("an alarm", lambda: bool(desk.engine.permission.alarms))
        assert "ALARM: the executor failed" in desk.said
        assert "RuntimeError at test_session_faults.py" in desk.said
        assert "a text" not in desk.said
        assert all(reason == Reason.MODE for reason in desk.market.step.no_quote_reasons)

    session(tape, act)


def test_a_refusal_of_our_credentials_is_an_alarm_that_the_engine_tells(tape: Tape) -> None:
    async def act(desk: Rig) -> None:
        await desk.fault("http", method="DELETE", count=1, status=401)
        await desk.until("an alarm", lambda: bool(desk.engine.permission.alarms))
        assert "new orders stop: status 401" in desk.said

    session(tape, act)


def test_a_timer_that_fails_is_an_alarm(tape: Tape, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(desk: Rig) -> None:
        def broken(now_ns: int) -> None:
            raise RuntimeError("out of order")

        assert desk.engine.reconciler is not None
        monkeypatch.setattr(desk.engine.reconciler, "tick", broken)
        await desk.until("an alarm", lambda: bool(desk.engine.permission.alarms))
        assert "the engine's timer failed: RuntimeError" in desk.said
        assert desk.engine.permission.kinds[AlarmKind.TASK] == 1

    session(tape, act)


def test_answers_that_are_lost_leave_no_order_behind(tape: Tape) -> None:
    async def act(desk: Rig) -> None:
        await desk.fault("lose", count=3)
        await asyncio.sleep(3)
        await desk.quotes()

    session(tape, act)
