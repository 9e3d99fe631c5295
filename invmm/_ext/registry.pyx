"""Own orders and position of one market, moved by evidence only.

An order leaves the table of possibly-live orders on proof alone: a cancellation naming it, a documented
refusal, a fill of its whole size, or that it was never sent. No answer is not proof: such an order is UNKNOWN
and counts as alive. Ended orders stay on a watch list, because a fill may still name them. A fill leg is
keyed by (trade, own order): repeats change nothing, FAILED voids it once. Token, side and price of a leg come
from our own record of the order, the size from the venue.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memset

from invmm._ext.records cimport (
    BUY,
    FLAG_TAKER,
    FOK,
    STATUS_CANCELED,
    STATUS_DELAYED,
    STATUS_LIVE,
    STATUS_MATCHED,
    STATUS_NOT_CANCELED,
    STATUS_REFUSED,
    STATUS_REJECTED,
    STATUS_SENT,
    STATUS_TRADE_CONFIRMED,
    STATUS_TRADE_FAILED,
    STATUS_TRADE_MATCHED,
    STATUS_UNKNOWN,
    command_t,
    event_t,
)

cdef tuple STATE_NAMES = ("none", "prepared", "sent", "live", "unknown", "dead", "filled")


@cython.final
cdef class Registry:
    """Own orders and position of one market; see the module's first lines for its rules."""

    cdef order_t* find_c(self, uint64_t key) noexcept nogil:
        cdef int i

        for i in range(self.n_live):
            if self.live[i].key == key:
                return &self.live[i]
        return NULL

    cdef order_t* find_ended_c(self, uint64_t key) noexcept nogil:
        cdef uint64_t i
        cdef uint64_t count = self.n_ended if self.n_ended < MAX_ENDED else MAX_ENDED

        for i in range(count):
            if self.ended[(self.n_ended - 1 - i) % MAX_ENDED].key == key:
                return &self.ended[(self.n_ended - 1 - i) % MAX_ENDED]
        return NULL

    cdef order_t* add_c(self, const command_t* command) noexcept nogil:
        """A placement is being handed over; NULL when the table is full."""
        cdef order_t* order

        if self.n_live == MAX_LIVE:
            return NULL
        order = &self.live[self.n_live]
        self.n_live += 1
        memset(order, 0, sizeof(order_t))
        order.key = command.key
        order.state = ORDER_PREPARED
        order.token = command.token
        order.side = command.side
        order.order_type = command.order_type
        order.level = command.level
        order.price_e4 = command.price_e4
        order.original_micro = command.size_micro
        order.expiration_s = command.expiration_s
        order.sent_ns = command.decided_ns
        self.orders += 1
        self.placed_micro += command.size_micro
        return order

    cdef int64_t remaining_c(self, const order_t* order) noexcept nogil:
        """Shares that may still trade."""
        cdef int64_t matched = max(order.filled_micro, order.hinted_micro)

        return order.original_micro - matched if order.original_micro > matched else 0

    cdef void end_c(self, order_t* order, uint8_t state, uint8_t reason) noexcept nogil:
        """Moves an order to the watch list; `order` points into the live table and is invalid afterwards."""
        cdef int last = self.n_live - 1

        order.state = state
        order.reason = reason
        self.ended[self.n_ended % MAX_ENDED] = order[0]
        self.n_ended += 1
        order[0] = self.live[last]
        self.n_live = last

    cdef int apply_event_c(self, const event_t* event) noexcept nogil:
        """Takes one ORDER_RESULT or USER_EVENT. APPLIED, IGNORED, FOREIGN or TABLE_FULL."""
        cdef order_t* order
        cdef uint8_t status = event.status

        if status >= STATUS_TRADE_MATCHED:
            return self.apply_leg_c(event)
        order = self.find_c(event.key)
        if order == NULL:
            if self.find_ended_c(event.key) == NULL:
                self.foreign += 1
                return FOREIGN
            return IGNORED  # late or repeated news about an ended order
        if status == STATUS_SENT:
            if order.state == ORDER_PREPARED:
                order.state = ORDER_SENT
                if 0 < event.size_micro < order.original_micro:
                    # Signed amounts are rounded down; waiting for the rest would keep a filled order alive.
                    self.placed_micro -= order.original_micro - event.size_micro
                    order.original_micro = event.size_micro
            return IGNORED
        if status == STATUS_LIVE or status == STATUS_DELAYED:
            if order.state == ORDER_LIVE:
                return IGNORED
            order.state = ORDER_LIVE
            order.live_ns = event.time_ns
            return APPLIED
        if status == STATUS_MATCHED:
            if order.state != ORDER_LIVE:
                order.state = ORDER_LIVE
                order.live_ns = event.time_ns
            if event.filled_micro > order.hinted_micro:
                order.hinted_micro = event.filled_micro
            return APPLIED
        if status == STATUS_REJECTED or status == STATUS_REFUSED:
            if order.state == ORDER_LIVE:
                return IGNORED  # it rests: a refusal of a repeated copy says nothing about it
            self.end_c(order, ORDER_DEAD, event.reason)
            return APPLIED
        if status == STATUS_UNKNOWN:
            if order.state != ORDER_LIVE:
                order.state = ORDER_UNKNOWN
            order.cancel_sent = 0
            return APPLIED
        if status == STATUS_CANCELED:
            self.end_c(order, ORDER_DEAD, event.reason)  # shares matched before it may still be reported
            return APPLIED
        if status == STATUS_NOT_CANCELED:
            order.cancel_sent = 0
            return APPLIED
        return IGNORED

    cdef int apply_leg_c(self, const event_t* event) noexcept nogil:
        """One stage of one fill leg."""
        cdef:
            uint64_t slot = (
                event.trade * <uint64_t>0x9E3779B97F4A7C15 ^ event.key * <uint64_t>0xC2B2AE3D27D4EB4F
            ) >> 40
            fill_leg_t* leg
            order_t* order = self.find_c(event.key)
            order_t* ended = NULL
            int probe

        if order == NULL:
            ended = self.find_ended_c(event.key)
            if ended == NULL:
                self.foreign += 1
                return FOREIGN
        for probe in range(FILL_SLOTS):
            leg = &self.legs[(slot + <uint64_t>probe) & (FILL_SLOTS - 1)]
            if leg.trade == 0 or (leg.trade == event.trade and leg.key == event.key):
                break
        else:
            return TABLE_FULL
        if leg.trade == 0:
            if self.n_legs >= FILL_SLOTS - 1:
                return TABLE_FULL
            self.n_legs += 1
            leg.trade = event.trade
            leg.key = event.key
            leg.size_micro = event.size_micro
            leg.status = event.status
            leg.taker = (event.flags & FLAG_TAKER) != 0
            if order != NULL:
                leg.token, leg.side = order.token, order.side
            else:
                leg.token, leg.side = ended.token, ended.side
            # A maker is filled at its own price; a taker may be improved, so the venue's price counts.
            leg.price_e4 = event.price_e4
            if not leg.taker:
                leg.price_e4 = order.price_e4 if order != NULL else ended.price_e4
            if event.status == STATUS_TRADE_FAILED:
                self.failed_legs += 1
                return IGNORED
            self.fills += 1
            self.move_c(leg, 1)
            if event.status == STATUS_TRADE_CONFIRMED:
                self.confirmed_micro[leg.token] += leg.size_micro if leg.side == BUY else -leg.size_micro
            if order != NULL:
                order.filled_micro += leg.size_micro
                order.queue.ahead_micro = 0
                # What takes never rests: its first fill ends it, later ones find it on the watch list. The
                # venue's rounding may leave less than a cent of a share of a resting order: it never trades.
                if order.order_type >= FOK or order.filled_micro + DUST_MICRO > order.original_micro:
                    self.end_c(order, ORDER_FILLED, 0)
            else:
                ended.filled_micro += leg.size_micro
            return APPLIED
        if leg.status == STATUS_TRADE_FAILED or leg.status == STATUS_TRADE_CONFIRMED:
            return IGNORED  # the first terminal stage wins
        leg.status = event.status
        if event.status == STATUS_TRADE_FAILED:
            self.failed_legs += 1
            self.move_c(leg, -1)
            return APPLIED
        if event.status == STATUS_TRADE_CONFIRMED:
            self.confirmed_micro[leg.token] += leg.size_micro if leg.side == BUY else -leg.size_micro
            return APPLIED
        return IGNORED

    cdef void move_c(self, const fill_leg_t* leg, int sign) noexcept nogil:
        """Books a leg (sign 1) or takes it back (sign −1)."""
        cdef:
            int64_t value_e10 = <int64_t>leg.price_e4 * leg.size_micro
            int64_t held = self.position_micro[leg.token]
            int64_t signed_micro = sign * (leg.size_micro if leg.side == BUY else -leg.size_micro)

        if signed_micro > 0 and sign > 0:
            self.cost_e10[leg.token] += value_e10
        elif leg.side == BUY:
            self.cost_e10[leg.token] -= value_e10
        elif held > 0:
            # Selling takes cost out in proportion, so the average of what stays does not move.
            self.cost_e10[leg.token] += <int64_t>(
                <double>self.cost_e10[leg.token] * (<double>signed_micro / <double>held)
            )
        self.position_micro[leg.token] = held + signed_micro
        if self.position_micro[leg.token] <= 0 or self.cost_e10[leg.token] < 0:
            self.cost_e10[leg.token] = 0
        if leg.side == BUY:
            self.bought_micro[leg.token] += sign * leg.size_micro
        self.spent_e10 += sign * (value_e10 if leg.side == BUY else -value_e10)

    def position(self) -> tuple[int, int]:
        """Up and Down shares held, 1e-6, provisional fills included."""
        return self.position_micro[0], self.position_micro[1]

    def confirmed(self) -> tuple[int, int]:
        """Up and Down shares of confirmed fills, 1e-6."""
        return self.confirmed_micro[0], self.confirmed_micro[1]

    def cost(self) -> tuple[float, float]:
        """Dollars paid for the present Up and Down position."""
        return self.cost_e10[0] / 1e10, self.cost_e10[1] / 1e10

    def counts(self) -> dict[str, int]:
        """orders, placed_micro, fills, foreign, failed_legs, live."""
        return {
            "orders": self.orders,
            "placed_micro": self.placed_micro,
            "fills": self.fills,
            "foreign": self.foreign,
            "failed_legs": self.failed_legs,
            "live": self.n_live,
        }

    def orders_live(self) -> list[dict[str, object]]:
        """The possibly-live orders, for people to look at: plain values, a copy."""
        return [
            {
                "key": self.live[i].key,
                "state": STATE_NAMES[self.live[i].state],
                "token": self.live[i].token,
                "side": self.live[i].side,
                "level": self.live[i].level,
                "price_e4": self.live[i].price_e4,
                "original_micro": self.live[i].original_micro,
                "remaining_micro": self.remaining_c(&self.live[i]),
                "ahead_micro": self.live[i].queue.ahead_micro if self.live[i].queue.settled else None,
                "cancel_sent": bool(self.live[i].cancel_sent),
            }
            for i in range(self.n_live)
        ]
