"""Own orders and position of one market, moved by evidence only.

An order leaves the table of possibly-live orders on proof alone; `evidence.pyx` has the table of what proves
what. No answer is not proof: UNKNOWN counts as alive in every limit. Ended orders stay on a watch list,
because a fill may still name them and a query may contradict their end.

A fill leg is keyed by (trade, own order): repeats change nothing. The first terminal stage wins and FAILED
voids the leg once; the other terminal stage after it is a conflict that closes trading, and the only evidence
whose order matters. Token and side of a leg come from our own order, a maker's price too; of a leg that is
told with two sizes, the larger counts.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

import numpy as np

from invmm._ext.evidence cimport (
    ALARM_REFUSED_ALIVE,
    ALARM_REVIVED,
    ORDER_DEAD,
    ORDER_FILLED,
    ORDER_PREPARED,
    ORDER_SENT,
    ORDER_UNKNOWN,
    SAID_LEG,
    SAID_REJECTED,
    evidence_alarms_c,
    evidence_fence_c,
    evidence_join_c,
    evidence_state_c,
    order_t,
)
from invmm._ext.records cimport (
    BUY,
    FLAG_TAKER,
    STATUS_CANCELED,
    STATUS_TRADE_CONFIRMED,
    STATUS_TRADE_FAILED,
    STATUS_TRADE_MATCHED,
    command_t,
    event_t,
)

from invmm import types

cdef extern from *:
    """
    static inline long long share_of(long long value, long long part, long long whole) {
        return (long long)((__int128)value * part / whole);
    }
    """
    int64_t share_of(int64_t value, int64_t part, int64_t whole) noexcept nogil

cdef tuple STATE_NAMES = ("none", "prepared", "sent", "live", "unknown", "dead", "filled")
cdef int64_t SECOND_NS = 1000000000


@cython.final
cdef class Registry:
    """Own orders and position of one market; see the module's first lines for its rules."""

    def __cinit__(self):
        # Zeroed by the system page by page: what is never used costs nothing.
        self.ended = <order_t*> calloc(MAX_ENDED, sizeof(order_t))
        self.legs = <fill_leg_t*> calloc(FILL_SLOTS, sizeof(fill_leg_t))
        if self.ended == NULL or self.legs == NULL:
            raise MemoryError("no memory for the tables of own orders and fills")
        self.fence.early_ns = 60 * SECOND_NS
        self.fence.clock_bound_ns = SECOND_NS

    def __dealloc__(self):
        free(self.ended)
        free(self.legs)

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
        self.orders_version += 1
        self.placed_micro += command.size_micro
        return order

    cdef int64_t remaining_c(self, const order_t* order) noexcept nogil:
        """Shares that still rest, as far as is told."""
        cdef int64_t matched = max(order.filled_micro, order.hinted_micro)

        return order.original_micro - matched if order.original_micro > matched else 0

    cdef int64_t exposed_c(self, const order_t* order) noexcept nogil:
        """Shares that count in no position yet: for limits. Matched ones count until their fills are told."""
        return order.original_micro - order.filled_micro if order.original_micro > order.filled_micro else 0

    cdef void end_c(self, order_t* order) noexcept nogil:
        """Moves an order to the watch list; `order` points into the live table and is invalid afterwards."""
        cdef int last = self.n_live - 1

        self.ended[self.n_ended % MAX_ENDED] = order[0]
        self.n_ended += 1
        order[0] = self.live[last]
        self.n_live = last

    cdef int settle_c(self, order_t* order, bint ended, int64_t now_ns, bint changed) noexcept nogil:
        """Gives an order the state of its record, in the table where it belongs. APPLIED if that or
        `changed` says that something is different now.
        """
        cdef:
            uint8_t state = evidence_state_c(order)
            bint over = state == ORDER_DEAD or state == ORDER_FILLED

        if state == order.state:
            self.orders_version += changed
            return APPLIED if changed else IGNORED
        self.orders_version += 1
        if state == ORDER_UNKNOWN:
            if order.unknown_ns == 0:
                order.unknown_ns = now_ns
        elif not over:
            order.unknown_ns = 0
        if ended and not over:
            if self.n_live == MAX_LIVE:
                self.full += 1
                return TABLE_FULL
            order.state = state
            order.cancel_sent = 0
            self.live[self.n_live] = order[0]
            self.n_live += 1
            order.key = 0
            return APPLIED
        order.state = state
        if over and not ended:
            self.end_c(order)
        # That its bytes leave is nothing to decide anew for.
        return APPLIED if changed or state != ORDER_SENT else IGNORED

    cdef int apply_event_c(self, const event_t* event) noexcept nogil:
        """Takes one ORDER_RESULT or USER_EVENT. APPLIED, IGNORED, FOREIGN or TABLE_FULL."""
        cdef:
            order_t* order
            bint ended = False

        if event.status >= STATUS_TRADE_MATCHED:
            return self.apply_leg_c(event)
        order = self.find_c(event.key)
        if order == NULL:
            order = self.find_ended_c(event.key)
            ended = True
            if order == NULL or event.key == 0:
                self.foreign += 1
                return FOREIGN
        return self.settle_c(
            order, ended, event.time_ns,
            self.join_c(order, event) and (not ended or event.status == STATUS_CANCELED),
        )

    cdef bint join_c(self, order_t* order, const event_t* event) noexcept nogil:
        """Adds evidence to an order's record; whether more than its state may be different now."""
        cdef:
            int64_t original_micro = order.original_micro
            int before = evidence_alarms_c(order)
            int alarms
            bint changed = evidence_join_c(order, event, &self.fence)

        self.placed_micro -= original_micro - order.original_micro
        alarms = evidence_alarms_c(order) & ~before
        self.contradicted += (alarms & ALARM_REFUSED_ALIVE) != 0
        self.revived += (alarms & ALARM_REVIVED) != 0
        return changed

    cdef int apply_leg_c(self, const event_t* event) noexcept nogil:
        """One stage of one fill leg."""
        cdef:
            uint64_t slot = (
                event.trade * <uint64_t>0x9E3779B97F4A7C15 ^ event.key * <uint64_t>0xC2B2AE3D27D4EB4F
            ) >> 40
            fill_leg_t* leg
            order_t* order = self.find_c(event.key)
            bint ended = order == NULL
            bint changed = False
            int probe

        if ended:
            order = self.find_ended_c(event.key)
        for probe in range(FILL_SLOTS):
            leg = &self.legs[(slot + <uint64_t>probe) & (FILL_SLOTS - 1)]
            if leg.trade == 0 or (leg.trade == event.trade and leg.key == event.key):
                break
        else:
            self.full += 1
            return TABLE_FULL
        if leg.trade == 0:
            if order == NULL or event.key == 0:
                self.foreign += 1
                return FOREIGN
            if self.n_legs >= FILL_SLOTS - 1:
                self.full += 1
                return TABLE_FULL
            self.n_legs += 1
            self.fills += 1
            leg.trade = event.trade
            leg.key = event.key
            leg.status = STATUS_TRADE_MATCHED
            leg.token, leg.side = order.token, order.side
            leg.price_e4 = order.price_e4
            order.said |= SAID_LEG
            order.queue.ahead_micro = 0
            self.revise_c(leg, event, order)
            self.settle_leg_c(leg, 1, False)
            changed = True
        elif self.revise_c(leg, event, order):
            changed = True
        if event.status == STATUS_TRADE_CONFIRMED or event.status == STATUS_TRADE_FAILED:
            if leg.status == STATUS_TRADE_CONFIRMED or leg.status == STATUS_TRADE_FAILED:
                if leg.status != event.status and not leg.conflict & LEG_TERMINAL_CONFLICT:
                    leg.conflict |= LEG_TERMINAL_CONFLICT
                    self.terminal_conflicts += 1  # the first terminal stage stays
                    changed = True
            else:
                leg.status = event.status
                self.settle_leg_c(leg, -1, False)
                if event.status == STATUS_TRADE_FAILED:
                    self.failed_legs += 1
                    self.move_c(leg, -1)
                    if order != NULL:
                        order.failed_micro += leg.size_micro
                else:
                    self.settle_leg_c(leg, 1, True)
                changed = True
        elif leg.status != STATUS_TRADE_CONFIRMED and leg.status != STATUS_TRADE_FAILED:
            leg.status = max(leg.status, event.status)
        if order == NULL:  # so many orders ended after it that its record is gone; its legs are not
            return APPLIED if changed else IGNORED
        return self.settle_c(order, ended, event.time_ns, changed)

    cdef bint revise_c(self, fill_leg_t* leg, const event_t* event, order_t* order) noexcept nogil:
        """Size and price of a leg as told now: the larger size and, of a taker, the worse price count.

        A maker is filled at its own price; a taker may be improved, so the venue's price counts.
        """
        cdef:
            int64_t size_micro = max(leg.size_micro, event.size_micro)
            int32_t price_e4 = leg.price_e4
            bint first = leg.size_micro == 0
            bint standing = leg.status != STATUS_TRADE_FAILED

        if event.flags & FLAG_TAKER and event.price_e4:
            if not leg.taker:
                price_e4 = event.price_e4
            elif leg.side == BUY:
                price_e4 = max(price_e4, event.price_e4)
            else:
                price_e4 = min(price_e4, event.price_e4)
        if not first and (
            event.size_micro != leg.size_micro
            or (leg.taker and event.price_e4 and event.price_e4 != leg.price_e4)
        ):
            if not leg.conflict & LEG_SIZE_CONFLICT:
                leg.conflict |= LEG_SIZE_CONFLICT
                self.size_conflicts += 1
        if not first and size_micro == leg.size_micro and price_e4 == leg.price_e4:
            return False
        if not first:
            if standing:
                self.move_c(leg, -1)
                self.settle_leg_c(leg, -1, leg.status == STATUS_TRADE_CONFIRMED)
        if order != NULL:
            order.filled_micro += size_micro - leg.size_micro
            if not standing:
                order.failed_micro += size_micro - leg.size_micro
        leg.size_micro = size_micro
        leg.price_e4 = price_e4
        leg.taker = leg.taker or (event.flags & FLAG_TAKER) != 0
        if first:
            self.move_c(leg, 1)
        elif standing:
            self.move_c(leg, 1)
            self.settle_leg_c(leg, 1, leg.status == STATUS_TRADE_CONFIRMED)
        return True

    cdef void settle_leg_c(self, const fill_leg_t* leg, int sign, bint confirmed) noexcept nogil:
        """Counts a leg as unsettled or confirmed (sign 1), or no longer as that (sign −1)."""
        if confirmed:
            self.confirmed_micro[leg.token] += sign * (leg.size_micro if leg.side == BUY else -leg.size_micro)
            self.settlement_version += 1
        elif leg.side == BUY:
            self.unsettled_buys_micro[leg.token] += sign * leg.size_micro
            self.unsettled_e10 += sign * <int64_t>leg.price_e4 * leg.size_micro
        else:
            self.unsettled_sells_micro[leg.token] += sign * leg.size_micro

    cdef void move_c(self, const fill_leg_t* leg, int sign) noexcept nogil:
        """Books a leg (sign 1) or takes it back (sign −1).

        What the position cost is its share of all that was bought, at the average price: no order of events
        changes that.
        """
        cdef:
            int64_t value_e10 = <int64_t>leg.price_e4 * leg.size_micro
            int token = leg.token

        self.inventory_version += 1
        if leg.side == BUY:
            self.position_micro[token] += sign * leg.size_micro
            self.bought_micro[token] += sign * leg.size_micro
            self.bought_e10[token] += sign * value_e10
            self.spent_e10 += sign * value_e10
        else:
            self.position_micro[token] -= sign * leg.size_micro
            self.spent_e10 -= sign * value_e10
        self.price_c(token)

    cdef void price_c(self, int token) noexcept nogil:
        """What the position in a token has cost."""
        cdef int64_t held = self.position_micro[token]

        if held <= 0:
            self.cost_e10[token] = 0
        elif held >= self.bought_micro[token]:
            self.cost_e10[token] = self.bought_e10[token]
        else:
            self.cost_e10[token] = share_of(self.bought_e10[token], held, self.bought_micro[token])

    # ---- for Python ----------------------------------------------------------------------------------------

    def set_fence(
        self, int64_t early_expiry_ns=60 * SECOND_NS, int64_t clock_bound_ns=SECOND_NS, int64_t resolved_ns=0
    ) -> None:
        """What fences are made of: how long before its stated expiration the venue ends an order, how far its
        clock may be from the engine's, and when the market was known to be resolved (0: it is not).
        """
        self.fence.early_ns, self.fence.clock_bound_ns = early_expiry_ns, clock_bound_ns
        self.fence.resolved_ns = max(self.fence.resolved_ns, resolved_ns)

    def add(self, command) -> bool:
        """Takes a placement, one `COMMAND_DTYPE` record; False when there are too many possibly-live orders.
        """
        cdef const uint8_t[::1] record = record_bytes(command, types.COMMAND_DTYPE)
        cdef const command_t* placement = <const command_t*> &record[0]

        if placement.key == 0 or self.find_c(placement.key) or self.find_ended_c(placement.key):
            raise ValueError(f"key: expected a new one above 0, got {placement.key}")
        return self.add_c(placement) != NULL

    def apply(self, event) -> int:
        """Takes one piece of evidence, an `EVENT_DTYPE` record; 1 applied, 0 nothing new, −1 it names no
        order of ours, −2 no room.
        """
        cdef const uint8_t[::1] record = record_bytes(event, types.EVENT_DTYPE)

        return self.apply_event_c(<const event_t*> &record[0])

    def position(self) -> tuple[int, int]:
        """Up and Down shares held, 1e-6, provisional fills included."""
        return self.position_micro[0], self.position_micro[1]

    def confirmed(self) -> tuple[int, int]:
        """Up and Down shares of confirmed fills, 1e-6."""
        return self.confirmed_micro[0], self.confirmed_micro[1]

    def interval(self, int token) -> tuple[int, int]:
        """Least and most shares of a token (1e-6) that are held once every provisional fill has ended."""
        if not 0 <= token <= 1:
            raise IndexError(f"token: expected 0 or 1, got {token}")
        return (
            self.confirmed_micro[token] - self.unsettled_sells_micro[token],
            self.confirmed_micro[token] + self.unsettled_buys_micro[token],
        )

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

    def alarms(self) -> dict[str, int]:
        """What should never happen, counted: terminal_conflicts, size_conflicts, revived, contradicted, full.
        """
        return {
            "terminal_conflicts": self.terminal_conflicts,
            "size_conflicts": self.size_conflicts,
            "revived": self.revived,
            "contradicted": self.contradicted,
            "full": self.full,
        }

    def orders_live(self) -> list[dict[str, object]]:
        """The possibly-live orders, for people to look at: plain values, a copy."""
        return [plain_order(self, &self.live[i]) for i in range(self.n_live)]

    def unknown(self) -> list[tuple[int, int]]:
        """Key and time (engine clock, ns) of each order of unknown fate: since when it is."""
        return [
            (self.live[i].key, self.live[i].unknown_ns)
            for i in range(self.n_live)
            if self.live[i].state == ORDER_UNKNOWN
        ]

    def order(self, uint64_t key) -> dict[str, object] | None:
        """One order in any state, as in `orders_live`; None when it is not known (any more)."""
        cdef order_t* found = self.find_c(key)

        if found == NULL:
            found = self.find_ended_c(key)
        return None if found == NULL or key == 0 else plain_order(self, found)

    def legs_of(self, uint64_t key) -> list[dict[str, object]]:
        """The fill legs of one order: trade, size_micro, price_e4, status, taker, conflict."""
        cdef int i

        return [
            {
                "trade": self.legs[i].trade,
                "size_micro": self.legs[i].size_micro,
                "price_e4": self.legs[i].price_e4,
                "status": self.legs[i].status,
                "taker": bool(self.legs[i].taker),
                "conflict": bool(self.legs[i].conflict),
            }
            for i in range(FILL_SLOTS)
            if self.legs[i].trade and self.legs[i].key == key
        ]


