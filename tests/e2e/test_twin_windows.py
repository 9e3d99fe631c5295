"""Rolling windows of the embedded venue: their life by the clock, discovery, one account across them."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
import weakref
from dataclasses import replace
from typing import Any

import pytest

from invmm.errors import ConfigError
from invmm.sim.clock import TapeClock
from invmm.sim.orders import Order
from invmm.sim.profile import SECOND
from invmm.sim.rules import OrderRequest
from invmm.sim.server import Credentials, VenueServer
from invmm.sim.windows import Series
from invmm.types import Outcome, Side
from invmm.venue.discovery import Discovery
from invmm.venue.series import Series as Wanted
from tests.e2e.sim_client import until
from tests.e2e.twin_bot import LIGHT, QUICK, START_S, Bot, heard, scene


def test_windows_are_listed_traded_closed_resolved_and_dropped_by_the_clock() -> None:
    async def play(bot: Bot) -> None:
        venue = bot.venue
        first, second = venue.market(), venue.market(1)
        assert (first.start_s, second.start_s) == (START_S, START_S + 300)
        mine = await bot.place(first, 300, 10)
        theirs = await bot.place(second, 300, 10)
        assert await bot.open_ids() == [mine, theirs]
        venue.advance(280)  # ten seconds into the second window
        assert await bot.open_ids() == [theirs]
        status, told, _ = await bot.call("GET", f"/data/order/{mine}")
        assert (status, told["status"]) == (200, "CANCELED_MARKET_RESOLVED")
        status, told, _ = await bot.call("POST", "/order", bot.order(first, 300, 10))
        assert status == 404
        status, told = await bot.get(f"/markets/slug/{first.slug}")
        assert (told["closed"], told["acceptingOrders"]) == (True, False)
        assert sorted(json.loads(told["outcomePrices"])) == ["0", "1"]
        venue.advance(300)
        await until(lambda: venue.truth()["rolled"] == 2)
        status, _ = await bot.get(f"/markets/slug/{first.slug}")
        assert status == 404
        assert venue.listed()[0]["slug"] == second.slug

    scene(play, replace(LIGHT, kept_s=200))


def test_markets_of_one_account_share_its_cash_and_not_its_tokens() -> None:
    async def play(bot: Bot) -> None:
        venue = bot.venue
        first, second = venue.market(), venue.market(1)
        venue.balance(collateral_micro=20_000_000)
        await bot.place(first, 4000, 30)  # reserves 12 of 20 dollars
        status, told, _ = await bot.call("POST", "/order", bot.order(second, 4000, 21))
        assert (status, told["error"]) == (
            400,
            "not enough balance / allowance: the balance is not enough -> balance: 8000000, "
            "order amount: 8400000",
        )
        await bot.place(second, 4000, 20)
        venue.balance(collateral_micro=1_000_000_000)
        status, told, _ = await bot.call("POST", "/order", bot.order(second, 9900, 20))
        assert told["status"] == "matched"
        venue.advance(10)
        truth = venue.truth()
        held = {one["market"]: one["settled_tokens_micro"] for one in truth["markets"]}
        assert held[first.condition_id] == [0, 0]
        assert held[second.condition_id] == [20_000_000, 0]
        status, told, _ = await bot.call(
            "POST", "/order", bot.order(first, 6000, 10, side="SELL", post_only=True)
        )
        assert (status, told["error"].split(" -> ")[1]) == (400, "balance: 0, order amount: 10000000")
        status, told, _ = await bot.call("DELETE", "/cancel-market-orders", {"market": second.condition_id})
        assert len(told["canceled"]) == 1
        status, told, _ = await bot.call("DELETE", "/cancel-all")
        assert len(told["canceled"]) == 1

    scene(play)


def test_one_connection_hears_both_windows_and_of_new_ones() -> None:
    async def play(bot: Bot) -> None:
        venue = bot.venue
        first, second = venue.market(), venue.market(1)
        socket = await bot.session.ws_connect(venue.market_url)
        assets = [first.up_token_id, first.down_token_id, second.up_token_id]
        await socket.send_json({"assets_ids": assets, "type": "market", "custom_feature_enabled": True})
        told: list[Any] = []

        async def collect() -> None:
            async for message in socket:
                event = json.loads(message.data)
                told.extend(event if isinstance(event, list) else [event])

        reader = asyncio.create_task(collect())
        await until(lambda: len(told) >= 3)
        assert [one["asset_id"] for one in told[:3]] == assets
        venue.advance(300)
        kinds = ("new_market", "market_resolved", "book")
        await until(lambda: set(kinds) <= {one["event_type"] for one in told[3:]})
        resolved = next(one for one in told if one["event_type"] == "market_resolved")
        assert resolved["market"] == first.condition_id
        new = next(one for one in told if one["event_type"] == "new_market")
        assert new["slug"] == f"btc-updown-5m-{START_S + 900}"
        assert {one["market"] for one in told} >= {first.condition_id, second.condition_id}
        reader.cancel()

    scene(play)


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_discovery_recomputes_the_ids_and_orders_of_either_generation_are_taken(generation: str) -> None:
    async def play(bot: Bot) -> None:
        venue = bot.venue
        async with Discovery(venue.profile) as discovery:
            found = await discovery.find(Wanted.parse("btc-updown-5m"), venue.now_s())
        assert [one.refusals for one in found] == [(), ()]
        info = found[0].info
        assert info is not None
        assert (found[0].version, info.exchange) == (generation, {"v1": "v2", "v2": "v3"}[generation])
        assert info.up_token_id == venue.market().up_token_id
        await bot.place(info, 4000, 10)
        _, told = await bot.get(f"/book?token_id={info.up_token_id}")
        assert told.get("version") == ("v2" if generation == "v2" else None)
        _, told = await bot.get("/events/keyset?series_slug=btc-updown-5m&closed=false&limit=2")
        assert [len(told["events"]), "next_cursor" in told] == [2, True]
        _, rest = await bot.get(f"/events/keyset?limit=2&after_cursor={told['next_cursor']}")
        assert [len(rest["events"]), "next_cursor" in rest] == [1, False]

    scene(play, replace(LIGHT, generation=generation))


def test_hourly_windows_bear_eastern_names_and_four_hours_are_eastern() -> None:
    hourly = Series("btc-updown-1h", tape="light")
    assert hourly.window_slug(1_783_184_400) == "bitcoin-up-or-down-july-4-2026-1pm-et"
    assert hourly.window_slug(1_795_258_800) == "bitcoin-up-or-down-november-21-2026-6am-et"
    four = Series("sol-updown-4h", tape="light")
    for now_s in (1_783_184_400, 1_795_258_800):  # summer and winter
        assert four.start_of(now_s) == Wanted.parse("sol-updown-4h").windows(now_s, 1)[0].start_s


def test_a_market_is_not_known_to_the_clob_before_it_is_hydrated_nor_tradable_before_its_time() -> None:
    async def play(bot: Bot) -> None:
        venue = bot.venue
        venue.market()
        venue.fault("hydration", seconds=20)
        venue.advance(290)
        listed = venue.listed()[-1]
        assert not listed["is_ready"]
        assert (await bot.get(f"/markets/slug/{listed['slug']}"))[0] == 200
        assert await bot.get(f"/clob-markets/{listed['condition_id']}") == (
            404,
            {"error": "market not found"},
        )
        assert (await bot.get(f"/book?token_id={listed['up_token_id']}"))[0] == 404
        venue.advance(21)
        assert (await bot.get(f"/clob-markets/{listed['condition_id']}"))[1]["ao"] is False
        early = venue.market(2)
        status, told, _ = await bot.call("POST", "/order", bot.order(early, 4000, 10))
        assert (status, told["error"]) == (400, "the market is not yet ready to process new orders")

    scene(play, replace(LIGHT, accepts_ahead_s=60))


def test_positions_resolutions_and_approvals_are_in_the_data_api() -> None:
    async def play(bot: Bot) -> None:
        venue = bot.venue
        market = venue.market()
        await bot.place(market, 9900, 20)
        venue.advance(10)
        _, told = await bot.get(f"/v2/positions?user={venue.address}")
        assert [(one["token_id"], one["current_size"]) for one in told["data"]] == [
            (market.up_token_id, 20.0)
        ]
        assert (await bot.get(f"/v2/resolutions?condition={market.condition_id}"))[1]["data"] == []
        venue.balance(allowances={"0xE111180000d2663C0091e4f400237545B87B996B": 0})
        _, told = await bot.get(f"/v2/approvals?user={venue.address}")
        missing = [one["spender"] for one in told["data"]["contracts"] if not one["approved"]]
        assert set(missing) == {"0xE111180000d2663C0091e4f400237545B87B996B"}
        status, told, _ = await bot.call("POST", "/order", bot.order(market, 4000, 10))
        assert (status, "the allowance is not enough -> spender: 0xE111" in told["error"]) == (400, True)
        venue.advance(300)
        await until(lambda: venue.truth()["rolled"] == 1)
        _, told = await bot.get(f"/v2/resolutions?condition={market.condition_id}")
        winner = venue.truth()["markets"][0]["winner"]
        assert told["data"][0]["payouts"] == ([1_000_000, 0] if winner == 0 else [0, 1_000_000])

    scene(play)


def test_events_of_two_markets_come_on_one_user_connection() -> None:
    async def play(bot: Bot) -> None:
        told: list[dict[str, Any]] = []
        reader = await heard(bot.venue, bot.session, told)
        first, second = bot.venue.market(), bot.venue.market(1)
        ids = [await bot.place(first, 300, 10), await bot.place(second, 300, 10)]
        await until(lambda: len(told) == 2)
        assert [(one["id"], one["market"]) for one in told] == [
            (ids[0], first.condition_id),
            (ids[1], second.condition_id),
        ]
        reader.cancel()

    scene(play)


def test_three_hundred_windows_leave_no_memory_behind() -> None:
    async def play() -> None:
        series = Series("btc-updown-1m", tape="light", kept_s=30)
        server = VenueServer([], QUICK, Credentials(), seed=3, series=[series], remember=4)
        server.floor.run_on(TapeClock(0, (START_S + 30) * SECOND, 1e-9))
        filled = 0

        async def roll() -> None:
            nonlocal filled
            await server.windows.step()
            trading = (one for one in server.floor.sessions.values() if not one.exchange.is_closed)
            session = min(trading, key=lambda one: one.market.end_s)
            number = session.market.start_s
            placed = [
                session.exchange.place(
                    OrderRequest(b"%032d" % (2 * number + token), token, Side.BUY, 9900, 5_000_000)
                )
                for token in Outcome
            ]
            filled += sum(isinstance(order, Order) for order in placed)
            server.floor.advance(60 * SECOND)
            assert not session.exchange.open_orders()
            server.floor.purses.first.check()

        async def bytes_after(count: int) -> int:
            for _ in range(count):
                await roll()
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            before, after = await bytes_after(60), await bytes_after(240)
        finally:
            tracemalloc.stop()
        assert server.windows.rolled >= 298
        assert filled == 600
        assert (len(server.floor.past), len(server.windows.by_condition)) <= (4, 6)
        # One light window holds about two megabytes while it is open.
        assert after - before < 500_000, f"{after - before} bytes more after 240 windows"

    asyncio.run(play())


def test_an_ended_window_is_freed_at_once_and_a_forgotten_one_too() -> None:
    async def play() -> None:
        server = VenueServer(
            [], QUICK, Credentials(), series=[Series("btc-updown-1m", tape="light")], remember=1
        )
        server.floor.run_on(TapeClock(0, (START_S + 30) * SECOND, 1e-9))
        await server.windows.step()
        first = next(iter(server.floor.sessions.values()))
        session, exchange = weakref.ref(first), weakref.ref(first.exchange)
        del first
        server.floor.advance(62 * SECOND)
        await server.windows.step()
        assert session() is None
        assert exchange() is server.floor.past[0]
        server.floor.advance(60 * SECOND)
        await server.windows.step()
        assert exchange() is None

    gc.disable()  # a full tape is fifty megabytes: it must not wait for the collector
    try:
        asyncio.run(play())
    finally:
        gc.enable()


def test_a_series_that_makes_no_sense_is_refused() -> None:
    for wrong in (
        {"slug": "btc"},
        {"slug": "btc-updown-5m", "tape": "heavy"},
        {"slug": "btc-updown-5m", "generation": "v2", "neg_risk": True},
        {"slug": "btc-updown-1m"},  # too short for a full tape
        {"slug": "btc-updown-5m", "kept_s": -1},
    ):
        with pytest.raises(ConfigError):
            assert Series(**wrong).length_s  # type: ignore[arg-type]
