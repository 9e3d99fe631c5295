"""From popped commands to request bytes, without the GIL: group, gate, sign, announce, write.

    command ring ─▶ group (a batch, or all waiting cancels) ─ gate ─ build + sign ─ announce ─ write ─▶ socket
                                                               └ REFUSED(reason) ───┴ SENT ─▶ result ring

`Intake` belongs to the executor thread: it is the only consumer of the command ring and the only producer of
the result ring. Python is entered with a finished request; over a plain socket it is even written already.
Every refusal is a typed result. An order is announced (SENT, with its id) before its first byte leaves.
"""

cimport cython
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset, strlen
from posix.unistd cimport usleep, write

cimport numpy as cnp

import numpy as np

from invmm import types
from invmm._ext.amounts cimport (
    RULE_CAP_RATE,
    RULE_CAP_TOKEN,
    RULE_CLOSED,
    RULE_MIN_NOTIONAL,
    RULE_MIN_SIZE,
)
from invmm._ext.atomics cimport atomic_load_acquire, atomic_store_release
from invmm._ext.keytable cimport KeyTable
from invmm._ext.l2 cimport L2Signer
from invmm._ext.pace cimport LANE_CANCEL, LANE_CANCEL_ALL, LANE_PLACE
from invmm._ext.records cimport (
    BUY,
    COMMAND_CANCEL,
    COMMAND_CANCEL_ALL,
    COMMAND_PLACE,
    FLAG_LAST,
    FLAG_POST_ONLY,
    MODE_RUNNING,
    STATUS_NOT_CANCELED,
    STATUS_REFUSED,
    STATUS_SENT,
    command_t,
)
from invmm._ext.ring cimport RING_WAIT_RING, CommandRing, ResultRing, ring_monotonic_ns, ring_relax
from invmm._ext.template cimport OrderTemplate, sealed_t
from invmm._ext.wire cimport put, put_hex, put_number
from invmm._ext.words cimport SharedWords
from invmm.execution.outbox cimport Outbox

cnp.import_array()

cdef enum:
    REASON_NONE = 0             # Reason
    REASON_NOT_WANTED = 3
    REASON_STALE = 11
    REASON_MODE = 17
    REASON_BELOW_MIN_SIZE = 28
    REASON_RING_FULL = 29
    REASON_IN_FLIGHT = 30
    REASON_DEADLINE = 31
    REASON_SHUTDOWN = 32
    REASON_VENUE_REJECTED = 40
    REASON_VENUE_NOT_READY = 43
    REASON_SIGNER_CAP = 45
    REASON_VENUE_MODE = 46
    REASON_THROTTLED = 47
    REASON_HEARTBEAT = 51
    VENUE_RUNNING = 0           # VenueMode
    VENUE_POST_ONLY = 2
    REHEARSAL_SIZE = 1024       # of a body and of a write: about one order
    LOCK_IS_BUSY_NS = 200_000
    KEEP_AWAY_NS = 1_000_000_000
    AHEAD_PAUSE_NS = 10_000_000     # between two looks for orders that could be signed ahead
    BY_CALLER = -2              # a descriptor that stands for: not written here without the GIL

cdef const char* REHEARSED = b"no order has this as its digest!"     # 32 bytes


