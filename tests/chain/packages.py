"""npm packages that tests want, pinned in `package.json`: the published contracts, and anvil. Fetched once.

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

PINS = Path(__file__).with_name("package.json")
_LIMIT_S = 240


def need_published() -> Path:
    """The published conditional tokens' build file, or the test skips."""
    try:
        return published.build_file()
    except ConfigError:
        problem = _fetch()
    try:
        return published.build_file()
    except ConfigError as error:
        return _missing(problem or str(error))


def need_anvil() -> Path:
    """anvil's binary, or the test skips."""
    found = _anvil()
    if found is None:
        problem = _fetch()
        found = _anvil()
        if found is None:
            return _missing(problem or f"anvil: its package has no binary for this platform in {_modules()}")
    return found


def _missing(why: str) -> Path:
    if os.environ.get("INVMM_NEED_NODE"):
        pytest.fail(why)
    pytest.skip(why)


def _modules() -> Path:
    return published.node_modules()


def _anvil() -> Path | None:
    """The binary of this platform; npm installs the one package that fits."""
    for path in sorted((_modules() / "@foundry-rs").glob("anvil-*/bin/anvil*")):
        if os.access(path, os.X_OK):
            return path
    return None


@functools.cache
def _fetch() -> str:
    """Installs what `package.json` pins, unless that was done before. What went wrong, or ""."""
    folder, npm = _modules().parent, shutil.which("npm")
    if npm is None:
        return f"the chain's npm packages: not in {_modules()}, and there is no npm to fetch them"
    if _modules().name != "node_modules":
        return f"INVMM_NODE_MODULES: expected a folder called node_modules, found {_modules()}"
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "installed.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes want the same
        if done.exists() and done.read_text() == PINS.read_text():
            return ""
        shutil.copy(PINS, folder / "package.json")
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)]
        try:
            ended = subprocess.run(
                command, capture_output=True, text=True, timeout=_LIMIT_S, check=False, cwd=folder
            )
        except subprocess.TimeoutExpired:
            return f"npm install of the chain's packages took more than {_LIMIT_S} s"
        if ended.returncode:
            said = (ended.stderr or ended.stdout).strip().splitlines()[-3:]
            return f"npm install of the chain's packages failed: {' '.join(said)}"
        shutil.copy(PINS, done)
    return ""
