"""The embedded venue as a child process: its life, its tapes, its clock, whose signatures it accepts."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from invmm.errors import TransportError
from invmm.replay.tape import load
from invmm.sim import spool
from invmm.sim.child import VenueChild
from invmm.sim.profile import VenueProfile
from invmm.types import Outcome
from tests.e2e.sim_client import Client, a_child, a_tape, run, subscribed, until
from tests.reference.frames import (
    UP,
    at,
)


@pytest.fixture
def child() -> Iterator[VenueChild]:
    with a_child() as started:
        yield started
        assert started.errors == ""


def test_market_follows_market_with_one_account(child: VenueChild) -> None:
    async def play(client: Client) -> None:
        child.begin(0, speed=1)
        await until(lambda: child.truth()["sent_frames"] > 0)
        await client.call("POST", "/order", client.order("BUY", UP, 5300, 10))
        child.begin(1, speed=20)
        await until(lambda: child.truth()["sent_frames"] > 0)
        truth = child.truth()
        # The first is resolved for Up: ten dollars for ten shares at 5.30 and a fee of 0.17437.
        assert truth["market"] == 1
        assert truth["cash_micro"] == 10_010_000_000 - 5_300_000 - 174_370
        assert truth["tokens_micro"] == [0, 0]
        _, told = await client.call("GET", "/data/trades")
        assert told["count"] == 1

    run(child, play)


def test_child_ends_with_its_parent() -> None:
    venue = VenueChild([a_tape()])
    venue.start()
    pid = venue.pid
    assert pid is not None
    assert venue._process is not None
    assert venue._process.stdin is not None
    venue._process.stdin.close()  # what the kernel does when a parent dies
    assert venue._process.wait(10) == 0
    venue.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIG_DFL)


def test_child_that_cannot_start_says_why(tmp_path: Path) -> None:
    class Broken(VenueProfile):
        pass

    venue = VenueChild([a_tape()], profile=Broken())
    object.__setattr__(venue.profile, "queue_model", "optimistic")
    with pytest.raises(TransportError, match="queue model"):
        venue.start()
    assert venue.pid is None


def test_child_that_is_given_up_while_it_starts_is_gone_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(threading.Timer):
        def start(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr("invmm.sim.child.threading.Timer", Interrupted)
    venue = VenueChild([a_tape()])
    with pytest.raises(KeyboardInterrupt):
        venue.start()
    assert venue.stop() == -signal.SIGKILL


def test_who_holds_the_childs_standard_error_longer_than_it_lives_breaks_nothing() -> None:
    venue = VenueChild([a_tape()])
    command = ["sh", "-c", "sleep 60 <&- >&- & echo $! >&2; exec cat"]
    pipe = subprocess.PIPE
    venue._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    venue._reader = reader = threading.Thread(target=venue._read_errors, args=(venue._process,), daemon=True)
    reader.start()
    while not venue.errors:
        time.sleep(0.01)
    assert venue.stop() == 0
    assert reader.is_alive()
    os.kill(int(venue.errors), signal.SIGKILL)
    reader.join(60)
    assert not reader.is_alive()  # and it ended without an exception, which would fail the test


def test_spooled_tape_is_the_same_tape(tmp_path: Path) -> None:
    written = a_tape(Outcome.DOWN)
    read = spool.read(spool.write(written, tmp_path / "tape"))
    assert read.market == written.market
    assert read.data == written.data
    assert read.rows.tolist() == written.rows.tolist()


@pytest.mark.recorded
@pytest.mark.skipif(not os.environ.get("INVMM_RECORDED"), reason="INVMM_RECORDED is not set")
def test_recorded_market_is_served_byte_for_byte() -> None:
    path = (
        Path(os.environ["INVMM_RECORDED"]) / "btc5m-20260416" / "replay" / "btc-updown-5m-1776325800.jsonl.gz"
    )
    recorded = load(path)
    few = replace(recorded, rows=recorded.rows[:3000])
    tokens = [recorded.market.up_token_id, recorded.market.down_token_id]

    async def play(client: Client) -> None:
        _, told, reader = await subscribed(client, assets=tokens)
        await asyncio.sleep(0.05)
        client.child.begin(speed=60)
        await until(lambda: len(told) >= 3000)
        assert told == [frame.decode() for frame in few.frames()]
        reader.cancel()

    with VenueChild([few]) as started:
        run(started, play)


def test_clock_of_the_tape_is_the_clock_of_the_answer(child: VenueChild) -> None:
    told = child.begin(speed=2, in_s=0.1)
    assert told["tape_ns"] == at(10)  # the first frame is received 10 ms after it happened
    assert told["monotonic_ns"] > time.monotonic_ns()
    now = child.truth()["now_ns"]
    assert now < told["tape_ns"]
