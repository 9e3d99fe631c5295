"""Market-channel frames, as bytes, into the two order books of one Up/Down market.

A frame is read by the C scanners of `scan.h`; what they do not take goes, whole, through orjson, which
accepts every valid spelling and says what is wrong with the rest. Only a frame that is valid to its end
changes a book. Afterwards the fields of `MarketBooks` tell what it meant. `apply_c` needs no GIL, allocates
nothing and raises nothing; only the orjson path takes the GIL. One object belongs to one thread.

Integrity checks run at the end of each batch, which is all content of one venue timestamp: within it the
`best_bid` and `best_ask` of price changes run ahead of the levels, and one token's levels run ahead of the
other's.
"""

from collections import deque

import orjson

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from invmm._ext.book cimport (
    PRICE_ONE,
    book_best_ask,
    book_best_bid,
    book_clear,
    book_index,
    book_lowest,
    book_next_above,
    book_refine,
    book_set,
    book_set_tick,
    book_size,
    Book,
    book_t,
)
from invmm._ext.book cimport __builtin_ctzll
from invmm._ext.records cimport BUY, SELL


cdef extern from "scan.h":
    const int64_t SIZE_LIMIT_MICRO
    enum:
        DECIMAL_SYNTAX
        DECIMAL_NEGATIVE
        DECIMAL_PRECISION
        DECIMAL_RANGE
    int decimal_exact(const char* text, Py_ssize_t n, int scale, int64_t limit, int64_t* value) nogil
    void begin_frame(scan_frame_t* frame) nogil
    void begin_event(const scan_frame_t* frame, scan_event_t* event) nogil
    int keep_event(scan_frame_t* frame, scan_event_t* event, int kind, int token) nogil
    int scan_frame(scan_frame_t* frame, const char* data, Py_ssize_t size) nogil

cdef enum:
    TOUCHED_ROOM = 128
    # Of one frame: the levels it names, and those that its snapshots drop, which it may have named before
    # itself.
    CHANGES_ROOM = 120_000

REJECTED_KEPT = 16
"""How many refused frames `MarketBooks.rejected` keeps."""

REJECTED_BYTES = 65536
"""How much of each is kept."""

KIND_NAMES = {
    BOOK: "book",
    PRICE_CHANGE: "price_change",
    LAST_TRADE: "last_trade_price",
    TICK_SIZE: "tick_size_change",
    BEST_BID_ASK: "best_bid_ask",
    PONG: "pong",
    MARKET_RESOLVED: "market_resolved",
    NEW_MARKET: "new_market",
    OTHER: "other",
}


