"""What earlier sessions left, read from their journal: orders that may be alive, markets that were open.

The journal names every id before its bytes leave (`journal_types`), so what it does not name is not ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invmm.clock import LiveClock
from invmm.execution.beat import boot_id
from invmm.execution.journaled import JournaledOrder, living_of, payload, read_stream, text_of
from invmm.feed.user_messages import order_id_bytes
from invmm.journal_types import MARKET_DTYPE, ORDER_DTYPE, PAYLOAD_BYTES, EndReason, JournalKind, Records
from invmm.replay.tape import MarketInfo
from invmm.types import COMMAND_DTYPE, OrderType, Outcome, Side

if TYPE_CHECKING:
    from invmm.execution.journal import SessionJournal

SECOND = 1_000_000_000
KEY_BITS = 24
OPEN_AFTER_END_S = 600
"""A window that ended so long before the journal does was closed, unless an order of it may be alive."""
EARLY_S, MARGIN_S = 60, 6
"""The venue ends an order so long before its date; for clocks, and the margin of the expiry fence."""
LIFETIME_S = 184
"""Assumed of orders without a date, whose request is long over by then."""


@dataclass(frozen=True, slots=True)
class LeftOrder:
    """An order as it was signed. Prices in 1e-4 dollars, sizes in micro-shares."""

    order_id: bytes
    condition_id: str
    outcome: Outcome
    side: Side
    order_type: OrderType
    price_e4: int
    size_micro: int
    expiration_s: int
    sent_ns: int


@dataclass(frozen=True)
class Left:
    """What earlier sessions left.

    Attributes
    ----------
    markets : sequence of MarketInfo
        Those that were open when the journal ends, and those of orders that may be alive.
    orders : mapping
        Order id → order: all of these markets.
    alive : frozenset of bytes
        Ids without proof of their end.
    account : str
        Whose journal it is; empty if there is none.
    last_ns : int
        Engine time of the last record.
    is_closed : bool
        The last session ended in order.
    is_same_boot : bool
        The machine has not started anew since.
    is_torn : bool
        Records were lost.
    """

    markets: Sequence[MarketInfo] = ()
    orders: Mapping[bytes, LeftOrder] = field(default_factory=dict)
    alive: frozenset[bytes] = frozenset()
    account: str = ""
    last_ns: int = 0
    is_closed: bool = True
    is_same_boot: bool = True
    is_torn: bool = False

    def words(self) -> str:
        """One line for people."""
        if not self.account:
            return "empty: no session before this one"
        end = "ended in order" if self.is_closed else "was cut off"
        if not self.is_same_boot:
            end += ", the machine has started anew since"
        if self.is_torn:
            end += ", records are damaged"
        return f"the last session {end}; {len(self.alive)} orders may be alive"

    def lost_until_ns(self, clock: LiveClock, lifetime_s: int) -> int:
        """Until when an order may be alive whose id never reached the disk; 0 if none can be missing.

        A killed process loses nothing. When the machine went down, what had not been synced is gone: such an
        order was sent before the present boot.
        """
        if self.is_closed or (self.is_same_boot and not self.is_torn):
            return 0
        sent_ns = clock.now_ns() if self.is_same_boot else clock.at_ns(0)
        return sent_ns + ((lifetime_s or LIFETIME_S) - EARLY_S + MARGIN_S) * SECOND


def read_left(folder: Path) -> Left:
    """Reads a journal folder; what is damaged in it is passed over and said (`is_torn`)."""
    infos: dict[str, MarketInfo] = {}  # by condition id, the last word counts
    conditions: dict[tuple[int, int], str] = {}  # session, what the keys of the market begin with
    found: dict[bytes, tuple[str, Records, int]] = {}  # condition, and where the order's words are
    inputs = list(read_stream(folder, "inputs", salvage=True))
    intents = list(read_stream(folder, "intents", salvage=True))
    alive = {order_id_bytes(each.order_id): each for each in living_of(inputs, intents)}
    for file in inputs:
        for at in np.flatnonzero(file.records["kind"] == JournalKind.MARKET):
            info = _info(file.records, int(at))
            conditions[file.session, int(file.records["link"][at]) >> KEY_BITS] = info.condition_id
            if info.origin != UNTOLD or info.condition_id not in infos:
                infos[info.condition_id] = info
    by_token = {token: info.condition_id for info in infos.values() for token in tokens_of(info)}
    for file in inputs:  # sessions hand on what they were left: older files may be gone
        handed = payload(file.records[file.records["kind"] == JournalKind.ORDER], ORDER_DTYPE)
        tokens = handed["token_id"].tolist()
        named = {token: by_token.get(str(int.from_bytes(token)), "") for token in set(tokens)}
        for i, (order_id, token) in enumerate(zip(handed["order_id"].tolist(), tokens, strict=True)):
            found[order_id] = named[token], handed, i
    for file in intents:
        signed = payload(file.records[file.records["kind"] == JournalKind.INTENT], COMMAND_DTYPE)
        of_key = zip(signed["order_id"].tolist(), (signed["key"] >> KEY_BITS).tolist(), strict=True)
        for i, (order_id, begin) in enumerate(of_key):
            if order_id not in found or not found[order_id][0]:
                found[order_id] = conditions.get((file.session, begin), ""), signed, i
    last_ns = max([0] + [int(file.records["time_ns"][-1]) for file in inputs + intents if len(file.records)])
    last = [
        [file for file in stream if file.session == stream[-1].session]
        for stream in (inputs, intents)
        if stream
    ]
    found.pop(bytes(32), None)
    orders = {
        order_id: _of(each)
        for order_id, each in alive.items()
        if order_id not in found or not found[order_id][0]
    }
    wanted = {orders[each].condition_id if each in orders else found[each][0] for each in alive}
    wanted |= {name for name, info in infos.items() if (info.end_s + OPEN_AFTER_END_S) * SECOND >= last_ns}
    for order_id, (condition, rows, i) in found.items():
        if condition in wanted and order_id not in orders:
            orders[order_id] = _order(rows[i], condition)
    for name in wanted - infos.keys():
        infos[name] = MarketInfo("of unknown name", name, "0", "1", 0, last_ns // SECOND, origin=UNTOLD)
    return Left(
        markets=sorted((infos[name] for name in wanted), key=lambda info: info.start_s),
        orders=orders,
        alive=frozenset(alive),
        account="0x" + last[0][0].header["account"].tobytes().hex() if last else "",
        last_ns=last_ns,
        is_closed=all(any(file.end.reason is EndReason.CLOSED for file in files) for files in last),
        is_same_boot=all(file.header["boot"].tobytes() == boot_id() for files in last for file in files),
        is_torn=any(file.end.is_torn for files in last for file in files),
    )


UNTOLD = "UNTOLD"
"""Origin of a market whose details the journal does not hold."""


def _info(records: Any, index: int) -> MarketInfo:
    words = payload(records[index : index + 1], MARKET_DTYPE)[0]
    try:
        told = json.loads(text_of(records, index, PAYLOAD_BYTES))
        known = {each.name: told[each.name] for each in fields(MarketInfo) if each.name != "winner"}
        return MarketInfo(**known)
    except (ValueError, TypeError, KeyError):
        end_s = int(words["end_ms"]) // 1000
        up, down = (str(int.from_bytes(words[name].tobytes())) for name in ("up_token_id", "down_token_id"))
        condition = "0x" + words["condition_id"].tobytes().hex()
        return MarketInfo(condition[:12], condition, up, down, 0, end_s, origin=UNTOLD)


def tokens_of(info: MarketInfo) -> tuple[str, str]:
    """Token ids of Up and Down."""
    return info.up_token_id, info.down_token_id


def hand_on(left: Left, journal: SessionJournal, now_ns: int) -> None:
    """Writes the orders of markets that were open into a new session's inputs: their fills may still be news,
    and the files that name them are removed some day.
    """
    tokens = {info.condition_id: tokens_of(info) for info in left.markets}
    for order in left.orders.values():
        words = np.zeros(1, ORDER_DTYPE)
        for name in ("side", "order_type", "price_e4", "size_micro", "expiration_s", "sent_ns"):
            words[name] = getattr(order, name)
        token_id = int(tokens[order.condition_id][order.outcome])
        words["order_id"], words["token"] = np.void(order.order_id), order.outcome
        words["token_id"] = np.void(token_id.to_bytes(32))
        journal.inputs.append(JournalKind.ORDER, words.tobytes(), now_ns)


def _order(words: Any, condition: str) -> LeftOrder:
    return LeftOrder(
        order_id=words["order_id"].tobytes(),
        condition_id=condition,
        outcome=Outcome(int(words["token"])),
        side=Side(int(words["side"])),
        order_type=OrderType(int(words["order_type"])),
        price_e4=int(words["price_e4"]),
        size_micro=int(words["size_micro"]),
        expiration_s=int(words["expiration_s"]),
        sent_ns=int(words["sent_ns" if "sent_ns" in words.dtype.names else "decided_ns"]),
    )


def _of(order: JournaledOrder) -> LeftOrder:
    return LeftOrder(
        order_id=order_id_bytes(order.order_id),
        condition_id=order.condition_id,
        outcome=order.outcome,
        side=order.side,
        order_type=order.order_type,
        price_e4=order.price_e4,
        size_micro=order.size_micro,
        expiration_s=order.expiration_s,
        sent_ns=order.sent_ns,
    )
