"""The roller's decisions, on a clock that is set by hand and without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from invmm.clock import NS, LiveClock
from invmm.engine import Engine
from invmm.errors import ConfigError, TransportError
from invmm.market import Market
from invmm.replay.tape import MarketInfo
from invmm.rolling import Roller
from invmm.settings import MarketSettings, Settings
from invmm.settlement.handover import SettlementQueue
from invmm.types import COMMAND_DTYPE, CommandKind, OrderStatus, OrderType, Outcome, Side
from invmm.venue.listing import Found, Refusal, RefusalKind
from invmm.venue.series import Series, Window

START = 1795258800
FIVE = Series.parse("btc-updown-5m")


class HandClock(LiveClock):
    """Stands where it was put."""

    __slots__ = ("s",)

    def __init__(self) -> None:
        super().__init__()
        self.s: float = START + 100

    def now_ns(self) -> int:
        return int(self.s * NS)


class Desk:
    """An engine without sockets."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine = Engine(settings)
        self.markets = self.engine.markets
        self.held: list[tuple[str, bool]] = []
        self.full = False
        self.settled: list[tuple[int, Outcome]] = []

    def open_market(self, info: MarketInfo, *, held: bool = False) -> Market:
        if self.full:
            raise ConfigError("expected at most 64 markets at once, all are in use")
        market = self.engine.add_market(info)
        market.held = held
        return market

    def hold(self, number: int, held: bool) -> None:
        self.markets[number].held = held
        self.held.append((self.markets[number].info.slug, held))

    def settle(self, number: int, winner: Outcome, now_ns: int) -> None:
        self.settled.append((number, winner))
        self.engine.settle(number, winner, now_ns)

    async def close_market(self, number: int) -> Market:
        return self.markets.pop(number)


def tradable(window: Window) -> Found:
    info = MarketInfo(window.slug, "0xab", "1", "2", window.start_s, window.end_s)
    return Found(window, info)


def refused(window: Window, kind: RefusalKind) -> Found:
    return Found(window, None, (Refusal(kind, "as arranged"),))


@dataclass
class Stage:
    """A roller and what it said; `to` moves the clock and lets it work."""

    find: Callable[[Window], Found] = tradable
    series: Series = FIVE
    windows: int = 0
    settings: Settings = field(default_factory=Settings)
    capacity: int = 100

    def __post_init__(self) -> None:
        self.clock = HandClock()
        self.desk = Desk(self.settings)
        self.queue = SettlementQueue(self.capacity)
        self.said: list[str] = []
        self.alarms: list[str] = []
        self.asked: list[str] = []

        def asked(window: Window) -> Found:
            self.asked.append(window.slug)
            return self.find(window)

        self.roller = Roller(
            self.desk,
            self.clock,
            asked,
            self.series,
            self.queue,
            windows=self.windows,
            say=self.said.append,
            alarm=self.alarms.append,
        )

    async def to(self, s: float) -> bool:
        self.clock.s = START + s
        for _ in range(4):
            over = await self.roller.turn()
            tasks = [search.task for search in self.roller._searches.values() if search.task]
            if tasks:
                await asyncio.wait(tasks)
        return over

    @property
    def open(self) -> list[int]:
        """Starts of the open windows, seconds after the first."""
        return [market.info.start_s - START for market in self.desk.markets.values()]


def fill(market: Market, outcome: Outcome, status: OrderStatus = OrderStatus.TRADE_CONFIRMED) -> None:
    market.ledger.fill(
        trade=1 + outcome,
        key=7,
        outcome=outcome,
        side=Side.BUY,
        price_e4=4800,
        size_micro=20_000_000,
        status=status,
    )


