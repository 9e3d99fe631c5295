"""Cancels, the gate, waiting and the end of the executor, over loopback HTTP."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import orjson
import pytest

from invmm._ext.ring import ResultRing
from invmm.settings import ExecutorSettings
from invmm.types import CommandKind, Mode, OrderStatus, Reason
from tests.e2e.executor_bench import FAST, Bench, Start, accept, begin_benches, statuses, told
from tests.e2e.scripted_venue import Reply, Seen, http


@pytest.fixture
def start() -> Iterator[Start]:
    yield from begin_benches()


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

    settings = ExecutorSettings(
        connections=3, cancel_connections=1, wait="park", unknown_after_ms=5_000, hard_deadline_ms=10_000
    )
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


def test_an_engine_that_falls_silent_loses_them_by_name_as_well(start: Start):
    def script(seen: Seen) -> Reply:
        if seen.path == "/cancel-all":
            return Reply(http(503, b"{}"))
        return accept(seen)

    bench = start(script)
    bench.submit(bench.place(1, 2, 3))
    ids = [r["order_id"].tobytes() for r in bench.expect(6)[:3]]
    bench.submit(bench.cancel(2))
    bench.expect(1)
    bench.executor.words.beat_ns = time.monotonic_ns() - 4 * 10**9
    results = bench.expect(3)
    gone = {r["order_id"].tobytes() for r in results if r["status"] == OrderStatus.CANCELED}
    assert gone == {ids[0], ids[2]}, "what is known to be gone is not named"
    named = [seen for seen in bench.venue.seen if seen.path == "/orders"][-1]  # cancel-all goes beside it
    assert sorted(named.json()) == sorted("0x" + ids[key].hex() for key in (0, 2))


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


def test_the_last_cancel_all_waits_for_a_connection_while_all_are_busy(monkeypatch: pytest.MonkeyPatch):
    answered = threading.Event()

    def script(seen: Seen) -> Reply:
        if seen.path == "/cancel-all":
            return accept(seen)
        return Reply(accept(seen).send, wait=answered)

    bench = Bench(script, replace(FAST, hard_deadline_ms=5000, unknown_after_ms=5000)).start()
    try:
        bench.submit(bench.place(1))
        bench.submit(bench.place(2))
        bench.submit(bench.cancel(1))
        bench.expect(2)
        end = time.monotonic() + 5
        while len(bench.venue.seen) < 3:
            assert time.monotonic() < end
            time.sleep(0.001)

        def broken(now_ns: int) -> None:
            raise RuntimeError("out of order")

        monkeypatch.setattr(bench.executor, "_expire", broken)
        while bench.executor.error is None:
            assert time.monotonic() < end
            time.sleep(0.001)
        answered.set()
        while not any(seen.path == "/cancel-all" for seen in bench.venue.seen):
            assert time.monotonic() < end, "no cancel-all"
            time.sleep(0.001)
    finally:
        answered.set()
        bench.close()


def test_closing_twice_or_before_the_start_is_harmless(start: Start):
    bench = start(accept)
    bench.executor.close()
    bench.executor.close()
    never = Bench(accept)
    never.executor.close()
    never.venue.close()
