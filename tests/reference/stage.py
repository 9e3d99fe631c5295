"""A stage for matching tests: a core on a written tape, with actions between its batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from invmm.replay.tape import MarketInfo
from invmm.sim.account import Account
from invmm.sim.batches import cut, restated_levels
from invmm.sim.exchange import Exchange
from invmm.sim.orders import Order, Report
from invmm.sim.profile import VenueProfile
from invmm.sim.rules import OrderRequest, Refusal
from invmm.types import OrderType, Outcome, Side
from tests.reference.frames import DOWN, MARKET, UP, at, snapshot, tape
from tests.reference.matching import PlainBooks

SHARE = 1_000_000
BIDS = [("0.5", "100"), ("0.49", "200"), ("0.48", "300")]
ASKS = [("0.53", "100"), ("0.54", "200"), ("0.55", "300")]
PROFILE = VenueProfile(retry_rate=0.0, failure_rate=0.0, settlement_jitter_ns=0, record_truth=True)


class Stage:
    """A core on a tape; actions happen between batches, at milliseconds since the window's start."""

    def __init__(
        self,
        batches: Iterable[tuple[int, list[bytes]]],
        *,
        derived: bool = True,
        profile: VenueProfile = PROFILE,
        tokens: tuple[int, int] = (0, 0),
        bids: Sequence[tuple[str, str]] = BIDS,
        asks: Sequence[tuple[str, str]] = ASKS,
        market: MarketInfo = MARKET,
    ) -> None:
        self.tape = tape([(0, [snapshot(bids, asks, 0)]), *batches], derived=derived, market=market)
        self.batches = cut(self.tape, 10_000_000)
        self.books = PlainBooks(UP, DOWN)
        self.account = Account(
            profile.collateral_micro, start_tokens_micro=(tokens[0] * SHARE, tokens[1] * SHARE)
        )
        self.core = Exchange(market, self.books.up, profile, 7, self.account)
        self.reports: list[Report] = []
        self.core.tell = self.reports.append
        self._next = 0
        self._ids = 0
        self.to(0)

    def to(self, ms: float) -> None:
        """Everything up to and including that time."""
        while self._next < len(self.batches) and self.batches[self._next].time_ns <= at(ms):
            batch = self.batches[self._next]
            self.core.run_until(batch.time_ns - 1)
            frames = map(self.tape.frame, range(batch.first, batch.last))
            self.core.play(batch, frames, self.books.apply_frame, partial(restated_levels, self.tape, batch))
            self._next += 1
        self.core.run_until(at(ms))

    def ask(
        self,
        token: Outcome,
        side: Side,
        price_e4: int,
        shares: float,
        kind: OrderType = OrderType.GTC,
        *,
        post_only: bool = False,
        expiration_s: int = 0,
    ) -> Order | Refusal:
        """One order now, accepted or not."""
        self._ids += 1
        order_id = self._ids.to_bytes(32, "big")
        size = round(shares * SHARE)
        return self.core.place(
            OrderRequest(order_id, token, side, price_e4, size, kind, post_only, expiration_s, key=self._ids)
        )

    def order(self, *args: Any, **more: Any) -> Order:
        """One order now, accepted."""
        answer = self.ask(*args, **more)
        assert isinstance(answer, Order), answer
        return answer

    def bid(self, price_e4: int, shares: float) -> Order:
        """BUY Up."""
        return self.order(Outcome.UP, Side.BUY, price_e4, shares)

    def ahead(self, order: Order) -> int | None:
        """Whole shares truly ahead."""
        micro = self.core.true_ahead_micro(order.key)
        return None if micro is None else micro // SHARE


def fills(order: Order) -> list[tuple[int, int]]:
    """(price, whole shares) of an order's fills."""
    return [
        (leg.price_e4, leg.size_micro // SHARE)
        for made in order.trades
        for leg in made.legs
        if leg.order_id == order.request.order_id
    ]