def test_the_running_window_is_traded_at_once_and_the_next_opened_before_it_starts() -> None:
    async def run() -> None:
        stage = Stage()
        await stage.to(100)
        assert stage.open == [0]
        assert not stage.desk.markets[0].held
        await stage.to(269)
        assert stage.open == [0]
        await stage.to(270)
        assert stage.open == [0, 300]
        assert stage.desk.markets[1].held
        await stage.to(299.9)
        assert stage.desk.markets[1].held
        await stage.to(300)
        assert not stage.desk.markets[1].held
        assert stage.desk.held == [(f"btc-updown-5m-{START + 300}", False)]

    asyncio.run(run())


def test_quoting_may_begin_before_the_start() -> None:
    async def run() -> None:
        market = MarketSettings(open_before_s=60, quote_before_s=20)
        stage = Stage(settings=Settings(market=market))
        await stage.to(240)
        assert stage.desk.markets[1].held
        await stage.to(280)
        assert not stage.desk.markets[1].held

    asyncio.run(run())


def test_windows_that_are_opened_long_before_their_start_overlap() -> None:
    async def run() -> None:
        stage = Stage(settings=Settings(market=MarketSettings(open_before_s=700)))
        await stage.to(10)
        assert stage.open == [0, 300, 600]
        assert stage.asked == [f"btc-updown-5m-{START + s}" for s in (0, 300, 600)]

    asyncio.run(run())


def test_a_window_without_anything_left_is_closed_and_handed_over_after_its_last_word() -> None:
    async def run() -> None:
        stage = Stage()
        await stage.to(100)
        fill(stage.desk.markets[0], Outcome.UP)
        fill(stage.desk.markets[0], Outcome.DOWN)
        await stage.to(309)
        assert stage.open == [0, 300]
        await stage.to(311)
        assert stage.open == [300]
        residue = stage.queue.take()
        assert residue is not None
        assert (residue.up_micro, residue.down_micro, residue.pairs_micro) == (20_000_000,) * 3
        assert (residue.unsettled, residue.alive) == (0, 0)
        assert residue.merge.should_merge
        assert residue.merge.pairs_to_merge == 20.0
        assert stage.queue.take() is None

    asyncio.run(run())


def test_fills_that_are_not_final_are_waited_for_but_not_for_ever() -> None:
    async def run() -> None:
        stage = Stage()
        await stage.to(100)
        fill(stage.desk.markets[0], Outcome.UP, OrderStatus.TRADE_MATCHED)
        await stage.to(599)
        assert 0 in stage.open
        await stage.to(600)
        assert 0 not in stage.open
        residue = stage.queue.take()
        assert residue is not None
        assert residue.unsettled == 1
        assert not residue.merge.should_merge
        assert any("1 fills not final" in line for line in stage.said)

    asyncio.run(run())


def test_a_window_with_an_order_that_may_be_alive_is_never_closed_and_says_so_once() -> None:
    async def run() -> None:
        stage = Stage()
        await stage.to(100)
        market = stage.desk.markets[0]
        real = market.step

        class Alive:
            registry = type("R", (), {"counts": staticmethod(lambda: {"live": 2})})

        market.step = Alive()  # type: ignore[assignment]
        for s in (400, 700, 1000, 5000):
            await stage.to(s)
        assert 0 in stage.open
        assert sum("2 orders may still be alive" in line for line in stage.said) == 1
        market.step = real
        await stage.to(5001)
        assert 0 not in stage.open

    asyncio.run(run())


def test_the_winner_is_asked_for_while_an_order_of_an_ended_window_may_be_alive() -> None:
    async def run() -> None:
        winner = ""
        stage = Stage(find=lambda window: replace(tradable(window), winner=winner))
        await stage.to(100)
        market = stage.desk.markets[0]
        placed = np.zeros(1, COMMAND_DTYPE)
        placed["kind"], placed["key"], placed["size_micro"] = CommandKind.PLACE, 1, 5_000_000
        placed["price_e4"], placed["order_type"] = 5000, OrderType.FAK
        assert market.step.registry.add(placed)  # it has no date: only the resolution ends its doubt
        await stage.to(320)
        assert stage.desk.settled == []
        winner = "Down"
        for s in range(340, 2000, 10):  # it is asked on a thread
            await stage.to(s)
            if stage.desk.settled:
                break
        assert stage.desk.settled == [(0, Outcome.DOWN)]

    asyncio.run(run())