class FrameRefused(Exception):
    """Why a frame is refused; never leaves this module."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


cdef int64_t _number(object value, str kind, int scale, int64_t limit) except -1:
    """A JSON string or number times 10^scale, exact, from 0 to limit."""
    cdef int64_t result = 0
    cdef int status
    if isinstance(value, str):
        text = value.encode()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        text = repr(value).encode()
    else:
        raise FrameRefused(kind, f"{kind}: expected a decimal, got {value!r:.60}")
    status = decimal_exact(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), scale, limit, &result)
    if status == DECIMAL_SYNTAX:
        raise FrameRefused(kind, f"{kind}: expected a decimal, got {value!r:.60}")
    if status == DECIMAL_NEGATIVE:
        raise FrameRefused(kind, f"{kind}: expected no negative number, got {value!r:.60}")
    if status == DECIMAL_PRECISION:
        raise FrameRefused(kind, f"{kind}: expected at most {scale} decimals, got {value!r:.60}")
    if status == DECIMAL_RANGE:
        raise FrameRefused(kind, f"{kind}: out of range, got {value!r:.60}")
    return result


cdef int32_t _price(object value, str kind) except -1:
    cdef int64_t price = _number(value, kind, 4, PRICE_ONE)
    if not 0 < price < PRICE_ONE:
        raise FrameRefused(kind, f"{kind}: expected a price inside (0, 1), got {value!r:.60}")
    return <int32_t>price


cdef int32_t _tick(object value, str kind) except -1:
    cdef int32_t tick = _price(value, kind)
    if tick > 5000:
        raise FrameRefused(kind, f"{kind}: expected at most 0.5, got {value!r:.60}")
    return tick


cdef int32_t _best(object value) except -2:
    """A best price; -1 if nothing is said."""
    if value is None or value == "":
        return -1
    return <int32_t>_number(value, "best", 4, PRICE_ONE)


cdef uint8_t _side(object value) except 255:
    if value == "BUY":
        return BUY
    if value == "SELL":
        return SELL
    raise FrameRefused("side", f"side: expected BUY or SELL, got {value!r:.60}")


cdef int64_t _milliseconds(object value) except -1:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and 0 < len(value) <= 18 and value.isascii() and value.isdigit():
        return int(value)
    raise FrameRefused("timestamp", f"timestamp: expected milliseconds, got {value!r:.60}")


cdef object _member(dict event, str key, str kind):
    try:
        return event[key]
    except KeyError:
        raise FrameRefused(kind, f"{kind}: no {key!r}") from None


cdef int _token(scan_frame_t* frame, object value) except -1:
    if not isinstance(value, str):
        raise FrameRefused("asset_id", f"asset_id: expected a string, got {value!r:.60}")
    text = value.encode()
    for token in range(2):
        if text == (<const char*>frame.id[token])[:frame.id_length[token]]:
            return token
    return SCAN_UNKNOWN


cdef scan_level_t* _next_level(scan_frame_t* frame) except NULL:
    if frame.n_levels == SCAN_LEVELS:
        raise FrameRefused("too_long", f"too_long: more than {SCAN_LEVELS} levels")
    return &frame.levels[frame.n_levels]


cdef int _read_levels(scan_frame_t* frame, object rows, str key, uint8_t token, uint8_t side) except -1:
    cdef scan_level_t* level
    if not isinstance(rows, list):
        raise FrameRefused("levels", f"levels: expected a list of {key}, got {rows!r:.60}")
    for row in rows:
        if not isinstance(row, dict):
            raise FrameRefused("levels", f"levels: expected objects in {key}, got {row!r:.60}")
        level = _next_level(frame)
        level.token = token
        level.side = side
        level.price_e4 = _price(_member(row, "price", "price"), "price")
        level.size_micro = _number(_member(row, "size", "size"), "size", 6, SIZE_LIMIT_MICRO)
        frame.n_levels += 1
    return 0


cdef int _read_entries(scan_frame_t* frame, scan_event_t* event, object rows) except -1:
    cdef scan_level_t* level
    cdef int32_t bid, ask
    cdef int token
    if not isinstance(rows, list):
        raise FrameRefused("levels", f"levels: expected a list of price_changes, got {rows!r:.60}")
    for row in rows:
        if not isinstance(row, dict):
            raise FrameRefused("levels", f"levels: expected objects in price_changes, got {row!r:.60}")
        level = _next_level(frame)
        token = _token(frame, _member(row, "asset_id", "asset_id"))
        level.price_e4 = _price(_member(row, "price", "price"), "price")
        level.size_micro = _number(_member(row, "size", "size"), "size", 6, SIZE_LIMIT_MICRO)
        level.side = _side(_member(row, "side", "side"))
        bid = _best(row.get("best_bid"))
        ask = _best(row.get("best_ask"))
        if token == SCAN_UNKNOWN:
            frame.unknown += 1
            continue
        level.token = <uint8_t>token
        event.best_bid[token] = bid
        event.best_ask[token] = ask
        frame.n_levels += 1
    return 0


KINDS_BY_NAME = {name: kind for kind, name in KIND_NAMES.items() if kind not in (PONG, OTHER)}


cdef int _read_event(scan_frame_t* frame, object given) except -1:
    cdef scan_event_t event
    cdef int kind
    cdef int token = SCAN_UNKNOWN
    if not isinstance(given, dict):
        raise FrameRefused("shape", f"shape: expected an object, got {given!r:.60}")
    name = given.get("event_type")
    kind = KINDS_BY_NAME.get(name, OTHER) if isinstance(name, str) else OTHER
    begin_event(frame, &event)
    if kind >= MARKET_RESOLVED:
        try:
            event.venue_ms = _milliseconds(given.get("timestamp"))
        except FrameRefused:
            event.venue_ms = 0
    else:
        event.venue_ms = _milliseconds(_member(given, "timestamp", "timestamp"))
        if kind == PRICE_CHANGE:
            _read_entries(frame, &event, _member(given, "price_changes", "levels"))
        else:
            token = _token(frame, _member(given, "asset_id", "asset_id"))
    if kind == BOOK:
        _read_levels(frame, _member(given, "bids", "levels"), "bids", <uint8_t>token, BUY)
        _read_levels(frame, _member(given, "asks", "levels"), "asks", <uint8_t>token, SELL)
        tick = given.get("tick_size")
        if tick is not None and tick != "":
            event.tick_e4 = _tick(tick, "tick_size")
    elif kind == LAST_TRADE:
        event.price_e4 = _price(_member(given, "price", "price"), "price")
        event.size_micro = _number(_member(given, "size", "size"), "size", 6, SIZE_LIMIT_MICRO)
        event.side = _side(_member(given, "side", "side"))
    elif kind == TICK_SIZE:
        event.tick_e4 = _tick(_member(given, "new_tick_size", "tick_size"), "tick_size")
    if not keep_event(frame, &event, kind, token):
        raise FrameRefused("too_long", f"too_long: more than {SCAN_EVENTS} events for one market")
    return 0


@cython.final
cdef class MarketBooks:
    """The Up and the Down book of one market, maintained from frames of the market channel.

    Parameters
    ----------
    up_token_id, down_token_id : str
        The venue's asset ids. Other ids in a frame are counted and passed over.
    tick_e4 : int
        Tick in 1e-4 dollars until a frame tells another.
    """

    def __cinit__(self, up_token_id, down_token_id, tick_e4=100):
        self.frame = <scan_frame_t*>calloc(1, sizeof(scan_frame_t))
        self.changes = <change_t*>calloc(CHANGES_ROOM + 1, sizeof(change_t))
        if self.frame == NULL or self.changes == NULL:
            raise MemoryError("no memory for the books of a market")
        for token, given in enumerate((up_token_id, down_token_id)):
            if not isinstance(given, str):
                raise TypeError(f"token id: expected a string, got {given!r}")
            if not (given.isascii() and given.isalnum() and len(given) < SCAN_ID_SIZE):
                raise ValueError(f"token id: expected 1 to {SCAN_ID_SIZE - 1} alphanumerics, got {given!r}")
            text = given.encode()
            memcpy(<char*>self.frame.id[token], PyBytes_AS_STRING(text), len(text))
            self.frame.id_length[token] = len(text)
        if up_token_id == down_token_id:
            raise ValueError(f"token ids: expected two different ones, got {up_token_id!r} twice")
        self.up = Book(tick_e4, "up")
        self.down = Book(tick_e4, "down")
        self.book[0] = self.up.c
        self.book[1] = self.down.c
        self.tick_e4 = self.up.c.tick_e4
        self.min_size_micro = 5_000_000
        self.batch_ms = -1
        self.best_ok[0] = self.best_ok[1] = self.mirror_ok = True
        self.snapshot_ms[0] = self.snapshot_ms[1] = -1
        self.last_error = ""
        self._rejected = deque(maxlen=REJECTED_KEPT)
        self._refusals = {}

    def __dealloc__(self):
        free(self.frame)
        free(self.changes)

    cdef int apply_c(self, const char* data, Py_ssize_t size, int64_t now_ns) noexcept nogil:
        """Applies one frame of `size` bytes. Gives the number of changes, 0 if there are none, -1 if it was
        refused.
        """
        cdef counts_t* counts = &self.counts
        cdef int way
        self.n_changes = 0
        self.has_trade = False
        counts.frames += 1
        way = scan_frame(self.frame, data, size)
        if way == SCAN_TEMPLATE:
            counts.template_frames += 1
            self.event_kind = PRICE_CHANGE
            self.venue_ms = self.frame.last_ms
            self.apply_changes(&self.frame.events[0], now_ns)
            counts.level_changes += self.n_changes
            return self.n_changes
        if way == SCAN_GENERAL:
            counts.general_frames += 1
        else:
            counts.fallback_frames += 1
            if self.parse(data, size) < 0:
                self.event_kind = REFUSED
                self.venue_ms = 0
                return -1
        return self.apply_events(now_ns)

    cdef int apply_events(self, int64_t now_ns) noexcept nogil:
        """Applies the events of a frame that was read."""
        cdef counts_t* counts = &self.counts
        cdef const scan_event_t* event
        cdef int i, token
        self.event_kind = self.frame.last_kind
        self.venue_ms = self.frame.last_ms
        counts.unknown_assets += self.frame.unknown
        if self.frame.ignored:
            for i in range(SCAN_KINDS):
                counts.kinds[i] += self.frame.seen[i]
        for i in range(self.frame.n_events):
            event = &self.frame.events[i]
            token = event.token
            if event.kind == PRICE_CHANGE:
                self.apply_changes(event, now_ns)
                continue
            counts.kinds[event.kind] += 1
            if event.kind == BOOK:
                self.apply_book(event)
                self.token_ms[token] = event.venue_ms
                self.token_ns[token] = now_ns
            elif event.kind == LAST_TRADE:
                self.trade.token = event.token
                self.trade.side = event.side
                self.trade.price_e4 = event.price_e4
                self.trade.size_micro = event.size_micro
                self.trade.venue_ms = event.venue_ms
                self.has_trade = True
            else:
                self.set_tick(token, event.tick_e4)
                self.has_snapshot[token] = False
        counts.level_changes += self.n_changes
        return self.n_changes

    cdef void apply_changes(self, const scan_event_t* event, int64_t now_ns) noexcept nogil:
        """Sets the levels of a price_change."""
        cdef counts_t* counts = &self.counts
        cdef const scan_level_t* level = &self.frame.levels[event.first]
        cdef const scan_level_t* stop = level + event.count
        cdef change_t* change = &self.changes[self.n_changes]
        cdef int64_t before
        cdef int32_t touched
        cdef int32_t last_touched = -1
        cdef int token
        counts.kinds[PRICE_CHANGE] += 1
        if event.venue_ms != self.batch_ms:
            self.end_batch_c()
            self.batch_ms = event.venue_ms
        while level < stop:
            token = level.token
            before = book_set(self.book[token], level.side, level.price_e4, level.size_micro)
            self.token_ms[token] = event.venue_ms
            self.token_ns[token] = now_ns
            # A level and its mirror are one comparison, and usually one behind the other.
            if token == 0:
                touched = 2 * level.price_e4 + level.side
            else:
                touched = 2 * (PRICE_ONE - level.price_e4) + 1 - level.side
            if touched != last_touched:
                last_touched = touched
                if self.n_touched < TOUCHED_ROOM:
                    self.touched[self.n_touched] = touched
                    self.n_touched = self.n_touched + 1
                else:
                    self.whole_due = True
            if before != level.size_micro:
                change.token = level.token
                change.side = level.side
                change.price_e4 = level.price_e4
                change.old_micro = before
                change.new_micro = level.size_micro
                change += 1
            level += 1
        self.n_changes = <int>(change - self.changes)
        for token in range(2):
            if event.best_bid[token] >= 0 and event.best_ask[token] >= 0:
                self.has_best[token] = True
                self.told_bid[token] = event.best_bid[token]
                self.told_ask[token] = event.best_ask[token]

    cdef void apply_book(self, const scan_event_t* event) noexcept nogil:
        """Makes one token's book what a snapshot says."""
        cdef counts_t* counts = &self.counts
        cdef int token = event.token
        cdef book_t* book = self.book[token]
        cdef const scan_level_t* first = &self.frame.levels[event.first]
        cdef const scan_level_t* stop = first + event.count
        cdef const scan_level_t* level
        cdef change_t* change = &self.changes[self.n_changes]
        cdef uint64_t[157][2] fresh
        cdef uint64_t bit, gone
        cdef int64_t before
        cdef int32_t index, word, unit
        cdef int side
        if event.venue_ms != self.batch_ms:
            self.end_batch_c()
            self.batch_ms = event.venue_ms
        if event.tick_e4 and event.tick_e4 != book.tick_e4:
            self.set_tick(token, event.tick_e4)
        unit = book.unit_e4
        level = first
        while level < stop:     # first of all, so that indexes stay what they are
            if book_index(book, level.price_e4) * unit != level.price_e4:
                book_refine(book, level.price_e4)
                unit = book.unit_e4
            level += 1
        memset(fresh, 0, <size_t>book.words * sizeof(fresh[0]))
        level = first
        while level < stop:
            side = level.side
            index = book_index(book, level.price_e4)
            bit = <uint64_t>1 << (index & 63)
            if level.size_micro:
                fresh[index >> 6][side] |= bit
            else:
                fresh[index >> 6][side] &= ~bit
            index += side * book.stride
            before = book.sizes[index]
            book.sizes[index] = level.size_micro
            # Written in any case: which levels changed cannot be predicted.
            change.token = <uint8_t>token
            change.side = level.side
            change.price_e4 = level.price_e4
            change.old_micro = before
            change.new_micro = level.size_micro
            change += before != level.size_micro
            level += 1
        memset(book.summary, 0, sizeof(book.summary))
        for word in range(book.words):
            for side in range(2):
                gone = book.bits[word][side] & ~fresh[word][side]
                book.bits[word][side] = fresh[word][side]
                book.summary[word >> 6][side] |= <uint64_t>(fresh[word][side] != 0) << (word & 63)
                while gone:
                    index = (word << 6) + __builtin_ctzll(gone)
                    gone &= gone - 1
                    before = book.sizes[side * book.stride + index]
                    if before == 0:     # the snapshot itself named it with size 0
                        continue
                    book.sizes[side * book.stride + index] = 0
                    change.token = <uint8_t>token
                    change.side = <uint8_t>side
                    change.price_e4 = index * book.unit_e4
                    change.old_micro = before
                    change.new_micro = 0
                    change += 1
        self.n_changes = <int>(change - self.changes)
        counts.snapshots += 1
        self.has_snapshot[token] = True
        self.has_best[token] = False    # told before this snapshot, which knows better
        self.best_ok[token] = True
        # The other token's snapshot of the same moment may be a frame behind: levels of one alone prove
        # nothing.
        self.snapshot_ms[token] = event.venue_ms
        if self.snapshot_ms[0] == self.snapshot_ms[1]:
            self.whole_due = True

    cdef void set_tick(self, int token, int32_t tick_e4) noexcept nogil:
        cdef counts_t* counts = &self.counts
        book_set_tick(self.book[token], tick_e4)
        self.epoch[token] = self.epoch[token] + 1
        self.tick_e4 = tick_e4
        counts.tick_changes += 1

    cdef bint mirror_holds(self) noexcept nogil:
        """Whether every level of either book stands in the other at one minus its price, with its size."""
        cdef int side, token
        cdef int32_t price
        for token in range(2):
            for side in range(2):
                price = book_lowest(self.book[token], side)
                while price >= 0:
                    if book_size(self.book[token], side, price) != book_size(
                        self.book[1 - token], 1 - side, PRICE_ONE - price
                    ):
                        return False
                    price = book_next_above(self.book[token], side, price)
        return True

    cdef void end_batch_c(self) noexcept nogil:
        """Runs the checks that are due; a batch that was ended before has none."""
        cdef counts_t* counts = &self.counts
        cdef int32_t bid, ask, price
        cdef int token, i, side
        cdef bint holds
        for token in range(2):
            if not self.has_best[token]:
                continue
            self.has_best[token] = False
            if not self.has_snapshot[token]:
                continue
            bid = book_best_bid(self.book[token])
            ask = book_best_ask(self.book[token])
            counts.best_checks += 1
            bid = bid if bid >= 0 else 0
            ask = ask if ask >= 0 else PRICE_ONE
            self.best_ok[token] = self.told_bid[token] == bid and self.told_ask[token] == ask
            counts.best_mismatches += not self.best_ok[token]
        if self.has_snapshot[0] and self.has_snapshot[1] and (self.n_touched or self.whole_due):
            counts.mirror_checks += 1
            if self.whole_due or not self.mirror_ok:
                # After a mismatch nothing less than the whole book proves that it is over.
                self.mirror_ok = self.mirror_holds()
            else:
                holds = True
                for i in range(self.n_touched):
                    side = self.touched[i] & 1
                    price = self.touched[i] >> 1
                    holds &= book_size(self.book[0], side, price) == book_size(
                        self.book[1], 1 - side, PRICE_ONE - price
                    )
                self.mirror_ok = holds
            counts.mirror_mismatches += not self.mirror_ok
        self.n_touched = 0
        self.whole_due = False

    cdef void reset_c(self) noexcept nogil:
        """Forgets levels and pending checks, for a connection that starts anew. Counters stay."""
        cdef counts_t* counts = &self.counts
        cdef int token
        for token in range(2):
            book_clear(self.book[token])
            self.epoch[token] = self.epoch[token] + 1
            self.has_snapshot[token] = False
            self.has_best[token] = False
            self.best_ok[token] = True
            self.snapshot_ms[token] = -1
            self.token_ms[token] = 0
            self.token_ns[token] = 0
        self.mirror_ok = True
        self.n_touched = 0
        self.whole_due = False
        self.n_changes = 0
        self.has_trade = False
        self.batch_ms = -1
        counts.resets += 1

    cdef int parse(self, const char* data, Py_ssize_t size) noexcept with gil:
        """Reads a frame with orjson into `frame`; -1 and counted if it is refused."""
        cdef counts_t* counts = &self.counts
        raw = b""
        try:
            raw = PyBytes_FromStringAndSize(data, size)
            begin_frame(self.frame)
            try:
                document = orjson.loads(raw)
            except orjson.JSONDecodeError as error:
                raise FrameRefused("json", f"json: {error}") from None
            if isinstance(document, list):
                for event in document:
                    _read_event(self.frame, event)
            else:
                _read_event(self.frame, document)
            return 0
        except FrameRefused as refused:
            kind, message = refused.kind, str(refused)
        except Exception as error:  # a frame must not stop the engine, whatever is in it
            kind, message = "internal", f"internal: {error!r}"
        counts.kinds[REFUSED] += 1
        self.last_error = message
        self._refusals[kind] = self._refusals.get(kind, 0) + 1
        self._rejected.append((message, raw[:REJECTED_BYTES]))
        return -1

    def apply_frame(self, data, now_ns):
        """Apply one frame.

        Parameters
        ----------
        data : bytes, bytearray or memoryview
            The text frame, whole.
        now_ns : int
            Engine clock, for the tokens' data clocks.

        Returns
        -------
        int
            Number of levels whose size changed, 0 for other messages; -1 for a refused frame, which changed
            nothing: the reason is in `last_error`.
        """
        cdef Py_buffer view
        cdef int64_t now = now_ns
        cdef int changed
        if PyBytes_CheckExact(data):
            return self.apply_c(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), now)
        if isinstance(data, str):
            raise TypeError("data: expected bytes, bytearray or memoryview, got str")
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        changed = self.apply_c(<const char*>view.buf, view.len, now)
        PyBuffer_Release(&view)
        return changed

    def end_batch(self):
        """Run the integrity checks that are due for the frames applied so far."""
        self.end_batch_c()

    def reset(self):
        """Forget every level, as after a lost connection; both tokens need a snapshot again."""
        self.reset_c()

    def changes_of_last_frame(self):
        """`(token, side, price_e4, old_micro, new_micro)` of each level that the last frame changed."""
        return [
            (change.token, change.side, change.price_e4, change.old_micro, change.new_micro)
            for change in self.changes[:self.n_changes]
        ]

    @property
    def last_trade(self):
        """`(token, side, price_e4, size_micro, venue_ms)` if the last frame was a trade, else None; the
        taker's side.
        """
        if not self.has_trade:
            return None
        trade = self.trade
        return trade.token, trade.side, trade.price_e4, trade.size_micro, trade.venue_ms

    @property
    def state(self):
        """Per-token and market state, as a dict: what the C fields of the same names hold."""
        return {
            "event_kind": KIND_NAMES.get(self.event_kind, "refused"),
            "venue_ms": self.venue_ms,
            "token_ms": (self.token_ms[0], self.token_ms[1]),
            "token_ns": (self.token_ns[0], self.token_ns[1]),
            "has_snapshot": (bool(self.has_snapshot[0]), bool(self.has_snapshot[1])),
            "epoch": (self.epoch[0], self.epoch[1]),
            "tick_e4": self.tick_e4,
            "best_ok": (bool(self.best_ok[0]), bool(self.best_ok[1])),
            "mirror_ok": bool(self.mirror_ok),
        }

    @property
    def stats(self):
        """Counters since construction, as a dict.

        `frames` = `template_frames` (the venue's exact text) + `general_frames` (any key order) +
        `fallback_frames` (orjson, among them the refused); `events` by kind; `decode_failures` by kind;
        checks and what they found.
        """
        counts = &self.counts
        return {
            "frames": counts.frames,
            "template_frames": counts.template_frames,
            "general_frames": counts.general_frames,
            "fallback_frames": counts.fallback_frames,
            "events": {name: counts.kinds[kind] for kind, name in KIND_NAMES.items()},
            "refused": counts.kinds[REFUSED],
            "decode_failures": dict(self._refusals),
            "unknown_assets": counts.unknown_assets,
            "level_changes": counts.level_changes,
            "snapshots": counts.snapshots,
            "tick_changes": counts.tick_changes,
            "resets": counts.resets,
            "best_checks": counts.best_checks,
            "best_mismatches": counts.best_mismatches,
            "mirror_checks": counts.mirror_checks,
            "mirror_mismatches": counts.mirror_mismatches,
        }

    @property
    def rejected(self):
        """The last refused frames, oldest first: `(reason, bytes)`, at most REJECTED_KEPT."""
        return list(self._rejected)


def _bench_apply(MarketBooks books, list frames, int rounds):
    """Applies the frames in order, `rounds` times, from C; gives the sum of what `apply_c` gave. For
    benches.
    """
    cdef Py_ssize_t i, n = len(frames)
    cdef int64_t total = 0
    cdef int64_t now = 0
    cdef int _round
    cdef const char** texts = <const char**>calloc(n + 1, sizeof(char*))
    cdef Py_ssize_t* sizes = <Py_ssize_t*>calloc(n + 1, sizeof(Py_ssize_t))
    if texts == NULL or sizes == NULL:
        free(texts)
        free(sizes)
        raise MemoryError()
    try:
        for i in range(n):
            texts[i] = PyBytes_AS_STRING(<bytes?>frames[i])
            sizes[i] = PyBytes_GET_SIZE(frames[i])
        with nogil:
            for _round in range(rounds):
                for i in range(n):
                    now += 1
                    total += books.apply_c(texts[i], sizes[i], now)
    finally:
        free(texts)
        free(sizes)
    return total
