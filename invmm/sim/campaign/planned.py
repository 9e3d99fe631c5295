"""What a fault of a world is, and when one of a plan happens: plain data, so a plan can be made smaller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from invmm.sim.campaign.world import World

Figures = dict[str, Any]


@dataclass(frozen=True)
class Planned:
    """One fault of a plan: from `at_s` to `until_s` of the world's time."""

    name: str
    at_s: float
    until_s: float
    figures: Figures = field(default_factory=dict)

    def __str__(self) -> str:
        told = " ".join(f"{name}={value}" for name, value in self.figures.items())
        return f"{self.at_s:7.1f} to {self.until_s:7.1f} s  {self.name}  {told}"


@dataclass(frozen=True)
class Hazard:
    """One kind of fault.

    `draw(random)` gives figures and how long it lasts; `begin` and `end` do it to a world. `stops`: it may
    rightly end all quoting, so that an alarm under it is none too many. `slows`: it may hold up a cancel, or
    whoever would send it. `apart`: drawn only where it is named, so that the plans of known seeds stay as
    they are.
    """

    what: str
    rows: str
    draw: Callable[[Random], tuple[Figures, float]]
    begin: Callable[[World, Figures], object]
    end: Callable[[World, Figures], object] = lambda world, figures: None
    stops: bool = False
    slows: bool = False
    weight: float = 1.0
    apart: bool = False


def lasting(low_s: float, high_s: float, **figures: Any) -> Callable[[Random], tuple[Figures, float]]:
    """Draws how long a fault lasts; its figures are given."""
    return lambda random: (dict(figures), random.uniform(low_s, high_s))
