"""What a restart remembers, the first armed day, and what losses, triggers and kill levels do."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from invmm._ext.words import SharedWords
from invmm.errors import ConfigError
from invmm.execution import risk as risk_module
from invmm.execution.kill import latch, read, release
from invmm.execution.risk import NO_CEILING, Risk, arm, first_day_refusals
from invmm.execution.risk_file import load
from invmm.execution.state import StateFolder
from invmm.permission import AlarmKind, Permission
from invmm.settings import RiskSettings, Settings
from invmm.settlement.ledger import Ledger
from invmm.types import EVENT_DTYPE, MICRO, Mode, OrderStatus, Outcome, Reason, Side

SECOND = 10**9
DAY_NS = 86_400 * SECOND
NOON_NS = 20_000 * DAY_NS + DAY_NS // 2
CONFIRMED, FAILED, MATCHED = (
    OrderStatus.TRADE_CONFIRMED,
    OrderStatus.TRADE_FAILED,
    OrderStatus.TRADE_MATCHED,
)


def fill(ledger: Ledger, outcome: Outcome, price_e4: int, shares: int, **more: Any) -> None:
    number = len(ledger.legs) + 1
    about = {"side": Side.BUY, "status": CONFIRMED, "time_ns": number} | more
    ledger.fill(
        trade=number, key=number, outcome=outcome, price_e4=price_e4, size_micro=shares * MICRO, **about
    )


def result(status: OrderStatus, key: int, at_ns: int, reason: Reason = Reason.NONE, code: int = 0) -> Any:
    record = np.zeros(1, EVENT_DTYPE)[0]
    record["status"], record["key"], record["time_ns"] = status, key, at_ns
    record["reason"], record["code"] = reason, code
    return record


class Venue:
    def __init__(self) -> None:
        self.words = SharedWords(4)
        self.open = 0
        self.cancelled = 0

    async def cancel_all(self) -> None:
        self.cancelled += 1
        self.open = max(0, self.open - 1)

    async def open_order_count(self) -> int:
        return self.open


class Clock:
    def __init__(self) -> None:
        self.at_ns, self.scale = NOON_NS, 1.0

    def now_ns(self) -> int:
        return self.at_ns


class Desk:
    """A risk with what is around it, by hand; time stands still until it is moved."""

    def __init__(self, state: StateFolder | None = None, **limits: Any) -> None:
        self.said: list[str] = []
        self.clock = Clock()
        self.markets: dict[int, Any] = {}
        self.permission = Permission(lambda mode: None, self.said.append)
        settings = Settings(risk=RiskSettings(**limits))
        self.risk = Risk(settings, self.permission, self.said.append, self.markets)
        self.venue = Venue()
        self.resumed = 0
        self.permission.reconciled(0)
        self.risk.open(self.clock, self.venue, state, self._resume)  # type: ignore[arg-type]

    def _resume(self) -> None:
        self.resumed += 1
        self.permission.reconciled(0)

    def market(self, number: int, name: str, end_ns: int = NOON_NS) -> Any:
        registry = SimpleNamespace(counts=lambda: {"live": 0})
        market = SimpleNamespace(
            info=SimpleNamespace(condition_id=name, slug=name, end_s=end_ns // SECOND),
            number=number,
            ledger=Ledger(),
            winner=None,
            barred=Reason.NONE,
            changes=0,
            step=SimpleNamespace(registry=registry),
        )
        self.markets[number] = market
        self.risk.market_opened(market)
        return market

    def tick(self) -> list[Any]:
        return self.risk.tick(self.clock.at_ns)

    def buy(self, market: Any, outcome: Outcome, price_e4: int, shares: int) -> None:
        fill(market.ledger, outcome, price_e4, shares)
        market.changes += 1

    def admit(self, number: int, dollars: float = 1.0) -> Reason:
        return self.risk.account.admit(number, Side.BUY, int(dollars * 10**10), self.clock.at_ns)


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "state")


def test_a_market_that_lost_too_much_is_not_quoted_any_more_and_the_others_are() -> None:
    desk = Desk(max_loss_market_dollars=5.0)
    bad, good = desk.market(0, "0xbad"), desk.market(1, "0xgood")
    desk.buy(bad, Outcome.UP, 5_000, 10)
    desk.buy(good, Outcome.UP, 5_000, 9)
    assert desk.tick() == []
    desk.buy(bad, Outcome.UP, 5_000, 1)
    assert desk.tick() == [bad]
    assert (bad.barred, good.barred) == (Reason.LOSS_MARKET, Reason.NONE)
    assert (desk.admit(0), desk.admit(1)) == (Reason.LOSS_MARKET, Reason.NONE)
    assert desk.risk.level == 0
    assert desk.tick() == []
    assert desk.risk.trips == {"LOSS_MARKET": 1}
    assert sum("0xbad is not quoted any more" in line for line in desk.said) == 1
    assert desk.permission.kinds[AlarmKind.MARKET_LOSS] == 1


def test_a_day_that_lost_too_much_ends_new_risk_and_a_release_does_not_undo_the_loss(
    state: StateFolder,
) -> None:
    desk = Desk(state, max_loss_day_dollars=8.0)
    for number in range(3):
        market = desk.market(number, f"0x{number}")
        desk.buy(market, Outcome.DOWN, 3_000, 10)
        desk.tick()
    assert (desk.risk.level, desk.risk.loss_day_micro) == (1, 9_000_000)
    assert desk.permission.mode == Mode.PAUSED
    assert (desk.venue.words.kill, desk.admit(0)) == (1, Reason.KILLED)
    assert read(state.kill).by == "LOSS_DAY"
    release(state.kill, "somebody")
    desk.tick()
    assert desk.risk.level == 1
    assert desk.risk.trips == {"LOSS_DAY": 2}
    desk.risk.close(True)


def test_the_loss_of_a_closed_market_counts_until_its_winner_makes_it_better_or_the_day_is_over() -> None:
    desk = Desk()
    first, second = desk.market(0, "0x1"), desk.market(1, "0x2")
    for market in (first, second):
        desk.buy(market, Outcome.UP, 4_000, 10)
        desk.risk.account.commit(market.number, 4 * 10**10, 0, 0)
    desk.tick()
    for market in (first, second):
        del desk.markets[market.number]
        desk.risk.market_closed(market)
    assert desk.risk.loss_day_micro == 8_000_000
    assert desk.risk.account.figures()["parked_e10"] == 8 * 10**10
    desk.risk.resolved("0x1", Outcome.UP)
    assert desk.risk.loss_day_micro == 0  # six won, four at worst lost
    assert desk.risk.account.figures()["parked_e10"] == 4 * 10**10
    desk.risk.resolved("0x1", Outcome.UP)
    desk.risk.resolved("0x2", Outcome.DOWN)
    assert desk.risk.account.figures()["parked_e10"] == 0
    desk.clock.at_ns += DAY_NS
    desk.tick()
    assert desk.risk.loss_day_micro == 0


def test_a_restart_gives_no_limit_back(state: StateFolder) -> None:
    before = Desk(state, orders_per_minute=3)
    market = before.market(0, "0x1", NOON_NS + DAY_NS)
    before.buy(market, Outcome.UP, 4_000, 10)
    assert [before.admit(0) for _ in range(3)] == [Reason.NONE] * 3
    before.risk.account.commit(0, 4 * 10**10, 0, 0)
    before.risk.kill(1, "lunch")
    before.tick()
    del before.markets[0]
    before.risk.market_closed(market)
    before.risk.close(True)
    after = Desk(state, orders_per_minute=3)
    assert (after.risk.level, after.risk.loss_day_micro) == (1, 4_000_000)
    assert after.risk.account.figures()["parked_e10"] == 4 * 10**10
    release(state.kill, "somebody")
    after.tick()
    assert after.risk.level == 0
    assert after.admit(0) is Reason.MINUTE_RATE
    after.clock.at_ns += 61 * SECOND
    assert after.admit(0) is Reason.NONE
    after.risk.close(True)


def test_a_kill_file_that_was_removed_while_nothing_ran_is_written_again(state: StateFolder) -> None:
    before = Desk(state)
    before.risk.kill(1, "loss")
    before.risk.close(True)
    state.kill.unlink()
    assert Desk(state).risk.level == 1
    assert read(state.kill).level == 1


def test_a_file_that_is_damaged_is_refused_before_anything_is_traded(state: StateFolder) -> None:
    state.risk.write_text("{}")
    with pytest.raises(ConfigError, match=r"risk\.json"):
        Desk(state)


def test_alarms_and_triggers_are_latched_as_level_1(state: StateFolder) -> None:
    desk = Desk(state, max_rejects=3)
    desk.permission.alarm("an open order is not ours", AlarmKind.FOREIGN_ORDER)
    assert (desk.risk.level, read(state.kill).by) == (1, "alarm")
    assert sum(line.startswith("ALARM") for line in desk.said) == 1
    release(state.kill, "somebody")
    desk.tick()
    assert (desk.risk.level, desk.resumed, desk.permission.mode) == (0, 1, Mode.RUNNING)
    for key in range(4):
        desk.risk.heard(result(OrderStatus.REJECTED, key, 0))
    desk.tick()
    assert (desk.risk.level, read(state.kill).by) == (1, "REJECT_STORM")
    assert desk.permission.kinds[AlarmKind.KILL] >= 1
    assert desk.permission.mode == Mode.PAUSED
    desk.risk.close(True)


WARNINGS = {AlarmKind.CLOCK_DRIFT, AlarmKind.NOT_VERIFIED, AlarmKind.MARKET_LOSS, AlarmKind.GAS}


@pytest.mark.parametrize("kind", AlarmKind, ids=lambda kind: kind.value)
def test_an_alarm_is_told_or_latches_by_its_kind(kind: AlarmKind, state: StateFolder) -> None:
    desk = Desk(state)
    heard: list[tuple[str, str]] = []
    desk.permission.hook = lambda kind, text: heard.append((kind, text))
    desk.tick()
    desk.permission.alarm("look", kind)
    assert heard == [(kind, "look")]
    assert list(desk.permission.alarms) == ["look"]
    for _ in range(2):
        assert desk.risk.level == (kind not in WARNINGS)
        assert desk.permission.mode == (Mode.RUNNING if kind in WARNINGS else Mode.PAUSED)
        desk.clock.at_ns += 3_600 * SECOND
        desk.tick()
    assert desk.resumed == 0
    desk.risk.close(True)


def slow(desk: Desk) -> None:
    """Fifty orders, five without an answer in time."""
    for key in range(50):
        desk.risk.heard(result(OrderStatus.SENT, key, desk.clock.at_ns))
        if key >= 5:
            desk.risk.heard(result(OrderStatus.LIVE, key, desk.clock.at_ns))
    desk.clock.at_ns += 10 * SECOND
    desk.tick()


def test_a_slow_venue_latches_level_1_until_a_person_has_looked(state: StateFolder) -> None:
    desk = Desk(state)
    for time in (1, 2):
        slow(desk)
        assert desk.risk.trips == {"SLOW_VENUE": time}
        assert (desk.risk.level, desk.permission.mode) == (1, Mode.PAUSED)
        assert (desk.venue.words.kill, desk.admit(0)) == (1, Reason.KILLED)
        assert (read(state.kill).by, read(state.kill).level) == ("SLOW_VENUE", 1)
        assert "5 of the last 50 orders: no answer within 3000 ms" in read(state.kill).why
        desk.permission.reconciled(0)
        desk.clock.at_ns += 3_600 * SECOND
        desk.tick()
        assert desk.permission.mode == Mode.PAUSED, "neither knowing all nor an hour lifts it"
        release(state.kill, "somebody")
        desk.tick()
        assert (desk.risk.level, desk.resumed, desk.permission.mode) == (0, time, Mode.RUNNING)
    desk.risk.close(True)


def test_a_slow_venue_is_still_latched_after_a_restart(state: StateFolder) -> None:
    before = Desk(state)
    slow(before)
    before.risk.close(True)
    after = Desk(state)
    assert (after.risk.level, after.admit(0), read(state.kill).by) == (1, Reason.KILLED, "SLOW_VENUE")
    after.risk.close(True)


def test_failed_fills_latch_level_1_and_those_before_a_release_are_not_judged_again(
    state: StateFolder,
) -> None:
    desk = Desk(state, max_loss_market_dollars=1_000.0)
    market = desk.market(0, "0xab")

    def settle(status: OrderStatus) -> None:
        for _ in range(12):
            fill(market.ledger, Outcome.UP, 5_000, 5, status=status, time_ns=desk.clock.at_ns)
        market.changes += 1
        desk.tick()

    settle(CONFIRMED)
    assert desk.risk.level == 0
    settle(FAILED)
    assert desk.risk.trips == {"SETTLEMENT_FAILURES": 1}
    assert (desk.risk.level, desk.permission.mode) == (1, Mode.PAUSED)
    assert "fills failed on the chain" in desk.permission.latched[-1]
    desk.clock.at_ns += 3_600 * SECOND
    settle(CONFIRMED)
    assert (desk.risk.level, desk.permission.mode) == (1, Mode.PAUSED)
    release(state.kill, "somebody")
    desk.tick()
    assert (desk.risk.level, desk.permission.mode) == (0, Mode.RUNNING)
    settle(CONFIRMED)
    assert desk.risk.trips == {"SETTLEMENT_FAILURES": 1}
    desk.clock.at_ns += SECOND
    settle(FAILED)
    assert desk.risk.trips == {"SETTLEMENT_FAILURES": 2}
    desk.risk.close(True)


def test_a_journal_or_a_risk_file_that_cannot_be_written_ends_new_risk(tmp_path: Path) -> None:
    desk = Desk()
    desk.venue.words.journal_stop = Reason.JOURNAL
    desk.tick()
    assert desk.risk.trips == {"JOURNAL": 1}
    state = StateFolder(tmp_path / "state")
    lost = Desk(state)
    state.risk.mkdir()
    lost.admit(0)
    for _ in range(20_000):  # until the writer has met it
        lost.tick()
        if lost.risk.level:
            break
        lost.clock.at_ns += SECOND
        lost.admit(0)
        asyncio.run(asyncio.sleep(0.002))
    assert lost.risk.trips == {"STATE_LOST": 1}
    lost.risk.close(True)


def test_a_hand_written_level_2_cancels_everything_and_says_that_it_is_verified(state: StateFolder) -> None:
    async def play() -> None:
        desk = Desk(state)
        desk.venue.open = 2
        state.kill.write_text("2")
        desk.tick()
        assert (desk.risk.level, desk.venue.words.kill, desk.permission.mode) == (2, 2, Mode.PAUSED)
        while read(state.kill).verified is None:
            await asyncio.sleep(0.01)
        assert (read(state.kill).verified, desk.venue.open) == (True, 0)
        assert any("verified, the venue lists no open order" in line for line in desk.said)
        assert not desk.risk.is_over
        latch(state.kill, 3, "enough", "command")
        desk.tick()
        assert desk.risk.is_over
        desk.risk.close(False)
        assert (read(state.kill).level, read(state.kill).verified) == (3, False)

    asyncio.run(asyncio.wait_for(play(), 60))


def test_cash_that_settled_after_the_question_is_not_counted_as_free() -> None:
    desk = Desk(reserve_dollars=10.0)
    account = desk.risk.account
    desk.tick()
    asked_ns = desk.clock.at_ns
    desk.clock.at_ns += SECOND
    account.commit(0, 30 * 10**10, 0, 0)  # settled between the question and its answer
    desk.tick()
    desk.risk.cash_told(100 * MICRO, asked_ns)
    assert desk.admit(1, 61) is Reason.RESERVE
    assert desk.admit(1, 60) is Reason.NONE


# ---- the first armed day -----------------------------------------------------------------------------------


def test_on_the_first_armed_day_nothing_larger_than_the_first_thousand_is_accepted(
    state: StateFolder,
) -> None:
    first = Settings.load("first-1000")
    assert first_day_refusals(first, state, NOON_NS) == []
    refusals = first_day_refusals(Settings(), state, NOON_NS)
    assert any(line.startswith("[strategy] order_size: expected at most 5 ") for line in refusals)
    assert any("[risk] max_total_dollars: expected at most 1000" in line for line in refusals)
    arm(state, NOON_NS)
    arm(state, NOON_NS + DAY_NS // 4)
    assert first_day_refusals(Settings(), state, NOON_NS + DAY_NS // 4) == refusals
    assert first_day_refusals(Settings(), state, NOON_NS + DAY_NS) == []
    arm(state, NOON_NS + DAY_NS)
    assert first_day_refusals(Settings(), state, NOON_NS + DAY_NS) == []


@pytest.mark.parametrize(
    ("table", "name"),
    [("strategy", "order_size"), ("strategy", "num_levels")]
    + [("risk", f.name) for f in dataclasses.fields(RiskSettings) if f.name not in NO_CEILING],
)
def test_each_limit_has_its_ceiling_on_the_first_day(state: StateFolder, table: str, name: str) -> None:
    first = Settings.load("first-1000")
    values = getattr(first, table)
    larger = dataclasses.replace(values, **{name: getattr(values, name) * 2})
    (refusal,) = first_day_refusals(dataclasses.replace(first, **{table: larger}), state, NOON_NS)
    assert refusal.startswith(f"[{table}] {name}: expected at most")


def test_the_first_day_outlives_the_engine_of_that_day(state: StateFolder) -> None:
    arm(state, NOON_NS)
    desk = Desk(state)
    desk.admit(0)
    desk.tick()
    desk.risk.close(True)
    record = load(state.risk)
    assert record is not None
    assert record.first_armed_day == NOON_NS // DAY_NS


def test_level_2_that_cannot_be_verified_is_an_alarm_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(risk_module, "PATIENCE_S", 0.0)
    monkeypatch.setattr(risk_module, "ASK_AGAIN_S", 0.001)
    monkeypatch.setattr(risk_module, "ASK_LATER_S", 0.001)

    async def play() -> Desk:
        desk = Desk()
        desk.venue.open = 5
        desk.risk.kill(2, "a person")
        while not any("verified, the venue lists no open order" in line for line in desk.said):
            await asyncio.sleep(0.001)
        return desk

    desk = asyncio.run(asyncio.wait_for(play(), 60))
    assert desk.permission.kinds[AlarmKind.NOT_VERIFIED] == 1
    assert desk.venue.open == 0
    desk.risk.close(True)
