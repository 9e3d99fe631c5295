"""The executor's own table of orders that may be alive: what it cancels when nobody else looks after them.

It knows what it sent and what the venue answered, nothing of fills and of what the user channel tells. So it
names too many orders, never too few: to cancel one that is gone changes nothing.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from invmm.types import COMMAND_DTYPE, CommandKind

Legs = npt.NDArray[np.void]
SECOND_NS = 1_000_000_000
ORDERS_MAX = 32_768  # as many as the key table remembers; only orders without a date come that far
NEVER_S = 2**62


class PossiblyAlive:
    """Orders sent and not known to have ended. Executor thread only; times are engine time.

    An order with a date is forgotten when that has passed: the venue ends it a minute earlier.
    """

    def __init__(self) -> None:
        self._groups: deque[tuple[int, Legs]] = deque()  # last date in unix seconds, as sent
        self._dead: set[bytes] = set()
        self._twice: set[bytes] = set()  # sent again, and not refused since
        self._count = 0

    def __len__(self) -> int:
        """How many are held, known dead ones included; a bound, not a figure to show."""
        return self._count

    def sent(self, legs: Legs, now_ns: int) -> None:
        """Orders that go out now: `COMMAND_DTYPE` with their ids."""
        dates = legs["expiration_s"].tolist()
        self._groups.append((max(dates) if all(dates) else NEVER_S, legs))
        self._count += len(legs)
        if self._dead:  # what was said before was about an earlier one
            self._dead.difference_update(each.tobytes() for each in legs["order_id"])
        while self._groups[0][0] < now_ns // SECOND_NS or self._count > ORDERS_MAX:
            _, gone = self._groups.popleft()
            self._count -= len(gone)
            if self._dead or self._twice:
                ids = [each.tobytes() for each in gone["order_id"]]
                self._dead.difference_update(ids)
                self._twice.difference_update(ids)

    def ended(self, order_id: bytes) -> None:
        """The venue has said that this order is gone, or that it never was."""
        if self._count:
            self._dead.add(order_id)

    def sent_again(self, order_id: bytes) -> None:
        """The same bytes go out once more; a refusal that was heard already was only that of the first."""
        if self._count:
            self._dead.discard(order_id)
            self._twice.add(order_id)

    def refused(self, order_id: bytes) -> None:
        """One answer refuses it: its end, if it was sent once or the other copy is refused already."""
        if order_id in self._twice:
            self._twice.remove(order_id)
        else:
            self.ended(order_id)

    def cancels(self, now_ns: int) -> Legs:
        """A cancel for each order that may be alive, newest first."""
        groups = [legs for date_s, legs in self._groups if date_s >= now_ns // SECOND_NS]
        if not groups:
            return np.zeros(0, COMMAND_DTYPE)
        legs = np.concatenate(groups)[::-1].copy()
        if self._dead:
            legs = legs[[each.tobytes() not in self._dead for each in legs["order_id"]]]
        legs["kind"], legs["flags"] = CommandKind.CANCEL, 0
        return np.ascontiguousarray(legs)


def cancel_all() -> Legs:
    """The command that ends everything of the account."""
    legs = np.zeros(1, dtype=COMMAND_DTYPE)
    legs["kind"] = CommandKind.CANCEL_ALL
    return legs
