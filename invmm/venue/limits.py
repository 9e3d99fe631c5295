"""How often the venue lets us ask: its published limits, as data (polymarket.com documentation, August 2026).

Two kinds hold at once. Per signer, token buckets for orders and for cancels, whose size depends on the tier
of the account. Per address on the internet, requests to an endpoint within a window of time; those are
delayed before they are refused. All times are the venue's own seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Tier:
    """What one signer may send. A batch costs its legs, cancel-all 1 and the orders that it ends."""

    volume_dollars: int
    """Traded within 30 days to be of this tier."""
    orders_per_second: int
    orders_burst: int
    cancels_per_second: int
    cancels_burst: int


TIERS: Final[Mapping[str, Tier]] = MappingProxyType(
    {
        "standard": Tier(0, 40, 60, 80, 120),
        "copper": Tier(30_000, 60, 90, 120, 180),
        "bronze": Tier(50_000, 80, 120, 160, 240),
        "silver": Tier(100_000, 200, 300, 400, 600),
        "gold": Tier(500_000, 400, 600, 800, 1200),
        "platinum": Tier(2_500_000, 450, 675, 900, 1350),
        "diamond": Tier(5_000_000, 525, 787, 1050, 1575),
        "elite": Tier(10_000_000, 600, 900, 1200, 1800),
    }
)


@dataclass(frozen=True, slots=True)
class Window:
    """So many requests within so many seconds."""

    requests: int
    seconds: int


GENERAL: Final = "*"
"""Every request to the order book's host counts here as well."""

WINDOWS: Final[Mapping[str, tuple[Window, ...]]] = MappingProxyType(
    {
        GENERAL: (Window(9_000, 10),),
        "POST /order": (Window(5_000, 10), Window(120_000, 600)),
        "DELETE /order": (Window(5_000, 10), Window(120_000, 600)),
        "POST /orders": (Window(2_000, 10), Window(21_000, 600)),
        "DELETE /orders": (Window(2_000, 10), Window(15_000, 600)),
        "DELETE /cancel-market-orders": (Window(1_500, 10), Window(21_000, 600)),
        "DELETE /cancel-all": (Window(250, 10), Window(6_000, 600)),
        "GET /book": (Window(1_500, 10),),
        "GET /price": (Window(1_500, 10),),
        "GET /midpoint": (Window(1_500, 10),),
        "POST /books": (Window(500, 10),),
        "POST /prices": (Window(500, 10),),
        "POST /midpoints": (Window(500, 10),),
        "GET /tick-size": (Window(200, 10),),
        "GET /prices-history": (Window(1_000, 10),),
        "GET /data/orders": (Window(500, 10),),
        "GET /data/trades": (Window(500, 10),),
        "GET /balance-allowance": (Window(200, 10),),
        "GET /balance-allowance/update": (Window(50, 10),),
        "/auth": (Window(100, 10),),
    }
)
"""Per address. Hosts other than the order book's have limits of their own, which nothing here comes near."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the venue lets one account do."""

    orders_per_batch: int = 15
    cancels_per_batch: int = 1000
    tier: str = "standard"
    """Of the account, until the venue's answers name another."""
    tiers: Mapping[str, Tier] = field(default_factory=lambda: TIERS)
    windows: Mapping[str, tuple[Window, ...]] = field(default_factory=lambda: WINDOWS)
    gtd_lead_s: int = 180
    """An order with a date must live at least this long; the venue ends it 60 s before its date."""
    signed_age_ms: int = 2_000
    """How old the time in an order's signature may be. The venue publishes no limit: to be probed."""
    heartbeat_period_s: float = 5.0
    """How often the dead man's switch wants to hear of us."""
    heartbeat_window_s: float = 10.0
    """Silence after which it cancels every open order of the credentials."""
    post_only_s: float = 120.0
    """How long only post-only orders are taken after a restart, where the venue does not say."""

    def __post_init__(self) -> None:
        if self.tier not in self.tiers:
            raise ValueError(f"tier: expected one of {', '.join(self.tiers)}, found {self.tier!r}")

    @property
    def rates(self) -> Tier:
        """Of the account's tier."""
        return self.tiers[self.tier]

    @property
    def orders_per_second(self) -> int:
        return self.rates.orders_per_second

    @property
    def cancels_per_second(self) -> int:
        return self.rates.cancels_per_second
