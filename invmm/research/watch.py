"""How far a sweep is: a bar with the time left, and failures as they come."""

from __future__ import annotations

from types import TracebackType
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from invmm.research.work import Job, Outcome

SPEED_PERIOD_S: Final = 600.0  # a row takes seconds: the time left is told by the last ten minutes


class SweepProgress:
    """Shows rows done and time left on standard error; nothing unless `enabled`."""

    def __init__(self, total: int, *, enabled: bool) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not enabled,
            speed_estimate_period=SPEED_PERIOD_S,
        )
        self._enabled = enabled
        self._total = total
        self._failed = 0
        self._task = self._bar.add_task("rows", total=total)

    def __enter__(self) -> SweepProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def row(self, job: Job, outcome: Outcome, *, is_reused: bool) -> None:
        """A row is there. One that was there before says nothing about how long the others take."""
        if is_reused:
            self._total -= 1
            self._bar.update(self._task, total=self._total)
            return
        if outcome.figures is None:
            self._failed += 1
            if self._enabled:
                self._bar.console.print(f"{job}: {outcome.error}", style="red", markup=False, highlight=False)
        words = f"rows, {self._failed} failed" if self._failed else "rows"
        self._bar.update(self._task, advance=1, description=words)
