"""How long to wait before the next connection attempt: full jitter, under a budget that all feeds share.

Full jitter (a uniform draw between nothing and an exponentially growing bound) spreads reconnects best; see
Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. The budget bounds what all feeds of a
process attempt together, since the venue answers reconnect storms with 429. Pure: time and randomness come
from outside. Engine time throughout.
"""

from __future__ import annotations

from collections.abc import Callable

from invmm.errors import ConfigError

NS = 1_000_000_000


class ReconnectBudget:
    """Attempts allowed to all who share it: `burst` at once, `per_s` per engine second in the long run.

    Whoever asks gets a place in the queue, never a refusal. In any window of T seconds at most burst + T ·
    per_s attempts start.
    """

    __slots__ = ("_allowance_ns", "_full_at_ns", "_interval_ns")

    def __init__(self, burst: int = 20, per_s: float = 0.2) -> None:
        if burst < 1 or not 0 < per_s <= 1_000_000:
            raise ConfigError(
                f"reconnect budget: expected burst >= 1 and per_s above 0, found {burst} and {per_s!r}"
            )
        self._interval_ns = round(NS / per_s)
        self._allowance_ns = (burst - 1) * self._interval_ns
        self._full_at_ns = 0  # when the budget will be whole again

    def reserve_ns(self, now_ns: int) -> int:
        """Takes one attempt that starts at `now_ns` or later; returns how much later it must start, in ns."""
        start_ns = max(now_ns, self._full_at_ns - self._allowance_ns)
        self._full_at_ns = max(self._full_at_ns, start_ns) + self._interval_ns
        return start_ns - now_ns


class FullJitter:
    """Delays of one feed.

    Parameters
    ----------
    base_s, cap_s : float
        Bound of the first delay and of all delays, engine seconds.
    budget : ReconnectBudget
        Shared by the feeds of a process.
    draw : callable
        Gives a number in [0, 1).
    """

    __slots__ = ("_base_ns", "_budget", "_cap_ns", "_draw", "attempts")

    def __init__(
        self, base_s: float, cap_s: float, budget: ReconnectBudget, draw: Callable[[], float]
    ) -> None:
        if not 0 < base_s <= cap_s:
            raise ConfigError(f"back-off: expected 0 < base_s <= cap_s, found {base_s!r} and {cap_s!r}")
        self._base_ns = round(base_s * NS)
        self._cap_ns = round(cap_s * NS)
        self._budget = budget
        self._draw = draw
        self.attempts = 0

    def next_ns(self, now_ns: int, at_least_ns: int = 0) -> int:
        """Delay before the next attempt in ns. `at_least_ns`: what the venue asked for (Retry-After)."""
        bound_ns = min(self._cap_ns, self._base_ns << min(self.attempts, 40))
        self.attempts += 1
        delay_ns = max(at_least_ns, int(self._draw() * bound_ns))
        return delay_ns + self._budget.reserve_ns(now_ns + delay_ns)

    def first_ns(self, now_ns: int) -> int:
        """Delay before an attempt that follows no failure: only what the budget demands."""
        return self._budget.reserve_ns(now_ns)

    def reset(self) -> None:
        """The connection has proven itself: the next failure is a first one."""
        self.attempts = 0
