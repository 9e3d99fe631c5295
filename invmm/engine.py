"""The engine: wires books, policy, registry and venue together, and runs them live or step by step.

One `MarketStep` (compiled) per market does the work; this module opens markets, keeps their ledgers and
drives the steps from sockets and timers. `step(event, now_ns)` is what live trading, replay and tests have in
common.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from invmm._ext.decode import MarketBooks
from invmm._ext.step import MarketStep
from invmm.dataguard import DataGuard
from invmm.errors import ConfigError, origin_of
from invmm.execution.edge import EdgeThread
from invmm.execution.inbox import Inbox
from invmm.execution.reconcile import Reconciler
from invmm.execution.recovery import Recovery, cautious
from invmm.execution.risk import Risk
from invmm.execution.vigil import Vigil
from invmm.feed.price_hub import PriceHub
from invmm.feed.states import FeedState
from invmm.limits import feed_settings_of, reconnect_budget_of, step_limits
from invmm.market import Market, Numbers
from invmm.permission import AlarmKind, Permission
from invmm.settings import Settings
from invmm.settlement.ledger import Ledger
from invmm.strategy.fair_value import fair_value
from invmm.strategy.policies import PairsTerms, make_policy, resolved
from invmm.types import EVENT_DTYPE, MICRO, CommandArray, EventArray, EventKind, Mode, Outcome, Venue

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from invmm._ext.ring import CommandRing
    from invmm._ext.solver import Policy
    from invmm.clock import LiveClock
    from invmm.execution.closing import Verdict
    from invmm.execution.connected import ConnectedVenue
    from invmm.execution.journal import SessionJournal
    from invmm.execution.left import Left
    from invmm.execution.state import StateFolder
    from invmm.feed.connection import SupervisedSocket
    from invmm.feed.pair import MarketStream
    from invmm.feed.states import EndCause
    from invmm.feed.user import UserFeed
    from invmm.replay.tape import MarketInfo

NS = 1_000_000_000
EDGE_CLOSE_S = 0.5  # real seconds; its thread does not keep the process alive


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
    left : Left, optional
        What earlier sessions left: `start` deals with it before anything is quoted (`execution/recovery.py`).
    journal : SessionJournal, optional
        Its inputs are written here, its intents by the venue that was given the same one.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        policy: str | None = None,
        venue: Venue | None = None,
        clock: LiveClock | None = None,
        seed: int = 0,
        left: Left | None = None,
        journal: SessionJournal | None = None,
    ) -> None:
        self.settings, self.policy = resolved(settings or Settings(), policy)
        self.venue = venue
        self.clock = clock
        self.seed = seed
        self.pairs = PairsTerms.new(self.settings.pairs)
        self.markets: dict[int, Market] = {}
        self.user_feed: UserFeed | None = None
        self.messages: deque[str] = deque(maxlen=200)  # what people should know, oldest first
        self._inbox: Inbox | None = None  # from `start` on
        self._tokens: dict[str, tuple[int, int]] = {}  # of the markets whose feeds run
        self._numbers = Numbers()
        self._budget = reconnect_budget_of(self.settings)
        self._ticking: asyncio.Task[None] | None = None
        self._checked: ConnectedVenue | None = None
        self.reconciler: Reconciler | None = None
        self.guard: DataGuard | None = None
        self.prices = PriceHub(self.settings.price, self.step, self._say)
        self._edge: EdgeThread[Any] | None = None
        self.state: StateFolder | None = None
        self._vigil: Vigil | None = None
        self.journal = journal
        self.permission = Permission(self._announce, self._say)
        self.risk = Risk(self.settings, self.permission, self._say, self.markets)
        self.verdict: Verdict | None = None  # of the last stop
        self.recovery: Recovery | None = None
        self.is_cautious = False
        self._left = left
        self._recovering: asyncio.Task[None] | None = None
        if journal is not None:
            journal.begin(self.policy, seed, self.settings, self.risk.account)

    def add_market(
        self, info: MarketInfo, *, number: int | None = None, ring: CommandRing | None = None
    ) -> Market:
        """Opens a market; its events carry `number` (the next free one if omitted)."""
        number, serial = self._numbers.take(self.markets, getattr(self.venue, "words", None), number)
        books = MarketBooks(info.up_token_id, info.down_token_id, info.tick_e4)
        step = MarketStep(
            books,
            *self._tuning(info),
            market=number,
            end_ms=info.end_s * 1000,
            seed=self.seed ^ (number << 32),
            ring=ring if ring is not None else getattr(self.venue, "commands", None),
            words=getattr(self.venue, "words", None),
            serial=serial,
            account=self.risk.account,
        )
        step.follow_prices(fair_value(self.settings.price, info, self.policy))
        ledger = Ledger(round(info.fee_rate * MICRO), round(info.rebate_share * MICRO))
        market = Market(info, number, step, ledger, say=self._say, serial=serial)
        if self.journal is not None:
            step.journal_to(self.journal.open_market(market))
        self.markets[number] = market
        self.risk.market_opened(market)
        return market

    def _tuning(self, info: MarketInfo) -> tuple[Policy, dict[str, int]]:
        """Policy and limits of a market as they are to be now."""
        settings = cautious(self.settings) if self.is_cautious else self.settings
        limits = step_limits(settings, info, self.clock.scale if self.clock else 1.0)
        terms = self.pairs.at(info.rebate_share)
        return make_policy(self.policy, settings.strategy, settings.model, terms), limits

    def set_caution(self, on: bool) -> None:
        """Whether every market is quoted with the settings of `execution.recovery.cautious`."""
        self.is_cautious = on
        for market in self.markets.values():
            market.step.retune(*self._tuning(market.info))

    @property
    def feeds(self) -> list[MarketStream]:
        """Sockets of the open markets, oldest market first."""
        return [market.feed for market in self.markets.values() if market.feed is not None]

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
        """Connects the venue and the feeds of every market and starts trading; `open_market` adds more.

        The venue must be one that is reached over sockets (`RemoteVenue`); an in-process one is driven by a
        player.
        """
        from invmm.feed.user import UserFeed

        venue = self._remote()
        if self.clock is None:
            raise ConfigError("Engine.start: expected a clock, none was given")
        self.risk.open(self.clock, venue, self.state, self._demand)
        self._inbox = inbox = Inbox(venue, self.clock, self.markets, self.step, self.risk.heard)
        self._announce(self.permission.mode)  # paused until what the venue lists is known
        venue.start()
        loop = asyncio.get_running_loop()
        loop.add_reader(venue.results.eventfd, inbox.drain)
        inbox.drain()
        if self._left is not None and venue.user_url:
            self.recovery = Recovery(self, self._left, inbox)
            self.recovery.begin()
        if venue.user_url:
            self.user_feed = UserFeed(
                venue.user_url,
                venue.credentials,
                inbox.take,
                self.key_of,
                self._tokens,
                self.clock,
                feed_settings_of(self.settings, self.clock.scale),
                budget=self._budget,
                on_state=self._told,
                on_disconnect=self._user_lost,
            )
        self.guard = DataGuard(
            self.markets,
            self.clock,
            self.settings,
            lambda job, done: self._edge is not None and self._edge.ask(job, done),
        )
        self.prices.open(venue, feed_settings_of(self.settings, self.clock.scale), self.clock, self._budget)
        for market in self.markets.values():
            self._connect(market)
        if self.user_feed is not None:
            self._edge = EdgeThread(venue.client)
            self._edge.start()
            if self.recovery is None:
                self.begin_reconciling()
            else:
                self._recovering = loop.create_task(self.recovery.run(venue), name="invmm recovery")
                self._recovering.add_done_callback(partial(self._task_ended, "the start-up sequence"))
            self.user_feed.start()
        else:
            self.permission.reconciled(0)  # own events do not travel: none can have been missed
        self._ticking = loop.create_task(self._tick(), name="invmm engine timer")
        self._ticking.add_done_callback(partial(self._task_ended, "the engine's timer"))

    def begin_reconciling(self, trades_from_ns: int | None = None) -> Reconciler:
        """Has everything listed, trades from that engine time on if it is given; the reconciler goes on by
        itself. Nothing is quoted before its first pass has succeeded.
        """
        if self.reconciler is None:
            assert self.clock is not None
            assert self._edge is not None
            key = self._remote().credentials.api_key
            self.reconciler = Reconciler(self, self.permission, self._edge, self.clock, self._tokens, key)
            self.reconciler.tell_cash = self.risk.cash_told
            if self.guard is not None:
                self.guard.user_feed, self.guard.reconciler = self.user_feed, self.reconciler
        self.reconciler.demand(trades_from_ns)
        return self.reconciler

    def open_market(self, info: MarketInfo, *, held: bool = False) -> Market:
        """Adds a market to a running engine: signing prepared, subscribed, quoted unless `held`.

        On the engine's thread. ConfigError when all numbers are in use.
        """
        market = self.add_market(info)
        market.held = held
        self._connect(market)
        return market

    def hold(self, number: int, held: bool) -> None:
        """Whether a market is only followed (its quotes are pulled) or traded."""
        market = self.markets[number]
        if market.held is not held:
            market.held = held
            self._tell_mode(market)

    async def close_market(self, number: int) -> Market:
        """Releases a market that has ended: its socket, keys, templates, number and books.

        Returns
        -------
        Market
            As it was; nothing changes it any more.

        Raises
        ------
        ConfigError
            An order of it may still be alive: an order is never forgotten.
        """
        market = self.markets[number]
        if alive := market.step.registry.counts()["live"]:
            raise ConfigError(f"{market.info.slug}: expected no possibly-live order, found {alive}")
        del self.markets[number]
        self.risk.market_closed(market)
        self.prices.forget(number)
        market.step.watcher = None
        for token in (market.info.up_token_id, market.info.down_token_id):
            self._tokens.pop(token, None)
        if self._inbox is not None:
            self._inbox.forget(market)
        self._remote().close_market(number)
        if market.feed is not None:
            await market.feed.close()
            market.feed = None
        return market

    def _connect(self, market: Market) -> None:
        """Prepares signing for a market and subscribes to it."""
        assert self.clock is not None
        assert self.guard is not None
        venue, info = self._remote(), market.info
        ids = (info.up_token_id, info.down_token_id)
        venue.words.set_market_version(market.number, 0)
        venue.open_market(market.number, info)
        self._tokens |= {token: (market.number, outcome) for outcome, token in enumerate(ids)}
        witness = self.guard.watch(market)
        feed = market.connect(venue.market_url, self.clock, self.settings, self._budget, self._told, witness)
        self._tell_mode(market)
        if not market.has_had_last_word(self.clock.now_ns()):
            feed.start()  # of one that is over nothing more is heard
            self.prices.watch(market)

    async def stop(self, deadline_s: float = 5.0) -> bool:
        """Pulls every quote, waits for proof, disconnects. True if every order is proven dead and the venue
        lists none; if not, `messages` name what may be alive and until when.
        """
        from invmm.execution.closing import close_orders

        if self.verdict is not None:
            return self.verdict.is_clean  # it has been stopped
        venue = self._remote()
        self.permission.stop()
        if self._recovering is not None:
            self._recovering.cancel()
        if self._vigil is not None:
            self._vigil.stopping()
        self.verdict = await close_orders(self, venue, max(0.1, deadline_s - EDGE_CLOSE_S))
        self.messages += self.verdict.words()
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
        if self._edge is not None:
            await asyncio.to_thread(self._edge.close, EDGE_CLOSE_S)
        feeds: list[MarketStream | UserFeed] = [*self.feeds, *([self.user_feed] if self.user_feed else [])]
        await asyncio.gather(self.prices.close(), *(feed.close() for feed in feeds))
        asyncio.get_running_loop().remove_reader(venue.results.eventfd)
        self.risk.close(self.verdict.is_clean)
        if self._vigil is not None:
            self._vigil.ended(self.verdict.is_clean)
        return self.verdict.is_clean

    def run(self) -> bool:
        """Blocking: `start`, trade until all is settled or SIGINT/SIGTERM, `stop`. What `stop` returned."""
        return asyncio.run(self._run())

    async def _run(self) -> bool:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopping.set)
        await self.start()
        open_ = self.markets.values()
        while not (stopping.is_set() or self.risk.is_over) and any(m.winner is None for m in open_):
            await asyncio.sleep(0.05)
        return await self.stop()

    def _remote(self) -> ConnectedVenue:
        from invmm.execution.connected import ConnectedVenue

        if self.venue is not self._checked:  # the look at a protocol's members is slow
            if not isinstance(self.venue, ConnectedVenue):
                raise ConfigError(f"expected a venue reached over sockets, found {type(self.venue).__name__}")
            self._checked = self.venue
        assert self._checked is not None
        return self._checked

    async def _tick(self) -> None:
        assert self.clock is not None
        period_s = self.settings.engine.timer_ms / 1000 / self.clock.scale
        tick = np.zeros(1, dtype=EVENT_DTYPE)
        tick["kind"] = EventKind.TIMER
        number, sequence = tick["market"], tick["sequence"]  # views; naming a field is slow
        venue = self._remote()
        vigil = self._vigil = Vigil.of(self, venue, self._demand)
        assert self._inbox is not None
        while True:
            await asyncio.sleep(period_s)
            alive = sum(market.step.registry.counts()["live"] for market in self.markets.values())
            vigil.tick(self.clock.mono_ns(), alive)
            self._inbox.drain()
            if self.journal is not None:
                self.journal.tick(self.markets.values(), self._inbox or (), self.permission)
            for alarm in venue.news():
                if alarm.is_final:
                    self.permission.alarm(alarm.text, AlarmKind.EXECUTOR)
                else:
                    self.permission.say(alarm.text)
            now_ns = self.clock.now_ns()
            if self.guard is not None:
                self.guard.tick(now_ns)
            for market in self.risk.tick(now_ns):
                self._tell_mode(market)
            for market in self.markets.values():
                venue.set_tick(market.number, market.step.books.state["tick_e4"])
                number[0] = market.number
                sequence[0] += 1
                market.step.step(tick, now_ns)
                market.tell_refused()
            if self.reconciler is not None:
                self.reconciler.tick(now_ns)

    def _say(self, text: str) -> None:
        self.messages.append(text)
        if self.journal is not None:
            self.journal.note(text)

    def _task_ended(self, name: str, task: asyncio.Task[None]) -> None:
        """Without a timer nothing is watched any more; the executor misses our beat and cancels all."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.permission.alarm(f"{name} failed: {origin_of(error)}", AlarmKind.TASK)

    def _announce(self, mode: Mode) -> None:
        self._remote().words.mode = mode
        for market in self.markets.values():
            self._tell_mode(market)

    def _tell_mode(self, market: Market) -> None:
        assert self.clock is not None
        event = np.zeros(1, dtype=EVENT_DTYPE)
        event["kind"], event["market"] = EventKind.MODE, market.number
        event["status"] = max(self.permission.mode, market.mode)
        market.step.step(event, self.clock.now_ns())

    def settle(self, number: int, winner: Outcome, now_ns: int) -> None:
        """The market is resolved: nothing more is quoted, and its ledger knows what its shares are worth."""
        event = np.zeros(1, dtype=EVENT_DTYPE)
        event["kind"], event["market"], event["token"] = EventKind.SETTLEMENT, number, winner
        self.step(event, now_ns)

    # ---- what reconciliation is told and tells (`execution/reconcile.py`) ---------------------------------

    def key_of(self, order_id: bytes) -> int | None:
        """Own key of an order by the venue's 32-byte id; None if it is not ours."""
        return None if self._inbox is None else self._inbox.key_of(order_id)

    def order_ids(self, keys: Collection[int]) -> dict[int, str]:
        """The venue's ids (`0x…`) of own orders by key; those whose id is not announced yet are missing."""
        return {} if self._inbox is None else self._inbox.ids_of(keys)

    def take_evidence(self, records: EventArray) -> None:
        """Applies evidence about own orders and fills, after all that the executor has to say."""
        if self._inbox is not None:
            self._inbox.take(records)

    def venue_mode(self) -> int:
        """The venue's mode as the executor has learnt it (`VenueMode`)."""
        return self._remote().words.venue_mode

    def _user_lost(self, _now_ns: int) -> None:
        """Fills may go unseen from now on: nothing is quoted until they have been asked for."""
        self.permission.pause("user feed lost: quotes pulled until its trades are known")

    def _told(self, feed: SupervisedSocket, state: FeedState, cause: EndCause) -> None:
        words = f"{feed.name} feed {state.name.lower().replace('_', ' ')}"
        self.messages.append(words + (f" ({cause.name.lower().replace('_', ' ')})" if cause else ""))
        if state in (FeedState.REFUSED, FeedState.FAILED):
            what = feed.last_error if state is FeedState.REFUSED else "an error"
            self.permission.alarm(f"{words}: {what}", AlarmKind.FEED)
        if feed is self.user_feed and feed.is_live:
            self._demand()

    def kill(self, level: int, why: str, by: str = "api") -> None:
        """Raises the kill level (`execution/kill.py`): 1 no new risk, 2 cancel all and verify, 3 and end."""
        self.risk.kill(level, why, by)

    def _demand(self) -> None:
        """What the venue lists may be news; before the start-up sequence asks, nothing is known anyway."""
        if self.reconciler is not None:
            self.reconciler.demand()
        elif self.user_feed is None:
            self.permission.reconciled(0)  # own events do not travel: none can have been missed
