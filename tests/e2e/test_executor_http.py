"""The executor over loopback HTTP, against a venue that answers, refuses, delays, breaks and keeps silent."""

from __future__ import annotations

import queue
import select
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import orjson
import pytest

from invmm._ext.l2 import L2Signer
from invmm._ext.ring import ResultRing
from invmm._ext.sign import OrderSigner, OrderTemplate
from invmm.clock import LiveClock
from invmm.execution.connections import Endpoint
from invmm.execution.executor import Executor
from invmm.settings import ExecutorSettings
from invmm.types import (
    COMMAND_DTYPE,
    EVENT_DTYPE,
    CommandFlag,
    CommandKind,
    Mode,
    OrderStatus,
    Reason,
    Side,
)
from tests.e2e.scripted_venue import SECRET, Reply, ScriptedVenue, Seen, http

SIGNER = OrderSigner("0x" + "11" * 32)
TOKENS = ("1234567890123456789", "9876543210987654321")
FAST = ExecutorSettings(
    ring_capacity=256,
    connections=3,
    wait="park",
    connect_timeout_ms=1000,
    unknown_after_ms=150,
    hard_deadline_ms=500,
)


class Bench:
    """An executor against a scripted venue, and the results it gave so far."""

    def __init__(
        self, script: Callable[[Seen], Reply], settings: ExecutorSettings = FAST, **options: object
    ) -> None:
        self.venue = ScriptedVenue(script)
        self.clock = LiveClock()
        self.executor = Executor(
            Endpoint("127.0.0.1", self.venue.port),
            L2Signer("key", SECRET, "pass", SIGNER.address),
            self.clock,
            settings,
            **options,
        )
        for token, token_id in enumerate(TOKENS):
            self.executor.set_template(0, token, OrderTemplate(SIGNER, token_id, "v2", "key"))
        self.results: list[np.void] = []
        self.batch = 0

    def start(self) -> Bench:
        self.executor.start()
        assert self.executor.wait_warm()
        return self

    def close(self) -> None:
        self.executor.close(2.0)
        self.venue.close()

    def place(self, *keys: int, **fields: object) -> np.ndarray:
        """Commands of one batch, last leg marked."""
        self.batch += 1
        legs = np.zeros(len(keys), COMMAND_DTYPE)
        legs["kind"], legs["key"], legs["batch"] = CommandKind.PLACE, keys, self.batch
        legs["side"], legs["price_e4"], legs["size_micro"] = Side.BUY, 4800, 10_000_000
        legs["salt"] = np.array(keys) + 1000
        legs["flags"][-1] = CommandFlag.LAST
        for name, value in fields.items():
            legs[name] = value
        return legs

    def cancel(self, *keys: int) -> np.ndarray:
        legs = self.place(*keys)
        legs["kind"] = CommandKind.CANCEL
        return legs

    def submit(self, commands: np.ndarray) -> None:
        assert self.executor.submit(commands, self.clock.now_ns()) == len(commands)

    def expect(self, count: int, timeout_s: float = 5.0) -> list[np.void]:
        """The next `count` results."""
        end = time.monotonic() + timeout_s
        out = np.zeros(64, EVENT_DTYPE)
        while len(self.results) < count:
            got = self.executor.poll(0, out)
            self.results += [out[i].copy() for i in range(got)]
            assert time.monotonic() < end, f"{len(self.results)} of {count} results, {self.executor.error!r}"
            if not got:
                time.sleep(0.0005)
        taken, self.results = self.results[:count], self.results[count:]
        return taken

    def nothing_more(self, for_s: float = 0.05) -> None:
        time.sleep(for_s)
        out = np.zeros(64, EVENT_DTYPE)
        assert self.results == []
        assert self.executor.poll(0, out) == 0


Start = Callable[..., Bench]


@pytest.fixture
def start() -> Iterator[Start]:
    made: list[Bench] = []

    def begin(script: Callable[[Seen], Reply], settings: ExecutorSettings = FAST, **options: object) -> Bench:
        made.append(Bench(script, settings, **options))
        return made[-1].start()

    yield begin
    for bench in made:
        bench.close()
        assert bench.executor.error is None


def told(results: list[np.void]) -> list[tuple[int, OrderStatus, Reason]]:
    return [(int(r["key"]), OrderStatus(r["status"]), Reason(r["reason"])) for r in results]


def statuses(results: list[np.void]) -> list[OrderStatus]:
    return [OrderStatus(r["status"]) for r in results]


