"""Means over markets with honest intervals: a block bootstrap that allows for what neighbours have in common.

Markets are in order of time (or of their seeds). Blocks of consecutive markets are drawn with replacement,
around the end (the circular block bootstrap of Politis and Romano, 1992); the interval is between the 2.5th
and the 97.5th percentile of the means drawn. With few blocks such percentiles are too narrow, so they are
stretched about the mean by t(b − 1) / z · √(b / (b − 1)) for b blocks. Equal values give equal intervals: the
draws are seeded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

DRAWS: Final = 4_000
SEED: Final = 20_261_121
Z95: Final = 1.959964  # of the normal distribution, two sides of 5 %
Z80: Final = 0.841621  # one side, for a power of 80 %
CHUNK: Final = 2_000_000  # numbers held at once

Values = Sequence[float] | npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval; None where there is too little to say one."""

    mean: float | None
    low: float | None
    high: float | None
    n: int
    detectable: float | None = None
    """The least true mean that n such markets would show, with a power of 80 % at the 5 % level."""

    @property
    def verdict(self) -> str:
        """Of a difference: "better", "worse" or "not shown"."""
        if self.low is not None and self.low > 0:
            return "better"
        if self.high is not None and self.high < 0:
            return "worse"
        return "not shown"

    def words(self) -> dict[str, Any]:
        """As JSON holds it: `mean`, `low`, `high`, `n`, `detectable`."""
        return asdict(self)


def block_length(n: int) -> int:
    """Markets in a block: the cube root of their number, rounded; 1 at least."""
    return max(1, round(math.cbrt(n)))


def mean_of(values: Values, *, block: int | None = None, draws: int = DRAWS, seed: int = SEED) -> Estimate:
    """Mean of one value per market.

    Parameters
    ----------
    values : sequence of float
        In the order of the markets, finite.
    block : int, optional
        Markets in a block; `block_length` if omitted.
    draws, seed : int
        Of the bootstrap.

    Examples
    --------
    >>> found = mean_of([1.0, 2.0, 3.0, 2.0] * 25)
    >>> found.mean, found.n, found.verdict
    (2.0, 100, 'better')
    >>> mean_of([]).mean is None
    True
    """
    return ratio_of(values, np.ones(len(values)), block=block, draws=draws, seed=seed)


def paired(
    values: Values, base: Values, *, block: int | None = None, draws: int = DRAWS, seed: int = SEED
) -> Estimate:
    """Mean of the differences `values - base` on the same markets."""
    if len(values) != len(base):
        raise ValueError(f"expected values of the same markets, got {len(values)} and {len(base)}")
    difference = np.asarray(values, np.float64) - np.asarray(base, np.float64)
    return mean_of(difference, block=block, draws=draws, seed=seed)


def ratio_of(
    parts: Values, wholes: Values, *, block: int | None = None, draws: int = DRAWS, seed: int = SEED
) -> Estimate:
    """Sum of parts over sum of wholes, of one of each per market: a mean weighted by the wholes.

    Raises
    ------
    ValueError
        The lengths differ, a value is not finite, or a whole is below 0.
    """
    part, whole = np.asarray(parts, np.float64), np.asarray(wholes, np.float64)
    n = len(part)
    if part.shape != whole.shape:
        raise ValueError(f"expected as many wholes as parts, got {len(whole)} and {n}")
    if not (np.isfinite(part).all() and np.isfinite(whole).all() and (whole >= 0).all()):
        raise ValueError("expected finite values, and wholes of at least 0")
    if not n or not whole.sum():
        return Estimate(None, None, None, n)
    mean = float(part.sum() / whole.sum())
    length = block_length(n) if block is None else block
    if not 1 <= length <= n:
        raise ValueError(f"block: expected 1 to {n}, got {length}")
    blocks = n / length
    if blocks < 2:
        return Estimate(mean, None, None, n)
    means = _drawn(part, whole, length, draws, seed)
    stretch = math.sqrt(blocks / (blocks - 1))
    wide = stretch * _student(blocks - 1) / Z95
    low, high = np.percentile(means, [2.5, 97.5])
    spread = float(means.std()) * stretch
    return Estimate(
        mean,
        mean + (float(low) - mean) * wide,
        mean + (float(high) - mean) * wide,
        n,
        (_student(blocks - 1) + Z80) * spread,
    )


def _drawn(
    part: npt.NDArray[np.float64], whole: npt.NDArray[np.float64], length: int, draws: int, seed: int
) -> npt.NDArray[np.float64]:
    """Ratios of the samples drawn: whole blocks, as many as cover the markets."""
    n = len(part)
    sums = []
    for values in (part, whole):
        around = np.concatenate(([0.0], np.cumsum(np.concatenate((values, values[: length - 1])))))
        sums.append(around[length:] - around[:-length])  # of the block that begins at each market
    rng = np.random.Generator(np.random.PCG64(seed))
    count = math.ceil(n / length)
    out = []
    for first in range(0, draws, step := max(1, CHUNK // count)):
        begins = rng.integers(0, n, (min(step, draws - first), count))
        weights = sums[1][begins].sum(axis=1)
        gains = sums[0][begins].sum(axis=1)
        # A sample without any weight says nothing.
        out.append(np.divide(gains, weights, out=np.zeros_like(gains), where=weights > 0)[weights > 0])
    return np.concatenate(out)


def _student(freedom: float) -> float:
    """97.5th percentile of Student's t: the expansion in 1/ν about the normal one (Abramowitz and Stegun,
    26.7.5), and for ν below 3, where that fails, no less than by its value at 3 scaled to the exact 12.706 at
    ν = 1.
    """
    z = Z95
    if freedom < 3:
        return 12.706 * math.pow(3.182 / 12.706, math.log(max(freedom, 1.0)) / math.log(3.0))
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    found: float = sum(term / freedom**power for power, term in enumerate(terms))
    return found
