"""The executor and a venue with moods: rates, modes, refusals for good, heartbeats, the same bytes again."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import orjson
import pytest

from invmm.execution.throttle import Lane
from invmm.types import CommandFlag, CommandKind, OrderStatus, Reason, VenueMode
from invmm.venue.limits import Limits, Tier, Window
from tests.e2e.executor_bench import FAST, Bench, Start, accept, answer, begin_benches, statuses, told
from tests.e2e.scripted_venue import Reply, Seen, http

CANCEL_ONLY = (
    b'{"error":"Trading is currently cancel-only. New orders are not accepted, but cancels are allowed."}'
)
DISABLED = b'{"error":"Trading is currently disabled. Check polymarket.com for updates"}'
POST_ONLY = orjson.dumps(
    {
        "error": "post-only mode: only post-only orders and cancels are allowed",
        "code": "post_only_mode",
        "retry_after_seconds": 1,
    }
)
MAKER = CommandFlag.LAST | CommandFlag.POST_ONLY


@pytest.fixture
def start() -> Iterator[Start]:
    yield from begin_benches()


def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def mode(bench: Bench) -> VenueMode:
    return VenueMode(bench.executor.words.venue_mode)


# ── rates ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_exceeds_the_rate_is_refused_and_the_rest_of_the_batch_goes(start: Start):
    bench = start(accept, limits=Limits(tiers={"standard": Tier(0, 1, 60, 80, 120)}))
    for first in (1, 16, 31, 46):  # a burst of sixty, of which a tenth is left
        bench.submit(bench.place(*range(first, first + 15)))
    results = told(bench.expect(114, 10))
    refused = [row for row in results if row[1] == OrderStatus.REFUSED]
    assert refused == [(key, OrderStatus.REFUSED, Reason.THROTTLED) for key in range(55, 61)]
    bench.submit(bench.cancel(1, 2, 3))
    assert statuses(bench.expect(3)) == [OrderStatus.CANCELED] * 3, "cancels have a rate of their own"


def test_cancels_beyond_their_rate_wait_and_none_is_lost(start: Start):
    bench = start(accept, limits=Limits())
    began = time.monotonic()
    cancels = bench.cancel(*range(1, 201))
    cancels["order_id"] = np.array([bytes([1 + k % 250]) * 32 for k in range(200)], "V32")
    bench.submit(cancels)
    results = bench.expect(200, 10)
    assert {status for _, status, _ in told(results)} == {OrderStatus.CANCELED}
    assert sorted(key for key, _, _ in told(results)) == list(range(1, 201))
    assert time.monotonic() - began >= 0.9, "a hundred and eight at once, then eighty a second"
    assert max(len(seen.json()) for seen in bench.venue.seen) <= 108


def test_too_many_requests_leave_orders_unknown_and_stop_new_ones_for_as_long_as_asked(start: Start):
    def script(seen: Seen) -> Reply:
        if seen.method == "POST" and len(bench.venue.seen) == 1:
            return Reply(http(429, b'{"error":"Too Many Requests"}', extra="Retry-After: 1\r\n"))
        return accept(seen)

    bench = start(script, limits=Limits())
    bench.submit(bench.place(1))
    assert told(bench.expect(2))[1] == (1, OrderStatus.UNKNOWN, Reason.THROTTLED)
    bench.submit(bench.place(2))
    assert told(bench.expect(1)) == [(2, OrderStatus.REFUSED, Reason.THROTTLED)]
    bench.submit(bench.cancel(1))
    assert statuses(bench.expect(1)) == [OrderStatus.CANCELED]
    time.sleep(1.05)
    bench.submit(bench.place(3))
    assert statuses(bench.expect(2)) == [OrderStatus.SENT, OrderStatus.LIVE]
    assert bench.executor.follow.throttle is not None
    assert bench.executor.follow.throttle.share(Lane.PLACE) < 1
    assert bench.executor.statistics().throttle["warnings"] == 1


def test_the_rate_headers_of_an_answer_are_read(start: Start):
    def script(seen: Seen) -> Reply:
        reply = accept(seen)
        head, _, body = reply.send.partition(b"\r\n\r\n")
        head += b"\r\nPoly-RateLimit-Remaining: 2\r\nPoly-RateLimit-Tier: Gold"
        return Reply(head + b"\r\n\r\n" + body)

    bench = start(script, limits=Limits(windows={}))
    bench.submit(bench.place(1))
    assert statuses(bench.expect(2)) == [OrderStatus.SENT, OrderStatus.LIVE]
    statistics = bench.executor.statistics()
    assert statistics.throttle["tier"] == "gold"
    pace = bench.executor.intake.gate.pace
    assert pace is not None
    assert pace.left(0, bench.clock.now_ns()) < 600


def test_a_window_of_the_endpoint_holds_whatever_the_tier(start: Start):
    bench = start(accept, limits=Limits(tier="elite", windows={"POST /orders": (Window(2, 600),)}))
    for key in (1, 2, 3):
        bench.submit(bench.place(key))
    results = told(bench.expect(5))
    assert (3, OrderStatus.REFUSED, Reason.THROTTLED) in results


# ── modes ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_restart_stops_placements_repeats_cancels_and_ends_by_itself(start: Start):
    phase = {"code": 425}

    def script(seen: Seen) -> Reply:
        if phase["code"] == 425:
            return Reply(http(425, b"service not ready", "text/plain"))
        return accept(seen)

    bench = start(script)
    bench.submit(bench.place(1))
    assert told(bench.expect(2))[1] == (1, OrderStatus.UNKNOWN, Reason.VENUE_MODE)
    assert mode(bench) is VenueMode.RESTARTING
    bench.submit(bench.place(2, flags=MAKER))
    assert told(bench.expect(1)) == [(2, OrderStatus.REFUSED, Reason.VENUE_MODE)]
    bench.submit(bench.cancel(1))
    bench.nothing_more(0.2)
    until(lambda: len(bench.venue.seen) >= 2)
    assert bench.venue.seen[1].method == "DELETE"
    assert told(bench.expect(1)) == [(1, OrderStatus.NOT_CANCELED, Reason.VENUE_MODE)]
    bench.submit(bench.cancel(1))
    phase["code"] = 200
    assert told(bench.expect(1)) == [(1, OrderStatus.CANCELED, Reason.NONE)]
    assert mode(bench) is VenueMode.POST_ONLY
    bench.submit(bench.place(3))
    assert told(bench.expect(1)) == [(3, OrderStatus.REFUSED, Reason.VENUE_MODE)]
    bench.submit(bench.place(4, flags=MAKER))
    assert statuses(bench.expect(2)) == [OrderStatus.SENT, OrderStatus.LIVE]
    assert [alarm.text for alarm in bench.executor.alarms()] == [
        "the venue is RESTARTING",
        "the venue is POST_ONLY",
    ]


def test_without_anything_to_cancel_a_question_about_nobodys_order_is_asked(start: Start):
    phase = {"deaf": True}

    def script(seen: Seen) -> Reply:
        if phase["deaf"]:
            return Reply(http(503, DISABLED))
        if seen.method == "DELETE":
            (order_id,) = seen.json()
            return Reply(
                http(200, orjson.dumps({"canceled": [], "not_canceled": {order_id: "Order not found"}}))
            )
        return accept(seen)

    bench = start(script)
    bench.submit(bench.place(1))
    bench.expect(2)
    assert mode(bench) is VenueMode.HALTED
    until(lambda: len(bench.venue.seen) >= 2)
    seen = bench.venue.seen[1]
    assert (seen.method, seen.path, seen.json()) == ("DELETE", "/orders", ["0x" + "0" * 64])
    assert seen.is_signed()
    phase["deaf"] = False
    until(lambda: mode(bench) is VenueMode.CANCEL_ONLY)
    bench.nothing_more()
    assert bench.executor.statistics().requests["probe"] >= 2

    keys = itertools.count(100)

    def is_sent() -> bool:
        bench.submit(bench.place(next(keys)))
        return statuses(bench.expect(1)) == [OrderStatus.SENT]

    until(is_sent)
    assert statuses(bench.expect(1)) == [OrderStatus.LIVE], "one leg was let through to find out"
    assert mode(bench) is VenueMode.RUNNING


def test_a_trial_in_cancel_only_is_one_leg(start: Start):
    def script(seen: Seen) -> Reply:
        return Reply(http(503, CANCEL_ONLY)) if seen.method == "POST" else accept(seen)

    bench = start(script)
    bench.submit(bench.place(1))
    bench.expect(2)
    assert mode(bench) is VenueMode.CANCEL_ONLY
    bench.submit(bench.cancel(1))
    assert statuses(bench.expect(1)) == [OrderStatus.CANCELED]
    time.sleep(1.1)
    bench.submit(bench.place(2, 3, 4))
    assert sorted(told(bench.expect(4))) == [
        (2, OrderStatus.SENT, Reason.NONE),
        (2, OrderStatus.UNKNOWN, Reason.VENUE_MODE),
        (3, OrderStatus.REFUSED, Reason.VENUE_MODE),
        (4, OrderStatus.REFUSED, Reason.VENUE_MODE),
    ]


def test_post_only_lasts_as_long_as_the_venue_says(start: Start):
    def script(seen: Seen) -> Reply:
        return Reply(http(503, POST_ONLY)) if len(bench.venue.seen) == 1 else accept(seen)

    bench = start(script)
    bench.submit(bench.place(1))
    assert told(bench.expect(2))[1] == (1, OrderStatus.UNKNOWN, Reason.VENUE_MODE)
    assert mode(bench) is VenueMode.POST_ONLY
    until(lambda: mode(bench) is VenueMode.RUNNING)
    bench.submit(bench.place(2))
    assert statuses(bench.expect(2)) == [OrderStatus.SENT, OrderStatus.LIVE]


# ── refusals for good ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("reply", "verdict", "reason"),
    [
        (http(401, b'{"error":"Unauthorized/Invalid api key"}'), OrderStatus.UNKNOWN, Reason.UNAUTHORIZED),
        (
            http(403, b'{"error":"Trading restricted in your region, please refer to available regions"}'),
            OrderStatus.UNKNOWN,
            Reason.GEOBLOCKED,
        ),
        (http(403, b"<html>Attention Required!</html>", "text/html"), OrderStatus.UNKNOWN, Reason.GEOBLOCKED),
        (http(403, b'{"error":"forbidden"}'), OrderStatus.UNKNOWN, Reason.UNAUTHORIZED),
        (http(400, b'{"error":"order_version_mismatch"}'), OrderStatus.REJECTED, Reason.VENUE_VERSION),
    ],
    ids=["401", "403 region", "403 edge", "403", "version"],
)
def test_some_answers_stop_new_orders_until_somebody_looks(
    start: Start, reply: bytes, verdict: OrderStatus, reason: Reason
):
    bench = start(lambda seen: Reply(reply) if seen.method == "POST" else accept(seen))
    bench.submit(bench.place(1))
    assert told(bench.expect(2))[1] == (1, verdict, reason)
    bench.submit(bench.place(2))
    assert told(bench.expect(1)) == [(2, OrderStatus.REFUSED, reason)]
    assert bench.executor.words.venue_stop == reason
    (alarm,) = bench.executor.alarms()
    assert alarm.reason is reason
    assert "new orders stop" in alarm.text
    bench.submit(bench.cancel(1))
    assert statuses(bench.expect(1)) == [OrderStatus.CANCELED], "cancels always stay possible"
    bench.executor.words.venue_stop = Reason.NONE
    bench.submit(bench.place(3))
    assert statuses(bench.expect(2))[0] == OrderStatus.SENT


# ── the same bytes again ────────────────────────────────────────────────────────────────────────────────────


def resend(bench: Bench, key: int, **fields: object) -> None:
    command = bench.place(key, **fields)
    command["kind"] = CommandKind.RESEND
    bench.submit(command)


def test_an_unknown_order_is_sent_again_byte_for_byte(start: Start):
    def script(seen: Seen) -> Reply:
        if len(bench.venue.seen) == 1:
            return Reply(close=True)
        return Reply(http(200, orjson.dumps([answer("0x" + order_ids[2])])))

    order_ids: dict[int, str] = {}
    bench = start(script)
    bench.submit(bench.place(1, 2, 3))
    order_ids |= {int(r["key"]): r["order_id"].tobytes().hex() for r in bench.expect(6)}
    resend(bench, 2)
    (result,) = bench.expect(1)
    assert told([result]) == [(2, OrderStatus.LIVE, Reason.NONE)]
    assert result["order_id"].tobytes().hex() == order_ids[2]
    first, second = bench.venue.seen
    assert second.is_signed()
    assert second.body.startswith(b'[{"order":{')
    assert second.body[1:-1] in first.body
    assert len(second.json()) == 1
    assert bench.executor.statistics().requests["resend"] == 1


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        ("order 0x… is invalid. Duplicated.", OrderStatus.UNKNOWN, Reason.IN_FLIGHT),
        ("not enough balance / allowance", OrderStatus.COPY_REFUSED, Reason.VENUE_BALANCE),
    ],
)
def test_a_copy_that_is_refused_is_told_as_such(
    start: Start, error: str, status: OrderStatus, reason: Reason
):
    def script(seen: Seen) -> Reply:
        if len(bench.venue.seen) == 1:
            return Reply(close=True)
        return Reply(http(400, orjson.dumps({"error": error})))

    bench = start(script)
    bench.submit(bench.place(1))
    bench.expect(2)
    resend(bench, 1)
    assert told(bench.expect(1)) == [(1, status, reason)]


def test_what_is_too_old_or_forbidden_now_is_not_sent_again(start: Start):
    bench = start(lambda seen: Reply(close=True))
    resend(bench, 99)
    assert told(bench.expect(1)) == [(99, OrderStatus.UNKNOWN, Reason.DEADLINE)], "never heard of it"
    bench.submit(bench.place(1))
    bench.expect(2)
    resend(bench, 1, deadline_ns=1)
    assert told(bench.expect(1)) == [(1, OrderStatus.UNKNOWN, Reason.DEADLINE)]
    bench.executor.words.venue_stop = Reason.UNAUTHORIZED
    resend(bench, 1)
    assert told(bench.expect(1)) == [(1, OrderStatus.UNKNOWN, Reason.UNAUTHORIZED)]
    bench.executor.words.venue_stop = Reason.NONE
    time.sleep(2.1)
    resend(bench, 1)
    assert told(bench.expect(1)) == [(1, OrderStatus.UNKNOWN, Reason.DEADLINE)]
    assert len(bench.venue.seen) == 1


# ── heartbeats ──────────────────────────────────────────────────────────────────────────────────────────────

BEATING = replace(FAST, heartbeat="on")
QUICK = Limits(heartbeat_period_s=0.2, heartbeat_window_s=0.4)


class Switch:
    """The venue's end of the chain."""

    def __init__(self) -> None:
        self.expected = ""
        self.heard = 0
        self.answers = True
        self.fails = False

    def __call__(self, seen: Seen) -> Reply:
        if seen.path != "/v1/heartbeats":
            return accept(seen)
        assert seen.is_signed()
        if not self.answers:
            return Reply()
        if self.fails:
            return Reply(http(500, b"{}"))
        told_id = seen.json()["heartbeat_id"]
        if told_id != self.expected:
            text = {"error_msg": "Invalid Heartbeat ID", "heartbeat_id": self.expected}
            return Reply(http(400, orjson.dumps(text)))
        self.heard += 1
        self.expected = f"beat-{self.heard}"
        return Reply(http(200, orjson.dumps({"heartbeat_id": self.expected})))


