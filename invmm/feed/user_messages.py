"""Messages of the user channel → `USER_EVENT` records, one per own order or own leg of a trade. Pure.

What arrives is evidence, in any order, repeated, and sometimes before the answer to the request that caused
it. So nothing is remembered here but messages about orders that are not (yet) ours, and every record can be
applied more than once.

Rules of the venue that this file knows:

- The top level of a trade is the taker's view. Our fills are the entries of `maker_orders` whose order is
  ours, else the taker side. A maker may have been matched in the other token (a mint), so price, size and
  token come from the entry. What is not ours is dropped and counted with its reason.
- `side` is missing in older entries: in the taker's own token a maker stands on the other side, in the other
  token on the same.
- The same trade id comes again at each stage. MATCHED is a provisional fill, FAILED voids it. A stage whose
  word is not known is provisional, too: that there is a trade is certain.
- `size_matched` of a CANCELLATION is not a fill (it was seen equal to the original size), so it is not passed
  on.
- Times are milliseconds, or seconds in some messages: decided by magnitude. Numbers are strings, or `""`.
- Statuses carry free text behind their word, so only the beginning counts; an order's word that is not known
  becomes UNKNOWN evidence. Ids and addresses are compared without regard to case.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

import numpy as np
import orjson

from invmm.types import EVENT_DTYPE, EventArray, EventFlag, EventKind, OrderStatus, Reason, Side, Source

MS_FROM = 10**12  # a timestamp below is in seconds: 10^12 s is the year 33658, 10^12 ms is September 2001
KEPT = 256
_NOTHING: dict[str, Any] = dict.fromkeys(EVENT_DTYPE.names or (), 0) | {"order_id": bytes(32)}
UNREADABLE = "maker without readable order id"

# Longer words first where one begins another.
_TRADE_STATUS = (
    ("MATCHED", OrderStatus.TRADE_MATCHED),
    ("MINED", OrderStatus.TRADE_MINED),
    ("CONFIRMED", OrderStatus.TRADE_CONFIRMED),
    ("RETRYING", OrderStatus.TRADE_RETRYING),
    ("FAILED", OrderStatus.TRADE_FAILED),
)
_ORDER_STATUS = (
    ("CANCELED", OrderStatus.CANCELED),
    ("CANCELLED", OrderStatus.CANCELED),
    ("INVALID", OrderStatus.CANCELED),
    ("LIVE", OrderStatus.LIVE),
    ("UNMATCHED", OrderStatus.LIVE),  # a delayed order that met nobody and now rests
    ("MATCHED", OrderStatus.MATCHED),
    ("DELAYED", OrderStatus.DELAYED),
)

OrderKeys = Callable[[bytes], int | None]
"""Own key of an order from the venue's 32-byte id; None when it is not ours."""


@dataclass
class UserStats:
    """What was read. `refused` counts messages by what was wrong with them."""

    orders: int = 0
    trades: int = 0
    legs: int = 0
    unknown_orders: int = 0  # messages about orders that are not ours (yet)
    unknown_statuses: int = 0
    unknown_tokens: int = 0
    other_events: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    discarded: Counter[str] = field(default_factory=Counter)  # legs of trades that are not ours, by reason


class _Refused(Exception):
    """A message that cannot be read; the argument says why, without its content."""


def trade_key(trade_id: str) -> int:
    """64-bit key of a trade: BLAKE2b-64 of the venue's id, little endian."""
    return int.from_bytes(hashlib.blake2b(trade_id.encode(), digest_size=8).digest(), "little")


def order_id_bytes(text: object) -> bytes:
    """The 32 bytes of a `0x…` order id; ValueError when it is none."""
    if not isinstance(text, str) or len(text) != 66 or text[:2] not in ("0x", "0X"):
        raise ValueError("order id: expected 0x and 64 hexadecimal digits")
    raw = bytes.fromhex(text[2:])
    if len(raw) != 32:  # `fromhex` passes over blanks
        raise ValueError("order id: expected 64 hexadecimal digits, found blanks among them")
    return raw


def time_ms(value: object) -> int:
    """A venue time in ms from ms or seconds, text or number; 0 when there is none."""
    number = _decimal(value)
    if number is None or not 0 < number < 10**17:
        return 0
    return int(number if number >= MS_FROM else number * 1000)


