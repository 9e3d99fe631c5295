"""Whether the engine still gives signs of life. One that does not does not look after its orders."""

from __future__ import annotations

from invmm._ext.words import SharedWords

MS = 1_000_000
BEAT_LIMIT_NS = 3_000 * MS  # silence of an engine that had given signs of life; then everything is cancelled
PAUSE_FIRST_NS = 1_000 * MS
PAUSE_MAX_NS = 30_000 * MS


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
        self._cancel_ns = 0
        self._pause_ns = PAUSE_FIRST_NS

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
            self._cancel_ns, self._pause_ns = now_ns, PAUSE_FIRST_NS
        if now_ns < self._cancel_ns:
            return False
        self._cancel_ns = now_ns + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, PAUSE_MAX_NS)
        return True
