"""A progress line for work without a live view; nothing where there is no terminal."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from invmm.replay.tape import Tape


class Progress:
    """Shows which market is being played and how far it is."""

    def __init__(self, markets: int, *, enabled: bool) -> None:
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not enabled,
        )
        self._task = self._bar.add_task("markets", total=markets)
        self._done = 0.0
        self._current: str | None = None

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, tape: Tape, share: float) -> None:
        """`share` (0…1) of this market is done."""
        if tape.market.slug != self._current:
            if self._current is not None:
                self._done = float(int(self._done) + 1)
            self._current = tape.market.slug
        self._bar.update(self._task, description=tape.market.slug, completed=int(self._done) + share)
