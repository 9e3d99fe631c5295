"""A plain client of the embedded venue, and the short market that it meets there."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import aiohttp
import coincurve
from eth_account import Account

from invmm.replay.tape import Tape
from invmm.sim import signatures
from invmm.sim.child import ChildCredentials, VenueChild
from invmm.sim.profile import VenueProfile
from invmm.types import Outcome
from tests import markers
from tests.reference.frames import (
    DOWN,
    MARKET,
    START_S,
    UP,
    book_frame,
    change,
    snapshot,
    tape,
    trade,
)
from tests.reference.stage import ASKS, BIDS

KEY = coincurve.PrivateKey(bytes.fromhex(markers.PRIVATE_KEY))
ADDRESS = Account.from_key(markers.PRIVATE_KEY).address
CREDENTIALS = ChildCredentials(markers.API_KEY, markers.API_SECRET, markers.PASSPHRASE, ADDRESS)
QUICK = VenueProfile(
    order_jitter_ns=0,
    retry_rate=0.0,
    failure_rate=0.0,
    settlement_jitter_ns=0,
    settlement_lag_ns=1_000_000_000,
    queue_model="proportional",
)
EMPTY: list[str] = []


def a_tape(winner: Outcome | None = None) -> Tape:
    """Twenty seconds: a sweep of the best bid at 2 s, a trade at 3 s, the end at 300 s."""
    batches = [
        (0, [snapshot(BIDS, ASKS, START_S * 1000)]),
        *[(ms, [change("BUY", "0.4", str(ms), START_S * 1000 + ms)]) for ms in range(100, 2000, 100)],
        (2000, book_frame(BIDS[1:], ASKS, START_S * 1000 + 2000)),
        (2035, [trade(UP, "SELL", "0.5", "100", START_S * 1000 + 2035)]),
        (3000, [change("BUY", "0.5", "70", START_S * 1000 + 3000)]),
        *[(ms, [change("BUY", "0.41", str(ms), START_S * 1000 + ms)]) for ms in range(3100, 20000, 100)],
    ]
    return tape(batches, derived=False, market=replace(MARKET, winner=winner))


class Client:
    """A plain client of the venue: signs with coincurve, speaks with aiohttp."""

    def __init__(self, child: VenueChild, session: aiohttp.ClientSession) -> None:
        self.child = child
        self.session = session
        self._salt = 0

    async def call(self, method: str, path: str, body: Any = None, query: str = "") -> tuple[int, Any]:
        """A private request."""
        payload = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        stamp = str(int(time.time()))
        headers = {
            "POLY_ADDRESS": ADDRESS,
            "POLY_SIGNATURE": signatures.l2_signature(CREDENTIALS.secret, stamp, method, path, payload),
            "POLY_TIMESTAMP": stamp,
            "POLY_API_KEY": CREDENTIALS.api_key,
            "POLY_PASSPHRASE": CREDENTIALS.passphrase,
        }
        url = self.child.base_url + path + query
        async with self.session.request(method, url, data=payload, headers=headers) as answer:
            return answer.status, json.loads(await answer.text() or "null")

    def order(self, side: str, token: str, price_e4: int, shares: int, **more: Any) -> dict[str, Any]:
        """A signed order body."""
        self._salt += 1
        cash, size = shares * price_e4 * 100, shares * 1_000_000
        making, taking = (cash, size) if side == "BUY" else (size, cash)
        signed = {
            "salt": self._salt,
            "maker": ADDRESS,
            "signer": ADDRESS,
            "tokenId": token,
            "makerAmount": str(making),
            "takerAmount": str(taking),
            "side": side,
            "expiration": "0",
            "signatureType": 0,
            "timestamp": "1790767298635",
            "metadata": "0x" + "00" * 32,
            "builder": "0x" + "00" * 32,
        }
        raw = KEY.sign_recoverable(signatures.order_digest(signed), hasher=None)
        signed["signature"] = "0x" + (raw[:64] + bytes([raw[64] + 27])).hex()
        body = {"order": signed, "owner": CREDENTIALS.api_key, "orderType": "GTC", "deferExec": False}
        return {**body, "postOnly": False, **more}


async def until(condition: Callable[[], Any], deadline_s: float = 10.0) -> Any:
    """Waits for something to become true."""
    end = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0.005)
    return value


async def collect(socket: aiohttp.ClientWebSocketResponse, into: list[str]) -> None:
    """Every text message until the socket closes."""
    async for message in socket:
        if message.type == aiohttp.WSMsgType.TEXT:
            into.append(message.data)


async def subscribed(
    client: Client, *, assets: list[str] | None = None
) -> tuple[aiohttp.ClientWebSocketResponse, list[str], asyncio.Task[None]]:
    """A market connection whose messages are collected."""
    socket = await client.session.ws_connect(client.child.market_url)
    told: list[str] = []
    reader = asyncio.create_task(collect(socket, told))
    await socket.send_json(
        {"assets_ids": assets or [UP, DOWN], "type": "market", "custom_feature_enabled": True}
    )
    return socket, told, reader


def run(child: VenueChild, play: Callable[[Client], Awaitable[None]]) -> None:
    """Plays a scene with one client."""

    async def scene() -> None:
        async with aiohttp.ClientSession() as session:
            await play(Client(child, session))

    asyncio.run(asyncio.wait_for(scene(), 60))


def a_child() -> VenueChild:
    """A venue with two markets, Up's and Down's, not yet started."""
    return VenueChild([a_tape(Outcome.UP), a_tape(Outcome.DOWN)], credentials=CREDENTIALS, profile=QUICK)
