"""Many seeds over processes of this machine; what is finished is kept in a file and not played again."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from invmm.errors import InvmmError
from invmm.research.kept import KeptRows
from invmm.research.provenance import code_digest
from invmm.research.work import Outcome
from invmm.sim.campaign.checkers import Failure
from invmm.sim.campaign.hazards import Planned
from invmm.sim.campaign.report import SeedReport, run_seed


def play_seeds(
    seeds: Sequence[int],
    *,
    minutes: float,
    faults: Sequence[str],
    jobs: int = 1,
    kept: Path | None = None,
    tell: Callable[[SeedReport, bool], object] = lambda report, is_reused: None,
) -> list[SeedReport]:
    """Reports of all seeds, in the order of the seeds.

    Parameters
    ----------
    seeds : sequence of int
    minutes : float
        Simulated, of each.
    faults : sequence of str
        Names that `run_seed` draws from.
    jobs : int
        Processes; 1 plays in this one.
    kept : Path, optional
        Finished seeds are appended there, and those that it has are not played again.
    tell : callable
        Gets each report as it comes, and whether it was read from `kept`.

    Raises
    ------
    ConfigError
        `kept` has seeds of other code or other faults.
    DataError
        `kept` is not such a file.
    InUseError
        Another process holds `kept`.
    InvmmError
        A process that played a seed was killed. What was finished is kept.
    """
    done: dict[int, SeedReport] = {}
    work = partial(run_seed, minutes=minutes, faults=tuple(faults))
    length = f"{minutes} minutes"
    with _keeping(kept, faults) as rows:
        left = []
        for seed in seeds:
            row = rows.get({}, length, seed) if rows is not None else None
            if row is None or row.figures is None:
                left.append(seed)
                continue
            done[seed] = _report_of(row.figures)
            tell(done[seed], True)
        for report in _played(work, left, min(jobs, len(left))):
            if rows is not None:
                rows.add({}, length, report.seed, Outcome(asdict(report)))
            done[report.seed] = report
            tell(report, False)
    return [done[seed] for seed in seeds]


def _keeping(path: Path | None, faults: Sequence[str]) -> KeptRows | nullcontext[None]:
    if path is None:
        return nullcontext()
    return KeptRows(path, {"code": code_digest(), "faults": list(faults)}, resume=True)


def _played(work: Callable[[int], SeedReport], seeds: Sequence[int], jobs: int) -> Iterator[SeedReport]:
    if jobs <= 1:
        yield from map(work, seeds)
        return
    with _processes(jobs) as pool:
        # Ctrl-C goes to every process of the terminal, and is this one's to answer. Blocked, it is inherited
        # by those that begin here.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            given = [pool.submit(work, seed) for seed in seeds]
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for future in as_completed(given):
            try:
                yield future.result()
            except BrokenProcessPool:
                raise InvmmError("a process that played a seed was killed (memory?)") from None


@contextmanager
def _processes(jobs: int) -> Iterator[Executor]:
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))
    try:
        yield pool
    except BaseException:
        for child in multiprocessing.active_children():
            child.kill()  # it holds nothing that must be put down, and a seed may take a minute more
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _report_of(figures: Mapping[str, Any]) -> SeedReport:
    """A report from what JSON kept of it."""
    failures = [Failure(**one) for one in figures["failures"]]
    plan = [Planned(**one) for one in figures["plan"]]
    return SeedReport(**{**figures, "failures": failures, "plan": plan})
