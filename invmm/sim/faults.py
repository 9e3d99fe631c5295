"""Faults that the embedded venue can be asked for: armed with a rate or a count, drawn from one seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

from aiohttp import web

from invmm.sim.profile import SECOND
from invmm.sim.stream import KINDS as STREAM_KINDS

KINDS = frozenset(
    (
        "http", "lose", "slow", "late", "partial", "revoke",
        "drop", "duplicate", "reorder", "hide", "lag", "undead", "rename",
        "clock_offset", "version", "hydration", "geoblock",
        *STREAM_KINDS,
    )
)  # fmt: skip
"""Faults that wait for their moment, or are a state; `control` does the others at once. Its table says what
each one is.
"""


@dataclass(slots=True)
class Fault:
    """One armed fault: strikes a share `rate` of its occasions, `left` times at most (None: no end)."""

    rate: float
    left: int | None
    figures: dict[str, Any] = field(default_factory=dict)

    def number(self, name: str, default: float) -> float:
        """A figure that was given with the fault."""
        return float(self.figures.get(name, default))


class Faults:
    """The armed faults of a server. The same seed and the same sequence of occasions strike alike."""

    def __init__(self, seed: int) -> None:
        self._armed: dict[str, Fault] = {}
        self._random = Random(f"{seed}:faults")
        self._hidden: dict[str, bool] = {}  # by order or trade: the draw of `hide`
        self.struck: Counter[str] = Counter()

    def arm(self, kind: str, figures: dict[str, Any]) -> None:
        """Arms a fault, in the place of an earlier one of its kind.

        `rate` (share of occasions, default 1) and `count` (default 1, without end when a rate is given).
        ValueError for a kind that is none, a rate beyond 0 to 1, a count below 0.
        """
        if kind not in KINDS:
            raise ValueError(f"unknown fault {kind!r}")
        told = dict(figures)
        rate = told.pop("rate", None)
        count = told.pop("count", 1 if rate is None else None)
        share = 1.0 if rate is None else float(rate)
        if not 0 <= share <= 1:
            raise ValueError(f"rate: expected a share from 0 to 1, got {rate!r}")
        if count is not None and (not isinstance(count, int) or count < 0):
            raise ValueError(f"count: expected an integer of at least 0, got {count!r}")
        self._armed[kind] = Fault(share, count, told)
        if kind == "hide":
            self._hidden.clear()

    def clear(self, kind: str | None = None) -> None:
        """Disarms one kind, or all."""
        if kind is None:
            self._armed.clear()
        else:
            self._armed.pop(kind, None)

    def armed(self, kind: str) -> Fault | None:
        """The armed fault of a kind, without an occasion: for faults that are a state."""
        fault = self._armed.get(kind)
        return fault if fault is not None and fault.left != 0 else None

    def strike(self, kind: str) -> Fault | None:
        """An occasion: the fault when it strikes now."""
        fault = self.armed(kind)
        if fault is None or (fault.rate < 1 and self._random.random() >= fault.rate):
            return None
        if fault.left is not None:
            fault.left -= 1
        self.struck[kind] += 1
        return fault

    def strike_request(self, kind: str, request: web.Request) -> Fault | None:
        """An occasion of a fault that may be narrowed to a `method` and to paths that start with `path`."""
        fault = self.armed(kind)
        if fault is None or fault.figures.get("method") not in (None, "", request.method):
            return None
        if not request.path.startswith(str(fault.figures.get("path", ""))):
            return None
        return self.strike(kind)

    def hides(self, name: str, listing: str, age_ns: int) -> bool:
        """Whether `hide` keeps an order or trade of this age out of a listing; drawn once for each."""
        fault = self._armed.get("hide")
        if fault is None or fault.figures.get("listing", listing) != listing:
            return False
        if fault.figures.get("id", name) != name or age_ns > fault.number("seconds", 1e9) * SECOND:
            return False
        if name not in self._hidden:
            self._hidden[name] = self.strike("hide") is not None
        return self._hidden[name]

    def lag_ns(self, listing: str) -> int:
        """How far a listing lies behind."""
        fault = self.armed("lag")
        if fault is None or fault.figures.get("listing", listing) != listing:
            return 0
        return int(fault.number("seconds", 5.0) * SECOND)

    def deliveries(self, event_type: str) -> list[int]:
        """When copies of a user event are delivered, in nanoseconds after its time: normally once, at 0."""
        late = 0
        for kind in ("drop", "reorder"):
            fault = self.armed(kind)
            if fault is None or fault.figures.get("event") not in (None, event_type):
                continue
            struck = self.strike(kind)
            if struck is not None and kind == "drop":
                return []
            if struck is not None:
                late = int(self._random.random() * struck.number("seconds", 1.0) * SECOND)
        again = self.armed("duplicate")
        if again is not None and again.figures.get("event") in (None, event_type):
            struck = self.strike("duplicate")
            if struck is not None:
                return [late, late + int(self._random.random() * struck.number("seconds", 1.0) * SECOND)]
        return [late]
