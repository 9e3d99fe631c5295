"""A policy that wants what it was last told: for strategies that decide elsewhere, and for tests.

The quotes stand until others are told. Each decision compares them with the own orders: an order that serves
no quote is cancelled, a quote without an order is placed.
"""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memset

from invmm._ext.merge cimport tolerance_c
from invmm._ext.records cimport BUY, R_NOT_WANTED, SELL
from invmm._ext.solver cimport (
    ACTION_CANCEL,
    ACTION_QUOTE,
    DECIDE_OK,
    ORDER_PENDING_NEW,
    Policy,
    action_t,
    own_order_t,
    policy_input_t,
    policy_output_t,
)


cdef class StandingPolicy(Policy):
    """Quotes that are set from Python and stand until they are set again.

    Parameters
    ----------
    quotes : iterable
        The first target, as `want` takes it.
    """

    def __init__(self, quotes=()) -> None:
        self.name = "standing"
        self.want(quotes)

    def want(self, quotes) -> None:
        """Sets the target.

        Parameters
        ----------
        quotes : iterable of (token, side, price_e4, size_micro)
            At most 48, each price of a token and side once; sizes in 1e-6 shares. They count from the next
            decision on.

        Raises
        ------
        ValueError
            Too many quotes, or a number out of range.
        """
        told = list(quotes)
        if len(told) > MAX_STANDING:
            raise ValueError(f"quotes: expected at most {MAX_STANDING}, got {len(told)}")
        for token, side, price_e4, size_micro in told:
            if token not in (0, 1) or side not in (BUY, SELL) or not 0 < price_e4 < 10000 or size_micro <= 0:
                raise ValueError(
                    "quotes: expected (0 or 1, 0 or 1, 1 to 9999, above 0), "
                    f"got {(token, side, price_e4, size_micro)}"
                )
        memset(&self.quotes[0], 0, sizeof(self.quotes))
        for i, (token, side, price_e4, size_micro) in enumerate(told):
            self.quotes[i].kind = ACTION_QUOTE
            self.quotes[i].token, self.quotes[i].side = token, side
            self.quotes[i].level = i
            self.quotes[i].reason = 1
            self.quotes[i].price_e4, self.quotes[i].size_micro = price_e4, size_micro
        self.n_quotes = len(told)

    cdef int decide_c(self, const policy_input_t* view, policy_output_t* out) noexcept nogil:
        cdef:
            int i
            int k
            int token
            int64_t gap_micro
            uint8_t[MAX_STANDING] served
            const own_order_t* order

        memset(served, 0, sizeof(served))
        out.n_actions = 0
        out.imbalance = 0.0
        out.reason[0] = out.reason[1] = R_NOT_WANTED
        for i in range(view.n_orders):
            order = &view.orders[i]
            if order.is_taker or order.state > ORDER_PENDING_NEW:
                continue
            for k in range(self.n_quotes):
                gap_micro = order.remaining_micro - self.quotes[k].size_micro
                if (
                    not served[k] and order.token == self.quotes[k].token
                    and order.side == self.quotes[k].side and order.price_e4 == self.quotes[k].price_e4
                    and -tolerance_c(self.quotes[k].size_micro) < gap_micro
                    < tolerance_c(self.quotes[k].size_micro)
                ):
                    served[k] = True
                    break
            else:
                memset(&out.actions[out.n_actions], 0, sizeof(action_t))
                out.actions[out.n_actions].kind = ACTION_CANCEL
                out.actions[out.n_actions].token, out.actions[out.n_actions].side = order.token, order.side
                out.actions[out.n_actions].reason = R_NOT_WANTED
                out.actions[out.n_actions].price_e4 = order.price_e4
                out.actions[out.n_actions].size_micro = order.remaining_micro
                out.actions[out.n_actions].key = order.key
                out.n_actions += 1
        for token in range(2):
            for k in range(self.n_quotes):
                if self.quotes[k].token != token:
                    continue
                out.reason[token] = 0
                if not served[k]:
                    out.actions[out.n_actions] = self.quotes[k]
                    out.n_actions += 1
        return DECIDE_OK
