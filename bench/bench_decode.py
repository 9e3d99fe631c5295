"""Frame to both books to best, per shape of frame; peers run on the same frames.

`pytest bench/bench_decode.py --benchmark-enable` for the table, `python -m bench.bench_decode` for
percentiles, ratios and the budget. Release build only. With INVMM_RECORDED set the frames of two changes are
recorded ones.
"""

from __future__ import annotations

import bisect
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench import harness
from invmm._ext.decode import MarketBooks, _bench_apply

UP = "58726851105893121441976415044785550794620582864839872973127370351200548678811"
DOWN = "40113202025193181740822500498877260546965498642740503547096491847887927548587"
MARKET = "0x2aaeb40ad2a1ad262d75d5c52bff1a9f801fb72e65774343729fe103ee9fa308"
HASH = "63a3d3e950df9f8129d42069eb888e3ab6ce2419"
COUNT = 300  # frames per round: small enough that only the decoder is measured, not the memory


def entry(index: int, token: int) -> dict[str, str]:
    cents = 1 + index * 37 % 98
    return {
        "asset_id": DOWN if token else UP,
        "price": f"{(100 - cents if token else cents) / 100:.2f}".rstrip("0"),
        "size": f"{(index * 7919 % 2_000_000) / 100:.2f}".rstrip("0").rstrip("."),
        "side": "SELL" if (cents > 49) != bool(token) else "BUY",
        "hash": HASH,
        "best_bid": "0.49" if token else "0.5",
        "best_ask": "0.5" if token else "0.51",
    }


