"""Signs of life inside the process: the executor watches the engine, the engine watches the executor.

An engine that gives none does not look after its orders: its executor stops sending and cancels. An executor
that gives none carries no cancels: the engine asks the venue itself. Whoever stands still, the heartbeats to
the venue end, for they need both.
"""

from __future__ import annotations

import enum

from invmm._ext.words import BEAT_LIMIT_NS, SharedWords

MS = 1_000_000
PAUSE_FIRST_NS = 1_000 * MS
PAUSE_MAX_NS = 30_000 * MS
ABOUT_TO_CANCEL = 2  # heartbeats missed in a row


class Repeat:
    """When something that may fail is done again: at once, after 1 s, 2 s … 30 s. CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        self._due_ns = 0
        self._pause_ns = PAUSE_FIRST_NS

    def begin(self, now_ns: int) -> None:
        """From now on, at once first."""
        self._due_ns, self._pause_ns = now_ns, PAUSE_FIRST_NS

    def is_due(self, now_ns: int) -> bool:
        """True when it is to be done now; it counts as done then."""
        if now_ns < self._due_ns:
            return False
        self._due_ns = now_ns + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, PAUSE_MAX_NS)
        return True


class EngineWatch:
    """Watches the engine's beat; belongs to the executor thread. Times are CLOCK_MONOTONIC.

    Parameters
    ----------
    words : SharedWords
        Where the engine publishes its beat.
    """

    def __init__(self, words: SharedWords) -> None:
        self.is_abandoned = False
        """The engine had given signs of life and fell silent: nothing new may be placed."""
        self._words = words
        self._repeat = Repeat()

    def lives(self, now_ns: int) -> bool:
        """A sign of life lately; False also for an engine that never gave one."""
        beat_ns = self._words.beat_ns
        return beat_ns > 0 and now_ns - beat_ns <= BEAT_LIMIT_NS

    def tick(self, now_ns: int) -> bool:
        """True when all orders are to be cancelled now.

        Again and again while the silence lasts, after 1 s, 2 s … 30 s: a cancel may fail, and an order may
        reach the book after it.
        """
        if not self._words.beat_ns or self.lives(now_ns):
            self.is_abandoned = False
            return False
        if not self.is_abandoned:
            self.is_abandoned = True
            self._repeat.begin(now_ns)
        return self._repeat.is_due(now_ns)


class Concern(enum.Enum):
    """What the engine learns about its connection to the venue; the value is said to people."""

    STOOD_STILL = "the engine stood still: quotes pulled until what it missed is known"
    ABOUT_TO_CANCEL = (
        "heartbeats fail: the venue may cancel everything; until it says so, all counts as alive"
    )
    HEARTBEATS_BACK = "heartbeats go on: what the venue has cancelled meanwhile is asked for"
    EXECUTOR_SILENT = "the executor gives no sign of life: the venue is asked to cancel everything"


class ExecutorWatch:
    """Watches the executor, and the engine's own clock; belongs to the engine thread. CLOCK_MONOTONIC.

    Parameters
    ----------
    words : SharedWords
        Where the executor publishes its beat and the heartbeats that it missed.
    """

    def __init__(self, words: SharedWords) -> None:
        self._words = words
        self._looked_ns = 0
        self._is_sick = False
        self._is_silent = False
        self._repeat = Repeat()

    def look(self, now_ns: int) -> list[Concern]:
        """What is new since the last look; EXECUTOR_SILENT again whenever cancelling is to be repeated."""
        found = []
        if self._looked_ns and now_ns - self._looked_ns > BEAT_LIMIT_NS:
            found.append(Concern.STOOD_STILL)
        self._looked_ns = now_ns
        is_sick = self._words.missed_heartbeats >= ABOUT_TO_CANCEL
        if is_sick != self._is_sick and (is_sick or self._words.heartbeat_ok):
            self._is_sick = is_sick
            found.append(Concern.ABOUT_TO_CANCEL if is_sick else Concern.HEARTBEATS_BACK)
        beat_ns = self._words.executor_beat_ns
        is_silent = beat_ns > 0 and now_ns - beat_ns > BEAT_LIMIT_NS
        if Concern.STOOD_STILL in found:  # it may have stood still with us: the next look tells
            is_silent = False
        if is_silent and not self._is_silent:
            self._repeat.begin(now_ns)
        self._is_silent = is_silent
        if is_silent and self._repeat.is_due(now_ns):
            found.append(Concern.EXECUTOR_SILENT)
        return found
