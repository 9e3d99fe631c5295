"""Orders and requests with one thing changed, over real sockets: each is refused with the venue's status and
words, and none leaves anything behind.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from invmm.venue.auth import ApiCredentials, OrderSigner, l1_headers, l2_headers
from invmm.venue.profile import Profile
from tests.e2e.official_venue import ADDRESS, KEY, POSITION_UP, WALLET, venue
from tests.reference.frames import DOWN, UP
from tests.reference.tampered import STRANGER, TAMPERED, expected, other_hex

Answer = tuple[int, Any]
UNAUTHORIZED = (401, {"error": "Unauthorized/Invalid api key"})


class Caller:
    """Sends requests exactly as told."""

    def __init__(self, session: aiohttp.ClientSession, profile: Profile, keys: ApiCredentials) -> None:
        self.session = session
        self.profile = profile
        self.keys = keys

    def headers(self, method: str, path: str, body: bytes, stamp: int | None = None) -> dict[str, str]:
        return l2_headers(self.keys, ADDRESS, method, path, body, stamp or int(time.time()))

    async def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        url = self.profile.rest_url + path
        async with self.session.request(method, url, data=body or None, headers=headers) as answer:
            return answer.status, json.loads(await answer.text())

    async def post(self, told: Any) -> Answer:
        body = json.dumps(told, separators=(",", ":")).encode()
        return await self.send("POST", "/order", body, self.headers("POST", "/order", body))

    def order(self, kind: int = 0, exchange: str = "v2", **more: Any) -> dict[str, Any]:
        signer = OrderSigner(KEY, kind, WALLET if kind else None)
        token = POSITION_UP if exchange == "v3" else UP
        order = signer.sign(token, "BUY", 4000, 10_000_000, tick_e4=100, exchange=exchange, **more)
        body: dict[str, Any] = json.loads(order.body(self.keys.api_key))
        return body


def run(profile: Profile, play: Callable[[Caller], Awaitable[None]]) -> None:
    async def scene() -> None:
        async with aiohttp.ClientSession() as session:
            login = l1_headers(OrderSigner(KEY), int(time.time()))
            async with session.post(profile.rest_url + "/auth/api-key", headers=login) as answer:
                told = await answer.json()
            keys = ApiCredentials(told["apiKey"], told["secret"], told["passphrase"])
            await play(Caller(session, profile, keys))

    asyncio.run(asyncio.wait_for(scene(), 60))


@pytest.mark.parametrize("exchange", ["v2", "v3"])
def test_every_field_of_every_kind_of_order(exchange: str) -> None:
    async def play(caller: Caller) -> None:
        for kind in range(4):
            for what, (field, change) in TAMPERED.items():
                body = caller.order(kind, exchange)
                body["order"][field] = change(body["order"][field])
                refusal = expected(what, kind)
                assert await caller.post(body) == (refusal.status, {"error": refusal.text}), (what, kind)
            status, told = await caller.post(caller.order(kind, exchange))
            assert (status, told["status"]) == (200, "live")

    with venue(exchange) as (child, profile):
        run(profile, play)
        assert [order["state"] for order in child.truth()["orders"]] == ["LIVE"] * 4


def test_fields_around_the_signed_ones() -> None:
    malformed = (400, {"error": "Invalid order payload"})

    async def play(caller: Caller) -> None:
        def changed(part: str, value: Any) -> dict[str, Any]:
            body = caller.order()
            target = body["order"] if part in body["order"] else body
            target[part] = value
            return body

        text = "the order owner has to be the owner of the API KEY"
        assert await caller.post(changed("owner", "9180014b-33c8-9240-a14b-bdca11c0a465")) == (
            400,
            {"error": text},
        )
        # Not signed since the second generation, so the rules of orders decide.
        assert await caller.post(changed("expiration", "1")) == (400, {"error": "invalid expiration"})
        dated = {**changed("expiration", "1"), "orderType": "GTD"}
        assert await caller.post(dated) == (400, {"error": "invalid expiration"})
        assert await caller.post(changed("expiration", "soon")) == malformed
        assert await caller.post(changed("orderType", "LATER")) == malformed
        assert await caller.post(changed("postOnly", "yes")) == malformed
        status, told = await caller.post(changed("orderType", "FOK"))
        assert (status, "FOK" in told["error"]) == (400, True)
        assert (await caller.post(changed("deferExec", True)))[0] == 200
        unknown = (404, {"error": "No orderbook exists for the requested token id"})
        assert await caller.post(changed("tokenId", DOWN[:-1])) == unknown

        body = caller.order()
        assert (await caller.post(body))[0] == 200
        status, told = await caller.post(body)
        assert (status, told["error"].endswith("is invalid. Duplicated.")) == (400, True)
        legs = [caller.order(), changed("owner", "nobody")]
        legs[0]["order"]["salt"] += 1
        sent = json.dumps(legs).encode()
        status, told = await caller.send("POST", "/orders", sent, caller.headers("POST", "/orders", sent))
        assert (status, [leg["errorMsg"] for leg in told]) == (200, ["invalid signature", text])

    with venue() as (_, profile):
        run(profile, play)


def test_every_header_of_requests_and_logins() -> None:
    async def play(caller: Caller) -> None:
        body = json.dumps({"orderID": "0x" + "11" * 32}).encode()
        good = caller.headers("DELETE", "/order", body)
        assert (await caller.send("DELETE", "/order", body, good))[0] == 200
        for name, value in good.items():
            for wrong in (other_hex(value, 3), value + "1", None):
                headers = {key: told for key, told in {**good, name: wrong}.items() if told is not None}
                assert await caller.send("DELETE", "/order", body, headers) == UNAUTHORIZED, name
        old = caller.headers("DELETE", "/order", body, int(time.time()) - 3600)
        assert await caller.send("DELETE", "/order", body, old) == UNAUTHORIZED
        assert await caller.send("DELETE", "/order", body + b" ", good) == UNAUTHORIZED
        assert await caller.send("DELETE", "/cancel-all", b"", good) == UNAUTHORIZED
        assert await caller.send("GET", "/data/orders", b"", {}) == UNAUTHORIZED

        login = l1_headers(OrderSigner(KEY), int(time.time()), 4)
        changes = {
            "POLY_ADDRESS": STRANGER,
            "POLY_SIGNATURE": other_hex(login["POLY_SIGNATURE"], 30),
            "POLY_TIMESTAMP": str(int(login["POLY_TIMESTAMP"]) - 1),
            "POLY_NONCE": "5",
        }
        for name, value in changes.items():
            for method, path in (("POST", "/auth/api-key"), ("GET", "/auth/derive-api-key")):
                answer = await caller.send(method, path, b"", {**login, name: value})
                assert answer == (401, {"error": "Invalid L1 Request headers"}), name
        late = await caller.send("GET", "/auth/derive-api-key", b"", login)
        assert late == (400, {"error": "Could not derive api key!"})

    with venue() as (_, profile):
        run(profile, play)


def test_a_subscription_with_a_wrong_triple_is_closed() -> None:
    async def play(caller: Caller) -> None:
        good = {
            "apiKey": caller.keys.api_key,
            "secret": caller.keys.secret,
            "passphrase": caller.keys.passphrase,
        }
        for name in (*good, ""):
            auth = {**good, name: other_hex(good[name], 5)} if name else good
            socket = await caller.session.ws_connect(caller.profile.user_url)
            await socket.send_json({"type": "user", "auth": auth, "markets": []})
            await socket.send_str("PING")
            heard = await socket.receive(5)
            assert (heard.type == aiohttp.WSMsgType.TEXT) is (name == "")
            await socket.close()

    with venue() as (_, profile):
        run(profile, play)
