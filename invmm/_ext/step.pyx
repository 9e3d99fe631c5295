"""One step of the engine for one market: `step(event, now_ns) → commands`.

The same step runs live, on paper, in replay and in tests. It reads no clock and draws no random number: times
come with the events, salts from a generator that was seeded at construction. Flow of a step:

    FRAME       decode → books → queue positions of own orders
    BUFFER_END  trigger: did a best level, a queue position or something of ours move?  → solve
    ORDER_RESULT, USER_EVENT   registry (evidence) → solve at the next BUFFER_END; same bytes once more
    TIMER       data age, market end, expiring quotes, unproven cancels, longest time between solves
    MODE        running, paused, stopped
    SETTLEMENT  the market is resolved, or its pairs are settled (`settled.pyx`)
    GUARD       what a witness or the engine says about the books (`guards.pyx`)
    PRICE       a price of the underlying (`fair.pyx`) → solve if it moved what Up is worth

    solve       guards → policy → cancels and placements, each checked against the limits → command records

A guard that fails pulls every quote, with its reason. Placements that a limit forbids are counted by reason
and tried again later. Commands go to the ring, if there is one, and are the returned view until the next.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

import numpy as np

from invmm._ext.account cimport Account
from invmm._ext.decode cimport MarketBooks
from invmm._ext.desk cimport MAX_REASONS
from invmm._ext.evidence cimport ORDER_LIVE, evidence_resend_due_c, order_t
from invmm._ext.guards cimport guards_check_c, guards_reset_c, guards_told_c
from invmm._ext.settled cimport settlement_told_c
from invmm._ext.places cimport places_frame_c, places_join_c, places_moved_c, places_own_fill_c
from invmm._ext.records cimport (
    DOWN,
    EVENT_BUFFER_END,
    EVENT_FRAME,
    EVENT_GUARD,
    EVENT_MODE,
    EVENT_ORDER_RESULT,
    EVENT_PRICE,
    EVENT_SETTLEMENT,
    EVENT_TIMER,
    EVENT_USER_EVENT,
    FLAG_CHECKPOINT,
    FLAG_DISCONNECTED,
    GUARD_LISTED,
    MODE_RUNNING,
    R_CONFLICT,
    R_DISCONNECTED,
    R_JOURNAL,
    R_MARKET_ENDING,
    R_MODE,
    R_POLICY_ERROR,
    R_SETTLED,
    SELL,
    STATUS_NOT_FOUND,
    STATUS_TRADE_MATCHED,
    UP,
    event_t,
)
from invmm._ext.registry cimport APPLIED, Registry
from invmm._ext.ring cimport CommandRing
from invmm._ext.solver cimport Policy, top_t
from invmm._ext.transaction cimport ReplaceDesk
from invmm._ext.trigger cimport best_moved_c, remember_best_c
from invmm._ext.view cimport view_fill_c, view_tops_c
from invmm._ext.words cimport SharedWords

from invmm import types

cdef int64_t MILLISECOND_NS = 1000000


cdef class MarketStep(ReplaceDesk):
    """The compiled step of one market.

    Parameters
    ----------
    books, policy
        The two books, owned by this step from now on; what decides.
    limits : dict
        The fields of `limits_t` by name, integers; missing or unknown names raise.
    market : int
        Number of this market in event and command records.
    end_ms : int
        Window end, unix milliseconds.
    seed, serial : int
        Of the salt generator; how many markets had this number before (below 65536): no key comes twice.
    ring : CommandRing or None
        Commands are pushed here as they are decided; None leaves them to the caller.
    words : SharedWords or None
        Where this market's version is published before the commands that rest on it.
    account : Account or None
        Asked for every placement, after the limits of this market.
    """

    def __init__(
        self,
        MarketBooks books not None,
        Policy policy not None,
        dict limits not None,
        uint32_t market = 0,
        int64_t end_ms = 0,
        uint64_t seed = 0,
        CommandRing ring = None,
        SharedWords words = None,
        uint32_t serial = 0,
        Account account = None,
    ) -> None:
        self.books = books
        self.policy = policy
        self.registry = Registry()
        self._bind(limits)
        self.ring = ring
        self.words = words
        self.account = account
        self.market = market
        self.end_ms = end_ms
        self.salt_state = seed
        self.next_key = (<uint64_t>(market + 1) << 40) + (<uint64_t>(serial & 0xFFFF) << 24) + 1
        self.version = 1
        self.sequence = <uint64_t>(serial & 0xFFFF) << 24  # of commands: none twice, as for keys
        self.winner = -1
        self.connected = True
        self.trigger.size_change_ppm = self.limits.size_change_ppm
        self.trigger.queue_change_ppm = self.limits.queue_change_ppm

    def retune(self, Policy policy not None, dict limits not None) -> None:
        """Decides so (both as in the constructor) from the next solve on."""
        self._bind(limits)
        self.policy = policy
        self.own_dirty = True

    cdef int _bind(self, dict limits) except -1:
        names = set(<dict> self.limits)
        if set(limits) != names:
            raise ValueError(f"limits: expected {sorted(names)}, got {sorted(limits)}")
        self.limits = limits
        self.bound_c()
        return 0

    def step(self, event, int64_t now_ns, frame=b""):
        """Applies one `EVENT_DTYPE` record; the commands it led to.

        Parameters
        ----------
        event : numpy record or array of one, EVENT_DTYPE
        now_ns : int
            Engine clock, unix nanoseconds.
        frame : bytes-like
            The buffer into which a FRAME event's `offset` and `length` point.

        Returns
        -------
        numpy array, COMMAND_DTYPE
            A view, valid until the next step; empty when there is nothing to do.
        """
        cdef:
            object given = np.asarray(event)
            const uint8_t[::1] payload = frame
            const uint8_t[::1] record

        if given.dtype != types.EVENT_DTYPE or given.size != 1:
            raise TypeError(f"event: expected one record of EVENT_DTYPE, got {given.size} of {given.dtype}")
        record = np.frombuffer(given.tobytes(), dtype=np.uint8)

        self.step_c(
            <const event_t*> &record[0],
            now_ns,
            <const char*> &payload[0] if payload.shape[0] else NULL,
            payload.shape[0],
        )
        return self._records[: self.n_commands]

    def run(
        self,
        const uint8_t[::1] events not None,
        Py_ssize_t first,
        Py_ssize_t last,
        const uint8_t[::1] frames not None,
    ):
        """Steps through `events[first:last]` (EVENT_DTYPE records as bytes), each at its own `time_ns`.

        Stops after the first that led to commands. Returns the next event's index and the commands."""
        cdef:
            const event_t* records = <const event_t*> &events[0]
            const char* payload = <const char*> &frames[0] if frames.shape[0] else NULL
            size_t size = frames.shape[0]
            Py_ssize_t i = first

        if not 0 <= first <= last <= events.shape[0] // <Py_ssize_t> sizeof(event_t):
            raise IndexError(f"events {first}…{last} of {events.shape[0] // <Py_ssize_t> sizeof(event_t)}")
        with nogil:
            self.n_commands = 0
            while i < last:
                i += 1
                if self.step_c(&records[i - 1], records[i - 1].time_ns, payload, size):
                    break
        return i, self._records[: self.n_commands]

    # ---- the border to the feed ----------------------------------------------------------------------------

    cdef void on_frame_c(self, const char* data, Py_ssize_t size, int64_t now_ns, bint last) noexcept:
        cdef uint64_t number = self.counters.frames

        self.n_commands = 0
        self.cause_ns = self.entered_ns
        self.look_c(now_ns)
        self.frame_c(data, size, now_ns)
        if number < self.n_expected and self.expected[number]:
            self.checkpoint_c()
        if last:
            self.log.boundary_c(0, now_ns)
            self.buffer_end_c(now_ns)
        self.cause_ns = 0  # what comes later was not caused by this frame
        if self.wants_frame and last:
            self.wants_frame = False
            self._show(data[:size])

    cdef void _show(self, bytes frame) noexcept:
        """Hands a frame to the watcher, after its commands are published; only when it was asked to. One that
        fails is a fault of the frame: the feed ends its connection."""
        if self.watcher is not None:
            try:
                self.watcher(self.books, frame)
            except Exception:
                self.fault = 1

    cdef void on_buffer_end_c(self, int64_t now_ns) noexcept:
        self.n_commands = 0
        self.look_c(now_ns)
        self.log.boundary_c(0, now_ns)
        self.buffer_end_c(now_ns)

    cdef void on_disconnect_c(self, int64_t now_ns) noexcept:
        self.n_commands = 0
        self.n_expected = 0  # what comes next is not known any more
        self.look_c(now_ns)
        self.log.boundary_c(FLAG_DISCONNECTED, now_ns)
        self.disconnect_c(now_ns)

    # ---- the step ------------------------------------------------------------------------------------------

    cdef int step_c(
        self, const event_t* event, int64_t now_ns, const char* payload, size_t size
    ) noexcept nogil:
        """Applies one event; the number of commands that it led to."""
        cdef uint8_t kind = event.kind

        self.n_commands = 0
        self.look_c(now_ns)
        self.log.event_c(event, now_ns)
        if kind == EVENT_FRAME:
            if event.offset + event.length > size:
                self.counters.frame_errors += 1
                return 0
            self.frame_c(payload + event.offset, event.length, now_ns)
            if event.flags & FLAG_CHECKPOINT:
                self.checkpoint_c()
        elif kind == EVENT_BUFFER_END:
            if event.flags & FLAG_DISCONNECTED:
                self.disconnect_c(now_ns)
            else:
                self.buffer_end_c(now_ns)
        elif kind == EVENT_ORDER_RESULT or kind == EVENT_USER_EVENT:
            self.news_c(event, now_ns)
        elif kind == EVENT_TIMER:
            self.timer_c(now_ns)
        elif kind == EVENT_MODE:
            if self.mode != event.status:
                self.mode = event.status
                self.version += 1
                self.own_dirty = True
                self.buffer_end_c(now_ns)
        elif kind == EVENT_SETTLEMENT:
            if settlement_told_c(self.registry, event, now_ns):
                self.winner = event.token
                self.policy.settled_c(self.winner)
            self.own_dirty = True
            self.buffer_end_c(now_ns)
        elif kind == EVENT_GUARD and event.status == GUARD_LISTED:
            self.registry.listed_ns = max(self.registry.listed_ns, event.time_ns)
            self.own_dirty = True
        elif kind == EVENT_GUARD and guards_told_c(&self.guards, self.books, event):
            self.own_dirty = True
            self.buffer_end_c(now_ns)
        elif kind == EVENT_PRICE and self.fair.told_c(event, now_ns):
            self.own_dirty = True
            self.buffer_end_c(now_ns)
        return self.n_commands

    cdef void news_c(self, const event_t* event, int64_t now_ns) noexcept nogil:
        """Evidence about an own order or fill."""
        cdef:
            order_t* order
            bint was_live = self.registry.find_c(event.key) != NULL
            bint applied = self.registry.apply_event_c(event) == APPLIED

        self.cool_c(event, now_ns)
        self.log.fate_c(self.registry, event.key, was_live, now_ns)
        if applied:
            self.own_dirty = True
            if event.status == STATUS_TRADE_MATCHED and event.token <= DOWN and event.side <= SELL:
                places_own_fill_c(&self.own_fills, event, now_ns)
                self.policy.filled_c(event)
            order = self.registry.find_c(event.key)
            if order != NULL and order.state == ORDER_LIVE:
                if not order.queue.known:
                    places_join_c(
                        self.registry,
                        self.books,
                        order,
                        now_ns,
                        self.limits.queue_exponent,
                        self.limits.book_shows_own,
                    )
                if order.cancel_wanted and not order.cancel_sent:
                    self.cancel_c(order, order.cancel_wanted, now_ns)
            if self.phase or self.endings.n:
                view_tops_c(&self.view, self.books)
                self.advance_c(self.guard_c(now_ns) if self.holds_c() else 0, now_ns)

        if event.status == STATUS_NOT_FOUND and self.mode == MODE_RUNNING and not self.blocked:
            order = self.registry.find_c(event.key)
            if order != NULL and evidence_resend_due_c(order, event.time_ns):
                self.resend_c(order, now_ns)
        self.publish_c()

    cdef void checkpoint_c(self) noexcept nogil:
        """The frame just applied repeated what was known: it must have changed nothing."""
        self.counters.checkpoints += 1
        if self.books.n_changes:
            self.counters.checkpoint_mismatches += 1

    cdef void disconnect_c(self, int64_t now_ns) noexcept nogil:
        """The feed is gone: forget the levels and pull the quotes."""
        self.books.reset_c()
        guards_reset_c(&self.guards)
        self.connected = False
        self.version += 1
        self.own_dirty = True
        self.buffer_end_c(now_ns)

    cdef void frame_c(self, const char* data, size_t size, int64_t now_ns) noexcept nogil:
        """One whole message: decode into the books, then queue positions."""
        self.counters.frames += 1
        self.log.frame_c(data, size, now_ns)
        if self.books.apply_c(data, size, now_ns) > 0:
            self.dirty = True
            self.stir_salts_c()
        if self.books.epoch[UP] + self.books.epoch[DOWN] != self.seen_epoch:
            self.seen_epoch = self.books.epoch[UP] + self.books.epoch[DOWN]
            self.version += 1
            self.own_dirty = True
        if self.registry.n_live and (self.books.n_changes or self.books.has_trade):
            places_frame_c(self.registry, self.books, &self.own_fills, now_ns)

    cdef void buffer_end_c(self, int64_t now_ns) noexcept nogil:
        """Everything received so far is applied: decide whether to solve."""
        cdef int token
        cdef const top_t* top

        if not self.dirty and not self.own_dirty:
            return
        if not self.own_dirty and not self.blocked:
            view_tops_c(&self.view, self.books)
            if not places_moved_c(self.registry, self.trigger.queue_change_ppm):
                for token in range(2):
                    top = &self.view.top[token]
                    if best_moved_c(
                        &self.trigger, token, top.bid_e4, top.bid_micro, top.ask_e4, top.ask_micro
                    ):
                        break
                else:
                    self.counters.suppressed += 1
                    self.dirty = False
                    return
        self.solve_c(now_ns)

    cdef void timer_c(self, int64_t now_ns) noexcept nogil:
        """Time passed: what needs no message to become true."""
        self.upkeep_c(now_ns)
        if self.phase:
            view_tops_c(&self.view, self.books)
            self.advance_c(self.guard_c(now_ns) if self.holds_c() else 0, now_ns)
        if self.venue_mode != self.seen_venue_mode:
            self.seen_venue_mode = self.venue_mode
            self.own_dirty = True
        if (
            self.own_dirty
            or now_ns - self.solved_ns >= self.limits.update_interval_ns
            or self.guard_c(now_ns)
        ):
            self.solve_c(now_ns)
        else:
            self.publish_c()

    cdef int guard_c(self, int64_t now_ns) noexcept nogil:
        """The Reason why nothing may be quoted, 0 if quoting is allowed."""
        cdef uint8_t reason

        if self.winner >= 0:
            return R_SETTLED
        if not self.log.writable_c():
            return R_JOURNAL  # what cannot be kept is not done
        if self.registry.terminal_conflicts:
            return R_CONFLICT  # what we own is not known any more
        if self.mode != MODE_RUNNING:
            return R_MODE
        if self.end_ms and now_ns // MILLISECOND_NS >= self.end_ms - self.limits.stop_before_end_ms:
            return R_MARKET_ENDING
        reason = guards_check_c(&self.guards, &self.limits, self.books, now_ns)
        self.connected |= self.books.has_snapshot[UP] and self.books.has_snapshot[DOWN]
        return reason if self.connected else R_DISCONNECTED

    cdef void solve_c(self, int64_t now_ns) noexcept nogil:
        """Decides, publishes, and says why."""
        self.decide_c(now_ns)
        self.publish_c()
        self.log.quotes_c(
            self.why_not, self.version, self.registry, self.books, self.view.top, self.end_ms, now_ns
        )

    cdef void decide_c(self, int64_t now_ns) noexcept nogil:
        """Guards, policy, and the commands that follow."""
        cdef:
            int reason = self.guard_c(now_ns)
            int i
            int token
            const top_t* top

        self.dirty = False
        self.own_dirty = False
        self.solved_ns = now_ns
        view_tops_c(&self.view, self.books)
        for token in range(2):
            top = &self.view.top[token]
            remember_best_c(&self.trigger, token, top.bid_e4, top.bid_micro, top.ask_e4, top.ask_micro)
        for i in range(self.registry.n_live):
            self.registry.live[i].solved_ahead_micro = self.registry.live[i].queue.ahead_micro
        self.blocked = reason != 0
        self.why_not[0] = self.why_not[1] = <uint8_t>reason
        if reason:
            for token in range(2):
                if self.no_quote[token] != reason:
                    self.reasons[reason] += 1
                    self.no_quote[token] = reason
            self.abandon_c(now_ns)
            self.cancel_all_c(reason, now_ns)
            return
        self.counters.solves += 1
        view_fill_c(&self.view, self.registry, self.books, &self.limits, self.end_ms, now_ns)
        self.fair.fill_c(&self.view, now_ns)
        if self.policy.decide_c(&self.view, &self.wanted) < 0:
            self.counters.policy_errors += 1
            self.reasons[R_POLICY_ERROR] += 1
            self.why_not[0] = self.why_not[1] = R_POLICY_ERROR
            self.abandon_c(now_ns)
            self.cancel_all_c(R_POLICY_ERROR, now_ns)
            return
        for token in range(2):
            if self.wanted.reason[token] and self.no_quote[token] != self.wanted.reason[token]:
                self.reasons[self.wanted.reason[token] & (MAX_REASONS - 1)] += 1
            self.no_quote[token] = self.why_not[token] = self.wanted.reason[token]
        self.target_c(&self.wanted, now_ns)

    # ---- for people and tests ------------------------------------------------------------------------------

    def stats(self) -> dict[str, object]:
        """Counters of the step; `reasons` maps Reason numbers to how often each ended or forbade a quote."""
        result = {**(<dict> self.counters), "policy": self.policy.stats(), "fair": self.fair.stats()}
        result.update(fills=self.registry.fills, transaction=self.replace_stats())
        result["reasons"] = {i: self.reasons[i] for i in range(MAX_REASONS) if self.reasons[i]}
        return result

    @property
    def no_quote_reasons(self) -> tuple[int, int]:
        """Why Up and Down are not quoted at present; 0 where they are."""
        return self.no_quote[0], self.no_quote[1]

    @property
    def settled_outcome(self) -> int | None:
        """The winning outcome (0 Up, 1 Down), None before the market is settled."""
        return None if self.winner < 0 else self.winner

    @property
    def resync_reason(self) -> int:
        """Why the guards want fresh snapshots from a new connection (Reason), 0: they do not."""
        return self.guards.resync

    def expect_checkpoints(self, const uint8_t[::1] flags not None) -> None:
        """Says which of the frames that a feed will deliver are checkpoints, counted from the first one ever.

        For replay over sockets. Until the connection is lost. `flags`: a byte per frame, not 0 for these.
        """
        self.expected = flags
        self.n_expected = flags.shape[0]

    def end_batch(self) -> None:
        """Runs the book checks that wait for the next timestamp: the input has ended."""
        self.books.end_batch_c()
