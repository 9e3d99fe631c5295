"""The order desk of one market, for the step on top of it."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from invmm._ext.account cimport Account
from invmm._ext.decode cimport MarketBooks
from invmm._ext.records cimport command_t, event_t
from invmm._ext.evidence cimport order_t
from invmm._ext.exposure cimport bounds_t, exposure_t
from invmm._ext.fair cimport FairValue
from invmm._ext.inputs cimport InputLog
from invmm._ext.registry cimport Registry
from invmm._ext.ring cimport CommandRing
from invmm._ext.sink cimport FrameSink
from invmm._ext.solver cimport action_t, policy_input_t
from invmm._ext.words cimport SharedWords


cdef enum:
    MAX_COMMANDS = 256          # of one step
    MAX_REASONS = 128
    LEGS_PER_BATCH = 15         # the venue's limit for POST /orders


cdef struct limits_t:
    int64_t book_max_age_ns         # a token's book is good for so long after its data, or after a witness
    int64_t quiet_cap_ns            # and for so long after its data, whatever a witness says
    int64_t late_ns                 # data that comes later than this after its venue time is not acted on
    int64_t lasting_ns              # a crossed or contradicted book that stays so is fetched anew
    int64_t confirm_ns              # as long as a snapshot may wait for a second source
    int64_t clock_ns                # the venue's clock may be this far from ours
    int64_t stop_before_end_ms
    int64_t command_deadline_ns
    int64_t quote_lifetime_s        # 0: GTC
    int64_t cancel_retry_ns
    int64_t update_interval_ns      # longest time between two solves
    int64_t max_cash_e10            # 1e-10 dollars
    int64_t max_direction_micro     # one token over the other, if everything filled at worst
    int64_t max_gross_micro         # shares of all possibly-live orders
    int64_t max_order_micro
    int64_t max_order_e10           # price x size of one order
    int64_t max_open_orders
    int64_t max_children            # placements that one target may lead to, its cancels counted
    int32_t price_collar_e4         # a bid is at most this far above the mid
    int64_t orders_per_second
    int64_t orders_burst
    int64_t size_change_ppm         # see Trigger
    int64_t queue_change_ppm
    int32_t fee_rate_ppm
    int queue_exponent              # queue model, QUEUE_*
    bint book_shows_own             # whether the displayed book contains our own orders; live it does


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


cdef class OrderDesk(FrameSink):
    cdef:
        readonly MarketBooks books
        readonly Registry registry
        readonly CommandRing ring       # where commands are published; None: the caller takes them
        readonly InputLog log           # what all of it is journaled with
        readonly FairValue fair         # its model of the settlement
        readonly SharedWords words      # where the executor's gate reads the version, None: nobody does
        readonly Account account        # limits over all markets, None: none
        limits_t limits
        bounds_t bounds                 # those of the limits that bind sums
        int64_t tried_ns                # last placement handed over while the venue takes cancels only
        uint64_t transaction            # number of the last one begun
        uint64_t venue_mode             # what the executor had published when this step began
        uint64_t venue_stop
        uint64_t missed_heartbeats
        uint8_t[2] why_not              # why Up and Down are not quoted, a limit included; 0: they are
        counters_t counters
        policy_input_t view             # what the policy sees; placements are checked against its tops
        command_t[MAX_COMMANDS] commands
        int n_commands
        object _records                 # numpy view of `commands`
        uint64_t[MAX_REASONS] reasons   # how often a quote was prevented or ended, by Reason
        int64_t cause_ns                # monotonic clock at the entry of the frame being served, 0: none is
        uint64_t salt_state
        uint64_t next_key
        uint64_t sequence
        uint32_t batch
        readonly uint32_t market        # engine's number of this market
        readonly uint64_t version       # grows with every change of mode, epoch or connection
        bint own_dirty                  # own orders, position or mode changed, or a command had no room
        int64_t order_tokens_ns         # token bucket: time credit of placements
        int64_t[2] cool_until_ns        # per token: no placement before
        int64_t[2] cool_ns              # the present pause after a refusal

    cdef void cancel_c(self, order_t* order, uint8_t reason, int64_t now_ns) noexcept nogil
    cdef void cool_c(self, const event_t* event, int64_t now_ns) noexcept nogil
    cdef void resend_c(self, order_t* order, int64_t now_ns) noexcept nogil
    cdef void cancel_all_c(self, uint8_t reason, int64_t now_ns) noexcept nogil
    cdef void bound_c(self) noexcept nogil
    cdef uint8_t venue_refuses_c(self, int64_t now_ns) noexcept nogil
    cdef int64_t cancel_pause_c(self, const order_t* order) noexcept nogil
    cdef void upkeep_c(self, int64_t now_ns) noexcept nogil
    cdef order_t* place_c(
        self, const action_t* action, exposure_t* sums, bint same_price, int64_t now_ns, uint8_t* refused
    ) noexcept nogil
    cdef uint8_t sound_c(self, const action_t* action, int64_t now_ns) noexcept nogil
    cdef uint8_t fits_c(
        self, const action_t* action, const exposure_t* sums, bint same_price
    ) noexcept nogil
    cdef uint8_t allowed_c(
        self, const action_t* action, const exposure_t* sums, bint same_price, int64_t now_ns
    ) noexcept nogil
    cdef command_t* command_c(self, uint8_t kind, uint8_t reason, int64_t now_ns) noexcept nogil
    cdef void look_c(self, int64_t now_ns) noexcept nogil
    cdef void commit_c(self) noexcept nogil
    cdef void publish_c(self) noexcept nogil
    cdef void stir_salts_c(self) noexcept nogil
    cdef uint64_t salt_c(self) noexcept nogil
