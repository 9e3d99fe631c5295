"""One supervised websocket: connect, keep alive, notice when it is dead, replace it.

The market and the user feed are this with their own subscription and their own idea of being live. Everything
here runs on the event loop it was started on and off the message path: frames go from the compiled listener
straight to the sink.

All durations are engine time, so a compressed run keeps its proportions. Connecting and waiting for PONG
depend on the machine and the network, which no factor speeds up: those two also get a floor in real time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields

from invmm._ext.sink import FrameSink
from invmm.clock import LiveClock
from invmm.errors import ConfigError
from invmm.feed.backoff import FullJitter, ReconnectBudget
from invmm.feed.dial import Call, Connect, Connection, UpgradeError, dial
from invmm.feed.states import EndCause, FeedState

NS = 1_000_000_000
REAL_TIME_FLOOR_S = 1.0  # for what waits on the network: see above

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeedSettings:
    """Durations in seconds of engine time, sizes in bytes. Defaults keep a margin to the venue's limits."""

    keep_alive_s: float = 5.0  # the venue drops a client that is silent for about 10 s
    pong_deadline_s: float = 5.0
    connect_deadline_s: float = 5.0
    first_event_s: float = 5.0
    redrives: int = 3
    silence_s: float = 3.0
    silence_cap_s: float = 10.0  # what the learnt limit of silence may grow to
    backoff_base_s: float = 0.25
    backoff_cap_s: float = 10.0
    proven_s: float = 10.0  # live for so long: the next failure is a first one
    max_tokens: int = 200  # the venue goes mute somewhere above
    custom_features: bool = True
    join_bytes: int = 1 << 20
    read_buffer_bytes: int = 1 << 18
    max_frame_bytes: int = 4 << 20

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name not in ("redrives", "custom_features") and not value > 0:
                raise ConfigError(f"{item.name}: expected above 0, found {value!r}")
        if (
            self.redrives < 0
            or self.backoff_base_s > self.backoff_cap_s
            or self.silence_s > self.silence_cap_s
        ):
            raise ConfigError(
                "expected redrives >= 0, backoff_base_s <= backoff_cap_s, silence_s <= silence_cap_s, found "
                f"{self.redrives}, {self.backoff_base_s} and {self.backoff_cap_s}, "
                f"{self.silence_s} and {self.silence_cap_s}"
            )


@dataclass
class FeedStats:
    """Counters over all connections of a feed, for the live view."""

    connections: int = 0  # handshakes completed
    reconnects: int = 0  # of those, after the first
    frames: int = 0
    bytes: int = 0
    messages: int = 0
    joined: int = 0
    binary: int = 0
    pings: int = 0
    pongs: int = 0
    late: int = 0
    round_trip_ns: int = 0  # of the last PING, real time; 0 if unknown
    data_age_ns: int | None = None  # engine time since the last message; None if there was none
    ends: Counter[EndCause] = field(default_factory=Counter)

    def add(self, other: FeedStats) -> None:
        """Counts those of another feed as well; age and round trip stay."""
        for name in ("connections", "reconnects", *_COUNTED):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.ends += other.ends


_COUNTED = ("frames", "bytes", "messages", "joined", "binary", "pings", "pongs", "late")


