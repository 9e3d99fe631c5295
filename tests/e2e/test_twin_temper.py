"""The embedded venue's temper: modes and their answers, limits with their headers, its clock, heartbeats."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import aiohttp
import pytest

from invmm.errors import VenueError
from tests.e2e.sim_client import until
from tests.e2e.twin_bot import QUICK, Bot, scene


def test_a_restart_goes_through_its_modes_with_the_venues_answers() -> None:
    async def play(bot: Bot) -> None:
        venue, market = bot.venue, bot.venue.market()
        resting = await bot.place(market, 300, 10)
        venue.restart()
        status, told, _ = await bot.call("POST", "/order", bot.order(market, 300, 10))
        assert (status, told) == (425, "service not ready")
        status, told, _ = await bot.call("DELETE", "/cancel-all")
        assert (status, told) == (425, "service not ready")
        assert await bot.open_ids() == [resting]  # reading goes on
        venue.advance(91)
        status, told, headers = await bot.call("POST", "/order", bot.order(market, 300, 10))
        assert status == 503
        assert told["code"] == "post_only_mode"
        assert told["error"] == "post-only mode: only post-only orders and cancels are allowed"
        assert headers["retry-after"] == str(told["retry_after_seconds"])
        assert 110 < told["retry_after_seconds"] <= 120
        await bot.place(market, 300, 10, post_only=True)
        status, told, _ = await bot.call("DELETE", "/order", {"orderID": resting})
        assert told["canceled"] == [resting]
        venue.advance(120)
        await bot.place(market, 300, 10)

    scene(play)


def test_cancel_only_and_halted_say_so_and_a_restart_may_wipe_the_book() -> None:
    async def play(bot: Bot) -> None:
        venue, market = bot.venue, bot.venue.market()
        resting = await bot.place(market, 300, 10)
        venue.mode("CANCEL_ONLY")
        status, told, _ = await bot.call("POST", "/order", bot.order(market, 300, 10, post_only=True))
        assert (status, told["error"]) == (
            503,
            "Trading is currently cancel-only. New orders are not accepted, but cancels are allowed.",
        )
        venue.mode("HALTED", seconds=30)
        status, told, _ = await bot.call("DELETE", "/order", {"orderID": resting})
        assert (status, told["error"]) == (
            503,
            "Trading is currently disabled. Check polymarket.com for updates",
        )
        venue.advance(31)
        assert await bot.open_ids() == [resting]
        venue.restart(restart_s=1, post_only_s=1, wipe=True)
        venue.advance(3)
        assert await bot.open_ids() == []
        _, told, _ = await bot.call("GET", f"/data/order/{resting}")
        assert told["status"] == "CANCELED"
        with pytest.raises(VenueError, match="expected RESTART or one of RUNNING"):
            venue.mode("ASLEEP")

    scene(play)


def test_signer_limits_answer_429_with_their_headers_and_lift() -> None:
    async def play(bot: Bot) -> None:
        market = bot.venue.market()
        refused = 0
        for _ in range(5):
            legs = b"[" + b",".join(bot.order(market, 300, 5) for _ in range(15)) + b"]"
            status, told, headers = await bot.call("POST", "/orders", legs)
            assert headers["poly-ratelimit-tier"] == "standard"
            assert "poly-ratelimit-remaining" in headers
            assert "poly-ratelimit-reset" in headers
            if status == 429:
                refused += 1
                assert told == {"error": "Too Many Requests"}
                assert headers["retry-after"] == "1"
        assert refused == 1  # four batches of fifteen are the burst; the clock stands nearly still
        assert len(await bot.open_ids()) == 60
        bot.venue.advance(1)
        await bot.place(market, 300, 5)
        _, told, _ = await bot.call("GET", "/v1/user/rate-limit-tier")
        assert (told["tier"], told["orders_per_second"], told["cancels_per_second"]) == ("standard", 40, 80)

    scene(play, speed=0.01)


def test_endpoint_limits_answer_429_with_retry_after() -> None:
    async def play(bot: Bot) -> None:
        market = bot.venue.market()
        seen = [(await bot.get(f"/tick-size?token_id={market.up_token_id}"))[0] for _ in range(4)]
        assert seen == [200, 200, 429, 429]
        bot.venue.advance(10)
        assert (await bot.get(f"/tick-size?token_id={market.up_token_id}"))[0] == 200

    scene(play, profile=replace(QUICK, endpoint_limit_share=0.01), speed=0.01)


def test_heartbeats_that_stop_cancel_everything_after_ten_venue_seconds() -> None:
    async def play(bot: Bot) -> None:
        venue, market = bot.venue, bot.venue.market()
        resting = await bot.place(market, 300, 10)
        venue.advance(60)
        assert await bot.open_ids() == [resting]  # never armed
        _, told, _ = await bot.call("POST", "/v1/heartbeats", {"heartbeat_id": ""})
        for _ in range(3):
            venue.advance(6)
            status, told, _ = await bot.call("POST", "/v1/heartbeats", told)
            assert status == 200
        await asyncio.sleep(0.3)
        assert await bot.open_ids() == [resting]
        venue.advance(16)
        end = asyncio.get_running_loop().time() + 10
        while await bot.open_ids():
            assert asyncio.get_running_loop().time() < end
            await asyncio.sleep(0.05)

    scene(play)


def test_a_wrong_clock_another_version_and_a_block_can_be_told() -> None:
    async def play(bot: Bot) -> None:
        venue, market = bot.venue, bot.venue.market()
        _, before = await bot.get("/time")
        venue.fault("clock_offset", seconds=30)
        assert 29 <= (await bot.get("/time"))[1] - before <= 40
        venue.clear("clock_offset")
        assert (await bot.get("/time"))[1] - before < 10
        assert await bot.get("/version") == (200, {"version": 2})
        venue.fault("version", version=4)
        assert await bot.get("/version") == (200, {"version": 4})
        status, told, _ = await bot.call("POST", "/order", bot.order(market, 300, 10))
        assert (status, told["error"]) == (400, "order_version_mismatch")
        venue.fault("geoblock", country="US", region="NY")
        assert (await bot.get("/api/geoblock"))[1] == {
            "blocked": True,
            "ip": "127.0.0.1",
            "country": "US",
            "region": "NY",
        }
        venue.clear()
        await bot.place(market, 300, 10)

    scene(play)


def test_what_is_not_there_is_told_in_the_venues_words() -> None:
    async def play(bot: Bot) -> None:
        assert await bot.get(f"/book?token_id={7 * 10**76}") == (
            404,
            {"error": "No orderbook exists for the requested token id"},
        )
        for path in ("/clob-markets/0x" + "12" * 32, "/markets/0x" + "12" * 32):
            assert await bot.get(path) == (404, {"error": "market not found"})
        assert (await bot.get("/markets/slug/btc-updown-5m-1"))[0] == 404

    scene(play)


def test_the_venue_is_gone_with_its_block() -> None:
    kept = {}

    async def play(bot: Bot) -> None:
        kept["url"] = bot.venue.url
        await until(lambda: bot.venue.child.returncode is None)

    scene(play)

    async def ask() -> None:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.get(kept["url"] + "/time")

    asyncio.run(ask())
