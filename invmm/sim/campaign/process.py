"""One engine process on an imagined machine: the shipped engine, executor, reconciliation, feeds and roller.

What is replaced is what touches the outside: sockets, threads, the clock and the directory of windows.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from invmm.clock import NS
from invmm.engine import Engine
from invmm.execution.edge import EdgeThread
from invmm.execution.executor import Executor
from invmm.execution.journal import SessionJournal
from invmm.execution.left import read_left
from invmm.execution.remote import TIMEOUT_S, RemoteVenue
from invmm.execution.state import StateFolder
from invmm.feed.connection import SupervisedSocket
from invmm.feed.dial import Call
from invmm.market import Market
from invmm.rolling import Roller
from invmm.settings import Settings
from invmm.settlement.handover import SettlementQueue
from invmm.sim.campaign.machine import PROCESS, Process, VirtualClock, VirtualLoop
from invmm.sim.campaign.network import Network, VirtualConnection, VirtualTransport
from invmm.sim.campaign.sockets import Upgrades
from invmm.types import COMMAND_DTYPE, CommandKind
from invmm.venue.auth import ApiCredentials, OrderSigner
from invmm.venue.client import VenueClient
from invmm.venue.listing import Found, Refusal, RefusalKind
from invmm.venue.profile import loopback
from invmm.venue.series import Series, Window

LOOK_AROUND_NS = 50_000_000
LONGEST_WAIT_NS = 1_000_000_000  # only a silent engine is noticed late by that, which has three seconds
SOONEST_NS = 20_000_000  # between two turns that nothing but time asks for
TURNS_MAX = 10_000


class VirtualExecutor(Executor):
    """The executor without its thread: it has its turns when commands wait or something is due."""

    def __init__(self, *args: Any, network: Network, process: Process, **rest: Any) -> None:
        make = partial(VirtualConnection, network=network, process=process, wake=self._due)
        super().__init__(*args, connection=make, **rest)
        self.look_around_ns = LOOK_AROUND_NS
        self.longest_wait_ns = LONGEST_WAIT_NS
        self.intake.linger_ns = 0
        self._loop_ = network.loop
        self._process = process
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False

    def start(self) -> None:
        """Connects at once."""
        self._loop_.polled.append(self._look)
        self._due()

    def _look(self) -> None:
        if len(self.commands) and self._process.is_alive and not self._process.is_stopped:
            self._process.context.run(self._turns)

    def _due(self) -> None:
        """Something has come, or time has: a turn in a moment."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop_.call_in_ns(0, self._turns, context=self._process.context)

    def _turns(self) -> None:
        if self._is_over:
            return
        now_ns = self._clock.mono_ns()
        self.intake.origin_ns, self.intake.scale = now_ns, 0.0  # time stands still in a turn
        for _ in range(TURNS_MAX):
            waiting = len(self.commands)
            if not self.turn(now_ns, may_wait=False):
                self._end()
                return
            if not len(self.commands) or len(self.commands) == waiting:
                break
        self.intake.flush()
        if self._timer is not None:
            self._timer.cancel()
        again_ns = max(SOONEST_NS, self.wait_ns(now_ns))
        self._timer = self._loop_.call_in_ns(again_ns, self._turns, context=self._process.context)
        if len(self.results):
            self._loop_.wake_reader(self.results.eventfd)

    def close(self, timeout_s: float = 5.0) -> None:
        """Stops at once: what is in flight ends without an answer."""
        if self._is_over:
            return
        self._closing = self.intake.gate.stopping = True
        shutdown = np.zeros(1, dtype=COMMAND_DTYPE)
        shutdown["kind"] = CommandKind.SHUTDOWN
        self.commands.try_push(shutdown)
        self._turns()
        if not self._is_over:
            self._end()

    def _end(self) -> None:
        self._is_over = True
        self.intake.gate.stopping = True
        self._pool.close(self._clock.mono_ns())
        self._drop_waiting()
        self.intake.flush()
        if self._timer is not None:
            self._timer.cancel()
        self._loop_.polled.remove(self._look)