class SupervisedSocket(ABC):
    """Keeps one connection up. Subclasses say what to send after connecting and when it is live.

    Parameters
    ----------
    url : str
        `ws://` or `wss://`.
    sink : FrameSink
        Gets messages, the end of each buffer, and each loss of the connection before anything else happens.
    clock : LiveClock
        Engine time.
    settings : FeedSettings, optional
    budget : ReconnectBudget, optional
        Share one between the feeds of a process.
    on_state : callable(feed, state, cause), optional
        Told of every change of `state` on the event loop; must not raise.
    ssl_context : ssl.SSLContext, optional
        For `wss`; the system's trust store otherwise.
    draw : callable, optional
        Random numbers in [0, 1) for the jitter.
    connect : Connect, optional
        Opens connections; a real socket by default.
    """

    name = "socket"

    def __init__(
        self,
        url: str,
        sink: FrameSink,
        clock: LiveClock,
        settings: FeedSettings | None = None,
        *,
        budget: ReconnectBudget | None = None,
        on_state: Callable[[SupervisedSocket, FeedState, EndCause], None] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        draw: Callable[[], float] = random.random,
        connect: Connect = dial,
    ) -> None:
        if not url.startswith(("ws://", "wss://")):
            raise ConfigError(f"{self.name} feed: expected a ws:// or wss:// address, found {url!r}")
        self.url = url
        self.sink = sink
        self.clock = clock
        self.settings = settings or FeedSettings()
        self.state = FeedState.IDLE
        self.cause = EndCause.NONE  # why the last connection ended
        self.last_error: str | None = None
        self._ssl_context = ssl_context
        self._backoff = FullJitter(
            self.settings.backoff_base_s, self.settings.backoff_cap_s, budget or ReconnectBudget(), draw
        )
        self._on_state = on_state
        self._connect = connect
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._listener: Connection | None = None
        self._totals = FeedStats()
        self._last_message_ns = 0

    # Life.

    def start(self) -> None:
        """Starts on the running loop; returns at once."""
        if self._task is not None:
            raise RuntimeError(f"{self.name} feed was started before")
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"invmm {self.name} feed")

    async def close(self) -> None:
        """Ends the connection (the sink is told) and returns when everything has stopped. May be repeated."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            if self.state is FeedState.CONNECTING:
                self._task.cancel()  # a handshake may take seconds
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def wait_stopped(self) -> FeedState:
        """Returns when the feed has stopped for good, with REFUSED, FAILED or CLOSED."""
        if self._task is None:
            raise RuntimeError(f"{self.name} feed was not started")
        await asyncio.shield(self._task)
        return self.state

    @property
    def is_live(self) -> bool:
        """Whether what was delivered may be traded on."""
        return self.state is FeedState.LIVE

    @property
    def is_connected(self) -> bool:
        return self._listener is not None and self._listener.is_open

    def stats(self) -> FeedStats:
        """A copy of the counters as of now."""
        now = FeedStats(**{item.name: getattr(self._totals, item.name) for item in fields(FeedStats)})
        now.ends = Counter(self._totals.ends)
        last_ns = self._last_message_ns
        if self._listener is not None:
            self._fold(now, self._listener)
            last_ns = max(last_ns, self._listener.last_message_ns)
        now.reconnects = max(0, now.connections - 1)
        now.data_age_ns = self.clock.now_ns() - last_ns if last_ns else None
        return now

    # What the subclasses say.

    def _wants_connection(self) -> bool:
        return True

    @abstractmethod
    def _opened(self, listener: Connection, now_ns: int) -> None:
        """Subscribes."""

    @abstractmethod
    def _check(self, listener: Connection, now_ns: int) -> EndCause:
        """Looks after the connection; sets SUBSCRIBING, LIVE or SILENT; NONE unless it must be replaced."""

    def _ping(self, listener: Connection) -> None:
        """Keeps the connection alive; the venue's PONG is awaited if this is its text PING."""
        listener.ping()

    def _due_ns(self, now_ns: int) -> int | None:
        """When `_check` wants to be called at the latest."""
        return None

    # The loop.

    async def _run(self) -> None:
        delay_ns = self._backoff.first_ns(self.clock.now_ns())
        try:
            while not self._closing:
                if not self._wants_connection():
                    self._set_state(FeedState.IDLE)
                    await self._sleep_until(None)
                    continue
                if not await self._pause(delay_ns):
                    break
                delay_ns = await self._attempt()
                if self.state is FeedState.REFUSED:
                    return
            self._set_state(FeedState.CLOSED)
        except asyncio.CancelledError:
            self._set_state(FeedState.CLOSED)
            raise
        except Exception as error:
            # An error of our own must not leave a feed that looks alive.
            logger.exception("%s feed failed", self.name)
            self.last_error = repr(error)
            self._set_state(FeedState.FAILED)
        finally:
            self._drop(EndCause.CLOSED)

    async def _pause(self, delay_ns: int) -> bool:
        """Waits before an attempt; False when the feed was closed meanwhile."""
        until_ns = self.clock.now_ns() + delay_ns
        if delay_ns > 0:
            self._set_state(FeedState.BACKING_OFF)
        while not self._closing and self.clock.now_ns() < until_ns:
            await self._sleep_until(until_ns)
        return not self._closing

    async def _attempt(self) -> int:
        """One connection from handshake to end; returns the delay before the next, in ns."""
        settings = self.settings
        self._set_state(FeedState.CONNECTING)
        retry_after_ns = 0
        try:
            listener = await self._connect(
                Call(
                    self.url,
                    self.sink,
                    self.clock,
                    self._wake.set,
                    settings,
                    self._network_s(settings.connect_deadline_s),
                    self._ssl_context,
                )
            )
        except UpgradeError as error:
            self.last_error = str(error)
            if error.status in (401, 403):
                self._ended(EndCause.REFUSED)
                logger.error("%s feed: %s; stopped, retrying would not help", self.name, self.last_error)
                self._set_state(FeedState.REFUSED)
                return 0
            retry_after_ns = error.retry_after_ns
            self._ended(EndCause.CONNECT)
        except (TimeoutError, OSError) as error:
            self.last_error = f"{type(error).__name__}: {error}"
            self._ended(EndCause.CONNECT)
        else:
            if listener.is_open:
                await self._serve(listener)
            else:
                self.last_error = "connection lost during the handshake"
                self._ended(EndCause(listener.end_cause) or EndCause.CONNECT)
        return self._backoff.next_ns(self.clock.now_ns(), retry_after_ns)

    async def _serve(self, listener: Connection) -> None:
        self._totals.connections += 1
        self._listener = listener
        now_ns = self.clock.now_ns()
        live_ns: int | None = None
        next_ping_ns = now_ns
        keep_alive_ns = round(self.settings.keep_alive_s * NS)
        pong_ns = round(self._network_s(self.settings.pong_deadline_s) * self.clock.scale * NS)
        self._set_state(FeedState.SUBSCRIBING)
        self._opened(listener, now_ns)
        while listener.is_open and not self._closing and self._wants_connection():
            now_ns = self.clock.now_ns()
            if listener.ping_ns and now_ns - listener.ping_ns >= pong_ns:
                listener.end(EndCause.PONG_TIMEOUT)
                break
            if now_ns >= next_ping_ns:
                self._ping(listener)  # at once for the first: it gives the round trip
                next_ping_ns = now_ns + keep_alive_ns
            cause = self._check(listener, now_ns)
            if cause is not EndCause.NONE:
                listener.end(cause)
                break
            if self.state is not FeedState.LIVE:
                live_ns = None
            elif live_ns is None:
                live_ns = now_ns
            elif now_ns - live_ns >= self.settings.proven_s * NS:
                self._backoff.reset()
            due_ns = [next_ping_ns]
            if listener.ping_ns:
                due_ns.append(listener.ping_ns + pong_ns)
            check_ns = self._due_ns(now_ns)
            if check_ns is not None:
                due_ns.append(check_ns)
            await self._sleep_until(min(due_ns))
        self._drop(EndCause.CLOSED)

    def _drop(self, cause: EndCause) -> None:
        """Ends the current connection if there is one; `cause` counts unless it has ended already."""
        listener = self._listener
        if listener is None:
            return
        listener.end(cause)
        self._listener = None
        self._fold(self._totals, listener)
        self._last_message_ns = max(self._last_message_ns, listener.last_message_ns)
        if listener.last_error is not None:
            self.last_error = repr(listener.last_error)
        self._ended(EndCause(listener.end_cause))

    def _ended(self, cause: EndCause) -> None:
        self.cause = cause
        self._totals.ends[cause] += 1
        if cause not in (EndCause.CLOSED, EndCause.REFUSED):
            logger.warning("%s feed: connection ended (%s)", self.name, cause.name)

    def _set_state(self, state: FeedState) -> None:
        if state is not self.state:
            self.state = state
            if self._on_state is not None:
                self._on_state(self, state, self.cause)

    async def _sleep_until(self, until_ns: int | None) -> None:
        """Waits for engine time `until_ns` or to be woken."""
        timeout_s = None if until_ns is None else self.clock.wall_s(until_ns - self.clock.now_ns())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        self._wake.clear()

    def _network_s(self, engine_s: float) -> float:
        """Real seconds for something that waits on the network."""
        return max(engine_s / self.clock.scale, min(engine_s, REAL_TIME_FLOOR_S))

    @staticmethod
    def _fold(stats: FeedStats, listener: Connection) -> None:
        for name in _COUNTED:
            setattr(stats, name, getattr(stats, name) + getattr(listener, name))
        stats.round_trip_ns = listener.round_trip_ns or stats.round_trip_ns
