"""Records of the journal in words and as plain facts, for `invmm journal` and `invmm why`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

import numpy as np

from invmm.execution.journaled import payload, text_of
from invmm.journal_types import (
    ACCOUNT_DTYPE,
    CHECKPOINT_DTYPE,
    MARKET_DTYPE,
    ORDER_DTYPE,
    PAYLOAD_BYTES,
    QUOTE_DTYPE,
    JournalKind,
    Records,
    Stream,
)
from invmm.types import (
    COMMAND_DTYPE,
    EVENT_DTYPE,
    MICRO,
    RESERVATION_DTYPE,
    CommandFlag,
    CommandKind,
    EventFlag,
    EventKind,
    Mode,
    OrderStatus,
    OrderType,
    Outcome,
    PriceFact,
    Reason,
    SettlementFact,
    Side,
    Source,
    VenueMode,
)

NS = 1_000_000_000
STATES = ("", "prepared", "sent", "live", "unknown", "dead", "filled")  # ORDER_* of `_ext/evidence.pxd`


def name(kind: type[IntEnum], value: Any) -> str:
    """Name of a number, the number itself where it has none."""
    try:
        return kind(int(value)).name
    except ValueError:
        return str(int(value))


def time_words(time_ns: int) -> str:
    """UTC, to the microsecond."""
    return (
        f"{datetime.fromtimestamp(time_ns // NS, UTC):%Y-%m-%d %H:%M:%S}.{time_ns % NS // 1000:06d}"
        if 0 <= time_ns < 2**62
        else str(time_ns)
    )


def key_words(key: int) -> str:
    """An order's key, or a command's number, as market.serial.count."""
    return f"{(key >> 40) - 1}.{key >> 24 & 0xFFFF}.{key & 0xFFFFFF}"


def price_words(price_e4: int) -> str:
    """1e-4 dollars as dollars; `-` for a side without a level."""
    return "-" if price_e4 < 0 else f"{price_e4 / 10_000:.4f}".rstrip("0").ljust(4, "0")


def shares_words(size_micro: int) -> str:
    """Micro-shares as shares."""
    return f"{size_micro / MICRO:.6f}".rstrip("0").rstrip(".")


def id_words(order_id: bytes) -> str:
    """An order's id, whole; empty for none."""
    return "0x" + order_id.hex() if order_id.strip(b"\0") else ""


@dataclass(frozen=True)
class Row:
    """One record of a stream; `records` are those of its whole session, `index` its place in them."""

    stream: Stream
    session: int
    records: Records
    index: int
    at_ns: int = 0
    """Time of the record before it, for one that has none of its own."""

    @property
    def kind(self) -> JournalKind:
        """What it is."""
        return JournalKind(int(self.records["kind"][self.index]))

    @property
    def time_ns(self) -> int:
        """Engine time."""
        return int(self.records["time_ns"][self.index]) or self.at_ns

    @property
    def sequence(self) -> int:
        """Of its stream and session."""
        return int(self.records["sequence"][self.index])

    @property
    def link(self) -> int:
        """What `journal_types` says of its kind."""
        return int(self.records["link"][self.index])

    def words(self, dtype: Any) -> Any:
        """Its payload."""
        return payload(self.records[self.index : self.index + 1], dtype)[0]

    def text(self, skip: int = 0) -> str:
        """Its text, with the records that go on."""
        return text_of(self.records, self.index, skip)


