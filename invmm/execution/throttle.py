"""How fast we ask: the venue's limits as buckets, and what its answers say about them.

Limits first show as *delay*, then as 429, then as a page of the edge network. So a slow answer counts as a
warning: it halves the rate of what was asked, which grows back by a fixed share each second. What is refused
for a rate is refused at once (placements) or waits (cancels); nothing is dropped and nothing is sent twice.

Cancels have buckets of their own, as the venue counts them apart, and the one that both share keeps a tenth
for them. Times are engine time, answers' delays are real.
"""

from __future__ import annotations

import email.utils
import enum
import statistics
from collections import deque
from collections.abc import Mapping

from invmm._ext.pace import Pace
from invmm.types import CommandKind
from invmm.venue.limits import GENERAL, Limits, Tier

SECOND_NS = 1_000_000_000
SLOW_NS = SECOND_NS  # an answer that took as long is a warning whatever is usual
SLOW_FLOOR_NS = 300_000_000  # a faster one never is
SLOW_TIMES_MEDIAN = 8
MEDIAN_OF = 64
LEAST_SHARE = 1 / 16
REGROWTH = 1 / 20  # of the full rate, each second without a warning
SHRINK_PAUSE_NS = SECOND_NS  # answers to what was sent at one time are one warning
CANCEL_PAUSE_MAX_NS = SECOND_NS  # a cancel is tried again after that, whatever the venue asked for
RETRY_AFTER_MAX_S = 3_600.0
KEPT_FOR_CANCELS = 10  # one part in so many of what both lanes share
BURST_USED = 0.9  # of a burst: requests may arrive closer together than they were sent


class Lane(enum.IntEnum):
    """What the venue counts apart; the numbers are those of `_ext/pace`."""

    PLACE = 0
    CANCEL = 1
    CANCEL_ALL = 2


LANE_OF = {
    CommandKind.PLACE: Lane.PLACE,
    CommandKind.RESEND: Lane.PLACE,
    CommandKind.CANCEL: Lane.CANCEL,
    CommandKind.CANCEL_ALL: Lane.CANCEL_ALL,
}
ORDERS, CANCELS = 0, 1  # rules of the signer's tier; those of the endpoints follow
ENDPOINTS = (
    (GENERAL, (Lane.PLACE, Lane.CANCEL, Lane.CANCEL_ALL)),
    ("POST /orders", (Lane.PLACE,)),
    ("DELETE /orders", (Lane.CANCEL,)),
    ("DELETE /cancel-all", (Lane.CANCEL_ALL,)),
)


