"""Policies: from what the engine knows about one market to the orders it wants.

Pure: a decision reads no clock, allocates nothing and makes no Python object.

`InventoryMMPolicy` is the inventory strategy, either as the original computes it (`compatible`, in doubles)
or corrected (in integers). Both answer in the same actions: cancels, then quotes, then at most one taker
order.
"""

from libc.math cimport isfinite, llrint
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memcpy

import numpy as np

from invmm._ext.compatible cimport MAX_LEVELS, MAX_OPEN, solve_doubles
from invmm._ext.quoting cimport check_view, decide_integers
from invmm._ext.records cimport BUY, DOWN, UP, event_t


cdef enum:
    REASON_QUOTE = 1            # invmm.types.Reason
    REASON_TAKER = 2
    REASON_NOT_WANTED = 3

TOP_DTYPE = np.dtype(
    [
        ("bid_e4", "<i4"),
        ("ask_e4", "<i4"),
        ("bid_micro", "<i8"),
        ("ask_micro", "<i8"),
        ("bid_is_ours", "<i4"),
        ("ask_is_ours", "<i4"),
    ],
    align=True,
)
OWN_ORDER_DTYPE = np.dtype(
    [
        ("key", "<u8"),
        ("original_micro", "<i8"),
        ("remaining_micro", "<i8"),
        ("price_e4", "<i4"),
        ("token", "u1"),
        ("side", "u1"),
        ("state", "u1"),
        ("is_taker", "u1"),
    ],
    align=True,
)
POLICY_INPUT_DTYPE = np.dtype(
    [
        ("position_micro", "<i8", 2),
        ("cost_micro", "<i8", 2),
        ("low_micro", "<i8", 2),
        ("high_micro", "<i8", 2),
        ("sellable_micro", "<i8", 2),
        ("top", TOP_DTYPE, 2),
        ("tick_e4", "<i4"),
        ("min_size_micro", "<i8"),
        ("fee_rate_ppm", "<i4"),
        ("fair_ppm", "<i4"),
        ("fair_age_ns", "<i8"),
        ("fair_variance", "<f8"),
        ("ms_to_end", "<i8"),
        ("ahead_micro", "<i8", MAX_ORDERS),
        ("n_orders", "<i4"),
        ("orders", OWN_ORDER_DTYPE, MAX_ORDERS),
    ],
    align=True,
)
ACTION_DTYPE = np.dtype(
    [
        ("kind", "u1"),
        ("token", "u1"),
        ("side", "u1"),
        ("level", "u1"),
        ("reason", "u1"),
        ("price_e4", "<i4"),
        ("size_micro", "<i8"),
        ("key", "<u8"),
    ],
    align=True,
)
if POLICY_INPUT_DTYPE.itemsize != sizeof(policy_input_t) or ACTION_DTYPE.itemsize != sizeof(action_t):
    raise ImportError("layout of the policy records differs from their dtypes")

STATUS_TEXTS = {
    DECIDE_BAD_ORDERS: "n_orders: expected 0 to 64, tokens 0 or 1, states 1 to 4",
    DECIDE_BAD_POSITION: "position_micro: expected 0 to 10^12; cost_micro: expected 0 to 2*10^12",
    DECIDE_BAD_TICK: "tick_e4: expected 1 to 1000 and a divisor of 10000",
    DECIDE_BAD_TOP: "top: expected prices 1 to 9999 or -1, sizes of at least 0",
    DECIDE_BAD_MARKET: "min_size_micro, fee_rate_ppm: expected at least 0, the rate at most 1000000",
    DECIDE_BAD_INTERVAL: "low_micro, high_micro: expected low <= position <= high <= 10^12",
}


