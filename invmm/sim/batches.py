"""A tape cut into the venue's atomic batches: frames of one venue timestamp, with what they tell about
trades.

The recorded stream is indexed once, before anything runs, so that stepping through it needs no parsing beyond
the book's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import orjson

from invmm.replay.tape import MarketInfo, Tape, TapeFlag
from invmm.types import PRICE_ONE_E4, Outcome, Side

_EVENT_TYPE = re.compile(rb'"event_type"\s*:\s*"(\w+)"')


@dataclass(frozen=True, slots=True)
class Print:
    """One `last_trade_price` in Up terms: the side of the book that was hit, and at which price."""

    side: Side  # of the resting order
    price_e4: int  # of Up
    size_micro: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames `first` to `last - 1` of the tape, which the venue made at once."""

    time_ns: int  # when they happen at the venue
    venue_ms: int
    first: int
    last: int
    has_book: bool  # a `book` that is not an initial dump: the venue sends those after trades
    is_derived: bool
    prints: tuple[Print, ...]
    tick_e4: int  # new tick size, 0 if it did not change

    @property
    def has_trade_evidence(self) -> bool:
        """Something in this batch says that a trade happened."""
        return self.has_book or self.is_derived or bool(self.prints)


def decimal_to_int(text: str | int | float, digits: int) -> int:
    """A decimal such as "0.57" as an integer with `digits` decimals; ValueError when it has more of them."""
    whole, _, fraction = str(text).partition(".")
    if len(fraction.rstrip("0")) > digits or not (whole or fraction) or not (whole + fraction).isdecimal():
        raise ValueError(f"expected a plain decimal with at most {digits} decimals, got {text!r}")
    scale: int = 10**digits
    return int(whole or "0") * scale + int(fraction[:digits].ljust(digits, "0"))


def up_terms(token: Outcome, side: Side, price_e4: int) -> tuple[Side, int]:
    """Side and price of an order as the Up book displays it: BUY Down at q is an ask for Up at 1 − q."""
    if token == Outcome.UP:
        return side, price_e4
    return Side(1 - side), PRICE_ONE_E4 - price_e4


def cut(tape: Tape, feed_latency_ns: int) -> list[Batch]:
    """The tape's batches in order. Each happens `feed_latency_ns` before its first frame was received."""
    rows = tape.rows
    if not len(rows):
        return []
    offsets = rows["offset"]
    found = [(match.start(), match.group(1)) for match in _EVENT_TYPE.finditer(tape.data)]
    owner = np.searchsorted(offsets, np.array([at for at, _ in found], dtype=np.uint64), side="right") - 1
    # Price changes need nothing; the others are looked at one by one.
    special: dict[int, bytes] = {}
    for row, (_, kind) in zip(owner.tolist(), found, strict=True):
        if kind != b"price_change":
            special[row] = kind
    starts = np.flatnonzero(np.append(True, np.diff(rows["venue_ms"]) != 0))
    ends = np.append(starts[1:], len(rows))
    derived = np.logical_or.reduceat((rows["flags"] & int(TapeFlag.DERIVED)) != 0, starts).tolist()
    times = (rows["recv_ns"][starts] - feed_latency_ns).tolist()
    stamps = rows["venue_ms"][starts].tolist()
    by_batch: dict[int, list[int]] = {}
    for row in sorted(special):
        by_batch.setdefault(int(np.searchsorted(starts, row, side="right")) - 1, []).append(row)
    batches = []
    for index, (first, last) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        has_book, prints, tick = False, [], 0
        for row in by_batch.get(index, ()):
            frame = tape.frame(row)
            kind = special[row]
            if kind == b"book":
                has_book = has_book or not frame.lstrip().startswith(b"[")
            elif kind == b"last_trade_price":
                prints += _prints(frame, tape.market)
            elif kind == b"tick_size_change":
                tick = decimal_to_int(orjson.loads(frame)["new_tick_size"], 4)
        batches.append(
            Batch(times[index], stamps[index], first, last, has_book, derived[index], tuple(prints), tick)
        )
    return batches


def _prints(frame: bytes, market: MarketInfo) -> list[Print]:
    told = orjson.loads(frame)
    prints = []
    for event in told if isinstance(told, list) else [told]:
        if event.get("event_type") != "last_trade_price":
            continue
        if event.get("asset_id") not in (market.up_token_id, market.down_token_id):
            continue
        taker = Side[event["side"]]
        side, price_e4 = up_terms(
            market.outcome_of(event["asset_id"]), taker, decimal_to_int(event["price"], 4)
        )
        prints.append(Print(Side(1 - side), price_e4, decimal_to_int(event["size"], 6)))
    return prints


def restated_levels(tape: Tape, batch: Batch) -> list[tuple[Side, int]]:
    """The levels that a batch's messages name, in Up terms; parsed only while somebody asks (after own
    taking).
    """
    named: list[tuple[Side, int]] = []
    for row in range(batch.first, batch.last):
        told = orjson.loads(tape.frame(row))
        for event in told if isinstance(told, list) else [told]:
            if event.get("event_type") == "price_change":
                entries = [(e.get("asset_id"), Side[e["side"]], e["price"]) for e in event["price_changes"]]
            elif event.get("event_type") == "book":
                sides = ((Side.BUY, event["bids"]), (Side.SELL, event["asks"]))
                entries = [
                    (event.get("asset_id"), side, entry["price"]) for side, half in sides for entry in half
                ]
            else:
                continue
            for asset_id, side, price in entries:
                if asset_id in (tape.market.up_token_id, tape.market.down_token_id):
                    named.append(up_terms(tape.market.outcome_of(asset_id), side, decimal_to_int(price, 4)))
    return named
