"""Frames of the market channel into two dict books, by orjson and `decimal`: what the decoder must equal."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import orjson

from tests.reference.book import ReferenceBook

DECIMAL = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
IGNORED = ("market_resolved", "new_market")


class Refused(Exception):
    pass


def number(value: Any, decimals: int, limit: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise Refused(f"no decimal: {value!r}")
    text = value if isinstance(value, str) else repr(value)
    if not DECIMAL.fullmatch(text):
        raise Refused(f"no decimal: {value!r}")
    mantissa, _, exponent = text.lower().partition("e")
    sign, digits, given = Decimal(mantissa).as_tuple()
    assert sign == 0
    assert isinstance(given, int)
    significant = "".join(map(str, digits)).lstrip("0")
    if not significant:
        return 0
    shift = given + int(exponent or 0) + decimals + len(significant) - len(significant.rstrip("0"))
    significant = significant.rstrip("0")
    if shift < 0 or shift + len(significant) > 30:
        raise Refused(f"too fine or too large: {value!r}")
    result: int = int(significant) * 10**shift
    if result > limit:
        raise Refused(f"too large: {value!r}")
    return result


def price(value: Any) -> int:
    result = number(value, 4, 10_000)
    if not 0 < result < 10_000:
        raise Refused(f"price {value!r}")
    return result


def size(value: Any) -> int:
    return number(value, 6, 10**18)


def tick(value: Any) -> int:
    result = price(value)
    if result > 5000:
        raise Refused(f"tick {value!r}")
    return result


def best(value: Any) -> int | None:
    return None if value is None or value == "" else number(value, 4, 10_000)


def side(value: Any) -> int:
    if not isinstance(value, str) or value not in ("BUY", "SELL"):
        raise Refused(f"side {value!r}")
    return ("BUY", "SELL").index(value)


def milliseconds(value: Any) -> int:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]{1,18}", text):
        raise Refused(f"timestamp {value!r}")
    return int(text)


def rows(event: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = event.get(key)
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise Refused(f"{key} {value!r}")
    return value


class ReferenceBooks:
    """The books of one market; `apply_frame` answers as `MarketBooks.apply_frame` does."""

    def __init__(self, up: str, down: str) -> None:
        self.tokens = {up: 0, down: 1}
        self.books = (ReferenceBook(), ReferenceBook())
        self.has_snapshot = [False, False]
        self.stamps = [0, 0]  # of the newest message that each book has taken
        self.trade: tuple[int, int, int, int, int] | None = None
        self.unknown = 0

    def apply_frame(self, data: bytes) -> int:
        self.trade = None
        if data.strip(b" \t\r\n") == b"PONG":
            return 0
        try:
            document = orjson.loads(data)
            events = document if isinstance(document, list) else [document]
            actions = [self.read(event) for event in events]
        except (Refused, orjson.JSONDecodeError):
            return -1
        return sum(self.act(*action) for action in actions if action)

    def token(self, value: Any) -> int | None:
        if not isinstance(value, str):
            raise Refused(f"asset_id {value!r}")
        return self.tokens.get(value)

    def read(self, event: Any) -> tuple[Any, ...] | None:
        """What an event asks for, once all of it is known to be valid."""
        if not isinstance(event, dict):
            raise Refused(f"no object: {event!r}")
        kind = event.get("event_type")
        kinds = ("book", "price_change", "last_trade_price", "tick_size_change", "best_bid_ask")
        if not isinstance(kind, str) or kind not in kinds:
            return None
        stamp = milliseconds(event.get("timestamp"))
        if kind == "price_change":
            entries = []
            for row in rows(event, "price_changes"):
                token = self.token(row.get("asset_id"))
                entry = (token, side(row.get("side")), price(row.get("price")), size(row.get("size")))
                best(row.get("best_bid"))
                best(row.get("best_ask"))
                entries.append(entry)
            return kind, entries, stamp
        token = self.token(event.get("asset_id"))
        if kind == "book":
            levels = [
                (which, price(row.get("price")), size(row.get("size")))
                for which, key in enumerate(("bids", "asks"))
                for row in rows(event, key)
            ]
            if event.get("tick_size") not in (None, ""):
                tick(event["tick_size"])
            return kind, token, levels, stamp
        if kind == "last_trade_price":
            values = price(event.get("price")), size(event.get("size")), side(event.get("side"))
            return kind, token, values[2], values[0], values[1], stamp
        if kind == "tick_size_change":
            tick(event.get("new_tick_size"))
        return kind, token

    def act(self, kind: str, *rest: Any) -> int:
        changed = 0
        if kind == "price_change":
            for token, which, at, new in rest[0]:
                if token is None:
                    self.unknown += 1
                else:
                    changed += self.books[token].apply(which, at, new) != new
                    self.stamps[token] = rest[1]
            return changed
        token = rest[0]
        if token is None:
            self.unknown += 1
            return 0
        book = self.books[token]
        if kind == "book":
            if self.has_snapshot[token] and rest[2] < self.stamps[token]:
                return 0  # the stream was further
            self.stamps[token] = rest[2]
            for which, at, new in rest[1]:
                changed += book.apply(which, at, new) != new
            named = {(which, at) for which, at, _ in rest[1]}
            for which in (0, 1):
                for at, _ in book.depth(which):
                    if (which, at) not in named:
                        book.apply(which, at, 0)
                        changed += 1
            self.has_snapshot[token] = True
        elif kind == "last_trade_price":
            self.trade = (token, *rest[1:])
        elif kind == "tick_size_change":
            self.has_snapshot[token] = False
        return changed
