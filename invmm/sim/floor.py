"""The markets that the embedded venue runs at the same time: one clock, one purse per owner, requests across
them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from invmm.replay.tape import Tape
from invmm.sim import rules
from invmm.sim.account import Account
from invmm.sim.batches import Batch
from invmm.sim.chained import wallet_of
from invmm.sim.channels import Channel
from invmm.sim.clock import TapeClock
from invmm.sim.exchange import Exchange
from invmm.sim.faults import Faults
from invmm.sim.operator import Operator
from invmm.sim.orders import Order
from invmm.sim.profile import VenueProfile
from invmm.sim.purses import Purses
from invmm.sim.rules import OrderRequest, Refusal, Who
from invmm.sim.session import Session
from invmm.sim.settlement import SettlementFaults
from invmm.types import Outcome

Placing = tuple[Session, OrderRequest] | Refusal


class Floor:
    """Sessions by condition id, in order of opening, and what is remembered of those that ended.

    Parameters
    ----------
    profile, seed
        As of every session.
    who
        Names on the wire of the first trader, and of orders that name nobody.
    market_channel, user_channel
        Where frames and own events go.
    faults
        Faults that sessions are asked to show.
    remember
        So many ended markets keep their orders and trades; of older ones only the cash remains, so that
        memory stays flat however many windows come. None: all of them.
    operator
        Settles on a chain; None: nothing but delays.
    """

    def __init__(
        self,
        profile: VenueProfile,
        seed: int,
        who: Who,
        market_channel: Channel,
        user_channel: Channel,
        faults: Faults,
        remember: int | None = None,
        operator: Operator | None = None,
    ) -> None:
        self.operator = operator
        self.profile = profile
        self.purses = Purses(Account(profile.collateral_micro), who.account)
        if operator is not None:
            first = self.purses.first
            first.wallet = wallet_of(who.account)
            operator.wallet(first.wallet, first.settled_cash_micro)
        self.settlement_faults = SettlementFaults()
        self.clock: TapeClock | None = None
        self.sessions: dict[str, Session] = {}
        self.past: deque[Exchange] = deque()
        self.forgotten = 0
        self.who = who
        self._seed = seed
        self._market_channel = market_channel
        self._user_channel = user_channel
        self.faults = faults
        self.on_open: Callable[[Tape], object] = lambda _: None
        self._remember = remember

    # ---- time ----

    def now_ns(self) -> int:
        """The venue's time: of the clock, or of the first market's first moment before it was started."""
        if self.clock is not None:
            return self.clock.now_ns()
        return next((session.now_ns() for session in self.sessions.values()), 0)

    def running_ns(self) -> int:
        """The venue's time, or real time before any market runs: something that always goes on."""
        return time.monotonic_ns() if self.clock is None else self.clock.now_ns()

    def advance(self, ahead_ns: int) -> None:
        """Jumps ahead; what lies between happens at once, in every market."""
        if self.clock is None:
            return
        self.run_on(TapeClock(self.clock.monotonic_ns, self.clock.tape_ns + ahead_ns, self.clock.speed))

    def run_on(self, clock: TapeClock) -> None:
        """All started markets, and those to come, follow this clock."""
        self.clock = clock
        for session in list(self.sessions.values()):
            if session.clock is not None:
                with session.exchange.settlement.at_once():
                    session.start(clock)

    # ---- markets ----

    def open(
        self,
        tape: Tape,
        accepts_from_ns: int = 0,
        batches: list[Batch] | None = None,
        question_id: str = "",
    ) -> Session:
        """A new market, not yet started. Orders are refused as not ready before `accepts_from_ns`."""
        session = Session(
            tape,
            self.profile,
            self._seed,
            self.purses,
            self.who,
            self._market_channel,
            self._user_channel,
            self.faults,
            batches,
        )
        session.exchange.accepts_ns = accepts_from_ns
        if self.operator is not None:
            question_id = question_id or tape.meta.get("question_id", "")
            session.exchange.settle_on(self.operator, question_id)
        session.exchange.settlement.faults = self.settlement_faults
        session.exchange.others = lambda: (
            other.exchange for other in self.sessions.values() if other is not session
        )
        self.sessions[tape.market.condition_id] = session
        self.on_open(tape)
        return session

    def close(self, session: Session) -> None:
        """Settles and resolves a market at once, whatever its clock says, and takes it off the floor."""
        session.finish()
        session.exchange.leave()
        self.sessions.pop(session.market.condition_id, None)
        self.past.append(session.exchange)
        while self._remember is not None and len(self.past) > self._remember:
            old = self.past[0]
            if self.purses.unsettled(old.market.condition_id):
                break
            self.past.popleft().retire()
            for account in self.purses:
                account.forget(old.market.condition_id)
            self.forgotten += 1

    def by_token(self, asset: Any) -> Session | None:
        """The open market of a token id."""
        for session in self.sessions.values():
            if asset in (session.market.up_token_id, session.market.down_token_id):
                return session
        return None

    @property
    def exchanges(self) -> list[Exchange]:
        """All markets that are remembered, the open ones last."""
        return [*self.past, *(session.exchange for session in self.sessions.values())]

    def _session_of(self, order_id: bytes) -> Session | None:
        for session in self.sessions.values():
            if order_id in session.exchange.orders:
                return session
        return None

    # ---- requests ----

    async def place(self, placings: Sequence[Placing]) -> list[Order | Refusal]:
        """Orders of one request, each in its market; the answers in the same order."""
        legs: dict[str, list[int]] = {}
        for index, placing in enumerate(placings):
            if isinstance(placing, tuple):
                legs.setdefault(placing[0].market.condition_id, []).append(index)
        answers: list[Order | Refusal] = [
            placing if isinstance(placing, Refusal) else Refusal(404, rules.NO_BOOK) for placing in placings
        ]
        sessions = [self.sessions[name] for name in legs]
        if not sessions:  # refused at the door: the way there and back takes as long
            await self._way()
        told = await asyncio.gather(
            *(
                session.place([placings[index][1] for index in indexes])  # type: ignore[index]
                for session, indexes in zip(sessions, legs.values(), strict=True)
            )
        )
        for indexes, answered in zip(legs.values(), told, strict=True):
            for index, answer in zip(indexes, answered, strict=True):
                answers[index] = answer
        return answers

    def place_late(self, placings: Sequence[Placing], late_ns: int) -> None:
        """Orders that reach their markets only after `late_ns` of the venue's time; nobody is answered."""
        for placing in placings:
            if isinstance(placing, tuple):
                placing[0].place_late(placing[1], late_ns)

    async def cancel(self, order_ids: Sequence[bytes], account: str = "") -> dict[str, Any]:
        """Cancels by id, of an account if one is given; the venue's answer. An id that no market knows is
        asked of all: its order may still be on its way.
        """
        homes = {order_id: self._session_of(order_id) for order_id in order_ids}
        asked = []
        for session in self.sessions.values():
            ids = [order_id for order_id, home in homes.items() if home is None or home is session]
            if ids:
                asked.append(session.cancel(ids, account))
        return await self._merged(asked, {"0x" + name.hex(): self._why_gone(name) for name in homes})

    async def cancel_all(
        self, market: str | None = None, token: Outcome | None = None, account: str = ""
    ) -> dict[str, Any]:
        """Cancels what is open when the request arrives, of one market or of all, of one account or of
        all.
        """
        sessions = [s for name, s in self.sessions.items() if market is None or name == market]
        return await self._merged([session.cancel_all(token, account) for session in sessions], {})

    async def _merged(self, asked: Sequence[Any], refused: dict[str, str]) -> dict[str, Any]:
        canceled: list[str] = []
        for answer in await asyncio.gather(*asked):
            canceled += answer["canceled"]
            for name, text in answer["not_canceled"].items():
                if text != rules.NOT_FOUND or name not in refused:
                    refused[name] = text
        for name in canceled:
            refused.pop(name, None)
        return {"canceled": canceled, "not_canceled": refused}

    def _why_gone(self, order_id: bytes) -> str:
        for exchange in self.past:
            order = exchange.orders.get(order_id)
            if order is not None:
                return rules.ALREADY_MATCHED if order.state == "MATCHED" else rules.NOT_FOUND
        return rules.NOT_FOUND

    async def _way(self) -> None:
        """The way to the venue and back, for a request that concerns no open market."""
        session = next((s for s in self.sessions.values() if s.clock is not None), None)
        if session is not None:
            await session.place([])

    async def refresh(self, account: Account) -> None:
        """Takes over what the chain has of an account."""
        if self.operator is None or not account.wallet:
            return
        told = await self.operator.look(account.wallet, list(account.holdings))
        account.moved(told["cash"], {name: (up, down) for name, (up, down) in told["tokens"].items()})
        self.check_balances()

    def check_balances(self) -> None:
        """Cancels what the balances no longer cover, in every market."""
        for session in self.sessions.values():
            session.exchange.check_balances()
