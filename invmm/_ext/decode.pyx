"""Market-channel frames, as bytes, into the two order books of one Up/Down market.

A frame is read by the C scanners of `scan.h`; what they do not take goes, whole, through orjson, which
accepts every valid spelling and says what is wrong with the rest (`parse.pyx`).
Only a frame that is valid to its end
changes a book. Afterwards the fields of `MarketBooks` tell what it meant. `apply_c` needs no GIL, allocates
nothing and raises nothing; only the orjson path takes the GIL. One object belongs to one thread.

Integrity checks run at the end of each batch, which is all content of one venue timestamp
(`integrity.pxd`). Frames are read in memory that all books of a thread share (`scratch.h`); a thread's first
frame allocates it.
"""

from collections import deque

from invmm._ext import parse as parsing

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from invmm._ext.book cimport (
    Book, PRICE_ONE, __builtin_ctzll, book_clear, book_index, book_refine, book_set, book_set_tick, book_t,
)
from invmm._ext.frame cimport (
    BOOK, LAST_TRADE, PRICE_CHANGE, REFUSED, SCAN_GENERAL, SCAN_ID_SIZE, SCAN_KINDS, SCAN_PUNT, SCAN_TEMPLATE,
    change_t, ids_set, scan_event_t, scan_frame, scan_frame_t, scan_level_t, scratch_of_thread, scratch_t,
)
from invmm._ext.integrity cimport (
    checks_end_batch, checks_reset, checks_take_book, checks_touch, is_hollow,
)
from invmm._ext.parse cimport parse_frame


cdef extern from *:
    void __builtin_prefetch(const void* address) nogil

REJECTED_KEPT = 16
"""How many refused frames `MarketBooks.rejected` keeps."""

