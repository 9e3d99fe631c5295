"""Frames of the market channel into the two books of a market: what compiled callers use.

`apply_c` reads one frame, applies it, and leaves behind what it meant in the fields below, valid until the
next call; `changes` until the thread applies its next frame, to whichever books.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from invmm._ext.book cimport Book, book_t
from invmm._ext.frame cimport change_t, scan_event_t, scan_ids_t, scratch_t
from invmm._ext.integrity cimport checks_t


cdef struct trade_t:            # last_trade_price
    uint8_t token
    uint8_t side                # the taker's
    int32_t price_e4
    int64_t size_micro
    int64_t venue_ms


cdef struct counts_t:
    int64_t template_frames     # each of them one price_change, which `kinds` does not count again
    int64_t level_changes
    int64_t general_frames, fallback_frames
    int64_t unknown_assets, snapshots, tick_changes, resets
    int64_t[16] kinds           # events by kind; REFUSED: frames


cdef class MarketBooks:
    # In the order of use: what the usual frame touches lies together.
    cdef book_t* book[2]        # the C books of up and down
    cdef change_t* changes      # of the last apply; not of this object if n_changes is 0
    cdef int n_changes
    cdef bint has_trade
    cdef int event_kind         # of the last frame; the last event's of an array
    cdef int winner             # token that a market_resolved named, -1: none
    cdef int64_t venue_ms       # timestamp of the last frame, 0 if it has none
    cdef int64_t[2] token_ms    # last change of content per token: venue timestamp
    cdef int64_t[2] token_ns    # and the now_ns it was applied at
    cdef bint[2] has_snapshot   # false from construction, reset or tick change to the token's next book
    cdef bint[2] best_ok        # outcome of the last best-versus-message check
    cdef bint mirror_ok         # outcome of the last mirror check
    cdef int32_t tick_e4        # the last one the venue told, of either token
    cdef uint32_t[2] epoch      # grows with a tick change and a reset
    cdef counts_t counts
    cdef scan_ids_t ids
    cdef checks_t checks
    cdef trade_t trade          # valid if has_trade: the last frame was a trade
    cdef public int64_t min_size_micro  # smallest order; frames do not tell it, discovery does
    cdef readonly Book up, down
    cdef object _rejected, _refusals
    cdef readonly str last_error

    cdef int apply_c(self, const char* data, Py_ssize_t size, int64_t now_ns) noexcept nogil
    cdef void end_batch_c(self) noexcept nogil
    cdef void reset_c(self) noexcept nogil
    cdef int apply_events(self, scratch_t* scratch, int64_t now_ns) noexcept nogil
    cdef void apply_book(self, scratch_t* scratch, const scan_event_t* event) noexcept nogil
    cdef void apply_changes(
        self, scratch_t* scratch, const scan_event_t* event, int64_t now_ns
    ) noexcept nogil
    cdef void set_tick(self, int token, int32_t tick_e4) noexcept nogil
    cdef int parse(self, scratch_t* scratch, const char* data, Py_ssize_t size) noexcept with gil