cdef class Policy:
    """Base of policies. Subclass it in Cython and override `decide_c`; this one wants nothing.

    Attributes
    ----------
    name : str
        What settings and reports call it.
    """

    def __cinit__(self, *args, **kwargs):
        self.name = "none"

    cdef int decide_c(self, const policy_input_t* view, policy_output_t* out) noexcept nogil:
        out.n_actions = 0
        out.imbalance = 0.0
        out.reason[UP] = REASON_NOT_WANTED
        out.reason[DOWN] = REASON_NOT_WANTED
        return DECIDE_OK

    cdef void filled_c(self, const event_t* event) noexcept nogil:
        """A fill of an own order was told, once; most policies learn nothing from it."""

    cdef void settled_c(self, int winner) noexcept nogil:
        """The market is resolved."""

    def decide(self, view):
        """Decide once from Python.

        Parameters
        ----------
        view : numpy array
            One record of `POLICY_INPUT_DTYPE`.

        Returns
        -------
        tuple
            `(actions, reasons, imbalance)`: records of `ACTION_DTYPE`; per token why it has no quote
            (`Reason`, 0 if it has one); what the ladder was shaped with.

        Raises
        ------
        ValueError
            The view has another dtype or a number out of range.
        """
        cdef:
            policy_input_t c_view
            policy_output_t out
            int status
            uint8_t[::1] answer

        read_view(view, &c_view)
        status = self.decide_c(&c_view, &out)
        if status != DECIDE_OK:
            raise ValueError(STATUS_TEXTS.get(status, f"policy refused the view with status {status}"))
        actions = np.empty(out.n_actions, ACTION_DTYPE)
        if out.n_actions > 0:
            answer = actions.view(np.uint8)
            memcpy(&answer[0], &out.actions[0], out.n_actions * sizeof(action_t))
        return actions, (out.reason[UP], out.reason[DOWN]), out.imbalance

    def stats(self) -> dict[str, object]:
        """What it has counted, for the report; most policies count nothing."""
        return {}

    def decide_repeatedly(self, view, int64_t count):
        """Decide `count` times on one view inside a C loop: for benchmarks, where a Python call would be
        most of the time.
        """
        cdef:
            policy_input_t c_view
            policy_output_t out
            int64_t _i
            int64_t n_actions = 0

        read_view(view, &c_view)
        with nogil:
            for _i in range(count):
                self.decide_c(&c_view, &out)
                n_actions += out.n_actions
        return n_actions


cdef int read_view(object view, policy_input_t* out) except -1:
    cdef const uint8_t[::1] source

    if not isinstance(view, (np.ndarray, np.void)) or view.dtype != POLICY_INPUT_DTYPE or view.size != 1:
        raise ValueError("view: expected one record of POLICY_INPUT_DTYPE")
    source = np.ascontiguousarray(view).reshape(1).view(np.uint8)
    memcpy(out, &source[0], sizeof(policy_input_t))
    return 0


cdef double number(object value, str name, double low, double high) except? -1.0:
    cdef double x = value

    if not (isfinite(x) and low <= x <= high):
        raise ValueError(f"{name}: expected {low:g} to {high:g}, got {value!r}")
    return x


cdef int set_rule(
    ladder_rule_t* rule,
    int num_levels,
    object base_offset,
    object min_profit_margin,
    object max_imbalance,
    object order_size,
    object spread_per_level,
) except -1:
    """Fill a ladder's rule from dollars, shares and cents; ValueError for a number out of range."""
    cdef double size = number(order_size, "order_size", 0.01, 1e5)

    if not 0 <= num_levels <= MAX_LEVELS:
        raise ValueError(f"num_levels: expected 0 to {MAX_LEVELS}, got {num_levels}")
    rule.num_levels = num_levels
    rule.offset_micro = llrint(number(base_offset, "base_offset", 0.0, 1.0) * 1e6)
    rule.margin_micro = llrint(number(min_profit_margin, "min_profit_margin", 0.0, 1.0) * 1e6)
    rule.spread_micro = llrint(number(spread_per_level, "spread_per_level", 0.0, 100.0) * 1e4)
    rule.max_imbalance_ppm = llrint(number(max_imbalance, "max_imbalance", 0.0, 1.0) * 1e6)
    # The millionth of a lot keeps 0.29 * 100 from losing a lot to its binary tail.
    rule.order_micro = <int64_t>(size * 100.0 + 1e-6) * 10_000
    rule.floor_micro = rule.order_micro * (num_levels if num_levels > 0 else 1)
    if rule.floor_micro > 1_000_000_000_000:
        rule.floor_micro = 1_000_000_000_000   # bound of the arithmetic: a million shares
    return 0


