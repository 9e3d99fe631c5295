"""A WebSocket server that misbehaves on demand, and what the feed tests share around it."""

import asyncio
import contextlib
import json
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from invmm._ext.sink import CallbackSink
from invmm.clock import LiveClock
from invmm.feed.backoff import ReconnectBudget
from invmm.feed.connection import FeedSettings
from invmm.feed.market import MarketFeed
from invmm.feed.states import EndCause, FeedState

UP = "40113202025193181740822500498877260546965498642740503547096491847887927548587"
DOWN = "58726851105893121441976415044785550794620582864839872973127370351200548678811"
OTHER = "21742633143463906290569050155826241533067272736897614950488156847949938836455"
DEADLINE_S = 10.0
FAST = FeedSettings(
    keep_alive_s=0.1,
    first_event_s=0.15,
    silence_s=0.4,
    silence_cap_s=0.5,
    backoff_base_s=0.01,
    backoff_cap_s=0.05,
)


def book(token_id: str) -> dict[str, object]:
    return {
        "market": "0x01",
        "asset_id": token_id,
        "timestamp": "1790766966313",
        "bids": [{"price": "0.49", "size": "10"}],
        "asks": [{"price": "0.51", "size": "10"}],
        "event_type": "book",
    }


def change(*token_ids: str) -> str:
    entries = [{"asset_id": t, "price": "0.46", "size": "918.34", "side": "BUY"} for t in token_ids]
    return json.dumps({"market": "0x01", "price_changes": entries, "event_type": "price_change"})


def raw_frame(opcode: int, payload: bytes, fin: bool = True, rsv: int = 0) -> bytes:
    """One server frame, RFC 6455 §5.2."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    if len(payload) < 126:
        return bytes([first, len(payload)]) + payload
    if len(payload) < 1 << 16:
        return struct.pack("!BBH", first, 126, len(payload)) + payload
    return struct.pack("!BBQ", first, 127, len(payload)) + payload


class Peer:
    """One connection as the server sees it."""

    def __init__(self, ws: web.WebSocketResponse, request: web.Request) -> None:
        self.ws = ws
        self.request = request
        self.texts: list[str] = []

    def raw(self, *pieces: bytes) -> None:
        assert self.request.transport is not None
        self.request.transport.write(b"".join(pieces))

    def kill(self) -> None:
        assert self.request.transport is not None
        self.request.transport.abort()


class Server:
    """Answers PING and subscriptions unless told otherwise; remembers what it was sent."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.ignored: set[str] = set()
        self.answer_ping = True
        self.refuse_with: int | None = None
        self.attempts = 0
        self.refusals: list[float] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.attempts += 1
        if self.refuse_with is not None:
            self.refusals.append(time.monotonic())
            return web.Response(status=self.refuse_with, text="<html>no</html>")
        ws = web.WebSocketResponse(autoping=False)
        await ws.prepare(request)
        peer = Peer(ws, request)
        self.peers.append(peer)
        async for message in ws:
            if message.type is aiohttp.WSMsgType.TEXT:
                peer.texts.append(message.data)
                if message.data == "PING":
                    if self.answer_ping:
                        await ws.send_str("PONG")
                else:
                    await self.subscribe(peer, json.loads(message.data))
            elif message.type is aiohttp.WSMsgType.PONG:
                peer.texts.append("pong control frame " + message.data.decode())
        return ws

    async def subscribe(self, peer: Peer, frame: dict[str, object]) -> None:
        if frame.get("operation") == "unsubscribe" or "assets_ids" not in frame:
            return
        wanted = [token_id for token_id in frame["assets_ids"] if token_id not in self.ignored]
        if wanted:
            await peer.ws.send_str(json.dumps([book(t) for t in wanted], separators=(",", ":")) + "\n")


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_get("/ws/market", server.handle)
    app.router.add_get("/ws/user", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    server.url = f"ws://127.0.0.1:{port}/ws/"
    try:
        yield server
    finally:
        for peer in server.peers:
            if peer.request.transport is not None:
                peer.kill()
        await runner.cleanup()


class Log:
    """What a sink was told, in order, and the states that the feed went through."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bytes, bool]] = []
        self.states: list[tuple[FeedState, EndCause]] = []
        self.sink = CallbackSink(
            lambda data, now_ns, last: self.told.append(("frame", data, last)),
            lambda now_ns: self.told.append(("end", b"", True)),
            lambda now_ns: self.told.append(("disconnect", b"", True)),
        )

    def on_state(self, feed: object, state: FeedState, cause: EndCause) -> None:
        self.states.append((state, cause))

    def frames(self) -> list[bytes]:
        return [data for kind, data, _ in self.told if kind == "frame"]

    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.told]


async def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: did not happen within {DEADLINE_S} s"
        await asyncio.sleep(0.002)


@asynccontextmanager
async def market_feed(
    server: Server,
    log: Log,
    tokens: tuple[str, ...] = (UP, DOWN),
    settings: FeedSettings = FAST,
    witness: Callable[[Sequence[str]], bool] | None = None,
) -> AsyncIterator[MarketFeed]:
    feed = MarketFeed(
        server.url + "market",
        tokens,
        log.sink,
        LiveClock(),
        settings,
        witness=witness,
        budget=ReconnectBudget(1000, 100.0),
        on_state=log.on_state,
    )
    feed.start()
    try:
        yield feed
    finally:
        await feed.close()


def run(test: Callable[[Server, Log], Awaitable[None]]) -> None:
    async def body() -> None:
        async with serving() as server:
            await test(server, Log())

    asyncio.run(body())


@asynccontextmanager
async def mute_server() -> AsyncIterator[tuple[str, list[asyncio.StreamWriter]]]:
    """Accepts connections and never says a word; gives its address and the connections so far."""
    accepted: list[asyncio.StreamWriter] = []

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        with contextlib.suppress(ConnectionError):
            while await reader.read(4096):
                pass

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", accepted
    finally:
        server.close()
        for writer in accepted:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        await server.wait_closed()
