"""Which points are tried: all of a grid, or what Optuna suggests, in batches of a fixed size.

Optuna is asked for a whole batch before it is told of any of it, and told in the order it was asked: what it
suggests depends on seed, axes and results alone, not on how many workers there are or which was faster.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Final, Protocol

from invmm.errors import ConfigError
from invmm.research.space import Axis, Point, Value, grid

BATCH: Final = 8
SAMPLERS: Final = ("tpe", "random")


class Search(Protocol):
    """Points to try, batch by batch."""

    trials: int
    """How many there are in all."""

    def batch(self) -> list[Point]:
        """The next ones; empty at the end. What the last batch came to has been told."""

    def tell(self, values: Sequence[float | None]) -> None:
        """What the points of the last batch came to, to be as large as possible; None: failed."""


class Grid:
    """Every combination, in one batch."""

    def __init__(self, axes: Sequence[Axis]) -> None:
        self._points: list[Point] = list(grid(axes))
        self.trials = len(self._points)

    def batch(self) -> list[Point]:
        """All, once."""
        points, self._points = self._points, []
        return points

    def tell(self, values: Sequence[float | None]) -> None:
        """Changes nothing."""


class OptunaSearch:
    """Points as an Optuna sampler suggests them: "tpe", or "random".

    Parameters
    ----------
    axes : sequence of Axis
    trials : int
        How many, at least 1.
    sampler : {"tpe", "random"}
    seed : int
        Of the sampler.
    batch_size : int
        Asked for at once. More means more that can be played at once, and less that a suggestion knows of.

    Raises
    ------
    ConfigError
        Optuna is not installed, or a figure is out of range.
    """

    def __init__(
        self, axes: Sequence[Axis], trials: int, sampler: str = "tpe", seed: int = 0, batch_size: int = BATCH
    ) -> None:
        if sampler not in SAMPLERS:
            raise ConfigError(f"--sampler: expected one of {', '.join(SAMPLERS)}, found {sampler!r}")
        if trials < 1 or batch_size < 1:
            raise ConfigError(f"--optuna, --batch: expected at least 1, found {min(trials, batch_size)}")
        if not 0 <= seed < 2**32:
            raise ConfigError(f"--search-seed: expected 0…{2**32 - 1}, found {seed}")
        self.trials = trials
        self._axes = axes
        self._batch_size = batch_size
        self._optuna = optuna = optuna_module()
        self._words = {
            "kind": "optuna",
            "version": optuna.__version__,
            "trials": trials,
            "sampler": sampler,
            "seed": seed,
            "batch": batch_size,
        }
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of features on trial; one version is pinned
            if sampler == "tpe":
                # Without it, the points of a batch would be much alike.
                made = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
            else:
                made = optuna.samplers.RandomSampler(seed=seed)
        self._study = optuna.create_study(direction="maximize", sampler=made)
        self._asked: list[Any] = []
        self._begun = 0

    def described(self) -> dict[str, Any]:
        """As plain data, for what is kept with the rows."""
        return dict(self._words)

    def batch(self) -> list[Point]:
        """The next ones that it suggests."""
        count = min(self._batch_size, self.trials - self._begun)
        self._asked = [self._study.ask() for _ in range(count)]
        self._begun += count
        return [{axis.name: _suggested(trial, axis) for axis in self._axes} for trial in self._asked]

    def tell(self, values: Sequence[float | None]) -> None:
        """Tells it, in the order it was asked."""
        failed = self._optuna.trial.TrialState.FAIL
        for trial, value in zip(self._asked, values, strict=True):
            if value is None:
                self._study.tell(trial, state=failed)
            else:
                self._study.tell(trial, value)


def optuna_module() -> Any:
    """Optuna; ConfigError says how to get it."""
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            f"--optuna: needs the extra `research` (pip install 'invmm[research]'): {error}"
        ) from error
    return optuna


def _suggested(trial: Any, axis: Axis) -> Value:
    if axis.choices:
        value: Value = trial.suggest_categorical(axis.name, list(axis.choices))
    elif axis.kind is int:
        value = trial.suggest_int(axis.name, int(axis.low), int(axis.high), log=axis.log)
    else:
        value = trial.suggest_float(axis.name, axis.low, axis.high, log=axis.log)
    made: Value = axis.kind(value)
    return made
