"""Profitability of a whole ladder: what a pair costs if only the first bids fill, and if every bid fills.

The strategy itself tests the first level only; this is the stricter question, for those who want to ask it.
"""

from __future__ import annotations

from dataclasses import dataclass

from invmm.strategy.vocabulary import InventorySnapshot, Quote, QuoteLadder


@dataclass(frozen=True, slots=True)
class Profitability:
    """Average cost of a pair in dollars when level 0 alone fills (best case) and when all levels fill (worst
    case).

    Examples
    --------
    >>> Profitability(0.97, 0.98, is_profitable=True).worst_case
    0.98
    """

    best_case: float
    worst_case: float
    is_profitable: bool


def vwap(size: float, average: float, added: float, price: float) -> float:
    """Return the average price after adding `added` shares at `price` to `size` shares held at `average`.

    Examples
    --------
    >>> vwap(100.0, 0.50, 100.0, 0.25)
    0.375
    """
    total = size + added
    return (size * average + added * price) / total if total > 0 else 0.0


def check_profitability(
    inventory: InventorySnapshot, ladder: QuoteLadder, min_profit_margin: float = 0.01
) -> Profitability:
    """Tell whether pairs keep `min_profit_margin` dollars even if every bid of the ladder fills.

    A token that is neither held nor bid for has no price: then nothing is profitable.

    Examples
    --------
    >>> ladder = QuoteLadder(up=(Quote(0.5, 10.0), Quote(0.25, 10.0)), down=(Quote(0.375, 10.0),))
    >>> check_profitability(InventorySnapshot(), ladder)
    Profitability(best_case=0.875, worst_case=0.75, is_profitable=True)
    """
    best = worst = 0.0
    is_priced = True
    for size, average, quotes in (
        (inventory.up_size, inventory.up_avg_price, ladder.up),
        (inventory.down_size, inventory.down_avg_price, ladder.down),
    ):
        held = size if size > 0 and average > 0 else 0.0
        if not quotes and average <= 0:
            is_priced = False
        best += _after(held, average, quotes[:1])
        worst += _after(held, average, quotes)
    return Profitability(best, worst, is_priced and 1.0 - worst >= min_profit_margin)


def _after(held: float, average: float, quotes: tuple[Quote, ...]) -> float:
    if not quotes:
        return average
    for quote in quotes:
        average = vwap(held, average, quote.size, quote.price)
        held += quote.size
    return average
