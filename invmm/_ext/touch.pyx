"""Bids at the best bid of both tokens and thinks no further: what every other policy must at least beat.

One bid of the usual size a token. The token of which there is too much is not bid for, by the rule of the
inventory strategy: its imbalance against at least one full ladder.
"""

from libc.stdint cimport int32_t, int64_t

from invmm._ext.quoting cimport MIN_PRICE_E4, check_view, emit_quotes, half_t, note_orders, passive_limit
from invmm._ext.records cimport DOWN, UP
from invmm._ext.solver cimport DECIDE_OK, policy_input_t, policy_output_t, set_rule


cdef enum:
    REASON_NOT_WANTED = 3       # invmm.types.Reason
    REASON_IMBALANCE = 21
    REASON_BELOW_MIN_PRICE = 23
    REASON_POST_ONLY = 27
    REASON_BELOW_MIN_SIZE = 28

cdef int64_t MICRO = 1_000_000


cdef class JoinTouchPolicy(Policy):
    """Joins the best bid of each token with one order.

    Parameters
    ----------
    num_levels : int
        Of the ladders of other policies, 1 to 31: with `order_size` what the imbalance is measured against.
    order_size : float
        Shares of a bid, 0.01 to 100 000.
    max_imbalance : float
        |Up - Down| / max(Up + Down, num_levels * order_size) at which the heavy token is no longer bid for.
    """

    def __init__(self, int num_levels=3, order_size=100.0, max_imbalance=0.8) -> None:
        set_rule(&self.rule, num_levels, 0.0, 0.0, max_imbalance, order_size, 0.0)
        self.rule.num_levels = 1
        self.name = "join_touch"

    cdef int decide_c(self, const policy_input_t* view, policy_output_t* out) noexcept nogil:
        cdef:
            half_t[2] halves
            int64_t net
            int64_t base
            int status = check_view(view)
            int token

        out.n_actions = 0
        if status != DECIDE_OK:
            return status
        net = view.position_micro[UP] - view.position_micro[DOWN]
        base = max(view.position_micro[UP] + view.position_micro[DOWN], self.rule.floor_micro)
        out.imbalance = <double> net / <double> base
        note_orders(view, halves)
        for token in range(2):
            self.price_c(view, token, net if token == UP else -net, base, &halves[token])
        emit_quotes(&self.rule, view, halves, out)
        return DECIDE_OK

    cdef void price_c(
        self, const policy_input_t* view, int token, int64_t ahead, int64_t base, half_t* half
    ) noexcept nogil:
        """Set one token's price, or why there is none; `ahead`: micro-shares that it leads by."""
        cdef int32_t price = min(view.top[token].bid_e4, passive_limit(view, token))

        half.price = 0
        half.reason = 0
        if self.rule.order_micro < view.min_size_micro:
            half.reason = REASON_BELOW_MIN_SIZE
        elif ahead * MICRO >= self.rule.max_imbalance_ppm * base:
            half.reason = REASON_IMBALANCE
        elif view.top[token].bid_e4 < 0:
            half.reason = REASON_NOT_WANTED
        elif view.top[token].bid_e4 < MIN_PRICE_E4:
            half.reason = REASON_BELOW_MIN_PRICE
        elif price < MIN_PRICE_E4:
            half.reason = REASON_POST_ONLY
        else:
            half.price = price
        half.anchor = half.price * 100
