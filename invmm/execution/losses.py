"""What has been lost at worst: per market, and over one UTC day.

A market is judged as if everything that is open ended badly: unmatched shares are worth nothing, a fill that
may still fail stands if that is worse and is void if that is worse, fees are in, expected rebates are not.
Matched pairs are worth their dollar. What rests in the book counts once it is filled.

A market counts on every UTC day until the one on which it ends. After a restart the figures of before count
on top of what the new ledger holds, until that one has as many legs as the old one had: then the fills have
been booked again.

>>> ledger = Ledger()
>>> about = dict(trade=1, key=7, outcome=Outcome.UP, side=Side.BUY, price_e4=4000, size_micro=10_000_000)
>>> _ = ledger.fill(**about)
>>> worst_micro(ledger, None), worst_micro(ledger, Outcome.UP)
(-4000000, 0)
>>> _ = ledger.fill(**about, status=OrderStatus.TRADE_CONFIRMED)
>>> worst_micro(ledger, Outcome.UP)
6000000
"""

from __future__ import annotations

from dataclasses import dataclass, field

from invmm.settlement.ledger import E10_PER_MICRO_DOLLAR, Ledger, taker_fee_micro
from invmm.types import PRICE_ONE_E4, OrderStatus, Outcome, Side

DAY_NS = 86_400 * 1_000_000_000


def worst_micro(ledger: Ledger, winner: Outcome | None) -> int:
    """Profit of one market at worst, micro-dollars, rounded down; a loss is negative."""
    return (
        min(_profit_e10(ledger, outcome) for outcome in (Outcome if winner is None else (winner,)))
        // E10_PER_MICRO_DOLLAR
    )


def _profit_e10(ledger: Ledger, winner: Outcome) -> int:
    total = 0
    for leg in ledger.legs.values():
        if leg.status == OrderStatus.TRADE_FAILED and not leg.conflict:
            continue
        worth = PRICE_ONE_E4 if leg.outcome == winner else 0
        gain = (worth - leg.price_e4) * leg.size_micro * (1 if leg.side == Side.BUY else -1)
        if leg.taker:
            fee = taker_fee_micro(leg.size_micro, leg.price_e4, ledger.fee_rate_ppm)
            gain -= fee * E10_PER_MICRO_DOLLAR
        is_certain = leg.status == OrderStatus.TRADE_CONFIRMED and not leg.conflict
        total += gain if is_certain else min(gain, 0)
    return total


@dataclass(slots=True)
class Kept:
    """What is remembered of one market: profit at worst, the legs that it was computed from, the last day on
    which it counts.
    """

    worst_micro: int
    legs: int
    last_day: int


@dataclass
class DayLoss:
    """Profit at worst of every market that counts today.

    Examples
    --------
    >>> day = DayLoss(0)
    >>> day.told("a", Kept(-3_000_000, legs=2, last_day=1))
    >>> day.told("b", Kept(1_000_000, legs=1, last_day=0))
    >>> day.micro
    2000000
    >>> day.turn(1)
    >>> day.micro
    3000000
    """

    number: int
    """Of the day: UTC days since 1970."""
    today: dict[str, Kept] = field(default_factory=dict)
    """By condition id."""
    before: dict[str, Kept] = field(default_factory=dict)
    """Of a process before this one."""

    @property
    def micro(self) -> int:
        """Loss of the day at worst, micro-dollars; 0 where it is none."""
        return max(0, -sum(k.worst_micro for each in (self.today, self.before) for k in each.values()))

    def told(self, market: str, kept: Kept) -> None:
        """A market's figures of now."""
        if market in self.before and kept.legs >= self.before[market].legs:
            del self.before[market]
        self.today[market] = kept

    def loss_of(self, market: str) -> int:
        """Loss of one market at worst, micro-dollars, with what a process before this one lost in it."""
        return max(0, -sum(each[market].worst_micro for each in (self.today, self.before) if market in each))

    def turn(self, number: int) -> None:
        """The day of now: what counted until yesterday no longer does."""
        if number > self.number:
            self.number = number
            self.today = {market: k for market, k in self.today.items() if k.last_day >= number}
            self.before = {market: k for market, k in self.before.items() if k.last_day >= number}

    def all(self) -> dict[str, Kept]:
        """Everything that counts, for a process after this one."""
        joined = dict(self.before)
        for market, now in self.today.items():
            was = self.before.get(market, Kept(0, 0, 0))
            joined[market] = Kept(
                was.worst_micro + now.worst_micro, was.legs + now.legs, max(was.last_day, now.last_day)
            )
        return joined
