"""One step of the engine for one market: `step(event, now_ns) → commands`.

The same step runs live, on paper, in replay and in tests. It reads no clock and draws no random number: times come with the
events, salts from a generator that was seeded at construction. Flow of a step:

    FRAME       decode → books → queue positions of own orders
    BUFFER_END  trigger: did a best level, a queue position or something of ours move?  → solve
    ORDER_RESULT, USER_EVENT   registry (evidence) → solve at the next BUFFER_END
    TIMER       data age, market end, expiring quotes, unproven cancels, longest time between solves
    MODE        running, paused, stopped
    SETTLEMENT  the market is resolved

    solve       guards → policy → cancels and placements, each placement checked against the limits → command records

A guard that fails pulls every quote, with its reason. Placements that a limit forbids are counted by reason and tried again by
a later solve. Commands go to the ring where one is attached, and are also visible as the returned view until the next step.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memset

import numpy as np

from invmm.types import COMMAND_DTYPE, EVENT_DTYPE

from invmm._ext.book cimport book_best_ask, book_best_bid, book_size, book_t
from invmm._ext.decode cimport MarketBooks, change_t
from invmm._ext.words cimport SharedWords
from invmm._ext.queue cimport queue_front_c, queue_join_c, queue_level_c, queue_trade_c
from invmm._ext.records cimport (
    BUY,
    COMMAND_CANCEL,
    COMMAND_PLACE,
    DOWN,
    EVENT_BUFFER_END,
    EVENT_FRAME,
    EVENT_MODE,
    EVENT_ORDER_RESULT,
    EVENT_SETTLEMENT,
    EVENT_TIMER,
    EVENT_USER_EVENT,
    FLAG_CHECKPOINT,
    FLAG_DISCONNECTED,
    FLAG_LAST,
    FLAG_POST_ONLY,
    FOK,
    GTC,
    GTD,
    SELL,
    STATUS_LIVE,
    STATUS_REJECTED,
    STATUS_TRADE_MATCHED,
    UP,
    command_t,
    event_t,
)
from invmm._ext.registry cimport (
    APPLIED,
    ORDER_LIVE,
    ORDER_PREPARED,
    ORDER_SENT,
    ORDER_UNKNOWN,
    Registry,
    order_t,
)
from invmm._ext.ring cimport CommandRing
from invmm._ext.sink cimport FrameSink
from invmm._ext.solver cimport (
    ACTION_CANCEL,
    ACTION_QUOTE,
    ACTION_TAKE,
    Policy,
    action_t,
)
from invmm._ext.solver cimport ORDER_OPEN as VIEW_OPEN
from invmm._ext.solver cimport ORDER_PENDING_CANCEL as VIEW_PENDING_CANCEL
from invmm._ext.solver cimport ORDER_PENDING_NEW as VIEW_PENDING_NEW
from invmm._ext.solver cimport ORDER_UNKNOWN as VIEW_UNKNOWN
from invmm._ext.trigger cimport best_moved_c, moved_c, remember_best_c


cdef enum:
    # Reason, as in invmm.types
    R_NOT_WANTED = 3
    R_NO_SNAPSHOT = 10
    R_STALE = 11
    R_CROSSED = 12
    R_BEST_MISMATCH = 13
    R_MIRROR_MISMATCH = 14
    R_EPOCH_CHANGED = 15
    R_MARKET_ENDING = 16
    R_MODE = 17
    R_DISCONNECTED = 18
    R_CASH = 24
    R_ORDER_LIMIT = 25
    R_SELF_CROSS = 26
    R_POST_ONLY = 27
    R_BELOW_MIN_SIZE = 28
    R_RING_FULL = 29
    R_IN_FLIGHT = 30
    R_RATE_LIMIT = 33
    R_COOL_DOWN = 34
    R_EXPIRING = 35
    R_SETTLED = 36
    R_POLICY_ERROR = 37

    MODE_RUNNING = 0

    SETTLE_MS = 100             # clocks differ and prints come late (33-39 ms were captured): what is stamped up to this
                                # long after an acknowledgement may have happened before it
    EXPIRES_EARLY_S = 60        # the venue ends a GTD order this long before its stated expiration
    REFRESH_BEFORE_S = 20       # quotes this close to their real end are replaced

cdef int64_t SECOND_NS = 1000000000
cdef int64_t MILLISECOND_NS = 1000000


cdef const uint8_t[::1] _event_bytes(object event):
    """The 128 bytes of one EVENT_DTYPE record; TypeError for anything else."""
    cdef object array = np.asarray(event)

    if array.dtype != EVENT_DTYPE or array.size != 1:
        raise TypeError(f"event: expected one record of EVENT_DTYPE, got {array.size} of {array.dtype}")
    return np.frombuffer(array.tobytes(), dtype=np.uint8)


cdef class MarketStep(FrameSink):
    """The compiled step of one market.

    Parameters
    ----------
    books : MarketBooks
        The two books; owned by this step from now on.
    policy : Policy
        What decides.
    limits : dict
        The fields of `limits_t` by name, integers; missing or unknown names raise.
    market : int
        Number of this market in event and command records.
    end_ms : int
        Window end, unix milliseconds.
    seed : int
        Of the salt generator.
    ring : CommandRing or None
        Commands are pushed here as they are decided; None leaves them to the caller.
    words : SharedWords or None
        Where this market's version is published before the commands that rest on it.
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
    ) -> None:
        names = set(<dict> self.limits)
        if set(limits) != names:
            raise ValueError(f"limits: expected {sorted(names)}, got {sorted(limits)}")
        self.limits = limits
        self.books = books
        self.policy = policy
        self.registry = Registry()
        self.ring = ring
        self.words = words
        self.market = market
        self.end_ms = end_ms
        self.salt_state = seed
        self.next_key = (<uint64_t>(market + 1) << 40) + 1
        self.version = 1
        self.winner = -1
        self.connected = True
        self.trigger.size_change_ppm = self.limits.size_change_ppm
        self.trigger.queue_change_ppm = self.limits.queue_change_ppm
        self._records = np.frombuffer(<uint8_t[: sizeof(self.commands)]> <uint8_t*> &self.commands[0], dtype=COMMAND_DTYPE)

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
            const uint8_t[::1] record = _event_bytes(event)
            const uint8_t[::1] payload = frame

        self.step_c(<const event_t*> &record[0], now_ns, <const char*> &payload[0] if payload.shape[0] else NULL, payload.shape[0])
        return self._records[: self.n_commands]

    def run(self, const uint8_t[::1] events not None, Py_ssize_t first, Py_ssize_t last, const uint8_t[::1] frames not None):
        """Steps through `events[first:last]` (EVENT_DTYPE records as bytes), each at its own `time_ns`.

        Stops after the first event that led to commands. Returns the index of the next event and the commands.
        """
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

    # ---- the border to the feed -------------------------------------------------------------------------------------

    cdef void on_frame_c(self, const char* data, Py_ssize_t size, int64_t now_ns, bint last) noexcept:
        self.n_commands = 0
        self.frame_c(data, size, now_ns)
        if last:
            self.buffer_end_c(now_ns)

    cdef void on_buffer_end_c(self, int64_t now_ns) noexcept:
        self.n_commands = 0
        self.buffer_end_c(now_ns)

    cdef void on_disconnect_c(self, int64_t now_ns) noexcept:
        self.n_commands = 0
        self.disconnect_c(now_ns)

    # ---- the step -----------------------------------------------------------------------------------------------------

    cdef int step_c(self, const event_t* event, int64_t now_ns, const char* payload, size_t size) noexcept nogil:
        """Applies one event; the number of commands that it led to."""
        cdef:
            uint8_t kind = event.kind
            order_t* order
            int side

        self.n_commands = 0
        if kind == EVENT_FRAME:
            if event.offset + event.length > size:
                self.counters.frame_errors += 1
                return 0
            self.frame_c(payload + event.offset, event.length, now_ns)
            if event.flags & FLAG_CHECKPOINT:
                self.counters.checkpoints += 1
                if self.books.n_changes:
                    self.counters.checkpoint_mismatches += 1
        elif kind == EVENT_BUFFER_END:
            if event.flags & FLAG_DISCONNECTED:
                self.disconnect_c(now_ns)
            else:
                self.buffer_end_c(now_ns)
        elif kind == EVENT_ORDER_RESULT or kind == EVENT_USER_EVENT:
            if event.status == STATUS_REJECTED:
                self.reasons[event.reason & (MAX_REASONS - 1)] += 1
                if event.token <= DOWN:
                    # Growing pause per token, so that a venue that refuses is not stormed.
                    self.cool_ns[event.token] = (
                        50 * MILLISECOND_NS
                        if self.cool_ns[event.token] == 0
                        else min(2 * self.cool_ns[event.token], 5 * SECOND_NS)
                    )
                    self.cool_until_ns[event.token] = now_ns + self.cool_ns[event.token]
            elif event.status == STATUS_LIVE and event.token <= DOWN:
                self.cool_ns[event.token] = 0
            if self.registry.apply_event_c(event) == APPLIED:
                self.own_dirty = True
                if event.status == STATUS_TRADE_MATCHED and event.token <= DOWN and event.side <= SELL:
                    side = event.side if event.token == UP else 1 - event.side
                    if now_ns - self.own_fill_ns[side] >= SECOND_NS:
                        self.own_fill_micro[side] = 0
                    self.own_fill_micro[side] += event.size_micro
                    self.own_fill_ns[side] = now_ns
                order = self.registry.find_c(event.key)
                if order != NULL and order.state == ORDER_LIVE:
                    if not order.queue.known:
                        self.join_queue_c(order, now_ns)
                    if order.cancel_wanted and not order.cancel_sent:
                        self.cancel_c(order, order.cancel_wanted, now_ns)
                        self.publish_c()
        elif kind == EVENT_TIMER:
            self.timer_c(now_ns)
        elif kind == EVENT_MODE:
            if self.mode != event.status:
                self.mode = event.status
                self.version += 1
                self.own_dirty = True
                self.buffer_end_c(now_ns)
        elif kind == EVENT_SETTLEMENT:
            self.winner = event.token
            self.own_dirty = True
            self.buffer_end_c(now_ns)
        return self.n_commands

    cdef void disconnect_c(self, int64_t now_ns) noexcept nogil:
        """The feed is gone: forget the levels and pull the quotes."""
        self.books.reset_c()
        self.connected = False
        self.version += 1
        self.own_dirty = True
        self.buffer_end_c(now_ns)

    cdef void frame_c(self, const char* data, size_t size, int64_t now_ns) noexcept nogil:
        """One whole message: decode into the books, then queue positions."""
        self.counters.frames += 1
        if self.books.apply_c(data, size, now_ns) > 0:
            self.dirty = True
        if self.books.epoch[UP] + self.books.epoch[DOWN] != self.seen_epoch:
            self.seen_epoch = self.books.epoch[UP] + self.books.epoch[DOWN]
            self.version += 1
            self.own_dirty = True
        if self.registry.n_live and (self.books.n_changes or self.books.has_trade):
            self.queues_c(now_ns)

    cdef void queues_c(self, int64_t now_ns) noexcept nogil:
        """Queue positions of own orders, from the changes and the trade of the last frame."""
        cdef:
            order_t* order
            const change_t* change
            int i
            int j

        for i in range(self.registry.n_live):
            order = &self.registry.live[i]
            if not order.queue.known:
                continue
            for j in range(self.books.n_changes):
                change = &self.books.changes[j]
                if change.price_e4 == order.price_e4 and change.token == order.token and change.side == order.side:
                    queue_level_c(&order.queue, change.old_micro, change.new_micro, self.books.venue_ms)
        if self.books.has_trade:
            self.traded_c(now_ns)

    cdef void traded_c(self, int64_t now_ns) noexcept nogil:
        """A trade printed: it took from the front of our level what our own better orders left of it."""
        cdef:
            order_t* order
            int i
            int32_t trade_e4[2]     # the trade in the terms of each token
            int taker_side[2]
            int token = self.books.trade.token
            int64_t left_micro = self.books.trade.size_micro
            int hit                 # side that was taken from, in Up terms

        trade_e4[token] = self.books.trade.price_e4
        trade_e4[1 - token] = 10000 - self.books.trade.price_e4
        taker_side[token] = self.books.trade.side
        taker_side[1 - token] = 1 - self.books.trade.side
        hit = 1 - taker_side[UP]
        # Shares of this print that were ours took nothing from anybody ahead of us. Their fill may have been told already.
        if now_ns - self.own_fill_ns[hit] < SECOND_NS:
            left_micro -= self.own_fill_micro[hit]
        self.own_fill_micro[hit] = 0
        for i in range(self.registry.n_live):
            order = &self.registry.live[i]
            if order.queue.known and order.side != taker_side[order.token] and (
                trade_e4[order.token] < order.price_e4 if order.side == BUY else trade_e4[order.token] > order.price_e4
            ):
                if self.books.venue_ms > order.queue.settle_ms:  # else it may have traded before we joined
                    queue_front_c(&order.queue)  # it traded through our price
                left_micro -= self.registry.remaining_c(order)
        if left_micro <= 0:
            return
        for i in range(self.registry.n_live):
            order = &self.registry.live[i]
            if (
                order.queue.known
                and order.side != taker_side[order.token]
                and trade_e4[order.token] == order.price_e4
                and self.books.venue_ms > order.queue.settle_ms  # else its decrease was displayed before we joined
            ):
                queue_trade_c(&order.queue, left_micro)

    cdef void join_queue_c(self, order_t* order, int64_t now_ns) noexcept nogil:
        """The order has been acknowledged: what is displayed at its price stands before it."""
        cdef int64_t level_micro = book_size(self.books.book[order.token], order.side, order.price_e4)

        if self.limits.book_shows_own:
            level_micro -= self.registry.remaining_c(order)
            if level_micro < 0:
                level_micro = 0
        queue_join_c(
            &order.queue, level_micro, now_ns // MILLISECOND_NS + SETTLE_MS, self.limits.queue_exponent
        )

    cdef void buffer_end_c(self, int64_t now_ns) noexcept nogil:
        """Everything received so far is applied: decide whether to solve."""
        cdef int token

        if not self.dirty and not self.own_dirty:
            return
        if not self.own_dirty and not self.blocked:
            self.fill_tops_c()
            if not self.queue_moved_c():
                for token in range(2):
                    if best_moved_c(
                        &self.trigger,
                        token,
                        self.view.top[token].bid_e4,
                        self.view.top[token].bid_micro,
                        self.view.top[token].ask_e4,
                        self.view.top[token].ask_micro,
                    ):
                        break
                else:
                    self.counters.suppressed += 1
                    self.dirty = False
                    return
        self.solve_c(now_ns)

    cdef bint queue_moved_c(self) noexcept nogil:
        cdef:
            int i
            const order_t* order

        for i in range(self.registry.n_live):
            order = &self.registry.live[i]
            if order.queue.known and moved_c(
                order.solved_ahead_micro, order.queue.ahead_micro, order.queue.joined_micro, self.trigger.queue_change_ppm
            ):
                return True
        return False

    cdef void timer_c(self, int64_t now_ns) noexcept nogil:
        """Time passed: what needs no message to become true."""
        cdef:
            int i
            order_t* order

        for i in range(self.registry.n_live - 1, -1, -1):
            order = &self.registry.live[i]
            if order.state == ORDER_LIVE or order.state == ORDER_UNKNOWN:
                if order.cancel_sent:
                    if now_ns - order.cancel_ns >= self.limits.cancel_retry_ns:
                        self.cancel_c(order, order.cancel_sent, now_ns)  # no proof came: ask again
                elif order.state == ORDER_UNKNOWN:
                    self.cancel_c(order, R_NOT_WANTED, now_ns)
                elif (
                    order.expiration_s
                    and (order.expiration_s - EXPIRES_EARLY_S - REFRESH_BEFORE_S) * SECOND_NS <= now_ns
                ):
                    self.cancel_c(order, R_EXPIRING, now_ns)
        if self.own_dirty or now_ns - self.solved_ns >= self.limits.update_interval_ns or self.guard_c(now_ns):
            self.solve_c(now_ns)
        else:
            self.publish_c()

    cdef int guard_c(self, int64_t now_ns) noexcept nogil:
        """The Reason why nothing may be quoted, 0 if quoting is allowed."""
        cdef int token

        if self.winner >= 0:
            return R_SETTLED
        if self.mode != MODE_RUNNING:
            return R_MODE
        if self.end_ms and now_ns // MILLISECOND_NS >= self.end_ms - self.limits.stop_before_end_ms:
            return R_MARKET_ENDING
        for token in range(2):
            if not self.books.has_snapshot[token]:
                if not self.connected:
                    return R_DISCONNECTED
                return R_EPOCH_CHANGED if self.books.epoch[token] else R_NO_SNAPSHOT
            if now_ns - self.books.token_ns[token] > self.limits.book_max_age_ns:
                return R_STALE
            if not self.books.best_ok[token]:
                return R_BEST_MISMATCH
        self.connected = True
        if not self.books.mirror_ok:
            return R_MIRROR_MISMATCH
        self.fill_tops_c()
        for token in range(2):
            if (
                self.view.top[token].bid_e4 >= 0
                and self.view.top[token].ask_e4 >= 0
                and self.view.top[token].bid_e4 >= self.view.top[token].ask_e4
            ):
                return R_CROSSED
        return 0

    cdef void solve_c(self, int64_t now_ns) noexcept nogil:
        """Guards, policy, and the commands that follow."""
        cdef:
            int reason = self.guard_c(now_ns)
            int i
            int token
            int legs = 0
            uint8_t refused
            order_t* order

        self.dirty = False
        self.own_dirty = False
        self.solved_ns = now_ns
        self.fill_tops_c()
        for token in range(2):
            remember_best_c(
                &self.trigger,
                token,
                self.view.top[token].bid_e4,
                self.view.top[token].bid_micro,
                self.view.top[token].ask_e4,
                self.view.top[token].ask_micro,
            )
        for i in range(self.registry.n_live):
            self.registry.live[i].solved_ahead_micro = self.registry.live[i].queue.ahead_micro
        self.blocked = reason != 0
        if reason:
            for token in range(2):
                if self.no_quote[token] != reason:
                    self.reasons[reason] += 1
                    self.no_quote[token] = reason
            self.cancel_all_c(reason, now_ns)
            self.publish_c()
            return
        self.counters.solves += 1
        self.fill_view_c(now_ns)
        if self.policy.decide_c(&self.view, &self.wanted) < 0:
            self.counters.policy_errors += 1
            self.reasons[R_POLICY_ERROR] += 1
            self.cancel_all_c(R_POLICY_ERROR, now_ns)
            self.publish_c()
            return
        for token in range(2):
            if self.wanted.reason[token] and self.no_quote[token] != self.wanted.reason[token]:
                self.reasons[self.wanted.reason[token] & (MAX_REASONS - 1)] += 1
            self.no_quote[token] = self.wanted.reason[token]
        for i in range(self.wanted.n_actions):
            if self.wanted.actions[i].kind == ACTION_CANCEL:
                order = self.registry.find_c(self.wanted.actions[i].key)
                if order != NULL:
                    self.cancel_c(order, self.wanted.actions[i].reason, now_ns)
        for i in range(self.wanted.n_actions):
            if self.wanted.actions[i].kind != ACTION_CANCEL:
                if legs % LEGS_PER_BATCH == 0:
                    self.batch += 1
                refused = self.place_c(&self.wanted.actions[i], now_ns)
                if refused:
                    self.reasons[refused] += 1
                else:
                    legs += 1
        self.publish_c()

    cdef void fill_tops_c(self) noexcept nogil:
        """Best levels of both tokens into the view."""
        cdef:
            int token
            const book_t* book
            int32_t price_e4

        for token in range(2):
            book = self.books.book[token]
            price_e4 = book_best_bid(book)
            self.view.top[token].bid_e4 = price_e4
            self.view.top[token].bid_micro = book_size(book, BUY, price_e4) if price_e4 >= 0 else 0
            price_e4 = book_best_ask(book)
            self.view.top[token].ask_e4 = price_e4
            self.view.top[token].ask_micro = book_size(book, SELL, price_e4) if price_e4 >= 0 else 0

    cdef void fill_view_c(self, int64_t now_ns) noexcept nogil:
        """What the policy sees; the tops are filled already."""
        cdef:
            int i
            int token
            const order_t* order

        self.view.tick_e4 = self.books.tick_e4
        self.view.min_size_micro = self.books.min_size_micro
        self.view.fee_rate_ppm = self.limits.fee_rate_ppm
        self.view.ms_to_end = self.end_ms - now_ns // MILLISECOND_NS
        for token in range(2):
            self.view.position_micro[token] = self.registry.position_micro[token]
            self.view.cost_micro[token] = (self.registry.cost_e10[token] + 5000) // 10000
            self.view.top[token].bid_is_ours = False
            self.view.top[token].ask_is_ours = False
        self.view.n_orders = self.registry.n_live
        for i in range(self.registry.n_live):
            order = &self.registry.live[i]
            self.view.orders[i].key = order.key
            self.view.orders[i].original_micro = order.original_micro
            self.view.orders[i].remaining_micro = self.registry.remaining_c(order)
            self.view.orders[i].price_e4 = order.price_e4
            self.view.orders[i].token = order.token
            self.view.orders[i].side = order.side
            self.view.orders[i].is_taker = order.order_type >= FOK
            if order.cancel_sent or order.cancel_wanted:
                self.view.orders[i].state = VIEW_PENDING_CANCEL
            elif order.state == ORDER_UNKNOWN:
                self.view.orders[i].state = VIEW_UNKNOWN
            elif order.state == ORDER_LIVE:
                self.view.orders[i].state = VIEW_OPEN
            else:
                self.view.orders[i].state = VIEW_PENDING_NEW
            if self.limits.book_shows_own and order.side == BUY:
                # Our bid for one token is displayed as an ask of the other.
                token = order.token
                if order.price_e4 == self.view.top[token].bid_e4:
                    self.view.top[token].bid_is_ours = True
                if 10000 - order.price_e4 == self.view.top[1 - token].ask_e4:
                    self.view.top[1 - token].ask_is_ours = True

    cdef void cancel_all_c(self, uint8_t reason, int64_t now_ns) noexcept nogil:
        cdef int i

        for i in range(self.registry.n_live):
            if not self.registry.live[i].cancel_sent:
                self.cancel_c(&self.registry.live[i], reason, now_ns)

    cdef void cancel_c(self, order_t* order, uint8_t reason, int64_t now_ns) noexcept nogil:
        """Asks for an order's end. One that is still on its way is cancelled when its answer comes, because a cancel that
        overtakes its order cancels nothing."""
        cdef command_t* command

        if order.order_type >= FOK:
            return  # ends by itself, and is not cancellable while the venue holds it
        if order.state == ORDER_PREPARED or order.state == ORDER_SENT:
            order.cancel_wanted = reason
            return
        command = self.command_c(COMMAND_CANCEL, reason, now_ns)
        if command == NULL:
            self.own_dirty = True
            return
        command.key = order.key
        command.token = order.token
        command.side = order.side
        command.level = order.level
        command.price_e4 = order.price_e4
        command.size_micro = self.registry.remaining_c(order)
        order.cancel_sent = reason if reason else R_NOT_WANTED
        order.cancel_wanted = 0
        order.cancel_ns = now_ns

    cdef uint8_t allowed_c(self, const action_t* action, int64_t now_ns) noexcept nogil:
        """The Reason why a placement is not allowed, 0 if it is. Every order that may be alive counts."""
        cdef:
            int i
            const order_t* order
            int64_t committed_e10 = self.registry.spent_e10
            int64_t new_e10 = <int64_t> action.price_e4 * action.size_micro
            int other = 1 - action.token
            int64_t interval_ns = SECOND_NS // self.limits.orders_per_second

        if action.side != BUY and action.size_micro > self.registry.position_micro[action.token]:
            return R_CASH
        if action.size_micro < self.books.min_size_micro:
            return R_BELOW_MIN_SIZE
        if action.size_micro > self.limits.max_order_micro or self.registry.n_live >= self.limits.max_open_orders:
            return R_ORDER_LIMIT
        if now_ns < self.cool_until_ns[action.token]:
            return R_COOL_DOWN
        if self.order_tokens_ns < now_ns - self.limits.orders_burst * interval_ns:
            self.order_tokens_ns = now_ns - self.limits.orders_burst * interval_ns
        if self.order_tokens_ns + interval_ns > now_ns:
            return R_RATE_LIMIT
        for i in range(self.registry.n_live):
            order = &self.registry.live[i]
            if order.side == BUY:
                committed_e10 += self.registry.remaining_c(order) * order.price_e4
            if action.side == BUY:
                # Our bids for both tokens that sum to a dollar or more would be minted against each other.
                if order.side == BUY and order.token == other and order.price_e4 + action.price_e4 >= 10000:
                    return R_SELF_CROSS
                if order.side == SELL and order.token == action.token and order.price_e4 <= action.price_e4:
                    return R_SELF_CROSS
            else:
                if order.side == SELL and order.token == other and order.price_e4 + action.price_e4 <= 10000:
                    return R_SELF_CROSS
                if order.side == BUY and order.token == action.token and order.price_e4 >= action.price_e4:
                    return R_SELF_CROSS
            if action.kind == ACTION_TAKE and order.order_type >= FOK:
                return R_IN_FLIGHT
        if action.side == BUY and committed_e10 + new_e10 > self.limits.max_cash_e10:
            return R_CASH
        if action.kind == ACTION_QUOTE:
            if action.side == BUY:
                if self.view.top[action.token].ask_e4 >= 0 and action.price_e4 >= self.view.top[action.token].ask_e4:
                    return R_POST_ONLY
            elif action.price_e4 <= self.view.top[action.token].bid_e4:
                return R_POST_ONLY
        self.order_tokens_ns += interval_ns
        return 0

    cdef uint8_t place_c(self, const action_t* action, int64_t now_ns) noexcept nogil:
        """Turns a wanted quote or take into a placement; the Reason if it is not made."""
        cdef:
            uint8_t refused = self.allowed_c(action, now_ns)
            command_t* command

        if refused:
            return refused
        command = self.command_c(COMMAND_PLACE, action.reason, now_ns)
        if command == NULL:
            self.own_dirty = True
            return R_RING_FULL
        command.token = action.token
        command.side = action.side
        command.level = action.level
        command.price_e4 = action.price_e4
        command.size_micro = action.size_micro
        if action.kind == ACTION_TAKE:
            command.order_type = FOK
        else:
            command.flags = FLAG_POST_ONLY
            if self.limits.quote_lifetime_s:
                command.order_type = GTD
                # Rounded up, so that the whole lifetime is left when the venue looks.
                command.expiration_s = (now_ns + SECOND_NS - 1) // SECOND_NS + self.limits.quote_lifetime_s
            else:
                command.order_type = GTC
        command.key = self.next_key
        command.salt = self.salt_c()
        if self.registry.add_c(command) == NULL:
            self.n_commands -= 1
            self.sequence -= 1
            return R_ORDER_LIMIT
        self.next_key += 1
        return 0

    cdef uint64_t salt_c(self) noexcept nogil:
        """Next value of splitmix64 (Steele, Lea, Flood 2014), cut to the 53 bits that a JSON number carries exactly."""
        cdef uint64_t z

        self.salt_state += <uint64_t> 0x9E3779B97F4A7C15
        z = self.salt_state
        z = (z ^ (z >> 30)) * <uint64_t> 0xBF58476D1CE4E5B9
        z = (z ^ (z >> 27)) * <uint64_t> 0x94D049BB133111EB
        return (z ^ (z >> 31)) >> 11

    cdef command_t* command_c(self, uint8_t kind, uint8_t reason, int64_t now_ns) noexcept nogil:
        """The next command record with the fields that all have; NULL when this step has no more room for it."""
        cdef:
            command_t* command
            uint64_t pending = self.n_commands

        if self.n_commands == MAX_COMMANDS:
            self.counters.ring_full += 1
            return NULL
        if self.ring is not None and self.ring.room_c(kind != COMMAND_PLACE) <= pending:
            self.counters.ring_full += 1
            return NULL
        command = &self.commands[self.n_commands]
        memset(command, 0, sizeof(command_t))
        self.n_commands += 1
        self.sequence += 1
        command.kind = kind
        command.reason = reason
        command.market = self.market
        command.batch = self.batch
        command.sequence = self.sequence
        command.market_version = self.version
        command.book_ms = self.books.venue_ms
        command.decided_ns = now_ns
        command.deadline_ns = now_ns + self.limits.command_deadline_ns
        command.entered_ns_low = <uint32_t> self.entered_ns
        return command

    cdef void publish_c(self) noexcept nogil:
        """Marks the last leg of each batch and hands the step's commands to the ring."""
        cdef:
            int i
            int last = -1

        for i in range(self.n_commands):
            if self.commands[i].kind == COMMAND_PLACE:
                if last >= 0 and self.commands[last].batch != self.commands[i].batch:
                    self.commands[last].flags |= FLAG_LAST
                last = i
            else:
                self.commands[i].flags |= FLAG_LAST
        if last >= 0:
            self.commands[last].flags |= FLAG_LAST
        self.counters.commands += self.n_commands
        if self.words is not None:
            self.words.set_market_version_c(self.market, self.version)
        if self.ring is None or self.n_commands == 0:
            return
        for i in range(self.n_commands):
            self.ring.try_push_c(&self.commands[i])
        self.ring.wake_c()

    # ---- for people and tests -----------------------------------------------------------------------------------------

    def stats(self) -> dict[str, object]:
        """Counters of the step; `reasons` maps Reason numbers to how often they ended or prevented a quote."""
        result = dict(<dict> self.counters)
        result["fills"] = self.registry.fills
        result["reasons"] = {i: self.reasons[i] for i in range(MAX_REASONS) if self.reasons[i]}
        return result

    @property
    def no_quote_reasons(self) -> tuple[int, int]:
        """Why Up and Down are not quoted at present; 0 where they are."""
        return self.no_quote[0], self.no_quote[1]

    @property
    def now_mode(self) -> int:
        """Mode number."""
        return self.mode

    @property
    def settled_outcome(self) -> int | None:
        """The winning outcome (0 Up, 1 Down), None before the market is settled."""
        return None if self.winner < 0 else self.winner

    def end_batch(self) -> None:
        """Runs the book checks that wait for the next timestamp: the input has ended."""
        self.books.end_batch_c()
