"""The engine's side of settlement: what it says, what it gives away, what it books."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from invmm.engine import Engine
from invmm.permission import AlarmKind
from invmm.replay.tape import MarketInfo
from invmm.settings import Settings
from invmm.settlement.cashier import TELL_EVERY_NS, Cashier, settlement_of
from invmm.settlement.handover import merger_of, residue_of
from invmm.settlement.messages import Ask, Done, FromSettler, Grant, Holding, Load, Notice, Purse, Told
from invmm.settlement.policy import Action
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, CommandKind, EventKind, OrderStatus, Outcome, Side

SHARE = 10**6
NOW_NS = 1_800_000_000 * 10**9


@dataclass
class Line:
    """What was told, and what is to be heard."""

    told: list[Any] = field(default_factory=list)
    said: list[FromSettler] = field(default_factory=list)

    def tell(self, message: Any, /) -> None:
        self.told.append(message)

    def heard(self) -> list[FromSettler]:
        said, self.said = self.said, []
        return said

    def last(self, kind: type) -> Any:
        return next(message for message in reversed(self.told) if isinstance(message, kind))


class Desk:
    """An engine with one market, its cashier, and the settler's end of the line."""

    def __init__(self) -> None:
        self.engine = Engine(Settings())
        info = MarketInfo("m", "0xc0", "111", "222", NOW_NS // 10**9 - 10, NOW_NS // 10**9 + 290)
        self.market = self.engine.add_market(info)
        self.line = Line()
        self.cashier = Cashier(self.engine, self.line)
        self.now_ns = NOW_NS
        self.keys = 0

    def order(self, outcome: Outcome, side: Side, shares: int) -> int:
        self.keys += 1
        placed = np.zeros(1, COMMAND_DTYPE)
        placed["kind"], placed["key"] = CommandKind.PLACE, ((self.market.number + 1) << 40) + self.keys
        placed["token"], placed["side"], placed["price_e4"] = outcome, side, 4_500
        placed["size_micro"] = shares * SHARE
        self.market.step.registry.add(placed)
        return int(placed["key"][0])

    def fill(self, outcome: Outcome, shares: int, status: OrderStatus = OrderStatus.TRADE_CONFIRMED) -> None:
        event = np.zeros(1, EVENT_DTYPE)
        event["kind"], event["market"], event["status"] = EventKind.USER_EVENT, self.market.number, status
        event["key"] = self.order(outcome, Side.BUY, shares)
        event["trade"], event["token"], event["price_e4"] = self.keys, outcome, 4_500
        event["size_micro"] = shares * SHARE
        self.engine.step(event, self.now_ns)

    def tick(self, *said: FromSettler) -> None:
        self.line.said += said
        self.now_ns += TELL_EVERY_NS
        self.cashier.tick(self.now_ns)

    def ask(self, pairs: int, action: Action = Action.MERGE) -> bool:
        self.tick(Ask("job", "0xc0", action, pairs * SHARE))
        grant: Grant = self.line.last(Grant)
        return grant.is_granted

    def done(self, action: Action, up: int, down: int, paid: int, left: int) -> None:
        about = Done(action, up * SHARE, down * SHARE, paid * SHARE, "0xabc", 90_000, 7)
        self.tick(Told("0xc0", f"{action}:1", 0, left * SHARE, about))


@pytest.fixture
def desk() -> Desk:
    made = Desk()
    made.fill(Outcome.UP, 50)
    made.fill(Outcome.DOWN, 30)
    return made


def test_it_says_what_final_fills_brought_once_and_again_when_that_changes(desk: Desk) -> None:
    desk.fill(Outcome.DOWN, 15, OrderStatus.TRADE_MATCHED)
    desk.tick()
    desk.tick()
    holdings = [message for message in desk.line.told if isinstance(message, Holding)]
    (holding,) = holdings
    assert (holding.low_micro, holding.high_micro) == ((50 * SHARE, 30 * SHARE), (50 * SHARE, 45 * SHARE))
    assert holding.is_open
    assert isinstance(desk.line.last(Purse), Purse)
    desk.fill(Outcome.DOWN, 5)
    desk.tick()
    assert desk.line.last(Holding).low_micro == (50 * SHARE, 35 * SHARE)


def test_what_settlement_took_is_not_in_what_fills_brought(desk: Desk) -> None:
    desk.tick()
    desk.done(Action.MERGE, 20, 20, 20, left=20)
    assert desk.market.step.registry.position() == (30 * SHARE, 10 * SHARE)
    assert desk.market.ledger.merged_micro == 20 * SHARE
    assert desk.line.last(Holding).low_micro == (50 * SHARE, 30 * SHARE)
    desk.done(Action.MERGE, 20, 20, 20, left=20)
    assert desk.market.ledger.merged_micro == 20 * SHARE, "the same total twice is the same"


def test_pairs_that_were_given_away_cannot_be_sold(desk: Desk) -> None:
    assert desk.ask(30)
    assert desk.market.step.exposure()["reserved_micro"] == [30 * SHARE, 30 * SHARE]
    desk.tick(Told("0xc0", "job", 0, 0))
    assert desk.market.step.exposure()["reserved_micro"] == [0, 0]


def test_it_gives_nothing_away_that_is_not_there_offered_or_kept_by_the_safety_path(desk: Desk) -> None:
    assert not desk.ask(31)
    desk.order(Outcome.UP, Side.SELL, 25)
    desk.tick()
    assert desk.line.last(Holding).offered_micro == (25 * SHARE, 0)
    assert not desk.ask(26)
    assert desk.ask(25)
    desk.engine.permission.alarm("somebody has to look", AlarmKind.SETTLEMENT)
    assert not desk.ask(1)
    assert desk.line.last(Purse).is_stopped


def test_an_unknown_market_gets_nothing(desk: Desk) -> None:
    desk.tick(Ask("job", "0xother", Action.MERGE, SHARE))
    assert not desk.line.last(Grant).is_granted


def test_a_market_that_was_handed_over_is_booked_in_its_ledger(desk: Desk) -> None:
    ledger = desk.market.ledger
    residue = residue_of(desk.market, merger_of(desk.engine.settings.strategy), desk.now_ns)
    desk.cashier.hand_over(residue)
    assert not desk.line.last(Holding).is_open
    desk.done(Action.MERGE, 30, 30, 30, left=30)
    desk.done(Action.REDEEM, 20, 0, 20, left=30)
    assert [ledger.held_micro(outcome) for outcome in Outcome] == [0, 0]
    assert ledger.cash_micro() == 50 * SHARE - 80 * 450_000
    assert not desk.ask(1)
    told = settlement_of([desk.cashier], [ledger], 10**9, 10**9 + ledger.cash_micro())
    assert (told["merges"], told["merged_pairs_micro"], told["redeemed_micro"]) == (1, 30 * SHARE, 20 * SHARE)
    assert (told["gas_used"], told["cash_after_micro"]) == (180_000, told["ledger_cash_micro"])
    dropped = settlement_of([desk.cashier], [ledger], 10**9, 10**9 + ledger.cash_micro() - 20 * SHARE)
    assert dropped["cash_after_micro"] != dropped["ledger_cash_micro"]


def test_an_alarm_of_the_settler_stops_quoting_and_its_words_are_told(desk: Desk) -> None:
    desk.tick(Notice("nothing to worry about"), Notice("look", True))
    assert desk.engine.permission.kinds[AlarmKind.SETTLEMENT] == 1
    assert "nothing to worry about" in desk.engine.messages


def test_it_is_idle_when_everything_was_heard_and_nothing_is_left(desk: Desk) -> None:
    desk.tick()
    assert not desk.cashier.is_idle
    said = len(desk.line.told)
    desk.tick(Load(0, 1, said))
    assert not desk.cashier.is_idle
    desk.tick(Load(0, 0, said))
    assert desk.cashier.is_idle
