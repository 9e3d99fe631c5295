"""Signs of life between processes: what is written is read, and what it says about the writer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invmm.errors import ConfigError, DataError
from invmm.execution.beat import (
    STOP_NS,
    WORDS_AT,
    Beat,
    BeatReader,
    BeatWriter,
    Life,
    State,
    boot_id,
    life_of,
    pid_namespace,
)

SECOND = 1_000_000_000
NOW = 1_000 * SECOND
SILENCE = 3 * SECOND

BEATS = """
import sys, time
from pathlib import Path
from invmm.execution.beat import BeatWriter, State
beat = BeatWriter(Path(sys.argv[1]), "0xAb", "loopback")
beat.state = State.RUNNING
beat.beat(time.monotonic_ns(), 7, 1)
print("beats", flush=True)
sys.stdin.read()
"""


def seen(path: Path) -> Beat:
    beat = BeatReader(path).read()
    assert beat is not None
    return beat


def own(path: Path, age_s: float = 0.0, **changed: object) -> Beat:
    """A beat of this process."""
    writer = BeatWriter(path, "0xAb", "live")
    writer.state = State.RUNNING
    writer.beat(NOW - int(age_s * SECOND))
    return replace(seen(path), **changed)  # type: ignore[arg-type]


def test_another_process_is_read_and_its_end_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "beat"
    with subprocess.Popen(
        [sys.executable, "-c", BEATS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "beats\n"
        beat = seen(path)
        assert (beat.pid, beat.account, beat.venue) == (other.pid, "0xAb", "loopback")
        assert (beat.open_orders, beat.missed_heartbeats, beat.state) == (7, 1, State.RUNNING)
        assert (beat.boot_id, beat.pid_namespace) == (boot_id(), pid_namespace())
        now_ns = beat.beat_ns + SECOND
        assert life_of(beat, now_ns, SILENCE)[0] is Life.ALIVE
        os.kill(other.pid, signal.SIGSTOP)
        assert life_of(seen(path), now_ns, SILENCE)[0] is Life.ALIVE, "not silent for long enough"
        assert life_of(seen(path), now_ns + SILENCE, SILENCE)[0] is Life.SILENT, "stopped is not gone"
        other.kill()
        other.wait()
        assert life_of(seen(path), now_ns, SILENCE)[0] is Life.GONE


def test_each_beat_is_a_higher_number_and_a_later_time(tmp_path: Path) -> None:
    with BeatWriter(tmp_path / "beat") as writer:
        first = seen(writer.path)
        writer.beat(first.beat_ns + 5, open_orders=3)
        second = seen(writer.path)
        assert (second.sequence, second.beat_ns, second.open_orders) == (
            first.sequence + 1,
            first.beat_ns + 5,
            3,
        )
        assert second.state is State.STARTING
    assert seen(writer.path).state is State.ENDED_UNVERIFIED, "who only leaves has proven nothing"
    with BeatWriter(tmp_path / "beat") as writer:
        writer.state = State.ENDED
    assert seen(writer.path).state is State.ENDED


def test_what_a_beat_says_about_its_process(tmp_path: Path) -> None:
    path = tmp_path / "beat"

    def life(beat: Beat | None) -> Life:
        return life_of(beat, NOW, SILENCE)[0]

    assert life(None) is Life.ABSENT
    assert life(own(path, 2.9)) is Life.ALIVE
    assert life(own(path, 3.1)) is Life.SILENT
    assert life(own(path, 3.1, state=State.STOPPING)) is Life.ALIVE
    assert life(own(path, 3.1 + STOP_NS / SECOND, state=State.STOPPING)) is Life.SILENT
    assert life(own(path, 900, state=State.ENDED)) is Life.ENDED
    assert life(own(path, 0, state=State.ENDED_UNVERIFIED)) is Life.GONE
    assert life(own(path, 0, boot_id=bytes(16))) is Life.GONE
    assert life(own(path, 1, started_ticks=1)) is Life.GONE, "another process has its number now"
    assert life(own(path, 0.1, started_ticks=1)) is Life.ALIVE, "what beats is there"
    assert life(own(path, 1, started_ticks=1, pid_namespace=1)) is Life.ALIVE, "cannot be seen from here"
    assert life(own(path, 4, started_ticks=1, pid_namespace=1)) is Life.SILENT
    assert life(own(path, 0, missed_heartbeats=1)) is Life.ALIVE
    assert life(own(path, 0, missed_heartbeats=2)) is Life.SICK
    assert life(own(path, 9, missed_heartbeats=2)) is Life.SILENT


def test_a_new_start_replaces_the_file_so_that_the_old_writer_is_not_heard(tmp_path: Path) -> None:
    old = BeatWriter(tmp_path / "beat")
    new = BeatWriter(tmp_path / "beat")
    old.beat(77)
    new.beat(88)
    assert seen(tmp_path / "beat").beat_ns == 88
    assert sorted(each.name for each in tmp_path.iterdir()) == ["beat"]


def test_a_file_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sign of life cannot be written"):
        BeatWriter(tmp_path / "nowhere" / "beat")


@given(st.binary(max_size=300), st.booleans())
def test_what_is_no_beat_is_told_and_never_taken_for_one(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, begins_well: bool
) -> None:
    path = tmp_path_factory.mktemp("beat") / "beat"
    path.write_bytes((b"INVMBEAT" + b"\x02\0\0\0" if begins_well else b"") + content)
    with pytest.raises(DataError, match="expected"):
        BeatReader(path).read()


def test_a_state_that_does_not_exist_is_told(tmp_path: Path) -> None:
    path = BeatWriter(tmp_path / "beat").path
    data = bytearray(path.read_bytes())
    data[WORDS_AT + 16] = 9
    path.write_bytes(data)
    with pytest.raises(DataError, match="found 9"):
        BeatReader(path).read()
