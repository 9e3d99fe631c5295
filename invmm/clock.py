"""Engine time: unix-epoch nanoseconds, live (optionally scaled) or set by a replay.

The compiled listener computes the same live time from the same three numbers, so a stamp made in C and one
made here compare:

    now_ns = origin_ns + (CLOCK_MONOTONIC − mono_origin_ns) · scale

CLOCK_MONOTONIC and not the wall clock: engine time never steps when the machine's clock is corrected. Whoever
cares about the distance to the venue's clock measures it (`venue_ms` travels beside engine time).
"""

from __future__ import annotations

import math
import time
from typing import Protocol, runtime_checkable

from invmm.errors import ConfigError

NS = 1_000_000_000


@runtime_checkable
class Clock(Protocol):
    """Anything that tells engine time."""

    def now_ns(self) -> int: ...


class LiveClock:
    """Runs with the machine, `scale` times as fast.

    Parameters
    ----------
    scale : float
        Engine seconds per real second, above 0 and at most 10 000. 1.0 for the real venue.
    origin_ns : int, optional
        Engine time of this moment, unix-epoch ns; the machine's wall clock if not given.
    mono_origin_ns : int, optional
        CLOCK_MONOTONIC of the origin, ns; now if not given. With all three the clock of another process is
        the same clock.
    """

    __slots__ = ("mono_origin_ns", "origin_ns", "scale")

    def __init__(
        self, scale: float = 1.0, origin_ns: int | None = None, mono_origin_ns: int | None = None
    ) -> None:
        if not (math.isfinite(scale) and 0 < scale <= 10_000):
            raise ConfigError(f"clock scale: expected above 0 and at most 10000, found {scale!r}")
        self.scale = float(scale)
        self.mono_origin_ns = time.monotonic_ns() if mono_origin_ns is None else mono_origin_ns
        self.origin_ns = time.time_ns() if origin_ns is None else origin_ns

    def now_ns(self) -> int:
        """Engine time, unix-epoch ns; never goes back."""
        return self.at_ns(self.mono_ns())

    def mono_ns(self) -> int:
        """CLOCK_MONOTONIC, ns; of a machine that is only imagined, its own."""
        return time.monotonic_ns()

    def at_ns(self, mono_ns: int) -> int:
        """Engine time of a CLOCK_MONOTONIC stamp, both in ns."""
        elapsed = mono_ns - self.mono_origin_ns
        # Without a factor the sum stays exact; with one, a double is exact for 104 days and C does the same.
        return self.origin_ns + (elapsed if self.scale == 1.0 else int(elapsed * self.scale))

    def wall_s(self, engine_ns: int) -> float:
        """How long an engine duration takes in real seconds; 0.0 for one that is over."""
        return max(0.0, engine_ns / (NS * self.scale))


class ReplayClock:
    """Stands still until the player sets it. Not for use with sockets."""

    __slots__ = ("_now_ns",)

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        """The time last set, unix-epoch ns."""
        return self._now_ns

    def set(self, now_ns: int) -> None:
        """Moves to `now_ns`; ValueError when that is earlier than now."""
        if now_ns < self._now_ns:
            raise ValueError(f"replay clock: expected {self._now_ns} ns or later, found {now_ns} ns")
        self._now_ns = now_ns
