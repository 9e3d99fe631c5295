"""The engine's sign of life and what stops or follows it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from invmm._ext.gate import Gate
from invmm._ext.words import SharedWords
from invmm.clock import LiveClock
from invmm.errors import TransportError
from invmm.execution.beat import BeatReader, BeatWriter, State
from invmm.execution.vigil import Vigil
from invmm.permission import AlarmKind, Permission
from invmm.types import COMMAND_DTYPE, Mode, Reason

SECOND = 1_000_000_000


class Scene:
    def __init__(self, beat: BeatWriter | None = None, *, fails: bool = False, asks: bool = True) -> None:
        self.words = SharedWords()
        self.said: list[str] = []
        self.asked = 0
        self.cancelled = 0
        self.fails = fails
        self.beat_when_paused: list[int] = []
        self.permission = Permission(self.announced, self.said.append)
        self.permission.reconciled(0)
        demand = self.demand if asks else None
        clock = LiveClock(2.0, origin_ns=1_000 * SECOND, mono_origin_ns=0)
        self.vigil = Vigil(self.words, self.permission, self.cancel_all, clock, demand, beat)

    def announced(self, mode: Mode) -> None:
        self.words.mode = mode
        if mode is Mode.PAUSED:
            self.beat_when_paused.append(self.words.beat_ns)

    def demand(self) -> None:
        self.asked += 1

    async def cancel_all(self) -> None:
        self.cancelled += 1
        if self.fails:
            raise TransportError("no route")


def test_each_turn_of_the_loop_is_a_sign_of_life_in_memory_and_on_file(tmp_path: Path) -> None:
    with BeatWriter(tmp_path / "beat") as beat:
        scene = Scene(beat)
        scene.words.missed_heartbeats = 1
        scene.vigil.tick(7 * SECOND, 4)
        assert scene.words.beat_ns == 7 * SECOND
        assert scene.words.engine_until_ns == (1_000 + 2 * (7 + 3)) * SECOND, "three real seconds"
        seen = BeatReader(beat.path).read()
        assert seen is not None
        assert (seen.beat_ns, seen.open_orders, seen.missed_heartbeats) == (7 * SECOND, 4, 1)
        assert seen.state is State.RUNNING
        for act, state in (
            (scene.vigil.stopping, State.STOPPING),
            (lambda: scene.vigil.ended(False), State.ENDED_UNVERIFIED),
            (lambda: scene.vigil.ended(True), State.ENDED),
        ):
            act()
            seen = BeatReader(beat.path).read()
            assert seen is not None
            assert seen.state is state


def test_an_engine_that_stood_still_is_paused_before_it_counts_as_alive_again() -> None:
    scene = Scene()
    scene.vigil.tick(10 * SECOND, 0)
    scene.vigil.tick(25 * SECOND, 0)
    assert scene.beat_when_paused == [10 * SECOND], "until then the gate refuses"
    assert scene.words.beat_ns == 25 * SECOND
    assert (scene.permission.mode, scene.asked) == (Mode.PAUSED, 1)
    assert "stood still" in scene.said[-1]


def test_where_nothing_can_be_missed_quotes_come_back_at_once() -> None:
    scene = Scene(asks=False)
    scene.vigil.tick(10 * SECOND, 0)
    scene.vigil.tick(25 * SECOND, 0)
    assert scene.beat_when_paused == [10 * SECOND]
    assert scene.permission.mode is Mode.RUNNING


def test_missed_heartbeats_pull_the_quotes_until_they_go_on_and_the_venue_was_asked() -> None:
    scene = Scene()
    scene.words.missed_heartbeats = 2
    scene.vigil.tick(10 * SECOND, 0)
    assert (scene.permission.mode, scene.asked) == (Mode.PAUSED, 0)
    scene.words.missed_heartbeats = 0
    scene.vigil.tick(11 * SECOND, 0)
    assert scene.asked == 1


def test_a_silent_executor_is_an_alarm_and_the_venue_is_asked_to_cancel_without_it() -> None:
    async def play(fails: bool) -> Scene:
        scene = Scene(fails=fails)
        scene.words.executor_beat_ns = 10 * SECOND
        for second in (10, 11, 12, 13, 14, 15):
            scene.vigil.tick(second * SECOND, 3)
            await asyncio.sleep(0)
        return scene

    scene = asyncio.run(play(False))
    assert scene.cancelled == 2, "at once and after a second"
    assert scene.permission.kinds[AlarmKind.EXECUTOR] >= 1
    assert scene.permission.mode is Mode.PAUSED
    assert "without the executor" in scene.said[-1]
    assert "no route" in asyncio.run(play(True)).said[-1]


def test_the_gate_refuses_what_an_engine_that_stood_still_sends_first() -> None:
    scene = Scene()
    gate = Gate(scene.words)
    leg = np.zeros(1, COMMAND_DTYPE)
    now_ns = (1_000 + 2 * 10) * SECOND
    assert gate.check(leg, now_ns) == Reason.NONE, "nobody beats: a program without an engine"
    scene.vigil.tick(10 * SECOND, 0)
    assert gate.check(leg, now_ns) == Reason.NONE
    assert gate.check(leg, now_ns + 6 * SECOND - 1) == Reason.NONE
    assert gate.check(leg, now_ns + 6 * SECOND) == Reason.HEARTBEAT
    scene.words.heartbeat_until_ns = now_ns + 1
    assert gate.check(leg, now_ns) == Reason.NONE
    assert gate.check(leg, now_ns + 1) == Reason.HEARTBEAT, "the venue may be cancelling by then"
