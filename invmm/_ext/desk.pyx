"""The order desk of one market: wanted actions become command records, and only what the limits allow.

It holds the own orders (`Registry`), the limits and the commands of the present step. Every check counts each
order that may be alive; each refusal is a Reason. The market step on top decides what is wanted.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

import numpy as np

from invmm._ext.evidence cimport (
    ORDER_LIVE, ORDER_PREPARED, ORDER_SENT, ORDER_UNKNOWN, SAID_RESENT, evidence_cancel_due_c, order_t
)
from invmm._ext.exposure cimport (
    exposure_cost_c, exposure_of_c, exposure_order_c, exposure_refuses_c, exposure_t
)
from invmm._ext.merge cimport order_expiring_c
from invmm._ext.records cimport (
    BUY,
    COMMAND_CANCEL,
    COMMAND_PLACE,
    COMMAND_RESEND,
    DOWN,
    FLAG_LAST,
    FLAG_POST_ONLY,
    FOK,
    GTC,
    GTD,
    R_BELOW_MIN_SIZE,
    R_COLLAR,
    R_COOL_DOWN,
    R_DUPLICATE,
    R_HEARTBEAT,
    R_IN_FLIGHT,
    R_NOT_WANTED,
    R_ORDER_LIMIT,
    R_POST_ONLY,
    R_RATE_LIMIT,
    R_RING_FULL,
    R_VENUE_MODE,
    STATUS_LIVE,
    STATUS_REJECTED,
    command_t,
    event_t,
    reservation_t,
)
from invmm._ext.solver cimport ACTION_QUOTE, ACTION_TAKE, action_t, top_t

from invmm import types

cdef int64_t SECOND_NS = 1000000000
cdef int64_t MILLISECOND_NS = 1000000
cdef int64_t CANCEL_APART_NS = 100 * MILLISECOND_NS      # two cancels of one order

cdef enum:
    VENUE_RUNNING = 0           # VenueMode
    VENUE_RESTARTING = 1
    VENUE_POST_ONLY = 2
    VENUE_CANCEL_ONLY = 3
    VENUE_HALTED = 4
    DEAF_PAUSE_S = 8            # longest time between two cancels of an order at a venue that takes none


cdef class OrderDesk(FrameSink):
    """Own orders, limits and commands of one market; base of `MarketStep`.

    Attributes
    ----------
    market : int
        Number of this market in event and command records.
    version : int
        Grows with every change of mode, epoch or connection; the executor's gate refuses commands of an older
        one.
    """

    def __cinit__(self):
        self.log = InputLog()
        self.fair = FairValue()
        self._records = np.frombuffer(
            <uint8_t[: sizeof(self.commands)]> <uint8_t*> &self.commands[0], dtype=types.COMMAND_DTYPE
        )

    def journal_to(self, InputLog log not None):
        """Keeps inputs, commands and reasons from now on."""
        self.log = log

    def follow_prices(self, FairValue fair not None):
        """What events of kind PRICE are told to, and what the policy's fair value is asked of."""
        self.fair = fair

    cdef void cancel_all_c(self, uint8_t reason, int64_t now_ns) noexcept nogil:
        cdef int i

        for i in range(self.registry.n_live):
            if not self.registry.live[i].cancel_sent:
                self.cancel_c(&self.registry.live[i], reason, now_ns)

    cdef void cancel_c(self, order_t* order, uint8_t reason, int64_t now_ns) noexcept nogil:
        """Asks for an order's end. One that is still on its way is cancelled when its answer comes, because a
        cancel that overtakes its order cancels nothing.
        """
        cdef command_t* command

        if order.order_type >= FOK:
            return  # ends by itself, and is not cancellable while the venue holds it
        if order.state == ORDER_PREPARED or order.state == ORDER_SENT:
            order.cancel_wanted = reason
            return
        if order.cancel_first_ns and now_ns - order.cancel_ns < CANCEL_APART_NS:
            return  # a venue that refuses cancels at once is not asked as fast as it answers
        command = self.command_c(COMMAND_CANCEL, reason, now_ns)
        if command == NULL:
            self.own_dirty = True
            return
        command.key = order.key
        # By its id as well: the executor knows the keys of recent orders only, and this one may be old.
        memcpy(command.order_id, order.order_id, 32)
        command.token = order.token
        command.side = order.side
        command.level = order.level
        command.price_e4 = order.price_e4
        command.size_micro = self.registry.remaining_c(order)
        order.cancel_sent = reason if reason else R_NOT_WANTED
        order.cancel_wanted = 0
        order.cancel_ns = now_ns
        if order.cancel_first_ns == 0:
            order.cancel_first_ns = now_ns

    cdef void cool_c(self, const event_t* event, int64_t now_ns) noexcept nogil:
        """A growing pause per token after refusals, so that a venue that refuses is not stormed."""
        if event.status == STATUS_REJECTED:
            self.reasons[event.reason & (MAX_REASONS - 1)] += 1
            if event.token <= DOWN:
                self.cool_ns[event.token] = (
                    50 * MILLISECOND_NS
                    if self.cool_ns[event.token] == 0
                    else min(2 * self.cool_ns[event.token], 5 * SECOND_NS)
                )
                self.cool_until_ns[event.token] = now_ns + self.cool_ns[event.token]
        elif event.status == STATUS_LIVE and event.token <= DOWN:
            self.cool_ns[event.token] = 0

    cdef void resend_c(self, order_t* order, int64_t now_ns) noexcept nogil:
        """Has the same signed bytes sent once more: it cannot become a second order."""
        cdef command_t* command = self.command_c(COMMAND_RESEND, order.reason, now_ns)

        if command == NULL:
            return
        command.key = order.key
        command.token = order.token
        command.side = order.side
        command.level = order.level
        command.price_e4 = order.price_e4
        command.size_micro = order.original_micro
        order.said |= SAID_RESENT

    cdef void bound_c(self) noexcept nogil:
        """Takes over the limits that bind sums; funds are not known yet."""
        self.bounds.max_direction_micro = self.limits.max_direction_micro
        self.bounds.max_gross_micro = self.limits.max_gross_micro
        self.bounds.max_cash_e10 = self.limits.max_cash_e10
        self.bounds.max_orders = self.limits.max_open_orders
        self.bounds.fee_rate_ppm = self.limits.fee_rate_ppm
        self.bounds.funds_e10 = -1
        self.registry.fee_rate_ppm = self.limits.fee_rate_ppm

    cdef uint8_t venue_refuses_c(self, int64_t now_ns) noexcept nogil:
        """The Reason why the venue would take no order at all, 0 if it would. While it takes cancels only one
        order a second goes, because it takes one to find out that orders are taken again.
        """
        if self.venue_stop:
            return <uint8_t> self.venue_stop
        if self.missed_heartbeats:
            return R_HEARTBEAT
        if self.venue_mode == VENUE_RUNNING or self.venue_mode == VENUE_POST_ONLY:
            return 0
        if self.venue_mode == VENUE_CANCEL_ONLY and now_ns - self.tried_ns >= SECOND_NS:
            self.tried_ns = now_ns
            return 0
        return R_VENUE_MODE

    cdef int64_t cancel_pause_c(self, const order_t* order) noexcept nogil:
        """How long a cancel waits for proof before it is repeated; ever longer while the venue takes none."""
        cdef int64_t pause_ns = self.limits.cancel_retry_ns

        if self.venue_mode == VENUE_RESTARTING or self.venue_mode == VENUE_HALTED:
            return max(pause_ns, min(order.cancel_ns - order.cancel_first_ns, DEAF_PAUSE_S * SECOND_NS))
        return pause_ns

    cdef void upkeep_c(self, int64_t now_ns) noexcept nogil:
        """What own orders need when time passes: cancels once more, a look at those that expire soon."""
        cdef:
            int i
            order_t* order

        for i in range(self.registry.n_live - 1, -1, -1):
            order = &self.registry.live[i]
            if order.state == ORDER_UNKNOWN:
                if evidence_cancel_due_c(order, now_ns):
                    self.cancel_c(order, R_NOT_WANTED, now_ns)
            elif order.state == ORDER_LIVE:
                if order.cancel_sent:
                    if now_ns - order.cancel_ns >= self.cancel_pause_c(order):
                        self.cancel_c(order, order.cancel_sent, now_ns)  # no proof came: ask again
                elif order_expiring_c(order, self.registry.fence.early_ns, now_ns):
                    self.own_dirty = True

    cdef uint8_t sound_c(self, const action_t* action, int64_t now_ns) noexcept nogil:
        """The Reason why a placement is not allowed whatever else there is, 0 if it is: size, grid of time,
        price.
        """
        cdef:
            const top_t* top = &self.view.top[action.token]
            int64_t interval_ns = SECOND_NS // self.limits.orders_per_second
            int32_t away_e4

        if action.size_micro < self.books.min_size_micro:
            return R_BELOW_MIN_SIZE
        if (
            action.size_micro > self.limits.max_order_micro
            or action.price_e4 * action.size_micro > self.limits.max_order_e10
        ):
            return R_ORDER_LIMIT
        if now_ns < self.cool_until_ns[action.token]:
            return R_COOL_DOWN
        if self.order_tokens_ns < now_ns - self.limits.orders_burst * interval_ns:
            self.order_tokens_ns = now_ns - self.limits.orders_burst * interval_ns
        if self.order_tokens_ns + interval_ns > now_ns:
            return R_RATE_LIMIT
        if action.kind == ACTION_QUOTE:
            if action.side == BUY:
                if top.ask_e4 >= 0 and action.price_e4 >= top.ask_e4:
                    return R_POST_ONLY
            elif action.price_e4 <= top.bid_e4:
                return R_POST_ONLY
        if top.ask_e4 < 0 and top.bid_e4 < 0:
            return R_COLLAR
        # Twice the distance from the mid; with one side empty the other one stands for it.
        away_e4 = 2 * action.price_e4 - (
            2 * top.bid_e4 if top.ask_e4 < 0 else 2 * top.ask_e4 if top.bid_e4 < 0
            else top.ask_e4 + top.bid_e4
        )
        if (away_e4 if action.side == BUY else -away_e4) > 2 * self.limits.price_collar_e4:
            return R_COLLAR
        return 0

    cdef uint8_t fits_c(
        self, const action_t* action, const exposure_t* sums, bint same_price
    ) noexcept nogil:
        """The Reason why a placement does not fit to what may be alive (`sums`), 0 if it does.

        `same_price`: an own order at its price and token is meant to be joined, not doubled.
        """
        cdef:
            int i
            const order_t* order

        for i in range(self.registry.n_live):
            order = &self.registry.live[i]
            if order.order_type >= FOK:
                if action.kind == ACTION_TAKE:
                    return R_IN_FLIGHT
            elif (
                order.price_e4 == action.price_e4 and order.token == action.token
                and order.side == action.side and not same_price and action.kind == ACTION_QUOTE
            ):
                return R_DUPLICATE
        return exposure_refuses_c(
            sums, &self.bounds, action.token, action.side, action.price_e4, action.size_micro,
            action.kind == ACTION_TAKE,
        )

    cdef uint8_t allowed_c(
        self, const action_t* action, const exposure_t* sums, bint same_price, int64_t now_ns
    ) noexcept nogil:
        """The Reason why a placement is not allowed beside what may be alive (`sums`), 0 if it is: then its
        place in the rate is taken.
        """
        cdef uint8_t refused = self.sound_c(action, now_ns)

        if refused == 0:
            refused = self.fits_c(action, sums, same_price)
        if refused == 0 and self.account is not None:
            refused = self.account.admit_c(
                self.market, action.side, exposure_cost_c(
                    action.price_e4, action.size_micro,
                    self.limits.fee_rate_ppm if action.kind == ACTION_TAKE else 0,
                ), now_ns,
            )
        if refused:
            return refused
        self.order_tokens_ns += SECOND_NS // self.limits.orders_per_second
        return 0

    cdef order_t* place_c(
        self, const action_t* action, exposure_t* sums, bint same_price, int64_t now_ns, uint8_t* refused
    ) noexcept nogil:
        """Turns a wanted quote or take into a placement and adds it to `sums`; NULL, and the Reason, if it is
        not made.
        """
        cdef:
            command_t* command
            reservation_t* reservation
            order_t* order

        refused[0] = self.allowed_c(action, sums, same_price, now_ns)
        if refused[0]:
            return NULL
        command = self.command_c(COMMAND_PLACE, action.reason, now_ns)
        if command == NULL:
            self.own_dirty = True
            refused[0] = R_RING_FULL
            return NULL
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
        reservation = <reservation_t*> &command.order_id[0]
        reservation.transaction = self.transaction
        if action.side == BUY:
            reservation.cash_e10 = exposure_cost_c(
                action.price_e4, action.size_micro,
                self.limits.fee_rate_ppm if action.kind == ACTION_TAKE else 0,
            )
        order = self.registry.add_c(command)
        if order == NULL:
            self.n_commands -= 1
            self.sequence -= 1
            refused[0] = R_ORDER_LIMIT
            return NULL
        self.next_key += 1
        exposure_order_c(sums, self.registry, order)
        return order

    cdef void stir_salts_c(self) noexcept nogil:
        """Makes the salts to come depend on the level changes of the last frame.

        The digest over the commands then covers the books as well: no size can be another one and leave it as
        it was.
        """
        cdef int i

        for i in range(self.books.n_changes):
            self.salt_state = (
                self.salt_state
                ^ <uint64_t> self.books.changes[i].new_micro
                ^ (<uint64_t> self.books.changes[i].price_e4 << 48)
            ) * <uint64_t> 0x9E3779B97F4A7C15

    cdef uint64_t salt_c(self) noexcept nogil:
        """Next value of splitmix64 (Steele, Lea, Flood 2014), cut to 53 bits: exact in a JSON number."""
        cdef uint64_t z

        self.salt_state += <uint64_t> 0x9E3779B97F4A7C15
        z = self.salt_state
        z = (z ^ (z >> 30)) * <uint64_t> 0xBF58476D1CE4E5B9
        z = (z ^ (z >> 27)) * <uint64_t> 0x94D049BB133111EB
        return (z ^ (z >> 31)) >> 11

    cdef command_t* command_c(self, uint8_t kind, uint8_t reason, int64_t now_ns) noexcept nogil:
        """The next command record, common fields filled in; NULL when this step has no room for more."""
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
        command.entered_ns_low = <uint32_t> self.cause_ns
        return command

    cdef void look_c(self, int64_t now_ns) noexcept nogil:
        """Reads what the executor publishes, once for a step: what follows from it can be made again."""
        if self.words is None:
            return
        self.venue_mode = self.words.venue_mode_c()
        self.venue_stop = self.words.venue_stop_c()
        self.missed_heartbeats = self.words.missed_heartbeats_c()
        self.log.venue_c(self.venue_mode, self.venue_stop, self.missed_heartbeats, now_ns)

    cdef void commit_c(self) noexcept nogil:
        """Tells the account what this market has committed by now."""
        cdef exposure_t sums

        if self.account is not None:
            exposure_of_c(&sums, self.registry)
            self.account.commit_c(
                self.market, sums.spent_e10 + sums.bids_e10, sums.bids_e10 + sums.unsettled_e10, sums.orders
            )

    cdef void publish_c(self) noexcept nogil:
        """Marks the last leg of each batch and hands the step's commands to the ring."""
        cdef:
            int i
            int last = -1

        self.commit_c()
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
        self.log.commands_c(self.commands, self.n_commands)
        if self.ring is None or self.n_commands == 0:
            return
        for i in range(self.n_commands):
            self.ring.try_push_c(&self.commands[i])
        self.ring.wake_c()
        self.published = self.n_commands
