"""The underlying of a generated market: a seeded price path, the probability it implies, and how it settles.

The path is a stochastic-volatility random walk with jumps on a grid of `STEP_MS`. A market of w = 60 s
settles Up when the average of the last w seconds of its window is at least the average of the w seconds
before its start (ties are Up): the venue's rule for 5-minute markets since 2026-08-14. The fair probability
follows from the same rule for a Brownian price.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from invmm.types import Outcome

STEP_MS = 20
AVERAGE_S = 60
SIGMA_PER_S = 0.9e-4  # of log price per square root of a second: 50 % a year, bitcoin in 2026
START_USD = 75_000.0
BASIS_S = 14.0
BASIS_FADES_S = 25.0
"""What nobody knows of the settlement feed, as seconds of the path's variance: about 3.4 basis points,
falling to nothing over the last `BASIS_FADES_S` seconds. It keeps close races open. Tuned to the
recorded share of time at the extremes.
"""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DayType:
    """How one kind of day moves, relative to the volatility that the market believes in.

    `diffusion` scales the walk, `drift` is the trend per second in units of sigma, `jumps_per_s` and
    `jump_sigma` (in units of one second's sigma) the jumps, `clustering` the standard deviation of log
    volatility, `activity` the rate of all order flow. `bursts_per_s` and `burst_sigma` are the small jumps of
    every day: recorded mids stand still in 58 % of all seconds and move in bursts between them.
    """

    diffusion: float
    drift: float
    bursts_per_s: float
    burst_sigma: float
    jumps_per_s: float
    jump_sigma: float
    clustering: float
    activity: float


DAY_TYPES = {
    "quiet": DayType(0.34, 0.015, 0.08, 1.68, 0.004, 3.36, 0.6, 0.7),
    "trending": DayType(0.43, 0.045, 0.12, 1.9, 0.012, 3.92, 0.8, 0.95),
    "jumping": DayType(0.40, 0.015, 0.11, 1.9, 0.035, 4.48, 0.9, 1.0),
}
VOLATILITY_MEMORY_S = (
    (2.5, 0.8),
    (30.0, 0.6),
)  # time constant and share of `clustering` of the parts of log volatility


@dataclass(frozen=True)
class PricePath:
    """Prices of the underlying in dollars at `start_ms + i * STEP_MS`, relative to the start of the window.

    `fair` is the probability of Up given the path so far.
    """

    price: FloatArray
    fair: FloatArray
    start_ms: int
    strike: float
    final: float

    @property
    def winner(self) -> Outcome:
        """Up when the final average is at least the strike."""
        return Outcome.UP if self.final >= self.strike else Outcome.DOWN


def time_average(price: FloatArray, start_ms: int, until_ms: int) -> float:
    """Mean of the `AVERAGE_S` seconds of grid points that end at `until_ms` (exclusive)."""
    last = (until_ms - start_ms) // STEP_MS
    first = last - AVERAGE_S * 1000 // STEP_MS
    if first < 0 or last > len(price):
        raise ValueError(f"the path does not cover the {AVERAGE_S} s before {until_ms} ms")
    return float(price[first:last].mean())


def price_path(rng: np.random.Generator, day: DayType, window_s: int, pre_s: int, post_s: int) -> PricePath:
    """Draws one path from `AVERAGE_S + pre_s` before the window to `post_s` after it, and its fair
    probability."""
    start_ms = -(AVERAGE_S + pre_s) * 1000
    count = (AVERAGE_S + pre_s + window_s + post_s) * 1000 // STEP_MS
    step_s = STEP_MS / 1000
    log_volatility = np.zeros(count)
    for memory_s, share in VOLATILITY_MEMORY_S:
        log_volatility += reverting(rng, count, memory_s, day.clustering * share)
    # Subtracting the variance keeps the mean of the squared volatility at one.
    volatility = SIGMA_PER_S * day.diffusion * np.exp(log_volatility - day.clustering**2)
    moves = rng.standard_normal(count) * volatility * math.sqrt(step_s)
    trend = (1.0 if rng.random() < 0.5 else -1.0) * day.drift * SIGMA_PER_S
    moves += trend * step_s
    for rate, sigma in ((day.bursts_per_s, day.burst_sigma), (day.jumps_per_s, day.jump_sigma)):
        jumps = rng.random(count) < rate * step_s
        sizes = rng.standard_normal(count) * SIGMA_PER_S * sigma
        moves[jumps] += sizes[jumps]
    price = START_USD * np.exp(np.cumsum(moves))
    strike = time_average(price, start_ms, 0)
    final = time_average(price, start_ms, window_s * 1000)
    fair = _fair(price, start_ms, strike, window_s)
    return PricePath(price, fair, start_ms, strike, final)


def reverting(rng: np.random.Generator, count: int, memory_s: float, deviation: float) -> FloatArray:
    """A stationary mean-reverting series on the grid."""
    keep = math.exp(-STEP_MS / 1000 / memory_s)
    level = float(rng.standard_normal()) * deviation
    out = np.empty(count)
    for index, shock in enumerate(
        (rng.standard_normal(count) * deviation * math.sqrt(1 - keep * keep)).tolist()
    ):
        level = level * keep + shock
        out[index] = level
    return out


def _fair(price: FloatArray, start_ms: int, strike: float, window_s: int) -> FloatArray:
    """Phi((m - K) / sqrt(v)): mean and variance of the final average, see the formulas below.

    tau = seconds to the end.
    tau >= w: m = S, v = s2 (tau - 2w/3).
    tau < w:  m = (observed + tau S) / w, v = s2 tau^3 / (3 w^2).
    Before the start the strike itself is uncertain: its mean is taken in the same way, its variance is added.
    """
    count = len(price)
    step_s = STEP_MS / 1000
    seconds = (start_ms + np.arange(count) * STEP_MS) / 1000
    tau = np.maximum(window_s - seconds, 0.0)
    running = (
        np.concatenate(([0.0], np.cumsum(price))) * step_s
    )  # integral up to, not including, each grid point
    width = float(AVERAGE_S)

    first = int((window_s - AVERAGE_S - start_ms / 1000) / step_s)
    observed = running[:count] - running[min(first, count)]
    mean = np.where(tau >= width, price, (observed + tau * price) / width)
    variance = np.where(tau >= width, tau - 2 * width / 3, tau**3 / (3 * width**2))

    before = np.clip(-seconds, 0.0, width)
    opening = int((-AVERAGE_S - start_ms / 1000) / step_s)
    strike_mean = np.where(
        before > 0, (np.maximum(running[:count] - running[opening], 0.0) + before * price) / width, strike
    )
    variance = variance + before**3 / (3 * width**2) + BASIS_S * np.minimum(tau / BASIS_FADES_S, 1.0)
    scale = SIGMA_PER_S * price * np.sqrt(np.maximum(variance, 1e-9))
    z = (mean - strike_mean) / scale
    after = tau <= 0
    z[after] = np.where(z[after] >= 0, 9.0, -9.0)
    return np.array([0.5 * math.erfc(-x / math.sqrt(2.0)) for x in np.clip(z, -9.0, 9.0).tolist()])
