"""The embedded venue over real loopback sockets: what it tells its clients and how it answers them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from invmm.errors import VenueError
from invmm.sim import rules, signatures
from invmm.sim.child import VenueChild
from invmm.sim.clock import TapeClock
from invmm.sim.orders import Order
from invmm.sim.profile import VenueProfile
from invmm.sim.rules import OrderRequest
from invmm.sim.server import Credentials, VenueServer
from invmm.types import Outcome, Side
from tests.e2e.sim_client import (
    CREDENTIALS,
    QUICK,
    Client,
    a_child,
    a_tape,
    collect,
    run,
    subscribed,
    until,
)
from tests.reference.frames import (
    CONDITION,
    DOWN,
    START_S,
    UP,
    at,
    book_frame,
    snapshot,
    tape,
    tick_change,
)
from tests.reference.stage import ASKS, BIDS


@pytest.fixture
def child() -> Iterator[VenueChild]:
    with a_child() as started:
        yield started
        assert started.errors == ""


def test_frames_arrive_byte_for_byte_in_order(child: VenueChild) -> None:
    frames = [frame.decode() for frame in a_tape().frames()]

    async def play(client: Client) -> None:
        socket, told, reader = await subscribed(client)
        await asyncio.sleep(0.05)
        child.begin(speed=40)
        await until(lambda: len(told) >= len(frames))
        assert told == frames
        await socket.close()
        await reader

    run(child, play)


def test_late_subscriber_gets_a_dump_that_its_frames_continue(child: VenueChild) -> None:
    frames = [frame.decode() for frame in a_tape().frames()]

    async def play(client: Client) -> None:
        child.begin(speed=40)
        await until(lambda: child.truth()["sent_frames"] > 30)
        _, told, reader = await subscribed(client)
        await until(lambda: told and told[-1] == frames[-1])
        assert told[0].endswith("\n")
        dump = json.loads(told[0])
        assert [book["asset_id"] for book in dump] == [UP, DOWN]
        assert dump[0]["tick_size"] == "0.01"
        first = frames.index(told[1])
        assert told[1:] == frames[first:]
        before = json.loads(frames[first - 1])
        assert dump[0]["timestamp"] == before["timestamp"]
        reader.cancel()

    run(child, play)


def test_ping_is_answered_and_silence_is_dropped() -> None:
    async def play(client: Client) -> None:
        socket = await client.session.ws_connect(client.child.market_url)
        await socket.send_str("PING")
        assert (await socket.receive(5)).data == "PONG"
        began = time.monotonic()
        assert (await socket.receive(5)).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        assert 0.2 < time.monotonic() - began < 2
        assert client.child.truth()["dropped_silent"] == 1

    with VenueChild([a_tape()], silent_s=0.4) as started:
        run(started, play)


def test_order_rests_is_swept_and_settles(child: VenueChild) -> None:
    async def play(client: Client) -> None:
        user = await client.session.ws_connect(child.user_url)
        auth = {
            "apiKey": CREDENTIALS.api_key,
            "secret": CREDENTIALS.secret,
            "passphrase": CREDENTIALS.passphrase,
        }
        await user.send_json({"auth": auth, "markets": [CONDITION], "type": "user"})
        raw: list[str] = []
        reader = asyncio.create_task(collect(user, raw))
        child.begin(speed=4)
        await until(lambda: child.truth()["sent_frames"] > 0)
        body = client.order("BUY", UP, 5000, 10, postOnly=True)
        status, answer = await client.call("POST", "/order", body)
        order_id = "0x" + signatures.order_digest(body["order"]).hex()
        assert (status, answer["status"], answer["orderID"]) == (200, "live", order_id)
        status, told = await client.call("GET", "/data/orders")
        assert [entry["id"] for entry in told["data"]] == [order_id]
        assert told["next_cursor"] == "LTE="
        await until(lambda: any('"status":"CONFIRMED"' in text for text in raw), 15)
        events = [json.loads(text) for text in raw]
        orders = [event for event in events if event["event_type"] == "order"]
        trades = [event for event in events if event["event_type"] == "trade"]
        assert [event["type"] for event in orders] == ["PLACEMENT", "UPDATE"]
        assert [event["status"] for event in trades] == ["MATCHED", "MINED", "CONFIRMED"]
        assert len({event["id"] for event in trades}) == 1
        assert trades[0]["trader_side"] == "MAKER"
        mine = trades[0]["maker_orders"][0]
        assert (mine["order_id"], mine["matched_amount"], mine["price"]) == (order_id, "10", "0.5")
        status, told = await client.call("GET", "/data/trades")
        assert [(entry["id"], entry["status"]) for entry in told["data"]] == [
            (trades[0]["id"], "TRADE_STATUS_CONFIRMED")
        ]
        status, told = await client.call("GET", f"/data/order/{order_id}")
        assert (told["status"], told["size_matched"]) == ("MATCHED", "10")
        status, told = await client.call("DELETE", "/order", {"orderID": order_id})
        assert told == {"canceled": [], "not_canceled": {order_id: rules.ALREADY_MATCHED}}
        truth = child.truth()
        assert truth["cash_micro"] == 9_995_000_000
        assert truth["tokens_micro"] == [10_000_000, 0]
        status, told = await client.call(
            "GET", "/balance-allowance", query="?asset_type=COLLATERAL&signature_type=0"
        )
        assert told["balance"] == "9995000000"
        end = child.control("finish", {})
        assert (end["winner"], end["payout_micro"], end["cash_micro"]) == (0, 10_000_000, 10_005_000_000)
        await user.close()
        await reader

    run(child, play)


def test_taker_answers_after_its_hold_and_fok_is_killed(child: VenueChild) -> None:
    async def play(client: Client) -> None:
        child.begin(speed=1)
        await until(lambda: child.truth()["sent_frames"] > 0)
        began = time.monotonic()
        status, answer = await client.call("POST", "/order", client.order("BUY", UP, 5300, 10))
        assert time.monotonic() - began > 0.15
        assert (status, answer["status"], answer["takingAmount"], answer["makingAmount"]) == (
            200,
            "matched",
            "10",
            "5.3",
        )
        status, answer = await client.call(
            "POST", "/order", client.order("BUY", UP, 5300, 95, orderType="FOK")
        )
        assert (status, answer["error"]) == (400, rules.FOK_KILLED)

    run(child, play)


def test_batch_legs_answer_for_themselves(child: VenueChild) -> None:
    async def play(client: Client) -> None:
        child.begin(speed=1)
        await until(lambda: child.truth()["sent_frames"] > 0)
        legs = [
            client.order("BUY", UP, 4900, 10, postOnly=True),
            client.order("BUY", UP, 5300, 10, postOnly=True),
            client.order("BUY", DOWN, 4600, 4),
            client.order("BUY", DOWN, 4600, 6),
        ]
        status, answers = await client.call("POST", "/orders", legs)
        assert status == 200
        assert [(leg["success"], bool(leg["orderID"])) for leg in answers] == [
            (True, True),
            (True, False),
            (True, False),
            (True, True),
        ]
        assert answers[1]["errorMsg"] == rules.POST_ONLY_CROSSES
        assert answers[2]["errorMsg"].endswith("Size (4) lower than the minimum: 5")
        status, told = await client.call("POST", "/orders", [legs[0]] * 16)
        assert (status, told) == (400, {"error": "Too many orders in payload: 16, max allowed: 15"})
        status, told = await client.call(
            "DELETE", "/cancel-market-orders", {"market": CONDITION, "asset_id": DOWN}
        )
        assert told["canceled"] == [answers[3]["orderID"]]
        unknown = "0x" + "77" * 32
        status, told = await client.call("DELETE", "/orders", [answers[0]["orderID"], unknown])
        assert told == {"canceled": [answers[0]["orderID"]], "not_canceled": {unknown: rules.NOT_FOUND}}
        status, told = await client.call("POST", "/order", legs[0])
        assert (status, told["error"]) == (400, f"order {answers[0]['orderID']} is invalid. Duplicated.")
        status, told = await client.call("POST", "/order", client.order("BUY", UP, 4800, 7))
        status, told = await client.call("DELETE", "/cancel-all")
        assert len(told["canceled"]) == 1

    run(child, play)


def test_pages_follow_their_cursors() -> None:
    async def play(client: Client) -> None:
        client.child.begin(speed=1)
        await until(lambda: client.child.truth()["sent_frames"] > 0)
        legs = [client.order("BUY", UP, 4000 + 100 * number, 5) for number in range(5)]
        _, answers = await client.call("POST", "/orders", legs)
        seen, cursor = [], "MA=="
        while cursor != "LTE=":
            _, told = await client.call("GET", "/data/orders", query=f"?next_cursor={cursor}")
            assert told["count"] == len(told["data"]) <= told["limit"] == 2
            seen += [entry["id"] for entry in told["data"]]
            cursor = told["next_cursor"]
        assert seen == [answer["orderID"] for answer in answers]

    with VenueChild([a_tape()], credentials=CREDENTIALS, profile=QUICK, page_limit=2) as started:
        run(started, play)


def test_unproven_requests_and_foreign_signatures_are_refused(child: VenueChild) -> None:
    async def play(client: Client) -> None:
        child.begin(speed=1)
        await until(lambda: child.truth()["sent_frames"] > 0)
        async with client.session.get(child.base_url + "/data/orders") as answer:
            assert answer.status == 401
            assert await answer.json() == {"error": "Unauthorized/Invalid api key"}
        body = client.order("BUY", UP, 4900, 10)
        body["order"]["makerAmount"] = "4800000"  # no longer what was signed
        status, told = await client.call("POST", "/order", body)
        assert (status, told["error"]) == (400, "invalid signature")
        status, told = await client.call(
            "POST", "/order", client.order("BUY", UP, 4900, 10, owner="somebody")
        )
        assert told["error"] == "the order owner has to be the owner of the API KEY"
        status, told = await client.call("POST", "/order", {"order": 1})
        assert (status, told["error"]) == (400, "Invalid order payload")
        assert child.truth()["orders"] == []

    run(child, play)


def test_public_data_has_the_documented_shapes(child: VenueChild) -> None:
    async def play(client: Client) -> None:
        child.begin(speed=1)
        await until(lambda: child.truth()["sent_frames"] > 0)

        async def get(path: str) -> Any:
            async with client.session.get(child.base_url + path) as answer:
                return await answer.json()

        assert await get(f"/tick-size?token_id={UP}") == {"minimum_tick_size": 0.01}
        assert await get(f"/neg-risk?token_id={UP}") == {"neg_risk": False}
        assert await get("/version") == {"version": 2}
        assert START_S <= await get("/time") <= START_S + 20
        book = await get(f"/book?token_id={DOWN}")
        assert book["bids"][-1] == {"price": "0.47", "size": "100"}
        assert book["asks"][-1] == {"price": "0.5", "size": "100"}
        assert await get("/book?token_id=1") == {"error": rules.NO_BOOK}
        market = await get(f"/clob-markets/{CONDITION}")
        assert (market["mos"], market["mts"], market["ao"], market["v"]) == (5, 0.01, True, "v1")
        assert market["fd"] == {"r": 0.07, "e": 1, "to": True}

    run(child, play)


def test_heartbeat_wants_the_last_id(child: VenueChild) -> None:
    async def play(client: Client) -> None:
        status, first = await client.call("POST", "/v1/heartbeats", {"heartbeat_id": ""})
        assert status == 200
        status, second = await client.call("POST", "/v1/heartbeats", first)
        assert status == 200
        status, told = await client.call("POST", "/v1/heartbeats", first)
        assert (status, told) == (400, {"error_msg": "Invalid Heartbeat ID", **second})

    run(child, play)


def test_faults_happen_as_asked(child: VenueChild) -> None:
    async def play(client: Client) -> None:
        child.begin(speed=10)
        socket, told, reader = await subscribed(client)
        await until(lambda: len(told) > 3)
        child.fault("split", parts=3, count=2)  # reassembled by any proper client
        count = len(told)
        await until(lambda: len(told) > count + 3)
        for text in told[1:]:
            json.loads(text)
        child.fault("garbage", text="no json")
        await until(lambda: "no json" in told)
        child.fault("stall")
        await asyncio.sleep(0.05)
        count = len(told)
        await socket.send_str("PING")
        await until(lambda: told[-1] == "PONG")
        await asyncio.sleep(0.1)
        assert len(told) == count + 1
        child.fault("resume")
        await until(lambda: len(told) > count + 2)
        child.fault("http", status=503, body={"error": "Trading is currently disabled"}, count=1)
        assert (await client.call("GET", "/data/orders"))[0] == 503
        assert (await client.call("GET", "/data/orders"))[0] == 200
        lost = client.order("BUY", UP, 4800, 10)
        child.fault("lose")
        with pytest.raises(aiohttp.ClientError):
            await client.call("POST", "/order", lost)
        name = "0x" + signatures.order_digest(lost["order"]).hex()
        assert (await client.call("GET", f"/data/order/{name}"))[1]["status"] == "LIVE"
        with pytest.raises(VenueError, match="unknown fault"):
            child.fault("earthquake")
        with pytest.raises(VenueError, match="speed"):
            child.begin(speed=0)
        assert child.fault("kill")["done"] == 1
        await asyncio.wait_for(reader, 5)
        assert socket.closed

    run(child, play)


def test_stopped_heartbeat_cancels_what_is_open() -> None:
    async def play() -> None:
        server = VenueServer([a_tape()], VenueProfile(order_latency_ns=0, ack_latency_ns=0), Credentials())
        server.start(TapeClock(time.monotonic_ns(), at(10), 1.0), 0)
        assert server.session is not None
        request = OrderRequest(b"1" * 32, Outcome.UP, Side.BUY, 4800, 10_000_000)
        order = (await server.session.place([request]))[0]
        assert isinstance(order, Order)
        watch = asyncio.create_task(server.switch.watch(check_s=0.02, limit_s=0.1))
        await asyncio.sleep(0.15)
        assert order.state == "LIVE"  # never armed
        assert server.switch.beat("") is not None
        await until(lambda: order.state == "CANCELED")
        watch.cancel()
        server.session.finish()

    asyncio.run(play())


def test_user_channel_wants_the_credentials(child: VenueChild) -> None:
    async def play(client: Client) -> None:
        user = await client.session.ws_connect(child.user_url)
        auth = {"apiKey": CREDENTIALS.api_key, "secret": "wrong", "passphrase": CREDENTIALS.passphrase}
        await user.send_json({"auth": auth, "type": "user"})
        assert (await user.receive(5)).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)

    run(child, play)


def test_unsubscribed_asset_brings_nothing_any_more() -> None:
    frames = [
        (0, [snapshot(BIDS, ASKS, START_S * 1000)]),
        *[(ms, book_frame(BIDS, ASKS, START_S * 1000 + ms)) for ms in range(100, 2000, 100)],
        (2100, [tick_change("0.01", "0.001", START_S * 1000 + 2100)]),
    ]

    async def play(client: Client) -> None:
        client.child.begin(speed=2)
        socket, told, reader = await subscribed(client)
        await until(lambda: len(told) > 5)
        await socket.send_json({"operation": "unsubscribe", "assets_ids": [DOWN]})
        await until(lambda: told and "tick_size_change" in told[-1])
        names = [json.loads(text)["asset_id"] for text in told[1:]]
        assert names.count(UP) > names.count(DOWN) > 0
        assert set(names[-10:]) == {UP}
        reader.cancel()

    with VenueChild([tape(frames, derived=False)]) as started:
        run(started, play)
