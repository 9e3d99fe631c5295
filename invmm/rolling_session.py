"""A session over the windows of a series: on the embedded venue or on paper; view, books, summary.

The engine and the roller do the work. Here they are started and stopped, what is handed over to settlement is
booked, and the venue is asked who won.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live

from invmm.affinity import elsewhere, prepare
from invmm.clock import NS, LiveClock
from invmm.engine import Engine
from invmm.errors import ConfigError, InvmmError, TransportError
from invmm.execution.connected import ConnectedVenue
from invmm.execution.kill import listen
from invmm.execution.session_state import SessionState, hold_folder, keep_journal
from invmm.market import Market
from invmm.ops.outlook import Outlook
from invmm.ops.view import Health, render
from invmm.permission import AlarmKind
from invmm.rolling import Roller
from invmm.settings import Settings
from invmm.settlement.handover import Residue, SettlementQueue
from invmm.settlement.till import Till, embedded_till
from invmm.sim.hazards import Hazards
from invmm.types import MICRO, Outcome, Side
from invmm.venue.listing import LABELS, Found
from invmm.venue.series import Series, Window

if TYPE_CHECKING:
    from invmm.testing import TestVenue

DRAW_S = 0.2
READY_S = 120  # real seconds
WORTHWHILE_S = 60  # of a window that is running, venue seconds
SETTLE_S = 60.0  # real seconds
RESOLUTION_S = 200  # engine time; the venue resolves 53 to 152 s after a window's end
UP_LABELS = frozenset(up for up, _ in LABELS)


@dataclass
class WindowResult:
    """What one window came to."""

    residue: Residue
    orders: int
    fills: int
    stats: dict[str, Any]
    books: dict[str, Any]
    winner: Outcome | None = None

    @property
    def gives_up_s(self) -> float:
        """Engine time from which on nobody asks any more who won."""
        return self.residue.info.end_s + RESOLUTION_S

    def row(self) -> dict[str, Any]:
        """As plain data: shares, dollars, unix seconds."""
        residue, ledger = self.residue, self.residue.ledger
        return {
            "slug": residue.info.slug,
            "condition_id": residue.info.condition_id,
            "start": residue.info.start_s,
            "end": residue.info.end_s,
            "exchange": residue.info.exchange,
            "orders": self.orders,
            "fills": self.fills,
            "up": ledger.traded_micro(Outcome.UP) / MICRO,
            "down": ledger.traded_micro(Outcome.DOWN) / MICRO,
            "pairs": ledger.matched_micro / MICRO,
            "pair_cost": ledger.pair_cost,
            "fees": ledger.fees_micro / MICRO,
            "unsettled": residue.unsettled,
            "alive": residue.alive,
            "merge": residue.merge.pairs_to_merge if residue.merge.should_merge else 0.0,
            "merge_reason": residue.merge.reason,
            "winner": None if self.winner is None else self.winner.name.lower(),
            "profit": None if self.winner is None else ledger.settle(self.winner).total,
        }


class RollingSession:
    """Trades a series until so many windows are done, the time is over, or somebody stops it.

    Parameters
    ----------
    settings : Settings
    series : Series
    venue : ConnectedVenue
    clock : LiveClock
    find : callable(window) -> Found
        Asks about one window; called on a thread.
    windows : int
        So many, 0: without end.
    duration_s : float, optional
        Engine seconds, then it stops.
    seed : int
        Of order salts.
    headless : bool
        No live view.
    hazards : Hazards, optional
        What goes wrong at the embedded venue.
    state : SessionState, optional
        Folder, journals and what earlier sessions left.
    open_till : callable(engine) -> Till, optional
        What settles on the chain; nothing is settled if omitted.
    watch : callable, optional
        Asked now and then; a text says why nothing new may be risked any more.
    """

    def __init__(
        self,
        settings: Settings,
        series: Series,
        venue: ConnectedVenue,
        clock: LiveClock,
        find: Callable[[Window], Found],
        *,
        windows: int = 0,
        duration_s: float | None = None,
        seed: int = 1,
        headless: bool = False,
        hazards: Hazards | None = None,
        state: SessionState | None = None,
        open_till: Callable[[Engine], Till] | None = None,
        watch: Callable[[], str] = lambda: "",
    ) -> None:
        self.engine = Engine(
            settings,
            venue=venue,
            clock=clock,
            seed=seed,
            journal=None if state is None else state.journal,
            left=None if state is None else state.left,
        )
        self.engine.state = None if state is None else state.folder
        self.clock = clock
        self.results: list[WindowResult] = []
        self.clean = True
        self.interrupted = False
        self.messages: list[str] = []
        self.hazards = hazards
        self.settlement = SettlementQueue()
        self.roller = Roller(
            self.engine,
            clock,
            find,
            series,
            self.settlement,
            windows=windows,
            say=self.engine.messages.append,
            alarm=partial(self.engine.permission.alarm, kind=AlarmKind.TASK),
            on_close=self._closed,
        )
        self.till = None if open_till is None else open_till(self.engine)
        self._find = find
        self._watch = watch
        self._series = series
        self._until_ns = None if duration_s is None else clock.now_ns() + int(duration_s * NS)
        self._headless = headless
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Everything, from the first connection to the last question about a winner."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(4, "invmm slow", initializer=elsewhere))
        for kind in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(kind, self._interrupt)
        outlook = Outlook(self.engine, self.engine.settings)
        await self.engine.start()
        listen(loop, self.engine.kill)
        if self.till is not None:
            await self.till.start()
        if self.hazards is not None:
            self.hazards.say = self.engine.messages.append
            self.hazards.begin(self.clock, self._until_ns)
        rolling = loop.create_task(self.roller.run(self._stop), name="invmm roller")
        asking = loop.create_task(self._ask_winners(), name="invmm winners")
        console = Console(stderr=True)
        drawn = not self._headless and console.is_terminal
        live = Live(console=console, auto_refresh=False, vertical_overflow="crop") if drawn else None
        if live is not None:
            live.start()
        told = 0
        try:
            while not rolling.done():
                if self.engine.risk.is_over and not self._stop.is_set():
                    self._interrupt()
                if self._is_time_over():
                    self._stop.set()
                outlook.tick()
                told = self._keep_messages(told)
                if (missing := self._watch()) and not self.engine.permission.latched:
                    self.engine.permission.alarm(
                        f"no reaper watches over this session: {missing}", AlarmKind.REAPER
                    )
                if live is not None:
                    self._draw(live)
                await asyncio.wait([rolling], timeout=DRAW_S)
                self._settle_queue()
            await rolling
        finally:
            if live is not None:
                live.stop()
            self._stop.set()
            await asyncio.gather(rolling, return_exceptions=True)
            if self.hazards is not None:
                hazards = self.hazards
                await (hazards.end() if self.interrupted else hazards.settle(self.engine, self.clock))
            self.clean = await self.engine.stop()
            outlook.close()
            self.roller.hand_over_rest()
            self._settle_queue()
            self._keep_messages(told)
        if not self.clean:
            self.messages.append("not verified clean: the venue did not confirm that no order is open")
        is_early = self.interrupted or self._is_time_over()
        if is_early:
            asking.cancel()  # whoever wants it to end does not want to wait for the venue's word
        if self.till is not None:
            wait_s = 0.0 if is_early or not self.clean else self.clock.wall_s(RESOLUTION_S * NS) + SETTLE_S
            if not await self.till.end(wait_s) and wait_s:
                self.messages.append("not everything was settled: `invmm positions` shows what is left")
        await asyncio.gather(asking, return_exceptions=True)

    def summary(self) -> dict[str, Any]:
        """The session as plain data."""
        rows = [result.row() for result in self.results]
        profits = [row["profit"] for row in rows]
        frames = sum(result.stats["frames"] for result in self.results)
        failures = sum(sum(result.books["decode_failures"].values()) for result in self.results)
        return {
            "series": self._series.name,
            "windows": rows,
            "opened": self.roller.counts.opened,
            "closed": self.roller.counts.closed,
            "skipped": self.roller.counts.skipped,
            "opened_late": self.roller.counts.late,
            "orders": sum(row["orders"] for row in rows),
            "fills": sum(row["fills"] for row in rows),
            "pairs": sum(row["pairs"] for row in rows),
            "profit": sum(p for p in profits if p is not None),
            "unresolved": sum(p is None for p in profits),
            "frames": frames,
            "decode_failures": failures,
            "best_mismatches": sum(result.books["best_mismatches"] for result in self.results),
            "mirror_mismatches": sum(result.books["mirror_mismatches"] for result in self.results),
            "alive_at_the_end": sum(row["alive"] for row in rows),
            "clean": self.clean,
            "interrupted": self.interrupted,
            "refusals": self.refusals(),
            "risk": self.engine.risk.summary(),
            "messages": self.messages,
            **self._settlement(),
            **({} if self.hazards is None else {"faults": dict(self.hazards.counts)}),
        }

    def _settlement(self) -> dict[str, Any]:
        """What was settled on the chain, by itself and beside the ledgers; nothing without a till."""
        if self.till is None or not self.till.cash_micro:
            return {}
        ledgers = [result.residue.ledger for result in self.results]
        return {"settlement": self.till.summary(ledgers)}

    def refusals(self) -> dict[str, int]:
        """Orders that gate or signer refused, by Reason; a venue on paper has neither."""
        executor = getattr(self.engine.venue, "executor", None)
        return {} if executor is None else dict(executor.statistics().refusals)

    def _is_time_over(self) -> bool:
        return self._until_ns is not None and self.clock.now_ns() >= self._until_ns

    def _interrupt(self) -> None:
        if self._stop.is_set():  # the second time: at once; the venue's own limits end what is left
            os._exit(4)
        self.interrupted = True
        self._stop.set()

    def _closed(self, market: Market, residue: Residue) -> None:
        counts = market.step.registry.counts()
        market.step.end_batch()
        self.results.append(
            WindowResult(
                residue, counts["orders"], counts["fills"], market.step.stats(), market.step.books.stats
            )
        )

    def _settle_queue(self) -> None:
        """What windows leave behind goes to the till; without one it is booked in `results` alone."""
        while (residue := self.settlement.take()) is not None:
            if self.till is not None:
                self.till.hand_over(residue)
        if self.till is not None:
            self.till.tick()

    def _keep_messages(self, told: int) -> int:
        lines = list(self.engine.messages)
        self.messages += lines[told:]
        if len(lines) == self.engine.messages.maxlen:  # it forgets the oldest from now on
            self.engine.messages.clear()
            return 0
        return len(lines)

    def _draw(self, live: Live) -> None:
        markets = [market for market in self.engine.markets.values() if market.feed is not None]
        if not markets:
            return
        running = [market for market in markets if market.info.end_s * NS > self.clock.now_ns()]
        market = (running or markets)[0]
        assert market.feed is not None
        stats, user = market.feed.stats(), self.engine.user_feed
        health = Health(
            speed=self.clock.scale,
            seconds_left=market.info.end_s - self.clock.now_ns() / NS,
            feed=market.feed.state.name.lower(),
            user_feed=user.state.name.lower() if user is not None else "off",
            reconnects=stats.reconnects,
            data_age_ms=None if stats.data_age_ns is None else stats.data_age_ns / 1e6,
            pong_ms=stats.round_trip_ns / 1e6 if stats.round_trip_ns else None,
            messages=list(self.engine.messages)[-3:],
        )
        live.update(render(market, health), refresh=True)

    async def _ask_winners(self) -> None:
        """Asks who won each window, from its end on for as long as that usually takes; ends with the session
        when nothing is left to ask.
        """
        while True:
            now_s = self.clock.now_ns() / NS
            waiting = [r for r in self.results if r.winner is None and now_s < r.gives_up_s]
            if not waiting and self._stop.is_set():
                return
            for result in waiting:
                await self._ask_winner(result)
            await asyncio.sleep(min(2.0, max(0.05, self.clock.wall_s(2 * NS))))

    async def _ask_winner(self, result: WindowResult) -> None:
        info = result.residue.info
        try:
            found = await asyncio.to_thread(self._find, Window(info.slug, info.start_s, info.end_s))
        except InvmmError as error:
            self.messages.append(f"{info.slug}: the winner could not be asked for: {error}")
            return
        if found.winner:
            result.winner = Outcome.UP if found.winner in UP_LABELS else Outcome.DOWN
            self.engine.risk.resolved(info.condition_id or info.slug, result.winner)


def run_embedded(options: argparse.Namespace, settings: Settings, speed: float) -> int:
    """Rolls over windows that the embedded venue serves over loopback sockets; the exit code."""
    from invmm.execution.remote import RemoteVenue
    from invmm.replay.player import venue_profile
    from invmm.testing import TestVenue
    from invmm.venue.auth import OrderSigner
    from invmm.venue.discovery import Discovery

    series = Series.parse(options.series)
    if series.single is not None:
        raise ConfigError(f"--series: expected a series such as btc-updown-5m, found {options.series!r}")
    profile = venue_profile(settings.sim)
    embedded = TestVenue(
        options.series, speed=speed, seed=options.seed, profile=profile, chain=settings.sim.chain
    )
    files = TemporaryDirectory(prefix="invmm-settled-")  # of a chain that ends with the venue
    with hold_folder(options.state) as folder, files, embedded:
        _wait_ready(embedded)
        clock = embedded.clock()
        with keep_journal(folder, settings, clock) as state:
            signer = OrderSigner(embedded.private_key)
            venue = RemoteVenue(
                embedded.profile, embedded.credentials, signer, clock, settings, journal=state.journal
            )
            find = Discovery(embedded.profile).window_blocking
            parts = session_options(options, settings, series, venue, clock, find, state)
            if options.faults is not None:
                parts["hazards"] = Hazards(options.faults, embedded.child.control, print)
            if url := embedded.child.rpc_url:
                parts["open_till"] = lambda engine: embedded_till(
                    engine, url, signer, Path(files.name), settings.settlement, clock
                )
            session = RollingSession(**parts)
            return run_windows(
                options, session, "embedded", lambda: differences(embedded.truth(), session.results)
            )


def _wait_ready(embedded: TestVenue) -> None:
    """Until the first generated market has been made: seconds of one core."""
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        now_s = embedded.now_s()
        if any(m["is_ready"] and now_s < m["end_s"] - WORTHWHILE_S for m in embedded.listed()):
            return
        time.sleep(0.1)
    raise TransportError(f"embedded venue: expected a first market within {READY_S} s, found none")


def run_paper(options: argparse.Namespace, settings: Settings) -> int:
    """Trades a series of the venue on paper; the exit code."""
    from invmm.ops.hardening import harden
    from invmm.ops.venue_options import chosen_profile
    from invmm.paper import PaperVenue
    from invmm.venue.discovery import Discovery

    harden()
    profile = chosen_profile(options)
    series = Series.parse(options.series or settings.market.series)
    clock = LiveClock()
    venue = PaperVenue(profile.market_url, clock, settings, seed=options.seed, rtds_url=profile.rtds_url)
    find = Discovery(profile).window_blocking
    with hold_folder(options.state) as folder, keep_journal(folder, settings, clock) as state:
        session = RollingSession(**session_options(options, settings, series, venue, clock, find, state))
        return run_windows(options, session, "paper")


def session_options(
    options: argparse.Namespace,
    settings: Settings,
    series: Series,
    venue: ConnectedVenue,
    clock: LiveClock,
    find: Callable[[Window], Found],
    state: SessionState,
) -> dict[str, Any]:
    """What the command line says, in the terms of `RollingSession`."""
    return {
        "settings": settings,
        "series": series,
        "venue": venue,
        "clock": clock,
        "find": find,
        "windows": options.windows,
        "duration_s": options.duration,
        "seed": options.seed,
        "headless": options.headless,
        "state": state,
    }


def run_windows(
    options: argparse.Namespace,
    session: RollingSession,
    mode: str,
    differ: Callable[[], list[str]] = list,
) -> int:
    """Runs a session to its end and prints its summary; the exit code. `differ` says where the venue knows of
    other fills.
    """
    from invmm.ops.windows import finish

    prepare(session.engine.settings)
    asyncio.run(session.run())
    summary = {"mode": mode} | session.summary() | {"ledger_differences": differ()}
    return finish(summary, as_json=options.json)


def differences(truth: dict[str, Any], results: list[WindowResult]) -> list[str]:
    """Windows whose shares are not what the embedded venue has matched, in words. What was still on its way
    through settlement when a window was handed over is not compared, nor what the venue has forgotten.
    """
    known, wrong = {market["market"] for market in truth["markets"]}, []
    for result in results:
        residue = result.residue
        if residue.info.condition_id not in known or residue.unsettled:
            continue
        held = [0, 0]
        for trade in truth["trades"]:
            if trade["market"] == residue.info.condition_id and trade["status"] != "TRADE_FAILED":
                for leg in trade["legs"]:
                    held[leg["token"]] += leg["size_micro"] * (1 if leg["side"] == Side.BUY else -1)
        ours_micro = [residue.ledger.traded_micro(outcome) for outcome in Outcome]
        if held != ours_micro:
            ours = f"{ours_micro[0] / MICRO:g} Up, {ours_micro[1] / MICRO:g} Down"
            theirs = f"{held[0] / MICRO:g} Up, {held[1] / MICRO:g} Down"
            wrong.append(f"{residue.info.slug}: ledger says {ours}, venue says {theirs}")
    return wrong
