"""Words of the inventory strategy in float dollars: what its solver takes and gives.

These are the public names that other programs construct. Prices are dollars per share, sizes are shares;
everything is frozen. The engine itself works on integers and does not pass through here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from invmm.types import Reason, Side

MAX_LEVELS = 31
"""Levels per token that the compiled solver has room for."""

Level = tuple[float, float]
"""A best level: (price in dollars, size in shares)."""


def check_number(name: str, value: float, low: float, high: float, unit: str) -> None:
    """Raise ValueError unless `value` is finite and within [low, high]; the message names all of it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name}: expected a number of {unit}, got {value!r}")
    if not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{name}: expected {low:g} to {high:g} {unit}, got {value!r}")


@dataclass(frozen=True, slots=True)
class SolverConfig:
    """What the solver is tuned with.

    Parameters
    ----------
    num_levels : int
        Bids per token, 0 to 31.
    tick_size : float
        Price increment in dollars, above 0 and at most 0.1.
    base_offset : float
        Distance of the first bid from the best ask when balanced, in dollars.
    min_profit_margin : float
        Least profit per pair, in dollars.
    max_imbalance : float
        |imbalance| at which the heavy token is no longer quoted, 0 to 1.
    order_size : float
        Shares per level.
    spread_per_level : float
        Distance between levels, in **cents**.

    Examples
    --------
    >>> SolverConfig(num_levels=2).order_size
    100.0
    >>> SolverConfig(tick_size=0.0)
    Traceback (most recent call last):
    ValueError: tick_size: expected 0.0001 to 0.1 dollars, got 0.0
    """

    num_levels: int = 3
    tick_size: float = 0.01
    base_offset: float = 0.01
    min_profit_margin: float = 0.01
    max_imbalance: float = 0.8
    order_size: float = 100.0
    spread_per_level: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.num_levels, bool) or not isinstance(self.num_levels, int):
            raise ValueError(f"num_levels: expected an integer, got {self.num_levels!r}")
        check_number("num_levels", self.num_levels, 0, MAX_LEVELS, "levels")
        check_number("tick_size", self.tick_size, 0.0001, 0.1, "dollars")
        check_number("base_offset", self.base_offset, 0.0, 1.0, "dollars")
        check_number("min_profit_margin", self.min_profit_margin, 0.0, 1.0, "dollars per pair")
        check_number("max_imbalance", self.max_imbalance, 0.0, 1.0, "of the inventory")
        check_number("order_size", self.order_size, 0.01, 1e5, "shares")
        check_number("spread_per_level", self.spread_per_level, 0.0, 100.0, "cents")


@dataclass(frozen=True, slots=True)
class InventorySnapshot:
    """What is held: shares of each token and the average price paid for them.

    Examples
    --------
    >>> held = InventorySnapshot(up_size=60, up_avg_price=0.52, down_size=40, down_avg_price=0.46)
    >>> held.imbalance, held.pairs, held.combined_avg_cost
    (0.2, 40, 0.98)
    """

    up_size: float = 0.0
    up_avg_price: float = 0.0
    down_size: float = 0.0
    down_avg_price: float = 0.0

    @property
    def imbalance(self) -> float:
        """(Up − Down) / (Up + Down), −1 (all Down) to +1 (all Up), 0 when there is practically nothing."""
        up, down = abs(self.up_size), abs(self.down_size)
        total = up + down
        return 0.0 if total < 1e-9 else (up - down) / total

    @property
    def pairs(self) -> float:
        """Matched pairs: the smaller of the two holdings, in shares."""
        return min(abs(self.up_size), abs(self.down_size))

    @property
    def combined_avg_cost(self) -> float:
        """Average Up price plus average Down price, also when a side is empty; dollars."""
        return self.up_avg_price + self.down_avg_price


@dataclass(frozen=True, slots=True)
class OrderbookSnapshot:
    """Best levels of one token; None is an empty side.

    Examples
    --------
    >>> OrderbookSnapshot(best_ask=(0.55, 120.0)).best_bid is None
    True
    """

    best_ask: Level | None = None
    best_bid: Level | None = None
    best_bid_is_ours: bool = False
    best_ask_is_ours: bool = False


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """One bid of ours.

    `is_resting` is False while it may be live but is not to be touched: a cancel is under way or its fate is
    unknown. Such a bid serves no quote and is not cancelled again; outside compatible mode no new bid may
    meet it.

    Examples
    --------
    >>> OpenOrder("x", 0.40, 100.0, 60.0).remaining_size
    60.0
    """

    order_id: str
    price: float
    original_size: float
    remaining_size: float
    is_resting: bool = True


@dataclass(frozen=True, slots=True)
class OrderSnapshot:
    """Our live bids of both tokens, oldest first.

    Examples
    --------
    >>> OrderSnapshot(up_bids=(OpenOrder("x", 0.40, 100.0, 100.0),)).down_bids
    ()
    """

    up_bids: tuple[OpenOrder, ...] = ()
    down_bids: tuple[OpenOrder, ...] = ()


