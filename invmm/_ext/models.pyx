"""Inventory models, compiled: the same numbers as the Python ones of `invmm.models`, to the last bit.

Each is made from a Python model and takes over its parameters. Order of operations, `pow` and the correctly
rounded deviation are those of the Python code; only what Python raises is a status here.
"""

from libc.math cimport fabs, isfinite, log, pow, sqrt

import numpy as np

cdef extern from "deviation.h" nogil:
    double sample_deviation(const double* returns, int n)

cdef double TWO = 2.0           # not a constant: x * x is not always what pow(x, 2) rounds to
cdef double SQRT_MINUTES = sqrt(525600.0)

RANGES_FIELDS = (
    "range_a_percentage", "range_b_percentage", "inventory_ratio", "target_ratio", "deviation", "volatility"
)


cdef inline double clamp(double value, double low, double high) noexcept nogil:
    if not value < high:
        value = high
    return value if value > low else low


cdef inline bint is_valid(const model_view_t* view) noexcept nogil:
    return not (view.amount0 < 0 or view.amount1 < 0 or view.spot <= 0)


cdef inline double ratio_of(const model_view_t* view) noexcept nogil:
    cdef:
        double value0 = view.amount0 * view.spot
        double total = value0 + view.amount1

    return 0.5 if total == 0 else value0 / total


cdef double volatility_of(const model_view_t* view, int window) noexcept nogil:
    """As `BaseInventoryModel.calculate_volatility`; below 0 where that raises."""
    cdef:
        double[MAX_BARS] returns
        double deviation
        const bar_t* bars = view.bars
        int n = view.n_bars if view.n_bars < window else window
        int first = view.n_bars - n
        int i

    for i in range(1, n):
        # With Python, dividing by 0 and the logarithm of what is not above 0 are errors.
        if bars[first + i - 1].price == 0 or not bars[first + i].price / bars[first + i - 1].price > 0:
            return -1.0
        returns[i - 1] = log(bars[first + i].price / bars[first + i - 1].price)
    if n < 3:
        return 0.02
    deviation = sample_deviation(&returns[0], n - 1)
    return -1.0 if deviation < 0 else clamp(deviation * SQRT_MINUTES, 0.01, 2.0)


def deviation_of_returns(const double[::1] returns not None) -> float:
    """Sample standard deviation of 2 to 1024 log returns, as `statistics.stdev` rounds it.

    Raises
    ------
    ValueError
        Another count, or a number that no logarithm of a ratio of doubles can be.
    """
    cdef double deviation = sample_deviation(&returns[0], <int> returns.shape[0]) if returns.shape[0] else -1

    if deviation < 0:
        raise ValueError(f"returns: expected 2 to {MAX_BARS} log returns, got {returns.shape[0]} numbers")
    return deviation


cdef class FastModel:
    """Base of compiled models; this one has no opinion.

    Attributes
    ----------
    name : str
        For people.
    min_range, max_range : float
        Percent: the bounds of its ranges.
    """

    def __init__(self, model=None) -> None:
        self.name = "none" if model is None else str(model.model_name)
        self.min_range = getattr(model, "min_range", 0.0)
        self.max_range = getattr(model, "max_range", 100.0)

    cdef int ranges_c(self, const model_view_t* view, ranges_t* out) noexcept nogil:
        return MODEL_NO_RESULT

    cdef int checked_c(self, const model_view_t* view, ranges_t* out) noexcept nogil:
        """As `ranges_c`, and MODEL_NONSENSE for an answer that makes no sense."""
        cdef int status = self.ranges_c(view, out)

        if status != MODEL_OK:
            return status
        if not (isfinite(out.range_a) and isfinite(out.range_b) and isfinite(out.deviation)):
            return MODEL_NONSENSE
        if not (isfinite(out.ratio) and isfinite(out.target) and isfinite(out.volatility)):
            return MODEL_NONSENSE
        if out.range_a < 0 or out.range_b < 0 or out.ratio < 0 or out.target < 0 or out.volatility < 0:
            return MODEL_NONSENSE
        return MODEL_OK

    def ranges(self, double amount0, double amount1, double spot, bars=()) -> dict[str, float] | int:
        """Asks once from Python.

        Parameters
        ----------
        amount0, amount1 : float
            Balances in whole tokens.
        spot : float
            Price of token 0 in token 1.
        bars : array_like, shape (n, 5), n up to 1024
            Samples, oldest first: price, high, low, open, close.

        Returns
        -------
        dict or int
            The numbers of a result by the names that `calculate_lp_ranges` gives them; the Reason for none.

        Raises
        ------
        ValueError
            The samples have another shape.
        """
        cdef:
            const double[:, ::1] rows
            model_view_t view
            ranges_t out
            int status

        rows = np.ascontiguousarray(bars, dtype=np.float64).reshape(-1, 5)
        if rows.shape[0] > MAX_BARS:
            raise ValueError(f"bars: expected at most {MAX_BARS} samples, got {rows.shape[0]}")
        view.amount0, view.amount1, view.spot = amount0, amount1, spot
        view.bars = <const bar_t*> &rows[0, 0] if rows.shape[0] else NULL
        view.n_bars = <int> rows.shape[0]
        view.first_bar = -1
        status = self.checked_c(&view, &out)
        if status != MODEL_OK:
            return status
        numbers = (out.range_a, out.range_b, out.ratio, out.target, out.deviation, out.volatility)
        return dict(zip(RANGES_FIELDS, numbers, strict=True))


