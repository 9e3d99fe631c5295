"""The policy `pairs` once more: slow, in decimal arithmetic, straight from the formulas."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, getcontext
from typing import Any

getcontext().prec = 60
ONE = 10_000
SHARE = 1_000_000
LOT = 10_000
BUY, SELL = 0, 1
OPEN, PENDING_NEW, PENDING_CANCEL, UNKNOWN = 1, 2, 3, 4
AGAINST_US = Decimal("1e-9")
STEEP = Decimal("0.9")


@dataclass
class Rule:
    """The parameters of the policy, in its own terms."""

    dollars_at_risk: float = 2500.0
    fill_decay: float = 200.0
    min_edge: float = 0.002
    message: float = 0.01
    rebate_share: float = 0.2
    max_pair_cost: float = 0.0
    taker_delay_ms: float = 250.0
    order_size: float = 100.0
    max_lead: float = 400.0
    patience_s: float = 150.0
    narrow_s: float = 60.0
    num_levels: int = 3
    overshoot: bool = False
    sells: bool = True
    offers: bool = False


def certain(p: Decimal, gamma: Decimal, q: Decimal) -> Decimal:
    """What a lead of q shares is worth for certain, dollars."""
    if gamma == 0:
        return p * q
    return -((1 - p) + p * (-gamma * q).exp()).ln() / gamma


def reservation(p: Decimal, gamma: Decimal, lead: Decimal, n: Decimal) -> Decimal:
    """Most that n more shares are worth, dollars per share."""
    return (certain(p, gamma, lead + n) - certain(p, gamma, lead)) / n


def half_spread(gamma: Decimal, n: Decimal, decay: Decimal) -> Decimal:
    return (1 + gamma * n / decay).ln() / (gamma * n) if gamma * n else 1 / decay


def as_bid(order: Any) -> int:
    """Its price, as a bid: an offer of one token is a bid for the other at what is left of a dollar."""
    return int(order["price_e4"]) if order["side"] == BUY else ONE - int(order["price_e4"])


def logit(p: Decimal) -> Decimal:
    return (p / (1 - p)).ln()


def fair(view: Any) -> Decimal | None:
    """What Up is worth: the mean of both books' microprices in log-odds. Without own shares and a model."""
    readings = []
    for token in (0, 1):
        top = view["top"][token]
        bid, ask = int(top["bid_e4"]), int(top["ask_e4"])
        if bid <= 0 or ask <= 0 or bid >= ask:
            continue
        bids, asks = int(top["bid_micro"]), int(top["ask_micro"])
        if bids + asks == 0:
            bids = asks = 1
        low, high = logit(Decimal(bid) / ONE), logit(Decimal(ask) / ONE)
        x = (asks * low + bids * high) / (bids + asks)
        readings.append(x if token == 0 else -x)
    if not readings:
        return None
    return 1 / (1 + (-sum(readings) / len(readings)).exp())


@dataclass
class Side:
    """One token of a decision."""

    p: Decimal
    best: Decimal
    lead: Decimal
    dying: Decimal = Decimal(0)
    alive: list[int] = field(default_factory=list)  # prices of what may be alive
    offered: int = 0  # shares of it, 1e-6
    bids: list[Any] = field(default_factory=list)
    cap: int = ONE


