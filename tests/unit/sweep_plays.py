"""What a sweep plays in tests of its machinery: no markets, and by import, so that workers find it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from invmm.errors import DataError
from invmm.replay.entrants import entrant
from invmm.replay.tape import Tape
from invmm.replay.trial import Conditions
from invmm.research.kept import KeptRows
from invmm.research.markets import Market
from invmm.research.search import Grid, Search
from invmm.research.space import parse_space
from invmm.research.spread import Crew, HereCrew
from invmm.research.sweep import Plan, Result, run
from invmm.research.work import Job, Outcome, Play, Task
from invmm.settings import Settings

MARKETS = tuple(Market(name, name, name) for name in ("m-1", "m-2", "m-3"))
AXES = ("strategy.order_size=10,20,40", "conditions.latency_ms=0,50")


def no_tape(source: str) -> Any:
    """Stands for the tape: its name."""
    return source


def damaged(source: str) -> Tape:
    """A market that cannot be read."""
    raise DataError(f"{source}: damaged")


def figures(
    tape: Any, policy: str, settings: Settings, conditions: Conditions, seed: int
) -> Mapping[str, Any]:
    """Figures that depend on every argument."""
    number = int(str(tape).removeprefix("m-"))
    size = settings.strategy.order_size
    return {
        "profit_dollars": -((size - 17.3) ** 2) - conditions.latency_ms * 0.1 + number + seed / 3,
        "fills": number,
        "pair_cost": None if number == 2 else 0.1 + size,
        "reasons": {"cool_down": seed},
    }


def fails_at_40(tape: Any, policy: str, settings: Settings, conditions: Conditions, seed: int) -> Any:
    """A policy that cannot take one of the sizes."""
    if settings.strategy.order_size == 40 and str(tape) == "m-2":
        raise ValueError("no such size")
    return figures(tape, policy, settings, conditions, seed)


def dies_at_40(tape: Any, policy: str, settings: Settings, conditions: Conditions, seed: int) -> Any:
    """As a compiled policy may: the process is gone, killed or by itself."""
    if settings.strategy.order_size == 40 and str(tape) == "m-2" and conditions.latency_ms == 0:
        if seed == 2:
            os._exit(3)
        os.kill(os.getpid(), signal.SIGKILL)
    return figures(tape, policy, settings, conditions, seed)


@dataclass
class Notes:
    """A watch that writes down what it is told."""

    played: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)

    def row(self, job: Job, outcome: Outcome, *, is_reused: bool) -> None:
        """One more."""
        (self.reused if is_reused else self.played).append(str(job))


class ShuffledCrew:
    """Workers whose outcomes come in an order that is somebody else's choice."""

    def __init__(self, task: Task, size: int, choices: Iterator[int]) -> None:
        self.size = size
        self.given: dict[int, list[Job]] = {worker: [] for worker in range(size)}
        self._crew = HereCrew(task)
        self._busy: list[int] = []
        self._choices = choices

    def give(self, worker: int, job: Job) -> None:
        """Must be free."""
        assert worker not in self._busy
        self._busy.append(worker)
        self.given[worker].append(job)

    def wait(self) -> list[tuple[int, Outcome]]:
        """One of those at work."""
        worker = self._busy.pop(next(self._choices) % len(self._busy))
        self._crew.give(0, self.given[worker][-1])
        return [(worker, outcome) for _, outcome in self._crew.wait()]

    def close(self, *, at_once: bool = False) -> None:
        """Nothing."""


def a_plan(axes: tuple[str, ...] = AXES, seeds: int = 2, objective: str = "profit_dollars") -> Plan:
    """Over three markets that nobody reads."""
    who, settings = entrant("inventory_mm"), Settings()
    return Plan(
        who=who,
        settings=settings,
        axes=parse_space(axes, settings, who),
        search={},
        markets=MARKETS,
        seeds=tuple(range(1, seeds + 1)),
        held_back=0,
        objective=objective,
    )


def a_task(play: Play = figures) -> Task:
    """Plays that."""
    return Task("inventory_mm", Settings(), play, no_tape)


def swept(
    folder: Path,
    crew: Crew | None = None,
    *,
    plan: Plan | None = None,
    search: Search | None = None,
    resume: bool = False,
    watch: Notes | None = None,
    identity: Mapping[str, Any] | None = None,
) -> Result:
    """Runs a sweep with rows kept in `folder`."""
    plan = plan or a_plan()
    with KeptRows(folder / "rows.jsonl", identity or {"code": 1}, resume=resume) as kept:
        return run(
            plan,
            search or Grid(plan.axes),
            kept,
            lambda _useful: crew or HereCrew(a_task()),
            watch or Notes(),
        )
