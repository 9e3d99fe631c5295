"""The account's limits, spelled out: every figure is a sum over everything, every time."""

from __future__ import annotations

from dataclasses import dataclass, field

from invmm.types import Reason, Side

MINUTE_NS = 60 * 10**9


@dataclass
class SlowAccount:
    max_total_e10: int
    reserve_e10: int
    max_orders: int
    per_minute: int
    shares: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    barred: dict[int, Reason] = field(default_factory=dict)
    stop: Reason = Reason.NONE
    parked_e10: int = 0
    cash: tuple[int, int] | None = None
    placed: list[int] = field(default_factory=list)

    def committed_e10(self) -> int:
        return sum(max(committed, open_) for committed, open_, _ in self.shares.values()) + self.parked_e10

    def open_e10(self) -> int:
        return sum(open_ for _, open_, _ in self.shares.values())

    def settled_e10(self) -> int:
        return self.committed_e10() - self.open_e10()

    def admit(self, market: int, side: int, cash_e10: int, now_ns: int) -> Reason:
        reason = self._why_not(market, side, cash_e10, now_ns)
        if reason is Reason.NONE:
            self.placed.append(now_ns)
            committed, open_, orders = self.shares.get(market, (0, 0, 0))
            more = cash_e10 if side == Side.BUY else 0
            self.shares[market] = (max(committed, open_) + more, open_ + more, orders + 1)
        return reason

    def _why_not(self, market: int, side: int, cash_e10: int, now_ns: int) -> Reason:
        if self.stop or self.barred.get(market, Reason.NONE):
            return self.stop or self.barred[market]
        if sum(orders for *_, orders in self.shares.values()) >= self.max_orders:
            return Reason.TOTAL_ORDERS
        if sum(now_ns - at_ns < MINUTE_NS for at_ns in self.placed) >= self.per_minute:
            return Reason.MINUTE_RATE
        if side != Side.BUY:
            return Reason.NONE
        if self.committed_e10() + cash_e10 > self.max_total_e10:
            return Reason.TOTAL_CASH
        if self.cash is not None:
            cash, settled_then = self.cash
            used = self.open_e10() + max(0, self.settled_e10() - settled_then)
            if used + cash_e10 > cash - self.reserve_e10:
                return Reason.RESERVE
        return Reason.NONE

    def park(self, market: int) -> None:
        committed, open_, _ = self.shares.pop(market, (0, 0, 0))
        self.parked_e10 += max(committed, open_, 0)
        self.barred.pop(market, None)

    def release(self, amount_e10: int) -> None:
        self.parked_e10 = max(0, self.parked_e10 - amount_e10)