class Decision:
    """Everything that the policy would do: `cancels` (keys), `quotes` (token, side, price, size), `take`."""

    def __init__(
        self, rule: Rule, view: Any, adverse: float = 0.003, variance: float = 25e-6, slope: float = 0.0
    ) -> None:
        self.rule, self.view = rule, view
        self.gamma = 1 / Decimal(rule.dollars_at_risk)
        self.adverse, self.variance, self.slope = Decimal(adverse), Decimal(variance), Decimal(slope)
        self.cancels: set[int] = set()
        self.quotes: list[tuple[int, int, int, int]] = []
        self.take: tuple[int, int, int, int] | None = None
        self.tick = int(view["tick_e4"])
        self.least = int(view["min_size_micro"])
        self.order = int(Decimal(rule.order_size) * 100 + Decimal("1e-6")) * LOT
        p = fair(view)
        if p is None or view["ms_to_end"] <= 20_000:
            self.cancels = {int(order["key"]) for order in self.orders() if self.cancellable(order)}
            return
        self.sides = [self.side(0, p), self.side(1, 1 - p)]
        self.complete()
        for token in (0, 1):
            self.ladder(token)

    def orders(self) -> Any:
        return [self.view["orders"][i] for i in range(int(self.view["n_orders"]))]

    @staticmethod
    def cancellable(order: Any) -> bool:
        live = order["state"] in (OPEN, PENDING_NEW) and order["remaining_micro"] > 0
        return bool(live and not order["is_taker"])

    def side(self, token: int, p: Decimal) -> Side:
        lead = Decimal(int(self.view["high_micro"][token]) - int(self.view["low_micro"][1 - token])) / SHARE
        best = max(0, int(self.view["top"][token]["bid_e4"]))
        side = Side(p, Decimal(best) / ONE, lead)
        for order in self.orders():
            left = Decimal(int(order["remaining_micro"])) / SHARE
            acts_for = order["token"] if order["side"] == BUY else 1 - order["token"]
            if left <= 0 or acts_for != token:
                continue
            side.alive.append(as_bid(order))
            if self.cancellable(order):
                side.bids.append(order)
            elif order["state"] == PENDING_CANCEL and not order["is_taker"]:
                side.dying += left
            else:
                side.lead += left
        side.bids.sort(key=lambda order: -as_bid(order))
        return side

    def fee(self, price: Decimal) -> Decimal:
        return Decimal(int(self.view["fee_rate_ppm"])) / SHARE * price * (1 - price)

    def floor(self, price: Decimal) -> int:
        price -= AGAINST_US
        return int(price * ONE // self.tick) * self.tick if price > 0 else 0

    def paid(self, token: int) -> Decimal:
        held = int(self.view["position_micro"][token])
        return Decimal(int(self.view["cost_micro"][token])) / held if held else Decimal(0)

    # ---- completion ----------------------------------------------------------------------------------------

    def complete(self) -> None:
        if any(order["is_taker"] and order["remaining_micro"] > 0 for order in self.orders()):
            return
        leads = [side.lead + side.dying for side in self.sides]
        if min(leads) >= 0 or not self.rule.num_levels:
            return
        light = leads.index(min(leads))
        heavy = 1 - light
        need = int(-leads[light] * 100 + Decimal("1e-6")) * LOT
        if need <= 0:
            return
        if need < self.least:
            if not self.rule.overshoot:
                return
            need = -(-self.least // LOT) * LOT
        need = min(need, max(self.order, self.least))
        tops = self.view["top"]
        ways = [(SELL, int(tops[heavy]["bid_e4"]), int(tops[heavy]["bid_micro"]))]
        ways.append((BUY, int(tops[light]["ask_e4"]), int(tops[light]["ask_micro"])))
        best = Decimal(-1)
        for way, price_e4, displayed in ways:
            size = min(need, displayed)
            if way == SELL:
                size = min(size, int(self.view["sellable_micro"][heavy])) if self.rule.sells else 0
            size = size // LOT * LOT
            if price_e4 <= 0 or size <= 0 or size < self.least:
                continue
            if way == BUY and size * price_e4 < SHARE * ONE:
                continue
            gain = self.gain(light, way, Decimal(price_e4) / ONE, size)
            if gain is not None and gain >= 0 and gain * size / SHARE > best + AGAINST_US:
                best, self.take = gain * size / SHARE, (heavy if way == SELL else light, way, price_e4, size)
        if self.take is None:
            return
        _, way, price_e4, size = self.take
        self.sides[heavy].cap = (price_e4 if way == SELL else ONE - price_e4) - self.tick
        if max(self.sides[heavy].alive, default=0) > self.sides[heavy].cap:
            self.take = None
            return
        self.sides[light].lead += Decimal(size) / SHARE
        self.sides[light].alive.append(price_e4 if way == BUY else ONE - price_e4)
        if way == SELL:
            self.sides[heavy].offered = size

    def gain(self, light: int, way: int, price: Decimal, size: int) -> Decimal | None:
        cost = (price if way == BUY else 1 - price) + self.fee(price)
        rule = self.rule
        if rule.max_pair_cost and cost + self.paid(1 - light) > Decimal(rule.max_pair_cost):
            return None
        side = self.sides[light]
        worth = reservation(side.p, self.gamma, side.lead + side.dying, Decimal(size) / SHARE)
        drift = Decimal("0.3989422804014327") * (self.variance * Decimal(rule.taker_delay_ms) / 1000).sqrt()
        left = Decimal(int(self.view["ms_to_end"]) - 30_000)
        waiting = min(Decimal(1), max(Decimal(0), left / max(1, int(rule.patience_s * 1000) - 30_000)))
        saved = self.fee(price) * (1 + Decimal(rule.rebate_share)) + Decimal(self.tick) / ONE
        return worth - cost - drift - waiting * saved - AGAINST_US

    # ---- quotes --------------------------------------------------------------------------------------------

    def passive(self, token: int) -> int:
        ask, bid = int(self.view["top"][token]["ask_e4"]), int(self.view["top"][1 - token]["bid_e4"])
        if bid > 0:
            ask = min(ask, ONE - bid)
        return (ask - 1) // self.tick * self.tick if ask > 1 else 0

    def edge(self, side: Side, worth: Decimal, price: Decimal) -> Decimal:
        """What a filled bid earns per share."""
        adverse = self.adverse + self.slope * max(side.best - price, Decimal(0))
        return worth - price - adverse + Decimal(self.rule.rebate_share) * self.fee(price)

    def target(self, side: Side, worth: Decimal, n: Decimal) -> int:
        least = Decimal(self.rule.min_edge)
        rest = max(Decimal(0), 1 - self.slope)
        needed = max(half_spread(self.gamma, n, Decimal(self.rule.fill_decay)) * rest, least)
        needed += self.adverse - Decimal(self.rule.rebate_share) * self.fee(worth)
        price = worth - needed
        # worth − price = needed + slope * (best − price), solved for the price
        if price < side.best and self.slope <= STEEP:
            price = (worth - needed - self.slope * side.best) / (1 - self.slope)
        return self.floor(min(price, worth - least))

    def earns(self, token: int, worth: Decimal, price_e4: int, n: Decimal, ahead_micro: int) -> Decimal:
        side, top = self.sides[token], self.view["top"][token]
        price = Decimal(price_e4) / ONE
        if ahead_micro < 0:
            ahead_micro = int(top["bid_micro"]) if price_e4 <= int(top["bid_e4"]) else 0
        reached = (-Decimal(self.rule.fill_decay) * max(Decimal(0), side.p - price)).exp()
        return n * self.edge(side, worth, price) * reached * n / (n + Decimal(ahead_micro) / SHARE)

    def ladder(self, token: int) -> None:
        side, other, view = self.sides[token], self.sides[1 - token], self.view
        most = Decimal(int(Decimal(self.rule.max_lead) * 100 + Decimal("1e-6"))) / 100
        if view["ms_to_end"] <= self.rule.narrow_s * 1000:
            most = Decimal(0)
        if self.rule.max_pair_cost and view["position_micro"][1 - token] > view["position_micro"][token]:
            room = Decimal(self.rule.max_pair_cost) - self.paid(1 - token) + 2 * AGAINST_US
            side.cap = min(side.cap, self.floor(room))
        passive = self.passive(token)
        groups: list[list[Any]] = []
        for order in side.bids:
            if groups and as_bid(groups[-1][0]) == as_bid(order):
                groups[-1].append(order)
            else:
                groups.append([order])
        ahead, last = Decimal(0), ONE
        for _ in range(self.rule.num_levels):
            room = most - side.lead - ahead
            size = min(self.order, int(max(Decimal(0), room - side.dying) * 100 + Decimal("1e-6")) * LOT)
            wanted = 0
            if (
                view["top"][token]["ask_e4"] > 0
                and self.order >= self.least
                and size >= max(self.least, 1)
                and side.cap >= 100
                and passive >= 100
            ):
                n = Decimal(size) / SHARE
                worth = reservation(side.p, self.gamma, side.lead + side.dying + ahead, n)
                wanted = self.target(side, worth, n)
                wanted = min(wanted, passive, side.cap, last - self.tick) // self.tick * self.tick
                wanted = wanted if wanted >= 100 else 0
                least = Decimal(self.rule.min_edge) - AGAINST_US
                if self.slope > STEEP and self.edge(side, worth, Decimal(wanted) / ONE) < least:
                    wanted = 0
            kept: list[Any] = []
            while groups and not kept:
                verdict = self.judge(token, groups[0], wanted, ahead, room)
                if verdict == "below":
                    break
                group = groups.pop(0)
                if verdict == "keep":
                    kept = group
                else:
                    self.cancels |= {int(order["key"]) for order in group}
            if kept:
                price = last = as_bid(kept[0])
                held = sum(int(order["remaining_micro"]) for order in kept)
                is_bid = kept[-1]["side"] == BUY
                if is_bid and wanted == price and size - held >= max(self.least, self.order // 4):
                    self.cancels.add(int(kept[-1]["key"]))
                    more = size - held + int(kept[-1]["remaining_micro"])
                    self.quotes.append((token, BUY, price, more))
                    held = size
                ahead += Decimal(held) / SHARE
            elif wanted:
                if wanted + max(other.alive, default=0) < ONE:
                    left = int(view["sellable_micro"][1 - token]) - other.offered
                    if self.rule.offers and left >= size:
                        other.offered += size
                        self.quotes.append((1 - token, SELL, ONE - wanted, size))
                    else:
                        self.quotes.append((token, BUY, wanted, size))
                ahead, last = ahead + Decimal(size) / SHARE, wanted
            else:
                break
        self.cancels |= {int(order["key"]) for group in groups for order in group}

    def judge(self, token: int, group: list[Any], wanted: int, ahead: Decimal, room: Decimal) -> str:
        """What becomes of own bids at one price: keep, end, or below (they may serve a lower level)."""
        side = self.sides[token]
        price = as_bid(group[0])
        n = Decimal(sum(int(order["remaining_micro"]) for order in group)) / SHARE
        worth = reservation(side.p, self.gamma, side.lead + ahead, n)
        if price > side.cap or n > room + Decimal("0.01") or price % self.tick:
            return "end"
        if price > self.floor(worth - Decimal(self.rule.min_edge)):
            return "end"
        if self.edge(side, worth, Decimal(price) / ONE) * n < -Decimal(self.rule.message) - AGAINST_US:
            return "end"
        if wanted in (0, price):
            return "keep"
        index = next(i for i, order in enumerate(self.orders()) if order["key"] == group[0]["key"])
        gain = self.earns(token, worth, wanted, n, -1) - self.earns(
            token, worth, price, n, int(self.view["ahead_micro"][index])
        )
        if gain <= 2 * Decimal(self.rule.message):
            return "keep"
        return "below" if price < wanted else "end"
