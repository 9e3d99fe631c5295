"""Rehearsals of signing and sending: they leave nothing behind and give way to commands."""

from __future__ import annotations

import ssl
import time
from typing import Any

import numpy as np
import pytest

from invmm._ext.l2 import L2Signer
from invmm._ext.ring import CommandRing, ResultRing
from invmm._ext.sign import OrderSigner
from invmm._ext.template import OrderTemplate
from invmm._ext.words import SharedWords
from invmm.clock import LiveClock
from invmm.execution.intake import Intake
from invmm.execution.rehearsal import Rehearsal
from invmm.types import COMMAND_DTYPE, CommandFlag, CommandKind

MS = 1_000_000
SIGNER = OrderSigner("0x" + "22" * 32)
BY_CALLER = -2


class Bench:
    """An intake without sockets."""

    def __init__(self) -> None:
        self.ring, self.results = CommandRing(64), ResultRing(64)
        signer = L2Signer("key", "c2VjcmV0IHNlY3JldCBzZWNyZXQ=", "pass", SIGNER.address)
        self.intake = Intake(self.ring, self.results, SharedWords(), signer, "127.0.0.1:1", LiveClock())
        self.intake.set_template(0, 0, OrderTemplate(SIGNER, "1" * 77, "v2", "key"))
        self.intake.rehearse_ns = MS

    def push(self) -> None:
        leg = np.zeros(1, COMMAND_DTYPE)
        leg["kind"], leg["key"], leg["price_e4"], leg["size_micro"] = CommandKind.PLACE, 1, 4800, 10_000_000
        leg["flags"] = CommandFlag.LAST
        assert self.ring.try_push(leg)

    def take(self, timeout_ns: int, writer: Any = None) -> int:
        return self.intake.take(-1, timeout_ns, -1, BY_CALLER, BY_CALLER, writer, writer)


def test_rehearsals_are_made_while_there_is_nothing_to_do_and_lead_to_nothing():
    bench, written = Bench(), []
    bench.intake.rehearsal = written.append
    assert bench.take(30 * MS) == 0
    assert bench.intake.rehearsals == len(written) > 1
    assert {bytes(len(data)) for data in written} == set(written)  # zeros: no order is in them
    assert (bench.intake.built, len(bench.results)) == (False, 0)


def test_a_command_that_comes_during_a_rehearsal_is_taken_next():
    bench = Bench()

    def rehearse(_: bytes) -> None:
        bench.push()

    bench.intake.rehearsal = rehearse
    assert bench.take(10_000 * MS) == CommandKind.PLACE
    assert (bench.intake.rehearsals, bench.intake.built) == (1, True)
    assert bench.intake.request().startswith(b"POST /orders")


def test_without_a_template_nothing_is_rehearsed():
    bench, written = Bench(), []
    signer = L2Signer("key", "c2VjcmV0IHNlY3JldCBzZWNyZXQ=", "pass", SIGNER.address)
    bench.intake = Intake(bench.ring, bench.results, SharedWords(), signer, "127.0.0.1:1", LiveClock())
    bench.intake.rehearse_ns, bench.intake.rehearsal = MS, written.append
    assert bench.take(10 * MS) == 0
    assert written == []


def test_a_rehearsal_that_fails_is_the_last():
    bench, calls = Bench(), []

    def broken(data: bytes) -> None:
        calls.append(data)
        raise BrokenPipeError

    bench.intake.rehearsal = broken
    assert bench.take(10 * MS) == 0
    assert (len(calls), bench.intake.rehearsals, bench.intake.rehearsal) == (1, 0, None)


def test_rehearsals_without_a_pause_do_not_outlast_the_wait():
    bench = Bench()
    bench.intake.rehearsal, bench.intake.rehearse_ns = (lambda _: None), 0
    begin = time.monotonic()
    assert bench.take(5 * MS) == 0
    assert time.monotonic() - begin < 5  # it ended; how soon is no matter of a test


@pytest.mark.parametrize(
    "failure", [BlockingIOError(), ssl.SSLWantWriteError(), BrokenPipeError(), ValueError("closed")]
)
def test_a_writer_that_fails_leaves_the_whole_request_to_the_caller(failure: Exception):
    bench = Bench()

    def writer(_: bytes) -> int:
        raise failure

    bench.push()
    assert bench.take(0, writer) == CommandKind.PLACE
    assert bench.intake.sent == 0
    assert len(bench.intake.request()) == bench.intake.size > 500


def test_a_writer_takes_the_request_or_a_part_of_it():
    for part in (100, 10_000):
        bench, seen = Bench(), []

        def writer(data: bytes, seen: list[bytes] = seen, part: int = part) -> int:
            seen.append(data)
            return min(part, len(data))

        bench.push()
        assert bench.take(0, writer) == CommandKind.PLACE
        (whole,) = seen
        assert whole.startswith(b"POST /orders")
        assert bench.intake.request() == whole[part:]
        assert (
            bench.intake.popped_ns
            <= bench.intake.ready_ns
            <= bench.intake.python_ns
            <= bench.intake.written_ns
        )


def test_a_group_that_is_left_unbuilt_is_not_written():
    bench, seen = Bench(), []
    bench.push()
    assert bench.intake.take(-1, 0, -1, -1, -1, seen.append, seen.append) == CommandKind.PLACE
    assert (bench.intake.built, seen) == (False, [])


@pytest.mark.parametrize("tls", [True, False])
def test_a_rehearsal_writes_as_often_as_asked_and_nobody_keeps_it(tls: bool):
    rehearsal = Rehearsal(tls)
    try:
        assert rehearsal.is_encrypted <= tls
        for _ in range(3000):  # more than the sockets hold: what arrives is taken out
            rehearsal(bytes(1024))
    finally:
        rehearsal.close()
        rehearsal.close()
    with pytest.raises((OSError, ValueError)):
        rehearsal(b"x")


def test_a_library_without_the_anonymous_exchange_still_rehearses_the_sockets(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("invmm.execution.rehearsal.CIPHER", "NO-SUCH-CIPHER")
    rehearsal = Rehearsal(True)
    assert not rehearsal.is_encrypted
    rehearsal(b"x")
    rehearsal.close()
