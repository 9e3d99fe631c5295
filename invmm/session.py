"""A session over real sockets: the venue in a child process, the engine in this one, view, report.

The markets are served one after another on one scaled clock that both processes share; latency figures are
real time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import signal
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from rich.live import Live

from invmm.affinity import prepare
from invmm.clock import LiveClock
from invmm.engine import Engine
from invmm.errors import InvmmError
from invmm.execution.kill import listen
from invmm.execution.remote import RemoteVenue
from invmm.execution.session_state import SessionState, hold_folder, keep_journal
from invmm.execution.state import StateFolder
from invmm.market import Market
from invmm.ops.outlook import Outlook
from invmm.ops.results import finish
from invmm.ops.view import Health, render
from invmm.replay.player import venue_profile
from invmm.replay.result import MID_DTYPE, MarketResult
from invmm.replay.tape import Tape, TapeFlag
from invmm.settings import Settings
from invmm.settlement.cashier import settlement_of
from invmm.settlement.handover import merger_of, residue_of
from invmm.settlement.ledger import E10_PER_MICRO_DOLLAR
from invmm.settlement.till import Till, embedded_till
from invmm.sim.child import ChildCredentials, VenueChild
from invmm.sim.hazards import QUIET_S, Hazards
from invmm.sim.identity import tokens_follow
from invmm.sim.price import rule_of
from invmm.types import Outcome
from invmm.venue.auth import ApiCredentials, OrderSigner
from invmm.venue.profile import loopback

SECOND = 1_000_000_000
SETTLE_S = 60.0  # real seconds
BEFORE_AND_AFTER = 2
NOT_COMPARED = "no checkpoint was compared"
LEAD_S = 0.6  # real seconds between asking for a market and its first frame: time to connect
SAMPLE_NS = SECOND // 2
DRAW_S = 0.2


def run_session(options: argparse.Namespace, settings: Settings, speed: float, tapes: Sequence[Tape]) -> int:
    """Trades the tapes over loopback sockets; the exit code."""
    signer = OrderSigner(secrets.token_hex(32))  # of this session only: nobody's key
    child_key = ChildCredentials.fresh(signer.address)
    profile = replace(venue_profile(settings.sim), record_truth=True)
    chain = settings.sim.chain and all(tokens_follow(tape.market) for tape in tapes)
    child = VenueChild(tapes, credentials=child_key, profile=profile, seed=options.seed, chain=chain)
    with hold_folder(options.state) as folder, TemporaryDirectory(prefix="invmm-settled-") as files, child:
        session = _Session(options, settings, speed, child, signer, child_key, folder)
        session.files = Path(files)  # of a chain that ends with the child
        prepare(settings)  # after the child, which is not to share the engine's core
        asyncio.run(session.run(tapes))
    if not session.results:
        print("invmm: interrupted before anything was traded; nothing to report", file=sys.stderr)
        return 130
    code = finish(
        options,
        settings,
        session.results,
        digest="",
        commands=session.commands,
        extra={
            "latency_ns": session.latency_ns,
            "speed": speed,
            "reconnects": session.reconnects,
            "refusals": dict(session.refusals),
            "risk": session.risk,
            "messages": session.messages,
            "clean": session.clean,
            **session.settlement(),
            **({} if session.hazards is None else {"faults": dict(session.hazards.counts)}),
        },
        complete=options.duration is None and not session.interrupted,
    )
    if not session.clean:
        return 4
    return 130 if session.interrupted and code == 0 else code


class _Session:
    def __init__(
        self,
        options: argparse.Namespace,
        settings: Settings,
        speed: float,
        child: VenueChild,
        signer: OrderSigner,
        key: ChildCredentials,
        folder: StateFolder,
    ) -> None:
        self.options = options
        self.settings = settings
        self.speed = speed
        self.child = child
        self.signer = signer
        self.folder = folder
        self.credentials = ApiCredentials(key.api_key, key.secret, key.passphrase)
        self.results: list[MarketResult] = []
        self.latency_ns: dict[str, dict[str, float]] = {}
        self.refusals: Counter[str] = Counter()  # orders that gate or signer refused, by Reason
        self.risk: dict[str, Any] = {}  # of the last market
        self.messages: list[str] = []
        self.commands = 0
        self.reconnects = 0
        self.clean = True
        self.interrupted = False
        self.files = Path()
        self.hazards: Hazards | None = None
        if options.faults is not None:
            self.hazards = Hazards(options.faults, child.control, self.messages.append)
        self.tills: list[Till] = []  # of each market
        self._stop = asyncio.Event()
        self._cash_micro = self._merged_micro = 0

    async def run(self, tapes: Sequence[Tape]) -> None:
        """Every tape in turn, until one is interrupted."""
        loop = asyncio.get_running_loop()
        for kind in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(kind, self._interrupt)
        truth = await asyncio.to_thread(self.child.truth)
        self._cash_micro = truth["cash_micro"]
        console = Console(stderr=True)
        drawn = not self.options.headless and console.is_terminal
        with (
            Live(console=console, auto_refresh=False, screen=False, vertical_overflow="crop")
            if drawn
            else _Undrawn() as live
        ):
            for number, tape in enumerate(tapes):
                await self._trade(number, tape, live)
                if self._stop.is_set():
                    break

    def settlement(self) -> dict[str, Any]:
        """The report's `settlement`; nothing where the venue has no chain."""
        told = [till for till in self.tills if len(till.cash_micro) == BEFORE_AND_AFTER]
        if not told or len(told) < len(self.results):
            return {}
        before, after = told[0].cash_micro[0], told[-1].cash_micro[-1]
        ledgers = [result.ledger for result in self.results]
        cashiers = [till.cashier for till in told]
        return {"settlement": settlement_of(cashiers, ledgers, before, after)}

    def _interrupt(self) -> None:
        if self._stop.is_set():  # the second time: at once; the venue's own limits end what is left
            os._exit(4)
        self.interrupted = True
        self._stop.set()

    async def _trade(self, number: int, tape: Tape, live: Any) -> None:
        mapping = await asyncio.to_thread(self.child.begin, number, speed=self.speed, in_s=LEAD_S)
        clock = LiveClock(self.speed, int(mapping["tape_ns"]), int(mapping["monotonic_ns"]))
        with keep_journal(self.folder, self.settings, clock) as state:
            await self._trade_with(state, clock, number, tape, live)

    async def _trade_with(
        self, state: SessionState, clock: LiveClock, number: int, tape: Tape, live: Any
    ) -> None:
        venue = RemoteVenue(
            loopback(self.child.port),
            self.credentials,
            self.signer,
            clock,
            self.settings,
            journal=state.journal,
        )
        engine = Engine(
            self.settings, venue=venue, clock=clock, seed=self.options.seed, journal=state.journal
        )
        engine.state = state.folder
        market = engine.add_market(rule_of(tape), number=number)
        till = self._open_till(engine, clock, number)
        checkpoints = (tape.rows["flags"] & np.uint32(TapeFlag.CHECKPOINT)) != 0
        if self.hazards is None:  # they count frames, of which hazards lose some
            market.step.expect_checkpoints(checkpoints.astype(np.uint8))
        outlook = Outlook(engine, self.settings)
        await engine.start()
        if till is not None:
            await till.start()
        listen(asyncio.get_running_loop(), engine.kill)
        mids: list[tuple[int, float]] = []
        estimates: list[tuple[int, int, int]] = []  # time, own order key, estimated shares ahead
        first_ns = int(tape.rows["recv_ns"][0])
        until_ns = None if self.options.duration is None else first_ns + int(self.options.duration * SECOND)
        next_sample, told, winner, polled, is_heard = first_ns, 0, None, 0.0, False
        loop = asyncio.get_running_loop()
        last_ns = max(int(tape.rows["recv_ns"][-1]), tape.market.end_s * SECOND)
        if self.hazards is not None:
            self.hazards.say = engine.messages.append
            quiet_ns = tape.market.end_s * SECOND - int(QUIET_S * SECOND)
            self.hazards.begin(clock, quiet_ns if until_ns is None else min(until_ns, quiet_ns))
        give_up_ns = last_ns + int((self.settings.sim.settlement_lag_s + 120) * SECOND)
        while not self._stop.is_set():
            if engine.risk.is_over:
                self._interrupt()
                break
            now_ns = clock.now_ns()
            if (until_ns is not None and now_ns >= until_ns) or now_ns >= give_up_ns:
                break
            while now_ns >= next_sample:
                next_sample += SAMPLE_NS
                mid = market.up_mid()
                if mid is not None:
                    mids.append((now_ns, mid))
                for order in market.step.registry.orders_live():
                    if order["ahead_micro"] is not None:
                        estimates.append((now_ns, int(str(order["key"])), int(str(order["ahead_micro"]))))
            if now_ns > last_ns and loop.time() - polled > 0.1:
                polled = loop.time()
                truth = await asyncio.to_thread(self.child.truth)
                if (
                    not is_heard
                    and truth["sent_frames"] == len(tape)
                    and market.step.stats()["frames"] >= len(tape)
                ):
                    # Nothing more will come: a feed that waits for data would think itself dead.
                    is_heard = True
                    market.step.end_batch()
                    engine.feeds[0].set_tokens(())
                if truth["winner"] is not None and winner is None:
                    winner = Outcome(truth["winner"])
                    engine.settle(number, winner, now_ns)
                if winner is not None and (
                    not truth["is_running"] or _agree(market, truth, self._cash_micro)
                ):
                    break
            health = self._health(engine, venue, tape, now_ns)
            messages = list(engine.messages)
            for line in messages[told:]:
                self.messages.append(line)
            told = len(messages)
            if told == engine.messages.maxlen:  # it forgets the oldest from now on
                engine.messages.clear()
                told = 0
            outlook.tick()
            if till is not None:
                till.tick()
            live.update(render(market, health), refresh=True)
            await asyncio.sleep(DRAW_S if self.speed <= 50 else 0.02)
        if self.hazards is not None:
            await (self.hazards.end() if self._stop.is_set() else self.hazards.settle(engine, clock))
        clean = await engine.stop()
        outlook.close()
        if till is not None:
            await self._settle(till, engine, market, is_whole=winner is not None and clean)
        self.messages += list(engine.messages)[told:]
        if not clean:
            self.clean = False
            self.messages.append("not verified clean: the venue did not confirm that no order is open")
        live.update(render(market, self._health(engine, venue, tape, clock.now_ns())), refresh=True)
        self.reconnects += sum(
            feed.stats().reconnects for feed in (*engine.feeds, engine.user_feed) if feed is not None
        )
        self._merge_latency(venue)
        self.refusals.update(venue.executor.statistics().refusals)
        self.risk = engine.risk.summary()
        await self._conclude(tape, engine, market, mids, estimates)

    # ---- the chain -----------------------------------------------------------------------------------------

    def _open_till(self, engine: Engine, clock: LiveClock, number: int) -> Till | None:
        """What settles a market; None where the venue has no chain."""
        if not self.child.rpc_url:
            return None
        folder = self.files / str(number)
        folder.mkdir(mode=0o700)
        return embedded_till(engine, self.child.rpc_url, self.signer, folder, self.settings.settlement, clock)

    async def _settle(self, till: Till, engine: Engine, market: Market, *, is_whole: bool) -> None:
        """After the engine has stopped: what is left is redeemed, unless the market was left early."""
        assert engine.clock is not None
        residue = residue_of(market, merger_of(self.settings.strategy), engine.clock.now_ns())
        till.hand_over(residue)
        if not await till.end(SETTLE_S if is_whole else 0.0) and is_whole:
            self.messages.append(f"{market.info.slug}: not settled in {SETTLE_S:g} s")
        self.tills.append(till)

    async def _conclude(
        self,
        tape: Tape,
        engine: Engine,
        market: Market,
        mids: list[tuple[int, float]],
        estimates: list[tuple[int, int, int]],
    ) -> None:
        step = market.step
        step.end_batch()
        counts, stats = step.registry.counts(), step.stats()
        cash_micro: int | None = None
        merged_micro = self._merged_micro
        errors: list[int] = []
        try:
            truth = await asyncio.to_thread(self.child.truth)
            cash_micro = int(truth["cash_micro"])
            merged_micro = int(truth["merged_micro"])
            errors = _queue_errors(estimates, truth["orders"], engine)
            if truth["books_beside"]:  # subscribed late, or again: flags by number name other frames
                stats |= {"checkpoints": 0, "checkpoint_mismatches": 0}
                self.messages.append(f"{tape.market.slug}: a book came late, {NOT_COMPARED}")
        except InvmmError as error:
            self.messages.append(f"the venue's balance could not be read: {error}")
        self.commands += stats["commands"]
        told_micro = cash_micro
        if cash_micro is not None and market.winner is None:
            told_micro = cash_micro - (merged_micro - self._merged_micro)  # see `ledger_cash_micro`
        self._merged_micro = merged_micro
        self.results.append(
            MarketResult(
                tape=tape,
                ledger=market.ledger,
                step=stats,
                books=step.books.stats,
                orders=counts["orders"],
                placed_micro=counts["placed_micro"],
                winner=market.winner,
                start_cash_micro=self._cash_micro,
                venue_cash_micro=told_micro,
                mids=np.array(mids, dtype=MID_DTYPE),
                queue_errors_micro=errors,
                hash_checks=market.hashes.checks,
                hash_mismatches=market.hashes.mismatches,
                queue_ahead_of_truth=sum(error < 0 for error in errors),
            )
        )
        if cash_micro is not None:
            self._cash_micro = cash_micro

    def _health(self, engine: Engine, venue: RemoteVenue, tape: Tape, now_ns: int) -> Health:
        feed, user = engine.feeds[0], engine.user_feed
        stats = feed.stats()
        statistics = venue.executor.statistics()
        return Health(
            speed=self.speed,
            seconds_left=tape.market.end_s - now_ns / SECOND,
            feed=feed.state.name.lower(),
            user_feed=user.state.name.lower() if user is not None else "off",
            reconnects=stats.reconnects,
            data_age_ms=None if stats.data_age_ns is None else stats.data_age_ns / 1e6,
            pong_ms=stats.round_trip_ns / 1e6 if stats.round_trip_ns else None,
            latency_ns={name: _figures(summary) for name, summary in statistics.latency_ns.items()},
            messages=list(engine.messages)[-3:],
        )

    def _merge_latency(self, venue: RemoteVenue) -> None:
        """Keeps the figures of the market with most samples of each stage."""
        for name, summary in venue.executor.statistics().latency_ns.items():
            figures = _figures(summary)
            if figures["count"] >= self.latency_ns.get(name, {"count": -1.0})["count"]:
                self.latency_ns[name] = figures


