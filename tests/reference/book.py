"""The book, slow and obvious: two dicts of sizes by price."""

from __future__ import annotations

from fractions import Fraction


class ReferenceBook:
    """Sizes in micro-shares by price in 1e-4 dollars; side 0 is the bid side."""

    def __init__(self) -> None:
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def apply(self, side: int, price_e4: int, size_micro: int) -> int:
        before = self.sides[side].pop(price_e4, 0)
        if size_micro:
            self.sides[side][price_e4] = size_micro
        return before

    def depth(self, side: int, levels: int = 10_000) -> list[tuple[int, int]]:
        return sorted(self.sides[side].items(), reverse=side == 0)[:levels]

    def best(self, side: int) -> tuple[int, int] | None:
        return next(iter(self.depth(side)), None)

    def size(self, side: int, price_e4: int) -> int:
        return self.sides[side].get(price_e4, 0)

    def vwap(self, side: int, size_micro: int) -> tuple[Fraction, int]:
        """Exact average price in dollars and the size that is there."""
        left, cost = size_micro, 0
        for price, size in self.depth(side):
            take = min(left, size)
            cost += take * price
            left -= take
        filled = size_micro - left
        return (Fraction(cost, filled * 10_000) if filled else Fraction(0)), filled
