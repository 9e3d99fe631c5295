"""The gate: the last check of every order before its bytes leave, in one place and in one order.

    kill level, mode ─ venue stop, heartbeat, venue mode ─ market version, age of the book ─
    market open ─ deadline ─ rates ─ key unseen ─ (signature) ─ order id unseen, journal writable ─▶ write

It checks what its thread owns or reads from `SharedWords`; prices, sizes and exposure are the transaction's,
and the signer's caps are asked when it signs. A leg that may not go gets one Reason, and each is counted.
Cancels do not come here: nothing that stops orders stops them.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memcpy

import numpy as np

cimport numpy as cnp

from invmm import types
from invmm._ext.keytable cimport KeyTable
from invmm._ext.pace cimport LANE_CANCEL, LANE_CANCEL_ALL, LANE_PLACE
from invmm._ext.records cimport (
    COMMAND_CANCEL,
    COMMAND_PLACE,
    FLAG_POST_ONLY,
    MODE_RUNNING,
    R_IN_FLIGHT,
    R_MARKET_ENDING,
    R_MODE,
    R_RING_FULL,
    R_STALE,
    command_t,
)
from invmm._ext.words cimport SharedWords

cnp.import_array()

cdef enum:
    R_NONE = 0                  # Reason
    R_DEADLINE = 31
    R_SHUTDOWN = 32
    R_VENUE_NOT_READY = 43
    R_VENUE_MODE = 46
    R_THROTTLED = 47
    R_HEARTBEAT = 51
    R_KILLED = 60
    R_SEEN_ID = 66
    R_OLD_BOOK = 67
    VENUE_RUNNING = 0           # VenueMode
    VENUE_POST_ONLY = 2

cdef int64_t MILLISECOND_NS = 1_000_000


@cython.final
cdef class Gate:
    """Says of each placement why it may not go, or that it may.

    Parameters
    ----------
    words : SharedWords
        What the engine, the executor and the journal publish.
    """

    def __cinit__(self, SharedWords words not None):
        self.words = words
        self.keys = KeyTable()
        self.ids = KeyTable()

    def check(self, legs, int64_t now_ns, is_ready=True):
        """`Reason` for which the first of `legs` (COMMAND_DTYPE) may not go at engine time `now_ns`, or 0.

        `is_ready`: whether there is a template to write it with. Rates and what was sent before are not
        asked, and nothing is counted.
        """
        return self.check_c(first_leg(legs), is_ready, now_ns)

    def is_unseen(self, legs):
        """Whether neither the key nor, if it has one, the order id of the first of `legs` was sent before."""
        cdef const command_t* leg = first_leg(legs)

        return self.keys.find_c(leg.key) == NULL and self.signed_c(leg) != R_SEEN_ID

    def count(self, int reason):
        """One more refusal for this reason."""
        self.count_c(reason)

    def refusals(self):
        """How often an order was refused, by name of the Reason; those that never happened are missing."""
        return {types.Reason(i).name: self.refused[i] for i in range(GATE_REASONS) if self.refused[i]}

    cdef bint is_open_c(self) noexcept nogil:
        """Whether orders are placed at all."""
        return not self.stopping and self.words.mode_c() == MODE_RUNNING and self.words.kill_c() == 0

    cdef int check_c(self, const command_t* leg, bint is_ready, int64_t now_ns) noexcept nogil:
        """What needs neither rates nor a memory of what was sent."""
        cdef:
            int reason
            int64_t close_ns, until_ns

        if self.stopping:
            return R_SHUTDOWN
        if self.words.kill_c():
            return R_KILLED
        if self.words.mode_c() != MODE_RUNNING:
            return R_MODE
        reason = self.venue_c(leg.flags)
        if reason != R_NONE:
            return reason
        until_ns = self.words.heartbeat_until_c()
        if until_ns and now_ns >= until_ns:     # by now the venue may be cancelling everything
            return R_HEARTBEAT
        until_ns = self.words.engine_until_c()
        if until_ns and now_ns >= until_ns:     # it stood still: what it sent first on waking is stale
            return R_HEARTBEAT
        if leg.market >= self.words.markets or leg.token > 1:
            return R_VENUE_NOT_READY
        if leg.market_version < self.words.market_version_c(leg.market):
            return R_STALE
        # Without a book time there is nothing to compare: commands of programs that have no feed.
        if (
            self.book_max_age_ns and leg.book_ms
            and now_ns - leg.book_ms * MILLISECOND_NS > self.book_max_age_ns
        ):
            return R_OLD_BOOK
        if not is_ready:
            return R_VENUE_NOT_READY
        close_ns = self.words.market_close_c(leg.market)
        if close_ns and now_ns >= close_ns:
            return R_MARKET_ENDING
        if leg.deadline_ns and now_ns > leg.deadline_ns:
            return R_DEADLINE
        return <int>self.words.journal_stop_c()

    cdef int venue_c(self, int flags) noexcept nogil:
        """Why the venue would not take a placement, or R_NONE. One leg may find out whether it does."""
        cdef uint64_t mode = self.words.venue_mode_c()

        if self.words.venue_stop_c() != R_NONE:
            return <int>self.words.venue_stop_c()
        if self.words.missed_heartbeats_c():
            return R_HEARTBEAT
        if mode == VENUE_RUNNING or (mode == VENUE_POST_ONLY and flags & FLAG_POST_ONLY):
            return R_NONE
        if self.trials == 0:
            return R_VENUE_MODE
        self.trials -= 1
        return R_NONE

    cdef size_t group_c(
        self, const command_t* legs, size_t count, void** places, size_t reports, int64_t now_ns
    ) noexcept nogil:
        """Fills `reasons` for at most LEGS_MAX legs of one request; how many may go.

        `places`: templates by market × 2 + token. `reports`: results that there is room for; SENT and one
        answer of each leg must find room, since an order that cannot be reported is not sent.
        """
        cdef:
            size_t i, j, room, kept = 0
            int reason
            bint is_ready

        for i in range(count):
            is_ready = (
                legs[i].market < self.words.markets and legs[i].token <= 1
                and places[2 * legs[i].market + legs[i].token] != NULL
            )
            self.reasons[i] = <uint8_t>self.check_c(&legs[i], is_ready, now_ns)
            kept += self.reasons[i] == R_NONE
        if self.pace is not None and kept:
            room = self.pace.room_c(LANE_PLACE, kept, now_ns)
            kept = 0
            for i in range(count):
                if self.reasons[i] == R_NONE and kept == room:
                    self.reasons[i] = R_THROTTLED
                kept += self.reasons[i] == R_NONE
        for i in range(count):
            if self.reasons[i] != R_NONE:
                continue
            reason = R_IN_FLIGHT if self.keys.find_c(legs[i].key) != NULL else R_NONE
            for j in range(i):      # twice in one group
                if self.reasons[j] == R_NONE and legs[j].key == legs[i].key:
                    reason = R_IN_FLIGHT
            if reason != R_NONE:
                self.reasons[i] = <uint8_t>reason
                kept -= 1
        if reports < 2 * kept:
            for i in range(count):
                if self.reasons[i] == R_NONE:
                    self.reasons[i] = R_RING_FULL
            kept = 0
        return kept

    cdef void charge_c(self, int kind, size_t legs, int64_t now_ns) noexcept nogil:
        """A request goes out and counts in the rates."""
        if self.pace is not None:
            self.pace.charge_c(
                LANE_PLACE if kind == COMMAND_PLACE else LANE_CANCEL if kind == COMMAND_CANCEL
                else LANE_CANCEL_ALL, <int64_t>legs, now_ns
            )

    cdef size_t cancels_c(self, size_t legs, int64_t now_ns) noexcept nogil:
        """How many of so many cancels have room in the rates; none is refused, they wait."""
        return legs if self.pace is None else <size_t>self.pace.room_c(LANE_CANCEL, <int64_t>legs, now_ns)

    cdef int signed_c(self, const command_t* leg) noexcept nogil:
        """The same, of a leg that has its order id now."""
        cdef:
            uint64_t head
            const uint8_t* known

        memcpy(&head, leg.order_id, sizeof(head))
        known = self.ids.find_c(head)
        if known != NULL and memcmp(known, leg.order_id, 32) == 0:
            return R_SEEN_ID
        return R_NONE

    cdef void sent_c(self, const command_t* leg) noexcept nogil:
        """Remembers an order that goes out now."""
        cdef uint64_t head

        memcpy(&head, leg.order_id, sizeof(head))
        self.keys.insert_c(leg.key, leg.order_id)
        self.ids.insert_c(head, leg.order_id)

    cdef void count_c(self, int reason) noexcept nogil:
        self.refused[reason & (GATE_REASONS - 1)] += 1


cdef const command_t* first_leg(legs) except NULL:
    """The records of an array of commands; TypeError if it is none."""
    if (
        not isinstance(legs, np.ndarray) or legs.dtype != types.COMMAND_DTYPE
        or not legs.flags.c_contiguous
    ):
        raise TypeError("legs: expected a contiguous array of COMMAND_DTYPE")
    if legs.size == 0:
        raise ValueError("legs: expected at least one, got none")
    return <const command_t*>cnp.PyArray_DATA(legs)
