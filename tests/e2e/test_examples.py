"""Every example runs as it stands, says something sensible, is short, and imports public names only."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import invmm
from tests import markers

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SAYS = {
    "asyncio_book_and_solver.py": ["bids wanted ['Up ", "'Down "],
    "asyncio_engine.py": ["quoting ", "clean True frames True"],
    "book_only.py": [
        "best bid (4900, 100000000) best ask (5100, 80000000)",
        "levels changed 2",
        "refused -1 because ",
    ],
    "engine_step.py": ["BUY Up ", "BUY Down "],
    "clob_client.py": ["wanted 2", "placed 2 open 2", "ended True open 0"],
    "ring_two_threads.py": ["in order True", "refused while full True"],
    "signer_only.py": ["placed live same id True", "cancelled 1", "bought matched for "],
    "solver_only.py": ["bid 5678 ", "cancel 0xaa", "merge "],
    "strategy_component.py": ["buy 1234 20.0 at ", "buy 5678 20.0 at ", "ended True open 0"],
}


def test_every_example_is_known_here() -> None:
    assert [path.name for path in EXAMPLES] == sorted(SAYS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_and_says_what_it_should(path: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        cwd=tmp_path,
        env={**os.environ, **markers.ENVIRONMENT, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for text in SAYS[path.name]:
        assert text in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_short_and_uses_public_names(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 60
    assert text.startswith('"""')
    assert not re.search(r"^\s*(from|import) invmm\.(?!testing\b)", text, re.MULTILINE)
    for names in re.findall(r"^from invmm import \(?([^)]*?)\)?$", text, re.MULTILINE | re.DOTALL):
        assert {name.strip() for name in names.split("\n")[0].split(",") if name.strip()} <= set(
            invmm.__all__
        )