class UserMessages:
    """Reads messages of one account.

    Parameters
    ----------
    keys : callable
        See `OrderKeys`; called on the feed's thread.
    tokens : mapping
        Token id → (engine's number of the market, Outcome). Looked up at each message, so it may grow.
    api_key : str, optional
        Marks legs as ours whose order is unknown, for instance one that was placed by hand.
    kept : int
        How many messages about unknown orders are kept for `retry`; the oldest goes first.
    """

    def __init__(
        self,
        keys: OrderKeys,
        tokens: Mapping[str, tuple[int, int]],
        api_key: str | None = None,
        kept: int = KEPT,
    ) -> None:
        self.stats = UserStats()
        self._keys = keys
        self._tokens = tokens
        self._api_key = (api_key or "").lower()
        self._unknown: deque[dict[str, Any]] = deque(maxlen=kept)
        self._sequence = 0

    @property
    def unknown_count(self) -> int:
        """Messages kept for `retry`."""
        return len(self._unknown)

    def read(self, data: bytes, now_ns: int) -> EventArray:
        """Records of one frame (an object or an array of them), `EVENT_DTYPE`; empty when there are none.

        Never raises: what cannot be read is counted in `stats.refused`. `now_ns`: engine time of arrival.

        A record has `order_id`, `key` (0: not ours), `venue_ms`, and token, side, price as the venue states
        them (market and token are 0 if the token is not in `tokens`: only own orders get such records). An
        order record's `size_micro` is the original size and `filled_micro` the matched size, 0 where unknown.
        A trade record's `size_micro` is the size of the leg and `trade` is not 0.
        """
        try:
            parsed = orjson.loads(data)
        except orjson.JSONDecodeError:
            self.stats.refused["not JSON"] += 1
            return self._records((), now_ns)
        messages = parsed if isinstance(parsed, list) else [parsed]
        return self._records((row for message in messages for row in self._read_one(message, True)), now_ns)

    def retry(self, now_ns: int) -> EventArray:
        """Records of the kept messages whose orders have become known; the others stay kept."""
        waiting = list(self._unknown)
        self._unknown.clear()
        return self._records((row for message in waiting for row in self._read_one(message, False)), now_ns)

    def _records(self, rows: Any, now_ns: int) -> EventArray:
        made = []
        for row in rows:
            self._sequence += 1
            row.update(
                kind=EventKind.USER_EVENT, source=Source.USER_FEED, time_ns=now_ns, sequence=self._sequence
            )
            row["market"] = row["market"] or 0
            made.append(tuple((_NOTHING | row).values()))  # at once: to write field by field is slow
        return np.array(made, EVENT_DTYPE)

    def _read_one(self, message: object, first: bool) -> Iterator[dict[str, Any]]:
        if not isinstance(message, dict):
            self.stats.refused["not an object"] += 1
            return
        kind = str(message.get("event_type") or message.get("type") or "").lower()
        try:
            if kind == "trade":
                self.stats.trades += first
                rows = self._trade(message, first)
            elif kind in ("order", "placement", "update", "cancellation"):
                self.stats.orders += first
                rows = [self._order(message)]
            else:
                self.stats.other_events += first
                return
        except _Refused as error:
            self.stats.refused[str(error)] += first
            return
        if not rows or any(not row["key"] for row in rows):
            # The order may become known later: its request is still being answered.
            self.stats.unknown_orders += first
            self._unknown.append(message)
            # A foreign order in one of our markets is reported, one elsewhere in the account is not.
            rows = [row for row in rows if row["key"] or (first and row["market"] is not None)]
        self.stats.legs += len(rows)
        yield from rows

    def _order(self, message: dict[str, Any]) -> dict[str, Any]:
        order_id = _order_id(message.get("id"))
        row = self._instrument(message.get("asset_id"))
        kind = str(message.get("type") or "").upper()
        text = str(message.get("status") or "").upper().removeprefix("ORDER_STATUS_")
        size_micro = _micro(message.get("original_size"))
        filled_micro = _micro(message.get("size_matched"))
        status = _by_prefix(text, _ORDER_STATUS)
        if kind == "CANCELLATION":
            status = OrderStatus.CANCELED
        elif status is OrderStatus.CANCELED:
            pass
        elif kind == "UPDATE" or status is OrderStatus.MATCHED:
            # An update says MATCHED although only a part is: what is left still rests.
            status = OrderStatus.MATCHED if 0 < size_micro <= filled_micro else OrderStatus.LIVE
        elif kind == "PLACEMENT" and not text:
            status = OrderStatus.LIVE
        if status is None:
            self.stats.unknown_statuses += 1
            status = OrderStatus.UNKNOWN
        is_silent = status is OrderStatus.CANCELED and message.get("size_matched") in (None, "")
        row.update(
            key=self._keys(order_id) or 0,
            order_id=order_id,
            status=status,
            side=_side(message.get("side")),
            price_e4=_price_e4(message.get("price")),
            size_micro=size_micro,
            # -1: an end that does not say what had been matched before it.
            filled_micro=-1 if is_silent else filled_micro,
            venue_ms=time_ms(message.get("timestamp")),
            reason=Reason.VENUE_BALANCE if "NOT_ENOUGH_BALANCE" in text else Reason.NONE,
        )
        return row

    def _trade(self, message: dict[str, Any], first: bool) -> list[dict[str, Any]]:
        trade_id = message.get("id")
        if not isinstance(trade_id, str) or not trade_id:
            raise _Refused("trade without id")
        status = _by_prefix(
            str(message.get("status") or "").upper().removeprefix("TRADE_STATUS_"), _TRADE_STATUS
        )
        if status is None:
            self.stats.unknown_statuses += 1
            status = OrderStatus.TRADE_MATCHED
        common = {
            "trade": trade_key(trade_id),
            "status": status,
            "venue_ms": time_ms(message.get("timestamp") or message.get("last_update")),
        }
        legs: dict[bytes, dict[str, Any]] = {}
        unreadable = False
        entries = message.get("maker_orders") or []
        if not isinstance(entries, list):
            raise _Refused("maker orders are not a list")
        for entry in entries:
            if not isinstance(entry, dict):
                raise _Refused("maker order is not an object")
            leg = self._maker_leg(message, entry)
            if isinstance(leg, str):
                self.stats.discarded[leg] += first
                unreadable |= leg == UNREADABLE
                continue
            known = legs.setdefault(leg["order_id"], leg)
            if known is not leg:  # one order, matched in two steps of one trade
                known["size_micro"] += leg["size_micro"]
        leg = self._taker_leg(message, bool(legs))
        if isinstance(leg, str):
            self.stats.discarded[leg] += first
        else:
            legs.setdefault(leg["order_id"], leg)
        if unreadable and not legs:
            raise _Refused("order id")  # it may have been ours
        return [row | common for row in legs.values()]

    def _maker_leg(self, message: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any] | str:
        """Our leg, or the reason why it is not ours."""
        ours = self._is_ours(entry)
        try:
            order_id = order_id_bytes(entry.get("order_id"))
        except ValueError as error:
            if ours:
                raise _Refused("order id") from error
            return UNREADABLE
        key = self._keys(order_id)
        if not key and not ours:
            return "maker is somebody else"
        token_id = entry.get("asset_id") or message.get("asset_id")
        if entry.get("side"):
            side = _side(entry["side"])
        else:
            taker = _side(message.get("side"))
            side = taker if token_id != message.get("asset_id") else Side(1 - taker)
        row = self._instrument(token_id)
        row.update(
            key=key or 0,
            order_id=order_id,
            side=side,
            price_e4=_price_e4(entry.get("price")),
            size_micro=_fill_micro(entry.get("matched_amount")),
        )
        return row

    def _taker_leg(self, message: dict[str, Any], has_maker_legs: bool) -> dict[str, Any] | str:
        """Our leg, or the reason why it is not ours."""
        try:
            order_id = order_id_bytes(message.get("taker_order_id"))
        except ValueError:
            order_id = b""
        key = self._keys(order_id) if order_id else None
        says = str(message.get("trader_side") or "").upper()
        ours = says == "TAKER" or (not says and self._is_ours(message))
        if not key and (has_maker_legs or not ours):
            return "taker is somebody else"
        if not order_id:
            raise _Refused("order id")
        row = self._instrument(message.get("asset_id"))
        row.update(
            key=key or 0,
            order_id=order_id,
            flags=EventFlag.TAKER,
            side=_side(message.get("side")),
            price_e4=_price_e4(message.get("price")),
            size_micro=_fill_micro(message.get("size")),
        )
        return row

    def _is_ours(self, part: dict[str, Any]) -> bool:
        return bool(self._api_key) and str(part.get("owner") or "").lower() == self._api_key

    def _instrument(self, token_id: object) -> dict[str, Any]:
        found = self._tokens.get(token_id) if isinstance(token_id, str) else None
        if found is None:
            self.stats.unknown_tokens += 1
            return {"market": None, "token": 0}
        return {"market": found[0], "token": found[1]}


