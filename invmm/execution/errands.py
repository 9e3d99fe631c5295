"""Requests that no ring command carries as it is: heartbeats, questions, the same bytes once more.

Each goes over a connection that is idle now; all methods belong to the executor thread. `now_ns` is
CLOCK_MONOTONIC, `engine_ns` engine time.
"""

from __future__ import annotations

import numpy as np

from invmm._ext.l2 import L2Signer
from invmm.clock import LiveClock
from invmm.execution import heartbeat
from invmm.execution.connections import Connection, Endpoint, Lane, Request
from invmm.execution.follow import HEARTBEAT, PROBE, Follower
from invmm.execution.intake import Intake
from invmm.execution.kill import KillLevel
from invmm.execution.pool import Pool
from invmm.execution.requests import RequestWriter
from invmm.execution.resend import SentBytes
from invmm.execution.waiting import Legs
from invmm.journal_types import JournalKind
from invmm.types import COMMAND_DTYPE, CommandKind, OrderStatus, Reason

KIND_NAMES = {int(kind): kind.name.lower() for kind in CommandKind} | {HEARTBEAT: "heartbeat", PROBE: "probe"}
NOBODYS_ORDER = b'["0x' + b"0" * 64 + b'"]'  # its cancel changes nothing and shows whether cancels work
ANY_VERSION = 2**64 - 1


class Errands:
    """Makes these requests and counts all of an executor.

    Parameters
    ----------
    endpoint, signer, clock, pool, intake, follow
        The executor's own.
    hard_ns : int
        Real time that a request may take.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        signer: L2Signer,
        clock: LiveClock,
        pool: Pool,
        intake: Intake,
        follow: Follower,
        hard_ns: int,
    ) -> None:
        self.sent_bytes = SentBytes()
        self.requests = dict.fromkeys(KIND_NAMES.values(), 0)
        """Requests so far, by kind."""
        self._writer = RequestWriter(signer, endpoint.header, clock)
        self._clock = clock
        self._pool = pool
        self._intake = intake
        self._follow = follow
        self._hard_ns = hard_ns

    def sent(self, kind: int, legs: Legs, now_ns: int) -> None:
        """The intake's request went out: counts it, and keeps ids and bytes of orders."""
        self.requests[KIND_NAMES[kind]] += 1
        if kind == CommandKind.PLACE:
            engine_ns = self._clock.at_ns(now_ns)
            self.sent_bytes.keep(legs, self._intake.body(), engine_ns)
            self._follow.alive.sent(legs, engine_ns)

    def pulse(self, now_ns: int, engine_ns: int, engine_lives: bool) -> None:
        """The next heartbeat, if it is time and the engine gives signs of life."""
        beats = self._follow.heartbeat
        if beats is None:
            return
        connection = self._pool.idle(Lane.HEARTBEAT)
        is_wanted = engine_lives and self._intake.words.kill < KillLevel.END
        if beats.tick(engine_ns, is_wanted) and connection is not None:
            data = self._writer.write("POST", heartbeat.PATH, beats.begun(engine_ns))
            allowed_ns = min(self._hard_ns, int(beats.deadline_ns / self._clock.scale))
            self._begin(HEARTBEAT, connection, data, now_ns, allowed_ns)
        self._follow.publish()

    def probe(self, connection: Connection, now_ns: int, engine_ns: int) -> None:
        """Asks whether cancels work, without cancelling anything."""
        if self._follow.throttle is not None:
            self._follow.throttle.charge(CommandKind.CANCEL, 1, engine_ns)
        data = self._writer.write("DELETE", "/orders", NOBODYS_ORDER)
        self._begin(PROBE, connection, data, now_ns, self._hard_ns)

    def is_young(self, command: Legs, engine_ns: int) -> bool:
        """Whether the bytes of the order that a RESEND names are still kept."""
        return bool(self.sent_bytes.find(int(command["key"][0]), engine_ns)[1])

    def resend(self, command: Legs, connection: Connection, now_ns: int, engine_ns: int) -> None:
        """The same bytes once more. Whatever comes of it, the order stays UNKNOWN unless it is accepted.

        `command` counts with its key and deadline; that the order is still wanted is the engine's to know.
        """
        legs, body = self.sent_bytes.find(int(command["key"][0]), engine_ns)
        reason = Reason.DEADLINE
        if len(legs):
            wanted = legs.copy()
            wanted["deadline_ns"], wanted["market_version"] = command["deadline_ns"], ANY_VERSION
            reason = Reason(self._intake.why_not(wanted))
        throttle = self._follow.throttle
        if reason is Reason.NONE and throttle is not None:
            if not throttle.room(CommandKind.RESEND, 1, engine_ns):
                reason = Reason.THROTTLED
            else:
                throttle.charge(CommandKind.RESEND, 1, engine_ns)
        if reason is Reason.NONE and not self._journaled(legs, engine_ns):
            reason = Reason.JOURNAL
        if reason is not Reason.NONE:
            self._intake.answer(legs if len(legs) else command, 0, OrderStatus.UNKNOWN, reason)
            return
        self.requests[KIND_NAMES[CommandKind.RESEND]] += 1
        self._follow.alive.sent_again(legs["order_id"][0].tobytes())
        data = self._writer.write("POST", "/orders", body)
        request = Request(CommandKind.RESEND, legs, now_ns, now_ns)
        connection.begin(request, data, now_ns + self._hard_ns, now_ns)

    def _journaled(self, legs: Legs, engine_ns: int) -> bool:
        """Whether the journal has that these bytes go out once more."""
        journal, again = self._intake.outbox.journal, legs.copy()
        again["kind"] = CommandKind.RESEND
        return journal is None or journal.append(
            JournalKind.COMMAND, again.tobytes(), engine_ns, int(again["key"][0])
        )

    def _begin(self, kind: int, connection: Connection, data: bytes, now_ns: int, allowed_ns: int) -> None:
        self.requests[KIND_NAMES[kind]] += 1
        request = Request(kind, np.zeros(0, COMMAND_DTYPE), now_ns, now_ns, told_unknown=True)
        connection.begin(request, data, now_ns + allowed_ns, now_ns)
