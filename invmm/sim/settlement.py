"""What happens to a match after it: MATCHED, MINED, CONFIRMED, sometimes RETRYING, sometimes FAILED; then
resolution.
"""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from invmm.sim.account import Account, Leg, Trade
from invmm.sim.orders import Order, Report
from invmm.types import OrderStatus, Outcome, Side

if TYPE_CHECKING:
    from invmm.sim.exchange import Exchange

Stages = list[tuple[int, OrderStatus]]
"""When a match gets how far: venue time and status, the last one MINED and CONFIRMED, or FAILED."""


@dataclass
class SettlementFaults:
    """What differs from the profile for matches from now on; None: as there."""

    failure_rate: float | None = None
    retry_rate: float | None = None
    delay_ns: int = 0  # before the first stage
    lost: int = 0  # so many matches go through all stages and never reach the chain


class Settlement:
    """The chain's side of the embedded venue, with delays and failures from one seeded stream."""

    def __init__(self, core: Exchange, random: Random) -> None:
        self._core = core
        self.random = random
        self.faults = SettlementFaults()
        self._made = 0
        self.winner: Outcome | None = None

    def begin(self, legs: list[Leg], up_price: int, lead: Order, *, is_taker: bool) -> Trade:
        """A new match, with its stages scheduled."""
        core, profile = self._core, self._core.profile
        self._made += 1
        digest = hashlib.blake2b(
            b"%d|%s|%d" % (self._made, core.market.slug.encode(), self.random.getrandbits(64)),
            digest_size=32,
        ).digest()
        text = digest[:16].hex()
        name = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
        trade = Trade(
            key=int.from_bytes(digest[:8], "big") or 1,
            id_text=name,
            hash_text="0x" + hashlib.blake2b(digest, digest_size=32).hexdigest(),
            legs=legs,
            time_ns=core.now_ns,
            updated_ns=core.now_ns,
            price_up_e4=up_price,
            condition_id=core.market.condition_id,
        )
        first = legs[0]
        if is_taker:
            trade.taker_order_id, trade.taker_token, trade.taker_side = (
                lead.request.order_id,
                first.token,
                first.side,
            )
        else:  # somebody of the flow took: name the plain transfer, same token, other side
            trade.taker_order_id = hashlib.blake2b(digest + b"taker", digest_size=32).digest()
            trade.taker_token, trade.taker_side = first.token, Side(1 - first.side)
        parties = core.purses.parties(trade)
        for account in parties:
            account.match(trade)

        def delay(base_ns: int) -> int:
            return base_ns + self.random.randrange(profile.settlement_jitter_ns + 1)

        faults = self.faults
        failure_share = core.profile.failure_share(core.market.origin)
        retries = self.random.random() < _first(faults.retry_rate, profile.retry_rate)
        fails = self.random.random() < _first(faults.failure_rate, failure_share)
        at = core.now_ns + delay(profile.mined_delay_ns) + faults.delay_ns
        stages: Stages = []
        if retries or fails:
            stages.append((at, OrderStatus.TRADE_RETRYING))
            at += delay(profile.mined_delay_ns)
        trade.fails = fails
        if fails:
            stages.append((at, OrderStatus.TRADE_FAILED))
        else:
            stages.append((at, OrderStatus.TRADE_MINED))
            stages.append((at + delay(profile.confirmed_delay_ns), OrderStatus.TRADE_CONFIRMED))
        self._follow(trade, parties, stages)
        return trade

    def _follow(self, trade: Trade, parties: list[Account], stages: Stages) -> None:
        for due_ns, status in stages:
            self._core.schedule(due_ns, partial(self.step, trade, parties, status))

    def step(self, trade: Trade, parties: list[Account], status: OrderStatus) -> None:
        """A match gets further."""
        core = self._core
        for account in parties:
            if status == OrderStatus.TRADE_MINED:
                account.mine(trade)
            elif status == OrderStatus.TRADE_FAILED:
                account.fail(trade)
        trade.status, trade.updated_ns = status, core.now_ns
        core.tell(Report("trade", core.now_ns, trade=trade))

    def at_once(self) -> AbstractContextManager[None]:
        """While it lasts, time is skipped: what has to be waited for is waited for on the spot."""
        return nullcontext()

    def resolve(self) -> None:
        """Pays a dollar per winning share, once every match has been mined or has failed."""
        core = self._core
        if self.winner is not None or core.market.winner is None:
            return
        if core.purses.unsettled(core.market.condition_id):
            core.schedule(core.now_ns + core.profile.settlement_jitter_ns + 1, self.resolve)
            return
        self.winner = core.market.winner
        for account in core.purses:
            self._pay(account)
        core.tell(Report("settlement", core.now_ns))

    def _pay(self, account: Account) -> None:
        assert self.winner is not None
        account.pay(self.winner, self._core.market.condition_id)


def _first(given: float | None, usual: float) -> float:
    return usual if given is None else given
