"""The parts of the executor that need no socket: words, key table, histograms, requests off the ring."""

from __future__ import annotations

import hashlib

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invmm._ext.keytable import KeyTable
from invmm._ext.l2 import L2Signer
from invmm._ext.ring import CommandRing, ResultRing
from invmm._ext.sign import OrderSigner
from invmm._ext.template import OrderTemplate
from invmm._ext.words import SharedWords
from invmm.clock import LiveClock
from invmm.execution.connections import Endpoint, Lane
from invmm.execution.intake import Intake
from invmm.execution.latency import BUCKETS, Latency, bucket_of, upper_ns
from invmm.execution.pool import Pool
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, CommandFlag, CommandKind, Mode, OrderStatus, Reason

SIGNER = OrderSigner("0x" + "22" * 32)
TOKEN = "123456789"


def order_id(key: int) -> bytes:
    return hashlib.sha256(key.to_bytes(8, "little")).digest()


def test_words_are_published_and_read():
    words = SharedWords(3)
    assert (words.mode, words.beat_ns, words.market_version(2)) == (Mode.RUNNING, 0, 0)
    words.mode = Mode.PAUSED
    words.beat_ns = 123
    words.set_market_version(2, 2**63)
    assert (words.mode, words.beat_ns, words.market_version(2)) == (Mode.PAUSED, 123, 2**63)
    assert words.memory.ctypes.data % 64 == 0
    assert not words.memory.flags.writeable


def test_words_of_unknown_markets_and_modes_are_errors():
    words = SharedWords(2)
    for call in (lambda: words.market_version(2), lambda: words.set_market_version(2, 1)):
        with pytest.raises(IndexError, match="expected below 2"):
            call()
    with pytest.raises(ValueError, match="9"):
        words.mode = 9
    with pytest.raises(ValueError, match="1 to 65536"):
        SharedWords(0)


def test_the_key_table_knows_the_last_keys_and_forgets_the_oldest():
    table = KeyTable()
    total = 100_000
    for key in range(total):
        table.insert(key * 7919, order_id(key))
    for key in range(total - 32_768, total, 37):
        assert table.find(key * 7919) == order_id(key)
    assert table.find(0) is None
    assert table.find(1) is None


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.binary(min_size=32, max_size=32)), max_size=50))
def test_the_key_table_is_a_dictionary(entries: list[tuple[int, bytes]]):
    table, twin = KeyTable(), {}
    for key, value in entries:
        table.insert(key, value)
        twin[key] = value
        assert table.find(key) == value
    assert all(table.find(key) == value for key, value in twin.items())


@given(st.integers(0, 2**39))
def test_a_bucket_holds_what_it_counts(ns: int):
    bucket = bucket_of(ns)
    assert 0 <= bucket < BUCKETS
    assert ns <= upper_ns(bucket) <= max(ns * 1.15, 8)
    assert bucket == 0 or upper_ns(bucket - 1) < ns


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=200), st.sampled_from([50, 90, 99, 100]))
def test_percentiles_are_right_within_a_bucket(values: list[int], percent: int):
    latency = Latency()
    for value in values:
        latency.add(value)
    exact = int(np.percentile(values, percent, method="inverted_cdf"))
    found = latency.percentile(percent)
    assert found is not None
    assert exact <= found <= max(exact * 1.15, 8)
    assert latency.summary()["max"] == max(values)


def test_an_empty_histogram_has_no_percentile():
    assert Latency().percentile(50) is None
    assert Latency().summary() == {"count": 0, "p50": None, "p99": None, "p999": None, "max": None}


