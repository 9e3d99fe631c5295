"""A live engine whose loop or whose executor stands still: who notices, and that no order is left.

Engine, executor and venue run in this process, each on its thread, over real sockets.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from invmm.clock import LiveClock
from invmm.engine import Engine
from invmm.execution.beat import BeatReader, State
from invmm.execution.remote import RemoteVenue
from invmm.execution.state import StateFolder
from invmm.ops.drill import market_of
from invmm.settings import Settings
from invmm.sim.child import ChildCredentials
from invmm.sim.thread import VenueThread
from invmm.types import Mode
from invmm.venue.auth import ApiCredentials, OrderSigner
from invmm.venue.profile import loopback
from tests import markers

PATIENCE_S = 60.0
BEATING = Settings.parse('[executor]\nheartbeat = "on"\n[strategy]\npolicy = "inventory_mm"\n')


class Desk:
    def __init__(self, host: VenueThread, venue: RemoteVenue, engine: Engine) -> None:
        self.host, self.venue, self.engine = host, venue, engine

    @property
    def said(self) -> str:
        return "\n".join(self.engine.messages)

    @property
    def heartbeats(self) -> int:
        return self.venue.executor.statistics().requests["heartbeat"]

    async def alive(self) -> int:
        truth = await asyncio.to_thread(self.host.truth)
        return sum(order["state"] in ("LIVE", "DELAYED") for order in truth["orders"])

    async def until(self, what: str, holds: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE_S
        while True:
            found = holds()
            if await found if asyncio.iscoroutine(found) else found:
                return
            assert time.monotonic() < end, f"not in {PATIENCE_S:g} s: {what}; the engine said:\n{self.said}"
            await asyncio.sleep(0.02)

    async def quotes(self) -> None:
        await self.until("quotes", self.alive)


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    tape = market_of(1)
    signer = OrderSigner(markers.PRIVATE_KEY)
    key = ChildCredentials(markers.API_KEY, markers.API_SECRET, markers.PASSPHRASE, signer.address)
    with VenueThread([tape], credentials=key, seed=1) as host, StateFolder(folder / "state") as state:
        mapping = await asyncio.to_thread(host.begin)
        clock = LiveClock(1.0, int(mapping["tape_ns"]), int(mapping["monotonic_ns"]))
        credentials = ApiCredentials(key.api_key, key.secret, key.passphrase)
        venue = RemoteVenue(loopback(host.port), credentials, signer, clock, BEATING)
        engine = Engine(BEATING, venue=venue, clock=clock, seed=1)
        engine.state = state
        engine.add_market(tape.market, number=0)
        await engine.start()
        try:
            made = Desk(host, venue, engine)
            await made.quotes()
            yield made
        finally:
            await engine.stop()
        assert await made.alive() == 0


def test_a_loop_that_hangs_loses_its_orders_and_its_heartbeats(tmp_path: Path) -> None:
    async def play() -> None:
        async with desk(tmp_path) as one:
            before = one.heartbeats
            left: list[int] = []

            def look() -> None:
                """In another thread, while the loop hangs."""
                end = time.monotonic() + PATIENCE_S
                while time.monotonic() < end:
                    truth = one.host.truth()
                    left.append(sum(order["state"] in ("LIVE", "DELAYED") for order in truth["orders"]))
                    if left[-1] == 0:
                        break
                    time.sleep(0.05)
                left.append(one.heartbeats - before)
                looked.set()

            looked = threading.Event()
            threading.Thread(target=look, daemon=True).start()
            looked.wait(PATIENCE_S)  # this is the loop's thread: nothing of the engine runs meanwhile
            assert left[-2] == 0, "the executor took them back"
            assert left[-1] <= 1, "one may have been due before it was silent"
            beat = BeatReader(tmp_path / "state" / "beat").read()
            assert beat is not None
            assert beat.state is State.RUNNING
            assert time.monotonic_ns() - beat.beat_ns > 2_900_000_000, "its file was silent as well"
            await one.until("words", lambda: "the engine stood still" in one.said)
            await one.quotes()

    asyncio.run(play())


def test_an_executor_that_hangs_is_noticed_and_the_venue_is_asked_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        async with desk(tmp_path) as one:
            release = threading.Event()
            expire = one.venue.executor._expire

            def hangs(now_ns: int) -> None:
                release.wait(PATIENCE_S)
                expire(now_ns)

            monkeypatch.setattr(one.venue.executor, "_expire", hangs)
            before = one.heartbeats
            try:
                await one.until("an alarm", lambda: bool(one.engine.permission.alarms))
                assert "the executor gives no sign of life" in one.said

                async def none() -> bool:
                    return await one.alive() == 0

                await one.until("no order", none)
                assert one.heartbeats <= before + 1, "what hangs sends no heartbeats"
                assert one.engine.permission.mode is Mode.PAUSED
            finally:
                release.set()

    asyncio.run(play())
