"""An imagined machine: an event loop whose time is a number, and processes on it that can stop and die.

Time does not pass by itself. The loop runs what is ready, and when nothing is it moves its clock to the next
timer; so an hour lasts as long as its events take, and the same events happen in the same order every time.

Whatever a process schedules carries the process in its context: a killed one never runs again, not even its
`finally` clauses, and a stopped one runs what has piled up once it goes on, as after SIGSTOP and SIGCONT.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar, TypeVarTuple, Unpack

from invmm.clock import NS, LiveClock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Process:
    """One process of the machine. `context` is what its first call is made in."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = True
        self.is_stopped = False
        self._held: deque[Any] = deque()
        self.context: Context = copy_context()
        self.context.run(PROCESS.set, self)

    def hold(self, handle: Any) -> None:
        """Something of it was to run while it does not."""
        self._held.append(handle)

    def kill(self) -> None:
        """SIGKILL."""
        self.is_alive = False

    def stop(self) -> None:
        """SIGSTOP."""
        self.is_stopped = True

    def go_on(self, loop: VirtualLoop) -> None:
        """SIGCONT; of a killed one: the world is over, and its tasks may unwind."""
        self.is_alive, self.is_stopped = True, False
        loop._ready.extend(self._held)
        self._held.clear()


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)
"""Whose code runs; None: the world's."""


class Asleep(RuntimeError):
    """Nothing is scheduled any more: an awaited thing can never happen."""


class Busy(RuntimeError):
    """Time does not pass any more: somebody does things at once, for ever."""


ROUNDS_MAX = 20_000  # of the loop at one instant


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop on virtual time, in one thread, without a selector.

    Parameters
    ----------
    start_ns : int
        Unix nanoseconds at which it begins; `time` counts from 0.
    """

    _ready: deque[Any]
    _scheduled: list[Any]  # heap of (when, number, handle): tuples compare without Python's help

    def __init__(self, start_ns: int) -> None:
        super().__init__()
        self._start_ns = start_ns
        self._now_s = 0.0
        self._rounds = 0  # since time last passed
        self._timers = 0
        self._clock_resolution = 1e-9
        self.polled: list[Callable[[], object]] = []
        """Called before each round: whoever looks at something that nobody announces."""
        self._readers: dict[int, tuple[Callable[..., object], tuple[object, ...], Context]] = {}

    def time(self) -> float:
        """Seconds since the start."""
        return self._now_s

    def now_ns(self) -> int:
        """Unix nanoseconds."""
        return self._start_ns + int(self._now_s * NS)

    def call_in_ns(
        self, delay_ns: int, call: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """`call_later` in nanoseconds."""
        return self.call_at(self._now_s + delay_ns / NS, call, *args, context=context)

    get_debug = bool  # False, without a frame: every handle asks

    # As of `BaseEventLoop`, without what it checks for those who call it from elsewhere.

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """In so many seconds."""
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """At a time of this loop; at equal times whoever came first."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._timers += 1
        heapq.heappush(self._scheduled, (when, self._timers, timer))
        return timer

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """In the next round."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        return None  # its turn will come, and pass

    def _run_once(self) -> None:
        for look in self.polled:
            look()
        ready, scheduled = self._ready, self._scheduled
        while scheduled and scheduled[0][2]._cancelled:
            heapq.heappop(scheduled)
        if not ready:
            if not scheduled:
                raise Asleep("nothing is scheduled")
            if scheduled[0][0] > self._now_s:
                self._now_s = scheduled[0][0]
                self._rounds = 0
        self._rounds += 1
        if self._rounds > ROUNDS_MAX:
            raise Busy(f"time stands still at {self._now_s:.6f} s")
        end_s = self._now_s + self._clock_resolution
        while scheduled and scheduled[0][0] <= end_s:
            ready.append(heapq.heappop(scheduled)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)
            if process is None or (process.is_alive and not process.is_stopped):
                handle._run()
            else:
                process.hold(handle)

    # What a selector, threads and signals would do.

    def _write_to_self(self) -> None:
        return None

    def add_reader(self, fd: Any, callback: Callable[[Unpack[Ts]], Any], *args: *Ts) -> None:
        """Remembers whom `wake_reader` calls; the system is not asked."""
        self._readers[int(fd)] = (callback, args, copy_context())

    def remove_reader(self, fd: Any) -> bool:
        """Forgets one."""
        return self._readers.pop(int(fd), None) is not None

    def wake_reader(self, fd: int) -> None:
        """Something can be read at `fd`."""
        if fd in self._readers:
            callback, args, context = self._readers[fd]
            self.call_soon(callback, *args, context=context)

    def run_in_executor(
        self, executor: Any, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Runs it at once: virtual time does not pass while a function blocks."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    def add_signal_handler(self, sig: int, callback: Callable[[Unpack[Ts]], object], *args: *Ts) -> None:
        """Signals are what a world decides."""


class VirtualClock(LiveClock):
    """The engine clock of a virtual machine: unix time and CLOCK_MONOTONIC are one."""

    __slots__ = ("_loop",)

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__(1.0, 0, 0)
        self._loop = loop

    def mono_ns(self) -> int:
        """As `now_ns`."""
        return self._loop.now_ns()


class VenueClock:
    """`TapeClock` of a venue on a virtual machine."""

    speed = 1.0

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now_ns(self) -> int:
        """The venue's time."""
        return self._loop.now_ns()

    def wall_s(self, tape_ns: int) -> float:
        """Seconds until then."""
        return (tape_ns - self._loop.now_ns()) / NS
