"""The typical bot: websockets, json, SortedDict, a thread pool, py-clob-client-v2 and its httpx.

The client is the real one, pointed at the timing server; the time of its last write is taken where httpx's
transport writes to the socket. Whether coincurve is installed decides between 3 ms and 0.3 ms per signature,
so the facts say it.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import Any

import httpcore
import httpx
import websockets
from py_clob_client_v2.client import ClobClient
from py_clob_client_v2.clob_types import (
    ApiCreds,
    OrderArgsV2,
    OrderType,
    PartialCreateOrderOptions,
    PostOrdersV2Args,
)
from py_clob_client_v2.http_helpers import helpers as client_http

from bench.peers import SortedDictPeer
from bench.stacks import StackResult, StackSettings
from bench.wire import API_KEY, API_PASSPHRASE, API_SECRET, DISTANCE_CENTS, DOWN, PRIVATE_KEY, UP


class TypicalStack:
    """See the module; frames are handled in the event loop, orders are signed and posted by the pool."""

    def __init__(self, settings: StackSettings) -> None:
        self.settings = settings
        scheme = "https" if settings.tls else "http"
        context: ssl.SSLContext | bool = (
            ssl.create_default_context(cafile=settings.ca_file) if settings.tls else False
        )
        client_http._http_client = httpx.Client(http2=True, verify=context)
        self.client = ClobClient(
            f"{scheme}://localhost:{settings.http_port}",
            chain_id=137,
            key=PRIVATE_KEY,
            creds=ApiCreds(API_KEY, API_SECRET, API_PASSPHRASE),
        )
        self.options = PartialCreateOrderOptions(tick_size="0.01", neg_risk=False)
        self.peer = SortedDictPeer(UP, DOWN)
        # One worker: the client's requests share a connection, and order of arrival is what is compared.
        self.pool = ThreadPoolExecutor(1)
        self.result = StackResult(
            facts={"client": f"py-clob-client-v2 {metadata.version('py_clob_client_v2')}"}
        )
        self.result.facts["curve"] = _curve()
        self.last_write_ns = 0
        self._stamp_writes()
        self._orders(0.48, 5.0, 1)  # the client looks up tick size and version on first use

    def _stamp_writes(self) -> None:
        from httpcore._backends import sync

        stack, write = self, sync.SyncStream.write

        def stamped(stream: Any, buffer: bytes, timeout: float | None = None) -> None:
            write(stream, buffer, timeout)
            stack.last_write_ns = time.monotonic_ns()

        sync.SyncStream.write = stamped
        self.result.facts["httpcore"] = httpcore.__version__

    def run(self) -> StackResult:
        try:
            asyncio.run(self._run())
        finally:
            self.pool.shutdown(wait=True)
        return self.result

    async def _run(self) -> None:
        url = f"ws://127.0.0.1:{self.settings.feed_port}/ws/market"
        loop = asyncio.get_running_loop()
        async with websockets.connect(url, ping_interval=None, compression=None) as socket:
            await socket.send(json.dumps({"assets_ids": [UP, DOWN], "type": "market"}))
            async for frame in socket:
                entered_ns = time.monotonic_ns()
                data = frame if isinstance(frame, bytes) else frame.encode()
                _bid, ask = self.peer.apply(data)
                if data[0] != 91:
                    size = self.peer.up[1][ask]
                    best = round(ask - DISTANCE_CENTS / 100, 2)
                    loop.run_in_executor(self.pool, self._post, best, size)
                    self.result.entered.append((round(size * 100), entered_ns))

    def _post(self, bid: float, size: float) -> None:
        self.client.post_orders(
            self._orders(bid, size, self.settings.orders), post_only=True, defer_exec=False
        )
        self.result.written.append((round(size * 100), self.last_write_ns))

    def _orders(self, bid: float, size: float, count: int) -> list[Any]:
        return [
            PostOrdersV2Args(
                order=self.client.create_order(
                    OrderArgsV2(token_id=UP, price=round(bid - 0.01 * level, 2), size=size, side="BUY"),
                    self.options,
                ),
                orderType=OrderType.GTC,
            )
            for level in range(count)
        ]


def _curve() -> str:
    if os.environ.get("ECC_BACKEND_CLASS"):
        return os.environ["ECC_BACKEND_CLASS"]
    try:
        return f"coincurve {metadata.version('coincurve')}"
    except metadata.PackageNotFoundError:
        return "pure Python"
