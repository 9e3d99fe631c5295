"""The exposure of a market, and a venue whose messages may take effect in any order: slow, obvious twins."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

from invmm.types import Reason, Side

UP, DOWN, BUY, SELL = 0, 1, Side.BUY, Side.SELL
ONE_E4 = 10_000
DUST = 10_000


@dataclass
class Bounds:
    """The limits of one market: shares in 1e-6, cash in 1e-10 dollars."""

    direction: int
    gross: int
    cash_e10: int
    orders: int


@dataclass(frozen=True)
class Resting:
    """An order that may be alive: unfilled shares, 1e-6."""

    token: int
    side: int
    price_e4: int
    left: int


@dataclass
class State:
    """What a market holds at worst: least and most shares of each token, cash spent, orders."""

    low: list[int] = field(default_factory=lambda: [0, 0])
    high: list[int] = field(default_factory=lambda: [0, 0])
    spent_e10: int = 0
    orders: list[Resting] = field(default_factory=list)

    def left(self, token: int, side: int) -> int:
        return sum(o.left for o in self.orders if (o.token, o.side) == (token, side))

    def lead(self, token: int) -> int:
        """Shares that a token could be ahead of the other one by."""
        other = 1 - token
        return self.high[token] - self.low[other] + self.left(token, BUY) + self.left(other, SELL)

    def cash_e10(self) -> int:
        return self.spent_e10 + sum(o.left * o.price_e4 for o in self.orders if o.side == BUY)

    def crosses_itself(self) -> bool:
        """Whether two of the orders would match each other, over one token or both."""
        for one, two in product(self.orders, self.orders):
            total = one.price_e4 + two.price_e4
            mirrored = one.side == two.side and one.token != two.token
            if mirrored and (total >= ONE_E4 if one.side == BUY else total <= ONE_E4):
                return True
            facing = (one.side, two.side) == (BUY, SELL) and one.token == two.token
            if facing and one.price_e4 >= two.price_e4:
                return True
        return False

    def breaches(self, bounds: Bounds) -> list[str]:
        """Every limit that does not hold."""
        found = [
            f"lead of {token}: {self.lead(token)}"
            for token in (UP, DOWN)
            if self.lead(token) > bounds.direction
        ]
        if self.cash_e10() > bounds.cash_e10:
            found.append(f"cash: {self.cash_e10()}")
        if sum(o.left for o in self.orders) > bounds.gross:
            found.append("gross")
        if len(self.orders) > bounds.orders:
            found.append(f"orders: {len(self.orders)}")
        found += [f"sold more of {t} than held" for t in (UP, DOWN) if self.left(t, SELL) > self.low[t]]
        if self.crosses_itself():
            found.append(f"own orders match each other: {self.orders}")
        return found

    def refusal(self, bounds: Bounds, new: Resting) -> Reason:
        """Why one more order would be too much: the first limit that would break, in the desk's order."""
        after = State(self.low, self.high, self.spent_e10, [*self.orders, new])
        heavy = new.token if new.side == BUY else 1 - new.token
        if len(after.orders) > bounds.orders:
            return Reason.ORDER_LIMIT
        if any(State(orders=[old, new]).crosses_itself() for old in self.orders):
            return Reason.SELF_CROSS
        if new.side == BUY and after.cash_e10() > bounds.cash_e10:
            return Reason.CASH
        if new.side == SELL and after.left(new.token, SELL) > self.low[new.token]:
            return Reason.CASH
        if after.lead(heavy) > bounds.direction:
            return Reason.DIRECTION
        if sum(o.left for o in after.orders) > bounds.gross:
            return Reason.GROSS
        return Reason.NONE


@dataclass
class VenueOrder:
    """One order as the venue has it."""

    key: int
    token: int
    side: int
    price_e4: int
    size: int
    filled: int = 0
    resting: bool = False
    over: bool = False


@dataclass
class Truth:
    """A venue that takes each message when the adversary lets it, and the true state of the market.

    An order's fills are told before its cancellation is: that is what makes an acknowledged cancel a proof of
    how much was bought.
    """

    orders: dict[int, VenueOrder] = field(default_factory=dict)
    requests: list[tuple[str, int]] = field(default_factory=list)
    answers: list[tuple[str, int, int, int]] = field(default_factory=list)  # what, key, shares, trade
    held: list[int] = field(default_factory=lambda: [0, 0])
    spent_e10: int = 0
    trades: int = 0

    def asked(self, kind: str, key: int, order: VenueOrder | None = None) -> None:
        if order is not None:
            self.orders[key] = order
        self.requests.append((kind, key))

    def arrive(self, index: int) -> None:
        """A request takes effect."""
        kind, key = self.requests.pop(index)
        order = self.orders.get(key)
        if order is None:
            return
        if kind == "place":
            order.resting = not order.over
            self.answers.append(("live" if order.resting else "rejected", key, 0, 0))
        elif order.resting:
            order.resting, order.over = False, True
            self.answers.append(("canceled", key, 0, 0))
        else:
            self.answers.append(("not_canceled", key, 0, 0))

    def refuse(self, index: int) -> None:
        """A placement is refused on arrival."""
        _, key = self.requests.pop(index)
        self.orders[key].over = True
        self.answers.append(("rejected", key, 0, 0))

    def fill(self, key: int, shares: int) -> None:
        """Somebody trades against a resting order."""
        order = self.orders[key]
        shares = min(shares, order.size - order.filled)
        order.filled += shares
        self.trades += 1
        sign = 1 if order.side == BUY else -1
        self.held[order.token] += sign * shares
        self.spent_e10 += sign * shares * order.price_e4
        if order.size - order.filled < DUST:
            order.resting, order.over = False, True
        self.answers.append(("fill", key, shares, self.trades))

    def tell(self, index: int) -> tuple[str, int, int, int]:
        """The next answer about the order of the one at `index`: fills before the end."""
        key = self.answers[index][1]
        first = next(
            (n for n, a in enumerate(self.answers) if a[1] == key and a[0] == "fill"), index
        ) if self.answers[index][0] == "canceled" else index  # fmt: skip
        return self.answers.pop(first)

    def state(self, *, landed: bool) -> State:
        """The market now; `landed`: as if everything on its way had arrived as well."""
        on_their_way = {key for kind, key in self.requests if kind == "place"} if landed else set()
        orders = [
            Resting(o.token, o.side, o.price_e4, o.size - o.filled)
            for o in self.orders.values()
            if o.resting or (o.key in on_their_way and not o.over)
        ]
        return State(list(self.held), list(self.held), self.spent_e10, orders)