cdef class InventoryMMPolicy(Policy):
    """Collects pairs of Up and Down below one dollar: bids on both tokens, shaped by the imbalance.

    Parameters
    ----------
    num_levels : int
        Bids per token, 0 to 31.
    base_offset : float
        Dollars between best ask and first bid when balanced; the heavy token's grows to twice that.
    min_profit_margin : float
        Least profit per pair, dollars.
    max_imbalance : float
        |imbalance| at which the heavy token is no longer quoted, 0 to 1.
    order_size : float
        Shares per level, 0.01 to 100 000; two decimals count outside compatible mode.
    spread_per_level : float
        **Cents** between levels.
    compatible : bool
        Compute as the original does, defects included.

    Notes
    -----
    Outside compatible mode the imbalance is (Up - Down) / max(Up + Down, one full ladder of shares):
    measured against at least what one full fill of a ladder brings, so that an odd lot neither doubles the
    offset nor stops a side, while for a larger inventory it is the ratio that the original uses. Net shares
    are therefore stopped at `max_imbalance * max(Up + Down, num_levels * order_size)`, and can pass that by
    the orders then resting, one ladder.

    The tick is the market's current one in both modes.
    """

    def __init__(
        self,
        int num_levels=3,
        base_offset=0.01,
        min_profit_margin=0.01,
        max_imbalance=0.8,
        order_size=100.0,
        spread_per_level=1.0,
        bint compatible=False,
    ):
        set_rule(
            &self.rule, num_levels, base_offset, min_profit_margin, max_imbalance, order_size,
            spread_per_level,
        )
        self.config.num_levels = num_levels
        self.config.tick_size = 0.01
        self.config.base_offset = base_offset
        self.config.min_profit_margin = min_profit_margin
        self.config.max_imbalance = max_imbalance
        self.config.order_size = order_size
        self.config.spread_per_level = spread_per_level
        self.compatible = compatible
        self.name = "inventory_mm"

    cdef int decide_c(self, const policy_input_t* view, policy_output_t* out) noexcept nogil:
        cdef int status = check_view(view)

        out.n_actions = 0
        if status != DECIDE_OK:
            return status
        if not self.compatible:
            decide_integers(&self.rule, view, out)
            return DECIDE_OK
        self.config.tick_size = view.tick_e4 / 10000.0
        decide_doubles(&self.config, view, &self.doubles, &self.answer, out)
        return DECIDE_OK


cdef void decide_doubles(
    const ladder_config_t* config,
    const policy_input_t* view,
    double_input_t* doubles,
    double_output_t* answer,
    policy_output_t* out,
) noexcept nogil:
    """Translate the view into the original's doubles, solve, and translate back. Only resting bids take part
    in the diff.
    """
    cdef:
        const own_order_t* order
        action_t* action
        int[MAX_OPEN] index
        int token
        int i
        int k

    for token in range(2):
        doubles.size[token] = view.position_micro[token] / 1e6
        doubles.average[token] = 0.0
        if view.position_micro[token] > 0:
            doubles.average[token] = <double>view.cost_micro[token] / <double>view.position_micro[token]
        doubles.has_ask[token] = view.top[token].ask_e4 > 0
        doubles.ask_price[token] = view.top[token].ask_e4 / 10000.0
        doubles.ask_size[token] = view.top[token].ask_micro / 1e6
        doubles.ask_is_ours[token] = view.top[token].ask_is_ours
    doubles.n_bids = 0
    for token in range(2):
        for i in range(view.n_orders):
            order = &view.orders[i]
            if order.is_taker or order.side != BUY or order.state > ORDER_PENDING_NEW:
                continue
            if order.token == token:
                doubles.bids[doubles.n_bids].price = order.price_e4 / 10000.0
                doubles.bids[doubles.n_bids].remaining = order.remaining_micro / 1e6
                doubles.bids[doubles.n_bids].token = order.token
                index[doubles.n_bids] = i
                doubles.n_bids += 1

    solve_doubles(config, doubles, answer)

    out.imbalance = answer.imbalance
    out.reason[UP] = answer.reason[UP]
    out.reason[DOWN] = answer.reason[DOWN]
    for i in range(doubles.n_bids):
        if answer.cancel[i]:
            order = &view.orders[index[i]]
            action = &out.actions[out.n_actions]
            action.kind = ACTION_CANCEL
            action.token = order.token
            action.level = 0
            action.reason = answer.reason[order.token]
            if action.reason == 0:
                action.reason = REASON_NOT_WANTED
            action.price_e4 = order.price_e4
            action.size_micro = order.remaining_micro
            action.key = order.key
            out.n_actions += 1
    for token in range(2):
        for k in range(answer.n_quotes[token]):
            if answer.place[token][k]:
                action = &out.actions[out.n_actions]
                action.kind = ACTION_QUOTE
                action.token = <uint8_t>token
                action.level = <uint8_t>answer.level[token][k]
                action.reason = REASON_QUOTE
                action.price_e4 = <int32_t>llrint(answer.price[token][k] * 10000.0)
                action.size_micro = llrint(config.order_size * 1e6)
                action.key = 0
                out.n_actions += 1
    if answer.has_taker:
        action = &out.actions[out.n_actions]
        action.kind = ACTION_TAKE
        action.token = answer.taker_token
        action.level = 0
        action.reason = REASON_TAKER
        action.price_e4 = view.top[answer.taker_token].ask_e4
        action.size_micro = llrint(answer.taker_size * 1e6)
        action.key = 0
        out.n_actions += 1
    for i in range(out.n_actions):
        out.actions[i].side = BUY
