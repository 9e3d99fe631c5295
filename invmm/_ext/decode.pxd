"""Frames of the market channel into the two books of a market: what compiled callers use.

`apply_c` reads one frame, applies it, and leaves behind what it meant in the fields below, valid until the
next call.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from invmm._ext.book cimport Book, book_t


cdef extern from "scan.h":
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
    ctypedef struct scan_frame_t:
        char[2][128] id
        int32_t* id_length
        int32_t n_events, n_levels, unknown, ignored
        int32_t* seen
        int32_t last_kind
        int64_t last_ms
        scan_event_t* events
        scan_level_t* levels


cdef struct change_t:           # one level whose size changed in the last frame
    uint8_t token
    uint8_t side
    int32_t price_e4
    int64_t old_micro
    int64_t new_micro


cdef struct trade_t:            # last_trade_price
    uint8_t token
    uint8_t side                # the taker's
    int32_t price_e4
    int64_t size_micro
    int64_t venue_ms


cdef struct counts_t:
    int64_t[16] kinds           # events by kind; REFUSED: frames
    int64_t frames, template_frames, general_frames, fallback_frames
    int64_t unknown_assets, snapshots, tick_changes, resets, level_changes
    int64_t best_checks, best_mismatches, mirror_checks, mirror_mismatches


cdef class MarketBooks:
    cdef readonly Book up, down
    cdef book_t* book[2]        # the C books of up and down
    cdef change_t* changes      # of the last apply
    cdef int n_changes
    cdef trade_t trade          # valid if has_trade: the last frame was a trade
    cdef bint has_trade
    cdef int event_kind         # of the last frame; the last event's of an array
    cdef int64_t venue_ms       # timestamp of the last frame, 0 if it has none
    cdef int64_t[2] token_ms    # last change of content per token: venue timestamp
    cdef int64_t[2] token_ns    # and the now_ns it was applied at
    cdef bint[2] has_snapshot   # false from construction, reset or tick change to the token's next book
    cdef uint32_t[2] epoch      # grows with a tick change and a reset
    cdef int32_t tick_e4        # the last one the venue told, of either token
    cdef public int64_t min_size_micro  # smallest order; frames do not tell it, discovery does
    cdef bint[2] best_ok        # outcome of the last best-versus-message check
    cdef bint mirror_ok         # outcome of the last mirror check

    cdef scan_frame_t* frame
    cdef counts_t counts
    cdef int64_t batch_ms       # timestamp of the batch under way, -1: none
    cdef bint[2] has_best       # the batch's last price_change told bests for this token
    cdef int32_t[2] told_bid, told_ask
    cdef int n_touched
    cdef int32_t[128] touched   # levels of the batch in Up's terms: 2 x price_e4 + side
    cdef bint whole_due         # compare whole books at the end of the batch
    cdef int64_t[2] snapshot_ms
    cdef object _rejected, _refusals
    cdef readonly str last_error

    cdef int apply_c(self, const char* data, Py_ssize_t size, int64_t now_ns) noexcept nogil
    cdef void end_batch_c(self) noexcept nogil
    cdef void reset_c(self) noexcept nogil
    cdef int apply_events(self, int64_t now_ns) noexcept nogil
    cdef void apply_book(self, const scan_event_t* event) noexcept nogil
    cdef void apply_changes(self, const scan_event_t* event, int64_t now_ns) noexcept nogil
    cdef void set_tick(self, int token, int32_t tick_e4) noexcept nogil
    cdef bint mirror_holds(self) noexcept nogil
    cdef int parse(self, const char* data, Py_ssize_t size) noexcept with gil
