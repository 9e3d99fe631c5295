"""Book update and best query on a stream of changes, with peers in the same run.

`pytest bench/bench_book.py --benchmark-enable` for the table, `python -m bench.bench_book` for
percentiles, ratios and the budget.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench import harness
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


TARGET_NS = 8.0
"""The budget: one update and both bests, inside C."""


def in_python(book: Sorted) -> Callable[[tuple[int, int, int]], Any]:
    def run(change: tuple[int, int, int]) -> Any:
        book.set(UP, *change)
        return book.best(UP)

    return run


def ours() -> Callable[[tuple[int, int, int]], Any]:
    book = Book()

    def run(change: tuple[int, int, int]) -> Any:
        book.apply(*change)
        return book.best_bid(), book.best_ask()

    return run


def inside_c() -> harness.Distribution:
    """Per change, looped in C; a sample is one pass, short enough to fit between two interruptions."""
    book, rows = Book(), np.array(CHANGES, np.int64)
    samples = []
    for _ in range(5 if harness.SHORT else 1_001):
        start = time.perf_counter_ns()
        _bench_update(book, rows, 10)
        samples.append((time.perf_counter_ns() - start) / (10 * len(CHANGES)))
    return harness.distribution(
        "invmm, in C", samples, f"means of {10 * len(CHANGES)}, least {min(samples):.1f}"
    )


def main() -> None:
    harness.require_release()
    notes = []
    cases = [
        harness.Case("invmm, from Python", ours(), CHANGES),
        harness.Case("dict + bisect", in_python(Sorted()), CHANGES),
    ]
    try:
        cases.append(harness.Case("sortedcontainers", in_python(Containers()), CHANGES))
    except ImportError:
        notes.append("sortedcontainers is not installed: peer left out")
    c = inside_c()
    rows = [c, *harness.compare(cases, 0.3)]
    harness.report(
        "Book update and both bests", {"ns per change; ratios against ours from Python": rows}, notes
    )
    for row in rows[1:]:
        print(f"{row.name}: {row.p50 / c.p50:.1f} times ours in C")
    end = "met" if c.p50 <= TARGET_NS else f"missed by {c.p50 - TARGET_NS:.1f} ns"
    print(f"\nBudget, p50 in C: {c.p50:.1f} ns, target {TARGET_NS:.0f}: {end}")


if __name__ == "__main__":
    main()
