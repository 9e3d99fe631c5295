"""Two connections of one market channel made into one stream: the first copy of each message wins.

Takes the messages of two connections, gives a sink each message once, in order. Both connections carry the
same messages in the same order of timestamps, one a little behind the other at any time, so a message is

| its timestamp                | from the connection that leads | from the other                            |
|------------------------------|--------------------------------|-------------------------------------------|
| later than any               | new                            | new, and it leads from now on             |
| the latest                   | new, unless the other had it   | new, unless the first had it              |
| earlier                      | new (the venue's own order)    | a copy of what was seen, passed over      |

Equal messages of the latest timestamp are matched by a digest, one for one, so that a message that the venue
itself repeats stays repeated. The books with which a connection begins are passed over while the other one
carries the stream. When a connection is lost the sink is told only if the other does not carry on.
Nothing is allocated for a message.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from invmm._ext.sink cimport FrameSink


cdef extern from "<string.h>" nogil:
    # A GNU and BSD extension, which Python.h makes visible (_GNU_SOURCE).
    void* memmem(const void* haystack, size_t haystack_size, const void* needle, size_t needle_size)

cdef int64_t SANE_MS = 100000000000000
cdef const char* STAMP_KEY = b'"timestamp"'
cdef const char* BIDS_KEY = b'"bids"'


cdef int64_t stamp_c(const char* data, Py_ssize_t size) noexcept nogil:
    """The last timestamp of a message in ms, 0 if there is none."""
    cdef:
        const char* end = data + size
        const char* at = data
        int64_t stamp_ms = 0
        int64_t number

    while True:
        at = <const char*> memmem(at, <size_t> (end - at), STAMP_KEY, 11)
        if at == NULL:
            return stamp_ms
        at += 11
        while at < end and (at[0] == c" " or at[0] == c":" or at[0] == c'"'):
            at += 1
        number = 0
        while at < end and 48 <= at[0] <= 57 and number < SANE_MS:  # digits
            number = 10 * number + (at[0] - 48)
            at += 1
        stamp_ms = number if number else stamp_ms


cdef int books_c(const char* data, Py_ssize_t size) noexcept nogil:
    """How many books a message holds."""
    cdef:
        const char* at = data
        int count = 0

    while True:
        at = <const char*> memmem(at, <size_t> (data + size - at), BIDS_KEY, 6)
        if at == NULL:
            return count
        count += 1
        at += 6


cdef uint64_t digest_c(const char* data, Py_ssize_t size) noexcept nogil:
    """64 bits of a message: eight bytes at a time, mixed by multiplication (constants of splitmix64)."""
    cdef:
        uint64_t state = <uint64_t> size * <uint64_t> 0x9E3779B97F4A7C15
        uint64_t word
        Py_ssize_t at = 0

    while at < size:
        word = 0
        memcpy(&word, data + at, <size_t> min(size - at, 8))
        state = (state ^ word) * <uint64_t> 0xBF58476D1CE4E5B9
        state ^= state >> 29
        at += 8
    return state


cdef class FrameMerge:
    """The stream of one market out of two connections.

    Parameters
    ----------
    sink : FrameSink
        Gets the merged stream, as if from one connection.
    tokens : int
        How many books a connection begins with.

    Attributes
    ----------
    lanes : tuple of FrameSink
        What each of the two connections has for its sink.
    """

    def __init__(self, FrameSink sink not None, int tokens=2):
        if tokens < 1:
            raise ValueError(f"tokens: expected at least 1, found {tokens}")
        self._sink = sink
        self._tokens = tokens
        self._owed[0] = self._owed[1] = tokens
        self._leader = -1
        self.lanes = (FrameLane(self, 0), FrameLane(self, 1))

    @property
    def carrying(self):
        """Which lanes have delivered their books and are not lost."""
        return self._owed[0] == 0, self._owed[1] == 0

    cdef bint takes_c(self, int lane, const char* data, Py_ssize_t size) noexcept nogil:
        """Whether a message is new to the stream."""
        cdef:
            int64_t stamp_ms = stamp_c(data, size)
            uint64_t digest
            uint8_t bit = <uint8_t> (1 << lane)
            int i

        if self._owed[lane]:
            self._owed[lane] = max(0, self._owed[lane] - books_c(data, size))
            if self._owed[1 - lane] == 0:
                self.duplicates += 1
                return False
        if stamp_ms == 0:
            return True  # what has no timestamp changes no book
        if stamp_ms < self._newest_ms:
            self.old += self._leader != lane
            return self._leader == lane
        if stamp_ms > self._newest_ms:
            self._newest_ms = stamp_ms
            self._leader = lane
            self._count = 0
        digest = digest_c(data, size)
        for i in range(self._count):
            if self._digest[i] == digest and not self._seen[i] & bit:
                self._seen[i] |= bit
                self.duplicates += 1
                return False
        if self._count < MOMENT:
            self._digest[self._count] = digest
            self._seen[self._count] = bit
            self._count += 1
        return True

    cdef bint lost_c(self, int lane) noexcept nogil:
        """A connection is gone; whether the stream is."""
        self._owed[lane] = self._tokens
        if self._leader == lane:
            self._leader = -1  # its successor is another connection; the other one may be behind
        if self._owed[1 - lane] == 0:
            self.switches += 1
            return False
        self._newest_ms = 0
        self._count = 0
        return True


cdef class FrameLane(FrameSink):
    """One connection's side of a `FrameMerge`; made by it."""

    def __init__(self, FrameMerge merge not None, int number):
        self._merge = merge
        self._number = number

    cdef void on_frame_c(self, const char* data, Py_ssize_t size, int64_t now_ns, bint last) noexcept:
        cdef FrameSink sink = self._merge._sink

        if self._merge.takes_c(self._number, data, size):
            sink.entered_ns = self.entered_ns
            sink.on_frame_c(data, size, now_ns, last)
            self._pending = not last
            self.hand_back()
        elif last:
            self.on_buffer_end_c(now_ns)

    cdef void on_buffer_end_c(self, int64_t now_ns) noexcept:
        if self._pending:
            self._pending = False
            self._merge._sink.on_buffer_end_c(now_ns)
            self.hand_back()

    cdef void on_disconnect_c(self, int64_t now_ns) noexcept:
        self.on_buffer_end_c(now_ns)
        if self._merge.lost_c(self._number):
            self._merge._sink.on_disconnect_c(now_ns)
            self.hand_back()

    cdef void hand_back(self) noexcept:
        """What the sink says about a message is said to the connection that brought it."""
        cdef FrameSink sink = self._merge._sink

        self.published = sink.published
        self.fault = sink.fault
        sink.published = 0
        sink.fault = 0
