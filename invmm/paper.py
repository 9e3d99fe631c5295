"""Paper trading: the live market feed, own orders matched by the embedded exchange in this process.

`PaperVenue` takes the place of `RemoteVenue`: the engine, its feed, its step and its rolling are those of
live trading, its commands end here. It has no way to send an order anywhere: it holds no key, no credentials
and no connection but a market socket of its own per market, whose frames are the exchange's public book.

What is modelled, and how kindly, is said in `sim/matching.py`; latencies are those of `[sim]`. Frames of one
venue timestamp that arrive in two reads are two batches here, where a recording would have one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from invmm._ext.ring import CommandRing, ResultRing
from invmm._ext.sink import CallbackSink
from invmm._ext.words import SharedWords
from invmm.clock import NS, LiveClock
from invmm.errors import ConfigError, origin_of
from invmm.execution.follow import FAILED, Alarm
from invmm.feed.market import MarketFeed
from invmm.limits import feed_settings_of, reconnect_budget_of
from invmm.replay.player import venue_profile
from invmm.replay.tape import MarketInfo, Tape, pack
from invmm.settings import Settings
from invmm.sim.batches import cut, restated_levels
from invmm.sim.embedded import EmbeddedVenue
from invmm.sim.profile import VenueProfile
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, CommandArray, CommandKind, EventArray
from invmm.venue.auth import ApiCredentials
from invmm.venue.client import VenueClient

TURN_S = 0.002  # real seconds between two looks at the ring: the model's latencies are longer
_STAMP = re.compile(rb'"timestamp"\s*:\s*"?(\d{10,16})')


class PaperMarket(EmbeddedVenue):
    """The embedded exchange of one market, fed by frames as they come instead of a tape.

    Own orders fill only from what the frames show; the collateral is this market's own.
    """

    def __init__(self, info: MarketInfo, number: int, profile: VenueProfile, seed: int = 0) -> None:
        super().__init__(pack(info, ()), seed=seed, profile=profile, market=number)
        self.refused = 0  # buffers whose trades could not be read
        self._frames: list[bytes] = []

    def on_frame(self, frame: bytes, now_ns: int, last: bool) -> None:
        """A frame of the market socket; the exchange acts at the end of a buffer."""
        self._frames.append(frame)
        if last:
            self.on_buffer_end(now_ns)

    def on_buffer_end(self, now_ns: int) -> None:
        """Everything received so far happens at the exchange now."""
        frames, self._frames = self._frames, []
        if not frames:
            return
        now_ns = max(now_ns, self.now_ns)
        tape = pack(self.tape.market, ((now_ns, _stamp_ms(frame), 0, frame) for frame in frames))
        try:
            batches = cut(tape, 0)
        except (ValueError, KeyError, TypeError):
            # The engine counts and keeps such frames; here they must only not fill anything.
            self.refused += 1
            return
        self.advance(now_ns)
        for batch in batches:
            self.core.play(
                batch,
                [tape.frame(row) for row in range(batch.first, batch.last)],
                self.books.apply_frame,
                _levels(tape, batch),
            )

    def on_disconnect(self, now_ns: int) -> None:
        """The public book is not known any more; the next snapshot replaces it."""
        self._frames.clear()


def _levels(tape: Tape, batch: Any) -> Callable[[], Any]:
    return lambda: restated_levels(tape, batch)


def _stamp_ms(frame: bytes) -> int:
    found = _STAMP.search(frame)
    return int(found[1]) if found else 0


class PaperVenue:
    """Implements `Venue` for the live engine without leaving the process.

    Parameters
    ----------
    market_url : str
        The market WebSocket whose books are traded against.
    clock : LiveClock
    settings : Settings
        Latencies, delays, queue model and collateral are those of `[sim]`.
    seed : int
        Of the model's randomness.
    rtds_url : str
        The socket of prices that asks for no credentials; "": none.
    """

    def __init__(
        self, market_url: str, clock: LiveClock, settings: Settings, *, seed: int = 0, rtds_url: str = ""
    ) -> None:
        self.market_url = market_url
        self.user_url = ""  # own events are results
        self.price_url = ""  # its credentials are nobody's
        self.rtds_url = rtds_url
        self.account = ""
        self.credentials = ApiCredentials("", "", "")
        self.clock = clock
        self.settings = settings
        self.words = SharedWords()
        self.commands = CommandRing(settings.executor.ring_capacity)
        self.results = ResultRing(4 * settings.executor.ring_capacity)
        self.lost = 0  # results that had no room: the engine then asks again by its own timers
        self.markets: dict[int, PaperMarket] = {}
        self._feeds: dict[int, MarketFeed] = {}
        self._budget = reconnect_budget_of(settings)
        self._profile = venue_profile(settings.sim)
        self._seed = seed
        self._task: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()
        self._taken = np.zeros(settings.executor.ring_capacity, dtype=COMMAND_DTYPE)
        self._events = np.zeros(256, dtype=EVENT_DTYPE)

    # ---- Venue ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins to take commands, on the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="invmm paper venue")

    def submit(self, commands: CommandArray, now_ns: int) -> int:
        """Hands commands over; how many were taken."""
        return self.commands.push_many(commands)

    def poll(self, now_ns: int, out: EventArray) -> int:
        """Results that have come; how many."""
        return self.results.pop_into(out)

    def close(self, timeout_s: float = 0.0) -> None:
        """Takes no more commands; there is nothing to wait for."""
        if self._task is not None:
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    async def wait_closed(self) -> None:
        """After `close`: returns when the sockets are closed."""
        await self._ended.wait()

    # ---- ConnectedVenue ------------------------------------------------------------------------------------

    def open_market(self, number: int, info: MarketInfo) -> None:
        """Opens the market's exchange and its own market socket."""
        market = PaperMarket(info, number, self._profile, self._seed ^ number)
        feed = MarketFeed(
            self.market_url,
            (info.up_token_id, info.down_token_id),
            CallbackSink(market.on_frame, market.on_buffer_end, market.on_disconnect),
            self.clock,
            feed_settings_of(self.settings, self.clock.scale),
            budget=self._budget,
        )
        self.markets[number], self._feeds[number] = market, feed
        feed.start()

    def close_market(self, number: int) -> None:
        """Drops the market's exchange and socket."""
        del self.markets[number]
        task = asyncio.get_running_loop().create_task(self._feeds.pop(number).close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def set_tick(self, number: int, tick_e4: int) -> None:
        """The exchange reads the tick from the frames by itself."""

    def news(self) -> list[Alarm]:
        """That the exchange has failed, once."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return []
        error, self._task = self._task.exception(), None
        text = f"paper trading failed: {origin_of(error)}" if error else "paper trading ended"
        return [Alarm(self.clock.now_ns(), FAILED, text)]

    async def open_order_count(self) -> int:
        """Orders that rest or are held, over all markets."""
        self._turn()
        return sum(len(market.core.open_orders()) for market in self.markets.values())

    async def cancel_all(self) -> None:
        """Cancels every order at once."""
        for market in self.markets.values():
            for order in market.core.open_orders():
                market.core.cancel(order.request.order_id)

    def client(self) -> VenueClient:
        """There is no account to ask about: ConfigError."""
        raise ConfigError("paper trading has no account at the venue")

    # ---- the exchange's time -------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while True:
                self._turn()
                await asyncio.sleep(TURN_S)
        finally:
            for feed in self._feeds.values():
                await feed.close()
            self._feeds.clear()
            self._ended.set()

    def _turn(self) -> None:
        """Takes what the engine wants and tells what has happened."""
        now_ns = self.clock.now_ns()
        got = self.commands.pop_into(self._taken)
        if got:
            taken = self._taken[:got]
            for number, market in self.markets.items():
                mine = taken[(taken["market"] == number) | (taken["kind"] == CommandKind.CANCEL_ALL)]
                if len(mine):
                    market.submit(mine, now_ns)
        for number, market in self.markets.items():
            feed, info = self._feeds[number], market.tape.market
            feed.patient = not info.start_s * NS <= now_ns < info.end_s * NS
            if feed.token_ids and market.core.is_closed:
                feed.set_tokens(())  # its window is over: what is silent now is meant to be
            while count := market.poll(now_ns, self._events):
                for record in self._events[:count]:
                    self.lost += not self.results.try_push(record)
