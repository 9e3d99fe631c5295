"""A signed POST of two kilobytes over warm TLS on loopback: the executor's connection beside HTTP clients.

    python -m bench.bench_post [--count N] [--json FILE]

    start → received    from the call to the moment at which the server had the last byte
    round trip          from the call to the answer in hand

One server, certificate and request for all; clients take turns, request by request. Ours writes its L2
headers anew for each request, from the body on; the others are given theirs. Peers that are not installed
are left out with a note.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.harness import ROOT, SHORT, Distribution, distribution, report, require_release
from bench.order_peers import ACCOUNT, OWNER, PASSPHRASE, SECRET
from bench.tick_to_order import certificate
from invmm._ext.l2 import L2Signer
from invmm.execution.connections import Answer, Connection, Endpoint, Lane, Request
from invmm.execution.pool import Pool
from invmm.types import COMMAND_DTYPE, CommandKind
from invmm.venue.auth import ApiCredentials, l2_headers

BODY = b"[" + b'{"order":"' + b"x" * 1_024 + b'"},' + b'{"order":"' + b"y" * 980 + b'"}]'
SECOND = 1_000_000_000
Post = Callable[[], int]
"""Sends the request and waits for the answer; CLOCK_MONOTONIC ns at which the server had it."""
OPEN: list[Callable[[], Any]] = []
"""What closes the clients at the end, the newest first."""


class Ours:
    """The executor's own connection: prebuilt head, L2 headers, one write, C parser for the answer."""

    def __init__(self, port: int, authority: str) -> None:
        self.answer: bytes | None = None
        endpoint = Endpoint("localhost", port, ssl.create_default_context(cafile=authority))
        self.pool = Pool(endpoint, 2, self._finished, connect_ns=5 * SECOND)
        self.signer = L2Signer(OWNER, SECRET, PASSPHRASE, ACCOUNT)
        self.head = (
            f"POST /orders HTTP/1.1\r\nHost: {endpoint.header}\r\nUser-Agent: invmm\r\n"
            f"Accept: application/json\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n"
        ).encode()
        end_ns = time.monotonic_ns() + 5 * SECOND
        while self.pool.warm() < len(self.pool.connections):
            now_ns = time.monotonic_ns()
            if now_ns > end_ns:
                raise ConnectionError("the server cannot be reached")
            self.pool.keep(now_ns)
            self.pool.poll(now_ns)
        self.legs = np.zeros(1, COMMAND_DTYPE)
        OPEN.append(lambda: self.pool.close(time.monotonic_ns()))

    def _finished(self, _connection: Connection, _request: Request, answer: Answer) -> None:
        self.answer = answer.body

    def __call__(self) -> int:
        connection = self.pool.idle(Lane.PLACE)
        assert connection is not None
        assert connection.writer is not None
        headers = self.signer.headers("POST", "/orders", BODY, int(time.time()))
        data = self.head + headers + b"\r\n" + BODY
        sent = connection.writer(data)
        now_ns = time.monotonic_ns()
        self.answer = None
        request = Request(CommandKind.PLACE, self.legs, now_ns)
        connection.begin(request, data[sent:], now_ns + SECOND, now_ns)
        while self.answer is None:
            self.pool.epoll.poll(1.0)  # sleeps until there is something; `poll` below does not wait
            self.pool.poll(time.monotonic_ns())
        return int(self.answer)


def requests_session(port: int, authority: str, headers: dict[str, str]) -> Post:
    requests = pytest.importorskip("requests", reason="peer requests is not installed")
    session, url = requests.Session(), f"https://localhost:{port}/orders"
    session.verify, session.trust_env = authority, False
    OPEN.append(session.close)
    return lambda: int(session.post(url, data=BODY, headers=headers).content)


def httpx_client(port: int, authority: str, headers: dict[str, str], http2: bool) -> Post:
    httpx = pytest.importorskip("httpx", reason="peer httpx is not installed")
    if http2:
        pytest.importorskip("h2", reason="peer httpx over HTTP/2: the h2 package is not installed")
    context, url = ssl.create_default_context(cafile=authority), f"https://localhost:{port}/orders"
    client = httpx.Client(verify=context, http2=http2, http1=not http2, trust_env=False)
    OPEN.append(client.close)
    return lambda: int(client.post(url, content=BODY, headers=headers).content)


