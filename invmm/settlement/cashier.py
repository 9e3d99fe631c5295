"""The engine's side of settlement: says what is held, sets shares apart when asked, books what was settled.

On the engine's thread and loop; nothing here blocks. Open markets are told by events of the step (SETTLEMENT,
PAIRS), so that the compiled position, the ledger and the journal have the same; ledgers of markets that were
handed over are booked directly.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from invmm.execution.kill import KillLevel
from invmm.settlement.handover import Residue, merger_of
from invmm.settlement.ledger import Ledger
from invmm.settlement.messages import (
    Ask,
    Done,
    FromSettler,
    Grant,
    Holding,
    Load,
    Notice,
    Purse,
    Told,
    ToSettler,
    Verdict,
)
from invmm.settlement.policy import Action, SettleReason
from invmm.strategy.vocabulary import InventorySnapshot
from invmm.types import EVENT_DTYPE, MICRO, EventKind, Outcome, SettlementFact, Source

if TYPE_CHECKING:
    from invmm.engine import Engine
    from invmm.market import Market
    from invmm.replay.tape import MarketInfo

TELL_EVERY_NS: Final = 1_000_000_000
"""Engine time between two looks at the ledgers."""


class Line(Protocol):
    """What carries the messages: `SettlingThread`, or a settler of a test."""

    def tell(self, message: ToSettler, /) -> None: ...

    def heard(self) -> Iterable[FromSettler]: ...


class Cashier:
    """Settles what an engine holds, by way of a settler.

    Parameters
    ----------
    engine : Engine
    line : Line
        To the settler.
    """

    def __init__(self, engine: Engine, line: Line) -> None:
        self.load = Load(0, 0, 0)
        """Jobs and markets that wait, as the settler said last."""
        self.done: list[tuple[str, Done]] = []
        """Every job that is final, with its market's name, oldest first."""
        self.verdicts: dict[str, Verdict] = {}
        """The last decision about each market, by its name."""
        self.reasons: Counter[SettleReason] = Counter()
        """How often each reason has decided."""
        self._engine = engine
        self._line = line
        self.say = engine.messages.append
        self._merger = merger_of(engine.settings.strategy)
        self._next_ns = 0
        self._told: dict[str, Holding] = {}
        self._purse: Purse | None = None
        self._closed: dict[str, tuple[str, Ledger]] = {}
        self._said = 0  # messages so far
        self._is_ending = False

    # ---- told by the session -------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> None:
        """Hears the settler, and tells it what changed; call it often."""
        for message in self._line.heard():
            self._heard(message, now_ns)
        if now_ns < self._next_ns:
            return
        self._next_ns = now_ns + TELL_EVERY_NS
        self._tell_purse()
        for market in self._engine.markets.values():
            if market.info.condition_id and market.info.condition_id not in self._closed:
                self._tell(self._holding(market))

    def hand_over(self, residue: Residue) -> None:
        """A market is closed: its ledger is booked here from now on."""
        info = residue.info
        self._closed[info.condition_id] = (info.slug, residue.ledger)
        self._tell(_holding_of(info, residue.ledger, is_open=False, rule=residue.merge.reason))

    def begin_nothing(self) -> None:
        """The session ends: what is under way is followed, nothing new is begun."""
        self._is_ending = True
        self._tell_purse()

    @property
    def has_jobs(self) -> bool:
        """Whether a job is under way, or may be."""
        return self.load.jobs > 0 or self.load.heard < self._said

    @property
    def is_idle(self) -> bool:
        """Whether the settler has heard everything, and nothing is left to settle."""
        return self.load == Load(0, 0, self._said)

    # ---- to the settler ------------------------------------------------------------------------------------

    def _send(self, message: ToSettler) -> None:
        self._said += 1
        self._line.tell(message)

    def _tell(self, holding: Holding) -> None:
        if self._told.get(holding.market) != holding:
            self._told[holding.market] = holding
            self._send(holding)

    def _tell_purse(self) -> None:
        engine = self._engine
        figures = engine.risk.account.figures()
        told = figures["cash_e10"]
        cash_micro = None if told is None else (int(told) - int(str(figures["open_e10"]))) // 10_000
        strategy = engine.settings.strategy
        need_micro = round(strategy.num_levels * strategy.order_size * MICRO)  # both bids cost below a dollar
        is_killed = self._is_ending or engine.risk.level >= KillLevel.CANCEL_ALL
        purse = Purse(cash_micro, need_micro, self._is_stopped, is_killed)
        if purse != self._purse:
            self._purse = purse
            self._send(purse)

    @property
    def _is_stopped(self) -> bool:
        """Whether no new risk is taken: a kill level, or an alarm that forbids it."""
        engine = self._engine
        return bool(self._is_ending or engine.risk.level or engine.permission.is_forbidden)

    def _holding(self, market: Market) -> Holding:
        ledger = market.ledger
        held = InventorySnapshot(
            up_size=max(0, ledger.held_micro(Outcome.UP)) / MICRO,
            up_avg_price=ledger.average(Outcome.UP),
            down_size=max(0, ledger.held_micro(Outcome.DOWN)) / MICRO,
            down_avg_price=ledger.average(Outcome.DOWN),
        )
        offered: Any = market.step.exposure()["sells_micro"]
        rule = self._merger.check_merge(held).reason
        shown = _holding_of(market.info, ledger, is_open=True, rule=rule)
        return replace(shown, offered_micro=(offered[0], offered[1])) if any(offered) else shown

    # ---- from the settler ----------------------------------------------------------------------------------

    def _heard(self, message: FromSettler, now_ns: int) -> None:
        if isinstance(message, Ask):
            self._send(Grant(message.name, self._set_apart(message, now_ns)))
        elif isinstance(message, Told):
            self._book(message, now_ns)
        elif isinstance(message, Notice):
            if message.is_alarm:
                self._engine.permission.alarm(message.text, message.kind)
            else:
                self.say(message.text)
        elif isinstance(message, Load):
            self.load = message
        else:
            self._keep(message)

    def _keep(self, verdict: Verdict) -> None:
        """What was decided and why, for the journal and the report."""
        self.verdicts[verdict.slug] = verdict
        self.reasons[verdict.reason] += 1
        if self._engine.journal is not None:
            what = verdict.action if verdict.action is Action.WAIT else f"{verdict.action} {_shares(verdict)}"
            self._engine.journal.note(f"{verdict.slug}: {what}: {verdict.reason}")

    def _set_apart(self, ask: Ask, now_ns: int) -> bool:
        """Whether the pairs are still there to be taken; if so, nobody else gets them from now on."""
        market = self._open(ask.market)
        if market is None or self._is_stopped or market.ledger.conflicts:
            return False
        if ask.action is Action.SPLIT:
            return True
        for outcome, offered in zip(Outcome, self._holding(market).offered_micro, strict=True):
            if market.ledger.interval(outcome)[0] - offered < ask.pairs_micro:
                return False
        self._pairs(market, ask.pairs_micro, _left(market.ledger), ask.name, now_ns)
        return True

    def _book(self, told: Told, now_ns: int) -> None:
        market = self._open(told.market)
        slug, ledger = self._closed.get(told.market, ("", None))
        if market is not None:
            slug, ledger = market.info.slug, market.ledger
            self._pairs(market, told.reserved_micro, told.left_micro, told.name, now_ns)
        elif ledger is not None:
            ledger.pairs_left(told.name, told.left_micro)
        done = told.done
        if done is None:
            return
        self.done.append((slug, done))
        if market is not None and self._engine.reconciler is not None:
            self._engine.reconciler.refresh_balances(market)
        if done.action is Action.REDEEM and ledger is not None:
            ledger.redeem(told.name, done.up_micro, done.down_micro, done.paid_micro)
        self.say(f"{slug}: {_words(done)}")

    def _open(self, condition: str) -> Market | None:
        if condition in self._closed:
            return None
        markets = self._engine.markets.values()
        return next((market for market in markets if market.info.condition_id == condition), None)

    def _pairs(self, market: Market, reserved_micro: int, left_micro: int, name: str, now_ns: int) -> None:
        """Tells a market's step and ledger of pairs promised and pairs gone."""
        event = np.zeros(1, EVENT_DTYPE)
        event["kind"], event["source"] = EventKind.SETTLEMENT, Source.EDGE
        event["market"], event["status"] = market.number, SettlementFact.PAIRS
        event["size_micro"], event["filled_micro"] = reserved_micro, left_micro
        event["trade"], event["time_ns"] = _number(name), now_ns
        self._engine.step(event, now_ns)


