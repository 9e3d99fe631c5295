"""Queue models, slowly: the true queue of shares, and the estimate as one reads it off the rules.

`TrueQueue` knows every share at a level in order, so that a test can play a level's life and ask both.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class TrueQueue:
    """Everybody's shares at one price, first in line first. `ours` marks where our order stands."""

    ahead: list[int] = field(default_factory=list)
    behind: list[int] = field(default_factory=list)

    @property
    def level(self) -> int:
        return sum(self.ahead) + sum(self.behind)

    @property
    def ahead_micro(self) -> int:
        return sum(self.ahead)

    def join(self, size: int) -> None:
        self.behind.append(size)

    def trade(self, size: int) -> int:
        """Takes from the front; the shares actually taken from others (ours are not counted here)."""
        taken = 0
        for queue in (self.ahead, self.behind):
            while queue and taken < size:
                part = min(queue[0], size - taken)
                queue[0] -= part
                taken += part
                if queue[0] == 0:
                    queue.pop(0)
        return taken

    def cancel(self, index: int) -> int:
        """The order at that place leaves; its size."""
        place = index % (len(self.ahead) + len(self.behind))
        if place < len(self.ahead):
            return self.ahead.pop(place)
        return self.behind.pop(place - len(self.ahead))