cdef dict plain_order(Registry registry, const order_t* order):
    return {
        "key": order.key,
        "state": STATE_NAMES[order.state],
        "token": order.token,
        "side": order.side,
        "level": order.level,
        "price_e4": order.price_e4,
        "original_micro": order.original_micro,
        "filled_micro": order.filled_micro,
        "failed_micro": order.failed_micro,
        "hinted_micro": order.hinted_micro,
        "remaining_micro": registry.remaining_c(order),
        "ahead_micro": order.queue.ahead_micro if order.queue.settled else None,
        "cancel_sent": bool(order.cancel_sent),
        "rejected": bool(order.said & SAID_REJECTED),
        "reason": order.reason,
        "sent_ns": order.sent_ns,
        "seen_ns": order.seen_ns,
        "ended_ns": order.ended_ns,
        "unknown_ns": order.unknown_ns,
        "fence_ns": evidence_fence_c(order, &registry.fence),
    }


cdef object record_bytes(object given, object dtype):
    """The bytes of one record of a dtype."""
    record = np.asarray(given)
    if record.dtype != dtype or record.size != 1:
        raise TypeError(f"expected one record of {dtype.names[:3]}…, got {record.size} of {record.dtype}")
    return np.frombuffer(record.tobytes(), dtype=np.uint8)