def ids_of(seen: Seen) -> list[str]:
    """Ids of the orders in a request, computed again from its body."""
    order_ids = []
    for entry in seen.json():
        order = entry["order"]
        is_buy = order["side"] == "BUY"
        shares = int(order["takerAmount"] if is_buy else order["makerAmount"])
        dollars = int(order["makerAmount"] if is_buy else order["takerAmount"])
        signed = SIGNER.sign(
            order["tokenId"],
            order["side"],
            dollars * 10_000 // shares,
            shares,
            tick_e4=100,
            order_type=entry["orderType"],
            post_only=entry["postOnly"],
            timestamp_ms=int(order["timestamp"]),
            salt=int(order["salt"]),
        )
        assert signed.signature == order["signature"]
        order_ids.append(signed.order_id)
    return order_ids


def answer(order_id: str, status: str = "live", error: str = "") -> dict[str, object]:
    return {
        "success": True,
        "errorMsg": error,
        "orderID": order_id,
        "status": status,
        "makingAmount": "",
        "takingAmount": "",
    }


def accept(seen: Seen) -> Reply:
    if seen.method == "POST":
        return Reply(http(200, orjson.dumps([answer(order_id) for order_id in ids_of(seen)])))
    gone = seen.json() if seen.body else []
    return Reply(http(200, orjson.dumps({"canceled": gone, "not_canceled": {}})))


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


def test_cancels_go_together_and_are_answered_one_by_one(start: Start):
    def script(seen: Seen) -> Reply:
        if seen.method == "POST":
            return accept(seen)
        ids = seen.json()
        return Reply(
            http(200, orjson.dumps({"canceled": ids[:1], "not_canceled": {ids[1]: "Order already matched"}}))
        )

    bench = start(script)
    bench.submit(bench.place(1, 2, 3))
    bench.expect(6)
    bench.submit(bench.cancel(1, 2, 3))
    results = bench.expect(3)
    assert told(results) == [
        (1, OrderStatus.CANCELED, Reason.NONE),
        (2, OrderStatus.NOT_CANCELED, Reason.TRANSPORT),
        (3, OrderStatus.NOT_CANCELED, Reason.TRANSPORT),
    ]
    seen = bench.venue.seen[1]
    assert (seen.method, seen.path, len(seen.json())) == ("DELETE", "/orders", 3)
    assert seen.is_signed()


def test_an_order_of_a_former_life_is_cancelled_by_the_id_in_the_command(start: Start):
    bench = start(accept)
    cancel = bench.cancel(77)
    cancel["order_id"] = bytes.fromhex("ab" * 32)
    bench.submit(cancel)
    assert told(bench.expect(1)) == [(77, OrderStatus.CANCELED, Reason.NONE)]
    assert bench.venue.seen[0].json() == ["0x" + "ab" * 32]


def test_a_cancel_of_an_order_that_has_no_id_proves_nothing(start: Start):
    bench = start(accept)
    bench.submit(bench.cancel(5))
    assert told(bench.expect(1)) == [(5, OrderStatus.NOT_CANCELED, Reason.NOT_WANTED)]
    assert bench.venue.seen == []


def test_cancel_all_names_what_is_gone_and_then_itself(start: Start):
    gone = ["0x" + "cd" * 32, "0x" + "ef" * 32]
    bench = start(lambda seen: Reply(http(200, orjson.dumps({"canceled": gone, "not_canceled": {}}))))
    command = bench.place(0, kind=CommandKind.CANCEL_ALL)
    bench.submit(command)
    results = bench.expect(3)
    assert statuses(results) == [OrderStatus.CANCELED] * 3
    assert [r["order_id"].tobytes().hex()[:2] for r in results] == ["cd", "ef", "00"]
    seen = bench.venue.seen[0]
    assert (seen.method, seen.path, seen.body) == ("DELETE", "/cancel-all", b"")
    assert seen.is_signed()


