"""Two connections of one market channel made into one stream: its fields and its decision."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from invmm._ext.sink cimport FrameSink


cdef enum:
    LANES = 2
    MOMENT = 256                # messages of one venue timestamp that are told apart


cdef class FrameMerge:
    cdef:
        readonly uint64_t duplicates    # messages that the other connection had delivered
        readonly uint64_t old           # messages behind what the other connection had delivered
        readonly uint64_t switches      # connections lost while the other one carried on
        FrameSink _sink
        int _tokens                     # books that a connection owes at its start
        int _leader                     # lane that delivered the newest timestamp first
        int64_t _newest_ms
        int _count                      # of the newest timestamp
        uint64_t[MOMENT] _digest
        uint8_t[MOMENT] _seen           # lanes that delivered it, a bit each
        int[LANES] _owed                # books that a lane still owes: above 0 it carries nothing alone
        readonly tuple lanes

    cdef bint takes_c(self, int lane, const char* data, Py_ssize_t size) noexcept nogil
    cdef bint lost_c(self, int lane) noexcept nogil


cdef class FrameLane(FrameSink):
    cdef:
        FrameMerge _merge
        int _number
        bint _pending                   # something of this buffer was handed on, its end was not

    cdef void hand_back(self) noexcept
