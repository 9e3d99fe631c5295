"""Mutated frames through the compiled decoder and through its plain-Python twin: same answers, same books.

`python -m tests.differential.fuzz_decode --seconds 600 --seed 1` runs a long campaign; with INVMM_RECORDED
set it mutates recorded frames as well as synthetic ones. Every frame is handed over in a buffer of exactly
its size.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import orjson

from invmm._ext.decode import MarketBooks
from tests.reference.decode import ReferenceBooks

UP = "58726851105893121441976415044785550794620582864839872973127370351200548678811"
DOWN = "40113202025193181740822500498877260546965498642740503547096491847887927548587"
STRANGER = "58726851105893121441976415044785550794620582864839872973127370351200548678812"
MARKET = "0x2aaeb40ad2a1ad262d75d5c52bff1a9f801fb72e65774343729fe103ee9fa308"
PRICES = [
    "0.5",
    "0.49",
    "0.01",
    "0.99",
    "0.001",
    "0.4825",
    "0.9999",
    ".48",
    "0.490",
    "5e-1",
    "0.50000000",
    "1.",
]
BAD_PRICES = ["0", "1", "1.2", "-0.5", "0.12345", "NaN", "", "0.5 ", "0,5", "1e-9", "5e-5", "0.0"]
SIZES = [
    "0",
    "1",
    "20",
    "918.34",
    "0.000001",
    "12345678.654321",
    "123456789",
    "1e3",
    "0.0",
    "007",
    "999999999999",
]
BAD_SIZES = ["-1", "1.0000001", "1e13", "inf", "", ".", "1_0", "+1", "12345678901234567890"]
TOKENS = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"',
    "\\",
    "\\u0030",
    " ",
    "\n",
    "\t",
    "0",
    "9",
    ".",
    "e",
    "-",
    "\x00",
    "\x7f",
    "é",
    "null",
    "true",
    "BUY",
    "SELL",
    '"price":"0.3",',
    '"event_type":"book",',
    "bids",
]


def pick(rng: random.Random, good: list[str], bad: list[str]) -> Any:
    text = rng.choice(bad if rng.random() < 0.02 else good)
    if rng.random() < 0.03:
        try:
            return float(text) if rng.random() < 0.5 else int(text)
        except ValueError:
            return text
    return text


def entry(rng: random.Random) -> dict[str, Any]:
    return {
        "asset_id": rng.choice([UP, DOWN, UP, DOWN, UP, DOWN, STRANGER]),
        "price": pick(rng, PRICES, BAD_PRICES),
        "size": pick(rng, SIZES, BAD_SIZES),
        "side": "SELL" if rng.random() < 0.5 else "BUY",
        "hash": "63a3d3e950df9f8129d42069eb888e3ab6ce2419",
        "best_bid": rng.choice(["0", "0.49", "0.5", "0.001", "1"]),
        "best_ask": rng.choice(["1", "0.51", "0.999", "0"]),
    }


def event(rng: random.Random) -> dict[str, Any]:
    kind = rng.choice(
        ["price_change"] * 5 + ["book"] * 3 + ["last_trade_price", "tick_size_change", "best_bid_ask", "x"]
    )
    result: dict[str, Any] = {"market": MARKET}
    if kind == "price_change":
        result["price_changes"] = [entry(rng) for _ in range(rng.choice([0, 1, 2, 2, 2, 3, 10]))]
    else:
        result["asset_id"] = rng.choice([UP, DOWN, UP, DOWN, STRANGER])
    if kind == "book":
        for side in ("bids", "asks"):
            count = rng.choice([0, 1, 3, 30])
            result[side] = [
                {"price": pick(rng, PRICES, BAD_PRICES[:1]), "size": pick(rng, SIZES, BAD_SIZES[:1])}
                for _ in range(count)
            ]
        if rng.random() < 0.5:
            result["tick_size"] = rng.choice(["0.01", "0.001", "", "0.0025"])
    if kind == "last_trade_price":
        result.update(price=pick(rng, PRICES, BAD_PRICES), size=pick(rng, SIZES, BAD_SIZES), side="BUY")
    if kind == "tick_size_change":
        result["new_tick_size"] = rng.choice(["0.01", "0.001", "0.0001", "0.7", ""])
    result["timestamp"] = str(rng.choice([1790766981670, 1790766981671, 5]))
    result["event_type"] = kind
    if rng.random() < 0.2:
        keys = list(result)
        rng.shuffle(keys)
        result = {key: result[key] for key in keys}
    if rng.random() < 0.1:
        result["more"] = rng.choice([None, True, 1.5, -3, "text", [1, {"a": []}], {"price": {}}])
    return result


def synthetic(rng: random.Random) -> bytes:
    document: Any = event(rng) if rng.random() < 0.8 else [event(rng) for _ in range(rng.randrange(4))]
    separators = rng.choice([(",", ":"), (", ", ":"), (", ", ": ")])
    return json.dumps(document, separators=separators, indent=rng.choice([None] * 9 + [1])).encode()


def exact(rng: random.Random) -> bytes:
    """A price_change as the venue writes it: what the template reads, until it is mutated."""
    rows = []
    for _ in range(rng.choice([1, 2, 2, 2, 10])):
        row = entry(rng)
        row["asset_id"] = rng.choice([UP, DOWN])
        row["price"] = f"{rng.randrange(1, 10_000) / 10_000:.4f}".rstrip("0")
        row["size"] = f"{rng.randrange(10 ** rng.randrange(1, 15)) / 10**6:.6f}".rstrip("0").rstrip(".")
        rows.append(row)
    frame = {
        "market": MARKET,
        "price_changes": rows,
        "timestamp": "1790766981670",
        "event_type": "price_change",
    }
    return json.dumps(frame, separators=rng.choice([(", ", ":"), (",", ":")])).encode()


def mutate(rng: random.Random, frame: bytes) -> bytes:
    text = bytearray(frame)
    for _ in range(rng.choice([0, 0, 1, 1, 1, 2, 5])):
        at = rng.randrange(len(text) + 1)
        choice = rng.random()
        if choice < 0.25:
            text[at : at + rng.choice([1, 1, 2, 8, 40])] = b""
        elif choice < 0.5:
            text[at:at] = rng.choice(TOKENS).encode()
        elif choice < 0.7 and at < len(text):
            text[at] = rng.choice(
                [rng.randrange(256), text[at] ^ (1 << rng.randrange(8)), 0x30 + rng.randrange(10)]
            )
        elif choice < 0.85:
            other = rng.randrange(len(text) + 1)
            text[at:at] = text[other : other + rng.randrange(60)]
        elif choice < 0.93:
            text = text[:at]
        else:
            text[at : at + 1] = rng.choice(TOKENS).encode()
    return bytes(text)


class Pair:
    """Both decoders, fed the same frames."""

    def __init__(self) -> None:
        self.fast = MarketBooks(UP, DOWN)
        self.slow = ReferenceBooks(UP, DOWN)

    def feed(self, frame: bytes) -> int:
        exact = bytearray(frame)  # its own heap block: reading beyond it is what a sanitizer sees
        found = self.fast.apply_frame(exact, 1)
        expected = self.slow.apply_frame(frame)
        assert found == expected, f"{frame!r}: {found} ({self.fast.last_error}), twin {expected}"
        assert self.fast.last_trade == self.slow.trade, f"{frame!r}: trade"
        for book, twin in zip((self.fast.up, self.fast.down), self.slow.books, strict=True):
            for side in (0, 1):
                assert book.depth(side).tolist() == twin.depth(side), f"{frame!r}: books differ"
        assert self.fast.state["has_snapshot"] == tuple(self.slow.has_snapshot)
        assert self.fast.stats["unknown_assets"] == self.slow.unknown
        return found


def recorded_frames() -> list[bytes]:
    """A few hundred captured and recorded frames, their token ids replaced by the two of this campaign."""
    folder = os.environ.get("INVMM_RECORDED")
    if folder is None:
        return []
    capture = Path(folder).parent / "reference" / "samples" / "ws_market_capture_btc5m_2026-09-30.jsonl"
    frames = [orjson.loads(line)["payloadUtf8"].encode() for line in capture.read_bytes().splitlines()]
    from invmm.replay.tape import load

    tape = load(Path(folder) / "btc5m-20260416" / "replay" / "btc-updown-5m-1776327600.jsonl.gz")
    for index in range(0, len(tape), max(1, len(tape) // 200)):
        text = tape.frame(index).replace(tape.market.up_token_id.encode(), UP.encode())
        frames.append(text.replace(tape.market.down_token_id.encode(), DOWN.encode()))
    return frames


def campaign(seed: int, seconds: float, count: int | None = None) -> dict[str, int]:
    """Runs until time or count is over; gives how many frames were applied and refused, and by which way."""
    rng = random.Random(seed)
    seeds = recorded_frames()
    stop = time.monotonic() + seconds
    done = {"frames": 0, "refused": 0, "template_frames": 0, "general_frames": 0, "fallback_frames": 0}
    while time.monotonic() < stop and (count is None or done["frames"] < count):
        pair = Pair()
        for _ in range(200):
            if seeds and rng.random() < 0.4:
                frame = rng.choice(seeds)
            else:
                frame = exact(rng) if rng.random() < 0.4 else synthetic(rng)
            pair.feed(mutate(rng, frame))
        pair.fast.end_batch()
        pair.fast.up.check()
        pair.fast.down.check()
        for key in done:
            done[key] += pair.fast.stats[key]
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(campaign(arguments.seed, arguments.seconds))


if __name__ == "__main__":
    main()
