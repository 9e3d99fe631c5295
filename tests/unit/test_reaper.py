"""What the reaper decides and does, with a venue that is a list; the processes are in tests/e2e."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from invmm.errors import ConfigError, TransportError, VenueError
from invmm.execution.beat import BeatWriter, Life, State
from invmm.execution.state import StateFolder
from invmm.ops import reaping as module
from invmm.ops.reaper import PRIVATE_KEY_NAMES, keyless_identity, main, once, parser
from invmm.ops.reaping import Reaper, why_unwatched
from invmm.settings import Settings

SECOND = 1_000_000_000
SILENCE = 3 * SECOND
ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"


@dataclass
class FakeVenue:
    """As much of `VenueClient` as the reaper uses."""

    rows: list[str] = field(default_factory=list)
    troubles: list[Exception] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    cancels: int = 0

    def _trouble(self) -> None:
        if self.troubles:
            raise self.troubles.pop(0)

    async def cancel_all(self) -> dict[str, Any]:
        self.cancels += 1
        self._trouble()
        gone, self.rows = self.rows, []
        return {"canceled": gone, "not_canceled": {}}

    async def open_orders(self, *_: object) -> list[dict[str, str]]:
        self._trouble()
        rows = [{"id": row} for row in self.rows]
        if self.late:  # on its way while we looked
            self.rows.append(self.late.pop(0))
        return rows


class Scene:
    def __init__(self, folder: Path, venue: FakeVenue) -> None:
        self.state = StateFolder(folder / "state")
        self.venue = venue
        self.told: list[tuple[str, str]] = []
        self.reaper = Reaper(venue, self.state, SILENCE, self.tell, settle_s=0.0)  # type: ignore[arg-type]
        self.now_ns = time.monotonic_ns()

    def tell(self, event: str, text: str, **_: object) -> None:
        self.told.append((event, text))

    def engine(self, age_s: float = 0.0, state: State = State.RUNNING, missed: int = 0) -> None:
        writer = BeatWriter(self.state.beat, ADDRESS)
        writer.state = state
        writer.beat(self.now_ns - int(age_s * SECOND), 2, missed)

    def look(self, later_s: float = 0.0) -> Life:
        return self.reaper.look(self.now_ns + int(later_s * SECOND))

    @staticmethod
    def until(holds: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < end
            time.sleep(0.005)

    def events(self, name: str) -> list[str]:
        return [text for event, text in self.told if event == name]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PAUSE_S", "REFUSED_PAUSE_S"):
        monkeypatch.setattr(module, name, (0.0, 0.01))
    monkeypatch.setattr(module, "LOOK_S", 0.005)
    for name in PRIVATE_KEY_NAMES:
        monkeypatch.delenv(name, raising=False)


def test_a_silent_engine_sets_the_kill_switch_and_is_an_alarm_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path, FakeVenue())
    assert scene.look() is Life.ABSENT
    assert scene.reaper.is_verified, "where nothing ran nothing is to be cancelled"
    scene.engine()
    assert scene.look() is Life.ALIVE
    assert not scene.state.kill.exists()
    assert scene.look(3.1) is Life.SILENT
    assert scene.look(3.2) is Life.SILENT
    scene.until(lambda: bool(scene.events("kill")))
    assert json.loads(scene.state.kill.read_text())["level"] == 2
    assert len(scene.events("alarm")) == 1
    assert not scene.reaper.is_verified


def test_an_engine_that_is_gone_needs_no_kill_switch(tmp_path: Path) -> None:
    scene = Scene(tmp_path, FakeVenue())
    scene.engine(state=State.ENDED_UNVERIFIED)
    assert scene.look() is Life.GONE
    assert not scene.state.kill.exists()
    assert not scene.reaper.is_verified


def test_heartbeats_must_fail_for_a_while_before_everything_is_cancelled(tmp_path: Path) -> None:
    scene = Scene(tmp_path, FakeVenue())
    scene.engine(missed=2)
    assert scene.look() is Life.ALIVE
    scene.now_ns += SILENCE
    scene.engine(missed=3)
    assert scene.look() is Life.SICK
    assert not scene.state.kill.exists(), "it lives, and looks after itself"
    scene.engine(missed=0)
    assert scene.look() is Life.ALIVE


def test_a_beat_that_cannot_be_read_counts_as_silence_when_it_lasts(tmp_path: Path) -> None:
    scene = Scene(tmp_path, FakeVenue())
    scene.state.beat.write_text("nonsense")
    assert scene.look() is Life.ALIVE
    assert scene.look(2.9) is Life.ALIVE
    assert scene.look(3.0) is Life.SILENT
    scene.until(scene.state.kill.exists)


def test_an_ended_engine_is_left_alone(tmp_path: Path) -> None:
    scene = Scene(tmp_path, FakeVenue(["0x1"]))
    scene.engine(age_s=100, state=State.ENDED)

    async def play() -> int:
        return await once(scene.venue, scene.state, SILENCE, scene.tell, 5.0)  # type: ignore[arg-type]

    assert asyncio.run(play()) == 0
    assert (scene.venue.rows, scene.venue.cancels) == (["0x1"], 0)


def run_until_verified(scene: Scene) -> None:
    async def play() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(scene.reaper.run(stop))
        while "verified" not in [event for event, _ in scene.told]:
            assert not running.done()
            await asyncio.sleep(0.001)
        stop.set()
        await running

    asyncio.run(asyncio.wait_for(play(), 60))


def test_it_goes_on_through_everything_that_a_network_can_do(tmp_path: Path) -> None:
    troubles: list[Exception] = [
        TransportError("no route"),
        VenueError(503, "unavailable"),
        VenueError(401, "Unauthorized"),
        TransportError("reset"),
        VenueError(403, "<html>"),
    ]
    venue = FakeVenue(["0x1", "0x2"], troubles, late=["0x3"])
    scene = Scene(tmp_path, venue)
    scene.engine(age_s=60)
    run_until_verified(scene)
    assert venue.rows == []
    assert venue.cancels >= 4
    assert venue.troubles == []
    assert [len([t for t in scene.events(n) if "NOT verified" in t]) for n in ("alarm", "error")] == [1, 1]


def test_an_order_that_arrives_later_is_found_and_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIST_AGAIN_S", 0.0)
    venue = FakeVenue(["0x1"])
    scene = Scene(tmp_path, venue)
    scene.engine(age_s=60)

    async def play() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(scene.reaper.run(stop))
        while not scene.events("verified"):
            await asyncio.sleep(0.001)
        venue.rows.append("0x9")
        while len(scene.events("verified")) < 2:
            assert not running.done()
            await asyncio.sleep(0.001)
        stop.set()
        await running

    asyncio.run(asyncio.wait_for(play(), 60))
    assert scene.events("cancelled") == ["1 orders cancelled", "1 orders cancelled"]


def test_a_kill_switch_that_cannot_be_written_does_not_keep_it_from_cancelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        time.sleep(0.2)  # of a disk that does not answer at once, either
        raise ConfigError("no room")

    monkeypatch.setattr(module.kill, "latch", fails)
    scene = Scene(tmp_path, FakeVenue(["0x1"]))
    scene.engine(age_s=60)
    run_until_verified(scene)
    assert scene.venue.rows == []
    scene.until(lambda: any("could not be set" in text for text in scene.events("alarm")))


def test_one_look_that_cannot_be_verified_says_so(tmp_path: Path) -> None:
    venue = FakeVenue(["0x1"], [TransportError("no route") for _ in range(1000)])
    scene = Scene(tmp_path, venue)
    scene.engine(age_s=60)

    async def play(timeout_s: float) -> int:
        return await once(venue, scene.state, SILENCE, scene.tell, timeout_s)  # type: ignore[arg-type]

    assert asyncio.run(play(0.3)) == 4
    venue.troubles.clear()
    assert asyncio.run(play(30)) == 0
    assert venue.rows == []


def test_live_trading_counts_on_a_reaper_of_this_folder_and_account_only(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state")
    assert "no reaper watches over" in why_unwatched(state, ADDRESS)
    assert f"invmm reaper --state {state.path}" in why_unwatched(state, ADDRESS)
    with BeatWriter(state.reaper, ADDRESS, "loopback") as beat:
        assert "has not reached the venue" in why_unwatched(state, ADDRESS)
        beat.state = State.RUNNING
        assert why_unwatched(state, ADDRESS.lower()) == ""
        assert "expected 0x1" in why_unwatched(state, "0x1")
        beat.beat(time.monotonic_ns() - 6 * SECOND)
        assert "does not run" in why_unwatched(state, ADDRESS)
        beat.beat(time.monotonic_ns())
        beat.state = State.ENDED
        assert "does not run" in why_unwatched(state, ADDRESS)
    state.reaper.write_text("?")
    assert "cannot be read" in why_unwatched(state, ADDRESS)


def options(*given: str) -> argparse.Namespace:
    return parser().parse_args(["--profile", "loopback", "--port", "1", *given])


def test_it_refuses_a_private_key_however_it_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="--keystore: the reaper reads no private key"):
        keyless_identity(options("--keystore", "somewhere"), Settings(), 137)
    monkeypatch.setenv("CLOB_API_KEY", "key")
    monkeypatch.setenv("CLOB_SECRET", "c2VjcmV0")
    monkeypatch.setenv("CLOB_PASS_PHRASE", "pass")
    with pytest.raises(ConfigError, match="no private key is read to tell it"):
        keyless_identity(options("--env"), Settings(), 137)
    monkeypatch.setenv("POLYMARKET_ADDRESS", ADDRESS)
    who = keyless_identity(options("--env"), Settings(), 137)
    assert (who.signer, who.address) == (None, ADDRESS)
    monkeypatch.setenv("PK", "22" * 32)
    with pytest.raises(ConfigError, match="PK is set") as told:
        keyless_identity(options("--env"), Settings(), 137)
    assert "2222" not in str(told.value)


def test_a_silence_beyond_reason_is_refused() -> None:
    for silence in ("0.5", "61"):
        with pytest.raises(ConfigError, match="expected 1 to 60 seconds"):
            main(["--silence", silence, "--env", "--profile", "loopback", "--port", "1"])


def test_the_help_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    for word in ("--state", "--silence", "--once", "--timeout", "--json", "Exit codes", "--profile"):
        assert word in told
    assert os.environ.get("PK") is None