class VirtualVenue(RemoteVenue):
    """`RemoteVenue` whose REST clients go over the imagined network."""

    def __init__(
        self, *args: Any, network: Network, process: Process, thread: Process, journal: SessionJournal
    ) -> None:
        make = partial(VirtualExecutor, network=network, process=thread)
        super().__init__(*args, executor=make, journal=journal)
        self._network = network
        self._process = process

    def client(self) -> VenueClient:
        """As of `RemoteVenue`."""
        client = super().client()
        client.transport = VirtualTransport(
            client.transport.base_url, self._network, self._process, timeout_s=TIMEOUT_S
        )
        return client


class VirtualEdge(EdgeThread[Any]):
    """The edge thread as tasks of the same loop."""

    def __init__(self, open_client: Callable[[], Any], most: int = 32) -> None:
        self._open_client = open_client
        self._most = most
        self._under_way = 0
        self._home = None
        self._stop = asyncio.Event()
        self._tasks = set()
        self._is_alive = False
        thread: Any = SimpleNamespace(is_alive=lambda: self._is_alive)
        self._thread = thread

    def start(self) -> None:
        """On the loop of the engine."""
        self._home = self._loop = asyncio.get_running_loop()
        self._client = self._loop.create_future()
        self._is_alive = True
        self._serving = self._loop.create_task(self._serve())

    def close(self, timeout_s: float = 2.0) -> bool:
        """Ends the jobs."""
        self._is_alive = False
        self._stop.set()
        return True


async def _connect(call: Call) -> Any:
    process: Any = PROCESS.get()
    return await process.upgrades.connect(call)


@contextmanager
def imagined() -> Iterator[None]:
    """Sockets and threads of engines that are started inside are imagined ones."""
    defaults: Any = SupervisedSocket.__init__.__kwdefaults__
    with (
        mock.patch.dict(defaults, connect=_connect),
        mock.patch("invmm.engine.EdgeThread", VirtualEdge),
        # Of real time, where nobody else announces what is due; here everybody does.
        mock.patch("invmm.sim.session._LONGEST_SLEEP_S", 60.0),
        mock.patch("invmm.sim.windows._LONGEST_SLEEP_S", 5.0),
        mock.patch("invmm.sim.heartbeat._LONGEST_SLEEP_S", 5.0),
        mock.patch("invmm.rolling.TURN_NS", NS),
    ):
        yield


def _no_space() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


