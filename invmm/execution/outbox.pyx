"""Results on their way to the engine: the result ring, and a backlog for while the ring has no room.

A result is never dropped for a full ring: it waits, in order, and the executor takes no new command before
the backlog is empty. Only a full backlog loses results, and counts them.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from invmm._ext.journal cimport KIND_RESULT, command_number
from invmm._ext.records cimport EVENT_ORDER_RESULT, command_t, event_t
from invmm._ext.ring cimport ResultRing

cdef enum:
    SOURCE_EXECUTOR = 3         # Source


@cython.final
cdef class Outbox:
    """What the executor tells the engine. One producer: the executor thread.

    Parameters
    ----------
    results : ResultRing
    """

    def __cinit__(self, ResultRing results not None):
        self.results = results
        self.backlog = <event_t*>calloc(BACKLOG_MAX, sizeof(event_t))
        if self.backlog == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.backlog)

    def __reduce__(self):
        raise TypeError("Outbox belongs to one executor: it cannot be pickled or copied")

    cdef void emit_c(
        self,
        const command_t* command,
        int status,
        int reason,
        int32_t code,
        int64_t filled_micro,
        int64_t engine_ns,
    ) noexcept nogil:
        """One result about one command."""
        cdef event_t event

        memset(&event, 0, sizeof(event))
        self.sequence += 1
        event.kind = EVENT_ORDER_RESULT
        event.source = SOURCE_EXECUTOR
        event.market = command.market
        event.sequence = self.sequence
        event.status = <uint8_t>status
        event.token = command.token
        event.side = command.side
        event.reason = <uint8_t>reason
        event.key = command.key
        event.price_e4 = command.price_e4
        event.batch = command.batch
        event.size_micro = command.size_micro
        event.filled_micro = filled_micro
        event.time_ns = engine_ns
        memcpy(event.order_id, command.order_id, 32)
        event.code = code
        if self.journal is not None:
            self.journal.append_c(KIND_RESULT, &event, sizeof(event), engine_ns, command_number(command))
        if self.backlog_count == 0 and self.results.try_push_c(&event):
            return
        if self.backlog_count == BACKLOG_MAX:
            self.lost += 1
            return
        self.backlog[(self.backlog_first + self.backlog_count) & (BACKLOG_MAX - 1)] = event
        self.backlog_count += 1

    cdef bint note_c(
        self, int kind, const command_t* commands, size_t count, int64_t engine_ns
    ) noexcept nogil:
        """What is about to be sent, for the journal; False: it could not be written, all or nothing of it."""
        return self.journal is None or self.journal.commands_c(kind, commands, count, engine_ns)

    cdef bint flush_c(self) noexcept nogil:
        """Moves waiting results to the ring; true when none is left."""
        while self.backlog_count and self.results.try_push_c(&self.backlog[self.backlog_first]):
            self.backlog_first = (self.backlog_first + 1) & (BACKLOG_MAX - 1)
            self.backlog_count -= 1
        return self.backlog_count == 0
