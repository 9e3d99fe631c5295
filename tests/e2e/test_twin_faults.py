"""Faults of the embedded venue, each from where a client sees it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from invmm.errors import VenueError
from invmm.sim.faults import Faults
from tests.e2e.sim_client import until
from tests.e2e.twin_bot import QUICK, Bot, heard, scene


def test_an_order_may_arrive_long_after_its_connection_was_cut() -> None:
    async def play(bot: Bot) -> None:
        venue, market = bot.venue, bot.venue.market()
        venue.fault("late", seconds=60)
        signed = bot.signer.sign(market.up_token_id, "BUY", 300, 10_000_000, tick_e4=100)
        body = signed.body(venue.credentials.api_key)
        with pytest.raises(aiohttp.ClientError):
            await bot.call("POST", "/order", body)
        _, told, _ = await bot.call("DELETE", "/cancel-all")
        assert told["canceled"] == []
        venue.advance(30)
        assert await bot.open_ids() == []
        assert (await bot.call("GET", f"/data/order/{signed.order_id}"))[1] is None
        venue.advance(31)
        assert await bot.open_ids() == [signed.order_id]  # a zombie
        _, told, _ = await bot.call("POST", "/order", body)
        assert told["error"] == f"order {signed.order_id} is invalid. Duplicated."

    scene(play)


def test_a_late_order_may_be_answered_with_silence_or_an_error() -> None:
    async def play(bot: Bot) -> None:
        venue, market = bot.venue, bot.venue.market()
        venue.fault("late", seconds=5, answer="silence")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(bot.call("POST", "/order", bot.order(market, 300, 10)), 0.3)
        venue.fault("late", seconds=5, answer="http", status=502, body="<html>Bad gateway</html>")
        status, told, headers = await bot.call("POST", "/order", bot.order(market, 300, 10))
        assert (status, told, headers["content-type"]) == (
            502,
            "<html>Bad gateway</html>",
            "text/html; charset=utf-8",
        )
        assert await bot.open_ids() == []
        venue.advance(6)
        assert len(await bot.open_ids()) == 2

    scene(play)


def test_a_batch_may_fail_after_its_first_legs_were_taken() -> None:
    async def play(bot: Bot) -> None:
        venue, market = bot.venue, bot.venue.market()
        legs = [bot.order(market, 300 + 100 * step, 5) for step in range(15)]
        venue.fault("partial", legs=7)
        status, told, _ = await bot.call("POST", "/orders", b"[" + b",".join(legs) + b"]")
        assert (status, told["error"]) == (500, "could not insert order")
        assert len(await bot.open_ids()) == 7

    scene(play)


def test_an_answer_may_be_replaced_although_the_deed_was_done() -> None:
    async def play(bot: Bot) -> None:
        venue, market = bot.venue, bot.venue.market()
        venue.fault("http", status=425, body="service not ready", done=True, method="POST", path="/order")
        assert (await bot.call("GET", "/data/orders"))[0] == 200  # not what the fault is narrowed to
        assert (await bot.call("POST", "/order", bot.order(market, 300, 5)))[:2] == (425, "service not ready")
        assert len(await bot.open_ids()) == 1
        venue.fault("http", status=429, body={"error": "Too Many Requests"}, retry_after=7, count=2)
        for _ in range(2):
            status, _, headers = await bot.call("GET", "/data/orders")
            assert (status, headers["retry-after"]) == (429, "7")
        assert len(await bot.open_ids()) == 1

    scene(play)


def test_answers_may_be_slow_after_or_before_the_deed() -> None:
    async def play(bot: Bot) -> None:
        venue, market = bot.venue, bot.venue.market()
        for before in (False, True):
            venue.fault("slow", seconds=1, before=before, path="/order")
            asked = asyncio.create_task(bot.call("POST", "/order", bot.order(market, 300, 5)))
            await asyncio.sleep(0.4)
            assert not asked.done()
            assert len(await bot.open_ids()) == 1
            assert (await asked)[0] == 200
        assert len(await bot.open_ids()) == 2

    scene(play)


def test_user_events_may_be_lost_doubled_and_out_of_order() -> None:
    async def play(bot: Bot) -> None:
        venue, market = bot.venue, bot.venue.market()
        told: list[dict[str, Any]] = []
        reader = await heard(venue, bot.session, told)
        venue.fault("drop", event="order")
        await bot.place(market, 300, 5)
        venue.fault("duplicate", event="order")
        doubled = await bot.place(market, 300, 5)
        await until(lambda: len(told) == 2, 20)
        assert [one["id"] for one in told] == [doubled, doubled]
        venue.fault("reorder", rate=1.0, seconds=0.3)
        ids = [await bot.place(market, 300, 5) for _ in range(12)]
        await until(lambda: len(told) == 14, 20)
        heard_ids = [one["id"] for one in told[2:]]
        assert sorted(heard_ids) == sorted(ids)
        assert heard_ids != ids
        struck = venue.truth()["struck"]
        assert (struck["drop"], struck["duplicate"], struck["reorder"]) == (1, 1, 12)
        reader.cancel()

    scene(play)


def test_settlements_may_fail_retry_and_take_their_time() -> None:
    async def play(bot: Bot) -> None:
        venue, market = bot.venue, bot.venue.market()
        before = venue.truth()["cash_micro"]
        venue.fault("settlement", fail_rate=1.0, delay_s=30)
        _, told, _ = await bot.call("POST", "/order", bot.order(market, 9900, 10))
        assert told["status"] == "matched"
        statuses = []
        for ahead_s in (10, 35, 10):
            venue.advance(ahead_s)
            _, rows, _ = await bot.call("GET", "/data/trades")
            statuses.append(rows["data"][0]["status"])
        assert statuses == ["TRADE_STATUS_MATCHED", "TRADE_STATUS_RETRYING", "TRADE_STATUS_FAILED"]
        assert venue.truth()["cash_micro"] == before
        venue.clear("settlement")
        await bot.call("POST", "/order", bot.order(market, 9900, 10))
        venue.advance(20)
        _, rows, _ = await bot.call("GET", "/data/trades")
        assert [row["status"] for row in rows["data"]] == [
            "TRADE_STATUS_CONFIRMED",
            "TRADE_STATUS_FAILED",
        ]

    scene(play, profile=replace(QUICK, mined_delay_ns=10_000_000_000))


def test_an_order_may_be_hidden_from_one_listing_and_listings_may_lag() -> None:
    async def play(bot: Bot) -> None:
        venue, market = bot.venue, bot.venue.market()
        venue.fault("hide", listing="orders", seconds=20, rate=1.0)
        order_id = await bot.place(market, 300, 5)
        assert await bot.open_ids() == []
        assert (await bot.call("GET", f"/data/order/{order_id}"))[1]["status"] == "LIVE"
        venue.advance(21)
        assert await bot.open_ids() == [order_id]
        venue.clear()
        venue.fault("lag", listing="orders", seconds=5)
        later = await bot.place(market, 300, 5)
        await bot.call("DELETE", "/order", {"orderID": order_id})
        assert await bot.open_ids() == [order_id]
        venue.advance(6)
        assert await bot.open_ids() == [later]
        venue.clear()
        venue.fault("lag", listing="trades", seconds=5)
        await bot.call("POST", "/order", bot.order(market, 9900, 10))
        assert (await bot.call("GET", "/data/trades"))[1]["data"] == []
        venue.advance(6)
        assert len((await bot.call("GET", "/data/trades"))[1]["data"]) == 1

    scene(play)


def test_the_venue_may_revoke_what_it_accepted() -> None:
    async def play(bot: Bot) -> None:
        venue, market = bot.venue, bot.venue.market()
        told: list[dict[str, Any]] = []
        reader = await heard(venue, bot.session, told)
        venue.fault("revoke", seconds=1)
        order_id = await bot.place(market, 300, 5)
        venue.advance(2)
        await until(lambda: len(told) == 2)
        assert [(one["id"], one["type"], one["status"]) for one in told] == [
            (order_id, "PLACEMENT", "LIVE"),
            (order_id, "CANCELLATION", "INVALID"),
        ]
        reader.cancel()

    scene(play)


def test_what_a_probe_takes_for_granted_may_be_wrong() -> None:
    async def play(bot: Bot) -> None:
        venue, market = bot.venue, bot.venue.market()
        signed = bot.signer.sign(market.up_token_id, "BUY", 300, 10_000_000, tick_e4=100)
        body = signed.body(venue.credentials.api_key)
        venue.fault("rename")
        _, told, _ = await bot.call("POST", "/order", body)
        assert told["orderID"] not in ("", signed.order_id)
        venue.fault("undead")
        _, told, _ = await bot.call("DELETE", "/order", {"orderID": signed.order_id})
        assert told["canceled"] == [signed.order_id]
        assert await bot.open_ids() == [signed.order_id]
        assert (await bot.call("POST", "/order", body))[0] == 200  # not refused as a duplicate
        now_ms = int(venue.now_s() * 1000)
        for age_s, expected in ((20, 200), (40, 400)):
            old = bot.order(market, 300, 5, timestamp_ms=now_ms - 1000 * age_s)
            assert (await bot.call("POST", "/order", old))[0] == expected
        await bot.call("POST", "/v1/heartbeats", {"heartbeat_id": ""})
        venue.advance(60)
        await asyncio.sleep(0.5)
        assert len(await bot.open_ids()) == 2

    profile = replace(QUICK, refuses_duplicates=False, heartbeat_limit_s=0, order_age_limit_s=30)
    scene(play, profile=profile)


def test_a_leaking_sum_of_matched_orders_tightens_the_balance_gate() -> None:
    async def play(bot: Bot) -> None:
        venue, market = bot.venue, bot.venue.market()
        venue.balance(leaked_micro=9_999_000_000)
        status, told, _ = await bot.call("POST", "/order", bot.order(market, 300, 100))
        assert (status, told["error"]) == (
            400,
            "not enough balance / allowance: the balance is not enough -> balance: 1000000, "
            "order amount: 3000000",
        )
        _, told, _ = await bot.call("GET", "/balance-allowance", query="?asset_type=COLLATERAL")
        assert told["balance"] == "10000000000"  # what is shown is not what is counted

    scene(play)


def test_the_same_seed_strikes_the_same_occasions() -> None:
    def drawn(seed: int) -> list[bool]:
        faults = Faults(seed)
        faults.arm("lose", {"rate": 0.3})
        return [faults.strike("lose") is not None for _ in range(200)]

    assert drawn(5) == drawn(5) != drawn(6)
    assert 30 < sum(drawn(5)) < 90


def test_a_fault_strikes_as_often_as_it_is_told() -> None:
    faults = Faults(0)
    faults.arm("slow", {"count": 2})
    assert [faults.strike("slow") is not None for _ in range(4)] == [True, True, False, False]
    faults.arm("slow", {"rate": 1.0})
    assert all(faults.strike("slow") for _ in range(50))
    faults.clear("slow")
    assert faults.strike("slow") is None
    for wrong in ({"rate": 2}, {"count": -1}, {"count": 1.5}):
        with pytest.raises(ValueError, match="expected"):
            faults.arm("slow", wrong)
    with pytest.raises(ValueError, match="unknown fault 'earthquake'"):
        faults.arm("earthquake", {})


def test_nonsense_is_told_by_the_control_face() -> None:
    async def play(bot: Bot) -> None:
        for figures in ({"kind": "lose", "rate": 7}, {"kind": "earthquake"}):
            with pytest.raises(VenueError) as told:
                bot.venue.child.control("fault", figures)
            assert json.loads(told.value.text)["error"]

    scene(play)
