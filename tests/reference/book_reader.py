"""A slow, obvious reader of market-channel frames: dictionaries of decimals, and the venue's book hash from its recipe."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
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


def trade_prices_of_books(frames: Iterable[bytes]) -> list[str]:
    """The last trade price that each after-trade book pair was hashed with, as the set of its two candidates joined by a bar.

    The price is learned from the `last_trade_price` frame of the same trade, which arrives later; it stands in the hash with
    three decimals, possibly in the other token's terms.
    """
    candidates = []
    for frame in frames:
        message = json.loads(frame)
        if isinstance(message, dict) and message["event_type"] == "last_trade_price":
            price = Decimal(message["price"])
            candidates.append(f"{price:.3f}|{1 - price:.3f}")
    return candidates
