"""Groups of commands that wait for a connection, for their rate or for the venue.

Placements wait in groups, bounded, and are gated anew when they go. Cancels wait one by one: a repeated one
takes the place of the earlier, so what waits is bounded by what is alive. All methods belong to the executor
thread; arrays are `COMMAND_DTYPE`.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from invmm.types import COMMAND_DTYPE, CommandKind

Legs = npt.NDArray[np.void]
GROUPS_MAX = 256
CANCELS_MAX = 16_384
CANCELS_PER_REQUEST = 1_000
NEVER_NS = 2**63 - 1


class Waiting:
    """What waits: placements, cancels, cancel-alls."""

    def __init__(self) -> None:
        self.placements: deque[Legs] = deque()
        self.cancel_alls: deque[Legs] = deque()
        self._cancels: dict[tuple[int, bytes], Legs] = {}
        self._until_ns = NEVER_NS  # no placement that waits has an earlier deadline

    def __bool__(self) -> bool:
        return bool(self.placements or self.cancel_alls or self._cancels)

    @property
    def cancels(self) -> int:
        """How many cancels wait."""
        return len(self._cancels)

    def keep(self, kind: int, legs: Legs) -> Legs:
        """Keeps a group. Returns the legs that have no room. A cancel takes the place of an earlier
        one of the same order, of which nothing is said."""
        if kind == CommandKind.CANCEL:
            return self._keep_cancels(legs)
        groups = self.placements if kind == CommandKind.PLACE else self.cancel_alls
        if len(groups) >= GROUPS_MAX:
            return legs
        groups.append(legs)
        if kind == CommandKind.PLACE:
            self._until_ns = min(self._until_ns, _first_deadline_ns(legs))
        return legs[:0]

    def take_cancels(self, most: int) -> Legs:
        """The cancels that waited longest, at most `most` and at most what one request carries."""
        chosen = list(self._cancels)[: min(most, CANCELS_PER_REQUEST)]
        if not chosen:
            return np.zeros(0, COMMAND_DTYPE)
        return np.concatenate([self._cancels.pop(each) for each in chosen])

    def withdraw(self, kind: int, cancels: Legs) -> Legs:
        """Takes out the placements that a cancel (or cancel-all) is about; they were never sent."""
        keys = set(cancels["key"].tolist())
        kept: deque[Legs] = deque()
        gone: list[Legs] = []
        for legs in self.placements:
            if kind == CommandKind.CANCEL_ALL:
                gone.append(legs)
            elif keys.isdisjoint(legs["key"].tolist()):
                kept.append(legs)
            else:
                hit = np.isin(legs["key"], cancels["key"])
                gone.append(legs[hit])
                if not hit.all():
                    kept.append(np.ascontiguousarray(legs[~hit]))
        self.placements = kept
        return np.concatenate(gone) if gone else cancels[:0]

    def expire(self, now_ns: int) -> Legs:
        """Takes out the placements whose deadline (engine time) is over."""
        if now_ns <= self._until_ns:
            return np.zeros(0, COMMAND_DTYPE)
        kept: deque[Legs] = deque()
        gone: list[Legs] = []
        for legs in self.placements:
            late = (legs["deadline_ns"] > 0) & (legs["deadline_ns"] < now_ns)
            gone.append(legs[late])
            if not late.all():
                kept.append(np.ascontiguousarray(legs[~late]))
        self.placements = kept
        self._until_ns = min(map(_first_deadline_ns, kept), default=NEVER_NS)
        return np.concatenate(gone) if gone else np.zeros(0, COMMAND_DTYPE)

    def _keep_cancels(self, legs: Legs) -> Legs:
        out: list[Legs] = []
        for i in range(len(legs)):
            leg = legs[i : i + 1].copy()
            name = (int(leg["key"][0]), leg["order_id"][0].tobytes())
            earlier = self._cancels.get(name)
            if earlier is None and len(self._cancels) >= CANCELS_MAX:
                out.append(leg)
                continue
            # The earlier one is not answered: the engine would repeat it at once, and so for ever.
            self._cancels[name] = leg
        return np.concatenate(out) if out else legs[:0]


def _first_deadline_ns(legs: Legs) -> int:
    deadlines = legs["deadline_ns"]
    return int(deadlines[deadlines > 0].min(initial=NEVER_NS))
