"""The engine: wires books, policy, registry and venue together, and runs them live or step by step.

One `MarketStep` (compiled) per market does the work; this module opens markets, keeps their ledgers and
drives the steps from sockets and timers. `step(event, now_ns)` is what live trading, replay and tests have in
common.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from invmm._ext.decode import MarketBooks
from invmm._ext.step import MarketStep
from invmm.errors import ConfigError, InvmmError
from invmm.execution.reconcile import missed_messages
from invmm.feed.backoff import ReconnectBudget
from invmm.feed.connection import FeedSettings as SocketSettings
from invmm.feed.integrity import HashCheck
from invmm.settings import Settings
from invmm.settlement.ledger import E10_PER_MICRO_DOLLAR, Ledger
from invmm.strategy.policies import make_policy
from invmm.types import (
    EVENT_DTYPE,
    MICRO,
    CommandArray,
    EventFlag,
    EventKind,
    Mode,
    OrderStatus,
    Outcome,
    Side,
    Venue,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from invmm._ext.ring import CommandRing
    from invmm.clock import LiveClock
    from invmm.execution.remote import RemoteVenue
    from invmm.feed.connection import SupervisedSocket
    from invmm.feed.market import MarketFeed
    from invmm.feed.states import EndCause, FeedState
    from invmm.feed.user import UserFeed
    from invmm.replay.tape import MarketInfo

MS = 1_000_000
SILENCE_FLOOR_S = 0.5  # real seconds
RECONCILE_AGAIN_S = 0.5  # after a failed attempt to list trades, real seconds
NS = 1_000_000_000
LAST_WORD_NS = 10_000_000_000  # after a window's end; recordings go on for up to five seconds
HASH_EVERY_NS = 10_000_000_000
HASH_ALARM = 3  # a single mismatch is usual: the frame was not the last one of its timestamp
QUEUE_EXPONENT = {"conservative": 0, "proportional": 1, "power2": 2, "power3": 3}


@dataclass
class Market:
    """One market that the engine trades: its compiled step and the ledger of its fills."""

    info: MarketInfo
    number: int
    step: MarketStep
    ledger: Ledger = field(default_factory=Ledger)
    hashes: HashCheck = field(init=False)
    winner: Outcome | None = None
    refused: int = 0  # frames refused that people have been told of

    def __post_init__(self) -> None:
        self.hashes = HashCheck(
            self.info.up_token_id, self.info.down_token_id, f"{self.info.min_size_micro / MICRO:g}"
        )

    def up_mid(self) -> float | None:
        """Mid price of Up in dollars; None while a side is empty."""
        bid, ask = self.step.books.up.best_bid(), self.step.books.up.best_ask()
        return None if bid is None or ask is None else (bid[0] + ask[0]) / 2e4

    def take(self, event: Any) -> None:
        """Books what a USER_EVENT or SETTLEMENT means in dollars."""
        kind = int(event["kind"])
        if kind == EventKind.SETTLEMENT:
            self.winner = Outcome(int(event["token"]))
        elif kind == EventKind.USER_EVENT and int(event["status"]) >= OrderStatus.TRADE_MATCHED:
            self.ledger.fill(
                trade=int(event["trade"]),
                key=int(event["key"]),
                outcome=Outcome(int(event["token"])),
                side=Side(int(event["side"])),
                price_e4=int(event["price_e4"]),
                size_micro=int(event["size_micro"]),
                taker=bool(int(event["flags"]) & EventFlag.TAKER),
                status=OrderStatus(int(event["status"])),
                time_ns=int(event["time_ns"]),
            )


class Engine:
    """Trades markets.

    Parameters
    ----------
    settings : Settings
        Every tunable.
    policy : str, optional
        Name of the policy; that of the settings if omitted.
    venue : Venue, optional
        What takes the commands. Without one, commands are only returned by `step`.
    clock : LiveClock, optional
        The engine clock of `start`; `step` takes its time as an argument.
    seed : int
        Of order salts.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        policy: str | None = None,
        venue: Venue | None = None,
        clock: LiveClock | None = None,
        seed: int = 0,
    ) -> None:
        self.settings = settings or Settings()
        self.policy = policy or self.settings.strategy.policy
        self.venue = venue
        self.clock = clock
        self.seed = seed
        self.markets: dict[int, Market] = {}
        self.feeds: list[MarketFeed] = []
        self.user_feed: UserFeed | None = None
        self.messages: deque[str] = deque(maxlen=200)  # what people should know, oldest first
        self._keys: dict[bytes, int] = {}
        self._inbox = np.zeros(256, dtype=EVENT_DTYPE)
        self._ticking: asyncio.Task[None] | None = None
        self._reconciling: asyncio.Task[None] | None = None
        self._mode_now = Mode.RUNNING

    def add_market(
        self, info: MarketInfo, *, number: int | None = None, ring: CommandRing | None = None
    ) -> Market:
        """Opens a market; its events carry `number` (the next free one if omitted)."""
        if number is None:
            number = max(self.markets, default=-1) + 1
        if number in self.markets:
            raise ConfigError(f"market number {number} is taken by {self.markets[number].info.slug}")
        books = MarketBooks(info.up_token_id, info.down_token_id, info.tick_e4)
        step = MarketStep(
            books,
            make_policy(self.policy, self.settings.strategy),
            self._limits(info),
            market=number,
            end_ms=info.end_s * 1000,
            seed=self.seed ^ (number << 32),
            ring=ring if ring is not None else getattr(self.venue, "commands", None),
            words=getattr(self.venue, "words", None),
        )
        ledger = Ledger(round(info.fee_rate * MICRO), round(info.rebate_share * MICRO))
        market = Market(info, number, step, ledger)
        self.markets[number] = market
        return market

    def step(self, event: Any, now_ns: int, frame: Buffer = b"") -> CommandArray:
        """Applies one `EVENT_DTYPE` record to the market that it names; the commands it led to.

        Parameters
        ----------
        event : numpy record or array of one, EVENT_DTYPE
        now_ns : int
            Engine time, unix nanoseconds.
        frame : bytes-like
            The buffer that a FRAME event's `offset` and `length` point into.

        Returns
        -------
        numpy array of COMMAND_DTYPE
            A view, valid until the market's next step.

        Raises
        ------
        ConfigError
            The event names a market that was not added.
        """
        record = np.asarray(event)
        if record.dtype != EVENT_DTYPE or record.size != 1:
            raise TypeError(f"event: expected one record of EVENT_DTYPE, got {record.size} of {record.dtype}")
        record = record.reshape(1)
        market = self.markets.get(int(record["market"][0]))
        if market is None:
            raise ConfigError(
                f"event names market {int(record['market'][0])}, open are {sorted(self.markets)}"
            )
        if int(record["kind"][0]) in (EventKind.USER_EVENT, EventKind.SETTLEMENT):
            market.take(record[0])
        return market.step.step(record, now_ns, frame)

    # ---- live: sockets, timers, results --------------------------------------------------------------------

    async def start(self) -> None:
        """Connects the venue and the feeds of every market and starts trading.

        The venue must be one that is reached over sockets (`RemoteVenue`); an in-process one is driven by a
        player.
        """
        from invmm.feed.market import MarketFeed
        from invmm.feed.user import UserFeed

        venue = self._remote()
        if self.clock is None:
            raise ConfigError("Engine.start: expected a clock, none was given")
        if not self.markets:
            raise ConfigError("Engine.start: expected at least one market, none was added")
        for market in self.markets.values():
            venue.open_market(market.number, market.info)
        venue.words.mode = Mode.RUNNING
        venue.start()
        loop = asyncio.get_running_loop()
        loop.add_reader(venue.results.eventfd, self._drain)
        self._drain()
        tokens: dict[str, tuple[int, int]] = {}
        feed_settings = feed_settings_of(self.settings, self.clock.scale)
        budget = ReconnectBudget()
        for market in self.markets.values():
            ids = (market.info.up_token_id, market.info.down_token_id)
            tokens |= {token: (market.number, outcome) for outcome, token in enumerate(ids)}
            feed = MarketFeed(
                venue.market_url,
                ids,
                market.step,
                self.clock,
                feed_settings,
                budget=budget,
                on_state=self._told,
            )
            self.feeds.append(feed)
        self.user_feed = UserFeed(
            venue.user_url,
            venue.credentials,
            self._on_user_events,
            self._keys.get,
            tokens,
            self.clock,
            feed_settings,
            budget=budget,
            on_state=self._told,
            on_disconnect=self._user_lost,
        )
        for market in self.markets.values():
            market.step.watcher = self._compare_hash
        for each in (*self.feeds, self.user_feed):
            each.start()
        self._ticking = loop.create_task(self._tick(), name="invmm engine timer")

    async def stop(self, deadline_s: float = 5.0) -> bool:
        """Pulls every quote, waits for proof, disconnects. True if the venue confirms that all is closed."""
        venue = self._remote()
        self._mode(Mode.STOPPED)
        loop = asyncio.get_running_loop()
        until = loop.time() + deadline_s
        proof_until = loop.time() + deadline_s / 2
        while loop.time() < proof_until and any(
            m.step.registry.counts()["live"] for m in self.markets.values()
        ):
            await asyncio.sleep(0.02)
        for market in self.markets.values():
            for order in market.step.registry.orders_live():
                self.messages.append(
                    f"no proof of the end of order {order['key']} ({order['state']}): asking the venue"
                )
        clean = False
        while True:
            try:
                left = await venue.open_order_count()
                clean = left == 0
                if not clean:
                    await venue.cancel_all()
            except InvmmError as error:
                self.messages.append(f"open orders could not be listed: {error}")
            if clean or loop.time() >= until:
                break
            await asyncio.sleep(0.05)
        for task in (self._ticking, self._reconciling):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        try:
            await self._reconcile_once()  # fills that the user feed did not live to tell
        except InvmmError as error:
            self.messages.append(f"trades could not be listed: {error}")
        for feed in (*self.feeds, *([self.user_feed] if self.user_feed else [])):
            await feed.close()
        loop.remove_reader(venue.results.eventfd)
        await asyncio.to_thread(venue.close)
        self._drain()
        return clean

    def run(self) -> bool:
        """Blocking: `start`, trade until all is settled or SIGINT/SIGTERM, `stop`. What `stop` returned."""
        return asyncio.run(self._run())

    async def _run(self) -> bool:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopping.set)
        await self.start()
        while not stopping.is_set() and any(m.winner is None for m in self.markets.values()):
            await asyncio.sleep(0.05)
        return await self.stop()

    def _remote(self) -> RemoteVenue:
        from invmm.execution.remote import RemoteVenue

        if not isinstance(self.venue, RemoteVenue):
            raise ConfigError(f"expected a venue reached over sockets, found {type(self.venue).__name__}")
        return self.venue

    async def _tick(self) -> None:
        assert self.clock is not None
        period_s = self.settings.engine.timer_ms / 1000 / self.clock.scale
        tick = np.zeros(1, dtype=EVENT_DTYPE)
        tick["kind"] = EventKind.TIMER
        venue = self._remote()
        hash_due_ns = 0
        while True:
            await asyncio.sleep(period_s)
            venue.words.beat_ns = time.monotonic_ns()
            self._drain()
            now_ns = self.clock.now_ns()
            if now_ns >= hash_due_ns:
                hash_due_ns = now_ns + HASH_EVERY_NS
                for market in self.markets.values():
                    market.step.wants_frame = True
            for market, feed in zip(self.markets.values(), self.feeds, strict=True):
                if feed.token_ids and now_ns >= market.info.end_s * NS + LAST_WORD_NS:
                    feed.set_tokens(())  # its window is over: what is silent now is meant to be
                venue.set_tick(market.number, market.step.books.state["tick_e4"])
                tick["market"] = market.number
                tick["sequence"] += 1
                market.step.step(tick, now_ns)
                self._tell_refused(market)

    def _tell_refused(self, market: Market) -> None:
        """Says once that frames were refused, with the reason of the last one."""
        refused = sum(market.step.books.stats["decode_failures"].values())
        if refused > market.refused:
            self.messages.append(
                f"{refused - market.refused} frames refused, books unchanged: {market.step.books.last_error}"
            )
            market.refused = refused

    def _compare_hash(self, books: MarketBooks, frame: bytes) -> None:
        """A frame that the step was asked to show: are the books what the venue's checksum says?"""
        for market in self.markets.values():
            if market.step.books is books:
                if market.hashes.compare(books, frame) is None:
                    market.step.wants_frame = True  # it carried no checksum: the next one
                elif market.hashes.in_a_row == HASH_ALARM:
                    self.messages.append(
                        f"{market.info.slug}: book checksum differs {HASH_ALARM} times in a row"
                    )

    def _mode(self, mode: Mode) -> None:
        assert self.clock is not None
        self._mode_now = mode
        self._remote().words.mode = mode
        event = np.zeros(1, dtype=EVENT_DTYPE)
        event["kind"], event["status"] = EventKind.MODE, mode
        now_ns = self.clock.now_ns()
        for market in self.markets.values():
            event["market"] = market.number
            market.step.step(event, now_ns)

    def _drain(self) -> None:
        """Applies everything that the executor has answered."""
        assert self.clock is not None
        venue = self._remote()
        now_ns = self.clock.now_ns()
        touched: set[int] = set()
        while True:
            got = venue.poll(now_ns, self._inbox)
            for record in self._inbox[:got]:
                if int(record["status"]) == OrderStatus.SENT:
                    self._keys[record["order_id"].tobytes()] = int(record["key"])
                touched.add(self._apply(record, now_ns))
            if not got and venue.results.arm():
                break
        self._coalesce(touched, now_ns)

    def _on_user_events(self, records: Any) -> None:
        assert self.clock is not None
        self._drain()  # an order's id is announced before its bytes leave: now it is known
        now_ns = self.clock.now_ns()
        self._coalesce({self._apply(record, now_ns) for record in records}, now_ns)

    def _apply(self, record: Any, now_ns: int) -> int:
        number = int(record["market"])
        if number in self.markets:
            self.step(record, now_ns)
        return number

    def _coalesce(self, touched: set[int], now_ns: int) -> None:
        end = np.zeros(1, dtype=EVENT_DTYPE)
        end["kind"] = EventKind.BUFFER_END
        for number in touched & self.markets.keys():
            market = self.markets[number]
            end["market"] = number
            market.step.step(end, now_ns)

    def key_of(self, order_id: bytes) -> int | None:
        """Own key of an order by the venue's 32-byte id; None if it is not ours."""
        return self._keys.get(order_id)

    def settle(self, number: int, winner: Outcome, now_ns: int) -> None:
        """The market is resolved: nothing more is quoted, and its ledger knows what its shares are worth."""
        event = np.zeros(1, dtype=EVENT_DTYPE)
        event["kind"], event["market"], event["token"] = EventKind.SETTLEMENT, number, winner
        self.step(event, now_ns)

    # ---- the user feed replays nothing that it missed ----------------------------------------------------

    def _user_lost(self, _now_ns: int) -> None:
        """Fills may go unseen from now on: nothing is quoted until they have been asked for."""
        if self._mode_now == Mode.RUNNING:
            self.messages.append("user feed lost: quotes pulled until its trades are known")
            self._mode(Mode.PAUSED)

    async def _reconcile(self) -> None:
        """Asks until there is an answer, then lets quotes go on."""
        while True:
            try:
                found = await self._reconcile_once()
            except InvmmError as error:
                self.messages.append(f"trades could not be listed: {error}")
                await asyncio.sleep(RECONCILE_AGAIN_S)
                continue
            if self._mode_now == Mode.PAUSED:
                self.messages.append(
                    f"reconciled with the venue: {found} fills had been missed; quoting again"
                )
                self._mode(Mode.RUNNING)
            return

    async def _reconcile_once(self) -> int:
        """Applies what the venue lists about our orders and trades; how many fills were new."""
        assert self.clock is not None
        if self.user_feed is None:
            return 0
        registries = [market.step.registry for market in self.markets.values()]
        alive = {order["key"] for registry in registries for order in registry.orders_live()}
        ids = ["0x" + order_id.hex() for order_id, key in self._keys.items() if key in alive]
        conditions = [market.info.condition_id for market in self.markets.values()]
        messages = await missed_messages(self._remote(), conditions, ids)
        before = sum(registry.counts()["fills"] for registry in registries)
        self._drain()  # whose orders they are
        records = self.user_feed.messages.read(orjson.dumps(messages), self.clock.now_ns())
        if len(records):
            self._on_user_events(records)
        return sum(registry.counts()["fills"] for registry in registries) - before

    def _told(self, feed: SupervisedSocket, state: FeedState, cause: EndCause) -> None:
        words = f"{feed.name} feed {state.name.lower().replace('_', ' ')}"
        self.messages.append(words + (f" ({cause.name.lower().replace('_', ' ')})" if cause else ""))
        if feed is self.user_feed and feed.is_live and self._mode_now == Mode.PAUSED:
            if self._reconciling is not None:
                self._reconciling.cancel()
            self._reconciling = asyncio.get_running_loop().create_task(
                self._reconcile(), name="invmm reconciliation"
            )

    def _limits(self, info: MarketInfo) -> dict[str, int]:
        engine, risk = self.settings.engine, self.settings.risk
        return {
            "book_max_age_ns": engine.book_max_age_ms * MS,
            "stop_before_end_ms": engine.stop_before_end_ms,
            "command_deadline_ns": engine.command_deadline_ms * MS,
            "quote_lifetime_s": engine.quote_lifetime_s,
            "cancel_retry_ns": engine.cancel_retry_ms * MS,
            "update_interval_ns": self.settings.strategy.update_interval_ms * MS,
            "max_cash_e10": round(risk.max_cash_dollars * MICRO) * E10_PER_MICRO_DOLLAR,
            "max_order_micro": round(risk.max_order_shares * MICRO),
            "max_open_orders": risk.max_open_orders,
            "orders_per_second": risk.orders_per_second,
            "orders_burst": risk.orders_burst,
            "size_change_ppm": engine.size_change_ppm,
            "queue_change_ppm": engine.queue_change_ppm,
            "fee_rate_ppm": round(info.fee_rate * MICRO),
            "queue_exponent": QUEUE_EXPONENT[engine.queue_model],
            "book_shows_own": 0,
        }


def feed_settings_of(settings: Settings, scale: float = 1.0) -> SocketSettings:
    """The feed table of the settings in the terms of the sockets.

    `scale`: engine seconds per second. Silence shorter than a real half second is no reason for a new
    connection: on a fast clock a slow machine would cause it. Quotes are pulled after `book_max_age_ms` of
    engine time anyway.
    """
    feed = settings.feed
    silence_s = max(settings.engine.book_max_age_ms / 1000, SILENCE_FLOOR_S * scale)
    return SocketSettings(
        keep_alive_s=feed.ping_interval_ms / 1000,
        pong_deadline_s=feed.pong_deadline_ms / 1000,
        first_event_s=max(feed.first_event_ms / 1000, SILENCE_FLOOR_S * scale),
        silence_s=silence_s,
        silence_cap_s=max(SocketSettings.silence_cap_s, silence_s),
    )