def _holding_of(info: MarketInfo, ledger: Ledger, *, is_open: bool, rule: str) -> Holding:
    low, high = [], []
    for outcome in Outcome:
        least, most = ledger.interval(outcome)
        settled = ledger.settled_micro(outcome)
        low.append(least + settled)
        high.append(most + settled)
    return Holding(
        market=info.condition_id,
        slug=info.slug,
        exchange=info.exchange,
        up_token=info.up_token_id,
        down_token=info.down_token_id,
        end_s=info.end_s,
        low_micro=(low[0], low[1]),
        high_micro=(high[0], high[1]),
        is_open=is_open,
        rule=rule,
    )


def settlement_of(
    cashiers: Iterable[Cashier], ledgers: Iterable[Ledger], before_micro: int, after_micro: int
) -> dict[str, Any]:
    """A report's `settlement`: what was done, cash of the chain before and after, and cash by the ledgers.

    Parameters
    ----------
    cashiers : iterable of Cashier
    ledgers : iterable of Ledger
        Of all markets that were traded; they alone say what `ledger_cash_micro` is, from the cash before on.
    before_micro, after_micro : int
        What the account had by the chain's own word (`balanceOf`), micro-dollars.
    """
    cashiers = list(cashiers)
    every = [(slug, done) for cashier in cashiers for slug, done in cashier.done]
    reasons = sum((cashier.reasons for cashier in cashiers), Counter[SettleReason]())
    merges = [done for _, done in every if done.action is Action.MERGE]
    redeemed = [done for _, done in every if done.action is Action.REDEEM]
    ledger_micro = before_micro + sum(ledger.cash_micro() for ledger in ledgers)
    return {
        "merges": len(merges),
        "merged_pairs_micro": sum(done.up_micro for done in merges),
        "redemptions": len(redeemed),
        "redeemed_micro": sum(done.paid_micro for done in redeemed),
        "split_micro": sum(done.up_micro for _, done in every if done.action is Action.SPLIT),
        "gas_used": sum(done.gas_used for _, done in every),
        "fee_wei": sum(done.fee_wei for _, done in every),
        "cash_before_micro": before_micro,
        "cash_after_micro": after_micro,
        "ledger_cash_micro": ledger_micro,
        "left": sum(cashier.load.jobs + cashier.load.markets for cashier in cashiers),
        "reasons": {str(reason): count for reason, count in reasons.items()},
        "transactions": [
            {
                "market": slug,
                "action": str(done.action),
                "up_micro": done.up_micro,
                "down_micro": done.down_micro,
                "paid_micro": done.paid_micro,
                "transaction": done.transaction,
                "gas_used": done.gas_used,
            }
            for slug, done in every
        ],
    }


def _left(ledger: Ledger) -> int:
    """Pairs that left by merges, less those that splits brought."""
    return ledger.merged_micro - ledger.split_micro


def _number(name: str) -> int:
    """64 bits of a job's name, for events."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")


def _shares(what: Done | Verdict) -> str:
    return f"{what.up_micro / MICRO:g} Up, {what.down_micro / MICRO:g} Down"


def _words(done: Done) -> str:
    paid = done.paid_micro / MICRO
    if done.action is Action.MERGE:
        return f"merged {done.up_micro / MICRO:g} pairs into {paid:.6f} dollars"
    if done.action is Action.SPLIT:
        return f"split {done.up_micro / MICRO:g} dollars into pairs"
    return f"redeemed {_shares(done)} for {paid:.6f} dollars"
