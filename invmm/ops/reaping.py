"""What the reaper sees and does: one look at the engine's sign of life, one round of cancelling.

It acts when the engine's process is gone, when the engine is silent, or when its heartbeats fail: cancel-all,
a listing, again until two listings in a row are empty, whatever the network does. For ten minutes more it
lists what is open, since an order may arrive late.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from invmm.errors import ConfigError, DataError, InvmmError, VenueError
from invmm.execution import kill
from invmm.execution.beat import Beat, BeatReader, Life, State, life_of
from invmm.execution.state import StateFolder
from invmm.ops.cancel_all import Outcome, cancel_and_verify
from invmm.venue.client import VenueClient

LOOK_S = 0.1
SILENCE_NS: Final = 5_000_000_000
"""Of a reaper: after that `--live` does not count on it."""
ROUND_S = 2.0
SETTLE_S = 0.5
SICK_NS = 1_000_000_000
"""So long heartbeats must have failed twice in a row; that takes up to ten seconds itself."""
PAUSE_S = (0.5, 2.0)
REFUSED_PAUSE_S = (5.0, 15.0)
"""Between two rounds when the venue refuses the credentials: no repetition cures that, a person does."""
ALARM_AGAIN_S = 300.0
LIST_AGAIN_S, LIST_FOR_S = 5.0, 600.0
"""After the proof: orders that arrive late are looked for. None is signed to live longer than that."""
IN_DANGER: Final = (Life.GONE, Life.SILENT, Life.SICK)

Tell = Callable[..., object]


class Reaper:
    """Watches one state folder and cancels for one account.

    Parameters
    ----------
    client : VenueClient
        With credentials, without a signer.
    state : StateFolder
        Of the engine.
    silence_ns : int
        Longest time between two signs of life.
    tell : callable(event, text, **facts)
        Told what happens, in words and as data. The event "alarm" is for people.
    settle_s : float
        Time between the two empty listings.
    """

    def __init__(
        self, client: VenueClient, state: StateFolder, silence_ns: int, tell: Tell, settle_s: float = SETTLE_S
    ) -> None:
        self.life = Life.ABSENT
        self.why = ""
        self.is_verified = True
        """Nothing is to be cancelled, or it is proven that nothing is open."""
        self._client = client
        self._state = state
        self._silence_ns = silence_ns
        self.tell = tell
        self._settle_s = settle_s
        self._reader = BeatReader(state.beat)
        self._odd_ns: int | None = None  # since when the beat is odd: unreadable, or sick
        self._proven_s = self._listed_s = self._alarmed_s = -math.inf

    def look(self, now_ns: int) -> Life:
        """What has become of the engine; `now_ns` is CLOCK_MONOTONIC."""
        beat: Beat | None = None
        try:
            beat = self._reader.read()
            life, why = life_of(beat, now_ns, self._silence_ns)
        except DataError as error:
            life, why = Life.SILENT, str(error)
        # A heartbeat may fail, a file may be looked at while it is exchanged: only what lasts counts.
        if life is Life.SICK or (life is Life.SILENT and beat is None):
            self._odd_ns = now_ns if self._odd_ns is None else self._odd_ns
            if now_ns - self._odd_ns < (SICK_NS if life is Life.SICK else self._silence_ns):
                life = Life.ALIVE
        else:
            self._odd_ns = None
        if life is not self.life:
            self.tell("engine", f"engine: {why}", life=life.name.lower())
            if life in IN_DANGER and self.life not in IN_DANGER:
                self.is_verified = False
                self.tell("alarm", f"cancelling everything: {why}", life=life.name.lower())
            if life is Life.SILENT:
                # Not here: a dead disk, or a stopped engine that holds the file's lock, must not keep us.
                threading.Thread(target=self._latch, args=(why,), daemon=True).start()
        self.life, self.why = life, why
        return life

    @property
    def is_doubtful(self) -> bool:
        """Whether what was seen last counts as life only because it has not lasted."""
        return self._odd_ns is not None

    def _latch(self, why: str) -> None:
        try:
            kill.latch(self._state.kill, kill.KillLevel.CANCEL_ALL, why, "reaper")
            self.tell("kill", "kill switch set to level 2: the engine does not quote on when it wakes up")
        except ConfigError as error:  # cancelling is what counts, and needs no disk
            self.tell("alarm", f"the kill switch could not be set: {error}")

    async def run(self, stop: asyncio.Event) -> None:
        """Watches until told to stop."""
        while not stop.is_set():
            life, now_s = self.look(time.monotonic_ns()), time.monotonic()
            if not self.is_verified:  # also when the engine has come back: what was begun is ended
                await until(stop, self.cancel(ROUND_S))
            elif life in IN_DANGER and now_s - self._listed_s >= LIST_AGAIN_S:
                self._listed_s = now_s
                if now_s - self._proven_s < LIST_FOR_S:
                    with contextlib.suppress(VenueError):  # told by who proves the credentials
                        await until(stop, self.prove())
            await pause(stop, LOOK_S)

    async def cancel(self, timeout_s: float) -> Outcome:
        """One round: cancels and lists until two listings are empty or time is up; then a pause if it must
        be done again.
        """
        done = await cancel_and_verify(self._client, timeout_s=timeout_s, settle_s=self._settle_s)
        if done.cancelled:
            self.tell("cancelled", f"{len(done.cancelled)} orders cancelled", orders=done.cancelled)
        self.is_verified = done.is_verified
        if done.is_verified:
            self._proven_s = self._listed_s = time.monotonic()
            self._alarmed_s = -math.inf
            self.tell("verified", "verified: no open order")
            return done
        is_alarm = time.monotonic() - self._alarmed_s >= ALARM_AGAIN_S
        if is_alarm:
            self._alarmed_s = time.monotonic()
        text = f"NOT verified, trying on: {done.error}"
        self.tell("alarm" if is_alarm else "error", text, open=len(done.still_open))
        await asyncio.sleep(random.uniform(*(REFUSED_PAUSE_S if done.is_refused else PAUSE_S)))
        return done

    async def prove(self) -> bool:
        """Whether the venue lists open orders for these credentials; VenueError when it refuses them. Orders
        of an engine that is away are to be cancelled.
        """
        try:
            if await self._client.open_orders() and self.life in IN_DANGER:
                self.is_verified = False
        except VenueError as error:
            if error.status in (400, 401, 403):
                raise
            self.tell("error", f"open orders could not be listed: {error}")
            return False
        except InvmmError as error:
            self.tell("error", f"open orders could not be listed: {error}")
            return False
        return True


def why_unwatched(state: StateFolder, account: str, venue: str = "") -> str:
    """Why `--live` may not count on a reaper for this folder and account; "" when one watches over them.
    `venue`: options that name it, for the command in the text.
    """
    start = f"start one with the API credentials alone: invmm reaper --state {state.path}{venue}"
    try:
        beat = BeatReader(state.reaper).read()
    except DataError as error:
        return f"the reaper's sign of life cannot be read ({error}); {start}"
    if beat is None:
        return f"no reaper watches over {state.path}; {start}"
    life, why = life_of(beat, time.monotonic_ns(), SILENCE_NS)
    if life is not Life.ALIVE:
        return f"the reaper of {state.path} does not run ({why}); {start}"
    if beat.account.lower() != account.lower():
        return f"the reaper of {state.path} watches over {beat.account}, expected {account}; {start}"
    if beat.state is not State.RUNNING:
        return f"the reaper of {state.path} has not reached the venue yet, or was refused: see what it says"
    return ""


async def until(stop: asyncio.Event, work: Any) -> Any:
    """The work's result; None when it was stopped first."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task.done():
        return task.result()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return None


async def pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
