"""The feeds' supervisors without sockets, in virtual time: hours of reconnects in a moment.

Time is the loop's, and the loop's time jumps to whatever is due next. A connection is a plain object that the
test opens, feeds and ends.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from invmm._ext.sink import CallbackSink
from invmm.feed.backoff import ReconnectBudget
from invmm.feed.connection import FeedSettings
from invmm.feed.dial import Call, UpgradeError
from invmm.feed.market import MarketFeed
from invmm.feed.states import EndCause, FeedState
from invmm.feed.user import UserFeed
from invmm.venue.auth import ApiCredentials
from tests import markers

NS = 1_000_000_000
UP, DOWN = "1" * 77, "2" * 77


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: its time is that of the next timer."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        loop = self

        class Jumping(selectors.SelectSelector):
            def select(self, timeout: float | None = None) -> list[Any]:
                assert timeout is not None, "nothing will ever happen"
                loop.now_s += max(0.0, timeout)
                return []

        super().__init__(Jumping())

    def time(self) -> float:
        return self.now_s


class VirtualClock:
    """Engine time of a virtual loop."""

    scale = 1.0

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now_ns(self) -> int:
        return round(self._loop.now_s * NS)

    def wall_s(self, engine_ns: int) -> float:
        return max(0.0, engine_ns / NS)


class FakeConnection:
    """A connection that answers each PING and has the books at once; ended by the test."""

    round_trip_ns = last_message_ns = frames = bytes = messages = joined = binary = pings = late = 0
    last_error = None
    ping_ns = 0

    def __init__(self, call: Call) -> None:
        self._call = call
        self.awaiting_data = False
        self.is_open = True
        self.end_cause = 0
        self.pongs = 0
        self.texts: list[bytes] = []

    def ping(self) -> None:
        self.pongs += 1

    def send_text(self, message: bytes) -> bool:
        self.texts.append(message)
        return self.is_open

    def end(self, cause: int = EndCause.CLOSED) -> None:
        if self.is_open:
            self.is_open, self.end_cause = False, cause
            self._call.sink.on_disconnect(self._call.clock.now_ns())
            self._call.notify()

    def follow(self, token_ids: object) -> None:
        pass

    def heard(self, token_id: str) -> tuple[int, bool]:
        return self._call.clock.now_ns(), True

    def gap_counts(self) -> list[int]:
        return []


def play(test: Callable[[VirtualLoop], Coroutine[Any, Any, None]]) -> None:
    loop = VirtualLoop()
    try:
        loop.run_until_complete(test(loop))
    finally:
        loop.close()


def market(loop: VirtualLoop, connect: Any, **more: Any) -> MarketFeed:
    sink = more.pop("sink", None) or CallbackSink()
    clock: Any = VirtualClock(loop)
    return MarketFeed("ws://venue", [UP, DOWN], sink, clock, connect=connect, **more)


def test_f9_a_thousand_forced_reconnects_of_both_feeds_keep_to_one_budget_and_end_live() -> None:
    """Refused, cut at once, cut after a while, asked to wait: whatever happens, attempts stay within the
    budget that both feeds share, and when the venue is well again both are live.
    """
    random = Random(9)
    burst, per_s = 10, 0.5
    attempts: list[float] = []

    async def test(loop: VirtualLoop) -> None:
        async def connect(call: Call) -> FakeConnection:
            attempts.append(loop.now_s)
            await asyncio.sleep(random.random() / 10)
            connection = FakeConnection(call)
            if len(attempts) > 1000:
                return connection
            fate = random.random()
            if fate < 0.3:
                raise ConnectionRefusedError("no")
            if fate < 0.4:
                raise TimeoutError
            if fate < 0.5:
                raise UpgradeError(429, "upgrade answered with 429", random.randrange(20) * NS)
            loop.call_later(random.random() ** 4 * 60, connection.end, EndCause.PEER)
            return connection

        budget = ReconnectBudget(burst, per_s)
        lost: list[int] = []
        clock: Any = VirtualClock(loop)
        feeds = [
            market(loop, connect, budget=budget, draw=random.random),
            UserFeed(
                "ws://venue",
                ApiCredentials(markers.API_KEY, markers.API_SECRET, markers.PASSPHRASE),
                lambda records: None,
                lambda order_id: None,
                {},
                clock,
                budget=budget,
                draw=random.random,
                connect=connect,
                on_disconnect=lost.append,
            ),
        ]
        for feed in feeds:
            feed.start()
        while len(attempts) <= 1000:
            await asyncio.sleep(60)
        await asyncio.sleep(120)
        assert [feed.state for feed in feeds] == [FeedState.LIVE, FeedState.LIVE]
        assert len(lost) == feeds[1].stats().connections - 1
        for feed in feeds:
            await feed.close()

    play(test)
    assert len(attempts) >= 1001
    for first in range(len(attempts)):
        for later in range(first + burst, min(first + burst + 40, len(attempts))):
            window_s = attempts[later] - attempts[first]
            assert later - first + 1 <= burst + per_s * window_s + 1e-6


@pytest.mark.parametrize("status", [401, 403])
def test_f9_a_refused_upgrade_stops_at_once_and_for_good(status: int) -> None:
    attempts: list[int] = []
    states: list[FeedState] = []

    async def test(loop: VirtualLoop) -> None:
        async def connect(call: Call) -> FakeConnection:
            attempts.append(1)
            raise UpgradeError(status, f"upgrade answered with {status}")

        feed = market(loop, connect, on_state=lambda feed, state, cause: states.append(state))
        feed.start()
        assert await feed.wait_stopped() is FeedState.REFUSED
        await asyncio.sleep(86_400)
        await feed.close()

    play(test)
    assert len(attempts) == 1
    assert FeedState.REFUSED in states


def test_f1_one_token_without_data_for_the_limit_replaces_the_connection_by_the_clock_alone() -> None:
    made: list[FakeConnection] = []

    async def test(loop: VirtualLoop) -> None:
        class Quiet(FakeConnection):
            def heard(self, token_id: str) -> tuple[int, bool]:
                return (opened_ns if token_id == UP and len(made) == 1 else super().heard(token_id)[0]), True

        async def connect(call: Call) -> FakeConnection:
            made.append(Quiet(call))
            return made[-1]

        opened_ns = VirtualClock(loop).now_ns()
        feed = market(loop, connect, settings=FeedSettings(silence_s=3.0, backoff_base_s=0.01))
        feed.start()
        await asyncio.sleep(2.9)
        assert len(made) == 1
        await asyncio.sleep(0.2)
        assert len(made) == 2
        assert made[0].end_cause == EndCause.SILENT
        await feed.close()

    play(test)


def test_a_replacement_that_is_asked_for_twice_happens_once() -> None:
    made: list[FakeConnection] = []
    lost: list[int] = []

    async def test(loop: VirtualLoop) -> None:
        async def connect(call: Call) -> FakeConnection:
            made.append(FakeConnection(call))
            return made[-1]

        feed = market(loop, connect, sink=CallbackSink(None, None, lost.append))
        assert not feed.replace()  # there is none yet
        feed.start()
        await asyncio.sleep(1)
        assert feed.replace()
        assert not feed.replace()
        await asyncio.sleep(5)
        assert feed.is_live
        assert [connection.end_cause for connection in made] == [EndCause.RESYNC, EndCause.NONE]
        assert len(lost) == 1
        await feed.close()

    play(test)
