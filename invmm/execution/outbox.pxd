"""Results on their way to the engine, for the intake."""

from libc.stdint cimport int32_t, int64_t, uint64_t

from invmm._ext.journal cimport Journal
from invmm._ext.records cimport command_t, event_t
from invmm._ext.ring cimport ResultRing


cdef enum:
    BACKLOG_MAX = 64 * 1024         # results that wait for room in the ring


cdef class Outbox:
    cdef ResultRing results
    cdef public Journal journal     # of intents; set before the first command, None: nothing is kept
    cdef event_t* backlog           # results without room in the ring, oldest first
    cdef size_t backlog_first
    cdef size_t backlog_count
    cdef uint64_t sequence          # of results
    cdef uint64_t lost              # results dropped because even the backlog was full

    cdef void emit_c(
        self,
        const command_t* command,
        int status,
        int reason,
        int32_t code,
        int64_t filled_micro,
        int64_t engine_ns,
    ) noexcept nogil
    cdef bint note_c(
        self, int kind, const command_t* commands, size_t count, int64_t engine_ns
    ) noexcept nogil
    cdef bint flush_c(self) noexcept nogil
