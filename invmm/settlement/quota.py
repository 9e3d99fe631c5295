"""How many submits a relayer may still be given: so many a minute, so many a day."""

from __future__ import annotations

from collections import deque
from typing import Final

MINUTE_S: Final = 60.0
DAY_S: Final = 86_400.0


class Quota:
    """Counts submits over the last minute and the last 24 hours, and says when the next may go.

    Once half of the day's are used, the rest are spread: one per `day / daily`, a pace that never ends.
    Jobs gather meanwhile and go together.

    Parameters
    ----------
    per_minute, per_day : int
        1 or more of each.

    Examples
    --------
    >>> quota = Quota(per_minute=2, per_day=100)
    >>> for at_s in (0.0, 1.0):
    ...     quota.use(at_s)
    >>> quota.wait_s(10.0)
    50.0
    """

    def __init__(self, per_minute: int, per_day: int) -> None:
        self._per_minute = per_minute
        self._per_day = per_day
        self._used: deque[float] = deque()

    def use(self, at_s: float) -> None:
        """Counts one that was given at this time, in unix seconds, whatever became of it."""
        self._used.append(at_s)

    def used(self, now_s: float) -> int:
        """Of the last 24 hours."""
        while self._used and self._used[0] <= now_s - DAY_S:
            self._used.popleft()
        return len(self._used)

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next may be given; 0 for now."""
        used = self.used(now_s)
        until = now_s
        if used >= self._per_day:
            until = max(until, self._used[used - self._per_day] + DAY_S)
        elif 2 * used > self._per_day:
            until = max(until, self._used[-1] + DAY_S / self._per_day)
        if used >= self._per_minute:
            until = max(until, self._used[used - self._per_minute] + MINUTE_S)
        return until - now_s
