"""Fills to dollars, in integers: shares in 1e-6, prices in 1e-4 dollars, cash in 1e-10 (their product).

A leg is keyed by (trade, own order): repeats change nothing, FAILED voids it once, the first terminal stage
wins. Fees follow the venue's rule, `shares × rate × p × (1 − p)`, rounded to five decimals, charged to takers
only; makers are later paid a share of the fees that their fills generated, which is kept apart as an
expectation, not as cash.

>>> ledger = Ledger()
>>> _ = ledger.fill(trade=1, key=7, outcome=Outcome.UP, side=Side.BUY, price_e4=4800, size_micro=5_000_000)
>>> _ = ledger.fill(trade=2, key=8, outcome=Outcome.DOWN, side=Side.BUY, price_e4=5000, size_micro=5_000_000)
>>> ledger.pairs_micro, ledger.pair_cost
(5000000, 0.98)
>>> ledger.settle(Outcome.UP).pair_edge
0.1
"""

from __future__ import annotations

from dataclasses import dataclass, field

from invmm.types import MICRO, PRICE_ONE_E4, OrderStatus, Outcome, Side

E10_PER_MICRO_DOLLAR = 10_000
E10 = 10**10


def taker_fee_micro(size_micro: int, price_e4: int, rate_ppm: int) -> int:
    """Fee of a taker fill in micro-dollars (rounded to 1e-5 dollars, half up; below half of that it is 0)."""
    numerator = size_micro * rate_ppm * price_e4 * (PRICE_ONE_E4 - price_e4)
    return (numerator + 5 * 10**14) // 10**15 * 10


@dataclass
class Leg:
    """One fill of one own order."""

    trade: int
    key: int
    outcome: Outcome
    side: Side
    price_e4: int
    size_micro: int
    taker: bool
    status: OrderStatus
    time_ns: int
    level: int = 0

    @property
    def value_e10(self) -> int:
        """Price times size, 1e-10 dollars, never rounded."""
        return self.price_e4 * self.size_micro


@dataclass(frozen=True)
class Profit:
    """Where the dollars of one market came from, in dollars; `total` is their sum without the rebate, which
    is not cash yet.
    """

    pair_edge: float
    orphans: float
    fees: float
    rebates: float
    total: float


@dataclass
class Ledger:
    """All fills of one market; `fee_rate_ppm` is its fee rate, `rebate_ppm` the makers' share of that."""

    fee_rate_ppm: int = 70_000
    rebate_ppm: int = 200_000
    legs: dict[tuple[int, int], Leg] = field(default_factory=dict)

    def fill(
        self,
        *,
        trade: int,
        key: int,
        outcome: Outcome,
        side: Side,
        price_e4: int,
        size_micro: int,
        taker: bool = False,
        status: OrderStatus = OrderStatus.TRADE_MATCHED,
        time_ns: int = 0,
    ) -> bool:
        """Books one stage of one leg; whether anything changed."""
        known = self.legs.get((trade, key))
        if known is None:
            self.legs[trade, key] = Leg(
                trade, key, outcome, side, price_e4, size_micro, taker, status, time_ns
            )
            return True
        if known.status in (OrderStatus.TRADE_CONFIRMED, OrderStatus.TRADE_FAILED) or known.status == status:
            return False
        known.status = status
        return True

    @property
    def standing(self) -> list[Leg]:
        """Legs that have not failed, in order of arrival."""
        return [leg for leg in self.legs.values() if leg.status != OrderStatus.TRADE_FAILED]

    def held_micro(self, outcome: Outcome) -> int:
        """Shares held before resolution."""
        return sum(
            leg.size_micro if leg.side == Side.BUY else -leg.size_micro
            for leg in self.standing
            if leg.outcome == outcome
        )

    def _bought(self, outcome: Outcome) -> tuple[int, int]:
        legs = [leg for leg in self.standing if leg.outcome == outcome and leg.side == Side.BUY]
        return sum(leg.size_micro for leg in legs), sum(leg.value_e10 for leg in legs)

    def average(self, outcome: Outcome) -> float:
        """Average price paid for an outcome, dollars; 0 if none was bought."""
        size_micro, value_e10 = self._bought(outcome)
        return value_e10 / size_micro / PRICE_ONE_E4 if size_micro else 0.0

    @property
    def pairs_micro(self) -> int:
        """Matched Up+Down shares."""
        return max(0, min(self.held_micro(Outcome.UP), self.held_micro(Outcome.DOWN)))

    @property
    def pair_cost(self) -> float:
        """Average Up price plus average Down price, dollars; 0 while one of them is missing."""
        up, down = self.average(Outcome.UP), self.average(Outcome.DOWN)
        return up + down if up and down else 0.0

    @property
    def spent_e10(self) -> int:
        """Cash paid minus cash received for shares, fees apart, 1e-10 dollars."""
        return sum(leg.value_e10 if leg.side == Side.BUY else -leg.value_e10 for leg in self.standing)

    @property
    def fees_micro(self) -> int:
        """Taker fees, micro-dollars."""
        return sum(
            taker_fee_micro(leg.size_micro, leg.price_e4, self.fee_rate_ppm)
            for leg in self.standing
            if leg.taker
        )

    @property
    def rebates_micro(self) -> int:
        """Expected maker rebates, micro-dollars."""
        return sum(
            taker_fee_micro(leg.size_micro, leg.price_e4, self.fee_rate_ppm) * self.rebate_ppm // MICRO
            for leg in self.standing
            if not leg.taker
        )

    def cash_e10(self, start_e10: int, winner: Outcome | None) -> int:
        """Cash after all that is known: start − shares − fees, plus a dollar per winning share, if won."""
        paid = start_e10 - self.spent_e10 - self.fees_micro * E10_PER_MICRO_DOLLAR
        return paid if winner is None else paid + self.held_micro(winner) * E10_PER_MICRO_DOLLAR

    def settle(self, winner: Outcome | None) -> Profit:
        """The profit and its parts; without a winner unmatched shares count at their cost."""
        up, down = self.average(Outcome.UP), self.average(Outcome.DOWN)
        pair_edge_e10 = round(self.pairs_micro * E10_PER_MICRO_DOLLAR * (1 - up - down))
        gross_e10 = self.cash_e10(0, winner) + self.fees_micro * E10_PER_MICRO_DOLLAR
        if winner is None:
            gross_e10 += self.pairs_micro * E10_PER_MICRO_DOLLAR
            for outcome in Outcome:
                left = self.held_micro(outcome) - self.pairs_micro
                gross_e10 += round(left * self.average(outcome) * E10_PER_MICRO_DOLLAR)
        fees = self.fees_micro / MICRO
        return Profit(
            pair_edge=pair_edge_e10 / E10,
            orphans=(gross_e10 - pair_edge_e10) / E10,
            fees=-fees,
            rebates=self.rebates_micro / MICRO,
            total=gross_e10 / E10 - fees,
        )
