"""What a policy sees and what it answers: the structs of a decision and the classes that make one.

A policy is called by the engine's step with everything it may look at, and fills actions. It is pure: no
clock, no allocation, no Python object. Another policy is a Cython subclass of `Policy` that overrides
`decide_c`.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from invmm._ext.compatible cimport double_input_t, double_output_t, ladder_config_t
from invmm._ext.records cimport event_t


cdef enum:
    ACTION_CANCEL = 1
    ACTION_QUOTE = 2            # place a resting bid
    ACTION_TAKE = 3             # fill or kill at the displayed ask

    ORDER_OPEN = 1              # acknowledged, resting
    ORDER_PENDING_NEW = 2       # sent, not yet answered
    ORDER_PENDING_CANCEL = 3    # cancel sent, not yet answered: may still fill
    ORDER_UNKNOWN = 4           # no usable answer: may be live

    MAX_ORDERS = 64
    MAX_ACTIONS = 128           # 64 cancels + 2 * MAX_LEVELS quotes + 1 taker

    DECIDE_OK = 0               # statuses of decide_c
    DECIDE_BAD_ORDERS = -1      # n_orders or a field of an order out of range
    DECIDE_BAD_POSITION = -2    # position or cost out of range
    DECIDE_BAD_TICK = -3        # tick does not divide one dollar
    DECIDE_BAD_TOP = -4         # a best price or size out of range
    DECIDE_BAD_MARKET = -5      # minimum size or fee rate out of range
    DECIDE_BAD_INTERVAL = -6    # the position is not within its interval


cdef struct own_order_t:
    uint64_t key
    int64_t original_micro
    int64_t remaining_micro
    int32_t price_e4
    uint8_t token               # UP or DOWN
    uint8_t side                # BUY or SELL
    uint8_t state               # ORDER_*
    uint8_t is_taker            # sent to take, never rests


cdef struct top_t:
    int32_t bid_e4              # -1: none
    int32_t ask_e4              # -1: none
    int64_t bid_micro
    int64_t ask_micro
    bint bid_is_ours            # the level contains our own order, native or mirrored
    bint ask_is_ours


cdef struct policy_input_t:
    int64_t[2] position_micro   # shares held, Up then Down; 0…10^12
    int64_t[2] cost_micro       # micro-dollars paid for the position; 0…2*10^12
    int64_t[2] low_micro        # least and most shares held once every fill on its way has ended
    int64_t[2] high_micro
    int64_t[2] sellable_micro   # of the least, neither promised to a merge nor offered
    top_t[2] top
    int32_t tick_e4             # the venue's current tick
    int64_t min_size_micro      # the venue's minimum order size
    int32_t fee_rate_ppm        # taker fee per share is rate*p*(1-p)
    int32_t fair_ppm            # what Up is worth to a model of its settlement, 10^-6 dollars; 0: not known
    int64_t fair_age_ns         # since what that rests on was true
    double fair_variance        # of its log-odds, as far as the model knows
    int64_t ms_to_end           # more than 10^15: the end is not known
    int64_t[MAX_ORDERS] ahead_micro     # shares queueing before each order, -1: not known
    int n_orders
    own_order_t[MAX_ORDERS] orders


cdef struct action_t:
    uint8_t kind                # ACTION_*
    uint8_t token
    uint8_t side
    uint8_t level               # ladder level that a quote serves
    uint8_t reason              # Reason: why it is done
    int32_t price_e4
    int64_t size_micro
    uint64_t key                # CANCEL: of the order


cdef struct policy_output_t:
    int n_actions
    action_t[MAX_ACTIONS] actions   # cancels, then quotes, then takers; Up before Down in each
    uint8_t[2] reason           # Reason: why a token has no quote, 0 if it has
    double imbalance            # what the ladder was shaped with, -1…1


cdef struct ladder_rule_t:
    int64_t offset_micro        # micro-dollars per share below the ask when balanced
    int64_t margin_micro        # least profit, micro-dollars per pair
    int64_t spread_micro        # micro-dollars per share between levels
    int64_t order_micro         # micro-shares per level
    int64_t floor_micro         # imbalance is measured against at least this many micro-shares
    int64_t max_imbalance_ppm
    int num_levels              # 0…MAX_LEVELS


cdef class Policy:
    cdef readonly str name
    cdef int decide_c(self, const policy_input_t* view, policy_output_t* out) noexcept nogil
    cdef void filled_c(self, const event_t* event) noexcept nogil
    cdef void settled_c(self, int winner) noexcept nogil


cdef int read_view(object view, policy_input_t* out) except -1
cdef int set_rule(
    ladder_rule_t* rule,
    int num_levels,
    object base_offset,
    object min_profit_margin,
    object max_imbalance,
    object order_size,
    object spread_per_level,
) except -1


cdef class InventoryMMPolicy(Policy):
    cdef ladder_rule_t rule             # default mode
    cdef ladder_config_t config         # compatible mode
    cdef double_input_t doubles         # compatible mode's working state
    cdef double_output_t answer
    cdef readonly bint compatible
    cdef int decide_c(self, const policy_input_t* view, policy_output_t* out) noexcept nogil
