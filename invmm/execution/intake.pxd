"""From popped commands to request bytes, without the GIL."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from invmm._ext.ahead cimport SignedAhead
from invmm._ext.journal cimport Journal
from invmm._ext.keytable cimport KeyTable
from invmm._ext.l2 cimport L2Signer
from invmm._ext.pace cimport Pace
from invmm._ext.records cimport command_t
from invmm._ext.ring cimport CommandRing, ResultRing
from invmm._ext.template cimport OrderTemplate
from invmm._ext.words cimport SharedWords
from invmm.execution.outbox cimport Outbox


cdef enum:
    LEGS_MAX = 15                   # orders in one POST /orders
    CANCELS_MAX = 1000              # ids in one DELETE /orders
    HEAD_ROOM = 2048                # of a request, before its body
    BODY_ROOM = 128 * 1024


cdef class Intake:
    cdef CommandRing ring
    cdef ResultRing results
    cdef L2Signer signer
    cdef int64_t mono_origin_ns     # engine time is a straight line over CLOCK_MONOTONIC
    cdef int64_t origin_ns
    cdef double scale
    cdef readonly SharedWords words
    cdef KeyTable keys
    cdef dict templates             # keeps alive what `places` points at
    cdef list retired               # templates that were replaced; the executor thread lets them go
    cdef void** places              # OrderTemplate of market × 2 + token, or NULL
    cdef command_t* legs            # the group at hand; order_id is filled in once known
    cdef size_t count
    cdef char* buffer               # HEAD_ROOM, then the body
    cdef size_t start               # of the request in `buffer`
    cdef readonly size_t size
    cdef Outbox outbox
    cdef readonly Journal journal   # of intents: has every id before its order's first byte leaves; or None
    cdef bytes host_lines           # header lines that every request has
    cdef const char* host_text      # their text
    cdef readonly int seen          # RING_WAIT_* of the last take
    cdef readonly bint built        # the request is in the buffer
    cdef readonly int64_t sent      # bytes already written, or -errno; 0 when the caller writes
    cdef readonly int64_t popped_ns  # CLOCK_MONOTONIC
    cdef readonly int64_t ready_ns  # the request is in the buffer
    cdef readonly int64_t python_ns  # take has the GIL again
    cdef readonly int64_t written_ns
    cdef public bint hold_cancels   # take leaves cancels unbuilt: the caller may keep their orders
    cdef public bint stopping       # placements are refused
    cdef public int trials          # legs that may go although the venue's mode forbids it
    cdef public Pace pace           # how often anything may be sent, or None
    cdef public int64_t linger_ns   # how long an unfinished batch is waited for

    cdef public SignedAhead ahead   # orders prepared while there is nothing to do; or None
    cdef int64_t ahead_after_ns     # when to look next whether one can be prepared

    cdef public object rehearsal    # callable(bytes) that writes as a writer does, to nobody; or None
    cdef public int64_t rehearse_ns     # time between two, while nothing else is to be done
    cdef readonly uint64_t rehearsals   # how many were made to the end
    cdef int64_t rehearse_after_ns
    cdef bytes rehearsal_bytes
    cdef uint64_t rehearsing        # an OrderTemplate whose key signs in rehearsals, or 0

    cdef int64_t engine_at_c(self, int64_t monotonic_ns) noexcept nogil
    cdef int take_c(
        self, int64_t spin_ns, int64_t timeout_ns, int epoll_fd, int place_fd, int cancel_fd
    ) noexcept nogil
    cdef void gather_c(self) noexcept nogil
    cdef int dispatch_c(self, int place_fd, int cancel_fd) noexcept nogil
    cdef int wait_c(
        self, int64_t spin_ns, int64_t end_ns, int epoll_fd, int place_fd, int cancel_fd
    ) noexcept nogil
    cdef int rehearse(self, int64_t asked_ns) except -1
    cdef void sign_ahead_c(self) noexcept nogil
    cdef bint rehearse_c(self) noexcept nogil
    cdef int write_by(self, object writer) except -1
    cdef void write_c(self, int fd) noexcept nogil
    cdef int gate_c(self, const command_t* command, int64_t engine_ns) noexcept nogil
    cdef int venue_gate_c(self, int flags) noexcept nogil
    cdef bint announce_c(self) noexcept nogil
    cdef bint note_c(self, int kind) noexcept nogil
    cdef bint cancels_must_wait_c(self) noexcept nogil
    cdef size_t gate_group_c(self) noexcept nogil
    cdef size_t resolve_group_c(self) noexcept nogil
    cdef bint build_orders_c(self) noexcept nogil
    cdef int build_order_c(
        self, command_t* leg, uint32_t place, OrderTemplate template, int64_t unix_ms, char* at, size_t room
    ) noexcept nogil
    cdef bint build_cancels_c(self) noexcept nogil
    cdef bint compose_c(self, const char* method, const char* path, size_t body_size) noexcept nogil
    cdef void emit_c(
        self, const command_t* command, int status, int reason, int32_t code, int64_t filled_micro
    ) noexcept nogil
