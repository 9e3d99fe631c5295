"""The state folder and its lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from invmm.errors import ConfigError
from invmm.execution.state import StateFolder, default_folder

HOLD = """
import sys
from pathlib import Path
from invmm.execution.state import StateFolder
with StateFolder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(state.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert state.is_locked_by_other()
        with pytest.raises(ConfigError, match=rf"expected it to be free.*process {other.pid}"):
            state.acquire()
        other.kill()
    with state:
        assert not state.is_locked_by_other()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        StateFolder(tmp_path / "file" / "state")


def test_the_folder_is_private(tmp_path: Path) -> None:
    assert StateFolder(tmp_path / "state").path.stat().st_mode & 0o077 == 0


def test_the_default_folder_follows_the_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere")
    assert default_folder("0xAB") == Path("/somewhere/invmm/0xab")
