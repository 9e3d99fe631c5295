"""The last check of every order before it is signed and sent. Executor thread only."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from invmm._ext.keytable cimport KeyTable
from invmm._ext.pace cimport Pace
from invmm._ext.records cimport command_t
from invmm._ext.words cimport SharedWords


cdef enum:
    LEGS_MAX = 15                   # placements of one group: orders in one POST /orders
    GATE_REASONS = 128


cdef class Gate:
    cdef:
        readonly SharedWords words
        KeyTable keys               # own keys that were sent, and their order ids
        KeyTable ids                # order ids that were sent, by their first eight bytes
        uint64_t[GATE_REASONS] refused          # how often, by Reason
        uint8_t[LEGS_MAX] reasons   # of the legs of the last group
        public bint stopping        # nothing is placed any more
        public int trials           # legs that may go although the venue's mode forbids it
        public Pace pace            # how often anything may be sent, or None
        public int64_t book_max_age_ns  # a placement that rests on an older book is refused; 0: any age

    cdef bint is_open_c(self) noexcept nogil
    cdef int check_c(self, const command_t* leg, bint is_ready, int64_t now_ns) noexcept nogil
    cdef int venue_c(self, int flags) noexcept nogil
    cdef size_t group_c(
        self, const command_t* legs, size_t count, void** places, size_t reports, int64_t now_ns
    ) noexcept nogil
    cdef void charge_c(self, int kind, size_t legs, int64_t now_ns) noexcept nogil
    cdef size_t cancels_c(self, size_t legs, int64_t now_ns) noexcept nogil
    cdef int signed_c(self, const command_t* leg) noexcept nogil
    cdef void sent_c(self, const command_t* leg) noexcept nogil
    cdef void count_c(self, int reason) noexcept nogil


cdef const command_t* first_leg(object legs) except NULL
