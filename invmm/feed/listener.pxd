"""The compiled websocket listener: its fields and what it does with one frame."""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from picows.picows cimport WSFrame, WSListener, WSTransport

from invmm._ext.sink cimport FrameSink, latency_bucket


cdef enum:
    TOKEN_ID_BYTES = 80         # a token id is a 256-bit number in decimal: at most 78 digits
    GAP_BUCKETS = 24            # gap of a token's data: bucket i counts gaps below 2^i ms

    CAUSE_NONE = 0              # EndCause of states.py
    CAUSE_PEER = 1
    CAUSE_CLOSED = 2
    CAUSE_FAULT = 3
    CAUSE_OVERSIZE = 4
    CAUSE_PROTOCOL = 5

    PART_NONE = 0               # no message is being joined
    PART_TEXT = 1               # a text message is being joined
    PART_IGNORED = 2            # the rest of a binary message is being skipped


cdef struct slot_t:
    uint64_t tail               # last eight bytes of the id: one compare rejects nearly every other id
    int64_t heard_ns            # engine time of the last message that named the token, 0 if none
    uint8_t length              # of the id in bytes; 0: the slot is free
    uint8_t has_book            # a book of the token arrived on this connection
    char[TOKEN_ID_BYTES] id


cdef class FeedListener(WSListener):
    cdef:
        readonly uint64_t frames            # websocket frames received, of any kind
        readonly uint64_t bytes             # their payload bytes
        readonly uint64_t messages          # text messages handed to the sink
        readonly uint64_t joined            # of those, put together from several frames
        readonly uint64_t binary            # binary frames, ignored
        readonly uint64_t pings             # ping control frames answered
        readonly uint64_t pongs             # text PONG received
        readonly uint64_t late              # frames that came after the connection was given up, ignored
        readonly int64_t last_message_ns    # engine time of the last message, 0 if none
        readonly int64_t round_trip_ns      # real time from text PING to text PONG, 0 if not yet known
        readonly int64_t ping_ns            # engine time of the oldest text PING without PONG, 0 if none
        readonly int end_cause              # CAUSE_*
        readonly object last_error          # the exception that ended the connection, None if none
        readonly int waiting                # slots without a book
        public bint awaiting_data           # the next message that names a followed token notifies; then off
        readonly bint poison                # overwrite each message after use, to expose use after return

        FrameSink _sink
        WSTransport _transport
        object _notify                      # called without arguments when the supervisor should look
        int64_t _origin_ns
        int64_t _mono_origin_ns
        double _scale
        int64_t _ping_mono_ns
        bint _forwarding                    # between connect and end
        bint _owed                          # the sink was not yet told that the buffer has ended
        int _part                           # PART_*
        char* _join
        Py_ssize_t _join_size
        Py_ssize_t _join_capacity
        slot_t* _slots
        int _capacity
        int _used                           # slots in use are below this
        int64_t _fresh_until_ns             # no message need be searched before: all tokens were just heard
        uint64_t[GAP_BUCKETS] _gaps
        dict _slot_of                       # token id -> slot

    cpdef on_ws_connected(self, WSTransport transport)
    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame)
    cpdef on_ws_disconnected(self, WSTransport transport)

    cdef int64_t _engine_ns(self, int64_t mono_ns) noexcept nogil
    cdef int _take(self, WSTransport transport, WSFrame frame, int64_t mono_ns) except -1
    cdef int _take_other(self, WSTransport transport, WSFrame frame, int64_t mono_ns) except -1
    cdef int _append(self, WSFrame frame) except -1
    cdef int _deliver(self, char* data, Py_ssize_t size, int64_t mono_ns, bint last) except -1
    cdef int _hear(self, const char* data, Py_ssize_t size, int64_t now_ns) except -1
    cdef int _end(self, int cause) except -1
