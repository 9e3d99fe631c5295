"""The venue's dead man's switch: a chain of ids that it wants to see go on.

    POST /v1/heartbeats {"heartbeat_id": ""}    → {"heartbeat_id": "a"}    the first arms the switch
    POST /v1/heartbeats {"heartbeat_id": "a"}   → {"heartbeat_id": "b"}
    wrong id                                    → 400 with the id expected: sent once more with that

Ten seconds without one, and the venue cancels every open order of the credentials. So one that fails stops
new orders, and from two on every order may be about to go; that proves nothing about any of them. An engine
that gives no sign of life is not vouched for: the chain stops, and the venue clears up.

Times are engine time: on a scaled clock the venue's seconds pass faster, and the chain with them.
"""

from __future__ import annotations

import orjson

from invmm.execution.throttle import SECOND_NS
from invmm.venue.limits import Limits

PATH = "/v1/heartbeats"
ID_MAX = 200
REPEAT_NS = SECOND_NS  # after a failure
LATE_NS = SECOND_NS // 50  # one that cannot be sent is tried again after that
STOP_AFTER = 1  # failures after which new orders stop; until the first success there is one
ABOUT_TO_CANCEL = 2


class Heartbeat:
    """When to send which id, and how many in a row failed. All methods belong to the executor thread.

    Parameters
    ----------
    limits : Limits
        Period and window.
    """

    def __init__(self, limits: Limits) -> None:
        self.period_ns = int(limits.heartbeat_period_s * SECOND_NS)
        self.window_ns = int(limits.heartbeat_window_s * SECOND_NS)
        self.missed = STOP_AFTER
        """In a row; also 1 before the first one succeeded and while the engine gives no sign of life."""
        self.sent = 0
        self.due_ns = 0
        self._id = ""
        self._in_flight = False
        self._corrected = False
        self._good_ns: int | None = None
        self._wanted_ns: int | None = None  # since when one is due and not sent

    @property
    def deadline_ns(self) -> int:
        """How long an answer may take: two then fail within the window."""
        return self.period_ns // 2

    @property
    def until_ns(self) -> int:
        """When the last one that was heard stops counting; 0 before the first."""
        return 0 if self._good_ns is None else self._good_ns + self.window_ns

    def tick(self, now_ns: int, engine_lives: bool) -> bool:
        """True when one is to be sent now; the caller says with `begun` that it is."""
        if self._good_ns is not None and now_ns - self._good_ns >= self.window_ns:
            self.missed = max(self.missed, ABOUT_TO_CANCEL)
        if not engine_lives:
            self.missed = max(self.missed, STOP_AFTER)
            self._wanted_ns = None
            return False
        if self._in_flight or now_ns < self.due_ns:
            return False
        if self._wanted_ns is None:
            self._wanted_ns = now_ns
        elif now_ns - self._wanted_ns >= self.deadline_ns:  # no connection to send it over
            self._wanted_ns = now_ns
            self.missed += 1
        return True

    def wait_ns(self, now_ns: int) -> int:
        """How long `tick` has nothing to do; what comes of one in flight, the connection tells."""
        return max(LATE_NS, self.window_ns if self._in_flight else self.due_ns - now_ns)

    def begun(self, now_ns: int) -> bytes:
        """One is on its way; its body."""
        self._in_flight = True
        self._wanted_ns = None
        self.sent += 1
        self.due_ns = now_ns + self.period_ns
        return orjson.dumps({"heartbeat_id": self._id})

    def answered(self, code: int, body: bytes, now_ns: int) -> None:
        """What came of it; status 0 for nothing."""
        self._in_flight = False
        expected = _id_in(body)
        if code == 200 and expected:
            self._id, self._good_ns = expected, now_ns
            self.missed, self._corrected = 0, False
        elif code == 400 and expected is not None and expected != self._id and not self._corrected:
            self._id, self._corrected = expected, True
            self.due_ns = now_ns
        else:
            self._miss(now_ns)

    def _miss(self, now_ns: int) -> None:
        self.missed += 1
        self._corrected = False
        self.due_ns = now_ns + REPEAT_NS


def _id_in(body: bytes) -> str | None:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    found = document.get("heartbeat_id") if isinstance(document, dict) else None
    return found if isinstance(found, str) and len(found) <= ID_MAX else None