def in_a_loop(post: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> Post:
    return lambda: int(loop.run_until_complete(post()))


def httpx_async(port: int, authority: str, headers: dict[str, str], loop: asyncio.AbstractEventLoop) -> Post:
    httpx = pytest.importorskip("httpx", reason="peer httpx is not installed")
    context, url = ssl.create_default_context(cafile=authority), f"https://localhost:{port}/orders"
    client = httpx.AsyncClient(verify=context, trust_env=False)
    OPEN.append(lambda: loop.run_until_complete(client.aclose()))

    async def post() -> bytes:
        return bytes((await client.post(url, content=BODY, headers=headers)).content)

    return in_a_loop(post, loop)


def aiohttp_session(
    port: int, authority: str, headers: dict[str, str], loop: asyncio.AbstractEventLoop
) -> Post:
    aiohttp = pytest.importorskip("aiohttp", reason="peer aiohttp is not installed")
    context, url = ssl.create_default_context(cafile=authority), f"https://localhost:{port}/orders"

    async def begin() -> Any:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))

    session = loop.run_until_complete(begin())
    OPEN.append(lambda: loop.run_until_complete(session.close()))

    async def post() -> bytes:
        async with session.post(url, data=BODY, headers=headers) as answer:
            return bytes(await answer.read())

    return in_a_loop(post, loop)


def contenders(port: int, authority: str, notes: list[str]) -> dict[str, Post]:
    """The clients that are installed, connected and warm; the others are noted."""
    headers = l2_headers(
        ApiCredentials(OWNER, SECRET, PASSPHRASE), ACCOUNT, "POST", "/orders", BODY, int(time.time())
    ) | {"Content-Type": "application/json"}
    loop = asyncio.new_event_loop()
    OPEN.append(loop.close)
    makers: dict[str, Callable[[], Post]] = {
        "invmm executor's connection": lambda: Ours(port, authority),
        "aiohttp": lambda: aiohttp_session(port, authority, headers, loop),
        "httpx Client, HTTP/1.1": lambda: httpx_client(port, authority, headers, False),
        "httpx Client, HTTP/2": lambda: httpx_client(port, authority, headers, True),
        "httpx AsyncClient, HTTP/1.1": lambda: httpx_async(port, authority, headers, loop),
        "requests": lambda: requests_session(port, authority, headers),
    }
    ready = {}
    for name, make in makers.items():
        try:
            ready[name] = make()
        except pytest.skip.Exception as reason:
            notes.append(str(reason))
    return ready


def measure(posts: dict[str, Post], count: int) -> dict[str, list[Distribution]]:
    """`count` requests of each client, in turns."""
    received: dict[str, list[int]] = {name: [] for name in posts}
    answered: dict[str, list[int]] = {name: [] for name in posts}
    for turn in range(count + count // 10):
        for name, post in posts.items():
            begin_ns = time.monotonic_ns()
            server_ns = post()
            end_ns = time.monotonic_ns()
            if turn >= count // 10:
                received[name].append(server_ns - begin_ns)
                answered[name].append(end_ns - begin_ns)
    groups = {}
    for title, samples in (("start → received", received), ("round trip", answered)):
        rows = [distribution(name, ns) for name, ns in samples.items()]
        groups[f"{title}, {len(BODY)} bytes, TLS"] = [
            Distribution(**{**vars(row), "ratio": row.p50 / rows[0].p50}) for row in rows
        ]
    return groups


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.bench_post", description=__doc__.split("\n\n")[0])
    parser.add_argument("--count", type=int, default=20 if SHORT else 1_000, help="requests of each client")
    parser.add_argument("--json", metavar="FILE", help="also write the rows there")
    options = parser.parse_args(arguments)
    require_release()
    notes: list[str] = []
    with tempfile.TemporaryDirectory(prefix="invmm-bench-") as folder:
        authority, chain, key = certificate(Path(folder))
        with subprocess.Popen(
            [sys.executable, "-m", "bench.post_server", chain, key],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        ) as server:
            assert server.stdout is not None
            groups = measure(contenders(int(server.stdout.readline()), authority, notes), options.count)
            while OPEN:
                OPEN.pop()()
            server.terminate()
    report("POST over TLS", groups, notes, options.json)
    return 0


def test_every_client_is_answered() -> None:
    assert main(["--count", "5"]) == 0


if __name__ == "__main__":
    sys.exit(main())
