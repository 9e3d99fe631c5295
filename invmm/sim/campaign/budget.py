"""How often the engine asks, held against what the venue publishes.

Counted at the venue's door, whatever becomes of a request there, and by a code of its own: sliding windows
over arrivals, where the engine has buckets and the embedded venue others. Limits are those that the venue
documents (August 2026) for one address and, per signer, for the lowest tier.
"""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any

from invmm.sim.campaign.network import Incoming
from invmm.sim.profile import SECOND

if TYPE_CHECKING:
    from invmm.sim.campaign.world import World

EVERYTHING = ("", "")
# (method, path): requests within 10 s, within 600 s (0: no such limit). "" is any method.
ENDPOINTS = {
    EVERYTHING: (9_000, 0),
    ("POST", "/order"): (5_000, 120_000),
    ("POST", "/orders"): (2_000, 21_000),
    ("DELETE", "/order"): (5_000, 120_000),
    ("DELETE", "/orders"): (2_000, 15_000),
    ("DELETE", "/cancel-all"): (250, 6_000),
    ("DELETE", "/cancel-market-orders"): (1_500, 21_000),
    ("GET", "/book"): (1_500, 0),
    ("POST", "/books"): (500, 0),
    ("GET", "/data/orders"): (500, 0),
    ("GET", "/data/trades"): (500, 0),
    ("GET", "/balance-allowance"): (200, 0),
}
SHORT_S, LONG_S = 10, 600
KEPT_FOR_CANCELS = 10  # one part in so many of EVERYTHING that only cancels may use
SIGNER = {"orders": (40, 60), "cancels": (80, 120)}  # a second, at once


class Budget:
    """Counts requests of a world's engines; fails as `budget`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._arrived: dict[tuple[tuple[str, str], int], deque[int]] = {}
        self._signer = {kind: (float(burst), 0) for kind, (_, burst) in SIGNER.items()}  # level, when
        self._told: set[str] = set()
        self.most_share = 0.0
        """Of any limit, at the busiest moment."""

    def request(self, request: Incoming) -> None:
        """One arrives."""
        is_cancel = request.method == "DELETE"
        for name in (EVERYTHING, (request.method, request.path)):
            short, long = ENDPOINTS.get(name, (0, 0))
            if name == EVERYTHING and not is_cancel:
                short -= short // KEPT_FOR_CANCELS
            self._count(name, SHORT_S, short)
            self._count(name, LONG_S, long)
        if request.path in ("/order", "/orders") and request.method in ("POST", "DELETE"):
            self._spend("cancels" if is_cancel else "orders", legs_of(request._body))
        elif request.path in ("/cancel-all", "/cancel-market-orders") and is_cancel:
            exchanges = self._world.server.floor.exchanges
            self._spend("cancels", 1 + sum(self._world.is_own(o) for x in exchanges for o in x.open_orders()))

    def _count(self, name: tuple[str, str], seconds: int, limit: int) -> None:
        if not limit:
            return
        now_ns = self._world.loop.now_ns()
        times = self._arrived.setdefault((name, seconds), deque())
        times.append(now_ns)
        while times[0] <= now_ns - seconds * SECOND:
            times.popleft()
        self._at_most(f"{' '.join(name).strip() or 'requests'} in {seconds} s", len(times), limit)

    def _spend(self, kind: str, cost: int) -> None:
        """A bucket that fills again with its rate; below nothing is over the limit."""
        now_ns = self._world.loop.now_ns()
        per_s, burst = SIGNER[kind]
        level, since_ns = self._signer[kind]
        level = min(burst, level + (now_ns - since_ns) / SECOND * per_s) - cost
        self._signer[kind] = (level, now_ns)
        self._at_most(f"{kind} of the signer", burst - level, burst)

    def _at_most(self, what: str, used: float, limit: float) -> None:
        self.most_share = max(self.most_share, used / limit)
        if used > limit and what not in self._told:
            self._told.add(what)
            self._world.fail("budget", f"{what}: {used:.0f}, the venue allows {limit:.0f}")


def legs_of(body: bytes) -> int:
    """Orders or ids that a request names; 1 for what cannot be read."""
    try:
        told: Any = json.loads(body)
    except ValueError:
        return 1
    return max(1, len(told)) if isinstance(told, list) else 1
