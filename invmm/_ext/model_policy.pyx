"""Quotes around the fair value, as far from it as an inventory model says.

The model sees Up as token 0 and Down as token 1. Fair value is the middle of Up's book, p, the model's spot
price; balances are the shares of Up, and those of Down × p rounded to a micro-share, so that the model's
ratio is Up / (Up + Down) and matched pairs are balanced at every price. Its history is sampled from p here.

A model narrows the range of the token of which there is too much. On a book of bids the way to less of it is
the bid for the other token: Up is bid for at p × (1 − range_b), Down at (1 − p) × (1 − range_a). Levels,
sizes and the imbalance at which the heavy token is no longer bid for are those of the inventory strategy.
"""

from cpython.exc cimport PyErr_SetInterrupt
from libc.math cimport isfinite, llrint
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memmove

from numbers import Real

from invmm._ext.models cimport (
    MODEL_ERROR, MODEL_FALLBACK, MODEL_NO_RESULT, MODEL_NONSENSE, MODEL_OK, FastModel, bar_t, model_view_t,
    ranges_t,
)
from invmm._ext.quoting cimport (
    MIN_PRICE_E4, ONE_E4, check_view, emit_quotes, floor_to_tick, half_t, note_orders, passive_limit,
)
from invmm._ext.records cimport DOWN, UP
from invmm._ext.solver cimport DECIDE_OK, ladder_rule_t, policy_input_t, policy_output_t, set_rule

from invmm._ext.models import RANGES_FIELDS
from invmm.errors import origin_of


cdef enum:
    REASON_NOT_WANTED = 3       # invmm.types.Reason
    REASON_NO_ASK = 20
    REASON_IMBALANCE = 21
    REASON_BELOW_MIN_PRICE = 23
    REASON_SELF_CROSS = 26
    REASON_POST_ONLY = 27
    REASON_BELOW_MIN_SIZE = 28
    REASON_NO_MID = 115

    DECIMALS = 6                # of both balances

cdef int64_t MICRO = 1_000_000
cdef double AT_BOUND = 1e-9     # percent: nearer than this to a bound is at it


