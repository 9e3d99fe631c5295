"""The venue's dead man's switch (4.2): chained heartbeats; when they stop, all is cancelled."""

from __future__ import annotations

import asyncio

from invmm.sim.floor import Floor
from invmm.sim.profile import SECOND

CHECK_S, LIMIT_S = 5.0, 10.0


class DeadMansSwitch:
    """Armed by the first heartbeat; the time that counts is the venue's, real time before a market runs."""

    def __init__(self, floor: Floor, seed: int) -> None:
        self.last_id = ""
        self.fired = 0
        self._floor = floor
        self._seed = seed
        self._count = 0
        self._heard_s = 0.0

    def _now_s(self) -> float:
        return self._floor.running_ns() / SECOND

    def beat(self, given: str) -> str | None:
        """The next id, or None when `given` is not the last one."""
        if given != self.last_id:
            return None
        self._count += 1
        self.last_id = f"{self._seed & 0xFFFFFFFF:08x}-{self._count:016x}"
        self._heard_s = self._now_s()
        return self.last_id

    async def watch(self, check_s: float = CHECK_S, limit_s: float = LIMIT_S) -> None:
        """Looks every `check_s` of the venue's time, as the venue does, and cancels everything when the last
        beat is longer ago than `limit_s`.
        """
        checked_s = self._now_s()
        while True:
            clock = self._floor.clock
            await asyncio.sleep(min(0.25, check_s / (clock.speed if clock is not None else 1.0)))
            now_s = self._now_s()
            if 0 <= now_s - checked_s < check_s:  # another market may have set the clock back
                continue
            checked_s = now_s
            if self.last_id and not 0 <= now_s - self._heard_s <= limit_s:
                self.last_id = ""
                self.fired += 1
                await self._floor.cancel_all()
