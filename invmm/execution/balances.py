"""What the venue's balances must be if our ledgers are right: bounds, because settlement takes its time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from invmm.settlement.ledger import E10_PER_MICRO_DOLLAR, Ledger, Leg, taker_fee_micro
from invmm.types import OrderStatus, Outcome, Side

SETTLING_NS = 60 * 1_000_000_000  # balances lag: a leg counts as on its way for so long after its end
LASTING_NS = 10 * 1_000_000_000  # what two passes within less say may be one lagging list
TOLERANCE_MICRO = 10_000  # 0.01 share or dollar, in comparisons only


def _is_certain(leg: Leg, now_ns: int) -> bool:
    return leg.status == OrderStatus.TRADE_CONFIRMED and now_ns - leg.ended_ns > SETTLING_NS


def cash_bounds(ledgers: Iterable[Ledger], now_ns: int) -> tuple[int, int]:
    """Least and most change of the collateral by all fills and settlement that are known, micro-dollars."""
    low = high = 0
    for ledger in ledgers:
        merged_micro, split_micro = ledger.booked_since(now_ns - SETTLING_NS)
        low += ledger.settled_cash_micro - merged_micro
        high += ledger.settled_cash_micro + split_micro + ledger.promised_micro
        for leg in ledger.standing:
            moved = leg.value_e10 // E10_PER_MICRO_DOLLAR * (-1 if leg.side == Side.BUY else 1)
            if leg.taker:
                moved -= taker_fee_micro(leg.size_micro, leg.price_e4, ledger.fee_rate_ppm)
            low += moved if moved < 0 or _is_certain(leg, now_ns) else 0
            high += moved if moved > 0 or _is_certain(leg, now_ns) else 0
    return low, high


def token_bounds(ledger: Ledger, outcome: Outcome, now_ns: int) -> tuple[int, int]:
    """Least and most change of an outcome's shares by all fills and settlement known, micro-shares."""
    merged_micro, split_micro = ledger.booked_since(now_ns - SETTLING_NS)
    low = -ledger.settled_micro(outcome) - split_micro - ledger.promised_micro
    high = -ledger.settled_micro(outcome) + merged_micro
    for leg in ledger.standing:
        if leg.outcome == outcome:
            moved = leg.size_micro if leg.side == Side.BUY else -leg.size_micro
            low += moved if moved < 0 or _is_certain(leg, now_ns) else 0
            high += moved if moved > 0 or _is_certain(leg, now_ns) else 0
    return low, high


@dataclass
class Balance:
    """One balance of the venue against its bounds, from pass to pass.

    What was held before the first fill is read off the first balance with nothing under way. A balance that
    is outside in consecutive passes at least `lasting_ns` apart is a difference; told once.

    Examples
    --------
    >>> cash = Balance()
    >>> cash.differs(100_000_000, 0, 0, at_ns=0), cash.differs(95_000_000, -5_000_000, 0, at_ns=10**10)
    (0, 0)
    >>> [cash.differs(94_000_000, -5_000_000, 0, at_ns=second * 10**9) for second in (20, 25, 30)]
    [0, 0, -1000000]
    """

    lasting_ns: int = LASTING_NS
    before_micro: int | None = None
    outside_since_ns: int | None = None

    def differs(self, balance_micro: int, low_micro: int, high_micro: int, *, at_ns: int) -> int:
        """Micro units outside the bounds, below 0 if it is too little; 0 if it agrees or may still."""
        if self.before_micro is None:
            if low_micro == high_micro:
                self.before_micro = balance_micro - low_micro
            return 0
        difference = 0
        if balance_micro < self.before_micro + low_micro - TOLERANCE_MICRO:
            difference = balance_micro - self.before_micro - low_micro
        elif balance_micro > self.before_micro + high_micro + TOLERANCE_MICRO:
            difference = balance_micro - self.before_micro - high_micro
        if not difference:
            self.outside_since_ns = None
            return 0
        if self.outside_since_ns is None:
            self.outside_since_ns = at_ns
        if at_ns - self.outside_since_ns < self.lasting_ns:
            return 0
        self.before_micro = self.outside_since_ns = None  # told; from here on anew
        return difference