cdef class ModelPolicy(Policy):
    """Quotes as an inventory model says.

    Parameters
    ----------
    model : FastModel
        Compiled, or a `PythonModel`; it must not be shared with another policy.
    name : str
        What reports call the policy.
    num_levels, order_size, spread_per_level, max_imbalance
        As for `InventoryMMPolicy`; level 0 is where the model says.
    sample_ms : int
        Time between two samples of the history, 1 to 3 600 000 ms.
    """

    def __init__(
        self,
        FastModel model not None,
        str name="model",
        int num_levels=3,
        order_size=100.0,
        spread_per_level=1.0,
        max_imbalance=0.8,
        int64_t sample_ms=1000,
    ) -> None:
        if not 1 <= sample_ms <= 3_600_000:
            raise ValueError(f"sample_ms: expected 1 to 3600000, got {sample_ms}")
        set_rule(&self.rule, num_levels, 0.0, 0.0, max_imbalance, order_size, spread_per_level)
        self.model = model
        self.sample_ms = sample_ms
        self.name = name

    cdef int decide_c(self, const policy_input_t* view, policy_output_t* out) noexcept nogil:
        cdef:
            half_t[2] halves
            ranges_t ranges
            double mid = 0.0
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
        status = REASON_NO_MID
        if view.top[UP].bid_e4 > 0 and view.top[UP].ask_e4 > 0:
            mid = (view.top[UP].bid_e4 + view.top[UP].ask_e4) / 20000.0
            self.sample_c(view.ms_to_end, mid)
            status = self.ask_c(view, mid, &ranges)
        for token in range(2):
            halves[token].price = 0
            halves[token].anchor = 0
            halves[token].reason = <uint8_t> status
        if status == MODEL_OK:
            price_half(&self.rule, view, UP, mid, ranges.range_b, net, base, &halves[UP])
            price_half(&self.rule, view, DOWN, 1.0 - mid, ranges.range_a, -net, base, &halves[DOWN])
            keep_apart(view, net, halves)
        emit_quotes(&self.rule, view, halves, out)
        return DECIDE_OK

    cdef int ask_c(self, const policy_input_t* view, double mid, ranges_t* ranges) noexcept nogil:
        """Asks the model; MODEL_OK or the Reason for no quote."""
        cdef:
            model_view_t seen
            int status

        seen.amount0 = view.position_micro[UP] / 1e6
        seen.amount1 = llrint(view.position_micro[DOWN] * mid) / 1e6
        seen.spot = mid
        seen.bars = &self.bars[0]
        seen.n_bars = self.n_bars
        seen.first_bar = <int64_t> self.counters.samples - self.n_bars
        self.counters.asked += 1
        status = self.model.checked_c(&seen, ranges)
        if status == MODEL_OK:
            self.count_c(ranges)
        return status

    cdef void count_c(self, const ranges_t* ranges) noexcept nogil:
        cdef:
            double low = self.model.min_range + AT_BOUND
            double high = self.model.max_range - AT_BOUND

        self.counters.answered += 1
        self.counters.volatility_low += ranges.volatility <= 0.01
        self.counters.volatility_high += ranges.volatility >= 2.0
        self.counters.range_low += (ranges.range_a <= low) + (ranges.range_b <= low)
        self.counters.range_high += (ranges.range_a >= high) + (ranges.range_b >= high)

    cdef void sample_c(self, int64_t ms_to_end, double mid) noexcept nogil:
        """Adds a price to the forming sample; what was formed before its interval is history now. Intervals
        without a decision leave no sample.
        """
        cdef:
            int64_t slot
            bar_t* forming = &self.forming

        if not self.has_forming:
            self.start_ms = ms_to_end
            self.has_forming = True
            forming.open = forming.high = forming.low = mid
        slot = (self.start_ms - ms_to_end) // self.sample_ms
        if slot > self.slot:
            self.slot = slot
            if self.n_bars == MAX_BARS:
                self.n_bars -= 1
                memmove(&self.bars[0], &self.bars[1], self.n_bars * sizeof(bar_t))
            self.bars[self.n_bars] = forming[0]
            self.n_bars += 1
            self.counters.samples += 1
            forming.open = forming.high = forming.low = forming.close
        forming.high = max(forming.high, mid)
        forming.low = min(forming.low, mid)
        forming.close = forming.price = mid

    def stats(self) -> dict[str, object]:
        """How often the model was asked and answered, how often its clamps bound (`model_counters_t`), its
        name and what it raised last.
        """
        return {
            **(<dict> self.counters),
            "model": self.model.name,
            "last_error": getattr(self.model, "last_error", None),
        }


cdef void price_half(
    const ladder_rule_t* rule,
    const policy_input_t* view,
    int token,
    double fair,
    double percent,
    int64_t net,
    int64_t base,
    half_t* half,
) noexcept nogil:
    """Set one token's price and anchor from its fair value and range, or why there is none.

    `net`: micro-shares it is ahead.
    """
    cdef int32_t passive

    if rule.num_levels == 0:
        half.reason = REASON_NOT_WANTED
    elif rule.order_micro < view.min_size_micro:
        half.reason = REASON_BELOW_MIN_SIZE
    elif net * MICRO >= rule.max_imbalance_ppm * base:
        half.reason = REASON_IMBALANCE
    elif view.top[token].ask_e4 < 0:
        half.reason = REASON_NO_ASK
    if half.reason:
        return
    if percent < 100.0:
        half.anchor = llrint(fair * (1.0 - percent / 100.0) * 1e6)
    half.price = floor_to_tick(half.anchor, view.tick_e4)
    passive = passive_limit(view, token)
    if half.price < MIN_PRICE_E4:
        half.price = 0
        half.reason = REASON_BELOW_MIN_PRICE
    elif passive < MIN_PRICE_E4:
        half.price = 0
        half.reason = REASON_POST_ONLY
    elif passive < half.price:
        half.price = passive


