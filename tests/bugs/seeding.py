"""How a bug is put in: by replacing Python functions for a while, or by editing a copy of the sources and
building the compiled module that changed.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from invmm.settings import Settings
from invmm.sim.campaign import world as worlds
from invmm.sim.campaign.checkers import Failure
from invmm.sim.campaign.hazards import Planned

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (
    '    for folder in ("invmm/_ext", "invmm/feed", "invmm/execution")\n'
    '    for path in sorted(Path(folder).glob("*.pyx"))\n'
)
CHECKERS = frozenset(
    [
        "exposure",
        "orphans",
        "lost_fills",
        "double_fills",
        "positions",
        "sends",
        "guards",
        "rest",
        "journal",
        "secrets",
        "engine",
        "budget",
        "unknown",
        "stall",
    ]
)


@dataclass(frozen=True)
class Edit:
    """A replacement in one compiled module; `old` must be there exactly once."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Bug:
    """One bug.

    Parameters
    ----------
    name, text : str
    plan : tuple of Planned
        The campaign's faults under which it shows.
    seed : int
        With which it was found soonest.
    caught_by : str
        The checker that finds it there.
    put_in : callable, optional
        Replaces Python functions.
    edits : sequence of Edit
        Of compiled modules.
    minutes : float
        Simulated.
    open_orders : int
        Limit of possibly-live orders, 0: as it is; for bugs that only show where a limit is near.
    """

    name: str
    text: str
    plan: tuple[Planned, ...]
    seed: int
    caught_by: str
    put_in: Callable[[pytest.MonkeyPatch], None] | None = None
    edits: tuple[Edit, ...] = ()
    minutes: float = 1.5
    open_orders: int = 0


@dataclass(frozen=True)
class Catch:
    """What a seed showed: failures by checker, in how many seconds, and the first failure's words."""

    seed: int
    counts: dict[str, int]
    wall_s: float
    at_s: float = 0.0
    text: str = ""


def play(seed: int, minutes: float, plan: Sequence[Planned], open_orders: int = 0) -> Catch:
    """One seed of the campaign in this process, with whatever code is loaded, to its end."""
    from invmm.sim.campaign import run_seed

    with limited(open_orders):
        report = run_seed(seed, minutes=minutes, plan=list(plan))
    return catch_of(seed, report.failures, dict(report.counts), report.wall_s)


@contextmanager
def limited(open_orders: int) -> Iterator[None]:
    """Worlds that are made inside allow so many orders; 0: what they usually do."""
    with pytest.MonkeyPatch.context() as patch:
        if open_orders:
            usual = worlds.settings_of

            def settings_of(seed: int) -> Settings:
                given = usual(seed)
                strategy = replace(given.strategy, num_levels=1)
                return replace(
                    given, risk=replace(given.risk, max_open_orders=open_orders), strategy=strategy
                )

            patch.setattr(worlds, "settings_of", settings_of)
        yield


def play_until_found(seed: int, minutes: float, plan: Sequence[Planned], open_orders: int = 0) -> Catch:
    """`play`, but the world ends with the first failure."""
    with limited(open_orders):
        world = worlds.World(seed, list(plan), minutes)
    whole, fail = world._play, world.fail

    async def until_found() -> None:
        main = world.loop.create_task(whole())

        def failed(checker: str, text: str) -> None:
            fail(checker, text)
            world.loop.call_soon(main.cancel, context=Context())

        world.fail = failed  # type: ignore[method-assign]
        try:
            await main
        except asyncio.CancelledError:
            world._digest = ""
            world.loop.set_exception_handler(lambda loop, context: None)
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            for process in world.processes:
                process.go_on(world.loop)  # their tasks may unwind
            if rest:
                await asyncio.wait(rest, timeout=5)

    world._play = until_found  # type: ignore[method-assign]
    outcome = world.run()
    return catch_of(seed, outcome.failures, dict(outcome.findings.counts), outcome.wall_s)


def catch_of(seed: int, failures: Sequence[Failure], counts: dict[str, int], wall_s: float) -> Catch:
    """A seed's failures in short."""
    first = min(failures, key=lambda failure: failure.at_s, default=None)
    at_s, text = (0.0, "") if first is None else (first.at_s, f"{first.checker}: {first.text}")
    return Catch(seed, counts, round(wall_s, 2), at_s, text)


@contextmanager
def infected(bug: Bug) -> Iterator[Callable[[int], Catch]]:
    """The engine with a bug; gives a function that plays a seed in it."""
    if bug.edits:
        with tempfile.TemporaryDirectory(prefix="invmm-bug-") as folder:
            copy = edited_copy(Path(folder), bug.edits)
            yield lambda seed: play_in(copy, seed, bug)
    else:
        assert bug.put_in is not None
        with pytest.MonkeyPatch.context() as patch:
            bug.put_in(patch)
            yield lambda seed: play_until_found(seed, bug.minutes, bug.plan, bug.open_orders)


def edited_copy(folder: Path, edits: Sequence[Edit]) -> Path:
    """A copy of package and tests with the edits in it, and the modules that changed built anew."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "invmm", folder / "invmm", ignore=ignored)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, folder / name)
    for edit in edits:
        replace_once(folder / edit.path, edit.old, edit.new)
    compiled = dict.fromkeys(edit.path for edit in edits if edit.path.endswith(".pyx"))
    paths = ", ".join(f'Path("{path}")' for path in compiled)
    replace_once(folder / "setup.py", SOURCES, f"    for path in [{paths}]\n")
    compiler = {"CC": "ccache gcc"} if shutil.which("ccache") and "CC" not in os.environ else {}
    compiler["INVMM_CFLAGS"] = "-O0"  # a world plays a minute or two: building is what takes time
    run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], folder, compiler)
    return folder


def replace_once(path: Path, old: str, new: str) -> None:
    """Edits a file; ValueError unless `old` is in it exactly once."""
    text = path.read_text()
    if text.count(old) != 1:
        raise ValueError(f"{path.name}: expected exactly once, found {text.count(old)} times: {old!r}")
    path.write_text(text.replace(old, new))


def play_in(copy: Path, seed: int, bug: Bug) -> Catch:
    """`play_until_found` in another process, with the code of a copy."""
    call = f"play_until_found({seed}, {bug.minutes}, {list(bug.plan)!r}, {bug.open_orders})"
    program = (
        "import json; from dataclasses import asdict; import invmm; "
        "from tests.bugs.seeding import Planned, play_until_found; "
        f"assert invmm.__file__.startswith({str(copy)!r}); print(json.dumps(asdict({call})))"
    )
    told: dict[str, Any] = json.loads(run([sys.executable, "-c", program], copy).splitlines()[-1])
    return Catch(**told)


def run(command: list[str], folder: Path, more: dict[str, str] | None = None) -> str:
    """Output of a program that has to succeed."""
    environment = {**os.environ, "PYTHONPATH": str(folder), **(more or {})}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[:2]} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def hunt(bug: Bug, play_seed: Callable[[int], Catch], tries: int = 12) -> Catch | None:
    """The first seed with which the right checker finds a bug: the known one, else the next few."""
    for seed in [bug.seed, *(seed for seed in range(1, tries + 2) if seed != bug.seed)]:
        catch = play_seed(seed)
        if bug.caught_by in catch.counts:
            return catch
    return None
