"""A slow, obvious reader of market-channel frames: dictionaries of decimals, and the venue's book hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

Levels = dict[Decimal, str]


class TokenBook:
    """One token's displayed book: price to the size text that the venue wrote."""

    def __init__(self) -> None:
        self.bids: Levels = {}
        self.asks: Levels = {}
        self.tick_size = "0.01"

    def replace(self, message: dict[str, Any]) -> None:
        self.bids = {Decimal(level["price"]): level["size"] for level in message["bids"]}
        self.asks = {Decimal(level["price"]): level["size"] for level in message["asks"]}

    def change(self, entry: dict[str, Any]) -> None:
        side = self.bids if entry["side"] == "BUY" else self.asks
        price = Decimal(entry["price"])
        if entry["size"] == "0":
            side.pop(price, None)
        else:
            side[price] = entry["size"]

    def best(self) -> tuple[str, str]:
        bid = max(self.bids, default=Decimal(0))
        ask = min(self.asks, default=Decimal(1))
        return plain(bid), plain(ask)

    def hash(self, market: str, asset_id: str, timestamp: str, last_trade_price: str) -> str:
        text = json.dumps(
            {
                "market": market,
                "asset_id": asset_id,
                "timestamp": timestamp,
                "hash": "",
                "bids": [{"price": plain(p), "size": self.bids[p]} for p in sorted(self.bids)],
                "asks": [{"price": plain(p), "size": self.asks[p]} for p in sorted(self.asks, reverse=True)],
                "min_order_size": "5",
                "tick_size": self.tick_size,
                "neg_risk": False,
                "last_trade_price": last_trade_price,
            },
            separators=(",", ":"),
        )
        return hashlib.sha1(text.encode()).hexdigest()


def plain(value: Decimal) -> str:
    """A decimal without trailing zeros and without an exponent."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def batches(frames: Iterable[bytes]) -> Iterator[list[dict[str, Any]]]:
    """Messages grouped as the engine made them: the dump, the changes of one batch, the two books of one
    trade, others alone."""
    batch: list[dict[str, Any]] = []
    for frame in frames:
        decoded = json.loads(frame)
        if isinstance(decoded, list):
            yield decoded
            continue
        if batch and not _belongs(batch, decoded):
            yield batch
            batch = []
        batch.append(decoded)
    if batch:
        yield batch


def _belongs(batch: list[dict[str, Any]], message: dict[str, Any]) -> bool:
    last = batch[-1]
    if (message["event_type"], message["timestamp"]) != (last["event_type"], last["timestamp"]):
        return False
    if message["event_type"] == "book":
        return len(batch) == 1
    if message["event_type"] == "price_change":
        hashes = [
            {entry["asset_id"]: entry["hash"] for entry in one["price_changes"]} for one in (last, message)
        ]
        return hashes[0] == hashes[1]
    return False


class MarketReader:
    """Both books of a market, checked at the end of every batch; `AssertionError` on the first thing that is
    not so."""

    def __init__(self, condition_id: str, up_token_id: str, down_token_id: str) -> None:
        self.condition_id = condition_id
        self.up, self.down = TokenBook(), TokenBook()
        self.books = {up_token_id: self.up, down_token_id: self.down}
        self.last_trade = ""
        self.hashes_verified = 0

    def read(self, frames: Iterable[bytes], verify_hashes: bool = True) -> None:
        """Reads a market's frames; the price hashed into an after-trade book is told later: it is sought."""
        for batch in batches(frames):
            for message in batch:
                if message["event_type"] == "book":
                    self.books[message["asset_id"]].replace(message)
                elif message["event_type"] == "tick_size_change":
                    self.books[message["asset_id"]].tick_size = message["new_tick_size"]
                for entry in message.get("price_changes", ()):
                    self.books[entry["asset_id"]].change(entry)
            self._check(batch, verify_hashes)

    def _check(self, batch: list[dict[str, Any]], verify_hashes: bool) -> None:
        last = batch[-1]
        entries = last.get("price_changes", ())
        up, down = self.up, self.down
        assert max(up.bids, default=Decimal(0)) < min(up.asks, default=Decimal(1)), "crossed"
        assert {1 - price: size for price, size in up.bids.items()} == down.asks, "mirror"
        assert {1 - price: size for price, size in up.asks.items()} == down.bids, "mirror"
        for entry in entries:
            assert self.books[entry["asset_id"]].best() == (entry["best_bid"], entry["best_ask"]), "best"
        if not verify_hashes:
            return
        if last["event_type"] == "book" and "last_trade_price" not in last:
            self._find_last_trade(batch[0])
        for entry in [m for m in batch if m["event_type"] == "book"] or entries:
            assert self._hash(entry["asset_id"], last["timestamp"], self.last_trade) == entry["hash"], "hash"
            self.hashes_verified += 1

    def _hash(self, asset_id: str, timestamp: str, last_trade: str) -> str:
        return self.books[asset_id].hash(self.condition_id, asset_id, timestamp, last_trade)

    def _find_last_trade(self, book: dict[str, Any]) -> None:
        best = [float(text) for text in self.books[book["asset_id"]].best()]
        prices = [f"{n / 1000:.3f}" for n in range(1, 1000)]
        prices.sort(key=lambda text: min(abs(float(text) - b) for b in (*best, 1 - best[0], 1 - best[1])))
        for price in prices:
            if self._hash(book["asset_id"], book["timestamp"], price) == book["hash"]:
                self.last_trade = price
                return
        raise AssertionError(f"no last trade price explains the hash of the book at {book['timestamp']}")
