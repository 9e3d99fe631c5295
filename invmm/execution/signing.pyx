"""Orders of all markets: which template writes a token's orders; one order's text, signed now or ahead."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from invmm._ext.amounts cimport (
    RULE_CAP_RATE,
    RULE_CAP_TOKEN,
    RULE_CLOSED,
    RULE_MIN_NOTIONAL,
    RULE_MIN_SIZE,
)
from invmm._ext.atomics cimport atomic_load_acquire, atomic_store_release
from invmm._ext.gate cimport LEGS_MAX
from invmm._ext.records cimport BUY, command_t
from invmm._ext.ring cimport ring_monotonic_ns
from invmm._ext.template cimport OrderTemplate, sealed_t
from invmm.execution.requests cimport BODY_ROOM

cdef enum:
    REASON_BELOW_MIN_SIZE = 28  # Reason
    REASON_SHUTDOWN = 32
    REASON_VENUE_REJECTED = 40
    REASON_VENUE_NOT_READY = 43
    REASON_SIGNER_CAP = 45
    AHEAD_PAUSE_NS = 10_000_000     # between two looks for orders that could be signed ahead

cdef const char* REHEARSED = b"no order has this as its digest!"     # 32 bytes


@cython.final
cdef class OrderSigning:
    """The templates of `markets` markets, two tokens each. Executor thread, but for `set_template`."""

    def __cinit__(self, uint32_t markets):
        self.markets = markets
        self.templates = {}
        self.retired = []
        self.places = <void**>calloc(2 * markets, sizeof(void*))
        if self.places == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.places)

    def __reduce__(self):
        raise TypeError("OrderSigning may sign: it cannot be pickled or copied")

    def set_template(self, uint32_t market, int token, OrderTemplate template):
        """How a market's token is ordered; None: no longer at all. From any thread, at any time."""
        cdef uint64_t place

        if market >= self.markets or token not in (0, 1):
            raise IndexError(
                f"market, token: expected below {self.markets} and 0 or 1, got {market}, {token}"
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
        # The executor thread may be signing with the old one at this moment; `let_go` lets it go.
        if former is not None:
            self.retired.append(former)

    def let_go(self):
        """Templates that were replaced, while none is in use."""
        self.retired.clear()

    cdef int sign_c(
        self, command_t* leg, int64_t unix_ms, char* at, size_t room, int* rule
    ) noexcept nogil:
        """Writes one order; its length, or the negative of a Reason with the broken rule in `rule`.

        The leg is given the order's id and salt, and the shares that its amounts state: rounded down by the
        venue's rules.
        """
        cdef:
            uint32_t place = 2 * leg.market + leg.token
            void* template = <void*>atomic_load_acquire(<uint64_t*>&self.places[place])
            int size

        rule[0] = 0
        if template == NULL:        # taken away since the gate looked
            return -REASON_VENUE_NOT_READY
        size = self.build_c(leg, place, <OrderTemplate>template, unix_ms, at, room)
        if size >= 0:
            return size
        rule[0] = size
        if size == RULE_MIN_SIZE or size == RULE_MIN_NOTIONAL:
            return -REASON_BELOW_MIN_SIZE
        if RULE_CAP_RATE <= size <= RULE_CAP_TOKEN:
            return -REASON_SIGNER_CAP
        return -REASON_SHUTDOWN if size == RULE_CLOSED else -REASON_VENUE_REJECTED

    cdef int build_c(
        self, command_t* leg, uint32_t place, OrderTemplate template, int64_t unix_ms, char* at, size_t room
    ) noexcept nogil:
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

    cdef void ahead_c(self, bint allowed, int64_t unix_ms) noexcept nogil:
        """Signs one order ahead; when there is none to sign, the next look is some time away."""
        if not allowed:
            self.ahead.drop_c()
        elif self.ahead.fill_c(self.places, unix_ms):
            return
        self.ahead_after_ns = ring_monotonic_ns() + AHEAD_PAUSE_NS

    cdef bint rehearse_signature_c(self) noexcept nogil:
        """Signs what is no order and no hash of one; False when there is no key."""
        cdef:
            uint8_t[65] signature
            uint64_t signer = atomic_load_acquire(&self.rehearsing)

        if signer == 0:
            return False
        (<OrderTemplate><void*>signer).keys.sign_c(<const uint8_t*>REHEARSED, signature)
        return True

    cdef void rehearse_body_c(self, char* at, size_t room) noexcept nogil:
        """Renders an order that has no signature."""
        cdef:
            command_t command
            sealed_t sealed
            int64_t maker = 0, taker = 0
            uint64_t signer = atomic_load_acquire(&self.rehearsing)

        if signer == 0:
            return
        memset(&command, 0, sizeof(command))
        memset(&sealed, 0, sizeof(sealed))
        command.price_e4 = (<OrderTemplate><void*>signer).tick_e4
        command.size_micro = 100_000_000
        (<OrderTemplate><void*>signer).admit_c(&command, 1, &maker, &taker)
        (<OrderTemplate><void*>signer).render_c(&command, &sealed, at, room)