def beat(bench: Bench) -> None:
    bench.executor.words.beat_ns = time.monotonic_ns()


def test_heartbeats_follow_each_other_while_the_engine_lives(start: Start):
    switch = Switch()
    bench = start(switch, BEATING, limits=QUICK)
    bench.submit(bench.place(1))
    assert told(bench.expect(1)) == [(1, OrderStatus.REFUSED, Reason.HEARTBEAT)], "nobody vouches for it yet"
    assert not bench.executor.words.heartbeat_ok
    assert switch.heard == 0
    beat(bench)
    until(lambda: switch.heard >= 3)
    until(lambda: bench.executor.words.heartbeat_ok)
    bench.submit(bench.place(2))
    assert statuses(bench.expect(2)) == [OrderStatus.SENT, OrderStatus.LIVE]
    switch.expected = "another chain"
    heard = switch.heard
    until(lambda: switch.heard > heard)
    assert bench.executor.words.heartbeat_ok
    bench.executor.words.beat_ns = time.monotonic_ns() - 2_990_000_000
    until(lambda: not bench.executor.words.heartbeat_ok)
    heard = switch.heard
    time.sleep(0.5)
    assert switch.heard == heard, "an engine that does not beat is not vouched for"


def test_a_sick_heartbeat_stops_new_orders_and_no_cancels(start: Start):
    switch = Switch()
    bench = start(switch, BEATING, limits=QUICK)
    beat(bench)
    until(lambda: bench.executor.words.heartbeat_ok)
    bench.submit(bench.place(1))
    bench.expect(2)
    switch.answers = False
    until(lambda: bench.executor.words.missed_heartbeats >= 2)
    beat(bench)
    bench.submit(bench.place(2))
    assert told(bench.expect(1)) == [(2, OrderStatus.REFUSED, Reason.HEARTBEAT)]
    began = time.monotonic()
    bench.submit(bench.cancel(1))
    assert statuses(bench.expect(1)) == [OrderStatus.CANCELED]
    assert time.monotonic() - began < 2
    switch.answers = True
    until(lambda: bool(bench.executor.words.heartbeat_ok))
    bench.submit(bench.place(3))
    assert statuses(bench.expect(2)) == [OrderStatus.SENT, OrderStatus.LIVE]