cdef class FastAvellanedaStoikov(FastModel):
    """`AvellanedaStoikovModel`, compiled.

    Parameters
    ----------
    model : AvellanedaStoikovModel
        Its parameters are taken over. ValueError: its window is not 1 to 1024 samples.
    """

    def __init__(self, model) -> None:
        super().__init__(model)
        window = int(model.volatility_window)
        if not 1 <= window <= MAX_BARS:
            raise ValueError(f"VOLATILITY_WINDOW_SIZE: expected 1 to {MAX_BARS} samples, got {window}")
        self.window = window
        self.risk_aversion = model.risk_aversion
        self.target = model.target_ratio
        self.base_spread = model.base_spread
        self.low = model.min_range / 100.0
        self.high = model.max_range / 100.0

    cdef int ranges_c(self, const model_view_t* view, ranges_t* out) noexcept nogil:
        cdef double skew

        if not is_valid(view):
            return MODEL_FALLBACK
        out.ratio = ratio_of(view)
        out.target = self.target
        skew = out.ratio - self.target
        out.deviation = fabs(skew)
        out.volatility = volatility_of(view, self.window)
        if out.volatility < 0:
            return MODEL_FALLBACK
        self.widths_c(skew, out)
        out.range_a = clamp(out.range_a, self.low, self.high) * 100.0
        out.range_b = clamp(out.range_b, self.low, self.high) * 100.0
        return MODEL_OK

    cdef void widths_c(self, double skew, ranges_t* out) noexcept nogil:
        cdef double total = self.base_spread + self.risk_aversion * pow(out.volatility, TWO) * fabs(skew)

        out.range_a = 0.5 * total if skew > 0 else 2.0 * total
        out.range_b = 2.0 * total if skew > 0 else 0.5 * total


cdef class FastGLFT(FastAvellanedaStoikov):
    """`GLFTModel`, compiled; parameters as in `FastAvellanedaStoikov`."""

    def __init__(self, model) -> None:
        super().__init__(model)
        self.execution_cost = model.execution_cost
        self.inventory_penalty = model.inventory_penalty
        self.terminal_penalty = model.terminal_penalty

    cdef void widths_c(self, double skew, ranges_t* out) noexcept nogil:
        cdef double total = (
            self.base_spread
            + self.execution_cost
            + self.risk_aversion * pow(out.volatility, TWO) * fabs(skew)
            + self.inventory_penalty * fabs(skew)
            + self.terminal_penalty * pow(skew, TWO)
        )

        out.range_a = (0.5 * total if skew > 0 else 2.0 * total) * (1.0 + self.execution_cost)
        out.range_b = (2.0 * total if skew > 0 else 0.5 * total) * (1.0 + self.execution_cost)


cdef class FastSimple(FastModel):
    """`SimpleModel`, compiled.

    Parameters
    ----------
    model : SimpleModel
        Its parameters are taken over.
    """

    def __init__(self, model) -> None:
        super().__init__(model)
        self.base_range = model.base_range
        self.sensitivity = model.inventory_sensitivity
        self.target = model.target_ratio
        self.low = model.min_range / 100.0
        self.high = model.max_range / 100.0

    cdef int ranges_c(self, const model_view_t* view, ranges_t* out) noexcept nogil:
        cdef:
            double narrow
            double wide

        if not is_valid(view):
            return MODEL_FALLBACK
        out.ratio = ratio_of(view)
        out.target = self.target
        out.deviation = fabs(out.ratio - self.target)
        out.volatility = volatility_of(view, 20)
        if out.volatility < 0:
            return MODEL_FALLBACK
        narrow = self.base_range * (1.0 - self.sensitivity * out.deviation)
        wide = self.base_range * (1.0 + self.sensitivity * out.deviation)
        out.range_a = clamp(narrow if out.ratio > self.target else wide, self.low, self.high) * 100.0
        out.range_b = clamp(wide if out.ratio > self.target else narrow, self.low, self.high) * 100.0
        return MODEL_OK


cdef class FastMeanReversion(FastModel):
    """`MeanReversionModel`, compiled.

    Parameters
    ----------
    model : MeanReversionModel
        Its parameters are taken over. ValueError: its lookback is not 1 to 1024 samples.
    """

    def __init__(self, model) -> None:
        super().__init__(model)
        lookback = int(model.lookback_period)
        if not 1 <= lookback <= MAX_BARS:
            raise ValueError(f"MEAN_REVERSION_LOOKBACK: expected 1 to {MAX_BARS} samples, got {lookback}")
        self.lookback = lookback
        self.base_range = model.base_range
        self.strength = model.mean_reversion_strength

    cdef int ranges_c(self, const model_view_t* view, ranges_t* out) noexcept nogil:
        cdef:
            double mean = 0.0
            double distance
            double change
            int i

        if view.n_bars < self.lookback:
            return MODEL_NO_RESULT
        for i in range(view.n_bars - self.lookback, view.n_bars):
            mean += view.bars[i].price
        mean /= self.lookback
        out.volatility = volatility_of(view, 20)
        if mean == 0 or out.volatility < 0:
            return MODEL_ERROR
        distance = fabs(view.spot - mean) / mean
        change = self.strength * distance
        out.range_a = self.base_range * (1.0 + change if distance > 0.1 else 1.0 - change) * 100.0
        out.range_b = out.range_a
        out.ratio = out.target = 0.5
        out.deviation = 0.0
        return MODEL_OK
