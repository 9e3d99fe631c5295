"""The trader's money at the embedded venue: settled balances, matched trades on their way, and what both add
up to.

A match moves nothing on the chain yet. It becomes part of the settled balances when it is MINED, and never
does when it ends FAILED, so that a failure voids a trade exactly by dropping it. The strict balance rule of
the venue counts matched, unsettled trades as spent and does not count what they will bring.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from invmm.sim.rules import Who, cost_micro, taker_fee_micro
from invmm.types import MICRO, OrderStatus, Outcome, Side

UNLIMITED = (1 << 256) - 1
"""The allowance of a spender that may take everything."""


@dataclass(slots=True)
class Leg:
    """One own order's part of a trade."""

    key: int
    order_id: bytes
    token: Outcome
    side: Side
    price_e4: int
    size_micro: int
    is_taker: bool
    cash_micro: int  # signed change of collateral, fee included
    fee_micro: int
    fee_equivalent_micro: int  # what a taker would have paid: base of the maker rebate
    who: Who | None = None  # None: the venue's first account
    purse: Account | None = field(default=None, repr=False, compare=False)  # whose balances; None: as `who`


@dataclass(slots=True)
class Trade:
    """One match. `key` is its 64-bit name in events; `id_text` and `hash_text` are its names on the wire."""

    key: int
    id_text: str
    hash_text: str
    legs: list[Leg]
    time_ns: int
    status: OrderStatus = OrderStatus.TRADE_MATCHED
    updated_ns: int = 0
    price_up_e4: int = 0
    condition_id: str = ""
    taker_order_id: bytes = b""
    taker_token: Outcome = Outcome.UP
    taker_side: Side = Side.BUY
    fails: bool = False  # it is drawn to end FAILED


@dataclass(slots=True)
class Holding:
    """One market's tokens, Up and Down: what the chain says, and what payouts and merges took out."""

    start_micro: tuple[int, int]
    settled_micro: list[int]
    closed_micro: list[int] = field(default_factory=lambda: [0, 0])
    winner: Outcome | None = None  # of a market that has been paid
    claim_micro: int = 0  # what was paid for here and is still winning shares on the chain


