"""What the venue tells everybody: its clock and version, books, and the parameters of markets."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import orjson

from invmm.errors import DataError, TransportError
from invmm.types import MICRO, PRICE_ONE_E4
from invmm.venue.profile import ExchangeName, exchange_of_market
from invmm.venue.rest import RestClient, object_at, rows_of, unexpected

BOOKS_PER_REQUEST: Final = 500
CLOCK_SAMPLES: Final = 6


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """Taker fee: `rate · (p · (1 - p)) ** exponent` per share; makers pay it too unless `taker_only`."""

    rate: float
    exponent: float
    taker_only: bool


@dataclass(frozen=True, slots=True)
class ClobToken:
    """One outcome: the id that orders name, and its label."""

    token_id: str
    outcome: str


@dataclass(frozen=True, slots=True)
class ClobMarket:
    """Parameters of a market as the order book states them (`/clob-markets`).

    `version` is the market's generation in the venue's words, "" if it gave none; `exchange` names the
    contract that its orders are signed for.
    """

    condition_id: str
    tokens: tuple[ClobToken, ...]
    tick_e4: int
    min_size_micro: int
    fees: FeeSchedule
    neg_risk: bool
    version: str
    accepting_orders: bool
    accepting_since: str
    taker_delay: bool

    @property
    def exchange(self) -> ExchangeName:
        """DataError for a version that is missing or unknown: such a market is not tradable."""
        try:
            return exchange_of_market(self.version, self.neg_risk)
        except ValueError as error:
            raise DataError(f"market {self.condition_id}: {error}") from None


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """Venue clock less ours. The truth lies within `error_ms` of `offset_ms`."""

    offset_ms: float
    error_ms: float
    round_trip_ms: float


def condition_of(text: str) -> str:
    """`text` if it is a condition id: 0x and 64 hex digits."""
    if not isinstance(text, str) or not re.fullmatch(r"0x[0-9a-fA-F]{64}", text):
        raise ValueError(f"condition id: expected 0x and 64 hex digits, found {text!r}")
    return text


def token_of(text: str) -> str:
    """`text` if it is a token or position id: decimal digits of a 256-bit number."""
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]{1,78}", text):
        raise ValueError(f"token id: expected decimal digits, found {text!r}")
    return text


def scaled(path: str, name: str, value: Any, unit: int) -> int:
    """A decimal number or text of an answer as an exact integer of 1/`unit`."""
    try:
        number = Decimal(str(value)) * unit
        if isinstance(value, bool) or not number.is_finite() or number != int(number) or number < 0:
            raise InvalidOperation
    except (InvalidOperation, ValueError, OverflowError):
        raise unexpected(
            f"{path}: {name}", f"a number with at most {len(str(unit)) - 1} decimals", value
        ) from None
    return int(number)


class MarketData(RestClient):
    """The public requests. None needs credentials."""

    async def version(self) -> int:
        """Version of the order book; 2 since April 2026. It is not the version of a market."""
        answer = object_at("/version", await self._read("/version"), "version")
        if type(answer["version"]) is not int:
            raise unexpected("/version: version", "an integer", answer["version"])
        return answer["version"]

    async def clock_offset(self, samples: int = CLOCK_SAMPLES) -> ClockOffset:
        """How far the venue's clock is ahead of ours.

        The venue tells whole seconds. An answer of second T, asked at a and read at b of our clock, puts the
        offset between T - b and T + 1 - a; the samples are spread over a second, so that a change of the
        second falls between two of them, and their common part is the answer. Samples without common part
        (a clock that was set, or runs at another speed) leave the one with the shortest round trip.
        """
        if samples < 1:
            raise ValueError(f"samples: expected at least 1, found {samples}")
        low, high, shortest = -math.inf, math.inf, math.inf
        nearest = (0.0, 0.0)
        for number in range(samples):
            if number:
                await asyncio.sleep(1.0 / samples)
            asked_ms = time.time() * 1e3
            start_ns = time.perf_counter_ns()
            told = await self._read("/time")
            taken_ms = (time.perf_counter_ns() - start_ns) / 1e6
            if type(told) is not int:
                raise unexpected("/time", "unix seconds as an integer", told)
            bounds = told * 1e3 - asked_ms - taken_ms, (told + 1) * 1e3 - asked_ms
            low, high = max(low, bounds[0]), min(high, bounds[1])
            if taken_ms < shortest:
                shortest, nearest = taken_ms, bounds
        if low > high:
            low, high = nearest
        return ClockOffset((low + high) / 2, (high - low) / 2, shortest)

    async def time_offset_ms(self, samples: int = CLOCK_SAMPLES) -> float:
        """Venue clock less ours, milliseconds; `clock_offset` says also how sure that is."""
        return (await self.clock_offset(samples)).offset_ms

    async def book(self, token_id: str) -> dict[str, Any]:
        """The displayed book of one token, as the venue writes it (prices and sizes are decimal texts)."""
        book = await self._read("/book", {"token_id": token_of(token_id)})
        return _book_of(book, token_id)

    async def books(self, token_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Books of several tokens, in the order asked for; TransportError if the venue leaves one out."""
        wanted = [token_of(token_id) for token_id in token_ids]
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(wanted), BOOKS_PER_REQUEST):
            part = wanted[start : start + BOOKS_PER_REQUEST]
            body = orjson.dumps([{"token_id": token_id} for token_id in part])
            for book in rows_of("/books", await self.ask("POST", "/books", body=body, private=False)):
                found[str(book.get("asset_id"))] = book
        for token_id in wanted:
            if token_id not in found:
                raise TransportError(f"/books: expected a book of token {token_id}, found none")
        return [_book_of(found[token_id], token_id) for token_id in wanted]

    async def tick_size(self, token_id: str) -> int:
        """The token's tick in 1e-4 dollars."""
        path = "/tick-size"
        answer = await self._read(path, {"token_id": token_of(token_id)})
        tick = object_at(path, answer, "minimum_tick_size")["minimum_tick_size"]
        return _tick(path, "minimum_tick_size", tick)

    async def neg_risk(self, token_id: str) -> bool:
        """Whether the token's market is settled by the neg-risk exchange."""
        path = "/neg-risk"
        answer = object_at(path, await self._read(path, {"token_id": token_of(token_id)}), "neg_risk")
        if not isinstance(answer["neg_risk"], bool):
            raise unexpected(f"{path}: neg_risk", "true or false", answer["neg_risk"])
        return answer["neg_risk"]

    async def fee_schedule(self, condition_id: str) -> FeeSchedule:
        """The fees that the market charges (`/fee-rate` is a legacy maximum and charges nobody)."""
        return (await self.market(condition_id)).fees

    async def market(self, condition_id: str) -> ClobMarket:
        """Parameters of a market; VenueError 404 for one that the order book does not know."""
        path = f"/clob-markets/{condition_of(condition_id)}"
        found = object_at(path, await self._read(path), "c", "t", "mts", "mos")
        if str(found["c"]).lower() != condition_id.lower():
            raise TransportError(f"{path}: expected that market, found another one")
        tokens = rows_of(f"{path}: t", found["t"])
        for token in tokens:
            if not isinstance(token.get("t"), str) or not isinstance(token.get("o"), str):
                raise unexpected(f"{path}: t", "a token id and an outcome", token)
        fees, flags = found.get("fd"), {}
        for name in ("nr", "ao", "itode"):  # left out when false
            flags[name] = found.get(name, False)
            if not isinstance(flags[name], bool):
                raise unexpected(f"{path}: {name}", "true or false", flags[name])
        return ClobMarket(
            condition_id=str(found["c"]),
            tokens=tuple(ClobToken(token["t"], token["o"]) for token in tokens),
            tick_e4=_tick(path, "mts", found["mts"]),
            min_size_micro=scaled(path, "mos", found["mos"], MICRO),
            fees=_fees(path, fees),
            neg_risk=flags["nr"],
            version=str(found.get("v") or ""),
            accepting_orders=flags["ao"],
            accepting_since=str(found.get("aot") or ""),
            taker_delay=flags["itode"],
        )

    async def market_of(self, token_id: str) -> ClobMarket:
        """Parameters of the market that a token belongs to, found by its book."""
        book = await self.book(token_id)
        market = await self.market(str(object_at("/book", book, "market")["market"]))
        if token_id not in (token.token_id for token in market.tokens):
            raise TransportError(f"/clob-markets: expected a market with token {token_id}, found another one")
        return market

    async def _read(self, path: str, query: dict[str, str] | None = None) -> Any:
        return await self.ask("GET", path, query, private=False)


