"""The books after trades of one market as arrays: what recorded and generated markets have in common.

The recordings hold the `book` frames of (mostly) one token and nothing else, so a generated tape is reduced
to the same view before anything is measured: one token's books after trades, the last trade price that is
hashed into each, and trades inferred from the difference of two successive books.
Everything is in terms of Up.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from invmm.errors import DataError
from invmm.replay.tape import Tape
from invmm.types import PRICE_ONE_E4

LEVELS = 10
DISTANCES = 48
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_Levels = dict[int, float]


@dataclass(frozen=True)
class BookSeries:
    """Books after trades of one market; row i of every array belongs to book i.

    `time_s` is relative to the start of the window. `bid_e4` is 0 and `ask_e4` is 10000 for an empty side.
    `bid_size` and `ask_size` are shares at the n-th occupied level (nan where there is none). `trade_sign` is
    +1 when one level explains the trade as a purchase of Up, -1 as a sale, 0 when it is not explained;
    `trade_size` is what that level lost, a lower bound. `changes` counts levels of both sides that differ
    from the book before, a lower bound too; `changes_at[d]` counts them over the whole market by their
    distance in cents from the best before (the last entry: that far or farther).
    """

    slug: str
    window_s: int
    time_s: FloatArray
    bid_e4: IntArray
    ask_e4: IntArray
    bid_size: FloatArray
    ask_size: FloatArray
    trade_sign: IntArray
    trade_size: FloatArray
    changes: IntArray
    changes_at: IntArray
    messages: dict[str, int] = field(default_factory=dict)

    @property
    def mid_c(self) -> FloatArray:
        """Mid price of Up in cents."""
        mid: FloatArray = (self.bid_e4 + self.ask_e4) / 200.0
        return mid

    def mid_at(self, time_s: FloatArray) -> FloatArray:
        """Mid of the last book at or before each time."""
        index = np.searchsorted(self.time_s, time_s, side="right") - 1
        return self.mid_c[np.clip(index, 0, len(self.time_s) - 1)]


@dataclass(frozen=True)
class _Row:
    venue_ms: int
    last_price: str
    bids: _Levels
    asks: _Levels


def from_recorded(path: Path) -> BookSeries:
    """Reads one raw recording (`{"recv", "tick", "ltp", "frame"}` lines) with the `markets.json` one folder
    up."""
    slug = path.name.removesuffix(".gz").removesuffix(".jsonl")
    listing = path.parent.parent / "markets.json"
    try:
        market = next(m for m in json.loads(listing.read_text())["markets"] if m["slug"] == slug)
    except (OSError, ValueError, KeyError, StopIteration) as error:
        raise DataError(f"{listing}: expected an entry with slug {slug!r}: {error!r}") from error
    rows = []
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                record = orjson.loads(line)
                rows.append(_row(record["frame"], market["token_up"], record["ltp"]))
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{path}:{number}: expected a recorded book, found {line[:100]!r}") from error
    return _series(slug, int(market["start"]), int(market["end"]), rows, {"book": len(rows)})


def from_tape(tape: Tape) -> BookSeries:
    """Reduces a tape to the view of the recordings: its Down books after trades; the other messages are only
    counted."""
    market = tape.market
    books: list[Any] = []
    prices: list[str] = []
    counts: dict[str, int] = {}
    for frame in tape.frames():
        if b'"price_changes"' in frame:
            counts["price_change"] = counts.get("price_change", 0) + 1
            continue
        message = orjson.loads(frame)
        if isinstance(message, list):
            continue
        kind = message["event_type"]
        counts[kind] = counts.get(kind, 0) + 1
        if kind == "book" and message["asset_id"] == market.down_token_id:
            books.append(message)
        elif kind == "last_trade_price":
            prices.append(message["price"])
    # The n-th summary belongs to the n-th trade up to a few that overtake each other by milliseconds.
    rows = [_row(book, market.up_token_id, price) for book, price in zip(books, prices, strict=True)]
    return _series(market.slug, market.start_s, market.end_s, rows, counts)


def _row(frame: dict[str, Any], up_token_id: str, last_price: str) -> _Row:
    bids = {round(float(level["price"]) * PRICE_ONE_E4): float(level["size"]) for level in frame["bids"]}
    asks = {round(float(level["price"]) * PRICE_ONE_E4): float(level["size"]) for level in frame["asks"]}
    if frame["asset_id"] != up_token_id:
        bids, asks = (
            {PRICE_ONE_E4 - price: size for price, size in asks.items()},
            {PRICE_ONE_E4 - price: size for price, size in bids.items()},
        )
    return _Row(int(frame["timestamp"]), last_price, bids, asks)


def _series(slug: str, start_s: int, end_s: int, rows: list[_Row], messages: dict[str, int]) -> BookSeries:
    count = len(rows)
    if count == 0:
        raise DataError(f"{slug}: expected books after trades, found none")
    bid, ask = np.zeros(count, np.int64), np.zeros(count, np.int64)
    bid_size, ask_size = np.full((count, LEVELS), np.nan), np.full((count, LEVELS), np.nan)
    sign, size, changes = np.zeros(count, np.int64), np.zeros(count), np.zeros(count, np.int64)
    changes_at = np.zeros(DISTANCES, np.int64)
    before: _Row | None = None
    for index, row in enumerate(rows):
        bids, asks = sorted(row.bids, reverse=True)[:LEVELS], sorted(row.asks)[:LEVELS]
        bid[index] = bids[0] if bids else 0
        ask[index] = asks[0] if asks else PRICE_ONE_E4
        bid_size[index, : len(bids)] = [row.bids[price] for price in bids]
        ask_size[index, : len(asks)] = [row.asks[price] for price in asks]
        if before is not None:
            sign[index], size[index] = _trade(before, row)
            distances = _changed(before.bids, row.bids, max(before.bids, default=0))
            distances += _changed(before.asks, row.asks, min(before.asks, default=PRICE_ONE_E4))
            changes[index] = len(distances)
            for distance in distances:
                changes_at[min(distance, DISTANCES - 1)] += 1
        before = row
    times = np.array([row.venue_ms for row in rows]) / 1000 - start_s
    return BookSeries(
        slug, end_s - start_s, times, bid, ask, bid_size, ask_size, sign, size, changes, changes_at, messages
    )


def _changed(old: _Levels, new: _Levels, best_e4: int) -> list[int]:
    """Distances from the best, in cents, of the levels that differ; improvements count as the best."""
    differ = [price for price in old.keys() | new.keys() if old.get(price) != new.get(price)]
    behind = -1 if any(price < best_e4 for price in old) else 1
    return [max((price - best_e4) * behind, 0) // 100 for price in differ]


def _trade(before: _Row, row: _Row) -> tuple[int, float]:
    """Sign and size of the trade between two books if exactly one level at its price explains it."""
    if not row.last_price:
        return 0, 0.0
    price = round(float(row.last_price) * PRICE_ONE_E4)
    found = []
    best_bid, best_ask = max(row.bids, default=0), min(row.asks, default=PRICE_ONE_E4)
    for candidate in {price, PRICE_ONE_E4 - price}:
        lost_bid = before.bids.get(candidate, 0.0) - row.bids.get(candidate, 0.0)
        lost_ask = before.asks.get(candidate, 0.0) - row.asks.get(candidate, 0.0)
        if lost_bid > 1e-9 and candidate >= best_bid:
            found.append((-1, lost_bid))
        if lost_ask > 1e-9 and candidate <= best_ask:
            found.append((1, lost_ask))
    return found[0] if len(found) == 1 else (0, 0.0)
