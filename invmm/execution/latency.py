"""Latency histograms of fixed size: eight buckets to each doubling, so a percentile is right within 13 %."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

STEPS = 8  # buckets per doubling
BUCKETS = 40 * STEPS  # up to 2^40 ns, 18 minutes


def bucket_of(ns: int) -> int:
    """Index of the bucket that counts `ns`."""
    if ns < STEPS:
        return max(0, ns)
    shift = ns.bit_length() - 4
    return min(BUCKETS - 1, (shift + 1) * STEPS + ((ns >> shift) - STEPS))


def upper_ns(bucket: int) -> int:
    """Largest value of a bucket, ns."""
    if bucket < STEPS:
        return bucket
    shift = bucket // STEPS - 1
    return ((bucket % STEPS + STEPS + 1) << shift) - 1


class Latency:
    """Counts durations. One thread writes; others may look at any time."""

    __slots__ = ("counts", "max_ns")

    def __init__(self) -> None:
        self.counts: npt.NDArray[np.int64] = np.zeros(BUCKETS, dtype=np.int64)
        self.max_ns = 0

    def add(self, ns: int) -> None:
        """Counts one duration of `ns` (below 0 counts as 0)."""
        self.counts[bucket_of(ns)] += 1
        if ns > self.max_ns:
            self.max_ns = ns

    @property
    def count(self) -> int:
        return int(self.counts.sum())

    def percentile(self, percent: float) -> int | None:
        """Duration in ns that `percent` (0 to 100) of all do not exceed, to a bucket; None when empty."""
        total = self.count
        if not total:
            return None
        reached = np.cumsum(self.counts) >= max(1.0, total * percent / 100)
        return min(self.max_ns, upper_ns(int(np.argmax(reached))))

    def summary(self) -> dict[str, int | None]:
        """Count, p50, p99, p99.9 and max in ns."""
        return {
            "count": self.count,
            "p50": self.percentile(50),
            "p99": self.percentile(99),
            "p999": self.percentile(99.9),
            "max": self.max_ns if self.count else None,
        }