@dataclass
class Account:
    """Balances in micro-dollars and micro-shares. `settled` is what the chain says, `cash_micro` includes
    matched trades. Cash is one sum for all markets, tokens are held per market (condition id); asked without
    a market they are summed over all of them. `start_tokens_micro` are of the first market that is traded.
    """

    start_micro: int
    start_tokens_micro: tuple[int, int] = (0, 0)
    settled_cash_micro: int = 0
    fees_micro: int = 0
    fee_equivalent_micro: int = 0
    payout_micro: int = 0
    merged_micro: int = 0
    paid_in_micro: int = 0  # added to the balance, or taken (negative), by whoever sets the stage
    leaked_micro: int = 0  # a fault: collateral that the venue wrongly counts as spent
    wallet: str = ""  # its address on the chain, where there is one
    voided: int = 0
    trades: list[Trade] = field(default_factory=list)
    holdings: dict[str, Holding] = field(default_factory=dict)
    allowances_micro: dict[str, int] = field(default_factory=dict)  # by spender, lower case; absent: no limit
    _unsettled: dict[int, Trade] = field(default_factory=dict)
    _forgotten_micro: int = 0  # cash that trades of forgotten markets moved

    def __post_init__(self) -> None:
        self.settled_cash_micro = self.start_micro

    def holding(self, market: str) -> Holding:
        """The tokens of a market, none to begin with."""
        found = self.holdings.get(market)
        if found is None:
            start = (0, 0) if self.holdings else self.start_tokens_micro
            found = self.holdings[market] = Holding(start, list(start))
        return found

    @property
    def settled_tokens_micro(self) -> list[int]:
        """Settled Up and Down tokens of all markets together."""
        if not self.holdings:
            return list(self.start_tokens_micro)
        return [sum(held.settled_micro[token] for held in self.holdings.values()) for token in Outcome]

    @property
    def unredeemed_micro(self) -> int:
        """What of the payouts is still shares on a chain; nothing where there is none."""
        return sum(held.claim_micro for held in self.holdings.values())

    @property
    def cash_micro(self) -> int:
        """Collateral with every matched trade that has not failed."""
        return self.settled_cash_micro + sum(
            leg.cash_micro for t in self._unsettled.values() for leg in self.legs(t)
        )

    def tokens_micro(self, token: Outcome, market: str | None = None) -> int:
        """Tokens with every matched trade that has not failed."""
        return self._settled(token, market) + sum(
            _tokens(leg) for t in self._pending(market) for leg in self.legs(t) if leg.token == token
        )

    @property
    def spendable_cash_micro(self) -> int:
        """Settled collateral less what matched trades will take (strict rule)."""
        spent = sum(min(0, leg.cash_micro) for t in self._unsettled.values() for leg in self.legs(t))
        return self.settled_cash_micro - self.unredeemed_micro + spent - self.leaked_micro

    def spendable_tokens_micro(self, token: Outcome, market: str | None = None) -> int:
        """Settled tokens less what matched trades will take (strict rule)."""
        return self._settled(token, market) + sum(
            min(0, _tokens(leg)) for t in self._pending(market) for leg in self.legs(t) if leg.token == token
        )

    def _settled(self, token: Outcome, market: str | None) -> int:
        return (
            self.settled_tokens_micro[token] if market is None else self.holding(market).settled_micro[token]
        )

    def _pending(self, market: str | None) -> Iterator[Trade]:
        return (t for t in self._unsettled.values() if market is None or t.condition_id == market)

    def unsettled(self, market: str) -> int:
        """How many trades of a market are matched and neither mined nor failed."""
        return sum(1 for _ in self._pending(market))

    def legs(self, trade: Trade) -> list[Leg]:
        """This account's part of a trade, in which another account may have taken the other side."""
        return [leg for leg in trade.legs if leg.purse is None or leg.purse is self]

    def match(self, trade: Trade) -> None:
        """Takes a new match."""
        self.trades.append(trade)
        self._unsettled[trade.key] = trade

    def mine(self, trade: Trade) -> None:
        """The match is on the chain: balances move."""
        if self._unsettled.pop(trade.key, None) is None:
            return
        held = self.holding(trade.condition_id)
        for leg in self.legs(trade):
            self.settled_cash_micro += leg.cash_micro
            held.settled_micro[leg.token] += _tokens(leg)
            self.fees_micro += leg.fee_micro
            if not leg.is_taker:
                self.fee_equivalent_micro += leg.fee_equivalent_micro

    def fail(self, trade: Trade) -> None:
        """The match is void: nothing moved, nothing will."""
        if self._unsettled.pop(trade.key, None) is not None:
            self.voided += 1

    def merge(self, pairs_micro: int, market: str) -> int:
        """Burns that many settled pairs for a dollar each; returns how many there were to burn."""
        held = self.holding(market)
        pairs_micro = max(
            0, min(pairs_micro, *(self.spendable_tokens_micro(token, market) for token in Outcome))
        )
        for token in Outcome:
            held.settled_micro[token] -= pairs_micro
            held.closed_micro[token] += pairs_micro
        self.settled_cash_micro += pairs_micro
        self.merged_micro += pairs_micro
        return pairs_micro

    def pay(self, winner: Outcome, market: str) -> int:
        """Resolution: a dollar per settled winning share, nothing for the others; returns what was paid."""
        held = self.holding(market)
        paid = held.settled_micro[winner]
        held.winner = winner
        for token in Outcome:
            held.closed_micro[token] += held.settled_micro[token]
            held.settled_micro[token] = 0
        self.settled_cash_micro += paid
        self.payout_micro += paid
        return paid

    def moved(self, cash_micro: int, tokens_micro: dict[str, tuple[int, int]]) -> None:
        """What else than trades has changed on the chain: merges, splits, redemptions, transfers.

        `cash_micro` is the change of the collateral, `tokens_micro` that of Up and Down by market; shares of
        resolved ones have been paid for here already.
        """
        redeemed = merged = 0
        for market, (up, down) in tokens_micro.items():
            held = self.holding(market)
            if held.winner is not None:
                held.claim_micro += (up, down)[held.winner]
                redeemed -= (up, down)[held.winner]
                continue
            for token, change in zip(Outcome, (up, down), strict=True):
                held.settled_micro[token] += change
                held.closed_micro[token] -= change
            if up * down > 0:
                merged -= min(up, down, key=abs)
        self.settled_cash_micro += cash_micro - redeemed
        self.merged_micro += merged
        self.paid_in_micro += cash_micro - redeemed - merged

    def pay_in(self, amount_micro: int) -> None:
        """Collateral from outside, or to there (negative); never below nothing."""
        amount_micro = max(amount_micro, -self.settled_cash_micro)
        self.settled_cash_micro += amount_micro
        self.paid_in_micro += amount_micro

    def check(self) -> None:
        """Conservation, recomputed from the list of trades; AssertionError says what does not add up."""
        cash = (
            self.start_micro
            + self.payout_micro
            + self.merged_micro
            + self.paid_in_micro
            + self._forgotten_micro
        )
        tokens = {
            market: [
                start - closed for start, closed in zip(held.start_micro, held.closed_micro, strict=True)
            ]
            for market, held in self.holdings.items()
        }
        for trade in self.trades:
            if trade.status == OrderStatus.TRADE_FAILED:
                continue
            held_by_trades = tokens.setdefault(trade.condition_id, [0, 0])
            for leg in self.legs(trade):
                price_paid = leg.size_micro * leg.price_e4
                moved = -leg.cash_micro if leg.side == Side.BUY else leg.cash_micro
                exact = price_paid / 10_000 + (leg.fee_micro if leg.side == Side.BUY else -leg.fee_micro)
                assert abs(moved - exact) < 1, (
                    f"trade {trade.id_text}: moved {moved}, expected {exact} micro-dollars"
                )
                cash += leg.cash_micro
                held_by_trades[leg.token] += _tokens(leg)
        assert cash == self.cash_micro, f"cash is {self.cash_micro}, its trades say {cash} micro-dollars"
        for market, told in tokens.items():
            for token in Outcome:
                held = self.tokens_micro(token, market)
                assert held == told[token], (
                    f"{market} {token.name}: {held} held, its trades say {told[token]} micro-shares"
                )
                settled = self.holding(market).settled_micro[token]
                assert settled >= 0, f"{market} {token.name}: {settled} settled"
        assert self.settled_cash_micro >= 0, f"settled cash is {self.settled_cash_micro} micro-dollars"

    def leave_market(self) -> None:
        """Drops what is left of markets that were never resolved, before another one is traded."""
        for held in self.holdings.values():
            for token in Outcome:
                held.closed_micro[token] += held.settled_micro[token]
                held.settled_micro[token] = 0

    def forget(self, market: str) -> None:
        """Drops a market's trades and tokens, keeping what they did to the cash: memory of markets long past
        is not needed. Trades that are still on their way are settled by then.
        """
        kept = []
        for trade in self.trades:
            if trade.condition_id != market:
                kept.append(trade)
            elif trade.status != OrderStatus.TRADE_FAILED:
                self._forgotten_micro += sum(leg.cash_micro for leg in self.legs(trade))
        self.trades = kept
        held = self.holdings.pop(market, None)
        if held is not None and held.claim_micro:
            self.holdings[market] = Holding((0, 0), [0, 0], winner=held.winner, claim_micro=held.claim_micro)

    def rebate_micro(self, share: float) -> int:
        """Maker rebate estimate: `share` of the taker fee that the maker fills stand for."""
        return self.fee_equivalent_micro * round(share * MICRO) // MICRO


def leg(
    *,
    key: int,
    order_id: bytes,
    token: Outcome,
    side: Side,
    price_e4: int,
    size_micro: int,
    is_taker: bool,
    fee_rate: float,
    notional_micro: int | None = None,
    who: Who | None = None,
    purse: Account | None = None,
) -> Leg:
    """A leg with its money worked out; `notional_micro` overrides size times price (an order's rounding is
    cumulative).
    """
    notional = cost_micro(size_micro, price_e4, side) if notional_micro is None else notional_micro
    equivalent = taker_fee_micro(size_micro, price_e4, fee_rate)
    fee = equivalent if is_taker else 0
    cash = -notional - fee if side == Side.BUY else notional - fee
    return Leg(key, order_id, token, side, price_e4, size_micro, is_taker, cash, fee, equivalent, who, purse)


def _tokens(part: Leg) -> int:
    return part.size_micro if part.side == Side.BUY else -part.size_micro