class Speaker:
    """Knows the markets' names and puts rows into words.

    Parameters
    ----------
    rows : sequence of Row
        All rows of kind MARKET.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self._slugs: dict[tuple[int, int], str] = {}
        for row in rows:
            try:
                slug = str(json.loads(row.text(PAYLOAD_BYTES))["slug"])
            except (ValueError, KeyError, TypeError):
                continue
            self._slugs[row.session, row.link >> 24] = slug
            self._slugs.setdefault((row.session, (row.link >> 40) << 16), slug)

    def market(self, row: Row, number: int, key: int = 0) -> str:
        """A market's slug, or its number."""
        place = key >> 24 if key >> 40 == number + 1 else (number + 1) << 16
        return self._slugs.get((row.session, place), f"market {number}")

    def fact(self, row: Row) -> dict[str, Any]:
        """One record as plain values: names for numbers, ids as hex, units in the names of the keys."""
        return {
            "stream": row.stream.name.lower(),
            "session": f"{row.session:016x}",
            "sequence": row.sequence,
            "kind": row.kind.name,
            "time_ns": row.time_ns,
            "time": time_words(row.time_ns),
            "link": row.link,
            **self._facts(row),
        }

    def line(self, row: Row) -> str:
        """One record as a line."""
        mark = "in " if row.stream is Stream.INPUTS else "out"
        head = f"{time_words(row.time_ns)} {mark} {row.sequence:>7} {row.kind.name:<10}"
        return f"{head} {self.words(row)}".rstrip()

    def _facts(self, row: Row) -> dict[str, Any]:
        kind = row.kind
        if kind in (JournalKind.COMMAND, JournalKind.INTENT):
            words = row.words(COMMAND_DTYPE)
            facts = {
                "command": name(CommandKind, words["kind"]),
                "market": self.market(row, int(words["market"]), int(words["key"])),
                **_order_facts(words),
                "reason": name(Reason, words["reason"]),
                "flags": CommandFlag(int(words["flags"])).name or "",
                "batch": int(words["batch"]),
                "market_version": int(words["market_version"]),
                "book_ms": int(words["book_ms"]),
                "decided_ns": int(words["decided_ns"]),
                "deadline_ns": int(words["deadline_ns"]),
            }
            if kind is JournalKind.COMMAND and int(words["kind"]) == CommandKind.PLACE:
                reserved = np.frombuffer(words["order_id"].tobytes(), RESERVATION_DTYPE)[0]
                facts["order_id"] = ""  # not signed yet: its place holds what is set aside for it
                facts["reserved_dollars"] = int(reserved["cash_e10"]) / 1e10
                facts["transaction"] = int(reserved["transaction"])
            return facts
        if kind in (JournalKind.EVENT, JournalKind.RESULT, JournalKind.BUFFER, JournalKind.VENUE):
            return self._event_facts(row)
        if kind is JournalKind.QUOTE:
            words = row.words(QUOTE_DTYPE)
            facts = {each: words[each].tolist() for each in QUOTE_DTYPE.names or () if each != "unused"}
            facts["market"] = self.market(row, int(words["market"]))
            facts["token"] = name(Outcome, words["token"])
            facts["reason"] = name(Reason, words["reason"])
            facts["previous"] = "" if int(words["previous"]) == 255 else name(Reason, words["previous"])
            return facts
        if kind in (JournalKind.ENDED, JournalKind.REVIVED, JournalKind.ORDER):
            words = row.words(ORDER_DTYPE)
            return {
                "market": self.market(row, int(words["market"]), int(words["key"])),
                **_order_facts(words),
                "state": STATES[int(words["state"])] if int(words["state"]) < len(STATES) else "",
                "filled_micro": int(words["filled_micro"]),
                "reason": name(Reason, words["reason"]),
            }
        if kind is JournalKind.MARKET:
            words = row.words(MARKET_DTYPE)
            return {
                "market": self.market(row, int(words["market"]), row.link),
                "number": int(words["market"]),
                "condition_id": "0x" + words["condition_id"].tobytes().hex(),
                "up_token_id": str(int.from_bytes(words["up_token_id"].tobytes())),
                "down_token_id": str(int.from_bytes(words["down_token_id"].tobytes())),
                "end_ms": int(words["end_ms"]),
                "tick_e4": int(words["tick_e4"]),
            }
        if kind is JournalKind.ACCOUNT:
            words = row.words(ACCOUNT_DTYPE)
            arguments = [int(words["first"]), int(words["second"])]
            return {"call": words["call"].decode(errors="replace"), "arguments": arguments}
        if kind is JournalKind.CHECKPOINT:
            return {"orders": int(row.words(CHECKPOINT_DTYPE)["orders"])}
        if kind in (JournalKind.SESSION, JournalKind.NOTE):
            return {"text": row.text()}
        return {}

    def _event_facts(self, row: Row) -> dict[str, Any]:
        words = row.words(EVENT_DTYPE)
        kind = int(words["kind"])
        facts: dict[str, Any] = {
            "event": name(EventKind, kind),
            "source": name(Source, words["source"]),
            "market": self.market(row, int(words["market"]), int(words["key"])),
        }
        if row.kind is JournalKind.VENUE:
            facts |= {
                "venue_mode": name(VenueMode, words["status"]),
                "missed_heartbeats": int(words["batch"]),
            }
            return facts | {"stop": name(Reason, words["reason"])}
        if row.kind is JournalKind.BUFFER or kind in (EventKind.FRAME, EventKind.BUFFER_END):
            facts |= {
                "frames": int(words["offset"]),
                "bytes": int(words["length"]),
                "crc": int(words["padding"]),
            }
            return facts | {"flags": EventFlag(int(words["flags"])).name or ""}
        if kind == EventKind.MODE:
            return facts | {"mode": name(Mode, words["status"])}
        if kind == EventKind.PRICE:
            return facts | {
                "fact": name(PriceFact, words["status"]),
                "dollars": int(words["offset"]) / 1e8,
                "observed_ms": int(words["venue_ms"]),
                "average_s": int(words["code"]),
            }
        if kind == EventKind.SETTLEMENT:
            if int(words["status"]) == SettlementFact.PAIRS:
                return facts | {
                    "reserved_micro": int(words["size_micro"]),
                    "merged_micro": int(words["filled_micro"]),
                }
            return facts | {"winner": name(Outcome, words["token"])}
        if kind not in (EventKind.ORDER_RESULT, EventKind.USER_EVENT):
            return facts | {"status": int(words["status"]), "token": int(words["token"])}
        facts |= {
            "status": name(OrderStatus, words["status"]),
            "reason": name(Reason, words["reason"]),
            "key": int(words["key"]),
            "order_id": id_words(words["order_id"].tobytes()),
            "token": name(Outcome, words["token"]),
            "side": name(Side, words["side"]),
            "price_e4": int(words["price_e4"]),
            "size_micro": int(words["size_micro"]),
            "filled_micro": int(words["filled_micro"]),
            "code": int(words["code"]),
            "trade": int(words["trade"]),
        }
        return facts

    def words(self, row: Row) -> str:
        """What a record says."""
        facts, kind = self._facts(row), row.kind
        if kind in (JournalKind.COMMAND, JournalKind.INTENT):
            words = f"{facts['command']:<6} {facts['market']} "
            if facts["command"] in ("CANCEL_ALL", "SHUTDOWN"):
                return words.strip()
            words += _order_words(facts)
            if kind is JournalKind.COMMAND:
                words += f" for {facts['reason']}"
                if facts.get("transaction"):
                    words += f" in transaction {facts['transaction']}"
            return f"{words}  {key_words(facts['key'])} #{row.link & 0xFFFFFF} {facts['order_id']}".rstrip()
        if kind is JournalKind.QUOTE:
            at = facts["token"] == "DOWN"
            book = f"book {price_words(facts['bid_e4'][at])} / {price_words(facts['ask_e4'][at])}"
            is_quoted = facts["reason"] == "NONE"
            was = f" (was {facts['previous']})" if facts["previous"] not in ("", "NONE") else ""
            said = "quoted" if is_quoted else f"not quoted: {facts['reason']}"
            held = " / ".join(shares_words(each) for each in facts["position_micro"])
            return f"{facts['market']} {facts['token']} {said}{was}; {book}; position {held}"
        if kind in (JournalKind.ENDED, JournalKind.REVIVED, JournalKind.ORDER):
            filled = f" filled {shares_words(facts['filled_micro'])}" if facts["filled_micro"] else ""
            said = f"{facts['state']:<7} {facts['market']} {_order_words(facts)}{filled}"
            return f"{said}  {key_words(facts['key'])} {facts['order_id']}".rstrip()
        if kind in (JournalKind.EVENT, JournalKind.RESULT, JournalKind.BUFFER, JournalKind.VENUE):
            return _event_words(row, facts)
        if kind is JournalKind.MARKET:
            return f"{facts['number']} is {facts['market']}, ends {time_words(facts['end_ms'] * 10**6)[:19]}"
        if kind is JournalKind.ACCOUNT:
            return f"{facts['call']} {', '.join(map(str, facts['arguments']))}"
        if kind is JournalKind.CHECKPOINT:
            return f"{facts['orders']} orders may be alive"
        if kind is JournalKind.SESSION:
            text = json.loads(facts["text"]) if facts["text"].startswith("{") else {}
            return f"session {row.link:016x}: policy {text.get('policy')}, seed {text.get('seed')}"
        return str(facts.get("text", ""))


