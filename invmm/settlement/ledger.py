"""Fills to dollars, in integers: shares in 1e-6, prices in 1e-4 dollars, cash in 1e-10 (their product).

A leg is keyed by (trade, own order): repeats change nothing. It is provisional (matched, mined, retrying)
until CONFIRMED; FAILED voids it once. The first of the two stays; the other one after it is a conflict, after
which nobody knows what is held: `conflicts` says so. Of a leg told with two sizes the larger counts. Neither
order nor repetition of anything else changes a ledger.

Rounding happens once, where cash moves, to the micro-dollar and never in our favour: over all maker fills of
an order together (its amounts were signed together), by itself for a taker's fill. Fees follow the venue's
rule, `shares × rate × p × (1 − p)`, rounded to five decimals, charged to takers only; makers are later paid a
share of the fees that their fills generated, which is kept apart as an expectation, not as cash. Shares that
go (sold, merged, redeemed) take their part of what all shares of their token cost: the average over all that
was bought, so that the order of events does not matter.

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
TERMINAL = (OrderStatus.TRADE_CONFIRMED, OrderStatus.TRADE_FAILED)


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
    conflict: bool = False  # CONFIRMED and FAILED were both told
    ended_ns: int = 0  # when the first of them was heard

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
    """All fills of one market; `fee_rate_ppm` is its fee rate, `rebate_ppm` the makers' share of that.

    Examples
    --------
    >>> ledger = Ledger()
    >>> about = dict(trade=1, key=7, outcome=Outcome.UP, side=Side.BUY, price_e4=4000, size_micro=10_000_000)
    >>> ledger.fill(**about)
    True
    >>> ledger.interval(Outcome.UP)
    (0, 10000000)
    >>> ledger.fill(**about, status=OrderStatus.TRADE_CONFIRMED)
    True
    >>> ledger.interval(Outcome.UP), ledger.cash_micro(100_000_000)
    ((10000000, 10000000), 96000000)
    """

    fee_rate_ppm: int = 70_000
    rebate_ppm: int = 200_000
    legs: dict[tuple[int, int], Leg] = field(default_factory=dict)
    merges: dict[str, int] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    redemptions: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    booked_ns: dict[str, int] = field(default_factory=dict)  # when merges and splits were
    promised_micro: int = 0  # pairs promised to a merge that is not booked yet, and may be made already

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
        """Books one stage of one leg; whether anything changed.

        Parameters
        ----------
        trade, key : int
            The venue's trade (`trade_key` of its id) and our order: together they name the leg.
        outcome, side, price_e4, size_micro
            Token, side and a maker's price from our own order; the size, and a taker's price, as told.
        taker : bool
            Whether our order took: then it pays the fee.
        status : OrderStatus
            TRADE_MATCHED, TRADE_MINED, TRADE_RETRYING, TRADE_CONFIRMED or TRADE_FAILED.
        time_ns : int
            When it was heard.
        """
        known = self.legs.get((trade, key))
        if known is None:
            leg = Leg(trade, key, outcome, side, price_e4, size_micro, taker, status, time_ns)
            leg.ended_ns = time_ns if status in TERMINAL else 0
            self.legs[trade, key] = leg
            return True
        changed = self._revise(known, price_e4, size_micro, taker)
        if known.status in TERMINAL:
            known.conflict |= status in TERMINAL and status != known.status
            return changed
        if status in TERMINAL or status > known.status:
            known.status = status
            known.ended_ns = time_ns if status in TERMINAL else 0
            return True
        return changed

    @staticmethod
    def _revise(leg: Leg, price_e4: int, size_micro: int, taker: bool) -> bool:
        """The larger size and, of a taker, the worse price count."""
        worse = max if leg.side == Side.BUY else min
        if taker and leg.taker:
            price_e4 = worse(leg.price_e4, price_e4)
        elif not taker:
            price_e4 = leg.price_e4
        told = (max(leg.size_micro, size_micro), price_e4, leg.taker or taker)
        if told == (leg.size_micro, leg.price_e4, leg.taker):
            return False
        leg.size_micro, leg.price_e4, leg.taker = told
        return True

    def merge(self, name: str, pairs_micro: int) -> bool:
        """Takes pairs out for a dollar each; False for a merge whose `name` (its transaction) is known."""
        if pairs_micro <= 0:
            raise ValueError(f"pairs_micro: expected more than 0, got {pairs_micro}")
        if name in self.merges:
            return False
        self.merges[name] = pairs_micro
        return True

    def split(self, name: str, pairs_micro: int) -> bool:
        """Brings pairs in for a dollar each, half of it a share; False for a split whose `name` is known."""
        if pairs_micro <= 0:
            raise ValueError(f"pairs_micro: expected more than 0, got {pairs_micro}")
        if name in self.splits:
            return False
        self.splits[name] = pairs_micro
        return True

    def pairs_left(self, name: str, left_micro: int, time_ns: int = 0) -> None:
        """So many pairs have left by merges, less those that splits brought; `name` did what is new of it."""
        moved_micro = left_micro - self.merged_micro + self.split_micro
        if not moved_micro:
            return
        name = f"{name}:{left_micro}"
        self.booked_ns[name] = time_ns
        if moved_micro > 0:
            self.merge(name, moved_micro)
        else:
            self.split(name, -moved_micro)

    def redeem(self, name: str, up_micro: int, down_micro: int, paid_micro: int) -> bool:
        """Takes resolved shares out for what they were paid; False for a redemption whose `name` is known."""
        if min(up_micro, down_micro, paid_micro) < 0 or paid_micro > up_micro + down_micro:
            raise ValueError(
                f"redemption: expected at least 0 each and at most a dollar a share, got {up_micro} Up and "
                f"{down_micro} Down for {paid_micro} micro-dollars"
            )
        if name in self.redemptions:
            return False
        self.redemptions[name] = (up_micro, down_micro, paid_micro)
        return True

    # ---- shares ------------------------------------------------------------------------------------------

    @property
    def standing(self) -> list[Leg]:
        """Legs that have not failed, in order of arrival."""
        return [leg for leg in self.legs.values() if leg.status != OrderStatus.TRADE_FAILED]

    @property
    def unsettled(self) -> list[Leg]:
        """Legs that are neither confirmed nor failed."""
        return [leg for leg in self.legs.values() if leg.status not in TERMINAL]

    @property
    def conflicts(self) -> list[Leg]:
        """Legs that were both confirmed and failed. Any of them means: trade no more, look at the chain."""
        return [leg for leg in self.legs.values() if leg.conflict]

    @property
    def merged_micro(self) -> int:
        """Pairs merged so far."""
        return sum(self.merges.values())

    @property
    def split_micro(self) -> int:
        """Pairs that splits have brought so far."""
        return sum(self.splits.values())

    @property
    def settled_cash_micro(self) -> int:
        """What settlement has brought in micro-dollars: merged pairs and redemptions, less what was split."""
        redeemed = sum(paid for _, _, paid in self.redemptions.values())
        return self.merged_micro - self.split_micro + redeemed

    def booked_since(self, since_ns: int) -> tuple[int, int]:
        """Pairs of merges and of splits that were booked after that time: a balance of then may lack them."""
        merged, split = (
            sum(pairs for name, pairs in jobs.items() if self.booked_ns.get(name, 0) > since_ns)
            for jobs in (self.merges, self.splits)
        )
        return merged, split

    def settled_micro(self, outcome: Outcome) -> int:
        """Shares of an outcome that settlement has taken: merged and redeemed, less those that splits
        brought.
        """
        redeemed = sum(shares[outcome] for shares in self.redemptions.values())
        return self.merged_micro - self.split_micro + redeemed

    def held_micro(self, outcome: Outcome) -> int:
        """Shares that are still held, provisional fills included; at the resolution a winning one is worth a
        dollar.
        """
        return self._size(outcome, Side.BUY) - self._size(outcome, Side.SELL) - self.settled_micro(outcome)

    def traded_micro(self, outcome: Outcome) -> int:
        """Shares bought less sold, provisional fills included, whatever settlement did with them since."""
        return self.held_micro(outcome) + self.settled_micro(outcome)

    def interval(self, outcome: Outcome) -> tuple[int, int]:
        """Least and most shares held once every provisional fill has ended."""
        buys, sells = self._size(outcome, Side.BUY), self._size(outcome, Side.SELL)
        settled = self.settled_micro(outcome)
        return (
            self._size(outcome, Side.BUY, confirmed=True) - sells - settled,
            buys - self._size(outcome, Side.SELL, confirmed=True) - settled,
        )

    def _size(self, outcome: Outcome, side: Side, *, confirmed: bool = False) -> int:
        return sum(
            leg.size_micro
            for leg in self.standing
            if leg.outcome == outcome
            and leg.side == side
            and (not confirmed or leg.status == OrderStatus.TRADE_CONFIRMED)
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
        """Matched Up+Down shares that are held."""
        return max(0, min(self.held_micro(Outcome.UP), self.held_micro(Outcome.DOWN)))

    @property
    def matched_micro(self) -> int:
        """Matched Up+Down shares that were bought, whatever settlement did with them since."""
        return max(0, min(self.traded_micro(Outcome.UP), self.traded_micro(Outcome.DOWN)))

    @property
    def pair_cost(self) -> float:
        """Average Up price plus average Down price, dollars; 0 while one of them is missing."""
        up, down = self.average(Outcome.UP), self.average(Outcome.DOWN)
        return up + down if up and down else 0.0

    # ---- cash --------------------------------------------------------------------------------------------

    @property
    def spent_e10(self) -> int:
        """Cash paid minus cash received for shares, fees apart, 1e-10 dollars, not rounded."""
        return sum(leg.value_e10 if leg.side == Side.BUY else -leg.value_e10 for leg in self.standing)

    def paid_micro(self, outcome: Outcome, side: Side) -> int:
        """Micro-dollars that moved for an outcome's shares bought or sold, fees apart: rounded as cash is.

        A taker's fill is rounded by itself. What an order's fills that stand cost in all is rounded as well,
        and those that rested moved what they added to that.
        """
        up = E10_PER_MICRO_DOLLAR - 1 if side == Side.BUY else 0
        taken: dict[int, int] = {}
        rested: dict[int, tuple[int, int]] = {}  # price and size
        moved = 0
        for leg in self.standing:
            if (leg.outcome, leg.side) != (outcome, side):
                continue
            if leg.taker:
                moved += (leg.value_e10 + up) // E10_PER_MICRO_DOLLAR
                taken[leg.key] = taken.get(leg.key, 0) + leg.size_micro
            else:
                rested[leg.key] = leg.price_e4, rested.get(leg.key, (0, 0))[1] + leg.size_micro
        for key, (price_e4, size_micro) in rested.items():
            first_micro = taken.get(key, 0)
            for sign, total_micro in ((1, first_micro + size_micro), (-1, first_micro)):
                moved += sign * ((total_micro * price_e4 + up) // E10_PER_MICRO_DOLLAR)
        return moved

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

    def cash_micro(self, start_micro: int = 0, winner: Outcome | None = None) -> int:
        """Cash after all that is known, micro-dollars: start − bought + sold + settled − fees, plus a dollar
        per winning share that is still held, if won.
        """
        moved = self.settled_cash_micro - self.fees_micro
        for outcome in Outcome:
            moved += self.paid_micro(outcome, Side.SELL) - self.paid_micro(outcome, Side.BUY)
        return start_micro + moved + (0 if winner is None else self.held_micro(winner))

    def cash_e10(self, start_e10: int, winner: Outcome | None) -> int:
        """As `cash_micro`, in 1e-10 dollars and before any rounding."""
        settled_micro = self.settled_cash_micro - self.fees_micro
        paid = start_e10 - self.spent_e10 + settled_micro * E10_PER_MICRO_DOLLAR
        return paid if winner is None else paid + self.held_micro(winner) * E10_PER_MICRO_DOLLAR

    def cost_micro(self, outcome: Outcome) -> int:
        """Micro-dollars that the held shares of an outcome cost, fees apart; nothing is held below 0."""
        bought = self._size(outcome, Side.BUY) + self.split_micro
        held, paid = max(0, self.held_micro(outcome)), self._paid_in_micro(outcome)
        return paid * held // bought if held < bought else paid

    def _paid_in_micro(self, outcome: Outcome) -> int:
        """Micro-dollars that all shares of an outcome cost, those of splits at half a dollar."""
        half = (self.split_micro + (outcome == Outcome.UP)) // 2  # the odd one counts for Up
        return self.paid_micro(outcome, Side.BUY) + half

    def realised_micro(self, winner: Outcome | None = None) -> int:
        """Profit made so far, micro-dollars: what came in for shares that are gone, less what they cost and
        all fees. With a winner nothing is held any more.
        """
        made = self.settled_cash_micro + self.split_micro - self.fees_micro
        for outcome in Outcome:
            gone = self._paid_in_micro(outcome)
            gone -= self.cost_micro(outcome) if winner is None else 0
            made += self.paid_micro(outcome, Side.SELL) - gone
        return made + (0 if winner is None else self.held_micro(winner))

    def settle(self, winner: Outcome | None) -> Profit:
        """The profit and its parts; without a winner unmatched shares count at their cost."""
        up, down = self.average(Outcome.UP), self.average(Outcome.DOWN)
        pair_edge_e10 = round(self.matched_micro * E10_PER_MICRO_DOLLAR * (1 - up - down))
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
