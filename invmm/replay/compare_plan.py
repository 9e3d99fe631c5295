"""The trials of a comparison: every policy on every market under every case, and the file that keeps them.

A trial's number is its place in the plan; equal plans number alike, so a file of finished trials can be gone
on with. It begins with what the plan was made of, and is refused for another plan.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

from invmm.errors import ConfigError, DataError, InvmmError
from invmm.replay.tape import Tape
from invmm.replay.trial import Conditions, play_trial, tape_of
from invmm.research.processes import ProcessCrew
from invmm.research.provenance import code_digest
from invmm.research.spread import Crew, HereCrew, spread
from invmm.research.work import Job, Outcome, Task
from invmm.settings import Settings

SCHEMA: Final = 1
HEADLINE: Final = "headline"


@dataclass(frozen=True)
class Case:
    """Conditions by a name."""

    name: str
    conditions: Conditions


VARIANTS: Final = (
    Case("proportional queue", Conditions(queue_model="proportional")),
    Case("latency 0 ms", Conditions(latency_ms=0.0)),
    Case("latency 150 ms", Conditions(latency_ms=150.0)),
    Case("latency 500 ms", Conditions(latency_ms=500.0)),
    Case("5 % of settlements FAILED", Conditions(failure_rate=0.05)),
    Case("30 % of settlements FAILED", Conditions(failure_rate=0.3)),
    Case("own size × 5", Conditions(size_factor=5)),
    Case("no price of the underlying", Conditions(prices=False)),
)
"""Each changes one condition of the headline. Rebates change no trial: they are counted afterwards."""
TOXICITIES: Final = (0.0, 0.5, 1.0, 1.5, 2.0)
"""Shares of the generator's own informed flow; 1 is the headline."""


@dataclass(frozen=True)
class Planned:
    """One trial."""

    source: str
    label: str
    """What reports call the policy."""
    text: str
    """With its parameters."""
    case: str
    conditions: Conditions
    seed: int
    series: bool = False


@dataclass(frozen=True)
class Plan:
    """All trials, in an order of their own. Called by workers with a number."""

    trials: tuple[Planned, ...]

    def __call__(
        self, tape: Tape, _policy: str, settings: Settings, _conditions: Conditions, number: int
    ) -> dict[str, Any]:
        """Plays trial `number`."""
        told = self.trials[number]
        row = play_trial(tape, told.text, settings, told.conditions, told.seed, series=told.series)
        return {"label": told.label, "case": told.case, "source": told.source, **row}

    def told(self) -> list[dict[str, Any]]:
        """As JSON holds it."""
        return [asdict(each) for each in self.trials]


class Kept:
    """A file of finished trials, one line each, under a line that says of what plan."""

    def __init__(self, path: Path | None, plan: Plan, settings: Settings) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self.rows: dict[int, dict[str, Any]] = {}
        if path is None:
            return
        header = {
            "comparison": SCHEMA,
            "code": code_digest(),
            "settings": asdict(settings),
            "trials": plan.told(),
        }
        header = json.loads(json.dumps(header))
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]  # the last one may have been cut short
        if whole:
            self._read(path, header, whole)
        else:
            whole = [json.dumps(header).encode() + b"\n"]
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        beside.write_bytes(b"".join(whole))
        beside.replace(path)
        self._file = path.open("ab")

    def _read(self, path: Path, header: dict[str, Any], lines: Sequence[bytes]) -> None:
        try:
            known = json.loads(lines[0])
            rows = [json.loads(line) for line in lines[1:]]
            self.rows = {int(each["number"]): each["row"] for each in rows}
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: not a file of finished trials: {error!r}") from None
        if not isinstance(known, dict) or known.keys() != header.keys():
            raise DataError(f"{path}: not a file of finished trials")
        words = {
            "comparison": "another version's file",
            "code": "trials of other code (commit or build)",
            "settings": "trials with other settings",
            "trials": "trials of other policies, markets or conditions",
        }
        for key, said in words.items():
            if known[key] != header[key]:
                raise ConfigError(f"--resume {path}: it has {said}; name another file, or remove it")

    def add(self, number: int, row: dict[str, Any]) -> None:
        """Keeps a finished trial."""
        self.rows[number] = row
        if self._file is not None:
            self._file.write(json.dumps({"number": number, "row": row}).encode() + b"\n")
            self._file.flush()

    def __enter__(self) -> Kept:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


def play(
    plan: Plan,
    settings: Settings,
    *,
    jobs: int = 1,
    path: Path | None = None,
    tell: Callable[[Job, Outcome, bool], object] = lambda job, outcome, is_reused: None,
    crew: Crew | None = None,
) -> list[dict[str, Any]]:
    """Plays what the file does not have yet; the rows of all trials, in the order of the plan.

    Raises
    ------
    InvmmError
        A trial failed; what has been played is kept in the file.
    ConfigError
        The file is of another plan.
    """
    with Kept(path, plan, settings) as kept:
        left = []
        for number, told in enumerate(plan.trials):
            job = Job(number, {}, told.source, number)
            if number in kept.rows:
                tell(job, Outcome(kept.rows[number]), True)
            else:
                left.append(job)
        failed: list[str] = []
        for job, outcome in _played(left, plan, settings, jobs, crew):
            tell(job, outcome, False)
            if outcome.figures is None:
                told = plan.trials[job.trial]
                failed.append(f"{told.text} on {told.source} ({told.case}): {outcome.error}")
            else:
                kept.add(job.trial, dict(outcome.figures))
        if failed:
            raise InvmmError(f"{len(failed)} of {len(plan.trials)} trials failed; the first: {failed[0]}")
        return [kept.rows[number] for number in range(len(plan.trials))]


def _played(
    left: Iterable[Job], plan: Plan, settings: Settings, jobs: int, crew: Crew | None
) -> Iterator[tuple[Job, Outcome]]:
    task = Task("", settings, plan, tape_of)
    crew = crew or (HereCrew(task) if jobs == 1 else ProcessCrew(task, jobs))
    is_whole = False
    try:
        yield from spread(left, crew)
        is_whole = True
    finally:
        crew.close(at_once=not is_whole)
