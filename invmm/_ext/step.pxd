"""The engine's step for one market: an event in, command records out. Pure, no allocation after start."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from invmm._ext.guards cimport guards_t
from invmm._ext.places cimport own_fills_t
from invmm._ext.records cimport event_t
from invmm._ext.solver cimport Policy, policy_output_t
from invmm._ext.transaction cimport ReplaceDesk
from invmm._ext.trigger cimport trigger_t


cdef class MarketStep(ReplaceDesk):
    cdef:
        readonly Policy policy
        trigger_t trigger
        policy_output_t wanted
        own_fills_t own_fills
        uint8_t[2] no_quote             # present Reason per token, 0: it is quoted
        readonly int64_t end_ms         # window end
        uint8_t mode
        guards_t guards
        bint connected                  # false from a disconnect until fresh snapshots of both tokens
        bint dirty                      # a level changed since the last look
        bint blocked                    # a guard forbade quoting at the last solve: data may lift it
        int64_t solved_ns
        uint32_t seen_epoch             # sum over both tokens
        int winner                      # -1 until settled
        public bint wants_frame         # the watcher is due: it gets the next frame that ends its buffer
        public object watcher           # callable(books, frame), None: nobody watches
        const uint8_t[::1] expected     # replay over sockets: which frames are checkpoints
        uint64_t n_expected

    cdef int _bind(self, dict limits) except -1
    cdef int step_c(
        self, const event_t* event, int64_t now_ns, const char* payload, size_t size
    ) noexcept nogil
    cdef void news_c(self, const event_t* event, int64_t now_ns) noexcept nogil
    cdef void frame_c(self, const char* data, size_t size, int64_t now_ns) noexcept nogil
    cdef void buffer_end_c(self, int64_t now_ns) noexcept nogil
    cdef void timer_c(self, int64_t now_ns) noexcept nogil
    cdef void solve_c(self, int64_t now_ns) noexcept nogil
    cdef void decide_c(self, int64_t now_ns) noexcept nogil
    cdef int guard_c(self, int64_t now_ns) noexcept nogil
    cdef void checkpoint_c(self) noexcept nogil
    cdef void disconnect_c(self, int64_t now_ns) noexcept nogil
    cdef void _show(self, bytes frame) noexcept
