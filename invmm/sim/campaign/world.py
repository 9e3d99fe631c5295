"""A world: the embedded venue, an engine process, faults from a plan, checkers, and the time between them."""

from __future__ import annotations

import asyncio
import gc
import math
import random
import tempfile
import time
from bisect import bisect_right
from collections import Counter
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from invmm.errors import InUseError, origin_of
from invmm.sim.account import Leg
from invmm.sim.campaign import checkers
from invmm.sim.campaign.attendant import Attendant
from invmm.sim.campaign.budget import Budget
from invmm.sim.campaign.checkers import Failure, Findings
from invmm.sim.campaign.hazards import TABLE, Planned
from invmm.sim.campaign.machine import Asleep, Busy, VenueClock, VirtualLoop
from invmm.sim.campaign.network import Incoming, Network
from invmm.sim.campaign.process import EngineProcess, imagined
from invmm.sim.campaign.stalls import Stalls
from invmm.sim.campaign.strangers import Strangers
from invmm.sim.campaign.tape import moving_tape
from invmm.sim.campaign.tuning import settings_of
from invmm.sim.orders import Order, Report
from invmm.sim.profile import SECOND, VenueProfile
from invmm.sim.server import Credentials, VenueServer
from invmm.sim.session import Session
from invmm.sim.windows import Series
from invmm.types import MICRO
from invmm.venue.auth import ApiCredentials, OrderSigner

START_S = 1_790_000_100  # a multiple of 300
SERIES = "btc-updown-5m"
KEY = "0x" + "4c" * 32  # nobody's
CREDENTIALS = (
    "11111111-2222-4333-8444-555555555555",
    "c2VjcmV0LW9mLW5vYm9keS1hdC1hbGw=",
    "nobodys-passphrase",
)
SAMPLE_S = 0.5
MEMORY = Path("/dev/shm")  # where journals need not wait for a disk
LOST, SLOW = 1 / 1000, 1 / 200  # answers that are lost, and that are slow, where all else is well
JOURNAL_EVERY = 240  # samples between two comparisons of the journal with memory
DRAIN_MOST_S = 420.0  # a fence, a window's end and the longest settlement
DRAIN_LEAST_S = 12.0  # a difference of balances shows after ten seconds


@dataclass
class Outcome:
    """What came of a world."""

    seed: int
    plan: list[Planned]
    minutes: float
    findings: Findings
    digest: str
    simulated_s: float
    wall_s: float
    orders: int = 0
    fills: int = 0
    windows: int = 0
    requests: int = 0
    unknown_s: list[float] = field(default_factory=list)
    stall_s: list[float] = field(default_factory=list)
    crash_to_cancel_s: list[float] = field(default_factory=list)
    crash_to_quoting_s: list[float] = field(default_factory=list)
    quoting: int = 0
    wanted: int = 0
    alarms: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    busiest_s: int = 0
    budget_share: float = 0.0
    messages: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[Failure]:
        """What must not be."""
        return self.findings.failures


