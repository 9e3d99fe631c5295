"""Writes frames and tapes in the venue's exact shapes, for tests: prices and sizes are the strings of the
wire.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from invmm.replay.tape import MarketInfo, Tape, TapeFlag, pack

UP, DOWN = "1" * 77, "2" * 77
CONDITION = "0x" + "ab" * 32
START_S = 1_790_000_000
MARKET = MarketInfo("btc-updown-5m-1790000000", CONDITION, UP, DOWN, START_S, START_S + 300, origin="TEST")
Levels = Iterable[tuple[str, str]]


def other(price: str) -> str:
    """1 − p, as the wire writes it."""
    rest = 10_000 - round(float(price) * 10_000)
    return f"{rest / 10_000:.4f}".rstrip("0").rstrip(".")


def _rows(levels: Levels) -> list[dict[str, str]]:
    return [{"price": price, "size": size} for price, size in levels]


def book(token: str, bids: Levels, asks: Levels, ms: int) -> dict[str, object]:
    """A `book` event; levels best first here, best last on the wire."""
    return {
        "market": CONDITION, "asset_id": token, "timestamp": str(ms), "hash": "0" * 40,
        "bids": _rows(reversed(list(bids))), "asks": _rows(reversed(list(asks))), "event_type": "book",
    }  # fmt: skip


def mirror(levels: Levels) -> list[tuple[str, str]]:
    """The same levels as the other token displays them."""
    return [(other(price), size) for price, size in levels]


def snapshot(bids: Levels, asks: Levels, ms: int) -> bytes:
    """The initial array with both books, given as Up's levels."""
    bids, asks = list(bids), list(asks)
    both = [book(UP, bids, asks, ms), book(DOWN, mirror(asks), mirror(bids), ms)]
    for event in both:
        event["tick_size"], event["last_trade_price"] = "0.01", ""
    return json.dumps(both, separators=(",", ":")).encode() + b"\n"


def book_frame(bids: Levels, asks: Levels, ms: int) -> list[bytes]:
    """The two `book` frames that follow a trade, given as Up's levels."""
    bids, asks = list(bids), list(asks)
    return [
        json.dumps(event, separators=(", ", ":")).encode()
        for event in (book(UP, bids, asks, ms), book(DOWN, mirror(asks), mirror(bids), ms))
    ]


def change(side: str, price: str, size: str, ms: int, best_bid: str = "0", best_ask: str = "1") -> bytes:
    """A `price_change` of an Up level with its mirror."""
    opposite = "SELL" if side == "BUY" else "BUY"
    entries = [
        {"asset_id": UP, "price": price, "size": size, "side": side, "hash": "0" * 40, "best_bid": best_bid,
         "best_ask": best_ask},
        {"asset_id": DOWN, "price": other(price), "size": size, "side": opposite, "hash": "0" * 40,
         "best_bid": other(best_ask), "best_ask": other(best_bid)},
    ]  # fmt: skip
    event = {
        "market": CONDITION,
        "price_changes": entries,
        "timestamp": str(ms),
        "event_type": "price_change",
    }
    return json.dumps(event, separators=(", ", ":")).encode()


def trade(token: str, taker_side: str, price: str, size: str, ms: int) -> bytes:
    """A `last_trade_price`."""
    event = {
        "market": CONDITION, "asset_id": token, "price": price, "size": size, "fee_rate_bps": "0",
        "side": taker_side,
        "timestamp": str(ms), "event_type": "last_trade_price", "transaction_hash": "0x" + "cd" * 32,
    }  # fmt: skip
    return json.dumps(event, separators=(", ", ":")).encode()


def tick_change(old: str, new: str, ms: int) -> bytes:
    """A `tick_size_change` of Up."""
    event = {
        "asset_id": UP, "event_type": "tick_size_change", "market": CONDITION, "new_tick_size": new,
        "old_tick_size": old, "timestamp": str(ms),
    }  # fmt: skip
    return json.dumps(event, separators=(",", ":")).encode()


def tape(
    batches: Iterable[tuple[int, list[bytes]]], *, derived: bool = True, market: MarketInfo = MARKET
) -> Tape:
    """A tape from (milliseconds since the window's start, frames) batches, received when they happened plus
    10 ms.
    """
    lines = []
    for index, (ms, frames) in enumerate(batches):
        venue_ms = START_S * 1000 + ms
        for frame in frames:
            flags = int(TapeFlag.DERIVED) if derived and index else 0
            lines.append(((venue_ms + 10) * 1_000_000, venue_ms, flags, frame))
    return pack(market, lines)


def at(ms: float) -> int:
    """Nanoseconds of a time given in milliseconds since the window's start."""
    return round((START_S * 1000 + ms) * 1_000_000)
