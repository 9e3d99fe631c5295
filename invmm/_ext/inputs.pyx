"""What one market's step tells the journal of inputs: all that its commands follow from, and why it quotes.

Every event goes there before it is applied, with the time of the step, and every command before it is pushed.
Of market messages only their number, size and checksum are kept, where the step may solve; with
`with_frames` the bytes are, too, and feeding them to a new step gives the same commands.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from invmm._ext.journal cimport (
    FLAG_MORE,
    KIND_BUFFER,
    KIND_COMMAND,
    KIND_ENDED,
    KIND_EVENT,
    KIND_ORDER,
    KIND_QUOTE,
    KIND_REVIVED,
    KIND_VENUE,
    crc32c_c,
    journaled_order_t,
    quote_t,
)
from invmm._ext.records cimport BUY, EVENT_BUFFER_END, EVENT_FRAME, EVENT_MODE

cdef enum:
    SOURCE_MARKET_FEED = 1      # Source
    SOURCE_EXECUTOR = 3
    NOTHING_TOLD = 255
    RECORDS_OF_A_STEP = 600     # commands, their market's orders and what led to them

cdef bytes NO_TOKEN = bytes(32)


cdef class InputLog:
    """Writes for one market.

    Parameters
    ----------
    journal : Journal or None
        Of inputs; None: nothing is kept, and all may be done.
    market : int
        Its number.
    up_token, down_token : bytes of 32
        Token ids, big-endian.
    with_frames : bool
        Whether the bytes of market messages are kept.
    """

    def __cinit__(self, Journal journal=None, uint32_t market=0, bytes up_token not None=NO_TOKEN,
                  bytes down_token not None=NO_TOKEN, bint with_frames=False):
        if len(up_token) != 32 or len(down_token) != 32:
            raise ValueError(f"token ids: expected 32 bytes each, got {len(up_token)} and {len(down_token)}")
        self.journal = journal
        self.market = market
        memcpy(self.token_ids[0], <const char*>up_token, 32)
        memcpy(self.token_ids[1], <const char*>down_token, 32)
        self.with_frames = with_frames
        self.told[0] = self.told[1] = NOTHING_TOLD

    def write_orders(self, Registry registry not None, int64_t now_ns):
        """One ORDER record for each order that may be alive, of a checkpoint; False if one found no room."""
        cdef int i

        for i in range(registry.n_live):
            if not self.order_c(KIND_ORDER, &registry.live[i], now_ns):
                return False
        return True

    cdef bint writable_c(self) noexcept nogil:
        """Whether there is room for all that a step may lead to."""
        return self.journal is None or self.journal.room_c() >= RECORDS_OF_A_STEP

    cdef void event_c(self, const event_t* event, int64_t now_ns) noexcept nogil:
        """What the step is told, but for market messages: see `frame_c`."""
        if self.journal is None or event.kind == EVENT_FRAME:
            return
        if event.kind == EVENT_BUFFER_END and self.frames:
            self.boundary_c(event.flags, now_ns)
        else:
            self.journal.append_c(KIND_EVENT, event, sizeof(event_t), now_ns, event.key)

    cdef void frame_c(self, const char* data, size_t size, int64_t now_ns) noexcept nogil:
        """One market message."""
        cdef event_t event

        if self.journal is None:
            return
        self.frames += 1
        self.frame_bytes += size
        self.frames_crc = crc32c_c(self.frames_crc, data, size)
        if not self.with_frames:
            return
        memset(&event, 0, sizeof(event))
        event.kind = EVENT_FRAME
        event.source = SOURCE_MARKET_FEED
        event.market = self.market
        event.length = <uint32_t>size
        if self.journal.put_c(
            KIND_EVENT, FLAG_MORE if size else 0, &event, sizeof(event), now_ns, 0
        ):
            self.journal.append_bytes_c(<const uint8_t*>data, size, now_ns)

    cdef void boundary_c(self, uint16_t flags, int64_t now_ns) noexcept nogil:
        """All that was received is applied: the step may solve now."""
        cdef event_t event

        if self.journal is None:
            return
        memset(&event, 0, sizeof(event))
        event.kind = EVENT_BUFFER_END
        event.source = SOURCE_MARKET_FEED
        event.flags = flags
        event.market = self.market
        event.offset = self.frames
        event.length = <uint32_t>min(self.frame_bytes, <uint64_t>0xFFFFFFFF)
        event.padding = self.frames_crc
        self.journal.append_c(KIND_BUFFER, &event, sizeof(event), now_ns, self.frame_bytes)
        self.frames = self.frame_bytes = 0
        self.frames_crc = 0

    cdef void venue_c(
        self, uint64_t mode, uint64_t stop, uint64_t missed, int64_t now_ns
    ) noexcept nogil:
        """What the executor publishes about the venue, when it is something else than last time."""
        cdef event_t event

        if self.journal is None or (
            mode == self.venue[0] and stop == self.venue[1] and missed == self.venue[2]
        ):
            return
        self.venue[0], self.venue[1], self.venue[2] = mode, stop, missed
        memset(&event, 0, sizeof(event))
        event.kind = EVENT_MODE
        event.source = SOURCE_EXECUTOR
        event.market = self.market
        event.status = <uint8_t>mode
        event.reason = <uint8_t>stop
        event.batch = <uint32_t>missed
        self.journal.append_c(KIND_VENUE, &event, sizeof(event), now_ns, 0)

    cdef void commands_c(self, const command_t* commands, int count) noexcept nogil:
        """What the step is about to push."""
        if self.journal is not None and count:
            self.journal.commands_c(KIND_COMMAND, commands, count, commands[0].decided_ns)

    cdef void quotes_c(
        self,
        const uint8_t* reasons,
        uint64_t version,
        Registry registry,
        MarketBooks books,
        const top_t* tops,
        int64_t end_ms,
        int64_t now_ns,
    ) noexcept nogil:
        """Why Up and Down are (not) quoted, when that is another reason than last time."""
        cdef:
            quote_t quote
            const order_t* order
            int token, i

        if self.journal is None or reasons[0] == self.told[0] and reasons[1] == self.told[1]:
            return
        memset(&quote, 0, sizeof(quote))
        quote.market = self.market
        quote.version = version
        quote.live = <uint8_t>registry.n_live
        quote.committed_e10 = registry.spent_e10
        for i in range(registry.n_live):
            order = &registry.live[i]
            if order.side == BUY:
                quote.committed_e10 += registry.exposed_c(order) * order.price_e4
        for token in range(2):
            quote.bid_e4[token] = tops[token].bid_e4
            quote.ask_e4[token] = tops[token].ask_e4
            quote.bid_micro[token] = tops[token].bid_micro
            quote.ask_micro[token] = tops[token].ask_micro
            quote.position_micro[token] = registry.position_micro[token]
            quote.age_ns[token] = now_ns - books.token_ns[token] if books.token_ns[token] else -1
        quote.venue_ms = books.venue_ms
        quote.ms_to_end = end_ms - now_ns // 1000000 if end_ms else 0
        for token in range(2):
            if reasons[token] != self.told[token]:
                quote.token = <uint8_t>token
                quote.reason = reasons[token]
                quote.previous = self.told[token]
                self.told[token] = reasons[token]
                self.journal.append_c(KIND_QUOTE, &quote, sizeof(quote), now_ns, 0)

    cdef void fate_c(
        self, Registry registry, uint64_t key, bint was_live, int64_t now_ns
    ) noexcept nogil:
        """After evidence about an order: whether it ended by it, or lives again."""
        cdef const order_t* order = registry.find_c(key)

        if self.journal is None or (order != NULL) == was_live:
            return
        if order != NULL:
            self.order_c(KIND_REVIVED, order, now_ns)
            return
        order = registry.find_ended_c(key)
        if order != NULL:
            self.order_c(KIND_ENDED, order, now_ns)

    cdef bint order_c(self, int kind, const order_t* order, int64_t now_ns) noexcept nogil:
        cdef journaled_order_t words

        memset(&words, 0, sizeof(words))
        words.key = order.key
        memcpy(words.order_id, order.order_id, 32)
        memcpy(words.token_id, self.token_ids[order.token & 1], 32)
        words.market = self.market
        words.token = order.token
        words.side = order.side
        words.order_type = order.order_type
        words.state = order.state
        words.price_e4 = order.price_e4
        words.said = order.said
        words.reason = order.reason
        words.level = order.level
        words.size_micro = order.original_micro
        words.filled_micro = order.filled_micro
        words.expiration_s = order.expiration_s
        words.sent_ns = order.sent_ns
        words.seen_ns = order.seen_ns
        return self.journal.append_c(kind, &words, sizeof(words), now_ns, order.key)
