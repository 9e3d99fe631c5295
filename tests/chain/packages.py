"""npm packages that tests want: the published contracts, and anvil. Fetched once, outside the tree.

They lie in `INVMM_NODE_MODULES`, else among the user's caches. Where they are missing and npm is there, they
are installed, without running their scripts. Where that cannot be, a test skips and says why, unless
`INVMM_NEED_NODE` is set, as it is in the project's own runs: then it fails.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from invmm.errors import ConfigError
from invmm.sim.chain import published

WANTED = (f"{published.PACKAGE}@{published.VERSION}", "@foundry-rs/anvil@1.7.1")
_LIMIT_S = 240


@functools.cache
def _problem() -> str:
    """Fetches what is missing. "" when all is there, else what prevents it."""
    modules = published.node_modules()
    if _complete(modules):
        return ""
    npm = shutil.which("npm")
    if npm is None:
        return f"{', '.join(WANTED)}: not in {modules}, and there is no npm to fetch them"
    if modules.name != "node_modules":
        return f"INVMM_NODE_MODULES: expected a folder called node_modules, found {modules}"
    modules.parent.mkdir(parents=True, exist_ok=True)
    with (modules.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes want the same
        if _complete(modules):
            return ""
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save"]
        try:
            done = subprocess.run(
                [*command, "--prefix", str(modules.parent), *WANTED],
                capture_output=True,
                text=True,
                timeout=_LIMIT_S,
                check=False,
                cwd=modules.parent,
            )
        except subprocess.TimeoutExpired:
            return f"npm install of {', '.join(WANTED)} took more than {_LIMIT_S} s"
    if _complete(modules):
        return ""
    said = (done.stderr or done.stdout).strip().splitlines()[-3:]
    return f"npm install of {', '.join(WANTED)} failed: {' '.join(said)}"


def _complete(modules: Path) -> bool:
    try:
        published.build_file()
    except ConfigError:
        return False
    return _anvil(modules) is not None


def _anvil(modules: Path) -> Path | None:
    """The binary of this platform; npm installs the one package that fits."""
    for path in sorted((modules / "@foundry-rs").glob("anvil-*/bin/anvil*")):
        if os.access(path, os.X_OK):
            return path
    return None


def need_published() -> Path:
    """The published conditional tokens' build file, or the test skips."""
    _need()
    return published.build_file()


def need_anvil() -> Path:
    """anvil's binary, or the test skips."""
    _need()
    binary = _anvil(published.node_modules())
    assert binary is not None
    return binary


def _need() -> None:
    problem = _problem()
    if problem and os.environ.get("INVMM_NEED_NODE"):
        pytest.fail(problem)
    if problem:
        pytest.skip(problem)
