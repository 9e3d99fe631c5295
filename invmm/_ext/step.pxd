"""The engine's step for one market: an event in, command records out. Compiled, pure, no allocation after start."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from invmm._ext.decode cimport MarketBooks
from invmm._ext.words cimport SharedWords
from invmm._ext.records cimport command_t, event_t
from invmm._ext.registry cimport Registry, order_t
from invmm._ext.ring cimport CommandRing
from invmm._ext.sink cimport FrameSink
from invmm._ext.solver cimport Policy, action_t, policy_input_t, policy_output_t
from invmm._ext.trigger cimport trigger_t


cdef enum:
    MAX_COMMANDS = 256          # of one step
    MAX_REASONS = 64
    LEGS_PER_BATCH = 15         # the venue's limit for POST /orders


cdef struct limits_t:
    int64_t book_max_age_ns
    int64_t stop_before_end_ms
    int64_t command_deadline_ns
    int64_t quote_lifetime_s        # 0: GTC
    int64_t cancel_retry_ns
    int64_t update_interval_ns      # longest time between two solves
    int64_t max_cash_e10            # 1e-10 dollars
    int64_t max_order_micro
    int64_t max_open_orders
    int64_t orders_per_second
    int64_t orders_burst
    int64_t size_change_ppm         # see Trigger
    int64_t queue_change_ppm
    int32_t fee_rate_ppm
    int queue_exponent              # queue model, QUEUE_*
    bint book_shows_own             # the displayed book contains our own orders (live), or not (embedded venue)


cdef struct counters_t:
    uint64_t frames
    uint64_t frame_errors           # payloads outside their buffer
    uint64_t solves
    uint64_t suppressed             # buffers with changes that did not deserve a solve
    uint64_t checkpoints
    uint64_t checkpoint_mismatches
    uint64_t commands
    uint64_t ring_full
    uint64_t fills
    uint64_t policy_errors


cdef class MarketStep(FrameSink):
    cdef:
        readonly MarketBooks books
        readonly Registry registry
        readonly Policy policy
        readonly CommandRing ring       # where commands are published, None: the caller takes them from the returned view
        readonly SharedWords words      # where the executor's gate reads the version, None: nobody does
        limits_t limits
        trigger_t trigger
        counters_t counters
        policy_input_t view
        policy_output_t wanted
        command_t commands[MAX_COMMANDS]
        int n_commands
        object _records                 # numpy view of `commands`
        uint64_t reasons[MAX_REASONS]   # how often a token went without quote, by Reason
        uint8_t no_quote[2]             # present Reason per token, 0: it is quoted
        uint64_t salt_state
        uint64_t next_key
        uint64_t sequence
        uint32_t batch
        readonly uint32_t market        # engine's number of this market
        readonly uint64_t version       # grows with every change of mode, epoch or connection; the executor's gate reads it
        readonly int64_t end_ms         # window end
        uint8_t mode
        bint connected                  # false from a disconnect until fresh snapshots of both tokens
        bint dirty                      # a level changed since the last look
        bint own_dirty                  # own orders, position or mode changed since the last solve
        bint blocked                    # a guard forbade quoting at the last solve: data may lift it
        int64_t solved_ns
        int64_t order_tokens_ns         # token bucket: time credit of placements
        int64_t cool_until_ns[2]
        int64_t own_fill_micro[2]       # own fills not yet seen in a print, by side hit in Up terms ...
        int64_t own_fill_ns[2]          # ... and when the last of them was told
        int64_t cool_ns[2]
        uint32_t seen_epoch            # sum over both tokens
        int winner                      # −1 until settled

    cdef int step_c(self, const event_t* event, int64_t now_ns, const char* payload, size_t size) noexcept nogil
    cdef void frame_c(self, const char* data, size_t size, int64_t now_ns) noexcept nogil
    cdef void buffer_end_c(self, int64_t now_ns) noexcept nogil
    cdef void timer_c(self, int64_t now_ns) noexcept nogil
    cdef void solve_c(self, int64_t now_ns) noexcept nogil
    cdef int guard_c(self, int64_t now_ns) noexcept nogil
    cdef void fill_view_c(self, int64_t now_ns) noexcept nogil
    cdef void queues_c(self, int64_t now_ns) noexcept nogil
    cdef void traded_c(self, int64_t now_ns) noexcept nogil
    cdef bint queue_moved_c(self) noexcept nogil
    cdef void cancel_c(self, order_t* order, uint8_t reason, int64_t now_ns) noexcept nogil
    cdef void cancel_all_c(self, uint8_t reason, int64_t now_ns) noexcept nogil
    cdef uint8_t place_c(self, const action_t* action, int64_t now_ns) noexcept nogil
    cdef uint8_t allowed_c(self, const action_t* action, int64_t now_ns) noexcept nogil
    cdef command_t* command_c(self, uint8_t kind, uint8_t reason, int64_t now_ns) noexcept nogil
    cdef void publish_c(self) noexcept nogil
    cdef void join_queue_c(self, order_t* order, int64_t now_ns) noexcept nogil
    cdef void fill_tops_c(self) noexcept nogil
    cdef void disconnect_c(self, int64_t now_ns) noexcept nogil
    cdef uint64_t salt_c(self) noexcept nogil
