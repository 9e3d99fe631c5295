"""The replace transaction of one market, for the step on top of it."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from invmm._ext.desk cimport OrderDesk
from invmm._ext.ending cimport endings_t
from invmm._ext.exposure cimport exposure_t
from invmm._ext.merge cimport MAX_SLOTS, base_t, slot_t
from invmm._ext.solver cimport policy_output_t


cdef enum:
    PHASE_IDLE = 0              # none is open
    PHASE_APPLY = 1             # messages go out
    PHASE_RESOLVE = 2           # evidence for each operation is awaited

    OP_HELD = 1                 # its placement waits: for its old order's end, or for another one's
    OP_PLACED = 2               # handed over, not proven yet
    OP_DONE = 3                 # proven, or refused before anything was sent, or given up for a newer target


cdef struct op_t:
    slot_t slot
    uint64_t new_key            # the order placed for it, 0: none
    uint8_t state               # OP_*
    uint8_t merged              # MERGE_*
    bint cancel_first           # its old order must be proven dead before the new one is placed


cdef struct replace_counters_t:
    uint64_t begun
    uint64_t conflicts          # placements dropped because their base had changed: solved again
    uint64_t superseded         # placements dropped for a newer target before they were sent
    uint64_t waited             # targets that came while a transaction was open
    uint64_t discarded          # targets dropped whole, before anything was sent
    uint64_t kept               # slots left alone
    uint64_t children           # orders added for a difference in size
    uint64_t refreshed          # orders replaced before they expired
    uint64_t placed_first       # replacements: placed, acknowledged, cancelled
    uint64_t cancelled_first    # … cancelled, proven dead, placed


cdef class ReplaceDesk(OrderDesk):
    cdef:
        op_t[MAX_SLOTS] ops
        int n_ops
        slot_t[MAX_SLOTS] slots         # of the newest target
        base_t base                     # what the open transaction rests on
        uint8_t phase                   # PHASE_*
        int messages                    # of the open transaction
        int legs                        # of its present batch
        int64_t resolve_ns              # by when each operation must be proven
        endings_t endings               # what closed transactions wait for
        bint newer                      # a newer target waits
        int64_t pause_until_ns          # no placement before: the venue refused
        int64_t pause_ns
        uint64_t seen_venue_mode
        replace_counters_t replaced

    cdef void target_c(self, const policy_output_t* wanted, int64_t now_ns) noexcept nogil
    cdef void begin_c(self, int n, int64_t now_ns) noexcept nogil
    cdef void supersede_c(self, int n, int64_t now_ns) noexcept nogil
    cdef bint try_c(self, op_t* op, exposure_t* sums, bint last, int64_t now_ns) noexcept nogil
    cdef void end_old_c(self, op_t* op, int64_t now_ns) noexcept nogil
    cdef bint holds_c(self) noexcept nogil
    cdef void advance_c(self, uint8_t forbidden, int64_t now_ns) noexcept nogil
    cdef void held_c(self, uint8_t forbidden, int64_t now_ns) noexcept nogil
    cdef void close_c(self, bint reverts, int64_t now_ns) noexcept nogil
    cdef void abandon_c(self, int64_t now_ns) noexcept nogil
    cdef void drop_c(self, op_t* op, uint8_t reason) noexcept nogil
    cdef dict replace_stats(self)
