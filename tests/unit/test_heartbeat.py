"""The chain of heartbeats, on a clock that the test moves."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invmm.execution.heartbeat import Heartbeat
from invmm.venue.limits import Limits

SECOND_NS = 1_000_000_000


class Chain:
    def __init__(self) -> None:
        self.beats = Heartbeat(Limits())
        self.now_ns = 1_000 * SECOND_NS

    def tick(self, lives: bool = True) -> bool:
        return self.beats.tick(self.now_ns, lives)

    def send(self) -> str:
        assert self.tick()
        return str(orjson.loads(self.beats.begun(self.now_ns))["heartbeat_id"])

    def answer(self, code: int, **document: object) -> int:
        self.beats.answered(code, orjson.dumps(document), self.now_ns)
        return self.beats.missed

    def wait(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND_NS)


def test_each_heartbeat_carries_the_id_of_the_one_before():
    chain = Chain()
    assert chain.beats.missed == 1, "before the first one nothing is vouched for"
    assert chain.send() == ""
    assert not chain.tick(), "one at a time"
    assert chain.answer(200, heartbeat_id="a") == 0
    assert chain.beats.wait_ns(chain.now_ns) == 5 * SECOND_NS
    chain.wait(4.9)
    assert not chain.tick()
    chain.wait(0.1)
    assert chain.send() == "a"
    chain.answer(200, heartbeat_id="b")
    chain.wait(5)
    assert chain.send() == "b"


@pytest.mark.parametrize("key", ["error_msg", "error"])
def test_a_wrong_id_is_corrected_once(key: str):
    chain = Chain()
    chain.send()
    assert chain.answer(400, **{key: "Invalid Heartbeat ID", "heartbeat_id": "x"}) == 1
    assert chain.send() == "x"
    assert chain.answer(200, heartbeat_id="y") == 0
    chain.wait(5)
    assert chain.send() == "y"
    assert chain.answer(400, heartbeat_id="z") == 0, "not yet a miss"
    assert chain.send() == "z"
    assert chain.answer(400, heartbeat_id="q") == 1
    assert not chain.tick()
    chain.wait(1)
    assert chain.tick(), "a failure is tried again after a second"


@pytest.mark.parametrize(
    ("code", "document"),
    [(0, {}), (500, {}), (401, {"error": "Unauthorized"}), (200, {}), (200, {"heartbeat_id": ""}), (400, {})],
)
def test_one_miss_stops_orders_and_two_mean_that_all_may_go(code: int, document: dict[str, object]):
    chain = Chain()
    chain.send()
    chain.answer(200, heartbeat_id="a")
    chain.wait(5)
    chain.send()
    assert chain.answer(code, **document) == 1
    chain.wait(1)
    assert chain.send() == "a"
    assert chain.answer(code, **document) == 2
    chain.wait(1)
    chain.send()
    assert chain.answer(200, heartbeat_id="b") == 0


def test_silence_for_the_whole_window_counts_twice():
    chain = Chain()
    chain.send()
    chain.answer(200, heartbeat_id="a")
    chain.wait(5)
    chain.send()
    chain.wait(4.9)
    chain.tick()
    assert chain.beats.missed == 0, "its deadline is the connection's to keep"
    chain.wait(0.1)
    chain.tick()
    assert chain.beats.missed == 2


def test_no_connection_to_send_it_over_is_a_miss():
    chain = Chain()
    chain.send()
    chain.answer(200, heartbeat_id="a")
    chain.wait(5)
    assert chain.tick()
    chain.wait(2.5)
    chain.tick()
    assert chain.beats.missed == 1


def test_an_engine_without_a_sign_of_life_is_not_vouched_for():
    chain = Chain()
    assert not chain.tick(lives=False)
    chain.send()
    chain.answer(200, heartbeat_id="a")
    chain.wait(5)
    assert not chain.tick(lives=False)
    assert chain.beats.missed == 1
    chain.wait(5)
    assert not chain.tick(lives=False)
    assert chain.beats.missed == 2
    assert chain.send() == "a", "when it is back, so are the heartbeats"


@given(st.lists(st.tuples(st.integers(0, 600), st.binary(max_size=40), st.floats(0, 12)), max_size=30))
def test_no_answer_breaks_the_chain(answers: list[tuple[int, bytes, float]]):
    chain = Chain()
    for code, body, wait in answers:
        if chain.tick():
            chain.beats.begun(chain.now_ns)
            chain.beats.answered(code, body, chain.now_ns)
        chain.wait(wait)
    for _ in range(3):
        chain.wait(5)
        chain.send()
        chain.answer(200, heartbeat_id="good")
    assert chain.beats.missed == 0