def _queue_errors(
    estimates: list[tuple[int, int, int]], orders: list[dict[str, Any]], engine: Engine
) -> list[int]:
    """Estimated minus true shares ahead, where the venue knows the order's place at that time."""
    truth: dict[int, tuple[list[int], list[int]]] = {}
    for order in orders:
        key = engine.key_of(bytes.fromhex(order["order_id"][2:]))
        if key is not None and order["truth"]:
            truth[key] = ([int(t) for t, _ in order["truth"]], [int(a) for _, a in order["truth"]])
    errors = []
    for time_ns, key, ahead in estimates:
        times, places = truth.get(key, ([], []))
        at = bisect_right(times, time_ns) - 1
        if at >= 0:
            errors.append(ahead - places[at])
    return errors


def _agree(market: Market, truth: dict[str, Any], start_cash_micro: int) -> bool:
    """Whether the ledger holds every fill that the venue paid for; it rounds each fill to a micro-dollar."""
    cash_micro = (
        market.ledger.cash_e10(start_cash_micro * E10_PER_MICRO_DOLLAR, market.winner) / E10_PER_MICRO_DOLLAR
    )
    return bool(abs(cash_micro - truth["cash_micro"]) <= len(market.ledger.legs))


def _figures(summary: dict[str, int | None]) -> dict[str, float]:
    """A latency summary with plain numbers; 0 where there is no sample."""
    return {name: float(value or 0) for name, value in summary.items()}


class _Undrawn:
    """Stands for the live view where there is none."""

    def __enter__(self) -> _Undrawn:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, picture: object, refresh: bool = False) -> None:
        """Draws nothing."""