def _book_of(book: Any, token_id: str) -> dict[str, Any]:
    found = object_at("/book", book, "asset_id", "bids", "asks")
    if found["asset_id"] != token_id:
        raise TransportError(f"/book: expected the book of token {token_id}, found another one")
    for side in ("bids", "asks"):
        for level in rows_of(f"/book: {side}", found[side]):
            object_at(f"/book: {side}", level, "price", "size")
    return found


def _tick(path: str, name: str, value: Any) -> int:
    tick_e4 = scaled(path, name, value, PRICE_ONE_E4)
    if not 0 < tick_e4 <= PRICE_ONE_E4 // 2:
        raise TransportError(
            f"{path}: {name}: expected 0.0001 to 0.5 dollars, found {tick_e4 / PRICE_ONE_E4}"
        )
    return tick_e4


def _fees(path: str, value: Any) -> FeeSchedule:
    """A market without `fd` charges nothing; one with other keys is not understood."""
    if value is None:
        return FeeSchedule(0.0, 0.0, True)
    found = object_at(f"{path}: fd", value, "r", "e", "to")
    numbers = [found["r"], found["e"]]
    if any(
        isinstance(one, bool) or not isinstance(one, int | float) or not 0 <= one < 100 for one in numbers
    ):
        raise unexpected(f"{path}: fd", "numbers as rate and exponent", value)
    return FeeSchedule(float(found["r"]), float(found["e"]), bool(found["to"]))
