"""What comes in about own orders: taken off the executor's ring and the user channel, given to the steps.

The executor announces an order's id before its bytes leave. So whoever meets an id looks here first, and here
the ring is emptied before anybody is told that an id is not ours.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from invmm.types import EVENT_DTYPE, EventArray, EventKind, OrderStatus

if TYPE_CHECKING:
    from invmm.clock import LiveClock
    from invmm.execution.connected import ConnectedVenue
    from invmm.market import Market

ROOM = 256  # records taken at once
NUMBER_BITS = 40  # of an order key, below the number of its market


class Inbox:
    """Evidence on its way into the market steps. On the engine's thread.

    Parameters
    ----------
    venue : ConnectedVenue
        Its results are taken off.
    clock : LiveClock
    markets : mapping
        Open markets by number; may change.
    step : callable(record, now_ns)
        Takes one record of `EVENT_DTYPE`.
    hear : callable(record), optional
        Told of each of the executor's answers.
    """

    def __init__(
        self,
        venue: ConnectedVenue,
        clock: LiveClock,
        markets: Mapping[int, Market],
        step: Callable[[Any, int], object],
        hear: Callable[[Any], object] = lambda _: None,
    ) -> None:
        self.find: Callable[[bytes], int | None] = lambda order_id: None
        """Asked last for an id that no order of this session has: its own key, if it is ours after all."""
        self._venue = venue
        self._clock = clock
        self._markets = markets
        self._step = step
        self._hear = hear
        self._keys: dict[bytes, int] = {}
        self._taken = np.zeros(ROOM, dtype=EVENT_DTYPE)

    def __contains__(self, order_id: object) -> bool:
        """Whether an id is one of this session's orders."""
        return order_id in self._keys

    def __len__(self) -> int:
        """How many ids are known."""
        return len(self._keys)

    def drain(self) -> None:
        """Applies everything that the executor has answered."""
        now_ns = self._clock.now_ns()
        touched: set[int] = set()
        while True:
            got = self._venue.poll(now_ns, self._taken)
            for record in self._taken[:got]:
                if int(record["status"]) == OrderStatus.SENT:
                    self._keys[record["order_id"].tobytes()] = int(record["key"])
                self._hear(record)
                touched.add(self._apply(record, now_ns))
            if not got and self._venue.results.arm():
                break
        self._coalesce(touched, now_ns)

    def take(self, records: EventArray) -> None:
        """Applies records of user channel or reconciliation, after all that the executor has to say."""
        self.drain()
        now_ns = self._clock.now_ns()
        self._coalesce({self._apply(record, now_ns) for record in records}, now_ns)

    def key_of(self, order_id: bytes) -> int | None:
        """Own key of an order by the venue's 32-byte id; None if it is not ours."""
        key = self._keys.get(order_id)
        if key is None:
            self.drain()
            key = self._keys.get(order_id)
        return self.find(order_id) if key is None else key

    def ids_of(self, keys: Collection[int]) -> dict[int, str]:
        """The venue's ids (`0x…`) by key; those whose id is not announced yet are missing."""
        return {key: "0x" + order_id.hex() for order_id, key in self._keys.items() if key in keys}

    def register(self, order_id: bytes, key: int) -> None:
        """An order of an earlier session is one of ours again, under that key."""
        self._keys[order_id] = key

    def forget(self, market: Market) -> None:
        """A market is closed: the ids of its orders mean nothing any more."""
        for order_id in [each for each, key in self._keys.items() if market.owns(key)]:
            del self._keys[order_id]

    def _apply(self, record: Any, now_ns: int) -> int:
        number, key = int(record["market"]), int(record["key"])
        owner = self._markets.get((key >> NUMBER_BITS) - 1)
        if owner is not None and owner.number != number and owner.owns(key):
            # Two markets have the same tokens: that of an earlier session, and its window opened again.
            record["market"] = number = owner.number
        if number in self._markets:
            self._step(record, now_ns)
        return number

    def _coalesce(self, touched: set[int], now_ns: int) -> None:
        if not touched:
            return
        end = np.zeros(1, dtype=EVENT_DTYPE)
        end["kind"] = EventKind.BUFFER_END
        for number in touched & self._markets.keys():
            market = self._markets[number]
            end["market"] = number
            market.step.step(end, now_ns)
