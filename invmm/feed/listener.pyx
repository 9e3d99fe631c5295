"""The websocket listener: frames are read in place in the receive buffer and handed to a `FrameSink`.

Takes what picows parsed, gives whole text messages with engine time and the end-of-buffer mark. Runs on the
event loop's thread with the GIL. A text message that arrives in one frame is neither copied nor turned into a
Python object; nothing is allocated for it here. Messages split over frames are joined in a buffer of fixed
size. PONG (the venue's text keep-alive), control frames and binary frames never reach the sink.

It also keeps, for each token, when a message last named it: a connection may answer every PING and yet be
dead for one token. The search costs about as much as a copy of the message, so it is left out while every
token was heard in the last 100 ms.

Whatever goes wrong here ends this connection and is told to the sink at once; it never reaches the event
loop. One listener serves one connection.
"""

cimport cython
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset
from picows.picows cimport WSCloseCode, WSMsgType
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

import picows


cdef extern from * nogil:
    """
    #ifdef CYTHON_WITHOUT_ASSERTIONS
    #define INVMM_POISON_BY_DEFAULT 0
    #else
    #define INVMM_POISON_BY_DEFAULT 1
    #endif
    """
    const int INVMM_POISON_BY_DEFAULT

cdef extern from "<string.h>" nogil:
    # A GNU and BSD extension, which Python.h makes visible (_GNU_SOURCE).
    void* memmem(const void* haystack, size_t haystack_size, const void* needle, size_t needle_size)


if not picows.__version__.startswith("2.3."):
    # Fields of its objects are read here: a listener compiled for 2.3 must not meet another layout.
    raise ImportError(f"invmm's feed is compiled for picows 2.3, found {picows.__version__}")

cdef enum:
    POISON_BYTE = 0xDD
    FRESH_NS = 100_000_000      # precision of the data clock; the silence limit is thirty times that

cdef const char* ASSET_KEY = b'"asset_id"'
cdef const char* BIDS_KEY = b'"bids"'


cdef inline int64_t _monotonic_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t> now.tv_sec * 1_000_000_000 + now.tv_nsec


cdef inline uint64_t _tail(const char* text, Py_ssize_t size) noexcept nogil:
    """The last eight bytes of an id (fewer are padded with zeros) as one number."""
    cdef uint64_t tail = 0
    if size >= 8:
        memcpy(&tail, text + size - 8, 8)
    else:
        memcpy(&tail, text, size)
    return tail


