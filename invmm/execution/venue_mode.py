"""What the venue takes at present, as its answers show it: nothing here knows a timetable.

    425                                    RESTARTING     placements and cancels are refused
    503 "currently disabled"               HALTED         the same
    503 "currently cancel-only"            CANCEL_ONLY    cancels work
    503 post_only_mode                     POST_ONLY      post-only orders and cancels work

    RESTARTING ─ a cancel is answered ─▶ POST_ONLY ─ time is over ─▶ RUNNING
    HALTED ────── a cancel is answered ─▶ CANCEL_ONLY ─ one leg is tried and taken ─▶ RUNNING

While nothing works, cancels are the question: those that wait are repeated, and without any one of an id that
no order has. While cancels work, one placement is let through now and then. Each question waits for
`Retry-After`, or for 1 s, doubling to 30 s. An answer to a question older than the present mode says nothing.
Times are engine time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from invmm.execution.throttle import SECOND_NS, retry_after_s
from invmm.types import VenueMode

PAUSE_FIRST_NS = SECOND_NS
PAUSE_MAX_NS = 30 * SECOND_NS
PAUSE_MIN_NS = SECOND_NS // 4
CANCELS_PAUSE_MAX_NS = 4 * SECOND_NS  # cancels that wait are not kept for longer
DEAF = (VenueMode.RESTARTING, VenueMode.HALTED)

TEXTS = (
    ("post-only mode", VenueMode.POST_ONLY),
    ("currently cancel-only", VenueMode.CANCEL_ONLY),
    ("trading is currently disabled", VenueMode.HALTED),
)


def told_mode(code: int, body: bytes) -> VenueMode | None:
    """The mode that an answer states; None if it states none."""
    if code == 425:
        return VenueMode.RESTARTING
    if code != 503:
        return None
    document = _parse(body)
    if not isinstance(document, dict):
        return None
    if document.get("code") == "post_only_mode":
        return VenueMode.POST_ONLY
    text = document.get("error")
    if isinstance(text, str):
        lower = text.lower()
        for known, mode in TEXTS:
            if known in lower:
                return mode
    return None


class VenueModes:
    """The present mode and when to ask again. All methods belong to the executor thread.

    Parameters
    ----------
    post_only_s : float
        How long POST_ONLY lasts where the venue does not say.
    """

    def __init__(self, post_only_s: float = 120.0) -> None:
        self.mode = VenueMode.RUNNING
        self.ask_ns = 0
        """Not RUNNING: when the next question is due (POST_ONLY: when it is taken to be over)."""
        self.changes = 0
        self._since_ns = 0  # of the last answer that stated or changed the mode
        self._asked_ns = 0
        self._pause_ns = PAUSE_FIRST_NS
        self._post_only_ns = int(post_only_s * SECOND_NS)

    @property
    def is_deaf(self) -> bool:
        """Not even cancels work."""
        return self.mode in DEAF

    def answered(
        self,
        is_cancel: bool,
        code: int,
        body: bytes,
        headers: Mapping[str, str],
        asked_ns: int,
        now_ns: int,
    ) -> VenueMode:
        """Takes note of an answer to a placement or a cancel; the mode after it.

        Parameters
        ----------
        is_cancel : bool
        code, body, headers
            The answer; status 0 when none came, which says nothing.
        asked_ns, now_ns : int
            Engine time of the request and of now.
        """
        if asked_ns < self._since_ns:
            return self.mode
        told = told_mode(code, body)
        if told is not None:
            self._enter(told, now_ns, _pause_s(body, headers, now_ns))
        elif self.mode is not VenueMode.RUNNING and code in (200, 400, 404):
            self._works(is_cancel, code, now_ns)
        return self.mode

    def tick(self, now_ns: int) -> VenueMode:
        """Ends POST_ONLY when its time is over; if it goes on, the first refusal says so."""
        if self.mode is VenueMode.POST_ONLY and now_ns >= self.ask_ns:
            self.mode = VenueMode.RUNNING
            self.changes += 1
        return self.mode

    def asked(self, now_ns: int) -> None:
        """A question is on its way: the next one waits, twice as long as the one before."""
        self._asked_ns = now_ns
        self.ask_ns = max(self.ask_ns, now_ns + self._pause_ns)
        self._pause_ns = min(2 * self._pause_ns, PAUSE_MAX_NS)

    def is_due(self, now_ns: int, cancels_wait: bool) -> bool:
        """Time for a question; with cancels waiting, sooner than the venue may have asked for.

        POST_ONLY needs none: it ends by its time.
        """
        at_ns = self.ask_ns
        if cancels_wait:
            at_ns = min(at_ns, max(self._since_ns, self._asked_ns) + CANCELS_PAUSE_MAX_NS)
        return self.mode not in (VenueMode.RUNNING, VenueMode.POST_ONLY) and now_ns >= at_ns

    def _works(self, is_cancel: bool, code: int, now_ns: int) -> None:
        if not is_cancel and code == 200:
            # Also a trial that succeeds with a post-only order: the rest follows and is told otherwise.
            if self.mode is not VenueMode.POST_ONLY:
                self._enter(VenueMode.RUNNING, now_ns, None)
        elif self.mode is VenueMode.RESTARTING:
            self._enter(VenueMode.POST_ONLY, now_ns, None)
        elif self.mode is VenueMode.HALTED:
            self._enter(VenueMode.CANCEL_ONLY, now_ns, 0.0)

    def _enter(self, mode: VenueMode, now_ns: int, pause_s: float | None) -> None:
        if mode is not self.mode:
            self.mode = mode
            self.changes += 1
            self._pause_ns = PAUSE_FIRST_NS
        self._since_ns = now_ns
        if mode is VenueMode.POST_ONLY:
            self.ask_ns = now_ns + (self._post_only_ns if pause_s is None else int(pause_s * SECOND_NS))
        elif pause_s is None:
            self.ask_ns = max(self.ask_ns, now_ns + self._pause_ns)
        else:
            self.ask_ns = now_ns + max(PAUSE_MIN_NS, int(pause_s * SECOND_NS))


def _pause_s(body: bytes, headers: Mapping[str, str], now_ns: int) -> float | None:
    pause_s = retry_after_s(headers, now_ns)
    if pause_s is None:
        document = _parse(body)
        stated = document.get("retry_after_seconds") if isinstance(document, dict) else None
        if isinstance(stated, int | float) and not isinstance(stated, bool) and 0 <= stated <= 3600:
            pause_s = float(stated)
    return pause_s


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