def price_change(index: int, changes: int, shuffled: bool = False) -> bytes:
    rows = [entry(index + n // 2, n % 2) for n in range(changes)]
    frame: dict[str, Any] = {"market": MARKET, "price_changes": rows, "timestamp": str(1790766981670 + index)}
    frame["event_type"] = "price_change"
    if shuffled:
        frame = dict(reversed(frame.items()))
        frame["price_changes"] = [dict(reversed(row.items())) for row in rows]
    return json.dumps(frame, separators=(", ", ":")).encode()


def snapshot(index: int) -> bytes:
    def level(n: int) -> dict[str, str]:
        return {"price": f"{n / 100:.2f}".rstrip("0"), "size": str(100 + (n * 7 + index) % 900)}

    frame = {"market": MARKET, "asset_id": UP}
    book = {"bids": [level(n) for n in range(1, 50)], "asks": [level(n) for n in range(99, 50, -1)]}
    tail = {"hash": HASH, "timestamp": str(1790766981670 + index), "event_type": "book"}
    return json.dumps({**frame, **book, **tail}, separators=(",", ":")).encode()


FRAMES: dict[str, list[bytes]] = {
    "1 change": [price_change(n, 1) for n in range(COUNT)],
    "2 changes": [price_change(n, 2) for n in range(COUNT)],
    "10 changes": [price_change(n, 10) for n in range(COUNT)],
    "1 change, any order": [price_change(n, 1, shuffled=True) for n in range(COUNT)],
    "snapshot, 98 levels": [snapshot(n) for n in range(COUNT)],
}


def recorded() -> None:
    """Puts recorded frames in place of the generated ones of two changes."""
    folder = os.environ.get("INVMM_RECORDED")
    if folder is None:
        return
    from invmm.replay.tape import load

    tape = load(Path(folder) / "btc5m-20260416" / "replay" / "btc-updown-5m-1776327600.jsonl.gz")
    ids = ((tape.market.up_token_id, UP), (tape.market.down_token_id, DOWN))
    found = []
    for frame in tape.frames():
        if b'"price_changes"' in frame:
            for old, new in ids:
                frame = frame.replace(old.encode(), new.encode())
            found.append(frame)
        if len(found) == COUNT:
            break
    FRAMES["2 changes"] = found


class Sorted:
    """Dict of sizes and a sorted list of prices per side: the best book in plain Python."""

    def __init__(self) -> None:
        self.sizes: dict[tuple[str, int], dict[float, float]] = {
            (t, s): {} for t in (UP, DOWN) for s in (0, 1)
        }
        self.prices: dict[tuple[str, int], list[float]] = {key: [] for key in self.sizes}

    def set(self, token: str, side: int, price: float, size: float) -> None:
        sizes, prices = self.sizes[token, side], self.prices[token, side]
        if size:
            if price not in sizes:
                bisect.insort(prices, price)
            sizes[price] = size
        elif price in sizes:
            del sizes[price]
            del prices[bisect.bisect_left(prices, price)]

    def clear(self, token: str) -> None:
        for side in (0, 1):
            self.sizes[token, side].clear()
            self.prices[token, side].clear()

    def best(self, token: str) -> tuple[float, float]:
        bids, asks = self.prices[token, 0], self.prices[token, 1]
        return (bids[-1] if bids else 0.0), (asks[0] if asks else 1.0)


class Containers(Sorted):
    """The same on `sortedcontainers.SortedDict`, which most bots use."""

    def __init__(self) -> None:
        from sortedcontainers import SortedDict

        self.books: dict[tuple[str, int], Any] = {(t, s): SortedDict() for t in (UP, DOWN) for s in (0, 1)}

    def set(self, token: str, side: int, price: float, size: float) -> None:
        if size:
            self.books[token, side][price] = size
        else:
            self.books[token, side].pop(price, None)

    def clear(self, token: str) -> None:
        for side in (0, 1):
            self.books[token, side].clear()

    def best(self, token: str) -> tuple[float, float]:
        bids, asks = self.books[token, 0], self.books[token, 1]
        return (bids.peekitem(-1)[0] if bids else 0.0), (asks.peekitem(0)[0] if asks else 1.0)


def python_peer(loads: Callable[[bytes], Any], book: Sorted) -> Callable[[bytes], Any]:
    def apply(frame: bytes) -> tuple[float, float]:
        event = loads(frame)
        if event["event_type"] == "book":
            book.clear(event["asset_id"])
            for side, key in enumerate(("bids", "asks")):
                for row in event[key]:
                    book.set(event["asset_id"], side, float(row["price"]), float(row["size"]))
        else:
            for row in event["price_changes"]:
                book.set(row["asset_id"], row["side"] == "SELL", float(row["price"]), float(row["size"]))
        return book.best(UP)

    return apply


def invmm() -> Callable[[bytes], Any]:
    books = MarketBooks(UP, DOWN)
    apply, best_bid, best_ask = books.apply_frame, books.up.best_bid, books.up.best_ask

    def run(frame: bytes) -> Any:
        apply(frame, 1)
        return best_bid(), best_ask()

    return run


def peer(name: str) -> Callable[[bytes], Any]:
    """A peer by name; skips with a note when its package is not installed."""
    if name == "invmm":
        return invmm()
    if name == "orjson + dict/bisect":
        return python_peer(orjson.loads, Sorted())
    if name == "msgspec + dict/bisect":
        msgspec = pytest.importorskip("msgspec", reason="msgspec is not installed: peer left out")
        return python_peer(msgspec.json.decode, Sorted())
    pytest.importorskip("sortedcontainers", reason="sortedcontainers is not installed: peer left out")
    return python_peer(json.loads, Containers())


PEERS = ["invmm", "msgspec + dict/bisect", "orjson + dict/bisect", "json + sortedcontainers"]


@pytest.mark.parametrize("shape", FRAMES)
@pytest.mark.parametrize("name", PEERS)
def test_frame_to_best(benchmark: Any, name: str, shape: str) -> None:
    """One round is COUNT frames."""
    apply = peer(name)
    frames = FRAMES[shape]
    benchmark.group = shape
    benchmark.extra_info["frames"] = len(frames)

    def run() -> None:
        for frame in frames:
            apply(frame)

    benchmark(run)


TARGETS_NS: dict[str, tuple[float, float | None]] = {
    "1 change": (50, 100),
    "2 changes": (80, 130),
    "10 changes": (330, 350),
    "1 change, any order": (150, None),
    "snapshot, 98 levels": (1600, None),
}
"""The budget: p50 inside C, and called from Python with the best levels read."""


SECONDS = 0.3
"""Per comparison: little, so that a batch is short enough to fit between two interruptions."""


def inside_c(shape: str, turns: int = 401) -> harness.Distribution:
    """Per frame, looped in C; a sample is the mean of one short pass."""
    books, frames = MarketBooks(UP, DOWN), FRAMES[shape]
    samples = []
    for _ in range(5 if harness.SHORT else turns):
        start = time.perf_counter_ns()
        _bench_apply(books, frames, 1)
        samples.append((time.perf_counter_ns() - start) / len(frames))
    assert books.stats["refused"] == 0
    return harness.distribution(
        "invmm, in C", samples, f"means of {len(frames)} frames, least {min(samples):.1f}"
    )


def cases(shape: str, notes: list[str]) -> list[harness.Case]:
    """Ours and every peer that is installed, on the frames of a shape."""
    alone = MarketBooks(UP, DOWN).apply_frame
    out = [harness.Case("invmm, apply_frame alone", lambda frame: alone(frame, 1), FRAMES[shape])]
    for name in PEERS:
        try:
            out.append(harness.Case(name, peer(name), FRAMES[shape]))
        except pytest.skip.Exception as note:
            notes.append(str(note))
    return out


def verdict(name: str, ns: float, target: float) -> str:
    """A line of the budget: met, or by how much not."""
    end = "met" if ns <= target else f"missed by {ns - target:.0f} ns ({ns / target - 1:.0%})"
    return f"{name}: {ns:.1f} ns, target {target:.0f}: {end}"


def many_tokens(tokens: int) -> float:
    """Median per frame of two changes over so many tokens in turn, with one Python call each."""
    ids = [(str(10**76 + 2 * n), str(10**76 + 2 * n + 1)) for n in range(tokens // 2)]
    arrivals = []
    for n in range(2_000):  # as many frames at every size, so that only the books grow
        up, down = ids[n % len(ids)]
        arrivals.append(
            price_change(n, 2).replace(UP.encode(), up.encode()).replace(DOWN.encode(), down.encode())
        )
    applies = [MarketBooks(up, down).apply_frame for up, down in ids]
    calls = [(applies[n % len(ids)], frame) for n, frame in enumerate(arrivals)]
    samples = []
    for _ in range(3 if harness.SHORT else 51):
        start = time.perf_counter_ns()
        for apply, frame in calls:
            apply(frame, 1)
        samples.append((time.perf_counter_ns() - start) / len(calls))
    return sorted(samples)[len(samples) // 2]


def main() -> None:
    harness.require_release()
    recorded()
    notes: list[str] = []
    groups: dict[str, list[harness.Distribution]] = {}
    budget: list[str] = []
    for shape, (in_c, from_python) in TARGETS_NS.items():
        rows = [inside_c(shape), *harness.compare(cases(shape, notes), SECONDS)]
        groups[f"{shape}, ns per frame; ratios against apply_frame alone"] = rows
        budget.append(verdict(f"{shape}, in C", rows[0].p50, in_c))
        if from_python is not None:
            budget.append(verdict(f"{shape}, apply_frame from Python", rows[1].p50, from_python))
            budget.append(verdict(f"{shape}, and both bests as tuples", rows[2].p50, from_python))
    harness.report("Frame to both books to best", groups, dict.fromkeys(notes))
    flat = {tokens: many_tokens(tokens) for tokens in (2, 20, 200, 2_000)}
    print("\n## 2 changes, books of so many tokens in turn\n")
    for tokens, ns in flat.items():
        print(f"{tokens} tokens: {ns:.0f} ns, {ns / flat[2]:.2f} of 2 tokens")
    print("\n## Budget, p50\n")
    print("\n".join(budget))
    print(verdict("2 000 tokens", flat[2_000], 1.25 * flat[2]))


if __name__ == "__main__":
    main()
