"""The bytes of orders just sent, for the one case in which they may be sent again.

An order that is UNKNOWN because it may not have arrived, that is still wanted, that a query does not find and
that is younger than two seconds may be sent again as the same signed bytes: the venue books them once at
most. Whether all that holds is the engine's to know; here are the bytes.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from invmm.types import COMMAND_DTYPE

AGE_MAX_NS = 2_000_000_000
REQUESTS_MAX = 256
BETWEEN = b',{"order":'  # begins every leg but the first; ids, amounts and signatures cannot contain it


class SentBytes:
    """Bodies of the placements of the last two seconds, at most 256 of them. Times are engine time."""

    def __init__(self) -> None:
        self._sent: deque[tuple[int, npt.NDArray[np.void], bytes]] = deque(maxlen=REQUESTS_MAX)

    def keep(self, legs: npt.NDArray[np.void], body: bytes, now_ns: int) -> None:
        """Keeps the body of a POST /orders and its legs (`COMMAND_DTYPE`, with ids), in their order."""
        self.forget(now_ns)
        self._sent.append((now_ns, legs, body))

    def forget(self, now_ns: int) -> None:
        """Drops what has become too old."""
        while self._sent and now_ns - self._sent[0][0] > AGE_MAX_NS:
            self._sent.popleft()

    def find(self, key: int, now_ns: int) -> tuple[npt.NDArray[np.void], bytes]:
        """The leg of an order and its bytes as they were sent, as an array of one.

        Nothing (no leg, no bytes) if it is not known or too old.
        """
        self.forget(now_ns)
        for _, legs, body in reversed(self._sent):
            places = np.flatnonzero(legs["key"] == key)
            if len(places):
                orders = body[1:-1].split(BETWEEN)
                if len(orders) != len(legs):
                    break
                place = int(places[0])
                order = orders[0] if place == 0 else BETWEEN[1:] + orders[place]
                return legs[place : place + 1].copy(), b"[" + order + b"]"
        return np.zeros(0, COMMAND_DTYPE), b""
