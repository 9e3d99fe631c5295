"""The venue's clock: tape time that runs `speed` times as fast as the machine's monotonic clock."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class TapeClock:
    """At `monotonic_ns` (CLOCK_MONOTONIC, the same for all processes of a machine) it was `tape_ns`."""

    monotonic_ns: int
    tape_ns: int
    speed: float

    def now_ns(self) -> int:
        """Tape time now."""
        return self.tape_ns + int((time.monotonic_ns() - self.monotonic_ns) * self.speed)

    def wall_s(self, tape_ns: int) -> float:
        """Seconds of real time until a tape time, negative when it is past."""
        return (tape_ns - self.now_ns()) / self.speed / 1e9