def test_a_refusal_that_passes_is_asked_for_again_and_said_once() -> None:
    async def run() -> None:
        stage = Stage(find=lambda window: refused(window, RefusalKind.NOT_READY))
        for s in (100, 101, 104.9, 105, 110):
            await stage.to(s)
        assert len(stage.asked) == 3
        assert sum("not ready" in line for line in stage.said) == 1
        stage.find = tradable
        await stage.to(115)
        assert stage.open == [0]

    asyncio.run(run())


def test_a_failing_network_is_no_reason_to_give_up() -> None:
    def broken(_: Window) -> Found:
        raise TransportError("no route")

    async def run() -> None:
        stage = Stage(find=broken)
        await stage.to(100)
        assert stage.open == []
        assert "no route" in stage.said[-1]
        stage.find = tradable
        await stage.to(106)
        assert stage.open == [0]

    asyncio.run(run())


def test_an_error_that_nobody_has_foreseen_is_an_alarm_told_once_and_the_search_goes_on() -> None:
    broken = True

    def find(window: Window) -> Found:
        if broken:
            raise KeyError("a text that may quote anything")
        return tradable(window)

    async def run() -> None:
        nonlocal broken
        stage = Stage(find=find)
        await stage.to(100)
        await stage.to(106)
        assert len(stage.alarms) == 1
        assert "looking for it failed: KeyError at test_rolling.py" in stage.alarms[0]
        assert "anything" not in stage.alarms[0]
        broken = False
        await stage.to(112)
        assert stage.open == [0]

    asyncio.run(run())


def test_a_market_that_is_not_what_it_should_be_is_skipped_and_the_next_one_traded() -> None:
    async def run() -> None:
        stage = Stage(find=lambda window: refused(window, RefusalKind.IDS))
        await stage.to(100)
        assert "not traded: ids: as arranged" in stage.said[-1]
        stage.find = tradable
        await stage.to(110)
        assert stage.open == []
        await stage.to(280)
        assert stage.open == [300]
        assert stage.roller.counts.skipped == 1

    asyncio.run(run())


def test_the_rest_of_a_window_that_is_nearly_over_is_not_traded() -> None:
    async def run() -> None:
        stage = Stage()
        await stage.to(286)
        assert stage.open == [300]

    asyncio.run(run())


def test_a_window_that_became_tradable_too_late_is_given_up() -> None:
    async def run() -> None:
        stage = Stage(find=lambda window: refused(window, RefusalKind.NOT_LISTED))
        await stage.to(100)
        await stage.to(286)
        assert any("it was not tradable in time" in line for line in stage.said)

    asyncio.run(run())


def test_no_window_is_opened_while_settlement_does_not_keep_up() -> None:
    async def run() -> None:
        stage = Stage(capacity=1)
        await stage.to(100)
        await stage.to(311)
        assert stage.open == [300]
        await stage.to(580)
        assert stage.open == [300]
        assert stage.queue.take() is not None
        await stage.to(590)
        assert stage.open == [300, 600]

    asyncio.run(run())


def test_when_every_number_is_in_use_it_waits() -> None:
    async def run() -> None:
        stage = Stage()
        stage.desk.full = True
        await stage.to(100)
        assert "all are in use" in stage.said[-1]
        stage.desk.full = False
        await stage.to(106)
        assert stage.open == [0]

    asyncio.run(run())


def test_so_many_windows_and_no_more() -> None:
    async def run() -> None:
        stage = Stage(windows=2)
        for s in (100, 270, 311, 570):
            assert not await stage.to(s)
        assert stage.open == [300]
        assert await stage.to(611)
        assert stage.open == []
        assert (stage.roller.counts.opened, stage.queue.handed_over) == (2, 2)

    asyncio.run(run())


