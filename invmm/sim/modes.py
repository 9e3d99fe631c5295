"""What the venue lets through: running, restarting, post-only, cancel-only, halted, each with its
answers.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from invmm.sim.floor import Floor
from invmm.sim.profile import SECOND
from invmm.sim.rest_shapes import json_of
from invmm.types import VenueMode

RESTART_S, POST_ONLY_S = 90.0, 120.0
NOT_READY = "service not ready"
DISABLED = "Trading is currently disabled. Check polymarket.com for updates"
CANCEL_ONLY = "Trading is currently cancel-only. New orders are not accepted, but cancels are allowed."
POST_ONLY = "post-only mode: only post-only orders and cancels are allowed"
_ROUTES = frozenset(("/order", "/orders", "/cancel-all", "/cancel-market-orders"))
_PLACING = frozenset(("/order", "/orders"))


class Mode:
    """The venue's mode on the venue's time, and what follows it. Resting orders stay where they are, and
    fill, in every mode (ours: what the venue does is not stated).
    """

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._mode = VenueMode.RUNNING
        self._next: deque[tuple[int, VenueMode]] = deque()

    def now(self) -> VenueMode:
        """The mode at this moment."""
        now_ns = self._floor.running_ns()
        while self._next and self._next[0][0] <= now_ns:
            self._mode = self._next.popleft()[1]
        return self._mode

    def walk(self, steps: Sequence[tuple[VenueMode, float]]) -> None:
        """Goes through modes, each for so many seconds of the venue (0: for good), and then runs again."""
        self._next.clear()
        at_ns = self._floor.running_ns()
        for index, (mode, seconds) in enumerate(steps):
            if index == 0:
                self._mode = mode
            else:
                self._next.append((at_ns, mode))
            if not seconds:
                return
            at_ns += int(seconds * SECOND)
        self._next.append((at_ns, VenueMode.RUNNING))

    def left_s(self) -> float:
        """Seconds of the venue until the mode changes; 0 when nothing follows."""
        return max(0.0, (self._next[0][0] - self._floor.running_ns()) / SECOND) if self._next else 0.0

    def refusal(self, method: str, path: str, body: bytes) -> web.Response | None:
        """The answer to a request that the mode does not let through."""
        mode = self.now()
        if mode == VenueMode.RUNNING or path not in _ROUTES:
            return None
        if mode == VenueMode.RESTARTING:
            return web.Response(text=NOT_READY, status=425)
        if mode == VenueMode.HALTED:
            return web.json_response({"error": DISABLED}, status=503)
        if method != "POST" or path not in _PLACING:
            return None
        if mode == VenueMode.CANCEL_ONLY:
            return web.json_response({"error": CANCEL_ONLY}, status=503)
        if _is_post_only(json_of(body)):
            return None
        wait_s = max(1, math.ceil(self.left_s()))
        told = {"error": POST_ONLY, "code": "post_only_mode", "retry_after_seconds": wait_s}
        return web.json_response(told, status=503, headers={"Retry-After": str(wait_s)})


def _is_post_only(payload: Any) -> bool:
    legs = payload if isinstance(payload, list) else [payload]
    return all(isinstance(leg, dict) and leg.get("postOnly") is True for leg in legs)
