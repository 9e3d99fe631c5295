"""The venue's dead man's switch: chained heartbeats; when a key stops, its orders are cancelled."""

from __future__ import annotations

import asyncio
from collections import deque

from invmm.sim.floor import Floor
from invmm.sim.profile import SECOND

CHECK_S, LIMIT_S = 5.0, 10.0
_LONGEST_SLEEP_S = 0.25


class DeadMansSwitch:
    """Armed by the first heartbeat of an API key, for that key's orders; the time that counts is the venue's,
    real time before a market runs.
    """

    def __init__(self, floor: Floor, seed: int) -> None:
        self.fired = 0
        self.ended: deque[str] = deque(maxlen=10_000)
        """Orders that it cancelled, the last ones."""
        self._floor = floor
        self._seed = seed
        self._count = 0
        self._heard: dict[str, tuple[str, float]] = {}  # by API key: the last id and when it was given out

    def _now_s(self) -> float:
        return self._floor.running_ns() / SECOND

    def last_id(self, key: str = "") -> str:
        """The id that an API key has to send next; empty before its first."""
        return self._heard[key][0] if key in self._heard else ""

    def beat(self, given: str, key: str = "") -> str | None:
        """The next id, or None when `given` is not the last one. Without a key it is for every order."""
        if given != self.last_id(key):
            return None
        self._count += 1
        following = f"{self._seed & 0xFFFFFFFF:08x}-{self._count:016x}"
        self._heard[key] = (following, self._now_s())
        return following

    async def watch(self, check_s: float = CHECK_S, limit_s: float = LIMIT_S) -> None:
        """Looks every `check_s` of the venue's time, as the venue does, and cancels the orders of a key
        whose last beat is longer ago than `limit_s`.
        """
        checked_s = self._now_s()
        while True:
            clock = self._floor.clock
            await asyncio.sleep(min(_LONGEST_SLEEP_S, check_s / (clock.speed if clock is not None else 1.0)))
            now_s = self._now_s()
            if 0 <= now_s - checked_s < check_s:  # another market may have set the clock back
                continue
            checked_s = now_s
            for key, (_, heard_s) in list(self._heard.items()):
                if not 0 <= now_s - heard_s <= limit_s:
                    del self._heard[key]
                    self.fired += 1
                    self.ended += (await self._floor.cancel_all(account=key))["canceled"]
