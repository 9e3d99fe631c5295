"""The sweep itself: points from a search, jobs over workers, rows kept as they come."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import invmm
from invmm.replay.entrants import Entrant
from invmm.research.kept import KeptRows
from invmm.research.markets import Market
from invmm.research.provenance import code_digest, commit
from invmm.research.search import Search
from invmm.research.space import REPLAYED, Axis, Point
from invmm.research.spread import Crew, spread
from invmm.research.table import SCHEMA, Row
from invmm.research.work import Job, Outcome
from invmm.settings import Settings


@dataclass(frozen=True)
class Plan:
    """What is swept; equal plans on equal code give equal rows, whoever plays them."""

    who: Entrant
    settings: Settings
    axes: tuple[Axis, ...]
    search: Mapping[str, Any]
    """How points are found, as plain data."""
    markets: tuple[Market, ...]
    seeds: tuple[int, ...]
    held_back: int
    """Recorded markets of the folders named that are not among `markets`."""
    objective: str
    is_minimized: bool = False

    def market(self, job: Job) -> Market:
        """Of a job."""
        return next(market for market in self.markets if market.source == job.market)

    def identity(self) -> dict[str, Any]:
        """What each row depends on beside its point, market and seed."""
        settings = dataclasses.asdict(self.who.settings(self.settings))
        return {
            "code": {"version": invmm.__version__, "digest": code_digest()},
            "policy": self.who.text,
            "settings": {name: settings[name] for name in REPLAYED},
        }

    def metadata(self) -> dict[str, Any]:
        """What is kept with the rows, plain data."""
        return {
            "schema": SCHEMA,
            **self.identity(),
            "commit": commit(),
            "parameters": [axis.described() for axis in self.axes],
            "search": dict(self.search),
            "markets": [{"name": market.name, "key": market.key} for market in self.markets],
            "held_back": self.held_back,
            "seeds": list(self.seeds),
            "objective": self.objective,
            "minimize": self.is_minimized,
        }


@dataclass(frozen=True)
class TrialSummary:
    """What a point came to over all its markets and seeds."""

    trial: int
    point: Point
    value: float | None
    """Mean of the objective over the rows that have it; None where a row failed, or none has it."""
    error: float | None
    """Standard error of that mean, seeds of one market averaged first; None below two markets."""
    rows: int
    failed: int


@dataclass
class Result:
    """All of it."""

    rows: list[Row] = field(default_factory=list)
    trials: list[TrialSummary] = field(default_factory=list)
    played: int = 0
    reused: int = 0

    @property
    def failed(self) -> list[Row]:
        """Rows without figures."""
        return [row for row in self.rows if row.outcome.figures is None]

    def ranked(self, *, is_minimized: bool = False) -> list[TrialSummary]:
        """Trials that have a value, best first; of equal ones the earlier."""
        sign = 1.0 if is_minimized else -1.0
        return sorted(
            (one for one in self.trials if one.value is not None), key=lambda one: sign * (one.value or 0.0)
        )


class Watch(Protocol):
    """Is told how far it is."""

    def row(self, job: Job, outcome: Outcome, *, is_reused: bool) -> None:
        """A row is there."""


def run(plan: Plan, search: Search, kept: KeptRows, hire: Callable[[int], Crew], watch: Watch) -> Result:
    """Runs the sweep to its end.

    Parameters
    ----------
    plan : Plan
    search : Search
        Fresh.
    kept : KeptRows
        Rows that are there already, and where new ones go.
    hire : callable
        Makes the workers, of which there is use for as many as it is told; called for the first job.
    watch : Watch

    Returns
    -------
    Result
        Rows in order of trial, market and seed. A row that failed is among them and ends nothing.
    """
    result = Result()
    crew: Crew | None = None
    is_done = False
    per_trial = len(plan.markets) * len(plan.seeds)
    try:
        while points := search.batch():
            jobs = [
                Job(trial, point, market.source, seed)
                for trial, point in enumerate(points, len(result.trials))
                for market in plan.markets
                for seed in plan.seeds
            ]
            outcomes = _kept_outcomes(plan, jobs, kept, watch)
            left = [job for job in jobs if job.address not in outcomes]
            result.reused += len(outcomes)
            result.played += len(left)
            if left:
                crew = crew or hire(len(jobs))
                outcomes |= _played(plan, left, crew, kept, watch)
            rows = [
                Row(job.trial, job.point, plan.market(job).name, job.seed, outcomes[job.address])
                for job in jobs
            ]
            told = [
                summary_of(rows[at : at + per_trial], plan.objective) for at in range(0, len(rows), per_trial)
            ]
            sign = -1.0 if plan.is_minimized else 1.0
            search.tell([None if one.value is None else sign * one.value for one in told])
            result.rows += rows
            result.trials += told
        is_done = True
    finally:
        if crew is not None:
            crew.close(at_once=not is_done)
    return result


Outcomes = dict[tuple[int, str, int], Outcome]


def _kept_outcomes(plan: Plan, jobs: Sequence[Job], kept: KeptRows, watch: Watch) -> Outcomes:
    """Of the jobs that need not be played."""
    outcomes = {}
    for job in jobs:
        found = kept.get(job.point, plan.market(job).key, job.seed)
        if found is not None:
            outcomes[job.address] = found
            watch.row(job, found, is_reused=True)
    return outcomes


def _played(plan: Plan, jobs: Sequence[Job], crew: Crew, kept: KeptRows, watch: Watch) -> Outcomes:
    outcomes = {}
    for job, outcome in spread(jobs, crew):
        key = plan.market(job).key
        kept.add(job.point, key, job.seed, outcome)
        outcomes[job.address] = outcome = kept.get(job.point, key, job.seed) or outcome
        watch.row(job, outcome, is_reused=False)
    return outcomes


def summary_of(rows: Sequence[Row], objective: str) -> TrialSummary:
    """What the rows of one trial came to."""
    by_market: dict[str, list[float]] = {}
    failed = sum(row.outcome.figures is None for row in rows)
    for row in rows:
        value = (row.outcome.figures or {}).get(objective)
        if value is not None and math.isfinite(value):
            by_market.setdefault(row.market, []).append(float(value))
    values = [value for each in by_market.values() for value in each]
    value = math.fsum(values) / len(values) if values and not failed else None
    error = None
    if value is not None and len(by_market) > 1:
        means = [math.fsum(each) / len(each) for each in by_market.values()]
        middle = math.fsum(means) / len(means)
        spread_ = math.fsum((mean - middle) ** 2 for mean in means) / (len(means) - 1)
        error = math.sqrt(spread_ / len(means))
    return TrialSummary(rows[0].trial, rows[0].point, value, error, len(rows), failed)
