"""What becomes of a request: a result for each leg, and what its answer says about the session.

answer ─▶ verdict about each leg ─▶ result ring
      ├─▶ throttle      late, 429, rate headers
      ├─▶ venue mode    425, 503, or that it works again
      ├─▶ stop          401, 403, another version of the exchange: no new orders until somebody looks
      └─▶ heartbeat     goes on, or missed
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from invmm._ext.words import SharedWords
from invmm.clock import LiveClock
from invmm.execution import answers
from invmm.execution.alive import PossiblyAlive
from invmm.execution.connections import Answer, Request
from invmm.execution.heartbeat import Heartbeat
from invmm.execution.intake import Intake
from invmm.execution.latency import Latency
from invmm.execution.throttle import Throttle
from invmm.execution.venue_mode import VenueModes
from invmm.feed.user_messages import order_id_bytes
from invmm.types import CommandKind, OrderStatus, Reason
from invmm.venue.limits import Limits

HEARTBEAT, PROBE = 64, 65  # kinds of requests that no command asked for
STOPS = (Reason.UNAUTHORIZED, Reason.GEOBLOCKED, Reason.VENUE_VERSION)
FAILED = Reason.SHUTDOWN  # of an alarm: the executor itself has ended
ALARMS_MAX = 100


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something a person should know. `time_ns` is engine time; the text names no secret."""

    time_ns: int
    reason: Reason
    text: str

    @property
    def is_final(self) -> bool:
        """Whether no order goes out any more until somebody has looked."""
        return self.reason in (*STOPS, FAILED)


