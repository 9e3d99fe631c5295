"""Jobs over workers, whoever these are: each worker stays with a market as long as there is work on it.

Making or reading a market's tape costs as much as playing it, so a worker takes the jobs of one market one
after another, then a market that nobody has begun, then whatever is left. The order in which outcomes come is
nobody's promise; what they are does not depend on it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol

from invmm.research.work import Bench, Job, Outcome, Task


class Crew(Protocol):
    """Workers, numbered from 0."""

    size: int

    def give(self, worker: int, job: Job) -> None:
        """Starts a job on a worker that has none."""

    def wait(self) -> list[tuple[int, Outcome]]:
        """Waits until at least one worker is done; those, with what came. A worker that ended with its job
        is done, with an error as outcome, and takes the next job like the others.
        """

    def close(self, *, at_once: bool = False) -> None:
        """Ends the workers; `at_once`: without waiting for what they are at."""


class HereCrew:
    """This process: one worker, which plays while it is waited for."""

    size = 1

    def __init__(self, task: Task) -> None:
        self._bench = Bench(task)
        self._job: Job | None = None

    def give(self, worker: int, job: Job) -> None:
        """Remembers it."""
        self._job = job

    def wait(self) -> list[tuple[int, Outcome]]:
        """Plays it."""
        job, self._job = self._job, None
        return [] if job is None else [(0, self._bench.play(job))]

    def close(self, *, at_once: bool = False) -> None:
        """Nothing to end."""


def spread(jobs: Iterable[Job], crew: Crew) -> Iterator[tuple[Job, Outcome]]:
    """Plays all jobs; each with its outcome, as they come."""
    waiting: dict[str, deque[Job]] = {}
    for job in jobs:
        waiting.setdefault(job.market, deque()).append(job)
    untouched = deque(waiting)
    market_of: dict[int, str] = {}
    at_work: dict[int, Job] = {}

    def give_next(worker: int) -> None:
        market = market_of.get(worker)
        if market not in waiting:
            if untouched:
                market = untouched.popleft()
            elif waiting:
                market = max(waiting, key=lambda name: len(waiting[name]))
            else:
                return
        job = waiting[market].popleft()
        if not waiting[market]:
            del waiting[market]
        market_of[worker], at_work[worker] = market, job
        crew.give(worker, job)

    for worker in range(crew.size):
        give_next(worker)
    while at_work:
        for worker, outcome in crew.wait():
            job = at_work.pop(worker)
            give_next(worker)
            yield job, outcome