class Desk:
    """An intake with its rings and no sockets."""

    def __init__(self) -> None:
        self.ring, self.results, self.words = CommandRing(2048), ResultRing(4096), SharedWords(2)
        self.signer = L2Signer("key", "c2VjcmV0", "pass", SIGNER.address)
        self.intake = Intake(self.ring, self.results, self.words, self.signer, "venue.test", LiveClock())
        self.intake.set_template(0, 0, OrderTemplate(SIGNER, TOKEN, "v2", "key"))

    def push(
        self, kind: CommandKind, *keys: int, batch: int = 1, last: bool = True, **fields: object
    ) -> None:
        legs = np.zeros(len(keys), COMMAND_DTYPE)
        legs["kind"], legs["key"], legs["batch"], legs["salt"] = kind, keys, batch, keys
        legs["price_e4"], legs["size_micro"] = 5000, 10_000_000
        if last:
            legs["flags"][-1] = CommandFlag.LAST
        for name, value in fields.items():
            legs[name] = value
        assert self.ring.push_many(legs) == len(legs)

    def take(self, fd: int = -2) -> int:
        return self.intake.take(0, 0, -1, fd, fd)

    def told(self) -> list[tuple[int, OrderStatus, Reason]]:
        out = np.zeros(4096, EVENT_DTYPE)
        got = self.results.pop_into(out)
        return [(int(r["key"]), OrderStatus(r["status"]), Reason(r["reason"])) for r in out[:got]]


def body_of(request: bytes) -> object:
    head, _, body = request.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")
    return orjson.loads(body) if body else None


def test_a_group_ends_with_the_last_leg_of_its_batch():
    desk = Desk()
    desk.push(CommandKind.PLACE, 1, 2, batch=1)
    desk.push(CommandKind.PLACE, 3, batch=1)
    desk.push(CommandKind.PLACE, 4, batch=2, last=False)
    desk.push(CommandKind.CANCEL, 3, 2)
    desk.push(CommandKind.CANCEL, 1)
    desk.push(CommandKind.CANCEL_ALL, 0)
    groups = []
    while kind := desk.take():
        groups.append((CommandKind(kind), desk.intake.legs_copy()["key"].tolist()))
    assert groups == [
        (CommandKind.PLACE, [1, 2]),
        (CommandKind.PLACE, [3]),
        (CommandKind.PLACE, [4]),
        (CommandKind.CANCEL, [3, 2, 1]),
        (CommandKind.CANCEL_ALL, [0]),
    ]


def test_nothing_on_the_ring_makes_no_request():
    desk = Desk()
    assert desk.take() == 0
    assert not desk.intake.built


def test_a_cancel_takes_at_most_a_thousand_ids():
    desk = Desk()
    desk.push(CommandKind.CANCEL, *range(1500), order_id=b"\x07" * 32)
    assert desk.take() == CommandKind.CANCEL
    ids = body_of(desk.intake.request())
    assert isinstance(ids, list)
    assert ids == ["0x" + "07" * 32] * 1000
    desk.take()
    assert len(body_of(desk.intake.request())) == 500


def test_an_order_whose_key_is_forgotten_is_cancelled_by_the_id_that_the_engine_knows():
    desk = Desk()
    desk.push(CommandKind.CANCEL, 1)
    assert desk.take() == 0
    assert desk.told() == [(1, OrderStatus.NOT_CANCELED, Reason.NOT_WANTED)]
    desk.push(CommandKind.CANCEL, 1, order_id=order_id(1))
    assert desk.take() == CommandKind.CANCEL
    assert body_of(desk.intake.request()) == ["0x" + order_id(1).hex()]


def test_a_request_carries_what_a_server_needs():
    desk = Desk()
    desk.push(CommandKind.PLACE, 1)
    assert desk.take() == CommandKind.PLACE
    request = desk.intake.request()
    lines = request.split(b"\r\n")
    assert lines[0] == b"POST /orders HTTP/1.1"
    names = [line.split(b":")[0] for line in lines[1 : lines.index(b"")]]
    assert names[0] == b"Host"
    assert {b"Content-Type", b"Content-Length", b"POLY_ADDRESS", b"POLY_SIGNATURE", b"POLY_TIMESTAMP"} <= set(
        names
    )
    assert len(names) == len(set(names))
    (entry,) = body_of(request)
    assert entry["order"]["tokenId"] == TOKEN
    assert desk.told() == [(1, OrderStatus.SENT, Reason.NONE)]
    assert desk.intake.order_id(1) == desk.intake.legs_copy()["order_id"][0].tobytes()


