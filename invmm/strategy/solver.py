"""`solve`: the inventory strategy's pure function on float values, for programs that call it themselves.

The arithmetic is compiled; this module translates names and units on the way in and out.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from invmm._ext.compatible import solve_compatible
from invmm._ext.solver import POLICY_INPUT_DTYPE, InventoryMMPolicy
from invmm.strategy.vocabulary import (
    LimitOrder,
    OrderSnapshot,
    Quote,
    QuoteLadder,
    SolverConfig,
    SolverInput,
    SolverOutput,
    TakerOrder,
    check_number,
)
from invmm.types import MICRO, PRICE_ONE_E4, Reason

ORDER_OPEN = 1
ORDER_UNKNOWN = 4
ACTION_CANCEL = 1
ACTION_QUOTE = 2
TAKER_KEY = 2**64 - 1
MAX_ORDERS = 64


def solve(view: SolverInput, compatible: bool = False) -> SolverOutput:
    """Compute what to cancel, place and take for one input; no side effects.

    Parameters
    ----------
    view : SolverInput
        Inventory, best levels and our live bids. Outside compatible mode prices are read to 1e-4 dollars and
        sizes to 1e-6 shares, and the tick must divide one dollar.
    compatible : bool
        Answer bit for bit as the original does, its defects included.

    Returns
    -------
    SolverOutput
        Cancels (Up then Down), bids to place (Up then Down, best first), at most one taker order.

    Raises
    ------
    ValueError
        A number is not finite or out of range, or there are more than 64 orders.

    Examples
    --------
    >>> from invmm.strategy.vocabulary import InventorySnapshot, OpenOrder, OrderbookSnapshot
    >>> view = SolverInput(
    ...     inventory=InventorySnapshot(up_size=50, up_avg_price=0.52, down_size=50, down_avg_price=0.46),
    ...     up_orderbook=OrderbookSnapshot(best_ask=(0.55, 100.0)),
    ...     down_orderbook=OrderbookSnapshot(best_ask=(0.45, 100.0)),
    ...     orders=OrderSnapshot(up_bids=(OpenOrder("x", 0.40, 100.0, 100.0),)),
    ... )
    >>> solve(view).cancellations
    ('x',)
    >>> [(order.token_id, order.price) for order in solve(view).limit_orders]
    [('up', 0.53), ('up', 0.52), ('down', 0.44), ('down', 0.43), ('down', 0.42)]
    >>> [round(order.price, 2) for order in solve(view, compatible=True).limit_orders]
    [0.53, 0.53, 0.52, 0.44, 0.43, 0.42]
    """
    return _solve_original(view) if compatible else _solve_corrected(view)


def quote_ladder(view: SolverInput, compatible: bool = False) -> QuoteLadder:
    """Return the bids that are wanted, whatever is resting already.

    Examples
    --------
    >>> from invmm.strategy.vocabulary import OrderbookSnapshot
    >>> book = OrderbookSnapshot(best_ask=(0.50, 10.0))
    >>> quote_ladder(SolverInput(up_orderbook=book, down_orderbook=book)).up[0]
    Quote(price=0.49, size=100.0, level=0)
    """
    output = solve(replace(view, orders=OrderSnapshot(), taker_in_flight=True), compatible)
    up, down = (
        tuple(
            Quote(order.price, order.size, order.level)
            for order in output.limit_orders
            if order.token_id == token_id
        )
        for token_id in (view.up_token_id, view.down_token_id)
    )
    return QuoteLadder(up, down)


def _solve_original(view: SolverInput) -> SolverOutput:
    tokens = (view.up_token_id, view.down_token_id)
    bids = (
        [order for order in view.orders.up_bids if order.is_resting],
        [order for order in view.orders.down_bids if order.is_resting],
    )
    joined = (*bids[0], *bids[1])
    imbalance, cancel, place, taker, reasons, _ = solve_compatible(
        view.config, view.inventory, (view.up_orderbook, view.down_orderbook), bids
    )
    return SolverOutput(
        imbalance,
        tuple(joined[index].order_id for index in cancel),
        tuple(
            LimitOrder(tokens[token], price, view.config.order_size, level=level)
            for token, level, price in place
        ),
        () if taker is None else (TakerOrder(tokens[taker[0]], taker[1], taker[2], taker[3]),),
        Reason(reasons[0]),
        Reason(reasons[1]),
    )


@lru_cache(maxsize=64)
def _policy(config: SolverConfig) -> InventoryMMPolicy:
    return InventoryMMPolicy(
        config.num_levels,
        config.base_offset,
        config.min_profit_margin,
        config.max_imbalance,
        config.order_size,
        config.spread_per_level,
    )


def _price_e4(name: str, dollars: float) -> int:
    check_number(name, dollars, 0.0, 1.0, "dollars")
    return round(dollars * PRICE_ONE_E4)


def _size_micro(name: str, shares: float) -> int:
    check_number(name, shares, 0.0, 1e9, "shares")
    return round(shares * MICRO)


def _solve_corrected(view: SolverInput) -> SolverOutput:
    tokens = (view.up_token_id, view.down_token_id)
    joined = (*view.orders.up_bids, *view.orders.down_bids)
    if len(joined) + view.taker_in_flight > MAX_ORDERS:
        raise ValueError(f"orders: expected at most {MAX_ORDERS} with the taker order, got {len(joined)}")
    actions, reasons, imbalance = _policy(view.config).decide(_record(view))
    cancels = []
    limits = []
    takers = []
    # Plain tuples: reading numpy scalars one by one would cost most of the call.
    for kind, token, _, level, _, price_e4, size_micro, key in actions.tolist():
        price, size = price_e4 / PRICE_ONE_E4, size_micro / MICRO
        if kind == ACTION_CANCEL:
            cancels.append(joined[key].order_id)
        elif kind == ACTION_QUOTE:
            limits.append(LimitOrder(tokens[token], price, size, post_only=True, level=level))
        else:
            score = 100.0 * (1.0 - _cost_after(view, token, price, size))
            takers.append(TakerOrder(tokens[token], price, size, score))
    return SolverOutput(
        imbalance,
        tuple(cancels),
        tuple(limits),
        tuple(takers),
        Reason(reasons[0]),
        Reason(reasons[1]),
    )


def _cost_after(view: SolverInput, light: int, price: float, size: float) -> float:
    """Average cost of a pair in dollars after taking `size` of token `light` at `price`, fee included."""
    held = view.inventory
    sizes = (held.up_size, held.down_size)
    averages = (held.up_avg_price, held.down_avg_price)
    known = sizes[light] if averages[light] > 0 else 0.0
    paid = price + view.fee_rate * price * (1.0 - price)
    return averages[1 - light] + (known * averages[light] + size * paid) / (known + size)


def _record(view: SolverInput) -> npt.NDArray[np.void]:
    """Translate an input into the policy's integers; an order's key is its position among the joined bids."""
    held = view.inventory
    check_number("fee_rate", view.fee_rate, 0.0, 1.0, "of p(1-p)")
    for name in ("up_avg_price", "down_avg_price"):
        check_number(name, getattr(held, name), 0.0, 2.0, "dollars")
    record = np.zeros((), POLICY_INPUT_DTYPE)
    record["position_micro"] = (
        _size_micro("up_size", held.up_size),
        _size_micro("down_size", held.down_size),
    )
    record["cost_micro"] = (
        round(held.up_size * held.up_avg_price * MICRO),
        round(held.down_size * held.down_avg_price * MICRO),
    )
    for token, book in enumerate((view.up_orderbook, view.down_orderbook)):
        bid, ask = book.best_bid, book.best_ask
        record["top"][token] = (
            -1 if bid is None else _price_e4("best_bid price", bid[0]),
            -1 if ask is None else _price_e4("best_ask price", ask[0]),
            0 if bid is None else _size_micro("best_bid size", bid[1]),
            0 if ask is None else _size_micro("best_ask size", ask[1]),
            book.best_bid_is_ours,
            book.best_ask_is_ours,
        )
    record["tick_e4"] = round(view.config.tick_size * PRICE_ONE_E4)
    record["min_size_micro"] = _size_micro("min_size", view.min_size)
    record["fee_rate_ppm"] = round(view.fee_rate * MICRO)
    record["ms_to_end"] = np.iinfo(np.int64).max
    orders = record["orders"]
    index = 0
    for token, bids in enumerate((view.orders.up_bids, view.orders.down_bids)):
        for order in bids:
            orders[index] = (
                index,
                _size_micro("order original_size", order.original_size),
                _size_micro("order remaining_size", order.remaining_size),
                _price_e4("order price", order.price),
                token,
                0,
                ORDER_OPEN if order.is_resting else ORDER_UNKNOWN,
                0,
            )
            index += 1
    if view.taker_in_flight:
        # Only its presence counts here: its price is not known, and at price 0 it meets nothing.
        orders[index] = (TAKER_KEY, 1, 1, 0, 0, 0, ORDER_UNKNOWN, 1)
        index += 1
    record["n_orders"] = index
    return record