@cython.final
cdef class Intake:
    """Takes groups of commands off the ring and makes requests of them. Executor thread only.

    Parameters
    ----------
    ring : CommandRing
    results : ResultRing
    words : SharedWords
    signer : L2Signer
        Of the API credentials.
    host : str
        Of the `Host` header, with port unless it is the scheme's own.
    clock : LiveClock
        Engine time: its `origin_ns`, `mono_origin_ns` and `scale` are copied, so that time is told in C.
    """

    def __cinit__(self, CommandRing ring not None, ResultRing results not None, SharedWords words not None,
                  L2Signer signer not None, host, clock):
        if (not isinstance(host, str) or not host.isascii() or not host.isprintable()
                or not 0 < len(host) < 256):
            raise ValueError(f"host: expected printable ASCII of 1 to 255 characters, got {host!r}")
        if HEAD_ROOM < signer.capacity + 512 + len(host):
            raise ValueError("credentials: longer than a request's head allows")
        self.ring = ring
        self.results = results
        self.outbox = Outbox(results)
        self.words = words
        self.signer = signer
        self.host_lines = (
            f" HTTP/1.1\r\nHost: {host}\r\nUser-Agent: invmm\r\nAccept: application/json\r\n"
            "Content-Type: application/json\r\nContent-Length: ".encode()
        )
        self.host_text = self.host_lines
        self.mono_origin_ns = clock.mono_origin_ns
        self.origin_ns = clock.origin_ns
        self.scale = clock.scale
        self.keys = KeyTable()
        self.templates = {}
        self.retired = []
        self.linger_ns = 50_000
        self.rehearsal_bytes = bytes(REHEARSAL_SIZE)
        self.places = <void**>calloc(2 * words.markets, sizeof(void*))
        self.legs = <command_t*>calloc(CANCELS_MAX, sizeof(command_t))
        self.buffer = <char*>calloc(1, HEAD_ROOM + BODY_ROOM)
        if self.places == NULL or self.legs == NULL or self.buffer == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.places)
        free(self.legs)
        free(self.buffer)

    def __reduce__(self):
        raise TypeError("Intake holds credentials: it cannot be pickled or copied")

    def set_template(self, uint32_t market, int token, OrderTemplate template):
        """How a market's token is ordered; None: no longer at all. From any thread, at any time."""
        cdef uint64_t place

        if market >= self.words.markets or token not in (0, 1):
            raise IndexError(
                f"market, token: expected below {self.words.markets} and 0 or 1, got {market}, {token}"
            )
        if template is not None and template.body_capacity * LEGS_MAX + 2 > BODY_ROOM:
            raise ValueError("template: bodies are too long for a request")
        former = self.templates.pop((market, token), None)
        if template is not None:
            self.templates[market, token] = template
        place = <uint64_t><void*>template if template is not None else 0
        atomic_store_release(<uint64_t*>&self.places[2 * market + token], place)
        other = template if template is not None else next(iter(self.templates.values()), None)
        place = <uint64_t><void*>other if other is not None else 0
        atomic_store_release(&self.rehearsing, place)
        # The executor thread may be signing with the old one at this moment; `take` lets it go.
        if former is not None:
            self.retired.append(former)

    def take(
        self,
        int64_t spin_ns,
        int64_t timeout_ns,
        int epoll_fd,
        int place_fd,
        int cancel_fd,
        place_writer=None,
        cancel_writer=None,
    ):
        """Waits for commands (without the GIL) and turns the next group into a request.

        Parameters
        ----------
        spin_ns, timeout_ns, epoll_fd
            As ring_wait.h: how long to spin, how long to wait at most, what else to watch.
        place_fd, cancel_fd : int
            Where such a request may go at once: a plain socket, to be written without the GIL; -2: its
            writer, or the caller if there is none, writes; -1: nowhere, so that the group is left unbuilt and
            the caller keeps it.
        place_writer, cancel_writer : callable(bytes) -> int, optional
            Called with the request, with the GIL, before anything else is done in Python; returns how many
            bytes it took. What it raises (OSError, ValueError) counts as nothing taken: the caller meets it
            when it writes the rest.

        Returns
        -------
        int
            CommandKind of the group at hand (`legs`, `built`, `request`, `sent`), or 0.
        """
        cdef:
            int kind
            int64_t asked_ns, end_ns = ring_monotonic_ns() + timeout_ns
            object writer

        self.retired.clear()
        while True:
            with nogil:
                kind = self.wait_c(spin_ns, end_ns, epoll_fd, place_fd, cancel_fd)
                asked_ns = ring_monotonic_ns()
            if kind or self.seen or self.rehearsal is None or asked_ns >= end_ns:
                break
            self.rehearse(asked_ns)
        if self.built:
            self.python_ns = ring_monotonic_ns()
            writer = place_writer if kind == COMMAND_PLACE else cancel_writer
            if writer is not None and (place_fd if kind == COMMAND_PLACE else cancel_fd) == BY_CALLER:
                self.write_by(writer)
        return kind

    def again(self, legs, int fd):
        """Makes a request of a group that `take` left unbuilt; gates it anew. Returns as `take`."""
        cdef int kind

        if (not isinstance(legs, np.ndarray) or legs.dtype != types.COMMAND_DTYPE
                or not legs.flags.c_contiguous):
            raise TypeError("legs: expected a contiguous array of COMMAND_DTYPE")
        if not 0 < legs.size <= CANCELS_MAX:
            raise ValueError(f"legs: expected 1 to {CANCELS_MAX}, got {legs.size}")
        self.count = legs.size
        memcpy(self.legs, cnp.PyArray_DATA(legs), self.count * sizeof(command_t))
        with nogil:
            kind = self.dispatch_c(fd, fd)
        return kind

    def legs_copy(self):
        """The group at hand as `COMMAND_DTYPE`; `order_id` of each is set where it is known."""
        out = np.empty(self.count, dtype=types.COMMAND_DTYPE)
        memcpy(cnp.PyArray_DATA(out), self.legs, self.count * sizeof(command_t))
        return out

    def request(self):
        """A copy of the request's bytes, from what is not yet written."""
        cdef size_t sent = self.sent if self.sent > 0 else 0

        return <bytes>self.buffer[self.start + sent:self.start + self.size]

    def why_not(self, legs):
        """Reason for which an order that was sent may not be sent again now; its key is known, of course."""
        cdef:
            command_t leg
            int reason

        if legs.dtype != types.COMMAND_DTYPE or not legs.flags.c_contiguous or not legs.size:
            raise TypeError("legs: expected a contiguous array of COMMAND_DTYPE, not empty")
        leg = (<const command_t*>cnp.PyArray_DATA(legs))[0]
        reason = self.gate_c(&leg, self.engine_at_c(ring_monotonic_ns()))
        return REASON_NONE if reason == REASON_IN_FLIGHT else reason

    def body(self):
        """A copy of the request's body, whole."""
        return <bytes>self.buffer[HEAD_ROOM:self.start + self.size]

    def answer(
        self, legs, Py_ssize_t index, int status, int reason=0, int32_t code=0, int64_t filled_micro=0
    ):
        """Reports on leg `index` of a group (`legs_copy`); `code` is the HTTP status."""
        if legs.dtype != types.COMMAND_DTYPE or not legs.flags.c_contiguous or not 0 <= index < legs.size:
            raise TypeError("legs: expected a contiguous array of COMMAND_DTYPE and an index inside")
        self.emit_c(<const command_t*>cnp.PyArray_DATA(legs) + index, status, reason, code, filled_micro)

    def order_id(self, uint64_t key):
        """The id of an own order that was announced; None if there is none, or it was forgotten."""
        return self.keys.find(key)

    def flush(self):
        """Moves waiting results to the ring, wakes the engine if it asked; True when none is left."""
        cdef bint empty = self.outbox.flush_c()

        self.results.wake_c()
        return empty

    @property
    def lost(self):
        """Results dropped because even the backlog was full."""
        return self.outbox.lost

    def engine_ns(self, int64_t monotonic_ns):
        """Engine time of a CLOCK_MONOTONIC stamp."""
        return self.engine_at_c(monotonic_ns)

    def freeze(self, int64_t engine_ns):
        """Engine time stands at `engine_ns` until the next call: for a clock that is only imagined."""
        self.origin_ns = engine_ns
        self.scale = 0.0

    cdef int64_t engine_at_c(self, int64_t monotonic_ns) noexcept nogil:
        cdef int64_t elapsed = monotonic_ns - self.mono_origin_ns

        return self.origin_ns + (elapsed if self.scale == 1.0 else <int64_t>(<double>elapsed * self.scale))

    cdef int take_c(
        self, int64_t spin_ns, int64_t timeout_ns, int epoll_fd, int place_fd, int cancel_fd
    ) noexcept nogil:
        self.built = False
        self.sent = 0
        self.count = 0
        # What the engine has not taken yet goes first. While it does not, nothing new is begun: the command
        # ring fills and refuses, which is the answer that the engine understands.
        if not self.outbox.flush_c():
            self.results.wake_c()
            self.seen = 0
            usleep(200)     # the engine is behind: do not compete with it
            return 0
        self.seen = self.ring.wait_c(spin_ns, timeout_ns, epoll_fd)
        if not self.seen & RING_WAIT_RING:
            return 0
        self.popped_ns = ring_monotonic_ns()
        self.gather_c()
        if self.hold_cancels and self.legs[0].kind == COMMAND_CANCEL:
            return COMMAND_CANCEL
        return self.dispatch_c(place_fd, cancel_fd)

    cdef void gather_c(self) noexcept nogil:
        """One group into `legs`: a batch up to its last leg, or all cancels that wait; anything else alone.

        An unfinished batch is waited for briefly: its producer is between two pushes. Legs are independent,
        so what has come by then goes.
        """
        cdef:
            const command_t* front
            command_t* last
            int64_t end

        self.ring.pop_c(self.legs)
        self.count = 1
        last = self.legs
        if last.kind != COMMAND_PLACE and last.kind != COMMAND_CANCEL:
            return
        end = self.popped_ns + self.linger_ns
        while self.count < <size_t>(LEGS_MAX if last.kind == COMMAND_PLACE else CANCELS_MAX):
            if last.kind == COMMAND_PLACE and last.flags & FLAG_LAST:
                return
            front = self.ring.front_c()
            if front == NULL:
                if last.flags & FLAG_LAST or ring_monotonic_ns() >= end:
                    return
                ring_relax()
                continue
            if front.kind != last.kind or (last.kind == COMMAND_PLACE and front.batch != last.batch):
                return
            last += 1
            self.ring.pop_c(last)
            self.count += 1

    cdef int dispatch_c(self, int place_fd, int cancel_fd) noexcept nogil:
        """Gates, builds, announces and, over a plain socket, writes the group. Returns its kind, or 0."""
        cdef:
            int kind = self.legs[0].kind
            int fd = place_fd if kind == COMMAND_PLACE else cancel_fd
            size_t i

        self.built = False
        self.sent = 0
        if kind == COMMAND_PLACE:
            if self.gate_group_c() == 0:
                return 0
        elif kind == COMMAND_CANCEL:
            if self.resolve_group_c() == 0:
                return 0
        elif kind != COMMAND_CANCEL_ALL:
            return kind
        if fd == -1 or (kind == COMMAND_CANCEL and self.cancels_must_wait_c()):
            return kind
        if kind == COMMAND_PLACE:
            if not self.build_orders_c():
                return 0
        elif kind == COMMAND_CANCEL:
            self.build_cancels_c()
        else:
            self.compose_c(b"DELETE", b"/cancel-all", 0)
        self.built = True
        self.ready_ns = ring_monotonic_ns()
        if self.pace is not None:
            self.pace.charge_c(
                LANE_PLACE if kind == COMMAND_PLACE else LANE_CANCEL if kind == COMMAND_CANCEL
                else LANE_CANCEL_ALL, self.count, self.engine_at_c(self.ready_ns)
            )
        if kind == COMMAND_PLACE:
            for i in range(self.count):
                self.keys.insert_c(self.legs[i].key, self.legs[i].order_id)
                self.emit_c(&self.legs[i], STATUS_SENT, REASON_NONE, 0, 0)
        if fd >= 0:
            self.write_c(fd)
        return kind

    cdef bint cancels_must_wait_c(self) noexcept nogil:
        """No cancel is refused for its rate; the caller keeps them until all may go."""
        return self.pace is not None and self.pace.room_c(
            LANE_CANCEL, self.count, self.engine_at_c(ring_monotonic_ns())) < <int64_t>self.count

    cdef int wait_c(
        self, int64_t spin_ns, int64_t end_ns, int epoll_fd, int place_fd, int cancel_fd
    ) noexcept nogil:
        """`take_c` until a moment; returns early, with 0, when it is time to rehearse a write.

        Orders are signed ahead here, one between two looks at the ring, and signing is rehearsed. Who holds
        the interpreter lock for long, holds commands up as well if it is asked for in vain: then writes are
        not rehearsed for a while.
        """
        cdef:
            int64_t now_ns = ring_monotonic_ns(), due_ns = now_ns + self.rehearse_ns, until_ns
            int kind

        while True:
            until_ns = end_ns
            if self.rehearsal is not None:
                until_ns = min(until_ns, due_ns)
            if self.ahead is not None:
                until_ns = min(until_ns, self.ahead_after_ns)
            kind = self.take_c(spin_ns, max(until_ns - now_ns, 0), epoll_fd, place_fd, cancel_fd)
            now_ns = ring_monotonic_ns()
            if kind or self.seen or now_ns >= end_ns:
                return kind
            if self.ahead is not None and now_ns >= self.ahead_after_ns:
                self.sign_ahead_c()
                now_ns = ring_monotonic_ns()
            elif self.rehearsal is None:
                return kind
            if self.rehearsal is None or now_ns < due_ns:
                continue
            if not self.rehearse_c() and ring_monotonic_ns() >= self.rehearse_after_ns:
                return 0
            now_ns = ring_monotonic_ns()
            due_ns = now_ns + self.rehearse_ns

    cdef int rehearse(self, int64_t asked_ns) except -1:
        """Writes, none of it being used, so that the processor still knows how; gives way to a command."""
        cdef int64_t taken_ns = ring_monotonic_ns()

        if taken_ns - asked_ns > LOCK_IS_BUSY_NS:
            self.rehearse_after_ns = taken_ns + KEEP_AWAY_NS
            return 0
        if self.ring.front_c() != NULL:
            return 0
        try:
            self.rehearsal(self.rehearsal_bytes)
        except (OSError, ValueError):
            self.rehearsal = None
            return 0
        self.rehearsals += 1
        return 0

    cdef void sign_ahead_c(self) noexcept nogil:
        """Signs one order ahead; when there is none to sign, the next look is some time away."""
        if self.stopping or self.words.mode_c() != MODE_RUNNING:
            self.ahead.drop_c()
        elif self.ahead.fill_c(self.places, self.engine_at_c(ring_monotonic_ns()) // 1_000_000):
            return
        self.ahead_after_ns = ring_monotonic_ns() + AHEAD_PAUSE_NS

    cdef bint rehearse_c(self) noexcept nogil:
        """Signs, renders and makes headers, as before a write; True when a command waits or there is no key.

        What is signed is no order and no hash of one, and what is rendered has no signature.
        """
        cdef:
            uint8_t[65] signature
            command_t command
            sealed_t sealed
            int64_t maker = 0, taker = 0
            uint64_t signer = atomic_load_acquire(&self.rehearsing)

        if signer == 0:
            return True
        (<OrderTemplate><void*>signer).keys.sign_c(<const uint8_t*>REHEARSED, signature)
        if self.ring.front_c() != NULL:
            return True
        memset(&command, 0, sizeof(command))
        memset(&sealed, 0, sizeof(sealed))
        command.price_e4 = (<OrderTemplate><void*>signer).tick_e4
        command.size_micro = 100_000_000
        (<OrderTemplate><void*>signer).admit_c(&command, 1, &maker, &taker)
        (<OrderTemplate><void*>signer).render_c(&command, &sealed, self.buffer + HEAD_ROOM, BODY_ROOM)
        self.signer.headers_c(
            b"POST", b"/orders", self.buffer + HEAD_ROOM, REHEARSAL_SIZE, 1, self.buffer, HEAD_ROOM
        )
        return self.ring.front_c() != NULL

    cdef int write_by(self, writer) except -1:
        try:
            self.sent = writer(<bytes>self.buffer[self.start:self.start + self.size])
        except (OSError, ValueError):
            self.sent = 0
        self.written_ns = ring_monotonic_ns()
        return 0

    cdef void write_c(self, int fd) noexcept nogil:
        cdef ssize_t written

        while True:
            # The descriptor is non-blocking, and the interpreter has SIGPIPE ignored: a dead peer is an
            # EPIPE.
            written = write(fd, self.buffer + self.start, self.size)
            if written >= 0 or errno != EINTR:
                break
        self.sent = written if written >= 0 else (0 if errno == EAGAIN else -errno)
        self.written_ns = ring_monotonic_ns()

    cdef int gate_c(self, const command_t* command, int64_t engine_ns) noexcept nogil:
        """Why a placement may not go, or REASON_NONE."""
        cdef int reason

        if self.stopping:
            return REASON_SHUTDOWN
        if self.words.mode_c() != MODE_RUNNING:
            return REASON_MODE
        reason = self.venue_gate_c(command.flags)
        if reason != REASON_NONE:
            return reason
        if command.market >= self.words.markets or command.token > 1:
            return REASON_VENUE_NOT_READY
        if command.market_version < self.words.market_version_c(command.market):
            return REASON_STALE
        if command.deadline_ns and engine_ns > command.deadline_ns:
            return REASON_DEADLINE
        if self.keys.find_c(command.key) != NULL:
            return REASON_IN_FLIGHT
        if self.places[2 * command.market + command.token] == NULL:
            return REASON_VENUE_NOT_READY
        return REASON_NONE

    cdef int venue_gate_c(self, int flags) noexcept nogil:
        """Why the venue would not take a placement, or REASON_NONE. One leg may find out whether it does."""
        cdef uint64_t mode = self.words.venue_mode_c()

        if self.words.venue_stop_c() != REASON_NONE:
            return self.words.venue_stop_c()
        if self.words.missed_heartbeats_c():
            return REASON_HEARTBEAT
        if mode == VENUE_RUNNING or (mode == VENUE_POST_ONLY and flags & FLAG_POST_ONLY):
            return REASON_NONE
        if self.trials == 0:
            return REASON_VENUE_MODE
        self.trials -= 1
        return REASON_NONE

    cdef size_t gate_group_c(self) noexcept nogil:
        """Refuses and removes legs that may not go; returns how many are left."""
        cdef:
            int64_t now_ns = self.engine_at_c(ring_monotonic_ns())
            int reason
            size_t i, j, room, kept = 0

        for i in range(self.count):
            reason = self.gate_c(&self.legs[i], now_ns)
            for j in range(kept):       # twice in one group
                if self.legs[j].key == self.legs[i].key:
                    reason = REASON_IN_FLIGHT
            if reason != REASON_NONE:
                if self.ahead is not None and (reason == REASON_MODE or reason == REASON_SHUTDOWN):
                    self.ahead.drop_c()
                self.emit_c(&self.legs[i], STATUS_REFUSED, reason, 0, 0)
                continue
            if kept != i:
                self.legs[kept] = self.legs[i]
            kept += 1
        if self.pace is not None and kept:
            room = self.pace.room_c(LANE_PLACE, kept, now_ns)
            for i in range(room, kept):
                self.emit_c(&self.legs[i], STATUS_REFUSED, REASON_THROTTLED, 0, 0)
            kept = room
        # SENT and one answer of each leg must find room: an order that cannot be reported is not sent.
        if kept and not self.results.room_c(True) >= 2 * kept:
            for i in range(kept):
                self.emit_c(&self.legs[i], STATUS_REFUSED, REASON_RING_FULL, 0, 0)
            kept = 0
        self.count = kept
        return kept

    cdef size_t resolve_group_c(self) noexcept nogil:
        """Fills in the ids of orders to cancel; one that has none proves nothing and is answered so."""
        cdef:
            uint8_t[32] none
            const uint8_t* known
            size_t i, kept = 0

        memset(none, 0, 32)
        for i in range(self.count):
            known = self.keys.find_c(self.legs[i].key)
            if known != NULL:
                memcpy(self.legs[i].order_id, known, 32)
            elif memcmp(self.legs[i].order_id, none, 32) == 0:
                self.emit_c(&self.legs[i], STATUS_NOT_CANCELED, REASON_NOT_WANTED, 0, 0)
                continue
            if kept != i:
                self.legs[kept] = self.legs[i]
            kept += 1
        self.count = kept
        return kept

    cdef bint build_orders_c(self) noexcept nogil:
        """Signs the legs into one array; refuses and removes those that break a rule of the venue."""
        cdef:
            int64_t unix_ms = self.engine_at_c(ring_monotonic_ns()) // 1_000_000
            char* body = self.buffer + HEAD_ROOM
            char* at = body + 1
            size_t i, kept = 0
            uint32_t place
            void* template
            int size, reason

        body[0] = b"["
        for i in range(self.count):
            place = 2 * self.legs[i].market + self.legs[i].token
            template = <void*>atomic_load_acquire(<uint64_t*>&self.places[place])
            if template == NULL:    # taken away since the gate looked
                self.emit_c(&self.legs[i], STATUS_REFUSED, REASON_VENUE_NOT_READY, 0, 0)
                continue
            size = self.build_order_c(
                &self.legs[i], place, <OrderTemplate>template, unix_ms, at, BODY_ROOM - (at - body) - 2
            )
            if size < 0:
                reason = REASON_VENUE_REJECTED
                if size == RULE_MIN_SIZE or size == RULE_MIN_NOTIONAL:
                    reason = REASON_BELOW_MIN_SIZE
                elif RULE_CAP_RATE <= size <= RULE_CAP_TOKEN:
                    reason = REASON_SIGNER_CAP
                elif size == RULE_CLOSED:
                    reason = REASON_SHUTDOWN
                self.emit_c(&self.legs[i], STATUS_REFUSED, reason, size, 0)
                continue
            at[size] = b","
            at += size + 1
            if kept != i:
                self.legs[kept] = self.legs[i]
            kept += 1
        self.count = kept
        if kept == 0:
            return False
        (at - 1)[0] = b"]"
        return self.compose_c(b"POST", b"/orders", at - body)

    cdef int build_order_c(
        self, command_t* leg, uint32_t place, OrderTemplate template, int64_t unix_ms, char* at, size_t room
    ) noexcept nogil:
        """One order's body, signed now or ahead; its length, or a negative `RULE_*`.

        The leg is given the order's id and salt, and the shares that its amounts state: rounded down by the
        venue's rules.
        """
        cdef:
            sealed_t fresh
            const sealed_t* sealed = NULL
            int64_t maker = 0, taker = 0
            int status = template.admit_c(leg, unix_ms, &maker, &taker)

        if status:
            return status
        if self.ahead is not None:
            sealed = self.ahead.take_c(place, template, leg, maker, taker, unix_ms)
            self.ahead.note_c(place, leg, unix_ms)
            self.ahead_after_ns = 0
        if sealed == NULL:
            status = template.seal_c(leg, maker, taker, unix_ms, &fresh, False)
            sealed = &fresh
        else:
            status = template.release_c(leg, unix_ms)
        if status:
            return status
        memcpy(leg.order_id, sealed.order_id, 32)
        leg.salt = sealed.salt
        leg.size_micro = taker if leg.side == BUY else maker
        return template.render_c(leg, sealed, at, room)

    cdef bint build_cancels_c(self) noexcept nogil:
        cdef:
            char* body = self.buffer + HEAD_ROOM
            char* at = body + 1
            size_t i

        body[0] = b"["
        for i in range(self.count):
            at = put(at, b'"0x', 3)
            at = put_hex(at, self.legs[i].order_id, 32)
            at = put(at, b'",', 2)
        (at - 1)[0] = b"]"
        return self.compose_c(b"DELETE", b"/orders", at - body)

    cdef bint compose_c(self, const char* method, const char* path, size_t body_size) noexcept nogil:
        """The head, right before the body, so that a request is one piece of memory."""
        cdef:
            char[HEAD_ROOM] head
            char* at = head
            const char* body = self.buffer + HEAD_ROOM
            int64_t unix_s = self.engine_at_c(ring_monotonic_ns()) // 1_000_000_000
            int size

        at = put_text(at, method)
        at = put(at, b" ", 1)
        at = put_text(at, path)
        at = put_text(at, self.host_text)
        at = put_number(at, body_size)
        at = put(at, b"\r\n", 2)
        size = self.signer.headers_c(method, path, body, body_size, unix_s, at, HEAD_ROOM - (at - head) - 2)
        if size < 0:        # impossible: room was checked by the constructor, and the time is positive
            return False
        at = put(at + size, b"\r\n", 2)
        self.start = HEAD_ROOM - (at - head)
        self.size = (at - head) + body_size
        memcpy(self.buffer + self.start, head, at - head)
        return True

    cdef void emit_c(
        self, const command_t* command, int status, int reason, int32_t code, int64_t filled_micro
    ) noexcept nogil:
        self.outbox.emit_c(
            command, status, reason, code, filled_micro, self.engine_at_c(ring_monotonic_ns())
        )


cdef inline char* put_text(char* at, const char* text) noexcept nogil:
    return put(at, text, strlen(text))
