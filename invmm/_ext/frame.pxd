"""What the scanners and the parser make of a frame: declarations of `frame.h`, `scan.h` and `scratch.h`."""

from libc.stdint cimport int32_t, int64_t, uint8_t


cdef extern from "frame.h":
    enum:
        REFUSED                 # event_kind: malformed, changed nothing
        BOOK
        PRICE_CHANGE
        LAST_TRADE
        TICK_SIZE
        BEST_BID_ASK
        PONG
        MARKET_RESOLVED
        NEW_MARKET
        OTHER
        SCAN_KINDS
        SCAN_PUNT
        SCAN_TEMPLATE
        SCAN_GENERAL
        SCAN_UNKNOWN
        SCAN_LEVELS
        SCAN_EVENTS
        SCAN_ID_SIZE
        DECIMAL_SYNTAX
        DECIMAL_NEGATIVE
        DECIMAL_PRECISION
        DECIMAL_RANGE
    const int64_t SIZE_LIMIT_MICRO

    ctypedef struct scan_level_t:
        int64_t size_micro
        int32_t price_e4
        uint8_t token, side

    ctypedef struct scan_event_t:
        int64_t venue_ms
        int64_t size_micro
        int32_t first, count
        int32_t price_e4
        int32_t tick_e4
        int32_t* best_bid
        int32_t* best_ask
        uint8_t kind, token, side

    ctypedef struct scan_ids_t:
        int32_t* length
        char[2][128] id

    ctypedef struct scan_frame_t:
        int32_t n_events, n_levels, unknown, ignored
        int32_t last_kind, winner
        int64_t last_ms
        int32_t* seen
        scan_event_t* events
        scan_level_t* levels

    int decimal_exact(const char* text, Py_ssize_t n, int scale, int64_t limit, int64_t* value) nogil
    void ids_set(scan_ids_t* ids, const char* up, int up_length, const char* down, int down_length) nogil
    void begin_frame(scan_frame_t* frame) nogil
    void begin_event(const scan_frame_t* frame, scan_event_t* event) nogil
    int keep_event(scan_frame_t* frame, scan_event_t* event, int kind, int token) nogil


cdef extern from "scan.h":
    int scan_frame(scan_frame_t* frame, const scan_ids_t* ids, const char* data, Py_ssize_t size) nogil


cdef extern from "scratch.h":
    ctypedef struct change_t:   # one level whose size changed in the last frame
        uint8_t token
        uint8_t side
        int32_t price_e4
        int64_t old_micro
        int64_t new_micro

    ctypedef struct scratch_t:
        const void* owner
        int busy
        scan_frame_t frame
        change_t* changes

    scratch_t* scratch_of_thread() nogil