def _order_facts(words: Any) -> dict[str, Any]:
    return {
        "key": int(words["key"]),
        "order_id": id_words(words["order_id"].tobytes()),
        "token": name(Outcome, words["token"]),
        "side": name(Side, words["side"]),
        "order_type": name(OrderType, words["order_type"]),
        "level": int(words["level"]),
        "price_e4": int(words["price_e4"]),
        "size_micro": int(words["size_micro"]),
        "expiration_s": int(words["expiration_s"]),
    }


def _order_words(facts: dict[str, Any]) -> str:
    size, price = shares_words(facts["size_micro"]), price_words(facts["price_e4"])
    words = f"{facts['side']} {size} {facts['token']} @ {price}"
    if facts["expiration_s"]:
        words += f" until {time_words(facts['expiration_s'] * NS)[11:19]}"
    return words


def _event_words(row: Row, facts: dict[str, Any]) -> str:
    if row.kind is JournalKind.VENUE:
        stop = "" if facts["stop"] == "NONE" else f", new orders stopped: {facts['stop']}"
        missed = f", {facts['missed_heartbeats']} heartbeats missed" if facts["missed_heartbeats"] else ""
        return f"{facts['market']} the venue is {facts['venue_mode']}{stop}{missed}"
    if "frames" in facts:
        if facts["event"] == "FRAME":
            return f"{facts['market']} frame of {facts['bytes']} bytes"
        lost = "; connection lost" if "DISCONNECTED" in facts["flags"] else ""
        count = f"{facts['frames']} frames, {facts['bytes']} bytes, crc {facts['crc']:08x}"
        return f"{facts['market']} {count}{lost}"
    if "dollars" in facts:
        over = f" over {facts['average_s']} s" if facts["average_s"] else ""
        at = time_words(facts["observed_ms"] * 10**6)[11:23]
        return f"{facts['market']} price {facts['fact']}{over} {facts['dollars']:,.2f} of {at}"
    if "status" in facts and "key" in facts:
        words = f"{facts['status']:<9} {facts['market']} {key_words(facts['key'])}"
        if facts["trade"]:
            words += (
                f" {facts['side']} {shares_words(facts['size_micro'])} @ {price_words(facts['price_e4'])}"
            )
            words += f" trade {facts['trade']:016x}"
        if facts["reason"] != "NONE":
            words += f" {facts['reason']}"
        if facts["filled_micro"]:
            words += f" filled {shares_words(facts['filled_micro'])}"
        if facts["code"]:
            words += f" (HTTP {facts['code']})"
        return f"{words}  {facts['order_id']}".rstrip()
    rest = {
        each: facts[each]
        for each in ("mode", "winner", "reserved_micro", "merged_micro", "status", "token")
        if each in facts
    }
    said = ", ".join(f"{each} {value}" for each, value in rest.items() if facts["event"] != "TIMER")
    return f"{facts['event']} {facts['market']} {said}".rstrip()
