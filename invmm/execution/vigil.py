"""The engine's sign of life, and what it does when it or its executor stood still.

Called by the engine's timer, so whatever holds up the loop holds up the beat: the executor stops sending and
cancels (`watch.EngineWatch`), the heartbeats to the venue end, the reaper sees the file fall silent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from invmm._ext.words import BEAT_LIMIT_NS, SharedWords
from invmm.clock import LiveClock
from invmm.errors import InvmmError
from invmm.execution.beat import BeatWriter, State
from invmm.execution.watch import Concern, ExecutorWatch
from invmm.permission import AlarmKind, Permission

if TYPE_CHECKING:
    from invmm.engine import Engine
    from invmm.execution.connected import ConnectedVenue


class Vigil:
    """Beats, and looks after the executor. Engine thread; times are CLOCK_MONOTONIC.

    Parameters
    ----------
    words : SharedWords
        Where the beat goes and the executor's comes from.
    permission : Permission
        Paused or alarmed when something stood still.
    cancel_all : callable
        Asks the venue, without the executor, to cancel everything.
    clock : LiveClock
        The engine's.
    demand : callable, optional
        Has the venue asked for everything that may have been missed; quotes come back after that. None: own
        events do not travel, so that none can be missed.
    beat : BeatWriter, optional
        For other processes.
    """

    def __init__(
        self,
        words: SharedWords,
        permission: Permission,
        cancel_all: Callable[[], Awaitable[object]],
        clock: LiveClock,
        demand: Callable[[], object] | None = None,
        beat: BeatWriter | None = None,
    ) -> None:
        self.beat = beat
        self._clock = clock
        self._counts_ns = int(BEAT_LIMIT_NS * clock.scale)  # engine time
        self._words = words
        self._permission = permission
        self._demand = demand
        self._cancel_all = cancel_all
        self._watch = ExecutorWatch(words)
        self._cancelling: asyncio.Task[None] | None = None
        if beat is not None:
            beat.state = State.RUNNING

    @classmethod
    def of(cls, engine: Engine, venue: ConnectedVenue, demand: Callable[[], object]) -> Vigil:
        """That of an engine that is being started; `demand` counts where own events travel."""
        assert engine.clock is not None
        beat = None if engine.state is None else BeatWriter(engine.state.beat, venue.account)
        asks = demand if venue.user_url else None
        return cls(venue.words, engine.permission, venue.cancel_all, engine.clock, asks, beat)

    def tick(self, now_ns: int, open_orders: int) -> None:
        """One turn of the engine's loop. The beat comes last: until then the gate counts us as silent."""
        for concern in self._watch.look(now_ns):
            if concern is Concern.EXECUTOR_SILENT:
                self._permission.alarm(concern.value, AlarmKind.EXECUTOR)
                if self._cancelling is None or self._cancelling.done():
                    self._cancelling = asyncio.get_running_loop().create_task(self._cancel())
                continue
            self._permission.pause(concern.value)
            if self._demand is None:
                self._permission.reconciled(0)
            elif concern is not Concern.ABOUT_TO_CANCEL:  # then asking waits until heartbeats go on
                self._demand()
        self._words.beat_ns = now_ns
        self._words.engine_until_ns = self._clock.at_ns(now_ns) + self._counts_ns
        if self.beat is not None:
            self.beat.beat(now_ns, open_orders, self._words.missed_heartbeats)

    def stopping(self) -> None:
        """Quotes are being pulled for good; the silence that follows is meant."""
        if self.beat is not None:
            self.beat.state = State.STOPPING

    def ended(self, verified: bool) -> None:
        """The end; `verified`: the venue has confirmed that nothing is open."""
        if self.beat is not None:
            self.beat.state = State.ENDED if verified else State.ENDED_UNVERIFIED

    async def _cancel(self) -> None:
        try:
            await self._cancel_all()
            self._permission.say("the venue has taken a cancel of everything, without the executor")
        except InvmmError as error:
            self._permission.say(f"the venue did not take a cancel of everything: {error}")
