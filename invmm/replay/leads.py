"""Fills matched in order of time: which shares made pairs at what cost, and which were left over.

Everything is a lead: to sell Up at p leads the way that buying Down at 1 − p does, a dollar apart. So a fill
either adds to the lead of one token, or completes pairs with the oldest shares of the other token's lead.
Whatever way the money went, `pairs + orphans − fees` is the profit to the last 1e-10 dollar.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from invmm.settlement.ledger import E10_PER_MICRO_DOLLAR, Leg, taker_fee_micro
from invmm.types import PRICE_ONE_E4, Outcome, Side


@dataclass
class Leads:
    """What fills came to so far; money in 1e-10 dollars, shares in 1e-6."""

    fee_rate_ppm: int
    pairs_micro: int = 0
    pairs_e10: int = 0
    """A dollar a pair less what both halves cost, fees apart."""
    pair_fees_e10: int = 0
    dear_micro: int = 0
    """Pairs completed at a dollar or more, fees included."""
    dear_e10: int = 0
    """By how much more than a dollar each, in all."""
    fees_micro: int = 0
    open: deque[list[int]] = field(default_factory=deque)
    """Lots of the lead, oldest first: shares, price_e4, fee_e10 of those shares."""
    token: Outcome = Outcome.UP
    """Whose lead it is."""

    @property
    def lead_micro(self) -> int:
        """Up over Down, in shares; negative when Down leads."""
        return sum(lot[0] for lot in self.open) * (1 if self.token == Outcome.UP else -1)

    def orphans_e10(self, up_e4: float) -> float:
        """What the lead is worth above what was paid for it, fees apart, at a price of Up."""
        worth = up_e4 if self.token == Outcome.UP else PRICE_ONE_E4 - up_e4
        return sum(lot[0] * (worth - lot[1]) for lot in self.open)

    def take(self, leg: Leg) -> None:
        """The next fill."""
        token, price_e4 = leg.outcome, leg.price_e4
        if leg.side == Side.SELL:
            token, price_e4 = Outcome(1 - token), PRICE_ONE_E4 - price_e4
        fee_micro = taker_fee_micro(leg.size_micro, leg.price_e4, self.fee_rate_ppm) if leg.taker else 0
        self.fees_micro += fee_micro
        left, fee_e10 = leg.size_micro, fee_micro * E10_PER_MICRO_DOLLAR
        while left and self.open and self.token != token:
            lot = self.open[0]
            size = min(left, lot[0])
            fees_e10 = lot[2] * size // lot[0] + fee_e10 * size // left
            lot[2] -= lot[2] * size // lot[0]
            fee_e10 -= fee_e10 * size // left
            gain_e10 = size * (PRICE_ONE_E4 - lot[1] - price_e4)
            self.pairs_micro += size
            self.pairs_e10 += gain_e10
            self.pair_fees_e10 += fees_e10
            if gain_e10 <= fees_e10:
                self.dear_micro += size
                self.dear_e10 += fees_e10 - gain_e10
            lot[0] -= size
            left -= size
            if not lot[0]:
                self.open.popleft()
        if left:
            self.token = token
            self.open.append([left, price_e4, fee_e10])


def leads_of(legs: Iterable[Leg], fee_rate_ppm: int) -> Leads:
    """All fills of a market, in order of time."""
    leads = Leads(fee_rate_ppm)
    for leg in legs:
        leads.take(leg)
    return leads
