"""A comparison in real processes, interrupted and gone on with."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

POLICIES = "join_touch,inventory_mm,pairs"
COMMAND = [
    sys.executable,
    "-m",
    "invmm.replay.compare",
    "--generated",
    "2",
    "--policies",
    POLICIES,
    "--quiet",
]


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
def test_an_interrupted_comparison_that_is_gone_on_with_is_one_that_was_not(tmp_path: Path) -> None:
    kept, out = tmp_path / "trials.jsonl", tmp_path / "report.json"
    command = [*COMMAND, "--jobs", "2", "--resume", str(kept), "--json", str(out)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    while _lines(kept) < 3 and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert f"goes on from {kept}" in said
    assert 3 <= _lines(kept) < 9
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr
    whole = tmp_path / "whole.json"
    done = subprocess.run([*COMMAND, "--jobs", "1", "--json", str(whole)], check=False)
    assert done.returncode == 0
    told, expected = (json.loads(path.read_text()) for path in (out, whole))
    assert told["policies"] == expected["policies"]
    assert told["markets"] == expected["markets"]