class Follower:
    """Reads the answers of one executor; belongs to its thread.

    Parameters
    ----------
    intake : Intake
        Takes the results.
    words : SharedWords
        Where venue mode, heartbeat and stop are published.
    clock : LiveClock
    limits : Limits, optional
        None: no buckets of our own.
    with_heartbeat : bool
    """

    def __init__(
        self,
        intake: Intake,
        words: SharedWords,
        clock: LiveClock,
        limits: Limits | None,
        *,
        with_heartbeat: bool,
    ) -> None:
        self.throttle = None if limits is None else Throttle(limits)
        limits = Limits() if limits is None else limits
        self.modes = VenueModes(limits.post_only_s)
        self.heartbeat = Heartbeat(limits) if with_heartbeat else None
        self.alive = PossiblyAlive()
        self.alarms: deque[Alarm] = deque(maxlen=ALARMS_MAX)
        self._news: deque[Alarm] = deque(maxlen=ALARMS_MAX)
        self.answers: dict[int, int] = {}
        self.unknown = 0
        self.cancel_all_understood = 0
        self.write_to_answer = Latency()
        self._intake = intake
        self._words = words
        self._clock = clock
        if self.throttle is not None:
            intake.gate.pace = self.throttle.pace
        self.publish()

    def publish(self) -> None:
        """Venue mode and missed heartbeats, for the engine and the gate."""
        if self._words.venue_mode != self.modes.mode:
            self.alarm(Reason.VENUE_MODE, f"the venue is {self.modes.mode.name}")
            self._words.venue_mode = self.modes.mode
        if self.heartbeat is not None:
            self._words.heartbeat_until_ns = self.heartbeat.until_ns
            if self._words.missed_heartbeats != self.heartbeat.missed:
                self._words.missed_heartbeats = self.heartbeat.missed

    def alarm(self, reason: Reason, text: str) -> None:
        """Keeps it for `Executor.alarms` and `take_news`."""
        alarm = Alarm(self._clock.now_ns(), reason, text)
        self.alarms.append(alarm)
        self._news.append(alarm)

    def take_news(self) -> list[Alarm]:
        """The alarms since the last call. On the engine's thread, by nobody else."""
        return [self._news.popleft() for _ in range(len(self._news))]

    def tick(self, now_ns: int) -> None:
        """What time alone changes; `now_ns` is engine time."""
        self.modes.tick(now_ns)
        if self.throttle is not None:
            self.throttle.grow(now_ns)
        self.publish()

    def finished(self, request: Request, answer: Answer) -> None:
        """One request has ended."""
        real_ns = self._clock.mono_ns()
        ack_ns = real_ns - request.written_ns
        now_ns, asked_ns = self._clock.at_ns(real_ns), self._clock.at_ns(request.written_ns)
        self.answers[answer.code] = self.answers.get(answer.code, 0) + 1
        if request.kind == HEARTBEAT:
            self._pulse(answer, now_ns)
        else:
            if answer.code:
                self.write_to_answer.add(ack_ns)
            kind = CommandKind.CANCEL if request.kind == PROBE else CommandKind(request.kind)
            if self.throttle is not None:
                self.throttle.answered(kind, answer.code, answer.headers, ack_ns, now_ns)
            is_cancel = kind in (CommandKind.CANCEL, CommandKind.CANCEL_ALL)
            self.modes.answered(is_cancel, answer.code, answer.body, answer.headers, asked_ns, now_ns)
        self.publish()
        self._stop_if_told(answers.why_unknown(answer.code, answer.body), answer)
        if request.kind in (CommandKind.PLACE, CommandKind.RESEND, CommandKind.CANCEL):
            self._tell_legs(request, answer)
        elif request.kind == CommandKind.CANCEL_ALL:
            self._tell_all(request, answer, now_ns)

    def tell_unknown(self, request: Request) -> None:
        """No answer within the time allowed; one that comes later is told then."""
        request.told_unknown = True
        if request.kind in (CommandKind.PLACE, CommandKind.RESEND):
            self.unknown += len(request.legs)
            for i in range(len(request.legs)):
                self._intake.answer(request.legs, i, OrderStatus.UNKNOWN, Reason.TRANSPORT)

    def _pulse(self, answer: Answer, now_ns: int) -> None:
        assert self.heartbeat is not None
        before = self.heartbeat.missed
        self.heartbeat.answered(answer.code, answer.body, now_ns)
        if self.heartbeat.missed > before:
            self.alarm(Reason.HEARTBEAT, f"a heartbeat failed: status {answer.code}")

    def _stop_if_told(self, reason: Reason, answer: Answer) -> None:
        if reason in STOPS and self._words.venue_stop != reason:
            if self._words.venue_stop == Reason.NONE:
                self._words.venue_stop = reason
            text = answers.error_text(answer.body) or "a body without the venue's words"
            self.alarm(reason, f"new orders stop: status {answer.code}, {text}")

    def _tell_legs(self, request: Request, answer: Answer) -> None:
        ids = ["0x" + leg["order_id"].tobytes().hex() for leg in request.legs]
        if request.kind == CommandKind.CANCEL:
            verdicts = answers.canceled(answer.code, answer.body, ids)
        else:
            asked = [
                answers.Asked(order_id, int(leg["side"]), int(leg["order_type"]), int(leg["size_micro"]))
                for order_id, leg in zip(ids, request.legs, strict=True)
            ]
            if request.kind == CommandKind.RESEND:
                verdicts = [answers.resent(answer.code, answer.body, asked[0])]
            else:
                verdicts = answers.placed(answer.code, answer.body, asked)
        for i, verdict in enumerate(verdicts):
            if verdict.reason == Reason.VENUE_VERSION:
                self._stop_if_told(verdict.reason, answer)
            if verdict.status == OrderStatus.UNKNOWN:
                if request.told_unknown and verdict.reason == Reason.TRANSPORT:
                    continue
                self.unknown += not request.told_unknown
            elif verdict.status in (OrderStatus.REJECTED, OrderStatus.COPY_REFUSED):
                self.alive.refused(request.legs[i]["order_id"].tobytes())
            elif verdict.status == OrderStatus.CANCELED:
                self.alive.ended(request.legs[i]["order_id"].tobytes())
            self._intake.answer(
                request.legs, i, verdict.status, verdict.reason, answer.code, verdict.filled_micro
            )

    def _tell_all(self, request: Request, answer: Answer, now_ns: int) -> None:
        """One result per id that the venue names (key 0: the engine knows ids), then the command's own."""
        gone, understood = answers.canceled_ids(answer.code, answer.body)
        self.cancel_all_understood += understood
        if self.throttle is not None:
            self.throttle.canceled_all(len(gone), now_ns)
        for order_id in gone:
            try:
                raw = order_id_bytes(order_id)
            except ValueError:
                continue  # no id of an order, so of none of ours
            self.alive.ended(raw)
            leg = request.legs.copy()
            leg["key"] = 0
            leg["order_id"] = np.frombuffer(raw, "V32")
            self._intake.answer(leg, 0, OrderStatus.CANCELED, Reason.NONE, answer.code)
        status = OrderStatus.CANCELED if understood else OrderStatus.NOT_CANCELED
        reason = Reason.NONE if understood else answers.why_unknown(answer.code, answer.body)
        self._intake.answer(request.legs, 0, status, reason, answer.code)