def _by_prefix(text: str, table: tuple[tuple[str, OrderStatus], ...]) -> OrderStatus | None:
    return next((status for word, status in table if text.startswith(word)), None)


def _order_id(text: object) -> bytes:
    try:
        return order_id_bytes(text)
    except ValueError as error:
        raise _Refused("order id") from error


def _side(value: object) -> Side:
    try:
        return Side[str(value).upper()]
    except KeyError as error:
        raise _Refused("side") from error


def _decimal(value: object) -> Decimal | None:
    """A finite number from text or number; None for "", null and anything else."""
    if value is None or isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < 30 else None


def _micro(value: object) -> int:
    """Shares as micro-shares, rounded down; 0 for "" or nothing; refuses what is no size."""
    if value is None or value == "":
        return 0
    number = _decimal(value)
    if number is None or not 0 <= number < 10**12:
        raise _Refused("size")
    return int((number * 1_000_000).to_integral_value(ROUND_FLOOR))


def _fill_micro(value: object) -> int:
    size_micro = _micro(value)
    if size_micro == 0:
        raise _Refused("fill without size")
    return size_micro


def _price_e4(value: object) -> int:
    """Dollars as 1e-4 dollars, rounded half to even; 0 for "" or nothing; refuses what is no price."""
    if value is None or value == "":
        return 0
    number = _decimal(value)
    if number is None or not 0 <= number <= 1:
        raise _Refused("price")
    return int((number * 10_000).to_integral_value(ROUND_HALF_EVEN))
