"""The warm path allocates nothing: neither from the C allocator nor from the interpreter's, over 100 000
frames.

The default run counts calls of the C allocator and the interpreter's live blocks. The strict run sets
PYTHONMALLOC=malloc, so that every Python object is a counted call as well, even one that is freed at once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.allocation_paths import PATHS

SELDOM = ("merged", "model")  # with the campaigns: not the default, and as long as the others

FRAMES = 100_000
SOURCE = Path(__file__).with_name("malloc_counter.c")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The preloadable counter, compiled here."""
    compiler = shutil.which(os.environ.get("CC", "cc").split()[0]) or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("counting allocations needs a C compiler and a preloading loader (Linux)")
    library = tmp_path_factory.mktemp("counter") / "malloc_counter.so"
    command = [
        compiler,
        "-O2",
        "-fPIC",
        "-shared",
        "-fno-builtin",
        "-Wall",
        "-Werror",
        "-o",
        str(library),
        str(SOURCE),
    ]
    subprocess.run([*command, "-ldl"], check=True, timeout=60)
    return library


def count(
    library: Path, path: str, *, strict: bool, allocate: str | None = None, frames: int = FRAMES
) -> dict[str, int]:
    """Runs one path in a process of its own under the counter."""
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONHASHSEED": "0"}
    environment.pop("PYTHONMALLOC", None)
    if strict:
        environment["PYTHONMALLOC"] = "malloc"
    command = [sys.executable, "-m", "tests.e2e.allocation_paths", path, "--frames", str(frames)]
    if allocate:
        command += ["--allocate", allocate]
    run = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=200
    )
    assert run.returncode == 0, run.stderr
    answer: dict[str, int] = json.loads(run.stdout.splitlines()[-1])
    return answer


def is_sanitized() -> bool:
    return "sanitize" in os.environ.get("INVMM_CFLAGS", "") or "libasan" in os.environ.get("LD_PRELOAD", "")


pytestmark = pytest.mark.skipif(is_sanitized(), reason="a sanitizer brings its own allocator")


@pytest.mark.parametrize("strict", [False, True], ids=["default allocator", "every object counted"])
@pytest.mark.parametrize(
    "path", [pytest.param(path, marks=[pytest.mark.slow] if path in SELDOM else []) for path in PATHS]
)
def test_a_warm_path_allocates_nothing_over_100_000_frames(counter: Path, path: str, strict: bool) -> None:
    found = count(counter, path, strict=strict)
    assert found["frames"] >= FRAMES
    assert found["calls"] == 0
    assert found["block_growth"] == 0
    assert found.get("commands", 1) > 0


@pytest.mark.parametrize("path", SELDOM)
def test_a_path_that_is_counted_seldom_allocates_nothing_over_2000_frames(counter: Path, path: str) -> None:
    found = count(counter, path, strict=False, frames=2_000)
    assert (found["calls"], found["block_growth"]) == (0, 0)


@pytest.mark.parametrize(("allocate", "strict"), [("malloc", False), ("malloc", True), ("object", True)])
def test_a_deliberate_allocation_is_counted(counter: Path, allocate: str, strict: bool) -> None:
    found = count(counter, "market_books", strict=strict, allocate=allocate, frames=1)
    assert found["calls"] > 0


def test_a_deliberate_python_object_shows_as_growth(counter: Path) -> None:
    found = count(counter, "market_books", strict=False, allocate="object", frames=1)
    assert found["block_growth"] > 0