@cython.final
cdef class FeedListener(WSListener):
    """Listener of one connection.

    Parameters
    ----------
    sink : FrameSink
        Gets the messages.
    clock : LiveClock
        Gives `origin_ns`, `mono_origin_ns` and `scale`; read once, so stamps made here and by the clock
        agree.
    notify : callable, optional
        Called without arguments when the connection has ended, when the last awaited book or the first PONG
        has arrived, and at data while `awaiting_data` is set.
    join_bytes : int
        Longest message, in bytes, that may arrive split over several frames.
    max_tokens : int
        How many tokens the data clock can follow.
    poison : bool, optional
        Overwrite each message after the sink has returned, so that whoever keeps a pointer reads rubbish. On
        by default in checked builds, off in release builds.
    """

    def __cinit__(self, *args, Py_ssize_t join_bytes=1 << 20, int max_tokens=200, **kwargs):
        if join_bytes < 1 or max_tokens < 0:
            raise ValueError(f"expected join_bytes of at least 1 and max_tokens of at least 0, "
                             f"found {join_bytes} and {max_tokens}")
        self._join_capacity = join_bytes
        self._join = <char*> malloc(join_bytes)
        self._capacity = max_tokens
        self._slots = <slot_t*> calloc(max_tokens + 1, sizeof(slot_t))
        if self._join == NULL or self._slots == NULL:
            raise MemoryError()

    def __init__(self, FrameSink sink not None, clock, notify=None, *, Py_ssize_t join_bytes=1 << 20,
                 int max_tokens=200, poison=None):
        self._sink = sink
        self._notify = notify
        self._origin_ns = clock.origin_ns
        self._mono_origin_ns = clock.mono_origin_ns
        self._scale = clock.scale
        self.poison = INVMM_POISON_BY_DEFAULT if poison is None else poison
        self._slot_of = {}

    def __dealloc__(self):
        free(self._join)
        free(self._slots)

    # What picows calls.

    cpdef on_ws_connected(self, WSTransport transport):
        if self.end_cause != CAUSE_NONE:
            transport.disconnect(False)  # given up during the handshake
            return
        self._transport = transport
        self._forwarding = True

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        cdef int64_t mono_ns = _monotonic_ns()
        try:
            self._take(transport, frame, mono_ns)
        except Exception as error:
            self.last_error = error
            self._end(CAUSE_FAULT)

    cpdef on_ws_disconnected(self, WSTransport transport):
        # When we have not ended it but a close frame of ours is out, picows refused what it was sent.
        refused = transport.close_handshake is not None and transport.close_handshake.sent is not None
        self._end(CAUSE_PROTOCOL if refused else CAUSE_PEER)

    # What the supervisor calls.

    def ping(self):
        """Sends the text PING and starts the round trip if none is under way."""
        if not self._forwarding:
            return
        self._transport.send(WSMsgType.TEXT, b"PING")
        if self.ping_ns == 0:
            self._ping_mono_ns = _monotonic_ns()
            self.ping_ns = self._engine_ns(self._ping_mono_ns)

    def send_text(self, bytes message not None):
        """Sends one text message; False when the connection has ended and nothing was sent."""
        if not self._forwarding:
            return False
        self._transport.send(WSMsgType.TEXT, message)
        return True

    def end(self, int cause=CAUSE_CLOSED):
        """Gives the connection up: the sink is told before this returns and hears no more of it.

        May be repeated; the first `cause` (an EndCause other than NONE) stays. Before the handshake it
        refuses the connection.
        """
        self._end(cause)

    def follow(self, token_ids):
        """Sets the tokens whose data clock is kept; what is known of tokens that stay is kept.

        Parameters
        ----------
        token_ids : iterable of str
            The venue's decimal ids, 1 to 80 characters of ASCII, no duplicates.
        """
        cdef:
            bytes text
            int slot
        wanted = list(token_ids)
        distinct = set(wanted)
        if len(wanted) > self._capacity or len(distinct) != len(wanted):
            raise ValueError(f"expected at most {self._capacity} different tokens, found {len(wanted)}")
        for token_id in wanted:
            if not 1 <= len(token_id) <= TOKEN_ID_BYTES or not token_id.isascii():
                raise ValueError(f"token id: expected 1 to 80 ASCII characters, found {token_id!r}")
        for token_id in [known for known in self._slot_of if known not in distinct]:
            slot = self._slot_of.pop(token_id)
            if not self._slots[slot].has_book:
                self.waiting -= 1
            memset(&self._slots[slot], 0, sizeof(slot_t))
        for token_id in wanted:
            if token_id in self._slot_of:
                continue
            slot = 0
            while self._slots[slot].length:
                slot += 1
            text = token_id.encode("ascii")
            memcpy(self._slots[slot].id, <const char*> text, len(text))
            self._slots[slot].length = <uint8_t> len(text)
            self._slots[slot].tail = _tail(<const char*> text, len(text))
            self._used = max(self._used, slot + 1)
            self._slot_of[token_id] = slot
            self.waiting += 1
        self._fresh_until_ns = 0

    def heard(self, str token_id not None):
        """`(heard_ns, has_book)` of a token: engine time of its last data (0: none), whether a book came."""
        cdef int slot = self._slot_of[token_id]
        return self._slots[slot].heard_ns, bool(self._slots[slot].has_book)

    def gap_counts(self):
        """How many gaps in a token's data were below 2^i ms and not below 2^(i−1); the last takes the rest.

        Gaps below 100 ms are seen only in part, which can only lengthen a quantile of the rest.
        """
        cdef int bucket
        return [self._gaps[bucket] for bucket in range(GAP_BUCKETS)]

    def engine_ns(self, int64_t mono_ns):
        """Engine time of a CLOCK_MONOTONIC stamp, as computed for messages (both in ns)."""
        return self._engine_ns(mono_ns)

    @property
    def is_open(self):
        """Connected and not given up."""
        return bool(self._forwarding)

    # One frame.

    cdef int64_t _engine_ns(self, int64_t mono_ns) noexcept nogil:
        cdef int64_t elapsed = mono_ns - self._mono_origin_ns
        # As in LiveClock.at_ns: exact without a factor, truncated towards zero with one.
        if self._scale == 1.0:
            return self._origin_ns + elapsed
        return self._origin_ns + <int64_t> (<double> elapsed * self._scale)

    cdef int _take(self, WSTransport transport, WSFrame frame, int64_t mono_ns) except -1:
        if not self._forwarding:
            self.late += 1
            return 0
        self.frames += 1
        self.bytes += <uint64_t> frame.payload_size
        if (frame.msg_type == WSMsgType.TEXT and frame.fin and self._part == PART_NONE
                and not (frame.rsv1 or frame.rsv2 or frame.rsv3)):
            self._deliver(frame.payload_ptr, frame.payload_size, mono_ns, frame.last_in_buffer)
        else:
            self._take_other(transport, frame, mono_ns)
        if frame.last_in_buffer and self._owed and self._forwarding:
            # The buffer ended with a PONG, a control frame or half a message: act on what came before.
            self._owed = False
            self._sink.on_buffer_end_c(self._engine_ns(mono_ns))
        return 0

    cdef int _take_other(self, WSTransport transport, WSFrame frame, int64_t mono_ns) except -1:
        """Anything but a whole text message; a sequence that RFC 6455 §5.4 forbids is an end."""
        cdef Py_ssize_t size
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            return self._end(CAUSE_PROTOCOL)  # no extension was negotiated
        if frame.msg_type == WSMsgType.PING:
            self.pings += 1
            transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code() or WSCloseCode.OK)
            self._end(CAUSE_PEER)
        elif frame.msg_type == WSMsgType.CONTINUATION:
            if self._part == PART_NONE:
                return self._end(CAUSE_PROTOCOL)
            if self._part == PART_TEXT:
                self._append(frame)
                if not self._forwarding:
                    return 0
            if frame.fin:
                if self._part == PART_TEXT:
                    size = self._join_size
                    self._part = PART_NONE
                    self.joined += 1
                    self._deliver(self._join, size, mono_ns, frame.last_in_buffer)
                else:
                    self._part = PART_NONE
        elif frame.msg_type == WSMsgType.BINARY:
            self.binary += 1
            if self._part != PART_NONE:
                return self._end(CAUSE_PROTOCOL)
            if not frame.fin:
                self._part = PART_IGNORED
        elif frame.msg_type == WSMsgType.TEXT:
            if self._part != PART_NONE:
                return self._end(CAUSE_PROTOCOL)
            self._join_size = 0
            self._part = PART_TEXT
            self._append(frame)
        return 0  # a pong control frame answers nothing that we sent

    cdef int _append(self, WSFrame frame) except -1:
        """Adds to the message being joined; one too long ends the connection: its loss would be a hole."""
        if frame.payload_size > self._join_capacity - self._join_size:
            return self._end(CAUSE_OVERSIZE)
        memcpy(self._join + self._join_size, frame.payload_ptr, <size_t> frame.payload_size)
        self._join_size += frame.payload_size
        return 0

    cdef int _deliver(self, char* data, Py_ssize_t size, int64_t mono_ns, bint last) except -1:
        cdef int64_t now_ns
        if size == 4 and memcmp(data, b"PONG", 4) == 0:
            self.pongs += 1
            if self.ping_ns:
                self.round_trip_ns = mono_ns - self._ping_mono_ns
                self.ping_ns = 0
                if self.pongs == 1 and self._notify is not None:
                    self._notify()
            return 0
        now_ns = self._engine_ns(mono_ns)
        self.messages += 1
        self.last_message_ns = now_ns
        self._owed = not last
        self._sink.entered_ns = mono_ns
        self._sink.on_frame_c(data, size, now_ns, last)
        if self._sink.published:
            self._sink.published = 0
            self._sink.acted[latency_bucket(_monotonic_ns() - mono_ns)] += 1
        if self._sink.fault:
            self._sink.fault = 0
            return self._end(CAUSE_FAULT)
        if self._used and now_ns >= self._fresh_until_ns:
            self._hear(data, size, now_ns)
        if self.poison:
            memset(data, POISON_BYTE, <size_t> size)
        return 0

    cdef int _hear(self, const char* data, Py_ssize_t size, int64_t now_ns) except -1:
        """Moves the data clocks of the tokens that the message names as `"asset_id"`.

        Text inside other strings could be taken for a key; that would need a hostile venue, and then only
        delays an alarm.
        """
        cdef:
            const char* at = data
            const char* end = data + size
            const char* start
            uint64_t tail
            int slot
            int bucket
            int64_t gap_ms
            int64_t oldest_ns = now_ns
            int waiting = self.waiting
            bint heard = False
            # A message with bids is a book, or an array of books: the venue sends no mixed arrays.
            bint has_book = waiting > 0 and memmem(data, <size_t> size, BIDS_KEY, 6) != NULL

        while True:
            at = <const char*> memmem(at, <size_t> (end - at), ASSET_KEY, 10)
            if at == NULL:
                break
            at += 10
            while at < end and (at[0] == c" " or at[0] == c":"):
                at += 1
            if at >= end or at[0] != c'"':
                continue
            at += 1
            start = at
            while at < end and at[0] != c'"':
                at += 1
            if at >= end or not 1 <= at - start <= TOKEN_ID_BYTES:
                continue
            tail = _tail(start, at - start)
            for slot in range(self._used):
                if (self._slots[slot].tail == tail and self._slots[slot].length == at - start
                        and memcmp(self._slots[slot].id, start, <size_t> (at - start)) == 0):
                    if self._slots[slot].heard_ns and self._slots[slot].heard_ns != now_ns:
                        gap_ms = (now_ns - self._slots[slot].heard_ns) // 1_000_000
                        bucket = 0
                        while gap_ms and bucket < GAP_BUCKETS - 1:
                            gap_ms >>= 1
                            bucket += 1
                        self._gaps[bucket] += 1
                    self._slots[slot].heard_ns = now_ns
                    heard = True
                    if has_book and not self._slots[slot].has_book:
                        self._slots[slot].has_book = True
                        self.waiting -= 1
                    break

        for slot in range(self._used):
            if self._slots[slot].length:
                oldest_ns = min(oldest_ns, self._slots[slot].heard_ns)
        self._fresh_until_ns = oldest_ns + FRESH_NS if self.waiting == 0 else 0
        if (waiting and self.waiting == 0) or (heard and self.awaiting_data):
            self.awaiting_data = False
            if self._notify is not None:
                self._notify()
        return 0

    cdef int _end(self, int cause) except -1:
        """Ends the connection once: tells the sink, closes the socket, wakes the supervisor."""
        if not self._forwarding:
            if self._transport is None:
                self.end_cause = cause
            return 0
        self._forwarding = False
        self.end_cause = cause
        self._sink.on_disconnect_c(self._engine_ns(_monotonic_ns()))
        self._sink.fault = 0
        if cause == CAUSE_PEER or cause == CAUSE_CLOSED:
            self._transport.disconnect(True)  # lets a close frame out
        else:
            self._transport.disconnect(False)
        if self._notify is not None:
            self._notify()
        return 0
