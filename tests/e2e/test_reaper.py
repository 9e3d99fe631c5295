"""`invmm reaper` as a process, over real sockets: an engine that is killed, one that is stopped, a venue that
is away."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from invmm import BlockingVenueClient, OrderSigner
from invmm.execution import kill
from invmm.execution.state import StateFolder
from invmm.ops.reaping import why_unwatched
from invmm.testing import TestVenue

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
ENGINE = """
import sys, time
from pathlib import Path
from invmm.execution.beat import BeatWriter, State
beat = BeatWriter(Path(sys.argv[1]))
beat.state = State.RUNNING
print("beats", flush=True)
while True:
    beat.beat(time.monotonic_ns(), 3)
    time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def venue() -> Iterator[TestVenue]:
    with TestVenue("btc-updown-5m", light=True, seed=8, in_process=True) as started:
        yield started


class Process:
    """A child whose standard output is read line by line."""

    def __init__(self, *command: str, **environ: str) -> None:
        clean = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.child = subprocess.Popen(
            [sys.executable, *command],
            env={**clean, "PYTHONPATH": str(ROOT), **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self._queue.put(line)

    def until(self, what: str) -> str:
        """The next line that holds a text."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.lines.append(self._queue.get(timeout=max(0.01, end - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"no {what!r} within {PATIENCE_S} s:\n{''.join(self.lines)}") from None
            if what in self.lines[-1]:
                return self.lines[-1]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.child.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        code = self.child.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert self.child.stdout is not None
        self.child.stdout.close()
        return code


def credentials_of(venue: TestVenue) -> dict[str, str]:
    key = venue.credentials
    return {
        "POLYMARKET_ADDRESS": venue.address,
        "CLOB_API_KEY": key.api_key,
        "CLOB_SECRET": key.secret,
        "CLOB_PASS_PHRASE": key.passphrase,
    }


def reaper(venue: TestVenue, folder: Path, *more: str, **environ: str) -> Process:
    where = ("--profile", "loopback", "--port", str(venue.port), "--state", str(folder), "--env", "--json")
    return Process("-m", "invmm.ops.cli", "reaper", *where, *more, **{**credentials_of(venue), **environ})


def place(venue: TestVenue, count: int) -> list[str]:
    signer = OrderSigner(venue.private_key)
    token = venue.market().up_token_id
    with BlockingVenueClient(venue.profile, signer, venue.credentials) as client:
        orders = [
            signer.sign(token, "BUY", 100 + 100 * step, 20_000_000, tick_e4=100) for step in range(count)
        ]
        return [outcome.order_id for outcome in client.post_orders(orders)]


def alive(venue: TestVenue) -> set[str]:
    return {order["order_id"] for order in venue.truth()["orders"] if order["state"] in ("LIVE", "DELAYED")}


def test_the_orders_of_an_engine_that_stands_still_are_cancelled(venue: TestVenue, tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state")
    engine = Process("-c", ENGINE, str(state.beat))
    watching = reaper(venue, state.path, "--silence", "1")
    try:
        engine.until("beats")
        watching.until('"event": "watching"')
        end = time.monotonic() + PATIENCE_S
        while why := why_unwatched(state, venue.address):
            assert time.monotonic() < end, why
            time.sleep(0.02)
        ids = place(venue, 3)
        assert alive(venue) == set(ids)
        engine.child.send_signal(signal.SIGSTOP)
        told = json.loads(watching.until('"event": "cancelled"'))
        assert set(told["orders"]) == set(ids)
        watching.until('"event": "verified"')
        assert alive(venue) == set()
        end = time.monotonic() + PATIENCE_S
        while kill.read(state.kill).level != 2:  # it may wake up
            assert time.monotonic() < end
            time.sleep(0.02)
        assert watching.end() == 0
        assert "does not run" in why_unwatched(state, venue.address)
    finally:
        for process in (engine, watching):
            process.end(signal.SIGKILL)


def test_it_waits_for_a_venue_that_is_away_and_says_so_when_it_is_stopped_before(
    venue: TestVenue, tmp_path: Path
) -> None:
    state = StateFolder(tmp_path / "state")
    engine = Process("-c", ENGINE, str(state.beat))
    engine.until("beats")
    engine.end(signal.SIGKILL)
    ids = place(venue, 2)
    venue.fault("http", rate=1.0, status=503)
    watching = reaper(venue, state.path)
    try:
        watching.until("NOT verified")
        assert alive(venue) == set(ids)
        assert watching.end() == 4
        watching = reaper(venue, state.path)
        watching.until('"event": "watching"')
        venue.clear()
        watching.until('"event": "verified"')
        assert alive(venue) == set()
        assert watching.end(signal.SIGINT) == 130
    finally:
        venue.clear()
        watching.end(signal.SIGKILL)


def test_wrong_credentials_and_private_keys_are_refused_at_the_start(
    venue: TestVenue, tmp_path: Path
) -> None:
    wrong: list[dict[str, Any]] = [{"CLOB_PASS_PHRASE": "another"}, {"PK": venue.private_key}]
    for environ, said in zip(wrong, ("refuses the API credentials", "PK is set"), strict=True):
        refused = reaper(venue, tmp_path / "state", **environ)
        line = refused.until(said)
        assert venue.private_key.removeprefix("0x") not in line
        assert refused.ended() == 2
