"""Queue models: where in a level the shares stood that were cancelled, which a public feed does not tell.

A level's decrease that no trade explains is a cancellation. Each model answers one question: how many shares
are still ahead of an order after such a decrease. All arithmetic is on integer micro-shares; where a share of
a cancellation would be fractional it is taken from behind, so that no model is kinder than its formula.

The probability models follow the idea that made hftbacktest the reference in the field: the chance that a
cancelled share stood behind us grows with how much stands there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class QueueModel(Protocol):
    """How cancellations are apportioned between the shares ahead of an order and those behind it."""

    def after_cancel(self, ahead_micro: int, behind_micro: int, cancelled_micro: int) -> int:
        """Shares still ahead after `cancelled_micro` of the `ahead_micro + behind_micro` public shares were
        cancelled.

        Parameters
        ----------
        ahead_micro, behind_micro : int
            Public shares before and after the order in its queue, micro-shares, not negative.
        cancelled_micro : int
            Shares that left the level without a trade, not negative.

        Returns
        -------
        int
            New shares ahead, from 0 to `ahead_micro`, and never more than the shares that are left.
        """
        ...


def _bounded(ahead_micro: int, from_ahead_micro: int, behind_micro: int, cancelled_micro: int) -> int:
    """Takes what the model says from ahead, at least what does not fit behind, at most what is there."""
    least = max(0, cancelled_micro - behind_micro)
    return max(0, ahead_micro - max(least, from_ahead_micro))


@dataclass(frozen=True)
class Conservative:
    """Cancellations come from behind us as long as there is anybody behind us."""

    def after_cancel(self, ahead_micro: int, behind_micro: int, cancelled_micro: int) -> int:
        """Takes from ahead only what does not fit behind."""
        return _bounded(ahead_micro, 0, behind_micro, cancelled_micro)


@dataclass(frozen=True)
class Proportional:
    """Every resting share is equally likely to be cancelled."""

    def after_cancel(self, ahead_micro: int, behind_micro: int, cancelled_micro: int) -> int:
        """Takes from ahead its proportion of the level, rounded down."""
        total = ahead_micro + behind_micro
        if total <= 0:
            return 0
        cancelled_micro = min(cancelled_micro, total)
        return _bounded(ahead_micro, cancelled_micro * ahead_micro // total, behind_micro, cancelled_micro)


@dataclass(frozen=True)
class Power:
    """A cancelled share stood ahead with probability ahead^n / (ahead^n + behind^n).

    n = 1 is `Proportional`; a larger n puts the cancellation more decidedly on the longer side. `exponent` is
    from 0.1 to 10.
    """

    exponent: float = 2.0

    def __post_init__(self) -> None:
        if not 0.1 <= self.exponent <= 10:
            raise ValueError(f"exponent: expected 0.1 to 10, got {self.exponent}")

    def after_cancel(self, ahead_micro: int, behind_micro: int, cancelled_micro: int) -> int:
        """Takes from ahead the probability-weighted share, rounded down."""
        total = ahead_micro + behind_micro
        if total <= 0:
            return 0
        cancelled_micro = min(cancelled_micro, total)
        front = (ahead_micro / total) ** self.exponent
        back = (behind_micro / total) ** self.exponent
        return _bounded(
            ahead_micro, int(cancelled_micro * (front / (front + back))), behind_micro, cancelled_micro
        )


def named(name: str) -> QueueModel:
    """The model of a setting: "conservative", "proportional", "power" or "power:<exponent>". ValueError
    otherwise.
    """
    kind, _, parameter = name.partition(":")
    if kind == "power":
        return Power(float(parameter)) if parameter else Power()
    if not parameter:
        if kind == "conservative":
            return Conservative()
        if kind == "proportional":
            return Proportional()
    raise ValueError(
        f'queue model: expected "conservative", "proportional" or "power[:exponent]", got {name!r}'
    )