def test_a_window_of_an_earlier_session_is_taken_over_not_opened_twice_and_closed_in_its_time() -> None:
    async def run() -> None:
        stage = Stage()
        info = tradable(FIVE.windows(START + 100, 1)[0]).require()
        market = stage.desk.open_market(info, held=True)
        stage.roller.take_over(market)
        await stage.to(100)
        assert stage.open == [0], "the running one, once"
        assert not market.held, "and quoted again"
        assert (stage.roller.counts.opened, stage.roller.counts.recovered) == (0, 1)
        await stage.to(311)
        assert stage.open == [300]
        assert len(stage.queue) == 1

    asyncio.run(run())


def test_what_is_open_when_the_roller_begins_is_of_an_earlier_session_and_is_taken_over() -> None:
    async def run() -> None:
        stage = Stage(windows=1)
        stage.clock.s = START + 100
        info = tradable(FIVE.windows(START + 100, 1)[0]).require()
        stage.desk.open_market(info, held=True)
        stopping = asyncio.Event()
        running = asyncio.create_task(stage.roller.run(stopping))
        async with asyncio.timeout(60):
            while stage.desk.markets[0].held:
                await asyncio.sleep(0.001)
        stopping.set()
        await running
        assert stage.open == [0], "once"
        assert stage.roller.counts.recovered == 1

    asyncio.run(run())


def test_a_window_of_an_earlier_session_that_is_over_stays_open_until_its_fills_are_listed() -> None:
    async def run() -> None:
        stage = Stage(windows=1)
        info = tradable(FIVE.windows(START + 100, 1)[0]).require()
        market = stage.desk.open_market(info, held=True)
        market.unlisted = True
        stage.roller.take_over(market)
        await stage.to(330)
        assert stage.open[0] == 0
        fill(market, Outcome.UP)
        market.unlisted = False
        await stage.to(331)
        residue = stage.queue.take()
        assert residue is not None
        assert residue.up_micro == 20_000_000

    asyncio.run(run())


def test_a_single_market_is_traded_once() -> None:
    async def run() -> None:
        series = Series.parse(f"btc-updown-5m-{START}")
        stage = Stage(series=series)
        assert not await stage.to(100)
        assert stage.open == [0]
        assert await stage.to(311)
        assert stage.open == []
        assert await stage.to(700)
        assert stage.asked == [series.name]

    asyncio.run(run())


def test_after_a_stop_what_is_open_goes_to_settlement_as_it_is() -> None:
    async def run() -> None:
        stage = Stage()
        await stage.to(100)
        fill(stage.desk.markets[0], Outcome.UP, OrderStatus.TRADE_MATCHED)
        stage.roller.hand_over_rest()
        residue = stage.queue.take()
        assert residue is not None
        assert (residue.up_micro, residue.unsettled) == (20_000_000, 1)
        stage.roller.hand_over_rest()
        assert len(stage.queue) == 0

    asyncio.run(run())


def test_settings_that_the_merge_rule_does_not_take_are_refused_before_anything_is_opened() -> None:
    settings = Settings()
    broken = replace(settings, strategy=replace(settings.strategy, max_combined_cost=1.5))
    with pytest.raises(ConfigError, match="max_combined_cost"):
        Stage(settings=broken)


def test_the_number_of_a_market_rests_as_long_as_possible_and_its_keys_never_come_twice() -> None:
    engine = Engine()
    info = MarketInfo("a", "0xab", "1", "2", START, START + 300)
    first = engine.add_market(info)
    del engine.markets[first.number]
    assert engine.add_market(info).number == 1
    again = engine.add_market(info, number=0)
    assert (first.number, again.number) == (0, 0)
    assert (first.serial, again.serial) == (0, 1)
    assert first.owns((1 << 40) + 1)
    assert not again.owns((1 << 40) + 1)
    assert again.owns((1 << 40) + (1 << 24) + 1)