class Throttle:
    """The buckets of one executor. All methods belong to its thread.

    Parameters
    ----------
    limits : Limits
        Of the venue's profile.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.tier = limits.tier
        self.warnings = 0
        """Answers that were late, 429 or marked, since the start."""
        self._share = {Lane.PLACE: 1.0, Lane.CANCEL: 1.0}
        self._shrunk_ns = dict.fromkeys(self._share, -SHRINK_PAUSE_NS)
        self._grown_ns = 0
        self._acks: deque[int] = deque(maxlen=MEDIAN_OF)
        cancels = 1 << Lane.CANCEL | 1 << Lane.CANCEL_ALL
        rules = [(1 << Lane.PLACE, 0, SECOND_NS, 1, 0), (cancels, 0, SECOND_NS, 1, 0)]  # see _apply
        for endpoint, lanes in ENDPOINTS:
            for window in limits.windows.get(endpoint, ()):
                kept = window.requests // KEPT_FOR_CANCELS if endpoint == GENERAL else 0
                rules.append(
                    (
                        0,
                        sum(1 << lane for lane in lanes),
                        window.seconds * SECOND_NS // window.requests,
                        window.requests,
                        kept,
                    )
                )
        self.pace = Pace(rules)
        self._apply()

    def room(self, kind: int, legs: int, now_ns: int) -> int:
        """How many of `legs` of a command may go now; cancel-all always may."""
        lane = LANE_OF[CommandKind(kind)]
        return legs if lane is Lane.CANCEL_ALL else self.pace.room(lane, legs, now_ns)

    def charge(self, kind: int, legs: int, now_ns: int) -> None:
        """`legs` went, without the intake."""
        self.pace.charge(LANE_OF[CommandKind(kind)], legs, now_ns)

    def next_ns(self, kind: int, now_ns: int) -> int:
        """When one leg may go at the earliest."""
        return self.pace.next_ns(LANE_OF[CommandKind(kind)], now_ns)

    def answered(self, kind: int, code: int, headers: Mapping[str, str], ack_ns: int, now_ns: int) -> None:
        """Reads one answer.

        Parameters
        ----------
        kind : int
            CommandKind of the request.
        code : int
            HTTP status; 0 when no answer came.
        headers : mapping
            By lower-case name.
        ack_ns : int
            Real time from the request to the answer, or to giving up.
        now_ns : int
            Engine time, ns since the unix epoch: dates count from here too.
        """
        if CommandKind(kind) not in LANE_OF:
            return
        lane = LANE_OF[CommandKind(kind)]
        rule = ORDERS if lane is Lane.PLACE else CANCELS
        if lane is Lane.CANCEL_ALL:
            lane = Lane.CANCEL
        tier = self.limits.tiers.get(headers.get("poly-ratelimit-tier", "").strip().lower())
        if tier is not None and tier != self.limits.tiers[self.tier]:
            self.tier = headers["poly-ratelimit-tier"].strip().lower()
            self._apply()
        remaining = _number(headers.get("poly-ratelimit-remaining"))
        if remaining is not None and 0 <= remaining <= 1e6:
            self.pace.set_room(rule, int(remaining), now_ns)
        is_slow = self._is_slow(code, ack_ns)
        if code == 429 or is_slow or _is_yes(headers.get("poly-ratelimit-warning")):
            self._shrink(lane, now_ns)
        if code == 429:
            pause_s = retry_after_s(headers, now_ns)
            if pause_s is None:
                pause_s = _reset_s(headers, now_ns)
            self._pause(lane, rule, 1.0 if pause_s is None else pause_s, now_ns)

    def canceled_all(self, orders: int, now_ns: int) -> None:
        """A cancel-all ended so many orders: each costs like a cancel."""
        self.pace.charge(Lane.CANCEL_ALL, max(0, orders), now_ns)

    def grow(self, now_ns: int) -> None:
        """Gives back a little of what warnings took, each second."""
        if now_ns - self._grown_ns < SECOND_NS:
            return
        self._grown_ns = now_ns
        for lane, share in self._share.items():
            if share < 1.0 and now_ns - self._shrunk_ns[lane] >= SECOND_NS:
                self._share[lane] = min(1.0, share + REGROWTH)
                self._apply()

    def share(self, lane: Lane) -> float:
        """Part of the full rate that is used, 1/16 to 1."""
        return self._share[Lane.PLACE if lane is Lane.PLACE else Lane.CANCEL]

    def statistics(self) -> dict[str, float | str]:
        """Tier, share of the full rates that is used, warnings so far."""
        return {
            "tier": self.tier,
            "orders_share": self._share[Lane.PLACE],
            "cancels_share": self._share[Lane.CANCEL],
            "warnings": self.warnings,
        }

    def _is_slow(self, code: int, ack_ns: int) -> bool:
        if code == 0:
            return ack_ns >= SLOW_NS  # a connection that broke at once is no sign of haste
        usual_ns = statistics.median(self._acks) if len(self._acks) >= 8 else SLOW_NS
        self._acks.append(ack_ns)
        return ack_ns >= SLOW_NS or ack_ns > max(SLOW_FLOOR_NS, SLOW_TIMES_MEDIAN * usual_ns)

    def _shrink(self, lane: Lane, now_ns: int) -> None:
        self.warnings += 1
        if now_ns - self._shrunk_ns[lane] < SHRINK_PAUSE_NS:
            return
        self._shrunk_ns[lane] = now_ns
        self._share[lane] = max(LEAST_SHARE, self._share[lane] / 2)
        self._apply()

    def _pause(self, lane: Lane, rule: int, seconds: float, now_ns: int) -> None:
        """Nothing of a lane for a while; then one by one."""
        pause_ns = int(min(seconds, RETRY_AFTER_MAX_S) * SECOND_NS)
        if lane is not Lane.PLACE:
            pause_ns = min(pause_ns, CANCEL_PAUSE_MAX_NS)
        self.pace.set_room(rule, 1, now_ns + pause_ns)

    def _apply(self) -> None:
        """The signer's buckets at the present tier and share; one leg always fits."""
        tier: Tier = self.limits.tiers[self.tier]
        for rule, rate, burst, share in (
            (ORDERS, tier.orders_per_second, tier.orders_burst, self._share[Lane.PLACE]),
            (CANCELS, tier.cancels_per_second, tier.cancels_burst, self._share[Lane.CANCEL]),
        ):
            self.pace.set_rate(rule, int(SECOND_NS / (rate * share)), max(1, int(burst * share * BURST_USED)))


def retry_after_s(headers: Mapping[str, str], now_ns: int) -> float | None:
    """Seconds that `Retry-After` asks for: a number or an HTTP date (RFC 9110, 10.2.3); None without one."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    seconds = _number(text)
    if seconds is None:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - now_ns / SECOND_NS
        except (ValueError, TypeError, OverflowError):
            return None
    return min(RETRY_AFTER_MAX_S, max(0.0, seconds))


def _reset_s(headers: Mapping[str, str], now_ns: int) -> float | None:
    """`Poly-RateLimit-Reset`: seconds from now, or a unix time. Nothing says which; a billion tells them."""
    seconds = _number(headers.get("poly-ratelimit-reset"))
    if seconds is None:
        return None
    return min(RETRY_AFTER_MAX_S, max(0.0, seconds - now_ns / SECOND_NS if seconds > 1e9 else seconds))


def _number(text: str | None) -> float | None:
    if not text or len(text) > 20 or not text.strip().replace(".", "", 1).isdecimal() or not text.isascii():
        return None
    return float(text)


def _is_yes(text: str | None) -> bool:
    return text is not None and text.strip().lower() not in ("", "0", "false", "none", "no")
