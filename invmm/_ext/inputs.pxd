"""What one market's step tells the journal of inputs."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from invmm._ext.decode cimport MarketBooks
from invmm._ext.evidence cimport order_t
from invmm._ext.journal cimport Journal
from invmm._ext.records cimport command_t, event_t
from invmm._ext.registry cimport Registry
from invmm._ext.solver cimport top_t


cdef class InputLog:
    cdef:
        readonly Journal journal
        uint8_t[2][32] token_ids        # Up, Down; big-endian
        bint with_frames
        uint32_t market
        uint64_t frames                 # since the last boundary
        uint64_t frame_bytes
        uint32_t frames_crc
        uint64_t[3] venue               # of the last VENUE record
        uint8_t[2] told                 # reason of each token's last QUOTE, 255: none yet

    cdef bint writable_c(self) noexcept nogil
    cdef void event_c(self, const event_t* event, int64_t now_ns) noexcept nogil
    cdef void frame_c(self, const char* data, size_t size, int64_t now_ns) noexcept nogil
    cdef void boundary_c(self, uint16_t flags, int64_t now_ns) noexcept nogil
    cdef void venue_c(
        self, uint64_t mode, uint64_t stop, uint64_t missed, int64_t now_ns
    ) noexcept nogil
    cdef void commands_c(self, const command_t* commands, int count) noexcept nogil
    cdef void quotes_c(
        self,
        const uint8_t* reasons,
        uint64_t version,
        Registry registry,
        MarketBooks books,
        const top_t* tops,
        int64_t end_ms,
        int64_t now_ns,
    ) noexcept nogil
    cdef void fate_c(
        self, Registry registry, uint64_t key, bint was_live, int64_t now_ns
    ) noexcept nogil
    cdef bint order_c(self, int kind, const order_t* order, int64_t now_ns) noexcept nogil
