"""A whole session over sockets runs again from its journal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from invmm.execution.journal import possibly_alive
from invmm.replay.rerun import rerun
from tests.project.sources import ROOT


@pytest.mark.slow
def test_a_session_over_sockets_gives_the_same_commands_from_its_journal(tmp_path: Path) -> None:
    config = tmp_path / "frames.toml"
    config.write_text("[state]\njournal_frames = true\n")
    state = tmp_path / "state"
    words = ["--config", config, "--headless", "--speed", "10", "--duration", "30"]
    words += ["--state", state, "--report", tmp_path / "report.html"]
    done = subprocess.run(
        [sys.executable, "-m", "invmm.run", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    again = rerun(state / "journal")
    assert again.is_equal
    assert again.commands == again.journaled > 0
    assert possibly_alive(state / "journal") == []