cdef void keep_apart(const policy_input_t* view, int64_t net, half_t* halves) noexcept nogil:
    """Lower the heavy token's bid where both together would be minted against each other: ranges of 0."""
    cdef:
        half_t* heavy = &halves[DOWN if net < 0 else UP]
        half_t* light = &halves[UP if net < 0 else DOWN]

    if heavy.price == 0 or light.price == 0 or heavy.price + light.price < ONE_E4:
        return
    heavy.price = ONE_E4 - view.tick_e4 - light.price
    if heavy.price < MIN_PRICE_E4:
        heavy.price = 0
        heavy.reason = REASON_SELF_CROSS


class MarketClient:
    """What stands for the client of the original: it knows how many decimals the balances have."""

    def get_token_decimals(self, address: str) -> int:
        """6, for both tokens."""
        return DECIMALS


cdef class PythonModel(FastModel):
    """A model of `invmm.models`, asked through the fast protocol.

    It is asked in each decision, so a slow one delays the engine's thread. Nothing that it raises gets out,
    and what it answers is checked.

    Parameters
    ----------
    model : BaseInventoryModel
        Anything with its methods.

    Attributes
    ----------
    last_error : str or None
        What it raised last and where, or what was wrong with its answer.
    """

    def __init__(self, model) -> None:
        super().__init__()
        config = getattr(model, "config", None)
        self.name = type(model).__name__
        self.min_range = getattr(config, "MIN_RANGE_PERCENTAGE", 2.0)
        self.max_range = getattr(config, "MAX_RANGE_PERCENTAGE", 20.0)
        self.model = model
        self.history = []
        self.client = MarketClient()

    cdef int ranges_c(self, const model_view_t* view, ranges_t* out) noexcept nogil:
        with gil:
            try:
                return self.ask(view, out)
            except BaseException as error:
                self.last_error = origin_of(error)
                if isinstance(error, KeyboardInterrupt):
                    PyErr_SetInterrupt()  # it was meant for the program: once more, outside of the model
                return MODEL_ERROR

    cdef int ask(self, const model_view_t* view, ranges_t* out) except? -1:
        self.remember(view)
        result = self.model.calculate_lp_ranges(
            llrint(view.amount0 * 1e6),
            llrint(view.amount1 * 1e6),
            view.spot,
            self.history.copy(),
            "UP",
            "DOWN",
            self.client,
        )
        if result is None:
            return MODEL_NO_RESULT
        problem = problem_of(result)
        if problem is not None:
            self.last_error = problem
            return MODEL_NONSENSE
        if result["model_metadata"].get("fallback_used"):
            self.last_error = "fallback_used"
            return MODEL_FALLBACK
        out.range_a, out.range_b = result["range_a_percentage"], result["range_b_percentage"]
        out.ratio, out.target = result["inventory_ratio"], result["target_ratio"]
        out.deviation, out.volatility = result["deviation"], result["volatility"]
        return MODEL_OK

    cdef void remember(self, const model_view_t* view):
        """Brings the history up to date; samples that it has already are not made again."""
        cdef:
            int64_t new = view.first_bar + view.n_bars - self.next_bar
            int i

        if view.first_bar < 0 or not 0 <= new <= view.n_bars:
            self.history.clear()
            new = view.n_bars
        for i in range(view.n_bars - <int> new, view.n_bars):
            self.history.append(
                {
                    "price": view.bars[i].price,
                    "high": view.bars[i].high,
                    "low": view.bars[i].low,
                    "open": view.bars[i].open,
                    "close": view.bars[i].close,
                }
            )
        del self.history[: len(self.history) - view.n_bars]
        self.next_bar = view.first_bar + view.n_bars if view.first_bar >= 0 else 0


cdef problem_of(result):
    """What is wrong with a model's answer, None if nothing is."""
    if not isinstance(result, dict):
        return f"expected a dict, found {type(result).__name__}"
    for name in RANGES_FIELDS:
        value = result.get(name)
        if not isinstance(value, Real):
            return f"{name}: expected a number, found {type(value).__name__}"
        if not isfinite(value):
            return f"{name}: expected a finite number, found {float(value)}"
        if value < 0 and name != "deviation":
            return f"{name}: expected at least 0, found {float(value)}"
    if not isinstance(result.get("model_metadata"), dict):
        return f"model_metadata: expected a dict, found {type(result.get('model_metadata')).__name__}"
    return None
