"""What an engine does about what the last session left, at a venue that is set by hand, on a fast clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from invmm._ext.ring import CommandRing, ResultRing
from invmm._ext.words import SharedWords
from invmm.clock import LiveClock
from invmm.engine import Engine
from invmm.errors import TransportError, VenueError
from invmm.execution.follow import Alarm
from invmm.execution.left import Left, LeftOrder
from invmm.execution.recovery import cautious
from invmm.permission import AlarmKind
from invmm.replay.tape import MarketInfo
from invmm.settings import Settings
from invmm.types import CommandArray, EventArray, Mode, OrderType, Outcome, Side
from invmm.venue.auth import ApiCredentials
from tests.reference import wire

NS = 1_000_000_000
NOW_S = 1_795_258_800
SPEED = 500.0  # a fence of two minutes is over in a quarter of a second
FIRST, SECOND, STRANGE = (bytes([n]) * 32 for n in (1, 2, 9))


def text(order_id: bytes) -> str:
    return "0x" + order_id.hex()


def order(order_id: bytes, outcome: Outcome = Outcome.UP, **changes: Any) -> LeftOrder:
    made = LeftOrder(
        order_id=order_id,
        condition_id=wire.MARKET,
        outcome=outcome,
        side=Side.BUY,
        order_type=OrderType.GTD,
        price_e4=4800,
        size_micro=100_000_000,
        expiration_s=NOW_S + 180,
        sent_ns=(NOW_S - 4) * NS,
    )
    return replace(made, **changes)


def left(*orders: LeftOrder, alive: tuple[bytes, ...] | None = None, **changes: Any) -> Left:
    info = MarketInfo("btc", wire.MARKET, wire.UP, wire.DOWN, NOW_S - 600, NOW_S - 300)
    made = Left(
        markets=[info],
        orders={each.order_id: each for each in orders},
        alive=frozenset(each.order_id for each in orders) if alive is None else frozenset(alive),
        account="0x" + "ab" * 20,
        last_ns=(NOW_S - 3) * NS,
        is_closed=False,
    )
    return replace(made, **changes)


def listed(made: LeftOrder, **changes: Any) -> dict[str, Any]:
    return {
        "id": text(made.order_id),
        "asset_id": wire.DOWN if made.outcome else wire.UP,
        "side": "BUY",
        "status": "LIVE",
        "price": str(made.price_e4 / 1e4),
        "original_size": str(made.size_micro / 1e6),
        "size_matched": "0",
    } | changes


def matched(made: LeftOrder, shares: float) -> dict[str, Any]:
    row = listed(made)
    maker = {"order_id": row["id"], "asset_id": row["asset_id"], "price": row["price"], "side": "BUY"}
    return {
        "id": f"trade of {row['id']}",
        "status": "TRADE_STATUS_CONFIRMED",
        "side": "SELL",
        "size": str(shares),
        "price": row["price"],
        "asset_id": row["asset_id"],
        "taker_order_id": "0x" + "ee" * 32,
        "maker_orders": [maker | {"matched_amount": str(shares)}],
    }


class HandVenue:
    """A `ConnectedVenue` and its client in one."""

    market_url = user_url = "ws://127.0.0.1:1/ws"  # nobody is there
    account = ""
    credentials = ApiCredentials("00000000-0000-0000-0000-000000000001", "c2VjcmV0", "x")

    def __init__(self, clock: LiveClock) -> None:
        self.clock = clock
        self.words, self.commands, self.results = SharedWords(), CommandRing(64), ResultRing(256)
        self.open: dict[str, dict[str, Any]] = {}
        self.matches: list[dict[str, Any]] = []
        self.fails: list[Exception] = []
        self.asked: list[str] = []
        self.trades_after: list[int] = []

    # ConnectedVenue

    def start(self) -> None: ...

    def submit(self, commands: CommandArray, now_ns: int) -> int:
        return self.commands.push_many(commands)

    def poll(self, now_ns: int, out: EventArray) -> int:
        return self.results.pop_into(out)

    def close(self, timeout_s: float = 0) -> None: ...

    def open_market(self, number: int, info: MarketInfo) -> None: ...

    def close_market(self, number: int) -> None: ...

    def set_tick(self, number: int, tick_e4: int) -> None: ...

    def news(self) -> list[Alarm]:
        return []

    async def open_order_count(self) -> int:
        return len(self.open)

    async def cancel_all(self) -> dict[str, Any]:
        self.asked.append("cancel all")
        if self.fails:
            raise self.fails.pop()
        return await self.cancel(list(self.open))

    @asynccontextmanager
    async def client(self) -> AsyncIterator[HandVenue]:
        yield self

    # Listing

    async def open_orders(self) -> list[dict[str, Any]]:
        self.asked.append("open orders")
        return list(self.open.values())

    async def order(self, order_id: str, /) -> dict[str, Any] | None:
        return self.open.get(order_id)

    async def trades(self, after: int | None = None) -> list[dict[str, Any]]:
        self.trades_after.append((after or 0) - NOW_S)
        return self.matches

    async def balance_allowance(self, kind: str = "COLLATERAL", token: str | None = None) -> dict[str, Any]:
        return {"balance": "1000000000"}

    async def ask(self, method: str, path: str, /) -> Any:
        return self.clock.now_ns() // NS

    async def cancel(self, ids: list[str], /) -> dict[str, Any]:
        return {"canceled": [one for one in ids if self.open.pop(one, None)], "not_canceled": {}}


class Rig:
    """A started engine."""

    def __init__(self, engine: Engine, venue: HandVenue) -> None:
        self.engine, self.venue = engine, venue

    @property
    def said(self) -> str:
        return "\n".join(self.engine.messages)

    @property
    def cancelled_ns(self) -> int:
        """Engine time at which the venue had cancelled everything, 0 before."""
        assert self.engine.recovery is not None
        assert self.engine.clock is not None
        return self.engine.clock.at_ns(round(self.engine.recovery.cancelled_s * NS))

    @property
    def alive(self) -> dict[str, str]:
        """State by order id."""
        orders = [o for m in self.engine.markets.values() for o in m.step.registry.orders_live()]
        ids = self.engine.order_ids([int(o["key"]) for o in orders])
        return {ids[int(o["key"])]: str(o["state"]) for o in orders}

    async def until(self, holds: Callable[[], bool]) -> None:
        end = asyncio.get_running_loop().time() + 30
        while not holds():
            assert asyncio.get_running_loop().time() < end, self.said
            await asyncio.sleep(0.005)


def play(
    what: Left, act: Callable[[Rig], Any], prepare: Callable[[HandVenue], None] = lambda venue: None
) -> None:
    async def run() -> None:
        clock = LiveClock(SPEED, NOW_S * NS)
        venue = HandVenue(clock)
        prepare(venue)
        engine = Engine(Settings.parse("[engine]\ntimer_ms = 1000\n"), venue=venue, clock=clock, left=what)
        rig = Rig(engine, venue)
        await engine.start()
        try:
            await act(rig)
        finally:
            await engine.stop(0.1)

    asyncio.run(run())


def test_what_may_be_alive_is_unknown_from_the_start_and_dead_when_the_venue_has_cancelled_it() -> None:
    one, other = order(FIRST), order(SECOND, Outcome.DOWN)

    def prepare(venue: HandVenue) -> None:
        venue.open = {text(FIRST): listed(one), text(SECOND): listed(other)}

    async def act(rig: Rig) -> None:
        assert rig.alive == {text(FIRST): "unknown", text(SECOND): "unknown"}
        assert rig.engine.permission.mode == Mode.PAUSED
        assert rig.engine.is_cautious
        await rig.until(lambda: "start 9/10, mode: running" in rig.said)
        assert rig.alive == {}
        assert rig.venue.asked[:2] == ["cancel all", "open orders"]
        await rig.until(lambda: not rig.engine.is_cautious)
        steps = [line.split(",")[0] for line in rig.engine.messages if line.startswith("start ")]
        assert steps == [f"start {n}/10" for n in (2, 3, 4, 5, 6, 7, 8, 9, 10, 10)]

    play(left(one, other), act, prepare)


def test_an_order_that_the_venue_does_not_know_keeps_the_quotes_small_until_its_fence() -> None:
    async def act(rig: Rig) -> None:  # a busy machine may be past the fence before it comes to quote
        (market,) = rig.engine.markets.values()
        (known,) = market.step.registry.orders_live()
        assert known["state"] == "unknown"
        assert rig.engine.is_cautious
        await rig.until(lambda: not rig.engine.is_cautious)
        assert rig.engine.clock is not None
        assert rig.engine.clock.now_ns() >= int(known["fence_ns"])
        assert rig.alive == {}
        steps = [line for line in rig.engine.messages if line.startswith(("start 9/", "start 10/"))]
        assert steps[0].startswith("start 9/10, mode")
        assert steps[1] == "start 10/10, caution: quoting small, 1 orders may be alive"
        assert "over" in steps[2]

    play(left(order(FIRST)), act)


def test_fills_of_orders_that_had_ended_before_are_booked_and_their_orders_stay_dead() -> None:
    ended = order(SECOND, price_e4=4500)

    async def act(rig: Rig) -> None:
        (market,) = rig.engine.markets.values()
        assert market.unlisted
        await rig.until(lambda: "start 6/10" in rig.said)
        assert not market.unlisted
        assert market.ledger.held_micro(Outcome.UP) == 30_000_000
        assert market.step.registry.position() == (30_000_000, 0)
        assert market.ledger.cash_micro() == -13_500_000
        assert "start 6/10, trades: 1 fills" in rig.said
        assert text(SECOND) not in rig.alive
        assert min(rig.venue.trades_after) <= -600 - 600, "ten minutes before the market began"
        assert not rig.engine.permission.alarms

    play(
        left(order(FIRST), ended, alive=(FIRST,)), act, lambda venue: venue.matches.append(matched(ended, 30))
    )


@pytest.mark.parametrize("late", [False, True])
def test_an_order_that_no_journal_names_is_cancelled_and_nothing_is_quoted(late: bool) -> None:
    strange = order(STRANGE)

    def prepare(venue: HandVenue) -> None:
        if not late:
            venue.open[text(STRANGE)] = listed(strange)

    async def act(rig: Rig) -> None:
        await rig.until(lambda: "start 4/10" in rig.said)
        if late:  # another instance on the same key, after our cancel-all
            rig.venue.open[text(STRANGE)] = listed(strange)
        await rig.until(lambda: bool(rig.engine.permission.alarms))
        await rig.until(lambda: not rig.venue.open)
        assert text(STRANGE) in rig.engine.permission.alarms[0]
        await rig.until(lambda: "start 9/10" in rig.said)
        assert rig.engine.permission.mode == Mode.PAUSED

    play(left(), act, prepare)


def test_the_cancel_all_is_repeated_until_the_venue_answers_and_nothing_is_quoted_before() -> None:
    def prepare(venue: HandVenue) -> None:
        venue.fails = [TransportError("no route"), TransportError("no route")]

    async def act(rig: Rig) -> None:
        await rig.until(lambda: "start 9/10, mode: running" in rig.said)
        assert rig.venue.asked[:4] == ["cancel all", "cancel all", "cancel all", "open orders"]
        assert rig.said.count("cancel-all: no route") == 1

    play(left(), act, prepare)


def test_after_a_loss_of_power_nothing_is_quoted_until_no_lost_order_can_be_alive() -> None:
    async def act(rig: Rig) -> None:
        engine = rig.engine
        assert engine.clock is not None
        fence_ns = engine.clock.at_ns(0) + (184 - 60 + 6) * NS
        assert engine.is_cautious
        await rig.until(lambda: engine.permission.mode == Mode.RUNNING)
        assert engine.clock.now_ns() >= fence_ns
        said = "not quoting: the journal's tail is lost" in rig.said
        assert said or rig.cancelled_ns >= fence_ns, "a busy machine may have cancelled too late to say it"
        await rig.until(lambda: not engine.is_cautious)

    # A machine that started just now: its monotonic clock began a moment ago.
    torn = left(is_torn=True)
    assert torn.lost_until_ns(LiveClock(1.0, NOW_S * NS), 184) > NOW_S * NS
    play(torn, act)


def test_a_session_that_ended_in_order_leaves_nothing_to_wait_for() -> None:
    clock = LiveClock()
    assert left(is_closed=True, is_same_boot=False).lost_until_ns(clock, 184) == 0
    assert left(is_same_boot=True).lost_until_ns(clock, 184) == 0, "a killed process loses nothing"
    assert left(is_same_boot=False).lost_until_ns(clock, 184) == clock.at_ns(0) + 130 * NS


def test_a_stop_in_the_middle_of_it_names_what_is_not_proven() -> None:
    async def act(rig: Rig) -> None:
        await rig.until(lambda: "start 3/10" in rig.said)
        rig.engine.clock = LiveClock(1.0, NOW_S * NS)
        assert not await rig.engine.stop(0.2)
        assert rig.engine.verdict is not None
        assert [one.order_id for one in rig.engine.verdict.unproven] == [text(FIRST)]
        assert f"not verified: order {text(FIRST)} of btc (unknown) may be alive until its fence" in rig.said

    play(left(order(FIRST, expiration_s=NOW_S + 100_000)), act)


def test_a_venue_that_never_answers_ends_a_stop_in_time_and_not_clean() -> None:
    async def act(rig: Rig) -> None:
        await rig.until(lambda: "start 9/10, mode: running" in rig.said)

        async def silent() -> int:
            await asyncio.sleep(3600)
            return 0

        rig.venue.open_order_count = silent  # type: ignore[method-assign]
        assert not await rig.engine.stop(0.6)
        assert "not verified: open orders: no answer in time" in rig.said

    play(left(), act)


def test_quoting_small_is_half_of_every_sum_of_a_market_and_one_level_of_half_size() -> None:
    settings = Settings()
    small = cautious(settings)
    assert small.strategy.num_levels == 1
    assert small.strategy.order_size == settings.strategy.order_size / 2
    for name in ("max_cash_dollars", "max_direction_shares", "max_gross_shares"):
        assert getattr(small.risk, name) == getattr(settings.risk, name) / 2
    least = Settings.parse("[strategy]\norder_size = 5.0\n[risk]\nmax_direction_shares = 5.0\n")
    assert cautious(least).strategy.order_size == 5.0, "less than the venue takes would be nothing"


def test_a_venue_that_refuses_to_cancel_is_an_alarm_and_is_asked_again() -> None:
    def prepare(venue: HandVenue) -> None:
        venue.fails = [VenueError(403, "another country")]

    async def act(rig: Rig) -> None:
        await rig.until(lambda: "start 9/10" in rig.said)
        assert rig.venue.asked.count("cancel all") >= 2
        assert rig.engine.permission.kinds[AlarmKind.RECOVERY] == 1
        assert rig.engine.permission.mode == Mode.PAUSED

    play(left(), act, prepare)
