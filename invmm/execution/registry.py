"""What is known about your own orders, for any program that trades on the venue: evidence in, records out.

Register an order before its bytes leave (its id is its hash, known before sending), feed whatever you hear
about it in any order and as often as it comes, and ask what follows. No answer is proof of nothing: such an
order is UNKNOWN and counts as alive. The rules are the table in `invmm/_ext/evidence.pyx`.

>>> registry = OrderRegistry()
>>> order_id = "0x" + "0a" * 32
>>> about = dict(token_id="1234", side=Side.BUY, price_e4=4800, size_micro=20_000_000)
>>> registry.register(order_id, **about, now_ns=1)
>>> registry.answered([order_id], 0, b"", now_ns=2)     # the request timed out
>>> registry.record(order_id).state, registry.record(order_id).is_alive
(<OrderState.UNKNOWN: 'unknown'>, True)
>>> registry.queried(order_id, {"id": order_id, "status": "LIVE", "side": "BUY"}, asked_ns=3)
>>> registry.record(order_id).state
<OrderState.LIVE: 'live'>
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from invmm._ext.registry import Registry
from invmm.errors import DataError
from invmm.execution.answers import Asked, canceled, placed
from invmm.execution.snapshot import Reader
from invmm.execution.unknown import Finding
from invmm.feed.user_messages import UserMessages, order_id_bytes
from invmm.types import (
    COMMAND_DTYPE,
    EVENT_DTYPE,
    CommandKind,
    EventArray,
    EventKind,
    OrderStatus,
    OrderType,
    Outcome,
    Side,
)

SECOND = 1_000_000_000
MILLISECOND = 1_000_000


class OrderState(StrEnum):
    """What an order is, as far as is proven."""

    PREPARED = "prepared"
    SENT = "sent"
    LIVE = "live"
    PARTIAL = "partial"
    UNKNOWN = "unknown"
    REJECTED = "rejected"
    DEAD = "dead"
    FILLED = "filled"


ENDED = frozenset({OrderState.REJECTED, OrderState.DEAD, OrderState.FILLED})


@dataclass(frozen=True, slots=True)
class Fill:
    """One fill leg. `status` TRADE_CONFIRMED is final, TRADE_FAILED void, anything else provisional."""

    trade: int
    size_micro: int
    price_e4: int
    is_taker: bool
    status: OrderStatus


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """All that is known about one order. Sizes are micro-shares; `filled_micro` is without failed fills.

    `fence_ns`: after this time not even a late copy of it can rest; 0 if it has no expiration.
    """

    order_id: str
    token_id: str
    side: Side
    price_e4: int
    size_micro: int
    filled_micro: int
    state: OrderState
    cancel_sent: bool
    fence_ns: int
    fills: tuple[Fill, ...]

    @property
    def is_alive(self) -> bool:
        """Whether it may trade: true until the opposite is proven."""
        return self.state not in ENDED


class OrderRegistry:
    """Own orders of one account. Not thread-safe.

    Parameters
    ----------
    api_key : str, optional
        Yours: marks fills of orders that were never registered, which are an alarm.
    early_expiry_s : int
        The venue ends an order with a date so long before that date.
    clock_bound_ms : int
        How far the venue's clock may be from yours (measure it: `VenueClient.time_offset_ms`).

    At most 64 orders of one token may be alive at once; the last 4096 that ended are remembered.
    """

    def __init__(
        self, *, api_key: str | None = None, early_expiry_s: int = 60, clock_bound_ms: int = 1000
    ) -> None:
        self._early_ns, self._bound_ns = early_expiry_s * SECOND, clock_bound_ms * MILLISECOND
        self._books: dict[str, Registry] = {}
        self._numbers: dict[str, tuple[int, int]] = {}
        self._keys: dict[bytes, int] = {}
        self._orders: dict[int, tuple[str, str, Side, OrderType]] = {}  # order id, token, side, type
        self._cancelling: set[int] = set()
        self._messages = UserMessages(self._keys.get, self._numbers, api_key)
        self._reader = Reader(self._keys.get, self._numbers, api_key)
        self._foreign: dict[str, None] = {}

    # ---- what you do -------------------------------------------------------------------------------------

    def register(
        self,
        order_id: str,
        *,
        token_id: str,
        side: Side,
        price_e4: int,
        size_micro: int,
        order_type: OrderType = OrderType.GTC,
        expiration_s: int = 0,
        now_ns: int,
    ) -> None:
        """An order is about to be sent. What was heard of it before is applied now.

        Parameters
        ----------
        order_id : str
            `0x` and 64 hexadecimal digits.
        token_id : str
            Of its outcome token.
        side, price_e4, size_micro, order_type
            As signed; 1e-4 dollars, 1e-6 shares.
        expiration_s : int
            Unix seconds, for GTD; without one an order of unknown fate has no fence.
        now_ns : int
            Your clock, unix nanoseconds.

        Raises
        ------
        ValueError
            The id is none or known, a figure is out of range, or too many orders of the token are alive.
        """
        raw = order_id_bytes(order_id)
        if raw in self._keys:
            raise ValueError(f"order id: expected a new one, {order_id} is registered")
        if not 0 < price_e4 < 10_000 or size_micro <= 0:
            raise ValueError(
                f"expected a price of 1…9999 and a size above 0, got {price_e4} and {size_micro}"
            )
        book = self._books.get(token_id)
        if book is None:
            book = self._books[token_id] = Registry()
            book.set_fence(self._early_ns, self._bound_ns)
            self._numbers[token_id] = (len(self._numbers), Outcome.UP)
        key = len(self._orders) + 1
        command = np.zeros(1, COMMAND_DTYPE)
        command["kind"], command["key"], command["side"] = CommandKind.PLACE, key, side
        command["order_type"], command["price_e4"], command["size_micro"] = order_type, price_e4, size_micro
        command["expiration_s"], command["decided_ns"] = expiration_s, now_ns
        if not book.add(command):
            raise ValueError(f"token {token_id}: expected at most 64 orders that may be alive")
        self._keys[raw] = key
        self._orders[key] = (order_id.lower(), token_id, Side(side), OrderType(order_type))
        self._foreign.pop(order_id.lower(), None)
        self._apply(self._messages.retry(now_ns))

    def sent(self, order_id: str, now_ns: int) -> None:
        """Its bytes leave; a second time: the same bytes leave once more."""
        before = self._plain(order_id)["state"]
        self._say(order_id, OrderStatus.SENT if before == "prepared" else OrderStatus.RESENT, now_ns)

    def cancelling(self, order_ids: Iterable[str]) -> None:
        """A cancel leaves that names these orders."""
        self._cancelling.update(self._key(order_id) for order_id in order_ids)

    # ---- what you hear -----------------------------------------------------------------------------------

    def answered(self, order_ids: Sequence[str], code: int, body: bytes, now_ns: int) -> None:
        """The answer to `POST /order` or `POST /orders`.

        Parameters
        ----------
        order_ids : sequence of str
            The orders of the request, in its order.
        code : int
            HTTP status; 0 when there was no answer.
        body : bytes
            As received, whatever it is.
        now_ns : int
            When it was received.
        """
        if body.lstrip()[:1] == b"{" and code == 200:
            body = b"[" + body + b"]"
        asked = []
        for order_id in order_ids:
            name, _, side, order_type = self._orders[self._key(order_id)]
            size_micro = int(str(self._plain(order_id)["original_micro"]))
            asked.append(Asked(name, side, order_type, size_micro))
        for order_id, verdict in zip(order_ids, placed(code, body, asked), strict=True):
            self._say(
                order_id, verdict.status, now_ns, filled_micro=verdict.filled_micro, reason=verdict.reason
            )

    def cancel_answered(self, order_ids: Sequence[str], code: int, body: bytes, now_ns: int) -> None:
        """The answer to `DELETE /order`, `/orders` or `/cancel-all`: only an id that it lists is dead."""
        names = [self._orders[self._key(order_id)][0] for order_id in order_ids]
        for name, verdict in zip(names, canceled(code, body, names), strict=True):
            self._cancelling.discard(self._key(name))
            self._say(name, verdict.status, now_ns)

    def heard(self, frame: bytes, now_ns: int) -> int:
        """A frame of the user channel; how many records it made. Never raises."""
        return self._apply(self._messages.read(frame, now_ns))

    def listed_trades(self, rows: Sequence[dict[str, Any]], asked_ns: int) -> int:
        """Rows of `/data/trades`; how many own legs they have. TransportError for rows that cannot be read:
        then none of them is applied.
        """
        return self._apply(self._reader.trades(rows, asked_ns))

    def listed_orders(self, rows: Sequence[dict[str, Any]], asked_ns: int) -> list[str]:
        """Rows of `/data/orders`; ids of registered orders that should be among them and are not: ask for
        each by id, their absence alone proves nothing. Raises as `listed_trades`.
        """
        records = self._reader.orders(rows, asked_ns)
        self._apply(records)
        seen = set(records["key"].tolist())
        return [
            record.order_id
            for record in self.alive()
            if (key := self._key(record.order_id)) not in seen
            and asked_ns - int(str(self._plain_of(key)["sent_ns"])) >= 10 * SECOND
        ]

    def queried(
        self, order_id: str, row: Mapping[str, Any] | None, *, asked_ns: int, is_clean: bool = False
    ) -> None:
        """The answer to a query by id (`/data/order/<id>`).

        Parameters
        ----------
        row : mapping or None
            None: the venue does not know it, which before a fence is no proof.
        asked_ns : int
            When you asked, not when the answer came.
        is_clean : bool
            Neither `/data/orders` nor `/data/trades`, asked after that, names it. With None and after its
            fence this proves its end.
        """
        key = self._key(order_id)
        found = Finding(key, self._orders[key][0], asked_ns, dict(row) if row else None, is_clean)
        self._apply(self._reader.found(found, 0))

    # ---- what follows ------------------------------------------------------------------------------------

    def record(self, order_id: str) -> OrderRecord:
        """One order; DataError for one that was never registered, or ended too long ago."""
        key = self._key(order_id)
        plain = self._plain_of(key)
        name, token_id, side, _ = self._orders[key]
        state = OrderState(str(plain["state"]))
        standing = int(str(plain["filled_micro"])) - int(str(plain["failed_micro"]))
        if state == OrderState.LIVE and standing:
            state = OrderState.PARTIAL
        elif state == OrderState.DEAD and plain["rejected"] and not plain["ended_ns"]:
            state = OrderState.REJECTED
        fills = tuple(
            Fill(
                int(str(leg["trade"])),
                int(str(leg["size_micro"])),
                int(str(leg["price_e4"])),
                bool(leg["taker"]),
                OrderStatus(int(str(leg["status"]))),
            )
            for leg in self._books[token_id].legs_of(key)
        )
        return OrderRecord(
            order_id=name,
            token_id=token_id,
            side=side,
            price_e4=int(str(plain["price_e4"])),
            size_micro=int(str(plain["original_micro"])),
            filled_micro=standing,
            state=state,
            cancel_sent=key in self._cancelling and state not in ENDED,
            fence_ns=int(str(plain["fence_ns"])),
            fills=tuple(sorted(fills, key=lambda fill: fill.trade)),
        )

    def alive(self) -> list[OrderRecord]:
        """Every order that may trade, UNKNOWN ones included."""
        keys = [int(str(order["key"])) for book in self._books.values() for order in book.orders_live()]
        return [self.record(self._orders[key][0]) for key in sorted(keys)]

    def position(self, token_id: str) -> tuple[int, int]:
        """Least and most micro-shares of a token that registered orders will have brought once every
        provisional fill has ended.
        """
        book = self._books.get(token_id)
        return (0, 0) if book is None else book.interval(0)

    @property
    def alarms(self) -> tuple[str, ...]:
        """What should never happen and did: stop taking risk and look."""
        found = [f"order {order_id} is not registered" for order_id in self._foreign]
        for token_id, book in self._books.items():
            found += [f"token {token_id}: {count} {kind}" for kind, count in book.alarms().items() if count]
        return tuple(found)

    # ------------------------------------------------------------------------------------------------------

    def _key(self, order_id: str) -> int:
        try:
            return self._keys[order_id_bytes(order_id)]
        except (KeyError, ValueError) as error:
            raise DataError(f"order: expected a registered one, found {order_id!r}") from error

    def _plain(self, order_id: str) -> dict[str, object]:
        return self._plain_of(self._key(order_id))

    def _plain_of(self, key: int) -> dict[str, object]:
        name, token_id, _, _ = self._orders[key]
        plain = self._books[token_id].order(key)
        if plain is None:
            raise DataError(
                f"order {name} ended too long ago: only the last 4096 of its token are remembered"
            )
        return plain

    def _say(self, order_id: str, status: OrderStatus, now_ns: int, **figures: int) -> None:
        event = np.zeros(1, EVENT_DTYPE)
        event["kind"], event["status"], event["time_ns"] = EventKind.ORDER_RESULT, status, now_ns
        event["key"] = self._key(order_id)
        for name, value in figures.items():
            event[name] = value
        self._apply(event)

    def _apply(self, records: EventArray) -> int:
        for record in records:
            key = int(record["key"])
            if key:
                self._books[self._orders[key][1]].apply(record)
            else:
                self._foreign["0x" + record["order_id"].tobytes().hex()] = None
        return len(records)
