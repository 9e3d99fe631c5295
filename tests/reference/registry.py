"""The registry's rules over a set of evidence, slow and obvious: what is left when the order of arrival does not matter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from invmm.types import OrderStatus, Side


@dataclass(frozen=True)
class Order:
    """An own order: what a fill leg takes its token, side and price from."""

    key: int
    token: int
    side: Side
    price_e4: int
    size_micro: int


@dataclass(frozen=True)
class Stage:
    """One stage of one fill leg."""

    trade: int
    key: int
    status: OrderStatus
    size_micro: int


class RegistryTwin:
    """Position and cash after all evidence about fills, in whatever order and however often it came."""

    def __init__(self, orders: Iterable[Order], stages: Iterable[Stage]) -> None:
        self.position_micro, self.confirmed_micro, self.spent_e10 = [0, 0], [0, 0], 0
        known = {order.key: order for order in orders}
        legs: dict[tuple[int, int], set[Stage]] = {}
        for stage in stages:
            if stage.key in known:
                legs.setdefault((stage.trade, stage.key), set()).add(stage)
        self.legs = {name: said for name, said in legs.items() if all(s.status != OrderStatus.TRADE_FAILED for s in said)}
        for (_, key), said in self.legs.items():
            order, size_micro = known[key], next(iter(said)).size_micro
            signed_micro = size_micro if order.side == Side.BUY else -size_micro
            self.position_micro[order.token] += signed_micro
            self.spent_e10 += signed_micro * order.price_e4
            if any(stage.status == OrderStatus.TRADE_CONFIRMED for stage in said):
                self.confirmed_micro[order.token] += signed_micro
