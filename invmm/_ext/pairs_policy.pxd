"""The policy `pairs`: quotes and takes by the exact reservation price of a lead."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from invmm._ext.compatible cimport MAX_LEVELS
from invmm._ext.markouts cimport Markouts, watch_t
from invmm._ext.records cimport event_t
from invmm._ext.solver cimport MAX_ORDERS, Policy, policy_input_t, policy_output_t


cdef struct pairs_rule_t:
    double gamma                # 1/dollars
    double order                # shares per level
    double step                 # gamma * order
    double step_exp             # e^−step
    double per_step             # 1 / step, 0: levels are not priced one from the other
    double min_edge             # dollars per share
    double message              # dollars
    double rebate_share         # of the taker fee, for the maker
    double max_pair_cost        # dollars, 0: off
    double delay_s              # of takers
    int64_t order_micro
    int64_t max_lead_micro
    int64_t patience_ms         # before the end, from where on waiting loses worth
    int64_t narrow_ms           # … from where on nothing widens the lead
    int64_t fair_max_age_ns
    int num_levels
    bint overshoot
    bint sells
    bint offers


cdef struct terms_t:            # what every price of one decision rests on
    double base                 # adverse selection: base + slope * distance behind the best bid
    double slope
    double decay                # of fills, 1/dollars
    double half_spread          # dollars per share, of a whole order
    double rest                 # 1 − slope, at least 0: of a distance, what is earned by it
    double per_rest             # 1 / rest
    double needed               # by a whole order, before its rebate: half-spread or least edge, and base
    double fee                  # of takers, per share and p(1−p)
    double rebate               # … and what of it comes back to makers
    double ticks                # per dollar
    int32_t tick_e4             # what they were made of: the market's tick and fee …
    int32_t fee_rate_ppm
    uint64_t fits               # … and so many estimates


# One token of a decision in the making. A bid for it and an offer of the other one at what is left of a
# dollar wait in one queue and do the same to the lead: both are its bids here.
cdef struct side_t:
    double x                    # log-odds of its fair value
    double fair
    double odds                 # fair / (1 − fair)
    double best                 # the best bid, dollars; 0: none
    double lead                 # shares ahead of the other token, at worst for a buyer of this one
    double dying                # … more, if every order whose cancel is under way fills
    double paid                 # dollars per share held, on average
    int32_t highest_bid         # of own orders that may be alive, 0: none
    int32_t cap_e4              # no bid above, whatever it may earn
    uint8_t cap_reason
    uint8_t reason              # why there is no further level
    int64_t offered_micro       # of this token, by the quotes of this decision
    int n_bids
    int[MAX_ORDERS] bids        # own bids that may be kept, by index, best first
    int32_t[MAX_ORDERS] bid_e4  # … their prices as bids for this token
    int n_kept
    int n_quotes
    int32_t[MAX_LEVELS] price_e4
    int64_t[MAX_LEVELS] size_micro
    bint[MAX_LEVELS] offers     # the other token instead
    uint8_t[MAX_LEVELS] level


cdef struct take_t:
    int64_t size_micro          # 0: none
    int32_t price_e4
    uint8_t token
    uint8_t side
    uint8_t reason


cdef struct pairs_counters_t:   # decisions in which …
    uint64_t takes              # the lighter token was bought at the ask
    uint64_t offers             # an offer of the heavier token stood for a bid for the lighter one
    uint64_t sales              # the heavier one was sold at the bid
    uint64_t takes_blocked      # … an own bid was in the way of that
    uint64_t small_orphans      # a lead was below the minimum size
    uint64_t kept               # an order stayed although another price would be a little better
    uint64_t moved              # one was moved
    uint64_t adverse            # one was removed for it would only be filled to its loss
    uint64_t too_dear           # one was removed for it had come too close to its own reservation


cdef class PairsPolicy(Policy):
    cdef:
        pairs_rule_t rule
        readonly Markouts markouts
        watch_t watch
        pairs_counters_t counters
        side_t[2] sides
        uint8_t[MAX_ORDERS] ends        # Reason to cancel an order, 0: it stays
        int n_ends
        terms_t terms
    cdef int decide_c(self, const policy_input_t* view, policy_output_t* out) noexcept nogil
    cdef void filled_c(self, const event_t* event) noexcept nogil
    cdef void settled_c(self, int winner) noexcept nogil
    cdef void terms_c(self, const policy_input_t* view) noexcept nogil
    cdef void odds_c(self, double x) noexcept nogil
    cdef void read_c(self, const policy_input_t* view) noexcept nogil
    cdef void made_c(self, int token, int32_t price_e4, int64_t size_micro) noexcept nogil
    cdef void count_c(self, const policy_input_t* view) noexcept nogil
    cdef void emit_c(
        self, const policy_input_t* view, const take_t* take, policy_output_t* out
    ) noexcept nogil
