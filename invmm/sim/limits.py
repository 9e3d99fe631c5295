"""The venue's rate limits: windows per endpoint and address, token buckets per signer.

All times are the venue's, so a venue that runs at seven times the speed takes seven times as much per second;
`Retry-After` and `Poly-RateLimit-Reset` speak of the venue's time as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from invmm.errors import ConfigError
from invmm.sim.profile import VenueProfile

BURST_S, SUSTAINED_S = 10, 600
QUEUE_S: Final = 1.0
"""Requests over a window are delayed before they are refused; up to how long is not documented (ours)."""

# (method, path): requests per 10 s, per 10 min (0: no such limit). A path covers what lies below it; the
# longest one that fits counts, besides the general one. `""` is any method.
ENDPOINTS: Final = {
    ("", ""): (9000, 0),
    ("", "/book"): (1500, 0),
    ("", "/price"): (1500, 0),
    ("", "/midpoint"): (1500, 0),
    ("", "/books"): (500, 0),
    ("", "/prices"): (500, 0),
    ("", "/midpoints"): (500, 0),
    ("", "/tick-size"): (200, 0),
    ("POST", "/order"): (5000, 120_000),
    ("DELETE", "/order"): (5000, 120_000),
    ("POST", "/orders"): (2000, 21_000),
    ("DELETE", "/orders"): (2000, 15_000),
    ("DELETE", "/cancel-market-orders"): (1500, 21_000),
    ("DELETE", "/cancel-all"): (250, 6000),
    ("", "/data/orders"): (500, 0),
    ("", "/data/trades"): (500, 0),
    ("", "/balance-allowance"): (200, 0),
    ("", "/balance-allowance/update"): (50, 0),
    ("", "/auth"): (100, 0),
    ("", "/events"): (500, 0),
    ("", "/markets"): (300, 0),
    ("", "/v2"): (1000, 0),
    ("", "/v2/trades"): (200, 0),
    ("", "/v2/positions"): (150, 0),
}

TIERS: Final = {
    "standard": (40, 60, 80, 120),
    "copper": (60, 90, 120, 180),
    "bronze": (80, 120, 160, 240),
    "silver": (200, 300, 400, 600),
    "gold": (400, 600, 800, 1200),
    "platinum": (450, 675, 900, 1350),
    "diamond": (525, 787, 1050, 1575),
    "elite": (600, 900, 1200, 1800),
}
"""Orders per second, their burst, cancels per second, their burst."""


class Bucket:
    """Tokens up to `capacity`, refilled at `per_s`."""

    __slots__ = ("_at_s", "capacity", "level", "per_s")

    def __init__(self, capacity: float, per_s: float) -> None:
        self.capacity = capacity
        self.per_s = per_s
        self.level = capacity
        self._at_s = -math.inf

    def wait_s(self, cost: float, now_s: float) -> float:
        """How long until `cost` tokens are there; 0 when they are, infinite when they never will be."""
        if now_s < self._at_s:  # another market may have set the clock back
            self._at_s = now_s
        if self._at_s > -math.inf:
            self.level = min(self.capacity, self.level + (now_s - self._at_s) * self.per_s)
        self._at_s = now_s
        if cost > self.capacity:
            return math.inf
        return max(0.0, (cost - self.level) / self.per_s)

    def take(self, cost: float) -> None:
        """Takes tokens; the level may fall below nothing for requests that were let wait."""
        self.level -= cost


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a limit says about a request: refused or not, and the headers of its answer."""

    is_refused: bool
    headers: dict[str, str]


class Limits:
    """The limits of one venue, for one address from which all its clients come."""

    def __init__(self, profile: VenueProfile) -> None:
        if profile.tier not in TIERS:
            raise ConfigError(f"tier: expected one of {', '.join(TIERS)}, got {profile.tier!r}")
        self._profile = profile
        self._windows: dict[tuple[str, str], tuple[Bucket, ...]] = {}
        self._signers: dict[tuple[str, str], Bucket] = {}
        self.refused = 0

    # ---- per address ----

    def delay_s(self, method: str, path: str, now_s: float) -> tuple[float, bool]:
        """How long a request is held up, and whether it is refused instead."""
        share = self._profile.endpoint_limit_share
        if not share:
            return 0.0, False
        buckets = [bucket for key in _keys(method, path) for bucket in self._of(key, share)]
        wait_s = max(bucket.wait_s(1, now_s) for bucket in buckets)
        if wait_s > QUEUE_S:
            self.refused += 1
            return wait_s, True
        for bucket in buckets:
            bucket.take(1)
        return wait_s, False

    def _of(self, key: tuple[str, str], share: float) -> tuple[Bucket, ...]:
        found = self._windows.get(key)
        if found is None:
            burst, sustained = (max(1.0, number * share) if number else 0 for number in ENDPOINTS[key])
            made = [Bucket(burst, burst / BURST_S)]
            if sustained:
                made.append(Bucket(sustained, sustained / SUSTAINED_S))
            found = self._windows[key] = tuple(made)
        return found

    # ---- per signer ----

    def signer(self, account: str, kind: str, cost: int, now_s: float) -> Verdict:
        """A request of a signer that costs so many tokens of its `kind`, "orders" or "cancels": all of them
        or none.
        """
        profile = self._profile
        if profile.signer_limits == "off" or cost <= 0:
            return Verdict(False, {})
        orders_per_s, orders, cancels_per_s, cancels = TIERS[profile.tier]
        bucket = self._signers.get((account, kind))
        if bucket is None:
            made = Bucket(orders, orders_per_s) if kind == "orders" else Bucket(cancels, cancels_per_s)
            bucket = self._signers[account, kind] = made
        wait_s = bucket.wait_s(cost, now_s)
        is_over = wait_s > 0
        warns = profile.signer_limits == "warn"
        if not is_over or warns:
            bucket.level = max(0.0, bucket.level - cost)
        else:
            self.refused += 1
        headers = {
            "Poly-RateLimit-Remaining": f"{bucket.level:.0f}",
            "Poly-RateLimit-Reset": f"{math.ceil(now_s + min(wait_s, SUSTAINED_S))}",
            "Poly-RateLimit-Tier": profile.tier,
        }
        if is_over and warns:
            headers["Poly-RateLimit-Warning"] = "true"
        elif is_over:
            headers["Retry-After"] = f"{max(1, math.ceil(min(wait_s, SUSTAINED_S)))}"
        return Verdict(is_over and not warns, headers)


def _keys(method: str, path: str) -> list[tuple[str, str]]:
    """The general limit and the nearest of the path's own."""
    parts = path.rstrip("/").split("/")
    for count in range(len(parts), 1, -1):
        prefix = "/".join(parts[:count])
        for key in ((method, prefix), ("", prefix)):
            if key in ENDPOINTS:
                return [("", ""), key]
    return [("", "")]
