"""The kill switch: only up, latched in a file, by hand or by program, and `invmm kill`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invmm.errors import ConfigError
from invmm.execution.kill import KillLevel, KillRecord, KillSwitch, latch, listen, parse, read, release
from invmm.execution.state import StateFolder
from invmm.ops.cli import main as invmm
from invmm.ops.kill import main
from invmm.ops.state_options import folder_of


@pytest.mark.parametrize(
    ("content", "level"),
    [
        (b"2", 2),
        (b" 1\n", 1),
        (b"0", 0),
        (b'{"level": 3, "why": "x", "by": "y", "at": "z"}', 3),
        (b'{"level": 1}', 1),
        (b"", 2),
        (b"stop!", 2),
        (b"4", 2),
        (b"true", 2),
        (b"1.0", 2),
        (b'{"level": true}', 2),
        (b'{"level": 1, "whim": 2}', 2),
        (b'{"level": 1, "why": 2}', 2),
        (b'{"level": 0, "released": "yes"}', 2),
        (b"[" * 100_000, 2),
        (b"\xff\xfe2", 2),
        (b"2" * 5_000, 2),
    ],
)
def test_a_file_is_a_level_and_what_is_not_understood_is_level_2(content: bytes, level: int) -> None:
    assert parse(content).level == level


@given(st.binary(max_size=60))
def test_no_content_breaks_it(content: bytes) -> None:
    assert parse(content).level in KillLevel


def test_a_folder_in_its_place_or_one_that_cannot_be_read_is_level_2(tmp_path: Path) -> None:
    (tmp_path / "kill").mkdir()
    assert read(tmp_path / "kill").level == 2
    assert read(tmp_path / "none").level == 0
    with pytest.raises(ConfigError, match="cannot be written"):
        latch(tmp_path / "kill", 3, "", "test")


def test_the_file_only_goes_up_and_keeps_the_reason_of_the_highest(tmp_path: Path) -> None:
    path = tmp_path / "kill"
    assert latch(path, 2, "loss", "engine").level == 2
    assert latch(path, 1, "less", "command").why == "loss"
    assert latch(path, 3, "worse", "reaper").why == "worse"
    assert (read(path).level, read(path).by) == (3, "reaper")
    assert release(path, "command").level == 3
    assert (read(path).level, read(path).released) == (0, True)
    assert latch(path, 1, "again", "engine").level == 1
    assert not [name for name in os.listdir(tmp_path) if name != "kill"]


def test_what_a_hand_wrote_is_made_whole_and_never_lowered(tmp_path: Path) -> None:
    path = tmp_path / "kill"
    path.write_text("3")
    assert latch(path, 1, "loss", "engine") == read(path)
    assert (read(path).level, read(path).why) == (3, "loss")


def test_a_switch_follows_the_file_and_writes_it_again_when_somebody_lowers_it(tmp_path: Path) -> None:
    path, said = tmp_path / "kill", []
    switch = KillSwitch(path, said.append)
    assert (switch.level, switch.poll()) == (0, False)
    path.write_text("2\n")
    assert (switch.poll(), switch.level) == (True, 2)
    assert not switch.poll()
    path.write_text('{"level": 1}')
    assert (switch.poll(), switch.level, read(path).level) == (False, 2, 2)
    path.unlink()
    assert (switch.poll(), switch.level, read(path).level) == (False, 2, 2)
    assert len(said) == 2
    assert not switch.up(1, "less", "api")
    assert switch.up(3, "more", "api")
    assert read(path).level == 3


def test_only_a_release_lowers_a_switch_and_a_restart_does_not(tmp_path: Path) -> None:
    path = tmp_path / "kill"
    KillSwitch(path, print).up(1, "loss", "engine")
    again = KillSwitch(path, print)
    assert (again.level, again.record.why) == (1, "loss")
    release(path, "somebody")
    assert (again.poll(), again.level) == (True, 0)
    assert again.up(2, "and again", "engine")
    assert read(path).level == 2


def test_a_disk_that_fails_does_not_keep_the_level_down(tmp_path: Path) -> None:
    said: list[str] = []
    switch = KillSwitch(tmp_path / "gone" / "kill", said.append)
    assert switch.up(2, "loss", "engine")
    switch.verify(True)
    assert switch.level == 2
    assert len(said) == 2
    assert not any("\n" in line for line in said)


def test_what_was_verified_is_written_beside_the_level_it_belongs_to(tmp_path: Path) -> None:
    path = tmp_path / "kill"
    switch = KillSwitch(path, print)
    switch.up(2, "x", "api")
    switch.verify(True)
    assert read(path).verified is True
    latch(path, 3, "y", "command")
    switch.verify(False)
    assert read(path) == KillRecord(KillLevel.END, "y", "command", read(path).at)


def test_signals_raise_the_level() -> None:
    heard: list[tuple[int, str, str]] = []

    async def play() -> None:
        loop = asyncio.get_running_loop()
        listen(loop, lambda *told: heard.append(told))
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            os.kill(os.getpid(), number)
            while not heard or heard[-1][1] != number.name:
                await asyncio.sleep(0.001)
            loop.remove_signal_handler(number)

    asyncio.run(asyncio.wait_for(play(), 60))
    assert heard == [(1, "SIGUSR1", "signal"), (2, "SIGUSR2", "signal")]


# ---- the command -------------------------------------------------------------------------------------------


def test_the_command_raises_shows_and_releases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = ["--state", str(tmp_path)]
    assert main(["1", *state, "--why", "lunch"]) == 0
    assert "level 1: lunch" in capsys.readouterr().out
    assert main(["1", *state, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["level"], told["why"], told["engine_runs"]) == (1, "lunch", False)
    assert main([*state, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == told
    assert main(["--release", *state]) == 0
    assert "released; it was level 1: lunch" in capsys.readouterr().out
    assert read(tmp_path / "kill").level == 0


def test_level_2_without_an_engine_is_not_verified_and_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["2", "--state", str(tmp_path)]) == 4
    out = capsys.readouterr().out
    assert "NOT verified" in out
    assert "invmm cancel-all" in out


def test_the_command_waits_for_the_engine_to_verify(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with StateFolder(tmp_path):
        assert main(["2", "--state", str(tmp_path), "--wait", "0.01"]) == 4
        switch = KillSwitch(tmp_path / "kill", print)
        switch.verify(True)
        assert main(["2", "--state", str(tmp_path)]) == 0
    assert "verified: the venue lists no open order" in capsys.readouterr().out


def test_a_folder_that_is_not_clear_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert invmm(["kill", "1"]) == 2
    assert "found none; name it" in capsys.readouterr().err
    (tmp_path / "invmm" / "0xab").mkdir(parents=True)
    assert folder_of(None, None).name == "0xab"
    (tmp_path / "invmm" / "0xcd").mkdir()
    with pytest.raises(ConfigError, match="0xab, 0xcd"):
        folder_of(None, None)
    with pytest.raises(ConfigError, match="found none at"):
        folder_of(tmp_path / "no", None)
    config = tmp_path / "my.toml"
    config.write_text(f'[state]\nfolder = "{tmp_path}"\n')
    assert folder_of(None, str(config)) == tmp_path
    with pytest.raises(SystemExit):
        main(["2", "--release", "--state", str(tmp_path)])