def test_a_cancel_does_not_wait_behind_placements(start: Start):
    hold = threading.Event()
    held = threading.Semaphore(0)

    def script(seen: Seen) -> Reply:
        if seen.method == "POST":
            held.release()
            return Reply(accept(seen).send, wait=hold)
        return accept(seen)

    settings = ExecutorSettings(connections=3, wait="park", unknown_after_ms=5_000, hard_deadline_ms=10_000)
    bench = start(script, settings)
    for key in (1, 2, 3):  # two connections for placements, so the third waits
        bench.submit(bench.place(key))
    for _ in range(2):
        assert held.acquire(timeout=5)
    assert statuses(bench.expect(2)) == [OrderStatus.SENT] * 2
    bench.submit(bench.cancel(1))
    assert told(bench.expect(1)) == [(1, OrderStatus.CANCELED, Reason.NONE)]
    bench.submit(bench.cancel(3))
    answers = told(bench.expect(2))
    assert (3, OrderStatus.REFUSED, Reason.NOT_WANTED) in answers, "it was never sent"
    hold.set()
    assert sorted(statuses(bench.expect(2))) == [OrderStatus.LIVE] * 2
    assert sum(seen.method == "POST" for seen in bench.venue.seen) == 2


def test_a_placement_that_waited_is_gated_again(start: Start):
    hold = threading.Event()
    bench = start(
        lambda seen: Reply(accept(seen).send, wait=hold), ExecutorSettings(connections=2, wait="park")
    )
    bench.submit(bench.place(1))
    assert statuses(bench.expect(1)) == [OrderStatus.SENT]
    bench.submit(bench.place(2, market_version=4))
    bench.nothing_more()
    bench.executor.words.set_market_version(0, 5)
    hold.set()
    results = told(bench.expect(2))
    assert sorted(results) == [(1, OrderStatus.LIVE, Reason.NONE), (2, OrderStatus.REFUSED, Reason.STALE)]


def test_the_gate_refuses_with_a_reason_and_lets_the_rest_of_the_batch_go(start: Start):
    bench = start(accept)
    bench.executor.words.set_market_version(0, 7)
    legs = bench.place(1, 2, 3, 4, 5, 5, market_version=7)
    legs["market_version"][0] = 6
    legs["deadline_ns"][1] = bench.clock.now_ns() - 1
    legs["deadline_ns"][2] = bench.clock.now_ns() + 10**10
    legs["market"][3] = 3
    bench.submit(legs)
    results = told(bench.expect(8))
    assert set(results) == {
        (1, OrderStatus.REFUSED, Reason.STALE),
        (2, OrderStatus.REFUSED, Reason.DEADLINE),
        (4, OrderStatus.REFUSED, Reason.VENUE_NOT_READY),
        (5, OrderStatus.REFUSED, Reason.IN_FLIGHT),
        (3, OrderStatus.SENT, Reason.NONE),
        (5, OrderStatus.SENT, Reason.NONE),
        (3, OrderStatus.LIVE, Reason.NONE),
        (5, OrderStatus.LIVE, Reason.NONE),
    }
    bench.submit(bench.place(3, market_version=7))
    assert told(bench.expect(1)) == [(3, OrderStatus.REFUSED, Reason.IN_FLIGHT)]


def test_an_order_that_breaks_a_rule_is_not_sent(start: Start):
    bench = start(accept)
    legs = bench.place(1, 2)
    legs["price_e4"][0] = 4850  # the tick is a cent
    bench.submit(legs)
    results = bench.expect(3)
    assert told(results)[0] == (1, OrderStatus.REFUSED, Reason.VENUE_REJECTED)
    assert results[0]["code"] < 0
    assert statuses(results)[1:] == [OrderStatus.SENT, OrderStatus.LIVE]


@pytest.mark.parametrize("mode", [Mode.PAUSED, Mode.STOPPED])
def test_a_mode_other_than_running_stops_placements_but_no_cancels(start: Start, mode: Mode):
    bench = start(accept)
    bench.submit(bench.place(1))
    bench.expect(2)
    bench.executor.words.mode = mode
    bench.submit(bench.place(2))
    assert told(bench.expect(1)) == [(2, OrderStatus.REFUSED, Reason.MODE)]
    bench.submit(bench.cancel(1))
    assert told(bench.expect(1)) == [(1, OrderStatus.CANCELED, Reason.NONE)]


def test_an_engine_that_falls_silent_loses_its_orders(start: Start):
    bench = start(accept)
    bench.executor.words.beat_ns = time.monotonic_ns() - 4 * 10**9
    assert statuses(bench.expect(1)) == [OrderStatus.CANCELED]
    assert bench.venue.seen[0].path == "/cancel-all"
    bench.submit(bench.place(1))
    assert told(bench.expect(1)) == [(1, OrderStatus.REFUSED, Reason.SHUTDOWN)]
    bench.executor.words.beat_ns = time.monotonic_ns()
    end = time.monotonic() + 5
    key = 2
    while True:
        bench.submit(bench.place(key))
        first = statuses(bench.expect(1))[0]
        if first == OrderStatus.SENT:
            break
        assert time.monotonic() < end
        key += 1


