"""What the venue lists about our account at one time, and how it becomes evidence: all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from invmm.errors import TransportError, VenueError
from invmm.execution.unknown import QUERIED, SECOND, Finding, Listing
from invmm.feed.user_messages import OrderKeys, UserMessages, order_id_bytes
from invmm.types import EVENT_DTYPE, EventArray, EventKind, OrderStatus, Source


@dataclass(frozen=True)
class Wish:
    """What to list. `tokens`: pairs of asset type and token id whose balances are wanted."""

    trades_after_s: int | None = None
    cash: bool = False
    tokens: Sequence[tuple[str, str]] = ()
    clock: bool = False


@dataclass(frozen=True)
class ClockReading:
    """The venue's clock against the engine's: it tells whole seconds, so its distance lies between two."""

    least_ns: int
    bound_ns: int
    offset_ns: int = 0  # venue minus engine, what is certain of it: 0 while they may agree


@dataclass(frozen=True)
class Snapshot:
    """One pass. `asked_ns` is when its first question was asked, engine time; None was not asked for."""

    asked_ns: int
    orders: list[dict[str, Any]]
    trades: list[dict[str, Any]] | None = None
    cash_micro: int | None = None
    tokens_micro: dict[str, int] = field(default_factory=dict)
    clock: ClockReading | None = None


async def take(venue: Listing, wish: Wish, now_ns: Callable[[], int]) -> Snapshot:
    """Lists open orders, then trades, then balances.

    In that order: an order that is filled between two questions is then seen twice, not missed.

    Raises
    ------
    InvmmError
        Something was not answered: nothing was learnt.
    """
    asked_ns = now_ns()
    orders = await venue.open_orders()
    trades = None
    if wish.trades_after_s is not None:
        trades = await venue.trades(after=max(0, wish.trades_after_s))
    cash_micro = _balance(await venue.balance_allowance()) if wish.cash else None
    tokens: dict[str, int] = {}
    for asset_type, token_id in wish.tokens:
        try:
            tokens[token_id] = _balance(await venue.balance_allowance(asset_type, token_id))
        except VenueError as error:
            if error.status != 404:
                raise  # the venue may not know a token of a market that is only about to open
    clock = await _read_clock(venue, now_ns) if wish.clock else None
    return Snapshot(asked_ns, orders, trades, cash_micro, tokens, clock)


async def _read_clock(venue: Listing, now_ns: Callable[[], int]) -> ClockReading:
    asked_ns = now_ns()
    told = await venue.ask("GET", "/time")
    answered_ns = now_ns()
    if type(told) is not int:
        raise TransportError(f"/time: expected unix seconds as an integer, found {str(told)[:40]!r}")
    # It was told + 0…1 s at the venue at some time between the question and the answer.
    low, high = told * SECOND - answered_ns, (told + 1) * SECOND - asked_ns
    return ClockReading(max(low, -high, 0), max(abs(low), abs(high)), max(low, 0) + min(high, 0))


def _balance(answer: dict[str, Any]) -> int:
    text = str(answer.get("balance"))
    if not text.isdecimal() or len(text) > 18:
        raise TransportError(f"balance: expected at most 18 digits, found {text[:40]!r}")
    return int(text)


class Reader:
    """Turns listed rows into evidence. A row that cannot be read rejects everything that came with it.

    Parameters
    ----------
    keys, tokens, api_key
        As in `UserMessages`.
    """

    def __init__(
        self, keys: OrderKeys, tokens: Mapping[str, tuple[int, int]], api_key: str | None = None
    ) -> None:
        self._messages = UserMessages(keys, tokens, api_key, kept=0)

    def trades(self, rows: Sequence[dict[str, Any]], asked_ns: int) -> EventArray:
        """Records of the own legs of trades; TransportError for a row that cannot be read."""
        return self._read([row | {"event_type": "trade"} for row in rows], asked_ns)

    def orders(self, rows: Sequence[dict[str, Any]], asked_ns: int) -> EventArray:
        """Records of open orders; `key` 0 marks one that is not ours."""
        return self._read([row | {"event_type": "order", "type": ""} for row in rows], asked_ns)

    def found(self, finding: Finding, market: int) -> EventArray:
        """Records of a look at one order: what it is, or that it is not known, or that its fence has passed
        and nothing names it.
        """
        if finding.row is not None:
            records = self.orders([finding.row], finding.asked_ns)
            if len(records) != 1 or int(records[0]["key"]) != finding.key:
                raise TransportError("order: expected the one that was asked for, found another one")
            records["status"] = QUERIED.get(OrderStatus(int(records[0]["status"])), int(records[0]["status"]))
        else:
            said = [OrderStatus.NOT_FOUND] + [OrderStatus.FENCED] * finding.is_clean
            records = np.zeros(len(said), EVENT_DTYPE)
            records["kind"], records["status"], records["key"] = EventKind.ORDER_RESULT, said, finding.key
            records["time_ns"] = finding.asked_ns
        records["market"], records["source"] = market, Source.EDGE
        return records

    def _read(self, rows: list[dict[str, Any]], asked_ns: int) -> EventArray:
        for row in rows:
            if row["event_type"] == "order":
                try:
                    order_id_bytes(row.get("id"))
                except ValueError as error:
                    raise TransportError(f"listed order: {error}") from error
        refused = self._messages.stats.refused.copy()
        records = self._messages.read(orjson.dumps(rows), asked_ns)
        unread = self._messages.stats.refused - refused
        if unread:
            raise TransportError(f"listed rows that cannot be read: {dict(unread)}")
        records["source"] = Source.EDGE
        return records
