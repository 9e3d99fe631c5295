"""One piece of a sweep: a point of the space on one market with one seed. All workers play these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from typing import Any

from invmm.errors import InvmmError
from invmm.replay.tape import Tape
from invmm.replay.trial import Conditions, play_trial, tape_of
from invmm.research.space import Value, conditions_at, settings_at, told
from invmm.settings import Settings

Figures = Mapping[str, Any]
Play = Callable[[Tape, str, Settings, Conditions, int], Figures]


@dataclass(frozen=True, slots=True)
class Job:
    """What to play: point number `trial` on `market` (a source as `tape_of` takes it) with `seed`."""

    trial: int
    point: Mapping[str, Value]
    market: str
    seed: int

    @property
    def address(self) -> tuple[int, str, int]:
        """What no other job of the sweep has."""
        return self.trial, self.market, self.seed

    def __str__(self) -> str:
        return f"trial {self.trial} ({told(self.point)}) on {self.market}, seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: figures, or why there are none."""

    figures: Figures | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """What all jobs of a sweep share; it goes to every worker once."""

    policy: str
    settings: Settings
    play: Play = play_trial
    fetch: Callable[[str], Tape] = tape_of


class Bench:
    """A worker's place: plays jobs one after another and keeps the market that it played last."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._market = ""
        self._tape: Tape | None = None

    def play(self, job: Job, fetch: Callable[[str], Tape] | None = None) -> Outcome:
        """Plays one job; an error is an outcome, too. `fetch` brings the tape in place of the task's."""
        task = self.task
        try:
            if self._tape is None or self._market != job.market:
                self._tape = None  # one at a time: a tape has tens of megabytes
                self._tape = (fetch or task.fetch)(job.market)
                self._market = job.market
            settings, conditions = settings_at(task.settings, job.point), conditions_at(job.point)
            return Outcome(dict(task.play(self._tape, task.policy, settings, conditions, job.seed)))
        except InvmmError as error:
            return Outcome(None, f"{type(error).__name__}: {error}")
        except Exception as error:
            frames = extract_tb(error.__traceback__)
            where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"
            return Outcome(None, f"{type(error).__name__} at {where}: {error}")