class EngineProcess(Process):
    """An engine that rolls through the windows of a venue.

    Parameters
    ----------
    name : str
    loop : VirtualLoop
    network : Network
    settings : Settings
    credentials : ApiCredentials
    key : str
        Private key, hex.
    seed : int
        Of order salts.
    series : str
        What is traded.
    folder : Path
        Its state folder; what is left in its journal is recovered. InUseError while another process runs
        from it.
    """

    def __init__(
        self,
        name: str,
        loop: VirtualLoop,
        network: Network,
        settings: Settings,
        credentials: ApiCredentials,
        key: str,
        seed: int,
        series: str,
        folder: Path,
    ) -> None:
        super().__init__(name)
        self.lock = StateFolder(folder)
        self.lock.acquire()
        self.folder = self.lock.journal
        self.thread = Process(f"{name}, executor")  # scheduled apart: it goes on while the engine is wedged
        self.upgrades = Upgrades(network, self)
        self.clock = VirtualClock(loop)
        self.loop = loop
        self.network = network
        self.settings = settings
        signer = OrderSigner(key)
        left = read_left(self.folder)
        self.journal = SessionJournal(
            self.folder, settings.state, self.clock, account=signer.address, background=False
        )
        self.venue = VirtualVenue(
            loopback(80),
            credentials,
            signer,
            self.clock,
            settings,
            network=network,
            process=self,
            thread=self.thread,
            journal=self.journal,
        )
        self.engine = Engine(
            settings, venue=self.venue, clock=self.clock, seed=seed, left=left, journal=self.journal
        )
        self.born_ns = loop.now_ns()
        self.closed: list[Market] = []  # markets that were released
        self._undecided: deque[Market] = deque()  # those of them that may not be resolved yet
        self.ids: dict[int, str] = {}  # of their orders
        self.keys: dict[bytes, int] = {}
        self.settlement = SettlementQueue(1 << 20)
        self.roller = Roller(
            self.engine,
            self.clock,
            self._find,
            Series.parse(series),
            self.settlement,
            on_close=self._closed_one,
        )
        self.stopping = asyncio.Event()
        self.main: asyncio.Task[None] | None = None

    @property
    def markets(self) -> list[Market]:
        """Every market that it ever opened."""
        return [*self.closed, *self.engine.markets.values()]

    def key_of(self, order_id: bytes) -> int | None:
        """As the engine's, also for orders of markets that were released."""
        return self.engine.key_of(order_id) or self.keys.get(order_id)

    def _closed_one(self, market: Market, residue: object) -> None:
        inbox = self.engine._inbox
        for order_id, key in () if inbox is None else inbox._keys.items():
            if market.owns(key):
                self.ids[key] = "0x" + order_id.hex()
                self.keys[order_id] = key
        self.closed.append(market)
        self._undecided.append(market)

    def start(self) -> None:
        """Runs from now on."""
        self.main = self.context.run(self.loop.create_task, self._run())

    async def _run(self) -> None:
        await self.engine.start()
        await self.roller.run(self.stopping)

    def fill_disk(self, is_full: bool) -> None:
        """No further journal file can be made, or can again."""
        for files in (self.journal._inputs, self.journal._intents):
            if is_full:
                any_files: Any = files
                any_files._make = _no_space
            else:
                vars(files).pop("_make", None)

    def tend(self) -> None:
        """What its background threads would do now."""
        if self.is_alive and not self.is_stopped:
            self.journal.tend()
            self._settle()

    def _settle(self) -> None:
        """Shares of resolved markets are dollars again, as whoever settles tells the engine."""
        while self._undecided:
            info = self._undecided[0].info
            known = self.network.server.windows.find(info.slug)
            if known is None or not known.is_resolved or known.market.winner is None:
                return
            self.engine.risk.resolved(info.condition_id or info.slug, known.market.winner)
            self._undecided.popleft()

    def _find(self, window: Window) -> Found:
        """What discovery would say."""
        known = self.network.server.windows.find(window.slug)
        if known is None or (known.session is None and not known.is_resolved):
            return Found(window, None, (Refusal(RefusalKind.NOT_LISTED, "not listed yet"),))
        winner = known.market.winner if known.is_resolved else None
        return Found(window, known.market, winner="" if winner is None else winner.name.capitalize())

    def wedge(self) -> None:
        """The engine's loop does not run any more, until `go_on`; the executor's thread does."""
        super().stop()

    def stop(self) -> None:
        """SIGSTOP."""
        super().stop()
        self.thread.stop()

    def go_on(self, loop: VirtualLoop) -> None:
        """SIGCONT, or the end of `wedge`."""
        super().go_on(loop)
        self.thread.go_on(loop)

    def kill(self) -> None:
        """SIGKILL: its connections are reset, nothing of it runs again, its lock is free."""
        super().kill()
        self.thread.kill()
        self.lock.release()
        for peer in [
            peer
            for channel in (self.network.server.market_channel, self.network.server.user_channel)
            for peer in channel.connections
            if getattr(peer, "_context", None) is self.context
        ]:
            peer_: Any = peer
            peer_.hang_up()
        executor: Any = self.venue.executor
        if executor._look in self.loop.polled:
            self.loop.polled.remove(executor._look)