REJECTED_BYTES = 65536
"""How much of each is kept."""


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
        texts = []
        for given in (up_token_id, down_token_id):
            if not isinstance(given, str):
                raise TypeError(f"token id: expected a string, got {given!r}")
            if not (given.isascii() and given.isalnum() and len(given) < SCAN_ID_SIZE):
                raise ValueError(f"token id: expected 1 to {SCAN_ID_SIZE - 1} alphanumerics, got {given!r}")
            texts.append(given.encode())
        if up_token_id == down_token_id:
            raise ValueError(f"token ids: expected two different ones, got {up_token_id!r} twice")
        if scratch_of_thread() == NULL:
            raise MemoryError("no memory for reading frames")
        ids_set(&self.ids, texts[0], <int>len(texts[0]), texts[1], <int>len(texts[1]))
        self.up = Book(tick_e4, "up")
        self.down = Book(tick_e4, "down")
        self.book[0] = self.up.c
        self.book[1] = self.down.c
        self.tick_e4 = self.up.c.tick_e4
        self.min_size_micro = 5_000_000
        self.winner = -1
        self.checks.batch_ms = -1
        self.best_ok[0] = self.best_ok[1] = self.mirror_ok = True
        self.checks.snapshot_ms[0] = self.checks.snapshot_ms[1] = -1
        self.last_error = ""
        self._rejected = deque(maxlen=REJECTED_KEPT)
        self._refusals = {}

    cdef int apply_c(self, const char* data, Py_ssize_t size, int64_t now_ns) noexcept nogil:
        """Applies one frame of `size` bytes. Gives the number of changes, 0 if there are none, -1 if it was
        refused.
        """
        cdef counts_t* counts = &self.counts
        cdef scratch_t* scratch = scratch_of_thread()
        cdef int way = SCAN_PUNT
        # Among many markets these lines are cold; they come while the text is read.
        __builtin_prefetch(self.book[0])
        __builtin_prefetch(<const char*>self.book[0] + 64)
        __builtin_prefetch(self.book[1])
        __builtin_prefetch(<const char*>self.book[1] + 64)
        __builtin_prefetch(&self.checks)
        self.n_changes = 0
        self.has_trade = False
        if scratch != NULL and not scratch.busy:
            way = scan_frame(&scratch.frame, &self.ids, data, size)
            scratch.owner = <const void*>self
            self.changes = scratch.changes
        if way == SCAN_TEMPLATE:
            counts.template_frames += 1
            self.event_kind = PRICE_CHANGE
            self.venue_ms = scratch.frame.last_ms
            self.apply_changes(scratch, &scratch.frame.events[0], now_ns)
            counts.level_changes += self.n_changes
            return self.n_changes
        if way == SCAN_GENERAL:
            counts.general_frames += 1
        else:
            counts.fallback_frames += 1
            if self.parse(scratch, data, size) < 0:
                self.event_kind = REFUSED
                self.venue_ms = 0
                return -1
        return self.apply_events(scratch, now_ns)

    cdef int apply_events(self, scratch_t* scratch, int64_t now_ns) noexcept nogil:
        """Applies the events of a frame that was read."""
        cdef counts_t* counts = &self.counts
        cdef const scan_frame_t* frame = &scratch.frame
        cdef const scan_event_t* event
        cdef int i, token
        self.event_kind = frame.last_kind
        self.venue_ms = frame.last_ms
        if frame.winner >= 0:
            self.winner = frame.winner
        counts.unknown_assets += frame.unknown
        if frame.ignored:
            for i in range(SCAN_KINDS):
                counts.kinds[i] += frame.seen[i]
        for i in range(frame.n_events):
            event = &frame.events[i]
            token = event.token
            counts.kinds[event.kind] += 1
            if event.kind == PRICE_CHANGE:
                self.apply_changes(scratch, event, now_ns)
                continue
            if event.kind == BOOK:
                if not checks_take_book(
                    &self.checks, token, event.venue_ms, self.token_ms[token], self.has_snapshot[token]
                ):
                    continue
                self.apply_book(scratch, event)
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

    cdef void apply_changes(
        self, scratch_t* scratch, const scan_event_t* event, int64_t now_ns
    ) noexcept nogil:
        """Sets the levels of a price_change."""
        cdef book_t* books[2]
        cdef const scan_level_t* level = &scratch.frame.levels[event.first]
        cdef const scan_level_t* stop = level + event.count
        cdef change_t* first = scratch.changes
        cdef change_t* change = first + self.n_changes
        cdef int64_t before, size_micro
        cdef int32_t touched, price_e4
        cdef int32_t last_touched = -1
        cdef int token, side
        books[0] = self.book[0]
        books[1] = self.book[1]
        if event.venue_ms != self.checks.batch_ms:
            self.end_batch_c()
            self.checks.batch_ms = event.venue_ms
        while level < stop:
            token = level.token
            side = level.side
            price_e4 = level.price_e4
            size_micro = level.size_micro
            before = book_set(books[token], side, price_e4, size_micro)
            self.token_ms[token] = event.venue_ms
            self.token_ns[token] = now_ns
            # A level and its mirror are one comparison, and usually one behind the other.
            touched = 2 * price_e4 + side
            touched = touched if token == 0 else 2 * PRICE_ONE + 1 - touched
            if touched != last_touched:
                last_touched = touched
                checks_touch(&self.checks, touched)
            # Written in any case: which levels changed cannot be predicted.
            change.token = <uint8_t>token
            change.side = <uint8_t>side
            change.price_e4 = price_e4
            change.old_micro = before
            change.new_micro = size_micro
            change += before != size_micro
            level += 1
        self.n_changes = <int>(change - first)
        for token in range(2):
            if event.best_bid[token] >= 0 and event.best_ask[token] >= 0:
                self.checks.has_best[token] = True
                self.checks.told_bid[token] = event.best_bid[token]
                self.checks.told_ask[token] = event.best_ask[token]

    cdef void apply_book(self, scratch_t* scratch, const scan_event_t* event) noexcept nogil:
        """Makes one token's book what a snapshot says."""
        cdef counts_t* counts = &self.counts
        cdef int token = event.token
        cdef book_t* book = self.book[token]
        cdef const scan_level_t* first = &scratch.frame.levels[event.first]
        cdef const scan_level_t* stop = first + event.count
        cdef const scan_level_t* level
        cdef change_t* change = &scratch.changes[self.n_changes]
        cdef uint64_t[157][2] fresh
        cdef uint64_t bit, gone
        cdef int64_t before
        cdef int32_t index, word, unit
        cdef int side
        if event.venue_ms != self.checks.batch_ms:
            self.end_batch_c()
            self.checks.batch_ms = event.venue_ms
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
        self.n_changes = <int>(change - scratch.changes)
        counts.snapshots += 1
        self.has_snapshot[token] = True
        self.checks.has_best[token] = False    # told before this snapshot, which knows better
        self.checks.told_bid[token] = -1
        self.checks.unconfirmed[token] |= is_hollow(book)
        self.best_ok[token] = True
        # The other token's snapshot of the same moment may be a frame behind: levels of one alone prove
        # nothing.
        self.checks.snapshot_ms[token] = event.venue_ms
        if self.checks.snapshot_ms[0] == self.checks.snapshot_ms[1]:
            self.checks.whole_due = True

    cdef void set_tick(self, int token, int32_t tick_e4) noexcept nogil:
        cdef counts_t* counts = &self.counts
        book_set_tick(self.book[token], tick_e4)
        self.epoch[token] = self.epoch[token] + 1
        self.tick_e4 = tick_e4
        counts.tick_changes += 1

    cdef void end_batch_c(self) noexcept nogil:
        """Runs the checks that are due; a batch that was ended before has none."""
        checks_end_batch(&self.checks, self.book, self.has_snapshot, self.best_ok, &self.mirror_ok)

    cdef void reset_c(self) noexcept nogil:
        """Forgets levels and pending checks, for a connection that starts anew. Counters stay."""
        cdef counts_t* counts = &self.counts
        cdef int token
        for token in range(2):
            book_clear(self.book[token])
            self.epoch[token] = self.epoch[token] + 1
            self.has_snapshot[token] = False
            self.best_ok[token] = True
            checks_reset(&self.checks, token, self.token_ms[token])
            self.token_ms[token] = 0
            self.token_ns[token] = 0
        self.mirror_ok = True
        self.checks.n_touched = 0
        self.checks.whole_due = False
        self.n_changes = 0
        self.has_trade = False
        self.checks.batch_ms = -1
        counts.resets += 1

    cdef int parse(self, scratch_t* scratch, const char* data, Py_ssize_t size) noexcept with gil:
        """Reads a frame with orjson into the scratch; -1 and counted if it is refused."""
        cdef counts_t* counts = &self.counts
        raw = b""
        try:
            raw = PyBytes_FromStringAndSize(data, size)
            if scratch == NULL:
                raise parsing.FrameRefused("memory", "memory: none for reading frames in this thread")
            if scratch.busy:
                raise parsing.FrameRefused("reentrant", "reentrant: the parser is reading another frame")
            scratch.busy = True
            try:
                parse_frame(&scratch.frame, &self.ids, raw)
            finally:
                scratch.busy = False
            return 0
        except parsing.FrameRefused as refused:
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
        """`(token, side, price_e4, old_micro, new_micro)` of each level that the last frame changed.

        All books of a thread share the room for changes: RuntimeError if the thread has applied a frame to
        others since.
        """
        if self.n_changes and scratch_of_thread().owner != <const void*>self:
            raise RuntimeError("the changes of the last frame are gone: another market's frame came since")
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
    def winner(self):
        """Token that a market_resolved frame named as winner: 0 Up, 1 Down, None before."""
        return None if self.winner < 0 else self.winner

    @property
    def state(self):
        """Per-token and market state, as a dict: what the C fields of the same names hold."""
        return {
            "event_kind": parsing.KIND_NAMES.get(self.event_kind, "refused"),
            "venue_ms": self.venue_ms,
            "token_ms": (self.token_ms[0], self.token_ms[1]),
            "token_ns": (self.token_ns[0], self.token_ns[1]),
            "has_snapshot": (bool(self.has_snapshot[0]), bool(self.has_snapshot[1])),
            "epoch": (self.epoch[0], self.epoch[1]),
            "tick_e4": self.tick_e4,
            "unconfirmed": (bool(self.checks.unconfirmed[0]), bool(self.checks.unconfirmed[1])),
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
        checks = &self.checks
        events = {name: counts.kinds[kind] for kind, name in parsing.KIND_NAMES.items()}
        events["price_change"] += counts.template_frames
        return {
            "frames": counts.template_frames + counts.general_frames + counts.fallback_frames,
            "template_frames": counts.template_frames,
            "general_frames": counts.general_frames,
            "fallback_frames": counts.fallback_frames,
            "events": events,
            "refused": counts.kinds[REFUSED],
            "decode_failures": dict(self._refusals),
            "unknown_assets": counts.unknown_assets,
            "level_changes": counts.level_changes,
            "snapshots": counts.snapshots,
            "tick_changes": counts.tick_changes,
            "old_snapshots": checks.old_snapshots,
            "resets": counts.resets,
            "best_checks": checks.best_checks,
            "best_mismatches": checks.best_mismatches,
            "mirror_checks": checks.mirror_checks,
            "mirror_mismatches": checks.mirror_mismatches,
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
