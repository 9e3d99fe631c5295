"""Settlement on a real chain: every match becomes an operator's transaction, and nothing is reported MINED or
RETRYING before its receipt.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from random import Random
from typing import TYPE_CHECKING, Any, Final

from invmm.sim.account import Account, Trade
from invmm.sim.operator import Operator, Ticket
from invmm.sim.profile import MS
from invmm.sim.settlement import Settlement, Stages
from invmm.types import OrderStatus, Side

if TYPE_CHECKING:
    from invmm.sim.exchange import Exchange

STRANGER: Final = "0x00000000000000000000000000000000000F10E2"
"""Stands for the wallet of a trader without a key."""
LOOK_NS: Final = 100 * MS
"""Venue time between two looks whether everything is settled."""


def wallet_of(owner: str) -> str:
    """The wallet of an account: its key's address."""
    return owner if owner.strip("0x") else STRANGER


class ChainedSettlement(Settlement):
    """The chain's side of one market, whose stages are drawn as ever and then wait for receipts.

    Parameters
    ----------
    core : Exchange
    random : Random
        Of failures, retries and delays.
    operator : Operator
    question_id : str
        Of the market; "" when it is not known.
    """

    def __init__(self, core: Exchange, random: Random, operator: Operator, question_id: str = "") -> None:
        super().__init__(core, random)
        self._operator = operator
        self._verdict: Ticket | None = None
        operator.market(core.market, question_id)
        for owner, account in core.purses.items():
            self._wallet(owner, account)

    def _wallet(self, owner: str, account: Account) -> str:
        """Address of an account on the chain, opened when it is new there."""
        if not account.wallet:
            account.wallet = wallet_of(owner)
        self._operator.wallet(account.wallet, account.settled_cash_micro - account.unredeemed_micro)
        return account.wallet

    def _follow(self, trade: Trade, parties: list[Account], stages: Stages) -> None:
        if self.faults.lost:  # the venue is told of a settlement that never was
            self.faults.lost -= 1
            super()._follow(trade, parties, stages)
            return
        names = {id(account): owner for owner, account in self._core.purses.items()}
        parts = []
        for leg in trade.legs:
            purse = leg.purse or self._core.purses.first
            buys = leg.side == Side.BUY
            cash_micro = (-leg.cash_micro if buys else leg.cash_micro) + (-1 if buys else 1) * leg.fee_micro
            wallet = self._wallet(names[id(purse)], purse)
            parts.append([wallet, int(leg.token), buys, leg.size_micro, cash_micro, leg.fee_micro])
        _Passage(self, trade, parties, parts, stages).begin()

    def _pay(self, account: Account) -> None:
        before = account.payout_micro
        super()._pay(account)
        held = account.holding(self._core.market.condition_id)
        held.claim_micro += account.payout_micro - before

    def resolve(self) -> None:
        """Reports the result to the chain once every match has been mined or has failed, then pays."""
        core = self._core
        if self.winner is not None or core.market.winner is None:
            return
        if core.purses.unsettled(core.market.condition_id):
            core.schedule(core.now_ns + max(LOOK_NS, core.profile.settlement_jitter_ns), self.resolve)
            return
        if self._verdict is None:
            self._verdict = self._operator.resolve(core.market.condition_id, int(core.market.winner))
        if not self.is_known(self._verdict):
            self._verdict.then(lambda: self.wake(self.resolve))
            return
        super().resolve()

    # ---- waiting

    def at_once(self) -> AbstractContextManager[None]:
        """See `Settlement`."""
        return self._operator.at_once()

    def is_known(self, ticket: Ticket) -> bool:
        """Whether the operator has answered; where time is skipped, it is waited for."""
        if ticket.answer is None and self._operator.is_patient:
            ticket.wait()
        return ticket.answer is not None

    def wake(self, action: Any) -> None:
        """Does something now that an answer has come, in the venue's own time."""
        self._core.schedule(self._core.now_ns, action)
        self._core.wake()


class _Passage:
    """One match's way through the chain, attempt after attempt."""

    def __init__(
        self,
        settlement: ChainedSettlement,
        trade: Trade,
        parties: list[Account],
        parts: list[list[Any]],
        stages: Stages,
    ) -> None:
        self._settlement = settlement
        self._core = settlement._core
        self._trade = trade
        self._parties = parties
        self._parts = parts
        self._stages = stages
        self._place = 0
        self._ticket: Ticket | None = None
        self._is_last = False  # an attempt that was to succeed has failed already

    def begin(self) -> None:
        """The first attempt, now or after the delay of a fault."""
        late_ns = self._settlement.faults.delay_ns
        if late_ns:
            self._core.schedule(self._core.now_ns + late_ns, self._send)
        else:
            self._send()
        self._core.schedule(self._stages[0][0], self._due)

    def _send(self) -> None:
        doomed = self._stages[self._place][1] != OrderStatus.TRADE_MINED
        condition = self._trade.condition_id
        self._ticket = self._settlement._operator.settle(condition, self._parts, is_doomed=doomed)

    def _due(self) -> None:
        """A stage's time has come; it happens when the receipt is there."""
        ticket = self._ticket
        assert ticket is not None
        if not self._settlement.is_known(ticket):
            ticket.then(lambda: self._settlement.wake(self._due))
            return
        planned_ns, status = self._stages[self._place]
        self._trade.hash_text = ticket.transaction or self._trade.hash_text
        if status == OrderStatus.TRADE_MINED and not ticket.ok:
            self._undone()
            return
        self._settlement.step(self._trade, self._parties, status)
        if status == OrderStatus.TRADE_FAILED:
            return
        self._place += 1
        next_ns, following = self._stages[self._place]
        due_ns = self._core.now_ns + next_ns - planned_ns
        if following == OrderStatus.TRADE_CONFIRMED:
            step = self._settlement.step
            self._core.schedule(due_ns, lambda: step(self._trade, self._parties, following))
        else:
            self._send()
            self._core.schedule(due_ns, self._due)

    def _undone(self) -> None:
        """The chain refused what should have passed, as when shares have been moved away: tried once more."""
        if self._is_last:
            self._settlement.step(self._trade, self._parties, OrderStatus.TRADE_FAILED)
            return
        self._is_last = True
        self._settlement.step(self._trade, self._parties, OrderStatus.TRADE_RETRYING)
        self._send()
        self._core.schedule(self._core.now_ns + self._core.profile.mined_delay_ns, self._due)
