"""From popped commands to request bytes, without the GIL: group, gate, sign, announce, write.

    command ring ─▶ group (a batch, or all waiting cancels) ─ gate ─ build + sign ─ announce ─ write ─▶ socket
                                                               └ REFUSED(reason) ───┴ SENT ─▶ result ring

`Intake` belongs to the executor thread: it is the only consumer of the command ring and the only producer of
the result ring. Python is entered with a finished request; over a plain socket it is even written already.
Every refusal is a typed result. An order is announced (SENT, with its id) before its first byte leaves.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset
from posix.unistd cimport usleep

cimport numpy as cnp

import numpy as np

from invmm import types
from invmm._ext.gate cimport LEGS_MAX, Gate, first_leg
from invmm._ext.journal cimport KIND_COMMAND, KIND_INTENT
from invmm._ext.l2 cimport L2Signer
from invmm._ext.records cimport (
    COMMAND_CANCEL, COMMAND_CANCEL_ALL, COMMAND_PLACE,
    FLAG_LAST,
    STATUS_NOT_CANCELED, STATUS_REFUSED, STATUS_SENT,
    command_t,
)
from invmm._ext.ring cimport RING_WAIT_RING, CommandRing, ResultRing, ring_monotonic_ns, ring_relax
from invmm._ext.template cimport OrderTemplate
from invmm._ext.words cimport SharedWords
from invmm.execution.outbox cimport Outbox
from invmm.execution.requests cimport BODY_ROOM, RequestWriter
from invmm.execution.signing cimport OrderSigning

cnp.import_array()

cdef enum:
    REASON_NONE = 0             # Reason
    REASON_NOT_WANTED = 3
    REASON_MODE = 17
    REASON_SHUTDOWN = 32
    REASON_KILLED = 60
    REASON_JOURNAL = 90
    REHEARSAL_SIZE = 1024       # of a body and of a write: about one order
    LOCK_IS_BUSY_NS = 200_000
    KEEP_AWAY_NS = 1_000_000_000
    BY_CALLER = -2              # a descriptor that stands for: not written here without the GIL


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
        self.ring = ring
        self.results = results
        self.outbox = Outbox(results)
        self.words = words
        self.gate = Gate(words)
        self.orders = OrderSigning(words.markets)
        self.writer = RequestWriter(signer, host, clock)
        self.mono_origin_ns = clock.mono_origin_ns
        self.origin_ns = clock.origin_ns
        self.scale = clock.scale
        self.linger_ns = 50_000
        self.rehearsal_bytes = bytes(REHEARSAL_SIZE)
        self.legs = <command_t*>calloc(CANCELS_MAX, sizeof(command_t))
        if self.legs == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.legs)

    def __reduce__(self):
        raise TypeError("Intake holds credentials: it cannot be pickled or copied")

    def set_template(self, uint32_t market, int token, OrderTemplate template):
        """How a market's token is ordered; None: no longer at all. From any thread, at any time."""
        self.orders.set_template(market, token, template)

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

        self.orders.let_go()
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
        cdef:
            int kind
            const command_t* first = first_leg(legs)
            size_t most = LEGS_MAX if first.kind == COMMAND_PLACE else CANCELS_MAX

        if legs.size > most:
            raise ValueError(f"legs: expected at most {most}, got {legs.size}")
        self.count = legs.size
        memcpy(self.legs, first, self.count * sizeof(command_t))
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

        return self.writer.rest(sent)

    @property
    def size(self):
        """Bytes of the request."""
        return self.writer.size

    def why_not(self, legs):
        """Reason for which an order that was sent may not be sent again now; counted as the gate's others."""
        cdef int reason = self.gate.check(legs, self.engine_at_c(ring_monotonic_ns()))

        if reason == REASON_NONE and self.gate.is_unseen(legs):
            reason = REASON_NOT_WANTED      # only what was sent before is sent again
        if reason != REASON_NONE:
            self.gate.count_c(reason)
        return reason

    def body(self):
        """A copy of the request's body, whole."""
        return self.writer.whole_body()

    def answer(
        self, legs, Py_ssize_t index, int status, int reason=0, int32_t code=0, int64_t filled_micro=0
    ):
        """Reports on leg `index` of a group (`legs_copy`); `code` is the HTTP status."""
        cdef const command_t* first = first_leg(legs)

        if not 0 <= index < legs.size:
            raise IndexError(f"index: expected below {legs.size}, got {index}")
        self.emit_c(first + index, status, reason, code, filled_micro)

    def order_id(self, uint64_t key):
        """The id of an own order that was announced; None if there is none, or it was forgotten."""
        return self.gate.keys.find(key)

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
            if not self.build_orders_c() or not self.announce_c():
                return 0
        elif kind == COMMAND_CANCEL:
            self.writer.cancels_c(self.legs, self.count, self.unix_s_c())
        else:
            self.writer.compose_c(b"DELETE", b"/cancel-all", 0, self.unix_s_c())
        if kind != COMMAND_PLACE:   # a cancel goes, written or not
            self.outbox.note_c(KIND_COMMAND, self.legs, self.count, self.engine_at_c(ring_monotonic_ns()))
        self.built = True
        self.ready_ns = ring_monotonic_ns()
        self.gate.charge_c(kind, self.count, self.engine_at_c(self.ready_ns))
        if fd >= 0:
            self.write_c(fd)
        return kind

    cdef bint cancels_must_wait_c(self) noexcept nogil:
        """No cancel is refused for its rate; the caller keeps them until all may go."""
        return self.gate.cancels_c(self.count, self.engine_at_c(ring_monotonic_ns())) < self.count

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
            if self.orders.ahead is not None:
                until_ns = min(until_ns, self.orders.ahead_after_ns)
            kind = self.take_c(spin_ns, max(until_ns - now_ns, 0), epoll_fd, place_fd, cancel_fd)
            now_ns = ring_monotonic_ns()
            if kind or self.seen or now_ns >= end_ns:
                return kind
            if self.orders.ahead is not None and now_ns >= self.orders.ahead_after_ns:
                self.orders.ahead_c(self.gate.is_open_c(), self.engine_at_c(now_ns) // 1_000_000)
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

    cdef bint rehearse_c(self) noexcept nogil:
        """Signs, renders and makes headers, as before a write; True when a command waits or there is no key.

        What is signed is no order and no hash of one, and what is rendered has no signature.
        """
        if not self.orders.rehearse_signature_c() or self.ring.front_c() != NULL:
            return True
        self.orders.rehearse_body_c(self.writer.body, BODY_ROOM)
        self.writer.rehearse_c(REHEARSAL_SIZE)
        return self.ring.front_c() != NULL

    cdef int write_by(self, writer) except -1:
        try:
            self.sent = writer(self.request())
        except (OSError, ValueError):
            self.sent = 0
        self.written_ns = ring_monotonic_ns()
        return 0

    cdef void write_c(self, int fd) noexcept nogil:
        self.sent = self.writer.send_c(fd)
        self.written_ns = ring_monotonic_ns()

    cdef size_t gate_group_c(self) noexcept nogil:
        """Refuses and removes legs that may not go; returns how many are left."""
        cdef size_t i, kept = 0

        self.gate.group_c(
            self.legs, self.count, self.orders.places, self.results.room_c(True),
            self.engine_at_c(ring_monotonic_ns()),
        )
        for i in range(self.count):
            if self.gate.reasons[i] != REASON_NONE:
                self.refuse_c(&self.legs[i], self.gate.reasons[i], 0)
                continue
            if kept != i:
                self.legs[kept] = self.legs[i]
            kept += 1
        self.count = kept
        return kept

    cdef void refuse_c(self, command_t* leg, int reason, int32_t code) noexcept nogil:
        """An order that does not go: counted, and told to the engine."""
        self.gate.count_c(reason)
        if self.orders.ahead is not None and (
            reason == REASON_MODE or reason == REASON_SHUTDOWN or reason == REASON_KILLED
        ):
            self.orders.ahead.drop_c()
        memset(leg.order_id, 0, 32)     # what the engine wrote there is no id
        self.emit_c(leg, STATUS_REFUSED, reason, code, 0)

    cdef size_t resolve_group_c(self) noexcept nogil:
        """Fills in the ids of orders to cancel; one that has none proves nothing and is answered so."""
        cdef:
            uint8_t[32] none
            const uint8_t* known
            size_t i, kept = 0

        memset(none, 0, 32)
        for i in range(self.count):
            known = self.gate.keys.find_c(self.legs[i].key)
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
            char* body = self.writer.body
            char* at = body + 1
            size_t i, kept = 0
            int size, rule, reason

        body[0] = b"["
        for i in range(self.count):
            size = self.orders.sign_c(&self.legs[i], unix_ms, at, BODY_ROOM - (at - body) - 2, &rule)
            reason = -size if size < 0 else self.gate.signed_c(&self.legs[i])
            if reason != REASON_NONE:
                self.refuse_c(&self.legs[i], reason, rule)
                continue
            self.gate.sent_c(&self.legs[i])     # from here on: the same id may come twice in one group
            at[size] = b","
            at += size + 1
            if kept != i:
                self.legs[kept] = self.legs[i]
            kept += 1
        self.count = kept
        if kept == 0:
            return False
        (at - 1)[0] = b"]"
        return self.writer.compose_c(b"POST", b"/orders", at - body, self.unix_s_c())

    cdef bint announce_c(self) noexcept nogil:
        """Journals the orders' ids and tells the engine, before their bytes leave; whether they may."""
        cdef size_t i

        if not self.outbox.note_c(KIND_INTENT, self.legs, self.count, self.engine_at_c(ring_monotonic_ns())):
            for i in range(self.count):
                self.refuse_c(&self.legs[i], REASON_JOURNAL, 0)
            self.count = 0
        for i in range(self.count):
            self.emit_c(&self.legs[i], STATUS_SENT, REASON_NONE, 0, 0)
        return self.count > 0

    cdef int64_t unix_s_c(self) noexcept nogil:
        return self.engine_at_c(ring_monotonic_ns()) // 1_000_000_000

    cdef void emit_c(
        self, const command_t* command, int status, int reason, int32_t code, int64_t filled_micro
    ) noexcept nogil:
        self.outbox.emit_c(
            command, status, reason, code, filled_micro, self.engine_at_c(ring_monotonic_ns())
        )