class World:
    """One seed's world.

    Parameters
    ----------
    seed : int
        Of everything that is random.
    plan : list of Planned
        Faults.
    minutes : float
        How long the plan lasts; what is undetermined then gets its time on top.
    """

    engine: EngineProcess
    server: VenueServer

    def __init__(self, seed: int, plan: list[Planned], minutes: float) -> None:
        self.seed = seed
        self.plan = plan
        self.minutes = minutes
        self.loop = VirtualLoop(START_S * SECOND)
        self.settings = settings_of(seed)
        self.credentials = ApiCredentials(*CREDENTIALS)
        self.secrets = (KEY[2:], *CREDENTIALS[1:])
        self.account = OrderSigner(KEY).address
        self.findings = Findings()
        self.struck: Counter[str] = Counter()
        self.active: Counter[str] = Counter()  # faults that have begun and not ended; sudden ones stay
        self.server = self._new_server()
        self.network: Network = Network(self.loop, self.server, seed)
        self.exposure = checkers.Exposure(self)
        self.orphans = checkers.Orphans(self)
        self.sends = checkers.Sends(self)
        self.guards = checkers.Guards(self)
        self.timers = checkers.Timers()
        self.stalls = Stalls(self)
        self.budget = Budget(self)
        self.network.watchers += [self.sends.request, self.budget.request, self.stalls.cancelled, self._watch]
        self.network.listeners.append(self.guards.heard)
        self.is_draining = False
        self.samples = 0
        self._cancelled = self._quoted = True  # since the last crash
        self.heartbeat_ns = 0
        self.forbidden_ns = 0  # since when the engine's own mode forbids orders
        self.strangers: Strangers = Strangers(self)
        self.attendant = Attendant(self)
        self.crash_to_cancel_s: list[float] = []
        self.crash_to_quoting_s: list[float] = []
        self._place = tempfile.TemporaryDirectory(
            prefix="invmm-world-", dir=MEMORY if MEMORY.exists() else None
        )
        self.folder = Path(self._place.name)
        self._armed: dict[str, list[dict[str, Any]]] = {}
        self.processes: list[EngineProcess] = []
        self.engine = self.new_engine()

    def _new_server(self) -> VenueServer:
        server = VenueServer(
            [],
            VenueProfile(heartbeat_limit_s=10, collateral_micro=50_000 * MICRO),
            Credentials(*CREDENTIALS, self.account),
            self.seed,
            math.inf,
            100,
            None,
            [Series(SERIES, tape="light", listed_ahead_s=45, kept_s=3600)],
        )
        server.access.rules = replace(server.access.rules, is_checked=False)
        clock: Any = VenueClock(self.loop)
        server.floor.run_on(clock)
        server.windows.light = moving_tape
        opens = server.floor.open

        def opened(*args: Any, **rest: Any) -> Session:
            session = opens(*args, **rest)
            session.exchange.tell = partial(self._told, session, session.exchange.tell)
            self.stalls.watch(session)
            return session

        any_floor: Any = server.floor
        any_floor.open = opened
        return server

    def new_engine(self) -> EngineProcess:
        """An engine process that has not begun yet."""
        name = f"engine {len(self.processes)}"
        process = EngineProcess(
            name,
            self.loop,
            self.network,
            self.settings,
            self.credentials,
            KEY,
            self.seed,
            SERIES,
            self.folder,
        )
        self.processes.append(process)
        return process

    # ---- what checkers ask ---------------------------------------------------------------------------------

    @property
    def now_s(self) -> float:
        """Seconds since the world began."""
        return self.loop.time()

    @property
    def engine_knows(self) -> bool:
        """Whether an engine runs that ought to know every order."""
        process = self.engine
        return process.is_alive and not process.is_stopped and process.engine._inbox is not None

    def fail(self, checker: str, text: str) -> None:
        """Something that must not be."""
        self.findings.fail(checker, text, self.now_s)

    def is_own(self, order: Order) -> bool:
        """Whether an order is one that an engine of this world has placed."""
        return order.request.is_of(self.account) and order.request.order_id not in self.strangers.placed

    def is_own_leg(self, leg: Leg) -> bool:
        """Whether a leg is of our account."""
        return checkers.own_leg(leg, self.account) and leg.order_id not in self.strangers.placed

    def state_of(self, order_id: bytes) -> str:
        """The state that an order has for the engine; empty where it has none."""
        key = self.engine.key_of(order_id)
        for market in self.engine.markets:
            if key is not None and market.owns(key):
                known = market.step.registry.order(key)
                return "" if known is None else str(known["state"])
        return ""

    def believes_alive(self, order_id: bytes) -> bool:
        """Whether the engine counts an order among those that may trade."""
        return self.state_of(order_id) not in ("", *checkers.ENDED)

    def belief(self, order_id: bytes) -> str:
        """What the engine thinks of an order."""
        state = self.state_of(order_id)
        return f"thinks it {state}" if state else "does not know it"

    def stale_ns(self, session: Session) -> int:
        """How long ago the venue's book changed for the first time without the engine having been told."""
        heard_ns = self.engine.upgrades.told_ns.get(session.market.up_token_id, 0)
        times = session._receive_ns
        first = bisect_right(times, heard_ns)
        now_ns = self.loop.now_ns()
        return max(0, now_ns - times[first]) if first < len(times) and heard_ns else 0

    # ---- what happens --------------------------------------------------------------------------------------

    def _told(self, session: Session, tell: Any, report: Report) -> None:
        tell(report)
        exchange = session.exchange
        if report.order is not None or report.trade is not None:
            self.exposure.at(exchange, report)
        if (
            report.kind == "placed"
            and report.order is not None
            and self.engine_knows
            and self.is_own(report.order)
        ):
            self.orphans.check(report.order)
            self.sends.booked(exchange, report.order)
        self.stalls.look(session)

    def _watch(self, request: Incoming) -> None:
        if request.path == "/cancel-all" and not self._cancelled:
            self._cancelled = True
            self.crash_to_cancel_s.append((self.loop.now_ns() - self.engine.born_ns) / SECOND)
        elif request.method == "POST" and request.path in checkers.PLACES and not self._quoted:
            self._quoted = True
            self.crash_to_quoting_s.append((self.loop.now_ns() - self.engine.born_ns) / SECOND)
        if request.path == "/v1/heartbeats" and not self._refuses_heartbeats():
            self.heartbeat_ns = self.loop.now_ns()

    def _refuses_heartbeats(self) -> bool:
        fault = self.server.faults.armed("http")
        return fault is not None and fault.rate == 1 and fault.figures.get("path") == "/v1/heartbeats"

    def go_on(self) -> None:
        """SIGCONT, unless it was killed meanwhile."""
        if self.engine.is_alive:
            self.engine.go_on(self.loop)
            self.guards.unwedged()

    def wedge(self) -> None:
        """The engine's loop stands still; its executor has to see to the orders."""
        if self.engine.is_alive and not self.is_draining:
            self.engine.wedge()
            self.guards.wedged()

    def start_second(self) -> None:
        """Somebody starts another engine on the folder of the one that runs: it must be refused."""
        if self.engine.is_alive and not self.is_draining:
            with suppress(InUseError):
                self.new_engine().start()
                self.fail("engine", "a second engine runs from the state folder of the first")

    def crash(self, down_s: float) -> None:
        """SIGKILL at this moment; after a while the engine is started again on the same folder."""
        if self.is_draining or not self.engine.is_alive:
            return
        self.engine.kill()
        self.loop.call_in_ns(int(down_s * SECOND), self._restart)

    def _restart(self) -> None:
        self.engine = self.new_engine()
        self.engine.start()
        self._cancelled = self._quoted = False
        self.guards.begin_anew()
        if self.is_draining:
            self._come_to_rest()

    def arm(self, kind: str, figures: dict[str, Any]) -> None:
        """Arms a fault of the venue; an earlier one of its kind waits until this one is over."""
        self._armed.setdefault(kind, []).append(figures)
        self.server.faults.arm(kind, figures)

    def disarm(self, kind: str, figures: dict[str, Any]) -> None:
        """Ends a fault of the venue."""
        armed = self._armed.get(kind, [])
        if figures in armed:
            armed.remove(figures)
        if armed:
            self.server.faults.arm(kind, armed[-1])
        else:
            self.server.faults.clear(kind)

    # ---- time ----------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Plays the plan, drains, compares."""
        began = time.perf_counter()
        state, threshold = random.getstate(), gc.get_threshold()
        gc.set_threshold(50_000, 20, 50)  # a world makes few cycles and many objects
        random.seed(self.seed)
        asyncio.set_event_loop(self.loop)
        self.loop.set_exception_handler(self._unforeseen)
        try:
            with imagined():
                self.loop.run_until_complete(self._play())
        except (Asleep, Busy) as error:
            self.fail("engine", str(error))
            self._digest = self.network.digest.hexdigest()
        finally:
            random.setstate(state)
            gc.set_threshold(*threshold)
            asyncio.set_event_loop(None)
            self.loop.close()
            for process in self.processes:
                process.lock.release()
            self._place.cleanup()
        return self._outcome(time.perf_counter() - began)

    def _unforeseen(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that nobody caught, in a callback or a forgotten task: never right."""
        error = context.get("exception")
        told = repr(error) if error is None else f"{error!r} in {origin_of(error)}"
        self.fail("engine", f"{context['message'].partition('(')[0]}: {told}")

    async def _play(self) -> None:
        outside = Context()
        limit_s = self.server.profile.heartbeat_limit_s or math.inf
        self._background = [
            self.loop.create_task(work, context=outside)
            for work in (
                self.server.switch.watch(limit_s=limit_s),
                self.server.windows.run(),
                self._sample(),
            )
        ]
        await asyncio.sleep(0.5)
        self.engine.start()
        if not self.plan:
            self.arm("slow", {"rate": SLOW, "path": "/order", "seconds": 2.0})
            self.network.forgetting = LOST
        for planned in self.plan:
            self.loop.call_at(planned.at_s, self._begin, planned)
            if planned.until_s > planned.at_s:
                self.loop.call_at(planned.until_s, self._end, planned)
        await asyncio.sleep(self.minutes * 60 - self.loop.time())
        await self._drain()
        checkers.compare_fills(self)
        checkers.compare_positions(self)
        checkers.check_rest(self)
        checkers.check_secrets(self)
        checkers.compare_journal(self)
        self._digest = self.network.digest.hexdigest()
        self.network.is_down = True
        self.loop.set_exception_handler(lambda loop, context: None)
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        for process in self.processes:
            process.go_on(self.loop)
        await asyncio.wait(rest, timeout=5)

    def _begin(self, planned: Planned) -> None:
        self.struck[planned.name] += 1
        self.active[planned.name] += 1
        TABLE[planned.name].begin(self, planned.figures)

    def _end(self, planned: Planned) -> None:
        self.active[planned.name] -= 1
        TABLE[planned.name].end(self, planned.figures)

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_S)
            self.samples += 1
            self.timers.sample(self)
            self.guards.look()
            self.orphans.look()
            self.engine.tend()
            self.attendant.look()
            if self.samples % JOURNAL_EVERY == 0:
                checkers.compare_journal(self)
            mode = self.engine.engine.permission.mode
            if not checkers.forbids(mode):
                self.forbidden_ns = 0
            elif not self.forbidden_ns:
                self.forbidden_ns = self.loop.now_ns()
            if self.engine.main is not None and self.engine.main.done() and not self.is_draining:
                error = self.engine.main.exception()
                self.fail("engine", f"the engine ended: {error!r}")
                self.engine.main = None

    async def _drain(self) -> None:
        """No faults and no quotes any more, until nothing is undetermined or its time is over."""
        self.is_draining = True
        self._come_to_rest()
        begun_s = self.loop.time()
        while self.loop.time() < begun_s + DRAIN_MOST_S:
            await asyncio.sleep(1)
            if self.loop.time() >= begun_s + DRAIN_LEAST_S and self._is_quiet():
                return

    def _come_to_rest(self) -> None:
        """What is open goes on to its end, unquoted; nothing new begins."""
        roller, engine = self.engine.roller, self.engine.engine
        roller._limit = max(1, roller._begun)
        self.engine.context.run(engine.permission.block, "the world comes to rest")

    def _is_quiet(self) -> bool:
        if not self.engine_knows or any(
            order
            for exchange in self.server.floor.exchanges
            for order in exchange.open_orders()
            if self.is_own(order)
        ):
            return False
        return not any(
            market.step.registry.counts()["live"] or market.ledger.unsettled for market in self.engine.markets
        )

    def _outcome(self, wall_s: float) -> Outcome:
        stops = any(TABLE[planned.name].stops for planned in self.plan)
        latched = [text for text in self.engine.engine.permission.latched if text not in self.attendant.right]
        return Outcome(
            seed=self.seed,
            plan=self.plan,
            minutes=self.minutes,
            findings=self.findings,
            digest=self._digest,
            simulated_s=self.loop.time(),
            wall_s=wall_s,
            orders=self.sends.orders,
            fills=len(self.server.floor.purses.first.trades),
            windows=self.engine.roller.counts.opened,
            requests=self.network.requests,
            unknown_s=self.timers.unknown_s,
            stall_s=self.stalls.seconds,
            crash_to_cancel_s=self.crash_to_cancel_s,
            crash_to_quoting_s=self.crash_to_quoting_s,
            quoting=self.timers.quoting,
            wanted=self.timers.wanted,
            alarms=[] if stops else latched,
            kills=self.attendant.kills,
            struck=self.struck,
            busiest_s=max(self.sends.per_second.values(), default=0),
            budget_share=round(self.budget.most_share, 4),
            messages=list(self.engine.engine.messages),
        )
