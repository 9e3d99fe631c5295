"""The executor: a thread that turns commands into requests and the venue's answers into results.

    command ring ─▶ Intake (no GIL): group ─ gate ─ sign ─ SENT ─ write ─▶ connections ─▶ venue
    result ring  ◀───────────────── verdict about each leg ◀───────────────┘

It owns its connections and the right to sign; it shares with the engine the two rings and `SharedWords`,
nothing else. An order is never sent again. A request without a usable answer leaves its orders UNKNOWN;
should the answer come later but within the hard deadline, it is reported then.

Command deadlines are engine time; transport deadlines are real time, since they are about real sockets.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from invmm._ext.l2 import L2Signer
from invmm._ext.ring import CommandRing, ResultRing
from invmm._ext.template import OrderTemplate
from invmm._ext.words import SharedWords
from invmm.clock import LiveClock
from invmm.execution import answers
from invmm.execution.connections import MS, Connection, Endpoint, Lane, Pool, Request
from invmm.execution.intake import Intake
from invmm.execution.latency import Latency
from invmm.execution.rehearsal import Rehearsal
from invmm.settings import ExecutorSettings
from invmm.types import COMMAND_DTYPE, CommandArray, CommandKind, EventArray, Mode, OrderStatus, Reason

NOBODY, BY_CALLER = -1, -2  # where Intake may write, besides a descriptor
BEAT_LIMIT_NS = 3_000 * MS  # silence of an engine that had given signs of life; then everything is cancelled
RING_WAIT_FD = 2  # ring_wait.h: the sockets have something
LONGEST_BLIND_NS = MS // 2
LONGEST_WAIT_NS = 200 * MS
KIND_NAMES = {int(kind): kind.name.lower() for kind in CommandKind}
STASH_MAX = 256  # groups that wait for a connection


@dataclass(frozen=True)
class ExecutorStatistics:
    """Counts since the start, and latencies in ns."""

    requests: dict[str, int]
    answers: dict[int, int]
    refused_by_pool: int
    unknown: int
    warm: int
    connects: int
    lost: int
    latency_ns: dict[str, dict[str, int | None]]


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
    ) -> None:
        settings = settings or ExecutorSettings()
        self.settings = settings
        self.words = SharedWords() if words is None else words
        self.commands = CommandRing(settings.ring_capacity) if ring is None else ring
        self.results = ResultRing(4 * settings.ring_capacity) if results is None else results
        self.intake = Intake(self.commands, self.results, self.words, signer, endpoint.header, clock)
        self.error: BaseException | None = None
        self.pop_to_write = Latency()
        self.frame_to_order = Latency()
        self.pop_to_ready = Latency()
        self.write_to_answer = Latency()
        self._pool = Pool(
            endpoint, settings.connections, self._finished, connect_ns=settings.connect_timeout_ms * MS
        )
        self._spin_ns = {"spin": -1, "spin-park": settings.spin_us * 1000, "park": 0}[settings.wait]
        self._unknown_ns = settings.unknown_after_ms * MS
        self._hard_ns = max(settings.hard_deadline_ms, settings.unknown_after_ms) * MS
        self._stash: dict[Lane, deque[npt.NDArray[np.void]]] = {lane: deque() for lane in Lane}
        self._rehearsal: Rehearsal | None = None
        self._stop_ns: int | None = None
        self._abandoned = False
        self._closing = False
        self._requests = dict.fromkeys(KIND_NAMES.values(), 0)
        self._answers: dict[int, int] = {}
        self._refused = 0
        self._unknown = 0
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
                    self._pool.close(time.monotonic_ns())
                return
            self._closing = True
            self.intake.stopping = True
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

    def statistics(self) -> ExecutorStatistics:
        """What happened so far. From any thread; counts may be a moment apart."""
        return ExecutorStatistics(
            requests=dict(self._requests),
            answers=dict(self._answers),
            refused_by_pool=self._refused,
            unknown=self._unknown,
            warm=self._pool.warm(),
            connects=sum(connection.connects for connection in self._pool.connections),
            lost=self.intake.lost,
            latency_ns={
                "frame_to_order": self.frame_to_order.summary(),
                "pop_to_ready": self.pop_to_ready.summary(),
                "pop_to_write": self.pop_to_write.summary(),
                "write_to_answer": self.write_to_answer.summary(),
            },
        )

    # ── executor thread ─────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        try:
            self._prepare_rehearsals()
            self._loop()
        except BaseException as error:
            # Nothing may be quoted by a thread that does not know what went wrong: the engine sees the mode,
            # the orders in flight become UNKNOWN, and all orders are asked to go by a last request.
            self.error = error
            self.words.mode = Mode.STOPPED
            self._last_resort()
        finally:
            self.intake.stopping = True
            self._pool.close(time.monotonic_ns())
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
        intake, pool = self.intake, self._pool
        now_ns = looked_ns = time.monotonic_ns()
        while True:
            pool.keep(now_ns)
            self._expire(now_ns)
            self._watch_engine(now_ns)
            self._unstash()
            intake.flush()
            if self._stop_ns is not None and (now_ns >= self._stop_ns or not self._is_working()):
                return
            intake.hold_cancels = bool(self._stash[Lane.PLACE])
            place, cancel = pool.idle(Lane.PLACE), pool.idle(Lane.CANCEL)
            kind = intake.take(
                self._spin_ns,
                self._wait_ns(now_ns),
                pool.epoll.fileno(),
                _target(place),
                _target(cancel),
                None if place is None else place.writer,
                None if cancel is None else cancel.writer,
            )
            if kind == CommandKind.SHUTDOWN:
                intake.stopping = True
                if self._stop_ns is None:
                    self._stop_ns = time.monotonic_ns() + self._hard_ns
            elif kind:
                self._sent(kind, place if kind == CommandKind.PLACE else cancel)
            now_ns = time.monotonic_ns()
            # A look lets the interpreter lock go. A ring that is never empty hides the sockets: look by the
            # clock.
            if intake.seen & RING_WAIT_FD or now_ns - looked_ns > LONGEST_BLIND_NS:
                looked_ns = now_ns
                pool.poll(now_ns)

    def _is_working(self) -> bool:
        return bool(self._pool.busy() or any(self._stash.values()) or len(self.commands))

    def _wait_ns(self, now_ns: int) -> int:
        """How long nothing happens by itself."""
        times = [now_ns + LONGEST_WAIT_NS]
        for connection in self._pool.connections:
            if connection.request is not None and not connection.request.told_unknown:
                times.append(connection.request.written_ns + self._unknown_ns)
        at = self._pool.next_ns()
        if at is not None:
            times.append(at)
        if any(self._stash.values()):
            times.append(now_ns + MS)
        return max(0, min(times) - now_ns)

    def _sent(self, kind: int, connection: Connection | None) -> None:
        """What Intake made of a group: hand it to its connection, or keep it until one is free."""
        intake = self.intake
        legs = intake.legs_copy()
        if kind != CommandKind.PLACE and self._stash[Lane.PLACE]:
            self._withdraw(kind, legs)
        if not intake.built:
            self._keep(kind, legs)
            return
        assert connection is not None
        self._requests[KIND_NAMES[kind]] += 1
        request = Request(kind, legs, intake.popped_ns)
        now_ns = time.monotonic_ns()
        if intake.sent < 0:
            # The kernel took nothing, so the venue knows nothing; but SENT is out, so only REFUSED can take
            # it back.
            self._refuse_unsent(request)
            connection.fail(now_ns, f"write: errno {-intake.sent}")
            return
        unsent = b"" if intake.sent and intake.sent == intake.size else intake.request()
        connection.begin(request, unsent, now_ns + self._hard_ns, now_ns)
        request.written_ns = intake.written_ns if not unsent else time.monotonic_ns()
        self.pop_to_ready.add(intake.ready_ns - intake.popped_ns)
        self.pop_to_write.add(request.written_ns - intake.popped_ns)
        entered = int(legs["entered_ns_low"][0]) if kind == CommandKind.PLACE else 0
        if entered:  # of the frame that caused it: low 32 bits of the same clock, enough for 4.3 s
            self.frame_to_order.add((request.written_ns - entered) & 0xFFFFFFFF)

    def _refuse_unsent(self, request: Request) -> None:
        place = request.kind == CommandKind.PLACE
        status = OrderStatus.REFUSED if place else OrderStatus.NOT_CANCELED
        for i in range(len(request.legs)):
            self.intake.answer(request.legs, i, status, Reason.TRANSPORT)

    # Groups without a connection.

    def _keep(self, kind: int, legs: npt.NDArray[np.void]) -> None:
        lane = Lane.PLACE if kind == CommandKind.PLACE else Lane.CANCEL
        if len(self._stash[lane]) < STASH_MAX:
            self._stash[lane].append(legs)
            return
        self._refused += 1
        status = OrderStatus.REFUSED if lane is Lane.PLACE else OrderStatus.NOT_CANCELED
        for i in range(len(legs)):
            self.intake.answer(legs, i, status, Reason.RING_FULL)

    def _unstash(self) -> None:
        """Sends what waited, as far as connections are free. It is gated again: it may have become stale."""
        for lane in (Lane.CANCEL, Lane.PLACE):
            waiting = self._stash[lane]
            while waiting and (connection := self._pool.idle(lane)) is not None:
                kind = self.intake.again(waiting.popleft(), _target(connection))
                if kind:
                    self._sent(kind, connection)

    def _withdraw(self, kind: int, cancels: npt.NDArray[np.void]) -> None:
        """Placements that were never sent are refused when their cancel comes."""
        keys = set(cancels["key"].tolist())
        kept: deque[npt.NDArray[np.void]] = deque()
        for legs in self._stash[Lane.PLACE]:
            gone = np.array([kind == CommandKind.CANCEL_ALL or int(key) in keys for key in legs["key"]])
            for i in np.flatnonzero(gone):
                self.intake.answer(legs, int(i), OrderStatus.REFUSED, Reason.NOT_WANTED)
            if not gone.all():
                kept.append(np.ascontiguousarray(legs[~gone]))
        self._stash[Lane.PLACE] = kept

    # Answers.

    def _finished(self, connection: Connection, request: Request, code: int, body: bytes) -> None:
        self._answers[code] = self._answers.get(code, 0) + 1
        if code:
            self.write_to_answer.add(time.monotonic_ns() - request.written_ns)
        if request.kind == CommandKind.CANCEL_ALL:
            self._all_canceled(request, code, body)
            return
        ids = [_id_text(leg) for leg in request.legs]
        if request.kind == CommandKind.CANCEL:
            verdicts = answers.canceled(code, body, ids)
        else:
            asked = [
                answers.Asked(order_id, int(leg["side"]), int(leg["order_type"]), int(leg["size_micro"]))
                for order_id, leg in zip(ids, request.legs, strict=True)
            ]
            verdicts = answers.placed(code, body, asked)
        for i, verdict in enumerate(verdicts):
            if verdict.status == OrderStatus.UNKNOWN:
                if request.told_unknown:
                    continue
                self._unknown += 1
            self.intake.answer(request.legs, i, verdict.status, verdict.reason, code, verdict.filled_micro)

    def _all_canceled(self, request: Request, code: int, body: bytes) -> None:
        """One result per id that the venue names (key 0: the engine knows ids), then the command's own."""
        gone, understood = answers.canceled_ids(code, body)
        for order_id in gone:
            try:
                raw = bytes.fromhex(order_id.removeprefix("0x"))
            except ValueError:
                continue
            leg = request.legs.copy()
            leg["key"] = 0
            leg["order_id"] = raw
            if len(raw) == 32:
                self.intake.answer(leg, 0, OrderStatus.CANCELED, Reason.NONE, code)
        status = OrderStatus.CANCELED if understood else OrderStatus.NOT_CANCELED
        self.intake.answer(request.legs, 0, status, Reason.NONE if understood else Reason.TRANSPORT, code)

    def _expire(self, now_ns: int) -> None:
        """Orders without an answer for too long are UNKNOWN; the connection goes on listening."""
        for connection in self._pool.connections:
            request = connection.request
            if request is None or request.told_unknown or now_ns < request.written_ns + self._unknown_ns:
                continue
            request.told_unknown = True
            if request.kind == CommandKind.PLACE:
                self._unknown += len(request.legs)
                for i in range(len(request.legs)):
                    self.intake.answer(request.legs, i, OrderStatus.UNKNOWN, Reason.TRANSPORT)

    # Last lines of defence.

    def _watch_engine(self, now_ns: int) -> None:
        """An engine that no longer gives signs of life does not look after its orders: take them back."""
        beat_ns = self.words.beat_ns
        if not beat_ns or self._stop_ns is not None:
            return
        if now_ns - beat_ns <= BEAT_LIMIT_NS:
            if self._abandoned:
                self._abandoned = False
                self.intake.stopping = self._closing
            return
        if not self._abandoned:
            self._abandoned = True
            self.intake.stopping = True
            self._keep(CommandKind.CANCEL_ALL, _cancel_all())

    def _last_resort(self) -> None:
        """One DELETE /cancel-all over whatever connection is idle, by the time of one hard deadline."""
        try:
            connection = self._pool.idle(Lane.CANCEL)
            if connection is None:
                return
            self._stash = {lane: deque() for lane in Lane}
            if self.intake.again(_cancel_all(), _target(connection)):
                self._sent(CommandKind.CANCEL_ALL, connection)
            end_ns = time.monotonic_ns() + self._hard_ns
            while connection.request is not None and time.monotonic_ns() < end_ns:
                self._pool.epoll.poll(0.05)
                self._pool.poll(time.monotonic_ns())
        except Exception as error:  # the first error is the one to report
            if self.error is not None:
                self.error.add_note(f"the last cancel-all failed as well: {error!r}")


def _target(connection: Connection | None) -> int:
    """Where Intake may write for this connection."""
    if connection is None:
        return NOBODY
    return connection.fd if connection.is_plain else BY_CALLER


def _cancel_all() -> npt.NDArray[np.void]:
    legs = np.zeros(1, dtype=COMMAND_DTYPE)
    legs["kind"] = CommandKind.CANCEL_ALL
    return legs


def _id_text(leg: np.void) -> str:
    order_id: bytes = leg["order_id"].tobytes()
    return "0x" + order_id.hex()
