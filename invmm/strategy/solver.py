"""`solve`: the inventory strategy's pure function on float values, for programs that call it themselves.

The arithmetic is compiled; this module translates names and units on the way in and out.
"""

from __future__ import annotations

from invmm._ext.compatible import solve_compatible
from invmm.strategy.vocabulary import LimitOrder, SolverInput, SolverOutput, TakerOrder
from invmm.types import Reason


def solve(view: SolverInput, compatible: bool = False) -> SolverOutput:
    """Compute what to cancel, place and take for one input; no side effects."""
    tokens = (view.up_token_id, view.down_token_id)
    bids = (view.orders.up_bids, view.orders.down_bids)
    joined = (*bids[0], *bids[1])
    imbalance, cancel, place, taker, reasons, _ = solve_compatible(
        view.config, view.inventory, (view.up_orderbook, view.down_orderbook), bids
    )
    return SolverOutput(
        imbalance,
        tuple(joined[index].order_id for index in cancel),
        tuple(LimitOrder(tokens[token], price, view.config.order_size) for token, _, price in place),
        () if taker is None else (TakerOrder(tokens[taker[0]], taker[1], taker[2], taker[3]),),
        Reason(reasons[0]),
        Reason(reasons[1]),
    )
