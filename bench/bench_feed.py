"""What it costs to receive one message: our listener beside the usual WebSocket clients.

`python -m bench.bench_feed [--turns N] [--json FILE]` prints the tables; `pytest bench/` runs the first.

callback  a frame that picows has parsed → the sink has returned. In process, no socket.
burst     thousands of messages in flight on a loopback socket: processor time of the receiver per message.
alone     one message every 250 µs: the same, so each message pays for waking the event loop.

Processor time (user and system) and not elapsed time, because the sender would be the limit in a burst and
the pause in the other. The sender is a child process. Every contender does what its users write: an
`async for` over the messages that counts them, or a callback that does.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import random
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from picows import WSMsgType, ws_connect
from picows.picows import _make_test_ws_frame

from bench import harness, recorded
from invmm._ext.sink import CallbackSink, FrameSink
from invmm.clock import LiveClock
from invmm.feed.listener import FeedListener

GAP_S = 250e-6
COUNTS = {"burst": 20_000, "alone": 400} if not harness.SHORT else {"burst": 500, "alone": 40}
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3

Receiver = Callable[[str, int], Awaitable[float]]


def wire_frame(payload: bytes) -> bytes:
    """A text frame as a server sends it."""
    size = len(payload)
    if size < 126:
        return bytes([0x81, size]) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def serve(count_of_connections: int) -> None:
    """The child: accepts, waits for the client's first frame, sends what the path names, awaits the end."""
    stream = [wire_frame(frame) for frame in recorded.frames(2_000).stream]
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        for _ in range(count_of_connections):
            connection, _ = server.accept()
            with connection:
                _send_one_run(connection, stream)


