"""Slow, obvious twins of the embedded venue's parts, in plain Python.

`PlainBooks` keeps both books in dictionaries. `PlainQueue` is one price level as an explicit line of single
shares, own and public, so that every rule about who is ahead is a matter of looking at the line.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from invmm.types import LEVEL_DTYPE, Side


def _int(text: str, digits: int) -> int:
    whole, _, fraction = text.partition(".")
    return int((whole or "0") + fraction.ljust(digits, "0"))


class PlainBook:
    """Levels of one token: dictionaries from price to size."""

    def __init__(self) -> None:
        self.levels: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def set(self, side: int, price_e4: int, size_micro: int) -> int:
        """New size of a level; returns 1 if that changed something."""
        old = self.levels[side].get(price_e4, 0)
        if size_micro:
            self.levels[side][price_e4] = size_micro
        else:
            self.levels[side].pop(price_e4, None)
        return int(old != size_micro)

    def size(self, side: int, price_e4: int) -> int:
        return self.levels[side].get(price_e4, 0)

    def best_bid(self) -> tuple[int, int] | None:
        bids = self.levels[Side.BUY]
        return (max(bids), bids[max(bids)]) if bids else None

    def best_ask(self) -> tuple[int, int] | None:
        asks = self.levels[Side.SELL]
        return (min(asks), asks[min(asks)]) if asks else None

    def depth(self, side: int, levels: int) -> Any:
        rows = sorted(self.levels[side].items(), reverse=side == Side.BUY)[:levels]
        return np.array(rows, dtype=LEVEL_DTYPE)


class PlainBooks:
    """Both books of a market; `apply_frame` reads `book` and `price_change` and ignores everything else."""

    def __init__(self, up_token_id: str, down_token_id: str) -> None:
        self.up, self.down = PlainBook(), PlainBook()
        self._by_token = {up_token_id: self.up, down_token_id: self.down}

    def apply_frame(self, data: bytes | memoryview, now_ns: int) -> int:
        told = json.loads(bytes(data))
        changed = 0
        for event in told if isinstance(told, list) else [told]:
            if event["event_type"] == "book":
                book = self._by_token[event["asset_id"]]
                for side, name in ((Side.BUY, "bids"), (Side.SELL, "asks")):
                    new = {_int(row["price"], 4): _int(row["size"], 6) for row in event[name]}
                    for price in set(book.levels[side]) | set(new):
                        changed += book.set(side, price, new.get(price, 0))
            elif event["event_type"] == "price_change":
                for row in event["price_changes"]:
                    book = self._by_token[row["asset_id"]]
                    changed += book.set(Side[row["side"]], _int(row["price"], 4), _int(row["size"], 6))
        return changed


class PlainQueue:
    """One level as a line of shares: "p" is a public share, anything else the name of an own order's share.

    Own orders do not change what the recorded flow does: a trade of n removes n public shares from the front,
    as recorded, and the own shares that it passes on the way are filled from the same n, once. Cancellations
    take public shares from the back (the conservative rule).
    """

    def __init__(self, public: int) -> None:
        self.line: list[str] = ["p"] * public
        self.filled: dict[str, int] = {}

    def join_public(self, count: int) -> None:
        self.line += ["p"] * count

    def join(self, name: str, count: int) -> None:
        self.line += [name] * count
        self.filled[name] = 0

    def leave(self, name: str) -> None:
        self.line = [share for share in self.line if share != name]

    def cancel_public(self, count: int) -> None:
        for _ in range(count):
            at = max(index for index, share in enumerate(self.line) if share == "p")
            del self.line[at]

    def trade(self, count: int) -> None:
        left = count
        for share in list(self.line):
            if left == 0:
                break
            left -= 1
            if share != "p":
                self.line.remove(share)
                self.filled[share] += 1
        public = count
        kept = []
        for share in self.line:
            if share == "p" and public:
                public -= 1
            else:
                kept.append(share)
        self.line = kept

    @property
    def public(self) -> int:
        return self.line.count("p")

    def ahead(self, name: str) -> int | None:
        """Public shares in front of an own order's first share; None when none of its shares is left."""
        if name not in self.line:
            return None
        return self.line[: self.line.index(name)].count("p")
