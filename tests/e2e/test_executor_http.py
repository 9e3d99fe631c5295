"""Requests and answers of the executor over loopback HTTP: a venue that answers, breaks and keeps silent."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

import numpy as np
import orjson
import pytest

from invmm.execution.connections import Endpoint
from invmm.types import CommandFlag, OrderStatus, Reason, Side
from tests.e2e.executor_bench import TOKENS, Start, accept, answer, begin_benches, ids_of, statuses, told
from tests.e2e.scripted_venue import Reply, ScriptedVenue, Seen, http


@pytest.fixture
def start() -> Iterator[Start]:
    yield from begin_benches()


def test_a_batch_is_one_signed_request_and_each_leg_is_announced_then_live(start: Start):
    bench = start(accept)
    bench.submit(bench.place(1, 2, 3))
    results = bench.expect(6)
    assert told(results) == [
        (k, s, Reason.NONE) for s in (OrderStatus.SENT, OrderStatus.LIVE) for k in (1, 2, 3)
    ]
    (seen,) = bench.venue.seen
    assert (seen.method, seen.path) == ("POST", "/orders")
    assert seen.is_signed()
    assert ["0x" + r["order_id"].tobytes().hex() for r in results[:3]] == ids_of(seen)
    assert [r["order_id"].tobytes() for r in results[3:]] == [r["order_id"].tobytes() for r in results[:3]]
    assert [int(r["sequence"]) for r in results] == [1, 2, 3, 4, 5, 6]
    assert {int(r["code"]) for r in results[3:]} == {200}
    assert all(r["batch"] == 1 and r["size_micro"] == 10_000_000 and r["price_e4"] == 4800 for r in results)


def test_one_order_is_an_array_of_one(start: Start):
    bench = start(accept)
    bench.submit(bench.place(9, token=1, side=Side.SELL, flags=CommandFlag.LAST | CommandFlag.POST_ONLY))
    bench.expect(2)
    (entry,) = bench.venue.seen[0].json()
    assert entry["order"]["tokenId"] == TOKENS[1]
    assert entry["order"]["side"] == "SELL"
    assert entry["postOnly"] is True


def test_sent_is_published_before_the_venue_can_know(start: Start):
    arrived: queue.SimpleQueue[int] = queue.SimpleQueue()

    def script(seen: Seen) -> Reply:
        arrived.put(len(bench.executor.results))
        return accept(seen)

    bench = start(script)
    bench.submit(bench.place(1, 2))
    assert arrived.get(timeout=5) == 2
    bench.expect(4)


def test_batches_are_in_flight_at_the_same_time(start: Start):
    both = threading.Barrier(2)

    def script(seen: Seen) -> Reply:
        both.wait(5)  # passes only if two requests are inside at once
        return accept(seen)

    bench = start(script)
    bench.submit(np.concatenate([bench.place(1), bench.place(2)]))
    assert sorted(statuses(bench.expect(4))) == [OrderStatus.SENT] * 2 + [OrderStatus.LIVE] * 2


def test_more_than_fifteen_legs_are_several_requests(start: Start):
    bench = start(accept)
    bench.submit(bench.place(*range(1, 18)))
    bench.expect(34)
    assert sorted(len(seen.json()) for seen in bench.venue.seen) == [2, 15]


def test_legs_have_their_own_fates(start: Start):
    def script(seen: Seen) -> Reply:
        ids = ids_of(seen)
        body = [
            answer(ids[0], "matched"),
            answer("", "", "not enough balance / allowance"),
            answer(ids[2], "delayed"),
            answer(ids[3], "odd"),
        ]
        body[0]["takingAmount"] = "4"
        return Reply(http(200, orjson.dumps(body), extra="X-Odd: yes\r\n"), pieces=7)

    bench = start(script)
    bench.submit(bench.place(1, 2, 3, 4))
    results = bench.expect(8)[4:]
    assert told(results) == [
        (1, OrderStatus.MATCHED, Reason.NONE),
        (2, OrderStatus.REJECTED, Reason.VENUE_BALANCE),
        (3, OrderStatus.DELAYED, Reason.NONE),
        (4, OrderStatus.UNKNOWN, Reason.TRANSPORT),
    ]
    assert results[0]["filled_micro"] == 4_000_000


@pytest.mark.parametrize(
    "reply",
    [
        Reply(http(503, b"<html>Service Unavailable</html>", "text/html")),
        Reply(http(200, b"<html>hello</html>", "text/html")),
        Reply(http(401, b'{"error":"Unauthorized/Invalid api key"}')),
        Reply(http(425, b"service not ready")),
        Reply(http(429, b'{"error":"Too Many Requests"}')),
        Reply(close=True),
        Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n[{", close=True),
        Reply(b"HTTP/1.1 200 OK\r\nContent-Length: banana\r\n\r\n[]"),
        Reply(b"\x16\x03\x01garbage\r\n\r\n", close=True),
    ],
    ids=["503 html", "200 html", "401", "425", "429", "closes", "closes midway", "bad length", "garbage"],
)
def test_an_unusable_answer_leaves_orders_unknown_and_nothing_is_sent_again(start: Start, reply: Reply):
    bench = start(lambda seen: reply)
    bench.submit(bench.place(1, 2))
    assert statuses(bench.expect(4)) == [OrderStatus.SENT] * 2 + [OrderStatus.UNKNOWN] * 2
    bench.nothing_more(0.1)
    assert len(bench.venue.seen) == 1


def test_a_silent_venue_means_unknown_and_a_late_answer_is_still_told(start: Start):
    late = threading.Event()

    def script(seen: Seen) -> Reply:
        reply = accept(seen)
        return Reply(reply.send, wait=late)

    bench = start(script)
    began = time.monotonic()
    bench.submit(bench.place(1))
    assert statuses(bench.expect(2)) == [OrderStatus.SENT, OrderStatus.UNKNOWN]
    assert time.monotonic() - began >= 0.15
    late.set()
    assert statuses(bench.expect(1)) == [OrderStatus.LIVE]


def test_a_venue_that_never_answers_loses_its_connection_and_is_told_once(start: Start):
    silent = threading.Event()
    bench = start(lambda seen: Reply(wait=silent, close=True))
    bench.submit(bench.place(1))
    assert statuses(bench.expect(2)) == [OrderStatus.SENT, OrderStatus.UNKNOWN]
    bench.nothing_more(0.5)
    assert bench.executor.wait_warm(), "the connection is replaced"
    assert bench.venue.accepted == 4
    silent.set()


def test_a_connection_that_the_venue_closes_is_replaced(start: Start):
    bench = start(accept)
    bench.submit(bench.place(1))
    bench.expect(2)
    bench.venue.drop()
    end = time.monotonic() + 5
    while bench.venue.accepted < 6:
        assert time.monotonic() < end
        time.sleep(0.001)
    assert bench.executor.wait_warm()
    bench.submit(bench.place(2))
    assert statuses(bench.expect(2)) == [OrderStatus.SENT, OrderStatus.LIVE]


def test_an_answer_that_ends_the_connection_is_used_all_the_same(start: Start):
    bench = start(
        lambda seen: Reply(
            http(200, orjson.dumps([answer(i) for i in ids_of(seen)]), extra="Connection: close\r\n"),
            close=True,
        )
    )
    for key in (1, 2, 3, 4):
        bench.submit(bench.place(key))
        assert statuses(bench.expect(2)) == [OrderStatus.SENT, OrderStatus.LIVE]


def test_chunked_answers_are_read(start: Start):
    def script(seen: Seen) -> Reply:
        body = orjson.dumps([answer(i) for i in ids_of(seen)])
        text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for part in (body[:10], body[10:]):
            text += b"%x\r\n%s\r\n" % (len(part), part)
        return Reply(text + b"0\r\n\r\n", pieces=11)

    bench = start(script)
    bench.submit(bench.place(1))
    assert statuses(bench.expect(2)) == [OrderStatus.SENT, OrderStatus.LIVE]


def test_a_refused_connection_is_tried_again(start: Start):
    bench = start(accept)
    bench.venue.close()
    end = time.monotonic() + 5
    while bench.executor.statistics().warm:
        assert time.monotonic() < end
        time.sleep(0.001)
    bench.submit(bench.place(1))
    bench.submit(bench.place(2, deadline_ns=bench.clock.now_ns() + 1_000_000))
    assert told(bench.expect(1)) == [(2, OrderStatus.REFUSED, Reason.DEADLINE)], "it is not kept for longer"
    bench.nothing_more()
    bench.venue = ScriptedVenue(accept, port=bench.venue.port)
    assert statuses(bench.expect(2)) == [OrderStatus.SENT, OrderStatus.LIVE]


def test_plain_http_is_for_loopback_only():
    with pytest.raises(ValueError, match="loopback only"):
        Endpoint("clob.polymarket.com", 80)


def test_an_answer_leaves_its_connection_open_for_the_next_request(start: Start):
    bench = start(accept)
    before = bench.executor.statistics().connects
    for key in range(1, 9):
        bench.submit(bench.place(key))
        bench.expect(2)
    assert bench.executor.statistics().connects == before
    assert len({seen.connection for seen in bench.venue.seen}) == 1