@dataclass(frozen=True, slots=True)
class SolverInput:
    """Everything that a solve reads.

    `min_size` (shares), `fee_rate` (of p·(1−p) per share taken) and `taker_in_flight` are used outside
    compatible mode only: the original knows none of them.

    Examples
    --------
    >>> SolverInput().inventory.imbalance
    0.0
    """

    config: SolverConfig = field(default_factory=SolverConfig)
    inventory: InventorySnapshot = field(default_factory=InventorySnapshot)
    up_orderbook: OrderbookSnapshot = field(default_factory=OrderbookSnapshot)
    down_orderbook: OrderbookSnapshot = field(default_factory=OrderbookSnapshot)
    orders: OrderSnapshot = field(default_factory=OrderSnapshot)
    up_token_id: str = "up"
    down_token_id: str = "down"
    min_size: float = 5.0
    fee_rate: float = 0.07
    taker_in_flight: bool = False

    @classmethod
    def from_mapping(cls, record: Mapping[str, Any]) -> SolverInput:
        """Build an input from plain mappings and lists, such as a parsed JSON record.

        Examples
        --------
        >>> record = {
        ...     "config": {"num_levels": 1},
        ...     "inventory": {"up_size": 5.0, "up_avg_price": 0.4},
        ...     "up_orderbook": {"best_ask": [0.5, 10.0]},
        ...     "down_orderbook": {},
        ...     "up_bids": [{"order_id": "x", "price": 0.4, "original_size": 5.0, "remaining_size": 5.0}],
        ...     "down_bids": [],
        ... }
        >>> SolverInput.from_mapping(record).orders.up_bids[0].order_id
        'x'
        """

        def book(values: Mapping[str, Any]) -> OrderbookSnapshot:
            levels = {
                side: None if (level := values.get(side)) is None else (level[0], level[1])
                for side in ("best_ask", "best_bid")
            }
            flags = {name: bool(values.get(name, False)) for name in ("best_bid_is_ours", "best_ask_is_ours")}
            return OrderbookSnapshot(levels["best_ask"], levels["best_bid"], **flags)

        return cls(
            config=SolverConfig(**record["config"]),
            inventory=InventorySnapshot(**record["inventory"]),
            up_orderbook=book(record["up_orderbook"]),
            down_orderbook=book(record["down_orderbook"]),
            orders=OrderSnapshot(
                tuple(OpenOrder(**order) for order in record["up_bids"]),
                tuple(OpenOrder(**order) for order in record["down_bids"]),
            ),
        )


@dataclass(frozen=True, slots=True)
class Quote:
    """A bid that is wanted: what a ladder is made of.

    Examples
    --------
    >>> Quote(0.53, 100.0).level
    0
    """

    price: float
    size: float
    level: int = 0


@dataclass(frozen=True, slots=True)
class QuoteLadder:
    """The wanted bids of both tokens, best first.

    Examples
    --------
    >>> ladder = QuoteLadder(up=(Quote(0.53, 100.0),), down=(Quote(0.44, 100.0),))
    >>> ladder.is_empty
    False
    """

    up: tuple[Quote, ...] = ()
    down: tuple[Quote, ...] = ()

    @property
    def is_empty(self) -> bool:
        """True if nothing is quoted on either token."""
        return not self.up and not self.down


@dataclass(frozen=True, slots=True)
class LimitOrder:
    """A resting bid to place.

    Examples
    --------
    >>> LimitOrder("1234", 0.53, 100.0).side.name
    'BUY'
    """

    token_id: str
    price: float
    size: float
    side: Side = Side.BUY
    post_only: bool = False
    level: int = 0


@dataclass(frozen=True, slots=True)
class TakerOrder:
    """A fill-or-kill buy of the light token; `score` is the pair's profit in cents.

    Examples
    --------
    >>> TakerOrder("1234", 0.33, 5.0, score=8.0).side.name
    'BUY'
    """

    token_id: str
    price: float
    size: float
    score: float = 0.0
    side: Side = Side.BUY


@dataclass(frozen=True, slots=True)
class SolverOutput:
    """What a solve asks for: order ids to cancel, bids to place, at most one taker order.

    `up_reason` and `down_reason` say why a token has no quote; `Reason.NONE` if it has one. `imbalance` is
    the number that the ladder was shaped with: the plain ratio in compatible mode, the floored one
    otherwise.

    Examples
    --------
    >>> SolverOutput().is_empty
    True
    """

    imbalance: float = 0.0
    cancellations: tuple[str, ...] = ()
    limit_orders: tuple[LimitOrder, ...] = ()
    taker_orders: tuple[TakerOrder, ...] = ()
    up_reason: Reason = Reason.NONE
    down_reason: Reason = Reason.NONE

    @property
    def is_empty(self) -> bool:
        """True if there is nothing to do."""
        return not (self.cancellations or self.limit_orders or self.taker_orders)

    def to_mapping(self) -> dict[str, Any]:
        """Return plain lists and mappings with the keys of a recorded output: what `from_mapping` is for
        inputs.

        Examples
        --------
        >>> SolverOutput(limit_orders=(LimitOrder("up", 0.5, 10.0),)).to_mapping()["limit_orders"]
        [{'token': 'up', 'price': 0.5, 'size': 10.0}]
        """

        def named(order: LimitOrder | TakerOrder, *keys: str) -> dict[str, Any]:
            values = asdict(order)
            return {"token": order.token_id} | {key: values[key] for key in keys}

        return {
            "imbalance": self.imbalance,
            "cancellations": list(self.cancellations),
            "limit_orders": [named(order, "price", "size") for order in self.limit_orders],
            "taker_orders": [named(order, "price", "size", "score") for order in self.taker_orders],
        }
