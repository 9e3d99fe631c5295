"""Book update and best query on a stream of changes, with peers in the same run.

`pytest bench/bench_book.py --benchmark-enable` for the table, `python -m bench.bench_book` for
nanoseconds in C.
"""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from bench.bench_decode import UP, Containers, Sorted
from invmm._ext.book import Book, _bench_update


def stream(count: int, seed: int = 1) -> list[tuple[int, int, int]]:
    """Changes near the middle of a one-cent book, about one in six a removal."""
    rng = random.Random(seed)
    changes = []
    for _ in range(count):
        side = rng.randrange(2)
        away = min(48, int(rng.expovariate(0.15)))
        price = 100 * (50 - away if side == 0 else 51 + away)
        changes.append((side, price, 0 if rng.random() < 0.165 else rng.randrange(1, 10**10)))
    return changes


CHANGES = stream(2000)


def test_update_and_best(benchmark: Any) -> None:
    """One round is 2000 changes, each followed by both bests, from Python."""
    book = Book()

    def run() -> None:
        for side, price, size in CHANGES:
            book.apply(side, price, size)
            book.best_bid()
            book.best_ask()

    benchmark(run)


@pytest.mark.parametrize("kind", [Sorted, Containers])
def test_update_and_best_of_peers(benchmark: Any, kind: type[Sorted]) -> None:
    if kind is Containers:
        pytest.importorskip("sortedcontainers", reason="sortedcontainers is not installed: peer left out")
    book = kind()

    def run() -> None:
        for side, price, size in CHANGES:
            book.set(UP, side, price, size)
            book.best(UP)

    benchmark(run)


def main() -> None:
    book = Book()
    times = []
    for _ in range(25):
        start = time.perf_counter_ns()
        _bench_update(book, CHANGES, 100)
        times.append((time.perf_counter_ns() - start) / (100 * len(CHANGES)))
    print(f"update + best bid + best ask, in C: {sorted(times)[len(times) // 2]:.1f} ns")


if __name__ == "__main__":
    main()