def test_a_failed_heartbeat_is_tried_again_after_a_second(start: Start):
    switch = Switch()
    bench = start(switch, BEATING, limits=Limits())
    beat(bench)
    until(lambda: bench.executor.words.heartbeat_ok)
    assert bench.executor.statistics().missed_heartbeats == 0
    bench.executor.follow.heartbeat.due_ns = 0
    switch.fails = True
    until(lambda: bench.executor.words.missed_heartbeats == 1)
    switch.fails = False
    until(lambda: bool(bench.executor.words.heartbeat_ok), 3)
    assert any("heartbeat" in alarm.text for alarm in bench.executor.alarms())


def test_heartbeats_leave_time_to_rehearse(start: Start):
    bench = start(Switch(), replace(BEATING, rehearse_ms=5), limits=Limits())
    beat(bench)
    until(lambda: bench.executor.words.heartbeat_ok)
    before = bench.executor.intake.rehearsals
    until(lambda: bench.executor.intake.rehearsals >= before + 5)


def test_without_the_switch_nothing_is_armed(start: Start):
    bench = start(accept, limits=QUICK)
    beat(bench)
    time.sleep(0.5)
    assert bench.venue.seen == []
    assert bench.executor.words.heartbeat_ok
    bench.submit(bench.place(1))
    assert statuses(bench.expect(2)) == [OrderStatus.SENT, OrderStatus.LIVE]
