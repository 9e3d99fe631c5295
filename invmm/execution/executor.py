"""The executor: a thread that turns commands into requests and the venue's answers into results.

    command ring ─▶ Intake (no GIL): group ─ gate ─ sign ─ SENT ─ write ─▶ connections ─▶ venue
    result ring  ◀───────────────── verdict about each leg ◀───────────────┘

It owns its connections and the right to sign; it shares with the engine the two rings and `SharedWords`,
nothing else. An order is never sent again by itself; RESEND sends the same bytes of a young one. A request
without a usable answer leaves its orders UNKNOWN; should the answer come later but within the hard deadline,
it is reported then.

What answers mean is `follow`; what waits, for a connection or its rate or the venue, is `waiting`; heartbeats
and other requests that no command carries are `errands`.

Command deadlines, rates, modes and heartbeats are engine time: they are the venue's seconds. Deadlines of
connections are real time, since they are about real sockets.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np

from invmm._ext.ahead import SignedAhead
from invmm._ext.l2 import L2Signer
from invmm._ext.ring import CommandRing, ResultRing
from invmm._ext.template import OrderTemplate
from invmm._ext.words import SharedWords
from invmm.affinity import pin
from invmm.clock import LiveClock
from invmm.errors import origin_of
from invmm.execution.alive import cancel_all
from invmm.execution.connections import MS, Connection, Endpoint, Lane, Request
from invmm.execution.errands import Errands
from invmm.execution.follow import FAILED, Alarm, Follower
from invmm.execution.intake import Intake
from invmm.execution.latency import Latency
from invmm.execution.pool import Pool
from invmm.execution.rehearsal import Rehearsal
from invmm.execution.statistics import ExecutorStatistics
from invmm.execution.waiting import Legs, Waiting
from invmm.execution.watch import EngineWatch
from invmm.settings import ExecutorSettings
from invmm.types import (
    COMMAND_DTYPE,
    CommandArray,
    CommandKind,
    EventArray,
    Mode,
    OrderStatus,
    Reason,
    VenueMode,
)
from invmm.venue.limits import Limits

NOBODY, BY_CALLER = -1, -2  # where Intake may write, besides a descriptor
RING_WAIT_FD = 2  # ring_wait.h: the sockets have something
LONGEST_BLIND_NS = MS // 2
LONGEST_WAIT_NS = 200 * MS
LOOK_AROUND_NS = 5 * MS  # between two looks at what time alone changes


class Executor:
    """Implements `Venue` over HTTP. Producer of commands and consumer of results: one thread, the engine's.

    Parameters
    ----------
    endpoint : Endpoint
    signer : L2Signer
        Writes the header lines of a request.
    clock : LiveClock
    settings : ExecutorSettings
    words : SharedWords, optional
        What the engine publishes; one of its own otherwise, as `words`.
    ring, results : optional
        As `settings.ring_capacity` says (results: four times that) unless given.
    limits : Limits, optional
        Of the venue's profile; what exceeds them is not sent. None: no buckets of its own.
    connection : callable
        Makes what carries the requests.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        signer: L2Signer,
        clock: LiveClock,
        settings: ExecutorSettings | None = None,
        *,
        words: SharedWords | None = None,
        ring: CommandRing | None = None,
        results: ResultRing | None = None,
        limits: Limits | None = None,
        connection: Callable[..., Connection] = Connection,
    ) -> None:
        settings = settings or ExecutorSettings()
        self.settings = settings
        self.words = SharedWords() if words is None else words
        self.commands = CommandRing(settings.ring_capacity) if ring is None else ring
        self.results = ResultRing(4 * settings.ring_capacity) if results is None else results
        self.intake = Intake(self.commands, self.results, self.words, signer, endpoint.header, clock)
        if settings.sign_ahead:
            self.intake.orders.ahead = SignedAhead(
                settings.sign_ahead, settings.sign_ahead_age_ms, secrets.randbits(64)
            )
        self.error: BaseException | None = None
        self.pop_to_write = Latency()
        self.frame_to_order = Latency()
        self.pop_to_ready = Latency()
        is_live = endpoint.host not in ("127.0.0.1", "::1", "localhost")
        with_heartbeat = settings.heartbeat == "on" or (settings.heartbeat == "live" and is_live)
        self.follow = Follower(self.intake, self.words, clock, limits, with_heartbeat=with_heartbeat)
        self._clock = clock
        self._pool = Pool(
            endpoint,
            settings.connections,
            lambda connection, request, answer: self.follow.finished(request, answer),
            cancel_lanes=min(settings.cancel_connections, settings.connections - 1),
            connect_ns=settings.connect_timeout_ms * MS,
            heartbeat=with_heartbeat,
            make=connection,
        )
        self._spin_ns = {"spin": -1, "spin-park": settings.spin_us * 1000, "park": 0}[settings.wait]
        self._unknown_ns = settings.unknown_after_ms * MS
        self._hard_ns = max(settings.hard_deadline_ms, settings.unknown_after_ms) * MS
        self._waiting = Waiting()
        self._errands = Errands(endpoint, signer, clock, self._pool, self.intake, self.follow, self._hard_ns)
        self._resends: deque[Legs] = deque()
        self._rehearsal: Rehearsal | None = None
        self._stop_ns: int | None = None
        self.look_around_ns = LOOK_AROUND_NS
        self.longest_wait_ns = LONGEST_WAIT_NS
        self._looked_around_ns = 0
        self._polled_ns = 0
        self._watch = EngineWatch(self.words)
        self._closing = False
        self._refused = 0
        self._thread = threading.Thread(target=self._run, name="invmm executor", daemon=True)
        self._close_lock = threading.Lock()

    # ── engine thread ───────────────────────────────────────────────────────────────────────────────────────

    def set_template(self, market: int, token: int, template: OrderTemplate | None) -> None:
        """How orders for a market's token (0 Up, 1 Down) are written; placements without are refused."""
        self.intake.set_template(market, token, template)

    def start(self) -> None:
        """Starts the thread, which connects at once."""
        self._thread.start()

    def wait_warm(self, timeout_s: float = 5.0) -> bool:
        """Blocks until every connection is open; False when the time is over first."""
        end = time.monotonic() + timeout_s
        while self._pool.warm() < len(self._pool.connections):
            if time.monotonic() > end or not self._thread.is_alive():
                return False
            time.sleep(0.001)
        return True

    def submit(self, commands: CommandArray, now_ns: int) -> int:
        """Hands commands over; how many were taken, in order. Never blocks."""
        return self.commands.push_many(commands)

    def poll(self, now_ns: int, out: EventArray) -> int:
        """Moves results into `out`; how many."""
        return self.results.pop_into(out)

    def close(self, timeout_s: float = 5.0) -> None:
        """Stops taking placements, waits for answers at most that long, ends the thread. Idempotent."""
        with self._close_lock:
            if not self._thread.is_alive():
                if self._thread.ident is None:
                    self._pool.close(self._clock.mono_ns())
                return
            self._closing = True
            self.intake.gate.stopping = True
            shutdown = np.zeros(1, dtype=COMMAND_DTYPE)
            shutdown["kind"] = CommandKind.SHUTDOWN
            end = time.monotonic() + timeout_s
            while not self.commands.try_push(shutdown) and time.monotonic() < end and self._thread.is_alive():
                time.sleep(0.001)
            self._thread.join(max(0.0, end - time.monotonic()))
            if self._thread.is_alive():
                self._stop_ns = 0  # over: do not wait for answers any longer
                self._thread.join(1.0)

    def last_errors(self) -> list[str]:
        """What went wrong last on each connection; "" where nothing did."""
        return [connection.last_error for connection in self._pool.connections]

    def alarms(self) -> list[Alarm]:
        """What a person should know: why orders stopped, mode changes, failed heartbeats; newest last."""
        return list(self.follow.alarms)

    def statistics(self) -> ExecutorStatistics:
        """What happened so far. From any thread; counts may be a moment apart."""
        return ExecutorStatistics(
            requests=dict(self._errands.requests),
            answers=dict(self.follow.answers),
            refused_by_pool=self._refused,
            unknown=self.follow.unknown,
            warm=self._pool.warm(),
            connects=sum(connection.connects for connection in self._pool.connections),
            lost=self.intake.lost,
            waiting_cancels=self._waiting.cancels,
            venue_mode=VenueMode(self.words.venue_mode),
            venue_mode_changes=self.follow.modes.changes,
            missed_heartbeats=self.words.missed_heartbeats,
            throttle={} if self.follow.throttle is None else self.follow.throttle.statistics(),
            alarms=len(self.follow.alarms),
            latency_ns={
                "frame_to_order": self.frame_to_order.summary(),
                "pop_to_ready": self.pop_to_ready.summary(),
                "pop_to_write": self.pop_to_write.summary(),
                "write_to_answer": self.follow.write_to_answer.summary(),
            },
            signed_ahead={} if (ahead := self.intake.orders.ahead) is None else ahead.counts(),
            refusals=self.intake.gate.refusals(),
        )

    # ── executor thread ─────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        try:
            pin(self.settings.cpu, "[executor]")
            self._prepare_rehearsals()
            self._loop()
        except BaseException as error:
            # Nothing may be quoted by a thread that does not know what went wrong: the engine sees the mode,
            # the orders in flight become UNKNOWN, and all orders are asked to go by a last request.
            self.error = error
            self.words.mode = Mode.STOPPED
            self.follow.alarm(FAILED, f"the executor failed, no order goes out any more: {origin_of(error)}")
            self._last_resort()
        finally:
            self.intake.gate.stopping = True
            self._pool.close(self._clock.mono_ns())
            self._drop_waiting()
            self.intake.flush()
            if self._rehearsal is not None:
                self._rehearsal.close()

    def _prepare_rehearsals(self) -> None:
        """Between orders there is time to keep signing and sending in the caches: 2 % of a core."""
        if not self.settings.rehearse_ms:
            return
        try:
            self._rehearsal = Rehearsal(self._pool.is_encrypted)
        except OSError:
            return  # no loopback: orders go all the same, from colder caches
        self.intake.rehearse_ns = self.settings.rehearse_ms * MS
        self.intake.rehearsal = self._rehearsal

    def _loop(self) -> None:
        self._polled_ns = now_ns = self._clock.mono_ns()
        while self.turn(now_ns):
            now_ns = self._clock.mono_ns()

    def turn(self, now_ns: int, *, may_wait: bool = True) -> bool:
        """One round: what is due, then one group of commands and what the sockets have. False: it was the
        last.

        Parameters
        ----------
        now_ns : int
            CLOCK_MONOTONIC.
        may_wait : bool
            False: takes what is there at once and returns, for whoever gives the thread its time.
        """
        intake, pool = self.intake, self._pool
        pool.keep(now_ns)
        if now_ns - self._looked_around_ns >= self.look_around_ns:
            self._looked_around_ns = now_ns
            self._look_around(now_ns)
        self._send_waiting(now_ns)
        intake.flush()
        if self._stop_ns is not None and (now_ns >= self._stop_ns or not self._is_working()):
            return False
        intake.hold_cancels = bool(self._waiting.placements) or self.follow.modes.is_deaf
        place, cancel = pool.idle(Lane.PLACE), pool.idle(Lane.CANCEL)
        kind = intake.take(
            self._spin_ns if may_wait else 0,
            self.wait_ns(now_ns) if may_wait else 0,
            pool.epoll.fileno(),
            _target(place),
            _target(cancel),
            None if place is None else place.writer,
            None if cancel is None else cancel.writer,
        )
        if kind == CommandKind.SHUTDOWN:
            intake.gate.stopping = True
            if self._stop_ns is None:
                self._stop_ns = self._clock.mono_ns() + self._hard_ns
        elif kind == CommandKind.RESEND:
            self._resends.append(intake.legs_copy())
        elif kind:
            self._sent(kind, place if kind == CommandKind.PLACE else cancel)
        now_ns = self._clock.mono_ns()
        # A look lets the interpreter lock go. A ring that is never empty hides the sockets: look by the
        # clock.
        if intake.seen & RING_WAIT_FD or now_ns - self._polled_ns > LONGEST_BLIND_NS:
            self._polled_ns = now_ns
            pool.poll(now_ns)
        return True

    def _is_working(self) -> bool:
        return bool(self._pool.busy() or self._waiting or self._resends or len(self.commands))

    def wait_ns(self, now_ns: int) -> int:
        """How long nothing happens by itself."""
        times = [now_ns + self.longest_wait_ns]
        for connection in self._pool.connections:
            if connection.request is not None and not connection.request.told_unknown:
                at_ns = connection.request.written_ns + self._unknown_ns
                times.append(max(at_ns, self._looked_around_ns + self.look_around_ns))
        at = self._pool.next_ns()
        if at is not None:
            times.append(at)
        if self._waiting.cancels and not self.follow.modes.is_deaf:
            times.append(now_ns + MS)  # for their rate
        elif self._waiting or self._resends or self.follow.modes.mode is not VenueMode.RUNNING:
            times.append(now_ns + self.look_around_ns)  # a connection that becomes free is seen at once
        if self.follow.heartbeat is not None:
            wait_ns = self.follow.heartbeat.wait_ns(self._clock.at_ns(now_ns))
            times.append(now_ns + int(wait_ns / self._clock.scale))
        return max(0, min(times) - now_ns)

    def _look_around(self, now_ns: int) -> None:
        """What time alone changes."""
        engine_ns = self._clock.at_ns(now_ns)
        self.words.executor_beat_ns = now_ns
        self._expire(now_ns)
        self._watch_engine(now_ns, engine_ns)
        self.follow.tick(engine_ns)
        if self.follow.modes.mode is not VenueMode.CANCEL_ONLY:
            self.intake.gate.trials = 0
        self._errands.pulse(now_ns, engine_ns, self._stop_ns is None and self._watch.lives(now_ns))
        if self._waiting.placements:
            self._tell(self._waiting.expire(engine_ns), OrderStatus.REFUSED, Reason.DEADLINE)
        while self._resends and not self._errands.is_young(self._resends[0], engine_ns):
            self._tell(self._resends.popleft(), OrderStatus.COPY_REFUSED, Reason.DEADLINE)

    def _sent(self, kind: int, connection: Connection | None) -> None:
        """What Intake made of a group: hand it to its connection, or keep it until one is free."""
        intake = self.intake
        legs = intake.legs_copy()
        if kind != CommandKind.PLACE and self._waiting.placements:
            self._tell(self._waiting.withdraw(kind, legs), OrderStatus.REFUSED, Reason.NOT_WANTED)
        if not intake.built:
            self._keep(kind, legs)
            return
        assert connection is not None
        now_ns = self._clock.mono_ns()
        request = Request(kind, legs, intake.popped_ns, now_ns)  # `begin` may end it at once: it needs a time
        if intake.sent < 0:
            # The kernel took nothing, so the venue knows nothing; but SENT is out, so only REFUSED can take
            # it back.
            status = OrderStatus.REFUSED if kind == CommandKind.PLACE else OrderStatus.NOT_CANCELED
            self._tell(legs, status, Reason.TRANSPORT)
            connection.fail(now_ns, f"write: errno {-intake.sent}")
            return
        unsent = b"" if intake.sent and intake.sent == intake.size else intake.request()
        connection.begin(request, unsent, now_ns + self._hard_ns, now_ns)
        request.written_ns = intake.written_ns if not unsent else self._clock.mono_ns()
        self.pop_to_ready.add(intake.ready_ns - intake.popped_ns)
        self.pop_to_write.add(request.written_ns - intake.popped_ns)
        self._errands.sent(kind, legs, now_ns)
        entered = int(legs["entered_ns_low"][0]) if kind == CommandKind.PLACE else 0
        if entered:  # of the frame that caused it: low 32 bits of the same clock, enough for 4.3 s
            self.frame_to_order.add((request.written_ns - entered) & 0xFFFFFFFF)

    def _tell(self, legs: Legs, status: OrderStatus, reason: Reason) -> None:
        legs = np.ascontiguousarray(legs)
        for i in range(len(legs)):
            self.intake.answer(legs, i, status, reason)

    # What waits.

    def _keep(self, kind: int, legs: Legs) -> None:
        dropped = self._waiting.keep(kind, legs)
        if len(dropped):
            self._refused += kind == CommandKind.PLACE
            status = OrderStatus.REFUSED if kind == CommandKind.PLACE else OrderStatus.NOT_CANCELED
            self._tell(dropped, status, Reason.RING_FULL if kind == CommandKind.PLACE else Reason.IN_FLIGHT)

    def _send_waiting(self, now_ns: int) -> None:
        """Sends what waited, as far as connections are free and the venue takes it; all is gated again."""
        waiting, pool, mode = self._waiting, self._pool, self.follow.modes.mode
        if mode is VenueMode.RUNNING and not waiting and not self._resends:
            return
        engine_ns = self._clock.at_ns(now_ns)
        while waiting.cancel_alls and (connection := pool.idle(Lane.CANCEL)) is not None:
            self._again(waiting.cancel_alls.popleft(), connection)
        if self.follow.modes.is_deaf:
            self._ask(now_ns, engine_ns)
        else:
            while waiting.cancels and (connection := pool.idle(Lane.CANCEL)) is not None:
                legs = waiting.take_cancels(self._room(CommandKind.CANCEL, waiting.cancels, engine_ns))
                if not len(legs):
                    break
                self._again(legs, connection)
        if mode is VenueMode.CANCEL_ONLY and self.follow.modes.is_due(engine_ns, False):
            self.follow.modes.asked(engine_ns)
            self.intake.gate.trials = 1
        while self._resends and (connection := pool.idle(Lane.PLACE)) is not None:
            self._errands.resend(self._resends.popleft(), connection, now_ns, engine_ns)
        while waiting.placements and (connection := pool.idle(Lane.PLACE)) is not None:
            self._again(waiting.placements.popleft(), connection)

    def _again(self, legs: Legs, connection: Connection) -> None:
        kind = self.intake.again(legs, _target(connection))
        if kind:
            self._sent(kind, connection)

    def _room(self, kind: CommandKind, legs: int, engine_ns: int) -> int:
        throttle = self.follow.throttle
        return legs if throttle is None else throttle.room(kind, legs, engine_ns)

    def _ask(self, now_ns: int, engine_ns: int) -> None:
        """While the venue takes nothing: repeats the cancels that wait now and then, or asks without any."""
        modes, waiting = self.follow.modes, self._waiting
        connection = self._pool.idle(Lane.CANCEL)
        if connection is None or not modes.is_due(engine_ns, waiting.cancels > 0):
            return
        modes.asked(engine_ns)
        legs = waiting.take_cancels(self._room(CommandKind.CANCEL, waiting.cancels, engine_ns))
        if len(legs):
            self._again(legs, connection)
        else:
            self._errands.probe(connection, now_ns, engine_ns)

    def _drop_waiting(self) -> None:
        """The end: what still waits was never sent."""
        waiting, self._waiting = self._waiting, Waiting()
        for legs in waiting.placements:
            self._tell(legs, OrderStatus.REFUSED, Reason.SHUTDOWN)
        for legs in (*waiting.cancel_alls, waiting.take_cancels(waiting.cancels)):
            self._tell(legs, OrderStatus.NOT_CANCELED, Reason.SHUTDOWN)
        for legs in self._resends:
            self._tell(legs, OrderStatus.COPY_REFUSED, Reason.SHUTDOWN)

    def _expire(self, now_ns: int) -> None:
        """Orders without an answer for too long are UNKNOWN; the connection goes on listening."""
        for connection in self._pool.connections:
            request = connection.request
            if request is None or request.told_unknown or now_ns < request.written_ns + self._unknown_ns:
                continue
            self.follow.tell_unknown(request)

    # Last lines of defence.

    def _watch_engine(self, now_ns: int, engine_ns: int) -> None:
        """An engine that no longer gives signs of life does not look after its orders: take them back."""
        if self._stop_ns is not None:
            return
        is_due = self._watch.tick(now_ns)
        self.intake.gate.stopping = self._closing or self._watch.is_abandoned
        if is_due:
            if not self._waiting.cancel_alls:
                self._keep(CommandKind.CANCEL_ALL, cancel_all())
            if len(legs := self.follow.alive.cancels(engine_ns)):
                self._keep(CommandKind.CANCEL, legs)

    def _last_resort(self) -> None:
        """One DELETE /cancel-all over the first connection that is idle, within twice the hard deadline.

        All may be busy or down at first: half of that time they have to become free.
        """
        try:
            self._drop_waiting()
            end_ns = self._clock.mono_ns() + self._hard_ns
            while (connection := self._pool.idle(Lane.CANCEL)) is None and self._clock.mono_ns() < end_ns:
                self._turn()
            if connection is None:
                return
            if self.intake.again(cancel_all(), _target(connection)):
                self._sent(CommandKind.CANCEL_ALL, connection)
            end_ns = self._clock.mono_ns() + self._hard_ns
            while connection.request is not None and self._clock.mono_ns() < end_ns:
                self._turn()
        except Exception as error:  # the first error is the one to report
            if self.error is not None:
                self.error.add_note(f"the last cancel-all failed as well: {error!r}")

    def _turn(self) -> None:
        """Sockets only, while nothing else is done any more."""
        self._pool.keep(self._clock.mono_ns())
        self._pool.epoll.poll(0.05)
        self._pool.poll(self._clock.mono_ns())


def _target(connection: Connection | None) -> int:
    """Where Intake may write for this connection."""
    if connection is None:
        return NOBODY
    return connection.fd if connection.is_plain else BY_CALLER
