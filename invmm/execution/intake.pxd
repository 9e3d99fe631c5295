"""From popped commands to request bytes, without the GIL."""

from libc.stdint cimport int32_t, int64_t, uint64_t

from invmm._ext.gate cimport Gate
from invmm._ext.records cimport command_t
from invmm._ext.ring cimport CommandRing, ResultRing
from invmm._ext.words cimport SharedWords
from invmm.execution.outbox cimport Outbox
from invmm.execution.requests cimport RequestWriter
from invmm.execution.signing cimport OrderSigning


cdef enum:
    CANCELS_MAX = 1000              # ids in one DELETE /orders


cdef class Intake:
    cdef CommandRing ring
    cdef ResultRing results
    cdef int64_t mono_origin_ns     # engine time is a straight line over CLOCK_MONOTONIC
    cdef public int64_t origin_ns
    cdef public double scale        # 0: engine time stands at origin_ns, for a clock that is only imagined
    cdef readonly SharedWords words
    cdef readonly Gate gate         # the last check of every order
    cdef readonly OrderSigning orders
    cdef RequestWriter writer
    cdef command_t* legs            # the group at hand; order_id is filled in once known
    cdef size_t count
    cdef readonly Outbox outbox
    cdef readonly int seen          # RING_WAIT_* of the last take
    cdef readonly bint built        # the request is in the buffer
    cdef readonly int64_t sent      # bytes already written, or -errno; 0 when the caller writes
    cdef readonly int64_t popped_ns  # CLOCK_MONOTONIC
    cdef readonly int64_t ready_ns  # the request is in the buffer
    cdef readonly int64_t python_ns  # take has the GIL again
    cdef readonly int64_t written_ns
    cdef public bint hold_cancels   # take leaves cancels unbuilt: the caller may keep their orders
    cdef public int64_t linger_ns   # how long an unfinished batch is waited for

    cdef public object rehearsal    # callable(bytes) that writes as a writer does, to nobody; or None
    cdef public int64_t rehearse_ns     # time between two, while nothing else is to be done
    cdef readonly uint64_t rehearsals   # how many were made to the end
    cdef int64_t rehearse_after_ns
    cdef bytes rehearsal_bytes

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
    cdef bint rehearse_c(self) noexcept nogil
    cdef int write_by(self, object writer) except -1
    cdef void write_c(self, int fd) noexcept nogil
    cdef bint cancels_must_wait_c(self) noexcept nogil
    cdef size_t gate_group_c(self) noexcept nogil
    cdef size_t resolve_group_c(self) noexcept nogil
    cdef bint build_orders_c(self) noexcept nogil
    cdef void refuse_c(self, command_t* leg, int reason, int32_t code) noexcept nogil
    cdef bint announce_c(self) noexcept nogil
    cdef int64_t unix_s_c(self) noexcept nogil
    cdef void emit_c(
        self, const command_t* command, int status, int reason, int32_t code, int64_t filled_micro
    ) noexcept nogil