def _send_one_run(connection: socket.socket, stream: list[bytes]) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(4096)
    mode = request.split(b" ", 2)[1].strip(b"/").decode()
    key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    accept = base64.b64encode(hashlib.sha1(key.split(b":", 1)[1].strip() + _GUID).digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    connection.recv(4096)
    chosen = [stream[i % len(stream)] for i in range(COUNTS[mode])]
    try:
        if mode == "burst":
            connection.sendall(b"".join(chosen))
        else:
            for frame in chosen:
                time.sleep(GAP_S)
                connection.sendall(frame)
        while connection.recv(4096):
            pass
    except ConnectionError:
        pass


async def _receive_ours(url: str, count: int, sink: FrameSink, arrived: Callable[[], int]) -> float:
    # Whoever counts in the sink would be measured with it: the listener counts, and a slow poll looks.
    listener = FeedListener(sink, LiveClock(), poison=False)
    transport, _ = await ws_connect(
        lambda: listener,
        url,
        enable_auto_ping=False,
        enable_auto_pong=False,
        read_buffer_init_size=1 << 18,
    )
    begin = time.process_time()
    listener.send_text(b"go")
    while listener.messages < count:
        await asyncio.sleep(0.005)
    took = time.process_time() - begin
    assert arrived() in (0, count)
    transport.disconnect(False)
    await transport.wait_disconnected()
    return took


async def ours(url: str, count: int) -> float:
    return await _receive_ours(url, count, FrameSink(), lambda: 0)


async def ours_to_python(url: str, count: int) -> float:
    seen = 0

    def on_frame(data: bytes, now_ns: int, last: bool) -> None:
        nonlocal seen
        seen += 1

    return await _receive_ours(url, count, CallbackSink(on_frame), lambda: seen)


async def with_aiohttp(url: str, count: int) -> float:
    import aiohttp

    async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as ws:
        begin = time.process_time()
        await ws.send_str("go")
        seen = 0
        async for _ in ws:
            seen += 1
            if seen == count:
                break
        took = time.process_time() - begin
        assert ws._response.connection is not None
        ws._response.connection.close()
    return took


async def with_websockets(url: str, count: int) -> float:
    from websockets.asyncio.client import connect

    ws = await connect(url, max_size=None, compression=None, ping_interval=None)
    begin = time.process_time()
    await ws.send("go")
    seen = 0
    async for _ in ws:
        seen += 1
        if seen == count:
            break
    took = time.process_time() - begin
    ws.transport.abort()
    await ws.wait_closed()
    return took


RECEIVERS: dict[str, Receiver] = {
    "invmm listener": ours,
    "invmm listener, bytes to a Python callback": ours_to_python,
    "aiohttp": with_aiohttp,
    "websockets": with_websockets,
}


def available(notes: list[str]) -> dict[str, Receiver]:
    """The receivers whose package is there; a note for each that is not."""
    out = {}
    for name, receiver in RECEIVERS.items():
        try:
            if not name.startswith("invmm"):
                __import__(name)
        except ImportError:
            notes.append(f"{name}: not installed")
        else:
            out[name] = receiver
    return out


def over_sockets(mode: str, turns: int, notes: list[str]) -> list[harness.Distribution]:
    """Processor time per message, in ns, of each receiver, in turns."""
    receivers = available(notes)
    count = COUNTS[mode]
    connections = (turns + 1) * len(receivers)
    child = subprocess.Popen(
        [sys.executable, "-m", "bench.bench_feed", "--serve", str(connections)],
        stdout=subprocess.PIPE,
        text=True,
    )
    samples: dict[str, list[float]] = {name: [] for name in receivers}
    try:
        assert child.stdout is not None
        url = f"ws://127.0.0.1:{int(child.stdout.readline())}/{mode}"
        order = list(receivers)
        rng = random.Random(1)
        for turn in range(turns + 1):  # the first warms up
            rng.shuffle(order)
            for name in order:
                took_s = asyncio.run(_within(60.0, receivers[name](url, count)))
                if turn:
                    samples[name].append(took_s * 1e9 / count)
        child.wait(10)
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
    first = samples[next(iter(receivers))]
    out = []
    for name, values in samples.items():
        row = harness.distribution(name, values, f"{turns} runs of {count} messages")
        ratios = sorted(value / base for value, base in zip(values, first, strict=True))
        out.append(harness.Distribution(**(vars(row) | {"ratio": ratios[len(ratios) // 2]})))
    return out


async def _within(seconds: float, receiving: Awaitable[float]) -> float:
    async with asyncio.timeout(seconds):
        return await receiving


def callback_cases(frames: list[bytes], tokens: list[str]) -> list[harness.Case]:
    """The listener fed with frames as picows hands them over, through one Python call each."""
    made = [_make_test_ws_frame(WSMsgType.TEXT, frame, True, False) for frame in frames]

    def case(name: str, sink: FrameSink, *, scale: float = 1.0, follow: bool = True) -> harness.Case:
        listener = FeedListener(sink, LiveClock(scale), poison=False)
        listener.on_ws_connected(None)  # type: ignore[arg-type]
        if follow:
            listener.follow(tokens)
        receive = listener.on_ws_frame
        return harness.Case(name, lambda frame: receive(None, frame), made)  # type: ignore[arg-type]

    silent = FeedListener(FrameSink(), LiveClock(), poison=False)
    silent.on_ws_connected(None)  # type: ignore[arg-type]
    silent.follow([*tokens, "1"])
    return [
        case("to a compiled sink", FrameSink()),
        case("without data clock", FrameSink(), follow=False),
        harness.Case(
            "with a silent token: every frame searched",
            lambda frame: silent.on_ws_frame(None, frame),  # type: ignore[arg-type]
            made,
        ),
        case("bytes to a Python callback", CallbackSink(lambda data, now_ns, last: None)),
        harness.Case("an empty Python call, for comparison", lambda frame: None, made),
    ]


def _callback_cases(limit: int = 2_000) -> list[harness.Case]:
    source = recorded.frames(limit)
    cases = callback_cases(source.stream, [source.up_token_id, source.down_token_id])
    for case in cases:  # so that every token has its book and the data clock rests
        opening = _make_test_ws_frame(WSMsgType.TEXT, source.opening, True, False)
        case.operation(opening)
    return cases


@pytest.mark.parametrize("index", range(5))
def test_callback(benchmark: Any, index: int) -> None:
    case = _callback_cases(200)[index]
    benchmark.group = "feed: callback per frame"
    benchmark.name = case.name
    operation, items = case.operation, case.items

    def one_pass() -> None:
        for item in items:
            operation(item)

    benchmark(one_pass)
    benchmark.extra_info["frames"] = len(items)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.bench_feed", description=__doc__)
    parser.add_argument("--turns", type=int, default=3 if harness.SHORT else 21, help="runs per receiver")
    parser.add_argument("--json", help="write the rows to this file")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.serve)
        return 0
    harness.require_release()
    notes: list[str] = []
    groups = {
        "callback": harness.compare(_callback_cases()),
        "burst": over_sockets("burst", options.turns, notes),
        "alone": over_sockets("alone", options.turns, notes),
    }
    harness.report("Feed: receiving one message", groups, dict.fromkeys(notes), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
