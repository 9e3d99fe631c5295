"""What a session shows about itself that no single order shows; each of these raises the kill level to 1.

| trigger                | when                                                                      |
|------------------------|---------------------------------------------------------------------------|
| REJECT_STORM           | the venue refused more than `max_rejects` orders within 10 s              |
| SLOW_VENUE             | of the last 200 orders (50 at least) more than 1 % waited longer than     |
|                        | `max_ack_ms` of real time for their answer, and at least three            |
| SETTLEMENT_FAILURES    | of the last 50 settled fills (12 at least) more than `max_failed_percent` |
|                        | failed                                                                    |
| LIMIT_ATTEMPT          | an order met a cap of the signer or had the id of one already sent: the   |
|                        | engine's own limits, which are narrower, did not hold                     |
| MESSAGE_RATE           | more than `max_messages_minute` orders and cancels within a minute        |

A refusal because an order would have crossed is a race that is lost now and then, not a storm; the signer's
rate is met by orders that waited and went together, and is no attempt. Each is said once, until `reset`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from invmm.settings import RiskSettings
from invmm.settlement.ledger import TERMINAL, Ledger, Leg
from invmm.types import OrderStatus, Reason

MS, SECOND = 1_000_000, 1_000_000_000
STORM_NS = 10 * SECOND
MINUTE_NS = 60 * SECOND
ACKS, ACKS_LEAST, SLOW_LEAST = 200, 50, 3
LEGS, LEGS_LEAST = 50, 12
ANSWERS = (OrderStatus.LIVE, OrderStatus.MATCHED, OrderStatus.DELAYED, OrderStatus.REJECTED)
UNPROVEN = (OrderStatus.UNKNOWN, OrderStatus.COPY_REFUSED)
MESSAGES = (OrderStatus.SENT, OrderStatus.CANCELED, OrderStatus.NOT_CANCELED)
ORDINARY = (Reason.VENUE_POST_ONLY,)
RULE_CAP_RATE = -21  # amounts.pxd


@dataclass(frozen=True, slots=True)
class Trip:
    """A breaker has opened."""

    reason: Reason
    text: str


class Breakers:
    """Watches the results of one engine. Engine thread.

    Parameters
    ----------
    risk : RiskSettings
    scale : float
        Engine seconds per second: how long a venue may take is real time.
    """

    def __init__(self, risk: RiskSettings, scale: float = 1.0) -> None:
        self._risk = risk
        self._slow_ns = int(risk.max_ack_ms * MS * scale)
        self._sent: dict[int, int] = {}  # own key → engine time, of orders without an answer
        self._acks: deque[bool] = deque(maxlen=ACKS)  # whether each took too long
        self._rejects: deque[int] = deque(maxlen=risk.max_rejects + 1)
        self._messages: deque[int] = deque(maxlen=risk.max_messages_minute + 1)
        self._said: set[Reason] = set()
        self._settled_ns = 0  # fills that ended until then were judged
        self._trips: list[Trip] = []

    def reset(self, now_ns: int = 0) -> None:
        """Somebody has looked: everything may be said again, about what comes from now on."""
        self._settled_ns = now_ns
        for seen in (self._acks, self._rejects, self._messages, self._said, self._trips):
            seen.clear()

    def heard(self, record: Any) -> None:
        """One ORDER_RESULT (EVENT_DTYPE)."""
        status, key, at_ns = OrderStatus(int(record["status"])), int(record["key"]), int(record["time_ns"])
        if status in MESSAGES:
            self._messages.append(at_ns)
            if len(self._messages) == self._messages.maxlen and at_ns - self._messages[0] < MINUTE_NS:
                most = self._risk.max_messages_minute
                self._trip(Reason.MESSAGE_RATE, f"more than {most} orders and cancels within a minute")
        if status == OrderStatus.SENT:
            self._sent[key] = at_ns
        elif key in self._sent and (status in ANSWERS or (status in UNPROVEN and record["code"])):
            # A refusal that proves nothing (425, 503, 429) is an answer all the same: the venue is not slow.
            self._answered(at_ns - self._sent.pop(key))
        elif status == OrderStatus.UNKNOWN and int(record["code"]):
            self._sent.pop(key, None)  # the venue answered, only not about the order: too many, restarting
        if status == OrderStatus.REJECTED and int(record["reason"]) not in ORDINARY:
            self._rejects.append(at_ns)
            if len(self._rejects) == self._rejects.maxlen and at_ns - self._rejects[0] < STORM_NS:
                most = self._risk.max_rejects
                self._trip(Reason.REJECT_STORM, f"the venue refused more than {most} orders within 10 s")
        elif status == OrderStatus.REFUSED:
            self._sent.pop(key, None)
            reason = int(record["reason"])
            if reason == Reason.SEEN_ID or (
                reason == Reason.SIGNER_CAP and int(record["code"]) != RULE_CAP_RATE
            ):
                self._trip(
                    Reason.LIMIT_ATTEMPT,
                    f"order {key} got as far as the signer and was refused: "
                    f"{Reason(reason).name.lower().replace('_', ' ')} ({int(record['code'])})",
                )

    def look(self, now_ns: int, ledgers: Iterable[Ledger] = ()) -> list[Trip]:
        """What has opened since the last look; `ledgers`: those that changed, of markets that are open."""
        if self._sent:
            overdue = [key for key, at_ns in self._sent.items() if now_ns - at_ns > self._slow_ns]
            for key in overdue:
                self._answered(now_ns - self._sent.pop(key))
        if legs := [leg for ledger in ledgers for leg in ledger.legs.values() if leg.status in TERMINAL]:
            self._settled([leg for leg in legs if leg.ended_ns >= self._settled_ns])
        trips, self._trips = self._trips, []
        return trips

    def _answered(self, after_ns: int) -> None:
        self._acks.append(after_ns > self._slow_ns)
        slow = sum(self._acks)
        if len(self._acks) >= ACKS_LEAST and slow >= SLOW_LEAST and slow * 100 > len(self._acks):
            self._trip(
                Reason.SLOW_VENUE,
                f"{slow} of the last {len(self._acks)} orders: no answer within {self._risk.max_ack_ms} ms",
            )

    def _settled(self, legs: list[Leg]) -> None:
        legs = sorted(legs, key=lambda leg: leg.ended_ns)[-LEGS:]
        failed = sum(leg.status == OrderStatus.TRADE_FAILED for leg in legs)
        if len(legs) >= LEGS_LEAST and failed * 100 > self._risk.max_failed_percent * len(legs):
            self._trip(
                Reason.SETTLEMENT_FAILURES, f"{failed} of the last {len(legs)} fills failed on the chain"
            )

    def _trip(self, reason: Reason, text: str) -> None:
        if reason not in self._said:
            self._said.add(reason)
            self._trips.append(Trip(reason, text))
