"""A replay over sockets that begins before anybody has subscribed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from invmm.session import NOT_COMPARED
from tests.reference import recording

LATE = "import sys, invmm.session; invmm.session.LEAD_S = -1.0; import invmm.run; sys.exit(invmm.run.main())"
OPTIONS = ("--headless", "--json", "--speed", "40", "--duration", "120", "--replay")


def test_who_subscribes_after_the_first_frames_compares_no_checkpoint(tmp_path: Path) -> None:
    market = recording.write_market(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", LATE, *OPTIONS, str(market)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["checkpoints"], report["checkpoint_mismatches"]) == (0, 0)
    assert report["best_checks"] > 0
    assert report["best_mismatches"] == report["mirror_mismatches"] == 0
    assert NOT_COMPARED in done.stdout + done.stderr
