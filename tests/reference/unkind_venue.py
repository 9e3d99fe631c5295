"""A venue and a network that somebody else decides for: which message arrives when, what is lost, refused or
filled. Plain Python, the truth to hold an engine's limits against.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from invmm.types import CommandKind, OrderStatus, Outcome, Reason, Side

SECOND = 1_000_000_000
EARLY_S = 60  # the venue ends an order this long before its stated expiration

News = dict[str, Any]


@dataclass
class Trade:
    """One fill of one order: `status` is its stage at the venue."""

    number: int
    key: int
    size_micro: int
    status: OrderStatus = OrderStatus.TRADE_MATCHED


@dataclass
class Resting:
    """An order that the venue has accepted once."""

    key: int
    token: Outcome
    price_e4: int
    size_micro: int
    ends_s: int
    alive: bool = True
    matched_micro: int = 0

    @property
    def left_micro(self) -> int:
        """What may still fill."""
        return self.size_micro - self.matched_micro if self.alive else 0


@dataclass
class UnkindVenue:
    """Own orders, their fills, and everything under way in both directions. Buys only."""

    orders: dict[int, Resting] = field(default_factory=dict)
    trades: list[Trade] = field(default_factory=list)
    handed: list[np.void] = field(default_factory=list)
    placements: list[np.void] = field(default_factory=list)
    cancels: list[int] = field(default_factory=list)
    unanswered: list[int] = field(default_factory=list)
    news: list[News] = field(default_factory=list)

    def take(self, commands: np.ndarray) -> None:
        """What the engine asks for is handed to the executor."""
        for command in commands:
            if command["kind"] == CommandKind.PLACE:
                assert command["side"] == Side.BUY
                self.handed.append(command)
            elif command["kind"] == CommandKind.CANCEL:
                if int(command["key"]) not in self.cancels:  # the executor keeps one entry per order
                    self.cancels.append(int(command["key"]))
            elif command["kind"] == CommandKind.RESEND:
                self.handed.append(command)

    def accept(self, command: np.void, now_s: float, willing: bool) -> None:
        """An order's bytes arrive; the answer is under way."""
        key = int(command["key"])
        known = self.orders.get(key)
        if known is not None:
            return self._answer(key, OrderStatus.DUPLICATED)
        if not willing or int(command["expiration_s"]) - EARLY_S <= now_s:
            return self._answer(key, OrderStatus.REJECTED, reason=Reason.VENUE_BALANCE)
        self.orders[key] = Resting(
            key,
            Outcome(int(command["token"])),
            int(command["price_e4"]),
            int(command["size_micro"]),
            int(command["expiration_s"]) - EARLY_S,
        )
        return self._answer(key, OrderStatus.LIVE)

    def cancel(self, key: int) -> None:
        """A cancel arrives; the answer is under way."""
        order = self.orders.get(key)
        if order is not None and order.alive:
            order.alive = False
            self._answer(key, OrderStatus.CANCELED)
        else:
            self._answer(key, OrderStatus.NOT_CANCELED)

    def fill(self, order: Resting, size_micro: int) -> None:
        """Somebody trades with an order."""
        order.matched_micro += size_micro
        if order.matched_micro == order.size_micro:
            order.alive = False
        trade = Trade(len(self.trades) + 1, order.key, size_micro)
        self.trades.append(trade)
        self.news.append(self.stage(trade))

    def settle(self, trade: Trade, status: OrderStatus) -> None:
        """The chain decides about a trade."""
        trade.status = status
        self.news.append(self.stage(trade))

    def expire(self, now_s: float) -> None:
        """Time ends orders without a word."""
        for order in self.orders.values():
            order.alive = order.alive and order.ends_s > now_s

    def asked(self, key: int) -> OrderStatus:
        """What a query by id says."""
        order = self.orders.get(key)
        if order is None:
            return OrderStatus.NOT_FOUND
        if order.alive:
            return OrderStatus.FOUND
        return OrderStatus.MATCHED if order.matched_micro == order.size_micro else OrderStatus.CANCELED

    def stage(self, trade: Trade) -> News:
        """The user channel's words about a trade."""
        return {
            "key": trade.key,
            "status": trade.status,
            "trade": trade.number,
            "size_micro": trade.size_micro,
        }

    def _answer(self, key: int, status: OrderStatus, **fields: Any) -> None:
        self.news.append({"key": key, "status": status, **fields})

    # ---- the truth -----------------------------------------------------------------------------------------

    def alive(self) -> list[Resting]:
        """The orders that rest."""
        return [order for order in self.orders.values() if order.alive]

    def committed_e10(self) -> int:
        """Cash in fills that may stand and in orders that rest."""
        filled = sum(
            trade.size_micro * self.orders[trade.key].price_e4
            for trade in self.trades
            if trade.status != OrderStatus.TRADE_FAILED
        )
        return filled + sum(order.left_micro * order.price_e4 for order in self.alive())

    def held_micro(self, token: Outcome, *, most: bool) -> int:
        """Shares of a token: at most those of trades that may stand, at least those that are confirmed."""
        counted = {OrderStatus.TRADE_CONFIRMED} | ({OrderStatus.TRADE_MATCHED} if most else set())
        return sum(
            trade.size_micro
            for trade in self.trades
            if trade.status in counted and self.orders[trade.key].token == token
        )

    def lead_micro(self, token: Outcome) -> int:
        """How far a token's shares could come to lead over the other's."""
        resting = sum(order.left_micro for order in self.alive() if order.token == token)
        other = Outcome(1 - token)
        return self.held_micro(token, most=True) - self.held_micro(other, most=False) + resting

    def best_bid_e4(self, token: Outcome) -> int:
        """Highest own bid for a token, 0 if there is none."""
        return max((order.price_e4 for order in self.alive() if order.token == token), default=0)
