"""Servers that break HTTP, hang, trickle or lie: every leg gets a verdict, in time, and the thread lives."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from invmm.execution import connections
from invmm.execution.connections import ANSWER_MAX, Endpoint
from invmm.types import CommandKind, OrderStatus, Reason
from invmm.venue.limits import Limits
from tests.e2e.certificates import certificate as certificate
from tests.e2e.executor_bench import FAST, Bench, Start, accept, begin_benches, statuses, told
from tests.e2e.scripted_venue import Reply, ScriptedVenue, Seen, http

ENDS = FAST.hard_deadline_ms / 1000


@pytest.fixture
def start() -> Iterator[Start]:
    yield from begin_benches()


@pytest.fixture(params=["plain", "tls"])
def contexts(
    request: pytest.FixtureRequest, certificate: tuple[Path, Path]
) -> dict[str, ssl.SSLContext | None]:
    """What a bench needs to speak either way."""
    if request.param == "plain":
        return {}
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*certificate)
    return {"server_tls": server, "client_tls": ssl.create_default_context(cafile=str(certificate[0]))}


ANSWERS = {
    "switch of protocols": b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nxx",
    "redirect": http(302, b"", extra="Location: http://127.0.0.1:1/\r\n"),
    "permanent redirect": http(308, b"", extra="Location: /elsewhere\r\n"),
    "two answers at once": http(200, b"[]") * 2,
    "more body than announced": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[] and more",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n[]",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\n[]\r\n0\r\n\r\n",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n[]",
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n",
    "only interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 3,
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "http/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "html": http(200, b"<html>" + b"x" * 100_000, "text/html"),
    "not utf-8": http(200, b'[{"orderID":"\xff\xfe"}]'),
    "deep json": http(200, b"[" * 50_000 + b"]" * 50_000),
    "null": http(200, b"null"),
    "empty": http(200, b""),
    "gzip unasked": http(200, b"\x1f\x8b\x08\x00garbage", extra="Content-Encoding: gzip\r\n"),
    "nothing": b"",
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("close", [True, False])
def test_an_answer_that_is_none_leaves_orders_unknown(start: Start, name: str, close: bool):
    replies = [Reply(ANSWERS[name], close=close)]
    bench = start(lambda seen: replies.pop() if replies else accept(seen))
    bench.submit(bench.place(1, 2))
    assert statuses(bench.expect(4)) == [OrderStatus.SENT] * 2 + [OrderStatus.UNKNOWN] * 2
    if close:
        time.sleep(0.1)  # an order that meets the end of the connection on its way is UNKNOWN, too
    assert bench.executor.wait_warm()
    bench.submit(bench.place(3))
    assert statuses(bench.expect(2)) == [OrderStatus.SENT, OrderStatus.LIVE], "the next one is not affected"
    assert len(bench.venue.seen) == 2, "nothing was sent twice, no redirect followed"


def test_an_interim_answer_is_followed_by_the_real_one(start: Start):
    bench = start(lambda seen: Reply(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + accept(seen).send))
    bench.submit(bench.place(1))
    assert statuses(bench.expect(2)) == [OrderStatus.SENT, OrderStatus.LIVE]


class Endless:
    """A reply that goes on until the other side has had enough."""

    def __init__(self, head: bytes, piece: bytes, pause_s: float) -> None:
        self.head, self.piece, self.pause_s = head, piece, pause_s
        self.sent = 0
        self.stopped = threading.Event()

    def __call__(self, stream: socket.socket) -> None:
        with contextlib.suppress(OSError):
            stream.sendall(self.head)
            while not self.stopped.wait(self.pause_s):
                stream.sendall(self.piece)
                self.sent += len(self.piece)
        self.stopped.set()


@pytest.mark.parametrize(
    ("head", "piece", "pause_s"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"[", 0.02),
        (b"", b"H", 0.02),
        (b"HTTP/1.1 200 OK\r\n", b"X-Padding: yes\r\n", 0.02),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65_536 + b"\r\n", 0),
        (b"HTTP/1.1 200 OK\r\n", b"X-Padding: " + b"y" * 8_000 + b"\r\n", 0),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0),
    ],
    ids=[
        "body by drops",
        "head by drops",
        "headers by drops",
        "endless body",
        "endless head",
        "endless interim",
    ],
)
def test_an_answer_without_an_end_is_given_up(
    start: Start,
    contexts: dict[str, ssl.SSLContext | None],
    head: bytes,
    piece: bytes,
    pause_s: float,
):
    endless = Endless(head, piece, pause_s)
    bench = start(lambda seen: Reply(stream=endless) if seen.method == "POST" else accept(seen), **contexts)
    began = time.monotonic()
    bench.submit(bench.place(1))
    assert statuses(bench.expect(2)) == [OrderStatus.SENT, OrderStatus.UNKNOWN]
    assert endless.stopped.wait(ENDS + 2), "the connection was closed on it"
    assert time.monotonic() - began < ENDS + 2
    assert endless.sent < ANSWER_MAX + 2**23
    bench.submit(bench.cancel(1))
    assert statuses(bench.expect(1)) == [OrderStatus.CANCELED]


def test_a_handshake_that_never_ends_has_a_deadline():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = Endpoint("127.0.0.1", listener.getsockname()[1], ssl.create_default_context())
        bench = Bench(accept, replace(FAST, connect_timeout_ms=100), endpoint=endpoint)
        try:
            bench.executor.start()
            assert not bench.executor.wait_warm(0.5)
            assert set(bench.executor.last_errors()) == {"no end of handshake within its deadline"}
            began = time.monotonic()
        finally:
            bench.close()
        assert time.monotonic() - began < 2, "also closing does not wait for it"
    assert bench.executor.error is None


def test_a_silent_venue_blocks_no_cancel(start: Start, contexts: dict[str, ssl.SSLContext | None]):
    """Every connection for placements waits for an answer that does not come; the cancels go at once."""
    hold = threading.Event()

    def script(seen: Seen) -> Reply:
        return Reply(accept(seen).send, wait=hold) if seen.method == "POST" else accept(seen)

    patient = replace(FAST, connections=5, unknown_after_ms=10_000, hard_deadline_ms=20_000)
    bench = start(script, patient, **contexts)
    for key in range(1, 31):
        bench.submit(bench.place(key))
    bench.expect(4)  # four are on their way, the others wait
    slowest = 0.0
    for key in range(1, 5):
        began = time.monotonic()
        bench.submit(bench.cancel(key))
        assert told(bench.expect(1))[0][:2] == (key, OrderStatus.CANCELED)
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 1
    bench.submit(bench.cancel(*range(5, 31)))
    rest = statuses(bench.expect(52))
    assert rest.count(OrderStatus.REFUSED) == 26, "these were never sent"
    assert rest.count(OrderStatus.NOT_CANCELED) == 26
    hold.set()
    assert statuses(bench.expect(4)) == [OrderStatus.LIVE] * 4


def test_a_cancel_that_hangs_does_not_hold_up_the_next_one(start: Start):
    hold = threading.Event()

    def script(seen: Seen) -> Reply:
        is_first = seen.method == "DELETE" and sum(one.method == "DELETE" for one in bench.venue.seen) == 1
        return Reply(accept(seen).send, wait=hold if is_first or seen.method == "POST" else None)

    bench = start(script, replace(FAST, connections=3, cancel_connections=2, hard_deadline_ms=20_000))
    bench.submit(bench.place(1))
    bench.expect(1)
    first = bench.cancel(8)
    first["order_id"] = b"\x08" * 32
    bench.submit(first)
    deadline = time.monotonic() + 5
    while not any(seen.method == "DELETE" for seen in bench.venue.seen):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    second = bench.cancel(9)
    second["order_id"] = b"\x09" * 32
    bench.submit(second)
    results = told(bench.expect(1))
    assert [row[:2] for row in results if row[0] != 1] == [(9, OrderStatus.CANCELED)]
    hold.set()


def test_a_name_that_is_looked_up_for_long_holds_nothing_up(monkeypatch: pytest.MonkeyPatch):
    asked, give = threading.Event(), threading.Event()
    genuine = socket.getaddrinfo

    def slow(host: str, *rest: object, **named: object) -> object:
        if host != "localhost" or named.get("flags"):
            return genuine(host, *rest, **named)
        asked.set()
        give.wait(10)
        return genuine("127.0.0.1", *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    bench = Bench(accept, endpoint=Endpoint("localhost", port))
    bench.venue.close()
    bench.venue = ScriptedVenue(accept, port=port)
    try:
        bench.executor.start()
        assert asked.wait(5)
        bench.submit(bench.place(1, deadline_ns=1))
        assert statuses(bench.expect(1)) == [OrderStatus.REFUSED], "the thread goes on meanwhile"
        assert "looked up" in bench.executor.last_errors()[0]
        give.set()
        assert bench.executor.wait_warm()
        bench.submit(bench.place(2))
        assert statuses(bench.expect(2)) == [OrderStatus.SENT, OrderStatus.LIVE]
    finally:
        give.set()
        bench.close()
    assert bench.executor.error is None


def test_names_that_cannot_be_looked_up_are_asked_for_once_a_second(monkeypatch: pytest.MonkeyPatch):
    asked: list[float] = []

    def broken(host: str, *rest: object, **named: object) -> object:
        if named.get("flags"):
            raise socket.gaierror(-2, "not numeric")
        asked.append(time.monotonic())
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", broken)
        bench = Bench(accept, endpoint=Endpoint("localhost", 9))
        try:
            bench.executor.start()
            assert not bench.executor.wait_warm(1.3)
            bench.submit(bench.place(1, deadline_ns=bench.clock.now_ns() + 1))
            assert told(bench.expect(1)) == [(1, OrderStatus.REFUSED, Reason.DEADLINE)]
            assert 1 <= len(asked) <= 3
            assert "Temporary failure" in bench.executor.last_errors()[0]
        finally:
            bench.close()


CODES = st.integers(0, 99_999).map(lambda code: b"%03d" % code)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b"Content-Length",
                b"Transfer-Encoding",
                b"Connection",
                b"Retry-After",
                b"Poly-RateLimit-Remaining",
            ]
        ),
        st.sampled_from([b"0", b"2", b"7", b"chunked", b"close", b"upgrade", b"-1", b"99999999999999999999"]),
    ),
    max_size=4,
).map(lambda rows: b"".join(name + b": " + value + b"\r\n" for name, value in rows))
BODIES = st.binary(max_size=40) | st.sampled_from(
    [b"[]", b"{}", b'[{"success":true}]', b"2\r\n[]\r\n0\r\n\r\n"]
)
GARBAGE = st.binary(max_size=80) | st.builds(
    lambda code, headers, body: b"HTTP/1.1 " + code + b" X\r\n" + headers + b"\r\n" + body,
    CODES,
    HEADERS,
    BODIES,
)


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Bench]:
    reply = {"send": b""}
    monkeypatch = pytest.MonkeyPatch()
    soon = dict.fromkeys(connections.Lane, 1_000_000)
    monkeypatch.setattr(connections, "BACKOFF_MAX_NS", soon)  # or the test is about waiting
    bench = Bench(
        lambda seen: Reply(reply["send"], close=True, pieces=3), replace(FAST, unknown_after_ms=100)
    ).start()
    bench.reply = reply  # type: ignore[attr-defined]
    yield bench
    bench.close()
    monkeypatch.undo()
    assert bench.executor.error is None


@given(GARBAGE)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_bytes_come_back_each_leg_gets_a_verdict(fuzzed: Bench, data: bytes):
    fuzzed.reply["send"] = data  # type: ignore[attr-defined]
    fuzzed.executor.words.venue_stop = 0
    fuzzed.executor.follow.modes.__init__()  # type: ignore[misc]
    fuzzed.executor.follow.publish()
    assert fuzzed.executor.wait_warm()
    key = fuzzed.batch * 10
    fuzzed.submit(fuzzed.place(key + 1, key + 2))
    results = fuzzed.expect(4)
    assert statuses(results[:2]) == [OrderStatus.SENT] * 2
    assert all(status == OrderStatus.UNKNOWN for status in statuses(results[2:]))
    assert fuzzed.executor.error is None


def test_ids_in_a_cancel_all_answer_that_are_none_are_passed_over(start: Start):
    real = "0x" + "ab" * 32
    listed = [real, "0x12", "", "0x" + "zz" * 32, "0x" + "ab " * 21 + "a", "0x" + " " * 64, 7, None]
    body = orjson.dumps({"canceled": listed, "not_canceled": {}})
    bench = start(lambda seen: Reply(http(200, body)))
    bench.submit(bench.place(0, kind=CommandKind.CANCEL_ALL))
    one, all_of_them = bench.expect(2)
    assert one["order_id"].tobytes().hex() == real[2:]
    assert statuses([one, all_of_them]) == [OrderStatus.CANCELED, OrderStatus.CANCELED]
    bench.nothing_more()
    assert bench.executor.error is None


def test_a_connection_that_breaks_at_the_first_byte_is_no_sign_of_haste(
    start: Start, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*certificate)
    tls = {"server_tls": server, "client_tls": ssl.create_default_context(cafile=str(certificate[0]))}

    def broken(data: bytes) -> int:
        raise ConnectionResetError

    monkeypatch.setattr(connections.Connection, "writer", property(lambda self: broken))
    monkeypatch.setattr(connections.Connection, "_write", lambda self, now_ns: self.fail(now_ns, "write"))
    bench = start(accept, limits=Limits(), **tls)
    bench.submit(bench.place(1))
    assert statuses(bench.expect(2)) == [OrderStatus.SENT, OrderStatus.UNKNOWN]
    assert bench.executor.statistics().throttle["warnings"] == 0
