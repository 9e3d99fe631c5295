"""Frames to measure on: recorded ones where INVMM_RECORDED names their folder, else generated in the venue's
exact format.

Both give the same shapes: the opening snapshot of both tokens, price changes with 1, 2 or 10 entries to a
frame, and whole-book frames. The recorded stream has two entries to a frame (a level and its mirror); the
other shapes hold the same recorded entries, regrouped, each with the best prices that its token's book then
has.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

RECORDED_SLUG = "btc-updown-5m-1776325200"
FIRST_MS = 1_776_325_200_000
STEP_MS = 7
"""Venue time of the first generated frame, and between two."""


@dataclass(frozen=True)
class Frames:
    """What a decoder is fed. `changes[n]` are price_change frames with n entries, in order; they follow
    `opening`.
    """

    source: str
    up_token_id: str
    down_token_id: str
    opening: bytes
    stream: list[bytes]
    changes: dict[int, list[bytes]]
    books: list[bytes]


@dataclass(frozen=True)
class _Change:
    token: int
    side: str
    price: str
    size: str


class _Writer:
    """Writes frames as the venue does, and knows the books, so that every best price in a frame is true."""

    def __init__(self, tokens: tuple[str, str], condition: str, clock_ms: int) -> None:
        self.tokens = tokens
        self.condition = condition
        self.clock_ms = clock_ms
        self.books: tuple[dict[str, dict[str, str]], ...] = ({"BUY": {}, "SELL": {}}, {"BUY": {}, "SELL": {}})
        self._random = random.Random(condition)

    def take(self, change: _Change) -> None:
        level = self.books[change.token][change.side]
        if change.size == "0":
            level.pop(change.price, None)
        else:
            level[change.price] = change.size

    def best(self, token: int) -> tuple[str, str]:
        book = self.books[token]
        return max(book["BUY"], key=float, default="0"), min(book["SELL"], key=float, default="1")

    def price_change(self, changes: Iterable[_Change], advance: bool = True) -> bytes:
        """One frame; `advance` false gives it the timestamp of the one before, as in one batch."""
        changes = list(changes)
        for change in changes:
            self.take(change)
        entries = []
        for change in changes:
            bid, ask = self.best(change.token)
            entries.append(
                f'{{"asset_id":"{self.tokens[change.token]}", "price":"{change.price}", '
                f'"size":"{change.size}", "side":"{change.side}", '
                f'"hash":"{self._hash()}", "best_bid":"{bid}", "best_ask":"{ask}"}}'
            )
        self.clock_ms += STEP_MS if advance else 0
        return (
            f'{{"market":"{self.condition}", "price_changes":[{", ".join(entries)}], '
            f'"timestamp":"{self.clock_ms}", "event_type":"price_change"}}'
        ).encode()

    def book(self, token: int, opening: bool = False) -> str:
        self.clock_ms += STEP_MS
        bids = sorted(self.books[token]["BUY"].items(), key=lambda level: float(level[0]))
        asks = sorted(self.books[token]["SELL"].items(), key=lambda level: -float(level[0]))
        sides = ",".join(
            f'"{name}":[' + ",".join(f'{{"price":"{p}","size":"{s}"}}' for p, s in levels) + "]"
            for name, levels in (("bids", bids), ("asks", asks))
        )
        head = f'"market":"{self.condition}","asset_id":"{self.tokens[token]}"'
        clock, digest = f'"timestamp":"{self.clock_ms}"', f'"hash":"{self._hash()}"'
        if opening:  # the venue orders the keys of the subscription's snapshot and of later books differently
            tail = '"tick_size":"0.01","event_type":"book","last_trade_price":""'
            return f"{{{head},{clock},{digest},{sides},{tail}}}"
        return f'{{{head},{sides},{digest},{clock},"event_type":"book"}}'

    def _hash(self) -> str:
        return f"{self._random.getrandbits(160):040x}"


def frames(limit: int = 2_000) -> Frames:
    """About `limit` price_change frames of each shape with their opening snapshot."""
    folder = os.environ.get("INVMM_RECORDED")
    if folder:
        return recorded(Path(folder), limit)
    return generated(limit)


def recorded(folder: Path, limit: int = 2_000, slug: str = RECORDED_SLUG) -> Frames:
    """The first frames of one recorded market."""
    from invmm.replay import tape

    path = next(iter(sorted(folder.rglob(f"replay/{slug}.jsonl*"))), None)
    if path is None:
        raise FileNotFoundError(f"{folder}: expected a file replay/{slug}.jsonl.gz below it")
    loaded = tape.load(path)
    tokens = (loaded.market.up_token_id, loaded.market.down_token_id)
    everything = loaded.frames()
    opening = next(everything)
    stream: list[bytes] = [opening]
    changes: list[_Change] = []
    pairs: list[bytes] = []
    books: list[bytes] = []
    for frame in everything:
        stream.append(frame)
        if b'"price_change"' in frame:
            pairs.append(frame)
            changes += _entries(frame, tokens)
        elif b'"book"' in frame:
            books.append(frame)
        if len(changes) >= limit * 10 and len(books) >= 30:
            break
    regrouped = {
        n: _regroup(opening, tokens, loaded.market.condition_id, changes, n)[:limit] for n in (1, 10)
    }
    regrouped[2] = pairs[:limit]
    return Frames(f"recorded {slug}", *tokens, opening, stream, regrouped, books)


def generated(limit: int = 2_000, seed: int = 1) -> Frames:
    """A seeded random walk of a one-cent book with about 49 levels a side; both tokens mirrored."""
    rng, writer, opening = _start(seed)
    stream = [opening]
    changes: list[_Change] = []
    pairs: list[bytes] = []
    books: list[bytes] = []
    while len(pairs) < limit * 5 or len(books) < 30:
        pair = _mirrored(*_next_level(rng, writer))
        changes += pair
        pairs.append(writer.price_change(pair))
        stream.append(pairs[-1])
        if len(pairs) % 100 == 0:
            books.append(writer.book(len(books) % 2).encode())
            stream.append(books[-1])
    tokens = writer.tokens
    regrouped = {n: _regroup(opening, tokens, writer.condition, changes, n)[:limit] for n in (1, 10)}
    regrouped[2] = pairs[:limit]
    return Frames("generated in the venue's format", *tokens, opening, stream, regrouped, books)


def many_markets(markets: int, frames_in_all: int) -> list[tuple[str, str, bytes, list[bytes]]]:
    """`(up id, down id, opening, pair frames)` of so many generated markets, sharing the frames evenly."""
    out = []
    for seed in range(markets):
        rng, writer, opening = _start(seed)
        count = max(1, frames_in_all // markets)
        frames = [writer.price_change(_mirrored(*_next_level(rng, writer))) for _ in range(count)]
        out.append((*writer.tokens, opening, frames))
    return out


def _start(seed: int) -> tuple[random.Random, _Writer, bytes]:
    """A market at 0.50 with every one-cent level filled, and its snapshot as sent on subscription."""
    rng = random.Random(seed)
    tokens = (str(rng.randrange(10**76, 10**77)), str(rng.randrange(10**76, 10**77)))
    writer = _Writer(tokens, f"0x{rng.getrandbits(256):064x}", FIRST_MS)
    for cents in range(1, 100):
        for change in _mirrored("BUY" if cents < 50 else "SELL", cents, _size(rng)):
            writer.take(change)
    return rng, writer, f"[{writer.book(0, True)},{writer.book(1, True)}]\n".encode()


def _next_level(rng: random.Random, writer: _Writer) -> tuple[str, int, str]:
    bid, ask = (round(float(price) * 100) for price in writer.best(0))
    distance = min(int(rng.expovariate(0.4)), 40)
    if rng.random() < 0.5:
        cents, side = max(1, bid - distance + (rng.random() < 0.2 and ask - bid > 1)), "BUY"
    else:
        cents, side = min(99, ask + distance - (rng.random() < 0.2 and ask - bid > 1)), "SELL"
    emptied = rng.random() < 0.165 and bid > 3 and ask < 97
    return side, cents, "0" if emptied else _size(rng)


def _mirrored(side: str, cents: int, size: str) -> list[_Change]:
    other = "SELL" if side == "BUY" else "BUY"
    return [_Change(0, side, _price(cents), size), _Change(1, other, _price(100 - cents), size)]


def _price(cents: int) -> str:
    return f"0.{cents:02d}".rstrip("0")


def _size(rng: random.Random) -> str:
    return f"{rng.lognormvariate(5, 1.5) + 0.01:.2f}".rstrip("0").rstrip(".")


def _entries(frame: bytes, tokens: tuple[str, str]) -> Iterator[_Change]:
    for entry in json.loads(frame)["price_changes"]:
        yield _Change(tokens.index(entry["asset_id"]), entry["side"], entry["price"], entry["size"])


def _regroup(
    opening: bytes, tokens: tuple[str, str], condition: str, changes: list[_Change], count: int
) -> list[bytes]:
    snapshot = json.loads(opening)
    writer = _Writer(tokens, condition, int(snapshot[0]["timestamp"]))
    for book in snapshot:
        token = tokens.index(book["asset_id"])
        for side, levels in (("BUY", book["bids"]), ("SELL", book["asks"])):
            for level in levels:
                writer.take(_Change(token, side, level["price"], level["size"]))
    # A level and its mirror are one batch of the venue: split over two frames, they share a timestamp.
    return [
        writer.price_change(changes[i : i + count], advance=i % 2 == 0)
        for i in range(0, min(len(changes), 20_000) - count + 1, count)
    ]
