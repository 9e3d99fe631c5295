"""Orders signed before anybody asks for them, for the prices at which the next quotes are likely.

A market maker that moves a ladder asks for the same size again a few ticks from where it last quoted. So what
is likely is read off the orders themselves: each resting order that is sent names a *lane* (market, token,
side, size); the middle of the prices that went together last is its centre, and it holds one order at each of
sixteen neighbouring prices, nearest first.
On recorded markets that serves 97 of 100 quotes; takes are of any size and open no lane.

    note_c   a quote was sent: its lane moves there
    fill_c   signs the one order that is missed most; called while there is nothing else to do
    take_c   the order that was prepared for a command, once, or NULL

A prepared order is whole: own salt, own timestamp, so an id of its own, the deterministic nonce of any other
signature. What the signature does not cover (order type, expiration, post-only) is written when it is sent.
It is given out at most once, and never when its template was replaced (exchange, token, wallet), when the
market's tick is another one by now, or when it is older than `max_age_ms`. The rules of the venue and the
caps of the signer are asked again for the command that it is used for.

Bounded: `limit` slots, allocated once. Reads no clock, draws no random number; one thread.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from invmm._ext.atomics cimport atomic_load_acquire
from invmm._ext.records cimport COMMAND_PLACE, FOK, GTC, command_t
from invmm._ext.template cimport OrderTemplate, sealed_t

cdef enum:
    WIDTH = 16                  # prices of a lane: eight ticks below its centre to seven above
    LANE_MS = 60_000            # a lane without a quote for so long is no longer kept filled
    MAX_LIMIT = 4_096


@cython.final
cdef class SignedAhead:
    """Up to `limit` prepared orders.

    Parameters
    ----------
    limit : int
        1 to 4096; in lanes of sixteen, the lane that was quoted longest ago gives way to a new one.
    max_age_ms : int
        From 1. A prepared order carries the time of its signing; from three quarters of this age on it is
        replaced when there is time.
    seed : int
        Of the salts, below 2^64: from a random source, so that no two runs draw the same.
    """

    def __cinit__(self, limit, max_age_ms, seed):
        if not isinstance(limit, int) or not 0 < limit <= MAX_LIMIT:
            raise ValueError(f"limit: expected 1 to {MAX_LIMIT} orders, got {limit!r}")
        if not isinstance(max_age_ms, int) or not 0 < max_age_ms < 1 << 40:
            raise ValueError(f"max_age_ms: expected 1 or more, got {max_age_ms!r}")
        if not isinstance(seed, int) or not 0 <= seed < 1 << 64:
            raise ValueError("seed: expected a number below 2^64")
        self.limit = limit
        self.max_age_ms = max_age_ms
        self.salt_state = seed
        self.width = min(limit, WIDTH)
        self.n_lanes = limit // self.width
        self.lanes = <lane_t*>calloc(self.n_lanes, sizeof(lane_t))
        self.slots = <slot_t*>calloc(self.n_lanes * self.width, sizeof(slot_t))
        if self.lanes == NULL or self.slots == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.lanes)
        free(self.slots)

    def __reduce__(self):
        raise TypeError("SignedAhead holds signatures: it cannot be pickled or copied")

    # ---- nogil ---------------------------------------------------------------------------------------------

    cdef void note_c(self, uint32_t place, const command_t* command, int64_t now_ms) noexcept nogil:
        """A command is being sent; all that go together are noted at the same `now_ms`. The lane of a resting
        order moves to where it goes; anything else is no hint.
        """
        cdef:
            lane_t* lane
            size_t i

        if command.order_type >= FOK:
            return
        lane = self.find_c(place, command.side, command.size_micro)
        if lane == NULL:
            lane = self.lanes
            for i in range(1, self.n_lanes):
                if self.lanes[i].turn < lane.turn:
                    lane = self.lanes + i
            for i in range(self.width):
                self.empty_c(self.slots + (lane - self.lanes) * self.width + i)
            lane.turn = 0
            lane.place = place
            lane.side = command.side
            lane.size_micro = command.size_micro
        if lane.turn == 0 or lane.noted_ms != now_ms:
            lane.low_e4 = lane.high_e4 = command.price_e4
        lane.low_e4 = min(lane.low_e4, command.price_e4)
        lane.high_e4 = max(lane.high_e4, command.price_e4)
        lane.noted_ms = now_ms
        self.turn += 1
        lane.turn = self.turn

    cdef const sealed_t* take_c(
        self, uint32_t place, OrderTemplate template, const command_t* command, int64_t maker, int64_t taker,
        int64_t now_ms,
    ) noexcept nogil:
        """The order prepared for a command of these amounts, or NULL. It is valid until the next call, and
        will not be given again.
        """
        cdef:
            lane_t* lane = self.find_c(place, command.side, command.size_micro)
            slot_t* slot

        if lane != NULL:
            slot = self.slot_c(lane, command.price_e4, template.tick_e4)
            # A FOK or FAK may round its amounts otherwise than a resting order: amounts decide.
            if (
                self.fresh_c(slot, template, command.price_e4, now_ms, self.max_age_ms)
                and slot.sealed.maker == maker and slot.sealed.taker == taker
            ):
                slot.serial = 0
                self.used += 1
                return &slot.sealed
        self.missed += 1
        return NULL

    cdef bint fill_c(self, void** places, int64_t now_ms) noexcept nogil:
        """Signs one order, of those that are missing (or getting old) the nearest to its lane's centre.

        `places` holds each place's OrderTemplate, or NULL. False: nothing is missing.
        """
        cdef:
            const lane_t* lane
            void* place
            size_t i, step

        for step in range(self.width):
            for i in range(self.n_lanes):
                lane = self.lanes + i
                if lane.turn == 0 or not 0 <= now_ms - lane.noted_ms < LANE_MS:
                    continue
                # Read once: another thread may take it away.
                place = <void*><uint64_t>atomic_load_acquire(<uint64_t*>&places[lane.place])
                if place != NULL and self.sign_c(lane, <OrderTemplate>place, step, now_ms):
                    return True
        return False

    cdef void drop_c(self) noexcept nogil:
        """Forgets every prepared order and every lane: something about the rules has changed."""
        cdef size_t i

        for i in range(self.n_lanes * self.width):
            self.empty_c(self.slots + i)
        memset(self.lanes, 0, self.n_lanes * sizeof(lane_t))
        self.turn = 0

    cdef lane_t* find_c(self, uint32_t place, uint8_t side, int64_t size_micro) noexcept nogil:
        cdef:
            lane_t* lane
            size_t i

        for i in range(self.n_lanes):
            lane = self.lanes + i
            if lane.turn and lane.place == place and lane.side == side and lane.size_micro == size_micro:
                return lane
        return NULL

    cdef slot_t* slot_c(self, const lane_t* lane, int64_t price_e4, int64_t tick_e4) noexcept nogil:
        """The one slot of a lane in which a price can be."""
        return self.slots + (lane - self.lanes) * self.width + <size_t>(price_e4 // tick_e4) % self.width

    cdef void empty_c(self, slot_t* slot) noexcept nogil:
        if slot.serial:
            slot.serial = 0
            self.dropped += 1

    cdef bint fresh_c(
        self, const slot_t* slot, OrderTemplate template, int64_t price_e4, int64_t now_ms, int64_t age_ms
    ) noexcept nogil:
        """Whether a slot holds an order at this price, made under the present rules and not too long ago."""
        return (
            slot.serial == template.serial
            and slot.tick_e4 == template.tick_e4
            and slot.price_e4 == price_e4
            and 0 <= now_ms - slot.sealed.timestamp_ms <= age_ms
        )

    cdef bint sign_c(
        self, const lane_t* lane, OrderTemplate template, size_t step, int64_t now_ms
    ) noexcept nogil:
        """Signs an order at the `step`-th price of a lane; False: it is there, or there can be none."""
        cdef:
            command_t command
            slot_t* slot
            int64_t tick, price_e4, maker = 0, taker = 0

        if template.tick_e4 <= 0:
            return False
        # 0, -1, 1, -2, 2 … ticks from the centre: as many neighbours as a lane has slots, each in its own.
        tick = (lane.low_e4 + lane.high_e4) // 2 // template.tick_e4
        if step & 1:
            tick -= (step + 1) // 2
        else:
            tick += step // 2
        price_e4 = tick * template.tick_e4
        if tick <= 0 or price_e4 >= 10_000:
            return False
        slot = self.slot_c(lane, price_e4, template.tick_e4)
        if self.fresh_c(slot, template, price_e4, now_ms, self.max_age_ms - self.max_age_ms // 4):
            return False
        memset(&command, 0, sizeof(command))
        command.kind = COMMAND_PLACE
        command.side = lane.side
        command.order_type = GTC
        command.price_e4 = <int32_t>price_e4
        command.size_micro = lane.size_micro
        command.salt = self.salt_c()
        self.empty_c(slot)
        if template.admit_c(&command, now_ms, &maker, &taker):
            return False
        if template.seal_c(&command, maker, taker, now_ms, &slot.sealed, True):
            return False
        slot.serial = template.serial
        slot.tick_e4 = template.tick_e4
        slot.price_e4 = <int32_t>price_e4
        self.signed += 1
        return True

    cdef uint64_t salt_c(self) noexcept nogil:
        """Next value of splitmix64 (Steele, Lea, Flood 2014), cut to 53 bits: exact in a JSON number."""
        cdef uint64_t z

        self.salt_state += <uint64_t>0x9E3779B97F4A7C15
        z = self.salt_state
        z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
        z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
        return (z ^ (z >> 31)) >> 11

    # ---- the same with the GIL -----------------------------------------------------------------------------

    def note(self, uint32_t place, const uint8_t[::1] command not None, int64_t now_ms):
        """A command (the 128 bytes of one `COMMAND_DTYPE` record) is being sent at unix time `now_ms`."""
        cdef command_t record

        record_of(command, &record)
        self.note_c(place, &record, now_ms)

    def fill(self, templates, int64_t now_ms):
        """Signs one order if one is missing; whether it did. `templates`: of each place, or None."""
        cdef void** places = <void**>calloc(len(templates) + 1, sizeof(void*))
        cdef size_t i

        if places == NULL:
            raise MemoryError
        try:
            for i in range(self.n_lanes):
                if self.lanes[i].turn and self.lanes[i].place >= <size_t>len(templates):
                    raise IndexError(f"templates: expected one of place {self.lanes[i].place}")
            for i, template in enumerate(templates):
                if template is not None:
                    places[i] = <void*><OrderTemplate?>template
            return self.fill_c(places, now_ms)
        finally:
            free(places)

    def take(
        self, uint32_t place, OrderTemplate template not None, const uint8_t[::1] command not None,
        int64_t now_ms,
    ):
        """(order id, body) of the order prepared for a command, or None.

        None as well where the command breaks a rule of the venue or a cap of the signer.
        """
        cdef command_t record
        cdef int64_t maker = 0, taker = 0
        cdef const sealed_t* sealed
        cdef char* body
        cdef int size

        record_of(command, &record)
        if template.admit_c(&record, now_ms, &maker, &taker):
            return None
        sealed = self.take_c(place, template, &record, maker, taker, now_ms)
        if sealed == NULL or template.release_c(&record, now_ms):
            return None
        body = <char*>calloc(1, template.body_capacity)
        if body == NULL:
            raise MemoryError
        try:
            size = template.render_c(&record, sealed, body, template.body_capacity)
            return (<const char*>sealed.order_id)[:32], body[:size]
        finally:
            free(body)

    def drop(self):
        """Forgets every prepared order and every lane."""
        self.drop_c()

    def counts(self):
        """Since the start: orders signed, used, missed (none was ready for a command) and dropped unused."""
        return {"signed": self.signed, "used": self.used, "missed": self.missed, "dropped": self.dropped}

    def held(self):
        """What is prepared: (place, side, price_e4, size_micro, timestamp_ms) of each order, of any age."""
        cdef size_t i

        return [
            (
                self.lanes[i // self.width].place,
                self.lanes[i // self.width].side,
                self.slots[i].price_e4,
                self.lanes[i // self.width].size_micro,
                self.slots[i].sealed.timestamp_ms,
            )
            for i in range(self.n_lanes * self.width)
            if self.slots[i].serial
        ]


cdef int record_of(const uint8_t[::1] command, command_t* record) except -1:
    if command.shape[0] != sizeof(command_t):
        raise ValueError(f"command: expected {sizeof(command_t)} bytes, found {command.shape[0]}")
    memcpy(record, &command[0], sizeof(command_t))
    return 0
