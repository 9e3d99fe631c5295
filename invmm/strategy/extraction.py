"""Reads the solver's input out of live position, order and book objects, ours or another program's.

Any object with the methods of a protocol will do: `Ledger` is a `SharedPositionTracker`, the engine's
registry is a `SharedOrderState`, `MarketBooks` is a `SharedOrderbooks`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from invmm.strategy.vocabulary import (
    InventorySnapshot,
    Level,
    OpenOrder,
    OrderbookSnapshot,
    OrderSnapshot,
    SolverInput,
)
from invmm.types import MICRO, PRICE_ONE_E4, Outcome, Side

if TYPE_CHECKING:
    from invmm.strategy.inventory_mm import InventoryMMConfig


@runtime_checkable
class SharedPositionTracker(Protocol):
    """Knows what is held: micro-shares, and the average price paid in dollars, per outcome.

    Examples
    --------
    >>> from invmm.settlement.ledger import Ledger
    >>> isinstance(Ledger(), SharedPositionTracker)
    True
    """

    def held_micro(self, outcome: Outcome, /) -> int: ...

    def average(self, outcome: Outcome, /) -> float: ...


@runtime_checkable
class SharedOrderState(Protocol):
    """Knows our possibly live orders.

    Each is a mapping with `token` (an Outcome), `side`, `price_e4`, `original_micro`, `remaining_micro`,
    `order_id` or else `key`, and optionally `state` ("sent" and "live" rest, anything else is of unknown
    fate) and `cancel_sent`.

    Examples
    --------
    >>> class NoOrders:
    ...     def orders_live(self):
    ...         return []
    >>> isinstance(NoOrders(), SharedOrderState)
    True
    """

    def orders_live(self) -> Iterable[Mapping[str, Any]]: ...


class BestLevels(Protocol):
    """A book's best levels as (price in 1e-4 dollars, size in micro-shares), None for an empty side."""

    def best_bid(self) -> tuple[int, int] | None: ...

    def best_ask(self) -> tuple[int, int] | None: ...


@runtime_checkable
class SharedOrderbooks(Protocol):
    """Knows the books of both tokens.

    Examples
    --------
    >>> class Books:
    ...     up = down = None
    >>> isinstance(Books(), SharedOrderbooks)
    True
    """

    @property
    def up(self) -> BestLevels: ...

    @property
    def down(self) -> BestLevels: ...


def extract_solver_input(
    config: InventoryMMConfig,
    positions: SharedPositionTracker | None = None,
    orders: SharedOrderState | None = None,
    books: SharedOrderbooks | None = None,
) -> SolverInput:
    """Read one input for `solve`.

    Parameters
    ----------
    config : InventoryMMConfig
        Names the tokens and holds the solver's numbers.
    positions, orders, books
        Where to read from; what is None stays at its default: nothing held, no orders, empty books.

    Returns
    -------
    SolverInput
        A copy: later changes of the sources do not show in it. A best level is marked as ours if one of the
        orders stands at its price, natively or as the other token's mirror.

    Examples
    --------
    >>> from invmm.strategy.inventory_mm import InventoryMMConfig
    >>> extract_solver_input(InventoryMMConfig("1", "2", "0xc")).inventory
    InventorySnapshot(up_size=0.0, up_avg_price=0.0, down_size=0.0, down_avg_price=0.0)
    """
    live = [] if orders is None else list(orders.orders_live())
    return SolverInput(
        config=config.solver_config,
        inventory=InventorySnapshot() if positions is None else _inventory(positions),
        up_orderbook=OrderbookSnapshot() if books is None else _book(books.up, Outcome.UP, live),
        down_orderbook=OrderbookSnapshot() if books is None else _book(books.down, Outcome.DOWN, live),
        orders=OrderSnapshot(_bids(live, Outcome.UP), _bids(live, Outcome.DOWN)),
        up_token_id=config.up_token_id,
        down_token_id=config.down_token_id,
        min_size=config.min_size,
        fee_rate=config.fee_rate,
    )


def _inventory(positions: SharedPositionTracker) -> InventorySnapshot:
    values: list[float] = []
    for outcome in (Outcome.UP, Outcome.DOWN):
        held = positions.held_micro(outcome)
        values += [held / MICRO, positions.average(outcome) if held else 0.0]
    return InventorySnapshot(*values)


def _bids(live: list[Mapping[str, Any]], outcome: Outcome) -> tuple[OpenOrder, ...]:
    return tuple(
        OpenOrder(
            str(order["order_id"] if "order_id" in order else order["key"]),
            order["price_e4"] / PRICE_ONE_E4,
            order["original_micro"] / MICRO,
            order["remaining_micro"] / MICRO,
            is_resting=order.get("state", "live") in ("sent", "live") and not order.get("cancel_sent", False),
        )
        for order in live
        if order["token"] == outcome and order["side"] == Side.BUY
    )


def _book(book: BestLevels, outcome: Outcome, live: list[Mapping[str, Any]]) -> OrderbookSnapshot:
    # An order of the other token shows in this book on the other side at one dollar less its price.
    ours = {
        (order["side"], order["price_e4"])
        if order["token"] == outcome
        else (1 - order["side"], PRICE_ONE_E4 - order["price_e4"])
        for order in live
    }
    bid, ask = book.best_bid(), book.best_ask()
    return OrderbookSnapshot(
        best_ask=_level(ask),
        best_bid=_level(bid),
        best_bid_is_ours=bid is not None and (Side.BUY, bid[0]) in ours,
        best_ask_is_ours=ask is not None and (Side.SELL, ask[0]) in ours,
    )


def _level(level: tuple[int, int] | None) -> Level | None:
    return None if level is None else (level[0] / PRICE_ONE_E4, level[1] / MICRO)
