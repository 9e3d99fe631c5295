"""The corrected inventory policy, slow and obvious: exact fractions, prices tried tick by tick.

Prices are 1e-4 dollars, sizes micro-shares, money micro-dollars, as in the compiled policy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil

from invmm.types import Reason

ONE, CENT = 10_000, 100
OPEN, PENDING_NEW, PENDING_CANCEL, UNKNOWN = 1, 2, 3, 4


@dataclass
class Order:
    key: int
    token: int
    price: int
    remaining: int
    state: int = OPEN
    side: int = 0
    is_taker: bool = False


@dataclass
class Top:
    bid: int | None = None
    ask: int | None = None
    ask_size: int = 0
    ask_is_ours: bool = False


@dataclass
class View:
    position: tuple[int, int] = (0, 0)
    cost: tuple[int, int] = (0, 0)
    top: tuple[Top, Top] = field(default_factory=lambda: (Top(), Top()))
    tick: int = 100
    min_size: int = 5_000_000
    fee_ppm: int = 70_000
    orders: list[Order] = field(default_factory=list)


@dataclass
class Rule:
    """Dollars, shares and cents as a user writes them, exact."""

    num_levels: int = 3
    offset: Fraction = Fraction(1, 100)
    margin: Fraction = Fraction(1, 100)
    max_imbalance: Fraction = Fraction(8, 10)
    order_size: int = 100_000_000
    spread: Fraction = Fraction(1)


def up_micro(value: Fraction) -> Fraction:
    """Round up to a micro-dollar: every estimate of what was paid errs against us."""
    return Fraction(ceil(value * 1_000_000), 1_000_000)


class Decision:
    def __init__(self, rule: Rule, view: View) -> None:
        self.rule, self.view = rule, view
        total = max(sum(view.position), min(rule.order_size * max(rule.num_levels, 1), 10**12))
        self.net = view.position[0] - view.position[1]
        self.imbalance = Fraction(self.net, total)
        self.held, self.cost, self.average = [0, 0], [0, 0], [Fraction(0)] * 2
        for token in (0, 1):
            if view.position[token] and view.cost[token]:
                self.held[token] = view.position[token]
                self.cost[token] = min(view.cost[token], 2 * view.position[token])
                self.average[token] = up_micro(Fraction(self.cost[token], self.held[token]))
        self.reason = [Reason.NONE, Reason.NONE]
        self.best = [self.first_bid(0), self.first_bid(1)]
        self.fit()
        self.take = self.taker()
        self.ladders = [self.ladder(0), self.ladder(1)]
        self.diff()

    def floor_tick(self, price: Fraction) -> int:
        """Highest tick at or below a price in dollars; 0 if there is none."""
        return max(0, price * ONE // self.view.tick) * self.view.tick

    def anchor(self, token: int) -> Fraction:
        heavy = max(self.imbalance if token == 0 else -self.imbalance, Fraction(0))
        ask = self.view.top[token].ask
        assert ask is not None
        return Fraction(ask, ONE) - self.rule.offset - up_micro(self.rule.offset * heavy)

    def first_bid(self, token: int) -> int:
        rule, top, other = self.rule, self.view.top[token], self.view.top[1 - token]
        heavy = self.imbalance if token == 0 else -self.imbalance
        for failed, reason in (
            (rule.num_levels == 0, Reason.NOT_WANTED),
            (rule.order_size < self.view.min_size, Reason.BELOW_MIN_SIZE),
            (heavy >= rule.max_imbalance, Reason.IMBALANCE),
            (top.ask is None, Reason.NO_ASK),
        ):
            if failed:
                self.reason[token] = reason
                return 0
        if self.average[1 - token] > 0:
            cap = 1 - self.average[1 - token] - rule.margin
        elif other.ask is not None:
            cap = 1 - Fraction(other.ask, ONE) - rule.margin
        else:
            cap = Fraction(1, 2) - rule.margin
        anchor = self.anchor(token)
        price = self.floor_tick(min(anchor, cap))
        if price < CENT:
            self.reason[token] = Reason.UNPROFITABLE if cap < anchor else Reason.BELOW_MIN_PRICE
            return 0
        asks = [top.ask] + ([ONE - other.bid] if other.bid is not None else [])
        while price >= CENT and any(price >= ask for ask in asks if ask is not None):
            price -= self.view.tick
        if price < CENT:
            self.reason[token] = Reason.POST_ONLY
            return 0
        return price

    def projected(self, token: int) -> Fraction:
        price, size = self.best[token], self.rule.order_size
        if price == 0:
            return self.average[token]
        paid = Fraction(self.cost[token]) + Fraction(size * price, ONE)
        return up_micro(paid / (self.held[token] + size))

    def fits(self) -> bool:
        return (
            self.projected(0) + self.projected(1) <= 1 - self.rule.margin
            and self.best[0] + self.best[1] <= ONE - self.view.tick
        )

    def lower(self, token: int) -> None:
        self.best[token] -= self.view.tick
        if self.best[token] < CENT:
            self.best[token] = 0
            self.reason[token] = Reason.UNPROFITABLE

    def fit(self) -> None:
        while all(self.best) and not self.fits():
            if self.view.position[0] >= self.view.position[1]:
                self.lower(0)
            if self.view.position[1] >= self.view.position[0]:
                self.lower(1)
        for token in (0, 1):
            while self.best[token] and not self.best[1 - token]:
                if self.average[1 - token] > 0 and self.fits():
                    break
                self.lower(token)

    def ladder(self, token: int) -> list[tuple[int, int]]:
        """(price, level), best first."""
        if not self.best[token]:
            return []
        levels: dict[int, int] = {}
        for level in range(self.rule.num_levels):
            price = self.floor_tick(self.anchor(token) - level * self.rule.spread / 100)
            price = min(price, self.best[token])
            if price >= CENT:
                levels.setdefault(price, level)
        return list(levels.items())

    def possibly_live(self) -> list[Order]:
        return [order for order in self.view.orders if order.remaining > 0]

    def meets_own(self, token: int, price: int) -> bool:
        live = [(order.token, order.side, order.price) for order in self.possibly_live()]
        if getattr(self, "take", None):
            live.append((self.take[0], 0, self.take[1]))
        return any(
            (side == 0 and other != token and price + theirs >= ONE)
            or (side == 1 and other == token and price >= theirs)
            for other, side, theirs in live
        )

    def taker(self) -> tuple[int, int, int] | None:
        """(token, price, size) or None."""
        light = 1 if self.net > 0 else 0
        heavy, top, view = 1 - light, self.view.top[light], self.view
        if self.net == 0 or abs(self.imbalance) < Fraction(1, 10) or top.ask is None or top.ask_is_ours:
            return None
        if self.average[heavy] == 0 or any(order.is_taker for order in self.possibly_live()):
            return None
        size = min(abs(self.net), top.ask_size, self.rule.order_size) // 10_000 * 10_000
        if size < view.min_size or size * top.ask < 1_000_000 * ONE or self.meets_own(light, top.ask):
            return None
        price = Fraction(top.ask, ONE)
        paid = price + up_micro(Fraction(view.fee_ppm, 1_000_000) * price * (1 - price))
        if self.held[light]:
            paid = up_micro((self.cost[light] + size * paid) / (self.held[light] + size))
        return (light, top.ask, size) if self.average[heavy] + paid <= 1 - self.rule.margin else None

    def diff(self) -> None:
        tolerance = max(self.rule.order_size // 100, 100_000)
        self.cancels: list[tuple[int, Reason]] = []
        self.quotes: list[tuple[int, int, int]] = []
        for token in (0, 1):
            free = [price for price, _ in self.ladders[token]]
            for order in self.view.orders:
                if order.token != token or order.is_taker or order.state not in (OPEN, PENDING_NEW):
                    continue
                near = abs(order.remaining - self.rule.order_size) < tolerance
                if order.side == 0 and near and order.price in free:
                    free.remove(order.price)
                else:
                    reason = Reason.NOT_WANTED if self.ladders[token] else self.reason[token]
                    self.cancels.append((order.key, reason))
            placed = [
                (token, level, price)
                for price, level in self.ladders[token]
                if price in free and not self.meets_own(token, price)
            ]
            self.quotes += placed
            if placed or len(free) < len(self.ladders[token]):
                self.reason[token] = Reason.NONE
            elif self.ladders[token]:
                self.reason[token] = Reason.SELF_CROSS