def test_a_group_without_a_connection_is_neither_built_nor_announced():
    desk = Desk()
    desk.push(CommandKind.PLACE, 1, 2)
    assert desk.take(fd=-1) == CommandKind.PLACE
    assert not desk.intake.built
    assert desk.told() == []
    legs = desk.intake.legs_copy()
    assert desk.intake.again(legs, -2) == CommandKind.PLACE
    assert desk.intake.built
    assert [status for _, status, _ in desk.told()] == [OrderStatus.SENT] * 2


def test_a_price_between_ticks_is_refused_with_the_rule_and_the_rest_goes():
    desk = Desk()
    desk.push(CommandKind.PLACE, 1, 2, price_e4=[5050, 5000])
    desk.take()
    assert desk.told() == [
        (1, OrderStatus.REFUSED, Reason.VENUE_REJECTED),
        (2, OrderStatus.SENT, Reason.NONE),
    ]
    assert len(body_of(desk.intake.request())) == 1


def test_an_intake_that_stops_refuses_placements_only():
    desk = Desk()
    desk.intake.gate.stopping = True
    desk.push(CommandKind.PLACE, 1)
    assert desk.take() == 0
    assert desk.told() == [(1, OrderStatus.REFUSED, Reason.SHUTDOWN)]
    desk.push(CommandKind.CANCEL, 1, order_id=b"\x01" * 32)
    assert desk.take() == CommandKind.CANCEL
    assert desk.intake.built


def test_a_token_may_be_withdrawn():
    desk = Desk()
    desk.intake.set_template(0, 0, None)
    desk.push(CommandKind.PLACE, 1)
    assert desk.take() == 0
    assert desk.told() == [(1, OrderStatus.REFUSED, Reason.VENUE_NOT_READY)]


def test_bad_arguments_are_errors_that_name_them():
    desk = Desk()
    with pytest.raises(IndexError, match="market, token"):
        desk.intake.set_template(2, 0, None)
    with pytest.raises(TypeError, match="legs"):
        desk.intake.again(np.zeros(1, EVENT_DTYPE), -2)
    with pytest.raises(ValueError, match="legs"):
        desk.intake.again(np.zeros(0, COMMAND_DTYPE), -2)
    with pytest.raises(ValueError, match="host"):
        Intake(desk.ring, desk.results, desk.words, desk.signer, "a\r\nb", LiveClock())
    with pytest.raises(IndexError, match="index"):
        desk.intake.answer(np.zeros(1, COMMAND_DTYPE), 1, OrderStatus.LIVE)


def test_placements_never_use_the_cancel_lane():
    pool = Pool(Endpoint("127.0.0.1", 9), 3, lambda *_: None, cancel_lanes=2, connect_ns=1)
    assert [c.lane for c in pool.connections] == [Lane.CANCEL, Lane.CANCEL, Lane.PLACE]
    assert pool.idle(Lane.PLACE) is None
    pool.close(0)
    with pytest.raises(ValueError, match="cancel_lanes"):
        Pool(Endpoint("127.0.0.1", 9), 3, lambda *_: None, cancel_lanes=3, connect_ns=1)


@pytest.mark.parametrize(
    ("endpoint", "header"),
    [
        (Endpoint("127.0.0.1", 8080), "127.0.0.1:8080"),
        (Endpoint("::1", 8080), "[::1]:8080"),
        (Endpoint("localhost", 80), "localhost:80"),
    ],
)
def test_the_host_line_names_the_port(endpoint: Endpoint, header: str):
    assert endpoint.header == header
