"""Caps that live with the key: what an order must be to get a signature at all.

Takes the command that is about to be signed, its token and the time; gives 0 or a negative `RULE_CAP_*`. The
checks run inside the compiled signing path, without the GIL and without allocation, so no caller of a signer
goes round them. They are a second fence behind the engine's limits: wide enough never to be met by a sound
engine, narrow enough to bound what a broken one can do with the key.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from invmm._ext.amounts cimport (
    RULE_CAP_NOTIONAL,
    RULE_CAP_PRICE,
    RULE_CAP_RATE,
    RULE_CAP_SIZE,
    RULE_CAP_TOKEN,
    RULE_TIMESTAMP,
)
from invmm._ext.atomics cimport (
    atomic_add,
    atomic_load_acquire,
    atomic_load_relaxed,
    atomic_replace,
    atomic_store_release,
)
from invmm._ext.eip712 cimport word_of
from invmm._ext.records cimport command_t


cdef int64_t UNLIMITED_MICRO = 100_000_000_000_000      # what the amount rules allow at most
cdef int64_t LATEST_MS = 100_000_000_000_000            # keeps microseconds inside int64


cdef int64_t number(str name, object value, int64_t low, int64_t high) except? -1:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name}: expected a whole number from {low} to {high}, found {value!r}")
    return value


cdef int word_of_token(object token_id, uint64_t* word) except -1:
    if not isinstance(token_id, str) or not token_id.isdecimal() or not token_id.isascii():
        raise ValueError(f"token id: expected a decimal string, found {token_id!r}")
    if len(token_id) > 78 or int(token_id) >> 256:
        raise ValueError(f"token id: expected a number below 2^256, found {token_id!r}")
    memcpy(word, PyBytes_AS_STRING(word_of(token_id)), 32)
    return 0


cdef inline bint same_token(const uint64_t* slot, const uint64_t* word) noexcept nogil:
    return (
        atomic_load_relaxed(slot + 1) == word[0]
        and atomic_load_relaxed(slot + 2) == word[1]
        and atomic_load_relaxed(slot + 3) == word[2]
        and atomic_load_relaxed(slot + 4) == word[3]
    )


@cython.final
cdef class SignerCaps:
    """The bounds inside which a signer signs.

    Parameters
    ----------
    tokens
        Outcome ids, decimal strings, that may be traded. None: any.
    frozen
        The list stays as it is. Otherwise `allow` and `forbid` change it, as whoever opens and closes markets
        does.
    min_price_e4, max_price_e4
        Range of limit prices in 1e-4 dollars, both ends included.
    max_size_micro
        Largest order in 1e-6 shares. A market buy states dollars: here it counts with the shares that it asks
        for at its worst price.
    max_notional_micro
        Largest price x size in micro-dollars, rounded up.
    orders_per_second, burst
        Lasting rate of orders and how many may come at once; 0 per second: not limited.

    Notes
    -----
    Time is the timestamp of the order, as the signing call gets it: there is no clock here. Time that runs
    backwards gives no new room, and a timestamp far ahead uses up the room until then.

    Every signature for an order is counted. One made ahead, for an order that may never be sent, has its own
    counter and takes nothing from the rate; it does so when it is released, and all caps are asked again
    then. Login signatures (`sign_auth`) order nothing and are not counted.
    """

    def __cinit__(
        self, tokens=None, *, min_price_e4=1, max_price_e4=9_999, max_size_micro=UNLIMITED_MICRO,
        max_notional_micro=UNLIMITED_MICRO, orders_per_second=0, burst=None, bint frozen=False,
    ):
        self.min_price_e4 = <int32_t>number("min_price_e4", min_price_e4, 1, 9_999)
        self.max_price_e4 = <int32_t>number("max_price_e4", max_price_e4, self.min_price_e4, 9_999)
        self.max_size_micro = number("max_size_micro", max_size_micro, 1, UNLIMITED_MICRO)
        self.max_notional_micro = number("max_notional_micro", max_notional_micro, 1, UNLIMITED_MICRO)
        self.orders_per_second = number("orders_per_second", orders_per_second, 0, 1_000_000)
        self.burst = number("burst", max(1, orders_per_second) if burst is None else burst, 1, 1_000_000)
        self.any_token = tokens is None
        if isinstance(tokens, str):
            raise ValueError("tokens: expected ids in a list, found one text")
        for token in tokens or ():
            self.allow(token)
        self.frozen = frozen

    def __repr__(self):
        return (
            f"SignerCaps({'any token' if self.any_token else f'{len(self.tokens())} tokens'}, "
            f"price {self.min_price_e4}…{self.max_price_e4}, size {self.max_size_micro}, "
            f"notional {self.max_notional_micro}, {self.orders_per_second or 'any'}/s)"
        )

    def __reduce__(self):
        raise TypeError("SignerCaps guard one signer's key: they cannot be pickled or copied")

    def allow(self, token_id not None):
        """Lets orders for a token be signed from now on. At most 512 tokens at the same time."""
        cdef uint64_t[4] word
        cdef size_t i, slots = CAP_SLOTS, free_slot = CAP_SLOTS
        if self.any_token:
            raise ValueError("tokens: these caps allow every token; give a list (it may be empty) first")
        word_of_token(token_id, word)
        if self.allows_c(<const uint8_t*>word):
            return
        if self.frozen:
            raise ValueError(f"token {token_id}: these caps are frozen and do not allow it")
        for i in range(slots):
            if not self.slots[5 * i]:
                free_slot = i
                break
        if free_slot == slots:
            raise ValueError(f"tokens: {CAP_SLOTS} are allowed already; forbid those that are over")
        for i in range(4):
            atomic_store_release(&self.slots[5 * free_slot + 1 + i], word[i])
        if free_slot >= self.slots_seen:
            atomic_store_release(&self.slots_seen, free_slot + 1)
        atomic_store_release(&self.slots[5 * free_slot], 1)

    def forbid(self, token_id not None):
        """Ends `allow`; nothing happens if the token was not allowed."""
        cdef uint64_t[4] word
        cdef size_t i
        if self.any_token:
            raise ValueError("tokens: these caps allow every token")
        if self.frozen:
            raise ValueError("tokens: these caps are frozen")
        word_of_token(token_id, word)
        for i in range(self.slots_seen):
            if self.slots[5 * i] and same_token(&self.slots[5 * i], word):
                atomic_store_release(&self.slots[5 * i], 0)

    def tokens(self):
        """The ids that are allowed, in no order; None if every token is."""
        cdef size_t i
        if self.any_token:
            return None
        return [
            str(int.from_bytes((<const uint8_t*>&self.slots[5 * i + 1])[:32], "big"))
            for i in range(self.slots_seen)
            if self.slots[5 * i]
        ]

    @property
    def counts(self):
        """How many were signed and sent off, signed ahead, released later, and refused by which cap."""
        cdef int i
        made = {
            "signed": self.tally[COUNT_SIGNED],
            "ahead": self.tally[COUNT_AHEAD],
            "released": self.tally[COUNT_RELEASED],
        }
        names = ("token", "price", "size", "notional", "rate")
        return made | {f"refused_{name}": self.tally[COUNT_REFUSED + i] for i, name in enumerate(names)}

    cdef bint allows_c(self, const uint8_t* token) noexcept nogil:
        """Whether a token (its id as 32 bytes, most significant first) may be traded.

        A slot that is given to another token while it is read cannot match either of two wrong ids: all 256
        bits are compared.
        """
        cdef uint64_t[4] word
        cdef size_t i, seen
        if self.any_token:
            return True
        memcpy(word, token, 32)
        seen = atomic_load_acquire(&self.slots_seen)
        for i in range(seen):
            if atomic_load_acquire(&self.slots[5 * i]) and same_token(&self.slots[5 * i], word):
                return True
        return False

    cdef int check_c(self, const command_t* command, int64_t time_ms) noexcept nogil:
        """0, or the cap on price, size or amount that the command breaks."""
        if command.price_e4 < self.min_price_e4 or command.price_e4 > self.max_price_e4:
            return RULE_CAP_PRICE
        if command.size_micro <= 0 or command.size_micro > self.max_size_micro:
            return RULE_CAP_SIZE
        # 1e-4 dollars x 1e-6 shares is 1e-10 dollars; at most 1e18, so it fits.
        if (command.price_e4 * command.size_micro + 9_999) // 10_000 > self.max_notional_micro:
            return RULE_CAP_NOTIONAL
        if time_ms <= 0 or time_ms > LATEST_MS:
            return RULE_TIMESTAMP
        return 0

    cdef int count_c(self, int64_t time_ms) noexcept nogil:
        """Takes one order out of the rate at `time_ms`; 0, or RULE_CAP_RATE and nothing is taken.

        The bucket is kept as the moment at which it is full again: each order moves that by one interval, and
        it may lie at most `burst` intervals ahead.
        """
        cdef uint64_t now_us, busy, interval_us, until
        if self.orders_per_second == 0:
            return 0
        if time_ms <= 0 or time_ms > LATEST_MS:
            return RULE_TIMESTAMP
        now_us = <uint64_t>time_ms * 1_000
        interval_us = <uint64_t>((1_000_000 + self.orders_per_second - 1) // self.orders_per_second)
        while True:
            busy = atomic_load_acquire(&self.busy_until_us)
            until = (busy if busy > now_us else now_us) + interval_us
            if until > now_us + <uint64_t>self.burst * interval_us:
                return RULE_CAP_RATE
            if atomic_replace(&self.busy_until_us, busy, until):
                return 0

    cdef int admit_c(self, const command_t* command, const uint8_t* token, int64_t time_ms) noexcept nogil:
        """For an order that goes out as soon as it is signed."""
        return self.decide_c(command, token, time_ms, COUNT_SIGNED)

    cdef int admit_ahead_c(
        self, const command_t* command, const uint8_t* token, int64_t time_ms
    ) noexcept nogil:
        """For an order that may never be sent: every cap but the rate."""
        return self.decide_c(command, token, time_ms, COUNT_AHEAD)

    cdef int release_c(self, const command_t* command, const uint8_t* token, int64_t time_ms) noexcept nogil:
        """For an order signed ahead that goes out at `time_ms`: every cap again, and the rate."""
        return self.decide_c(command, token, time_ms, COUNT_RELEASED)

    cdef int decide_c(
        self, const command_t* command, const uint8_t* token, int64_t time_ms, int count
    ) noexcept nogil:
        cdef int status = 0 if self.allows_c(token) else RULE_CAP_TOKEN
        if status == 0:
            status = self.check_c(command, time_ms)
        if status == 0 and count != COUNT_AHEAD:
            status = self.count_c(time_ms)
        if status == 0:
            atomic_add(&self.tally[count], 1)
        elif RULE_CAP_RATE <= status <= RULE_CAP_TOKEN:
            atomic_add(&self.tally[COUNT_REFUSED + RULE_CAP_TOKEN - status], 1)
        return status