def test_close_waits_for_the_answers_in_flight(start: Start):
    hold = threading.Event()
    bench = start(lambda seen: Reply(accept(seen).send, wait=hold))
    bench.submit(bench.place(1))
    assert statuses(bench.expect(1)) == [OrderStatus.SENT]
    threading.Timer(0.05, hold.set).start()
    bench.executor.close(3.0)
    assert statuses(bench.expect(1)) == [OrderStatus.LIVE]
    assert not bench.executor.commands.try_push(bench.place(2)) or len(bench.executor.commands) == 1


def test_close_ends_in_time_and_says_unknown(start: Start):
    hold = threading.Event()
    settings = ExecutorSettings(connections=2, wait="park", unknown_after_ms=10_000, hard_deadline_ms=20_000)
    bench = start(lambda seen: Reply(wait=hold, close=True), settings)
    bench.submit(bench.place(1))
    assert statuses(bench.expect(1)) == [OrderStatus.SENT]
    began = time.monotonic()
    bench.executor.close(0.2)
    assert time.monotonic() - began < 2
    assert told(bench.expect(1)) == [(1, OrderStatus.UNKNOWN, Reason.TRANSPORT)]
    hold.set()


def test_results_that_find_no_room_wait_and_keep_their_order(start: Start):
    bench = start(accept, results=ResultRing(4))
    bench.submit(bench.place(1, 2))
    time.sleep(0.1)
    bench.submit(bench.place(3))
    bench.submit(bench.cancel(1))
    time.sleep(0.05)
    results = bench.expect(6)
    assert [int(r["sequence"]) for r in results] == [1, 2, 3, 4, 5, 6]
    assert told(results[4:]) == [
        (3, OrderStatus.REFUSED, Reason.RING_FULL),
        (1, OrderStatus.CANCELED, Reason.NONE),
    ]
    bench.submit(bench.place(4, 5, 6))
    refused = told(bench.expect(3))
    assert {reason for _, _, reason in refused} == {Reason.RING_FULL}, "what cannot be reported is not sent"


@pytest.mark.parametrize("wait", ["spin", "spin-park", "park"])
def test_every_way_of_waiting_works(start: Start, wait: str):
    bench = start(accept, ExecutorSettings(connections=2, wait=wait))
    for key in range(1, 20):
        bench.submit(bench.place(key))
        assert statuses(bench.expect(2)) == [OrderStatus.SENT, OrderStatus.LIVE]
    statistics = bench.executor.statistics()
    assert statistics.requests["place"] == 19
    assert statistics.latency_ns["pop_to_write"]["count"] == 19
    assert statistics.unknown == 0


def test_the_engine_loop_is_woken_when_it_asked(start: Start):
    bench = start(accept)
    assert bench.executor.results.arm()
    bench.submit(bench.place(1))
    assert select.select([bench.executor.results.eventfd], [], [], 5)[0]
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
    bench.nothing_more()
    bench.venue = ScriptedVenue(accept, port=bench.venue.port)
    results = told(bench.expect(3))
    assert (2, OrderStatus.REFUSED, Reason.DEADLINE) in results
    assert [status for key, status, _ in results if key == 1] == [OrderStatus.SENT, OrderStatus.LIVE]


def test_plain_http_is_for_loopback_only():
    with pytest.raises(ValueError, match="loopback only"):
        Endpoint("clob.polymarket.com", 80)


def test_a_thread_that_fails_stops_quoting_cancels_and_keeps_the_error(monkeypatch: pytest.MonkeyPatch):
    bench = Bench(accept).start()
    try:
        bench.submit(bench.place(1))
        bench.expect(2)

        def broken(now_ns: int) -> None:
            raise RuntimeError("out of order")

        monkeypatch.setattr(bench.executor, "_expire", broken)
        end = time.monotonic() + 5
        while bench.executor.error is None or bench.executor.words.mode != Mode.STOPPED:
            assert time.monotonic() < end
            time.sleep(0.001)
        assert "out of order" in str(bench.executor.error)
        assert statuses(bench.expect(1)) == [OrderStatus.CANCELED]
        assert bench.venue.seen[-1].path == "/cancel-all"
    finally:
        bench.close()


def test_closing_twice_or_before_the_start_is_harmless(start: Start):
    bench = start(accept)
    bench.executor.close()
    bench.executor.close()
    never = Bench(accept)
    never.executor.close()
    never.venue.close()
