"""What the two price sockets say, and what is said to them. Pure: bytes in, prices out; nothing raises.

PolyBolt (`op`, `channel`) wants credentials; RTDS (`topic`), its predecessor, does not. A price is of use as
what the market's rule makes of it: `DIRECT` from a fast feed, `SPOT` from the settlement feed, `AVERAGE` from
that feed's published averages. Chainlink settles points and averages, Binance's own price settles candles.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from invmm.feed.frames import ApiCredentials
from invmm.types import PriceFact

AHEAD_MS: Final = 2_000  # of our clock: a price from later than that is none
MAX_SNAPSHOT: Final = 10_000
RTDS_TOPICS: Final = {
    "crypto_prices": ("binance", 0),
    "crypto_prices_chainlink": ("chainlink", 0),
    "crypto_prices_twap_thirty": ("chainlink", 30),
    "crypto_prices_twap_sixty": ("chainlink", 60),
}
FINAL_ERRORS: Final = frozenset({"auth_invalid", "auth_attempts", "auth_required", "bad_filter"})
"""After these another attempt says the same."""
PING_POLYBOLT: Final = b'{"op":"ping"}'
PING_RTDS: Final = b"PING"


class Price(NamedTuple):
    """One price of the underlying, dollars; `source` as the socket names it; averaged over so many seconds,
    0: not.
    """

    source: str
    average_s: int
    observed_ms: int
    dollars: float


class Said(NamedTuple):
    """A message: its prices, or an `op` ("authed", "subscribed", "error") with its code."""

    prices: tuple[Price, ...] = ()
    op: str = ""
    code: str = ""


NOTHING: Final = Said()


def polybolt_auth(credentials: ApiCredentials) -> bytes:
    """First frame. It holds secrets: send it, do not keep or print it."""
    auth = {
        "apiKey": credentials.api_key,
        "secret": credentials.secret,
        "passphrase": credentials.passphrase,
    }
    return orjson.dumps({"op": "auth", "auth": auth, "rid": "1"})


def polybolt_subscribe(asset: str, averages_s: tuple[int, ...]) -> bytes:
    """Everything about an asset in one frame: averages, the settlement feed, and the fast one beside it."""
    symbol = f"{asset}usd"
    wanted: list[dict[str, Any]] = [
        {"channel": "price.crypto.twap", "filter": {"symbol": symbol, "window_seconds": width}}
        for width in averages_s
    ]
    wanted.append({"channel": "price.crypto", "filter": {"symbol": symbol}})
    wanted.append({"channel": "price.crypto", "filter": {"symbol": symbol, "provider": "pyth"}})
    return orjson.dumps({"op": "subscribe", "subscriptions": wanted, "rid": "2"})


def rtds_subscribe(asset: str, averages_s: tuple[int, ...]) -> bytes:
    """The only frame. The filters are JSON inside JSON without a blank: one would silence the topic."""
    topics = [("crypto_prices_chainlink", f"{asset}/usd"), ("crypto_prices", f"{asset}usdt")]
    for topic, (_, width) in RTDS_TOPICS.items():
        if width in averages_s:
            topics.append((topic, f"{asset}/usd"))
    wanted = [
        {"topic": topic, "type": "update", "filters": orjson.dumps({"symbol": symbol}).decode()}
        for topic, symbol in topics
    ]
    return orjson.dumps({"action": "subscribe", "subscriptions": wanted})


def fact_of(price: Price, rule: str) -> PriceFact | None:
    """What a price is to a market of that rule; None: nothing."""
    if price.average_s:
        return PriceFact.AVERAGE if rule == "average" else None
    if rule == "candle":
        return PriceFact.SPOT if price.source == "binance" else None
    return PriceFact.SPOT if price.source == "chainlink" else PriceFact.DIRECT


@dataclass
class PriceCounts:
    """What came."""

    prices: int = 0
    snapshots: int = 0
    dropped: int = 0  # that the venue says it left out
    missed: int = 0  # by its sequence numbers
    bad: int = 0  # messages that were none


class PriceMessages:
    """Reads the messages about one asset on one connection after another."""

    def __init__(self, asset: str) -> None:
        self.asset = asset
        self.counts = PriceCounts()
        self.errors: Counter[str] = Counter()  # by the venue's code
        self.last_bad = ""  # what was wrong with the last bad message
        self._sequence: dict[str, int] = {}

    def begin(self) -> None:
        """A new connection: sequences start anew."""
        self._sequence.clear()

    def read(self, data: bytes, now_ms: int) -> Said:
        """What a message says; one that is none is counted."""
        try:
            if not data.strip():
                return NOTHING  # RTDS answers its subscription so
            told = orjson.loads(data)
            if not isinstance(told, dict):
                raise ValueError(f"expected an object, found {type(told).__name__}")
            if "topic" in told:
                return self._rtds(told, now_ms)
            if "op" in told:
                return self._answer(told)
            return self._polybolt(told, now_ms)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            self.counts.bad += 1
            self.last_bad = f"{type(error).__name__}: {error}"[:200]
            return NOTHING

    def _answer(self, told: Mapping[str, Any]) -> Said:
        operation, code = str(told["op"])[:40], told.get("code", told.get("error", ""))
        if operation == "error":
            code = str(code)[:40] or "error"
            self.errors[code if len(self.errors) < 32 else "others"] += 1
            return Said(op="error", code=code)
        return Said(op=operation)

    def _polybolt(self, told: Mapping[str, Any], now_ms: int) -> Said:
        channel, payload = told["channel"], told["payload"]
        if channel not in ("price.crypto", "price.crypto.twap"):
            raise ValueError(f"channel: expected price.crypto or price.crypto.twap, found {channel!r}")
        if payload["symbol"] != f"{self.asset}usd":
            raise ValueError(f"symbol: expected {self.asset}usd, found {payload['symbol']!r}")
        self.counts.dropped += max(0, int(told.get("dropped", 0)))
        average_s = int(payload["window_seconds"]) if channel == "price.crypto.twap" else 0
        source = str(payload.get("source", "chainlink"))
        self._follow(f"{channel} {source} {average_s}", told.get("seq"))
        return self._prices(payload, source, average_s, now_ms)

    def _rtds(self, told: Mapping[str, Any], now_ms: int) -> Said:
        topic, payload = told["topic"], told["payload"]
        if topic not in RTDS_TOPICS:
            raise ValueError(f"topic: expected one of {', '.join(RTDS_TOPICS)}, found {topic!r}")
        source, average_s = RTDS_TOPICS[topic]
        symbol = payload["symbol"]
        if topic == "crypto_prices" and symbol == f"{self.asset}/usd" and told.get("type") == "subscribe":
            return NOTHING  # the first message of any topic bears this one's name: whose it is cannot be told
        expected = f"{self.asset}usdt" if source == "binance" else f"{self.asset}/usd"
        if symbol != expected:
            raise ValueError(f"symbol: expected {expected}, found {symbol!r}")
        if average_s and int(payload.get("window_s", average_s)) != average_s:
            raise ValueError(f"window_s: expected {average_s}, found {payload['window_s']!r}")
        return self._prices(payload, source, average_s, now_ms)

    def _prices(self, payload: Mapping[str, Any], source: str, average_s: int, now_ms: int) -> Said:
        if not 0 <= average_s <= 3_600:
            raise ValueError(f"window: expected 0 to 3600 s, found {average_s}")
        rows = payload.get("data")
        if rows is None:
            rows = [payload]
        else:
            self.counts.snapshots += 1
        if len(rows) > MAX_SNAPSHOT:
            raise ValueError(f"data: expected at most {MAX_SNAPSHOT} prices, found {len(rows)}")
        prices = tuple(
            sorted(
                (Price(source, average_s, *_reading(row, now_ms)) for row in rows),
                key=lambda price: price.observed_ms,
            )
        )
        self.counts.prices += len(prices)
        return Said(prices)

    def _follow(self, stream: str, sequence: object) -> None:
        if isinstance(sequence, int) and not isinstance(sequence, bool):
            last = self._sequence.get(stream)
            if last is not None and sequence > last + 1:
                self.counts.missed += sequence - last - 1
            self._sequence[stream] = sequence


def _reading(row: Mapping[str, Any], now_ms: int) -> tuple[int, float]:
    observed_ms, value = row["timestamp"], row.get("value")
    if value is None:
        value = float(row["full_accuracy_value"])
    if isinstance(observed_ms, bool) or not isinstance(observed_ms, int) or not 0 < observed_ms < 1 << 52:
        raise ValueError(f"timestamp: expected unix milliseconds, found {observed_ms!r}")
    if observed_ms > now_ms + AHEAD_MS:
        raise ValueError(f"timestamp: {observed_ms - now_ms} ms ahead of our clock")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"value: expected a number, found {value!r}")
    if not 0.0 < value < 1e10:
        raise ValueError(f"value: expected dollars above 0, found {value!r}")
    return observed_ms, float(value)
