"""What can go wrong on the market channel between the venue's book and a client: armed faults of a stream.

Takes the messages of one moment for one connection, gives those that are sent. A message is read and written
anew only by the faults that change its content.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from invmm.sim.profile import SECOND

if TYPE_CHECKING:
    from invmm.sim.channels import Connection
    from invmm.sim.faults import Fault, Faults

KINDS = ("mute", "ghost", "wrong_hash", "echo", "swap", "hold", "omit", "cross")
HASH = re.compile(rb'("hash": ?")[0-9a-f]+(")')


class StreamFaults:
    """Bends what a market channel sends. `now_ns`: the venue's time."""

    def __init__(self, faults: Faults, now_ns: Callable[[], int]) -> None:
        self._faults = faults
        self._now_ns = now_ns
        self._swapped: WeakKeyDictionary[Connection, bytes] = WeakKeyDictionary()
        self._held: WeakKeyDictionary[Connection, tuple[int, list[bytes]]] = WeakKeyDictionary()

    def bend(self, connection: Connection, payloads: list[bytes]) -> list[bytes]:
        """The messages that go out instead."""
        if any(self._faults.armed(kind) for kind in KINDS) or connection in self._held:
            payloads = [bent for payload in payloads for bent in self._one(connection, payload)]
            payloads = self._hold(connection, payloads)
        return payloads

    def _one(self, connection: Connection, payload: bytes) -> Iterator[bytes]:
        faults = self._faults
        omit = faults.armed("omit")
        if omit is not None and f'"event_type":"{omit.figures.get("event")}"'.encode() in payload:
            faults.strike("omit")
            return
        mute = faults.armed("mute")
        if mute is not None:
            if len(connection.assets) > mute.number("beyond", 1e9):
                return
            if "token" in mute.figures:
                payload = _without(payload, str(mute.figures["token"]))
                if not payload:
                    return
        if payload.startswith(b"[") and (ghost := faults.strike("ghost")) is not None:
            payload = _ghost(payload, ghost)
        if faults.strike("wrong_hash") is not None:
            payload = HASH.sub(rb"\g<1>" + b"0" * 40 + rb"\g<2>", payload)
        earlier = self._swapped.pop(connection, None)
        if earlier is None and b"price_changes" in payload and faults.strike("swap") is not None:
            self._swapped[connection] = payload
            return
        yield payload
        if faults.strike("echo") is not None:
            yield payload
        if earlier is not None:
            yield earlier
        if b"price_changes" in payload and faults.strike("cross") is not None:
            yield _crossing(payload)

    def _hold(self, connection: Connection, payloads: list[bytes]) -> list[bytes]:
        """Ten seconds of nothing, and then everything at once."""
        until_ns, held = self._held.get(connection, (0, []))
        if until_ns == 0 and (hold := self._faults.strike("hold")) is not None:
            until_ns = self._now_ns() + int(hold.number("seconds", 10.0) * SECOND)
        held += payloads
        if self._now_ns() < until_ns:
            self._held[connection] = until_ns, held
            return []
        self._held.pop(connection, None)
        return held


def _without(payload: bytes, token: str) -> bytes:
    """A message without one token's part; empty when nothing is left."""
    if token.encode() not in payload:
        return payload
    message: Any = json.loads(payload)
    if isinstance(message, list):
        message = [one for one in message if one.get("asset_id") != token]
    elif "price_changes" in message:
        message["price_changes"] = [one for one in message["price_changes"] if one.get("asset_id") != token]
        if not message["price_changes"]:
            message = None
    else:
        message = None
    return json.dumps(message).encode() if message else b""


def _ghost(payload: bytes, ghost: Fault) -> bytes:
    """A dump that is not the book: hollow (a cent and 99), or as it was `seconds` ago (a best level less)."""
    books = json.loads(payload)
    for book in books:
        if ghost.figures.get("form", "hollow") == "hollow":
            book["bids"] = [{"price": "0.01", "size": "1000"}]
            book["asks"] = [{"price": "0.99", "size": "1000"}]
        else:
            book["bids"], book["asks"] = book["bids"][:-1], book["asks"][:-1]
            book["timestamp"] = str(int(book["timestamp"]) - int(ghost.number("seconds", 30.0) * 1000))
    return json.dumps(books).encode()


def _crossing(payload: bytes) -> bytes:
    """A bid at the ask of the first token named, and its mirror image: levels that the venue never had."""
    message = json.loads(payload)
    first = message["price_changes"][0]
    ask = float(first["best_ask"])
    for entry in message["price_changes"]:
        is_first = entry["asset_id"] == first["asset_id"]
        entry["price"] = f"{ask if is_first else 1 - ask:.4f}".rstrip("0")
        entry["side"], entry["size"] = ("BUY" if is_first else "SELL"), "777"
    return json.dumps(message).encode()
