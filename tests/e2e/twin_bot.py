"""A small bot for tests of the embedded venue: signs with our signer, speaks with aiohttp."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from invmm.replay.tape import MarketInfo
from invmm.sim.profile import VenueProfile
from invmm.sim.windows import Series
from invmm.testing import TestVenue
from invmm.types import Outcome
from invmm.venue.auth import ApiCredentials, OrderSigner, l2_headers

QUICK = VenueProfile(
    feed_latency_ns=0,
    order_latency_ns=0,
    order_jitter_ns=0,
    ack_latency_ns=0,
    user_latency_ns=0,
    retry_rate=0.0,
    failure_rate=0.0,
    settlement_jitter_ns=0,
    settlement_lag_ns=1_000_000_000,
    queue_model="proportional",
)
"""No latencies and no chance: what happens follows from the requests."""
LIGHT = Series("btc-updown-5m", tape="light")
START_S = 1_795_260_000
"""Start of a five-minute window; scenes begin half a minute into it."""


class Bot:
    """Requests of one account, of the venue's own one by default."""

    def __init__(
        self,
        venue: TestVenue,
        session: aiohttp.ClientSession,
        private_key: str | None = None,
        credentials: ApiCredentials | None = None,
    ) -> None:
        self.venue = venue
        self.session = session
        self.signer = OrderSigner(private_key or venue.private_key)
        self.credentials = credentials or venue.credentials

    async def call(
        self, method: str, path: str, body: bytes | Any = None, query: str = ""
    ) -> tuple[int, Any, dict[str, str]]:
        """A private request: status, body (JSON where it is), headers."""
        payload = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        stamp = int(time.time())
        headers = l2_headers(self.credentials, self.signer.address, method, path, payload or None, stamp)
        url = self.venue.url + path + query
        async with self.session.request(method, url, data=payload or None, headers=headers) as answer:
            text = await answer.text()
            try:
                told = json.loads(text or "null")
            except ValueError:
                told = text
            return answer.status, told, {name.lower(): value for name, value in answer.headers.items()}

    async def get(self, path: str) -> tuple[int, Any]:
        """A public request."""
        async with self.session.get(self.venue.url + path) as answer:
            return answer.status, await answer.json(content_type=None)

    def order(
        self,
        market: MarketInfo,
        price_e4: int,
        shares: int,
        *,
        token: Outcome = Outcome.UP,
        side: str = "BUY",
        **more: Any,
    ) -> bytes:
        """A signed order's body."""
        token_id = market.up_token_id if token == Outcome.UP else market.down_token_id
        signed = self.signer.sign(
            token_id, side, price_e4, shares * 1_000_000, tick_e4=100, exchange=market.exchange, **more
        )
        return signed.body(self.credentials.api_key)

    async def place(self, market: MarketInfo, price_e4: int, shares: int, **more: Any) -> str:
        """Places an order that is taken; its id."""
        status, told, _ = await self.call("POST", "/order", self.order(market, price_e4, shares, **more))
        assert (status, told["success"]) == (200, True), told
        return str(told["orderID"])

    async def open_ids(self) -> list[str]:
        """Ids in `/data/orders`."""
        status, told, _ = await self.call("GET", "/data/orders")
        assert status == 200, told
        return [entry["id"] for entry in told["data"]]


def scene(
    play: Callable[[Bot], Awaitable[None]],
    *series: Series,
    profile: VenueProfile = QUICK,
    **options: Any,
) -> None:
    """Plays a scene with one bot at a venue of its own, which must have nothing to complain about."""

    async def run(venue: TestVenue) -> None:
        async with aiohttp.ClientSession() as session:
            await play(Bot(venue, session))

    options.setdefault("start_s", START_S + 30)
    with TestVenue(*(series or (LIGHT,)), profile=profile, **options) as venue:
        asyncio.run(asyncio.wait_for(run(venue), 120))
        assert venue.child.errors == ""


async def heard(venue: TestVenue, session: aiohttp.ClientSession, into: list[dict[str, Any]]) -> Any:
    """A user connection whose events are collected."""
    socket = await session.ws_connect(venue.user_url)
    known = venue.credentials
    auth = {"apiKey": known.api_key, "secret": known.secret, "passphrase": known.passphrase}
    await socket.send_json({"auth": auth, "type": "user"})

    async def collect() -> None:
        async for message in socket:
            if message.type == aiohttp.WSMsgType.TEXT and message.data != "PONG":
                into.append(json.loads(message.data))

    reader = asyncio.create_task(collect())
    await asyncio.sleep(0.05)
    return reader
