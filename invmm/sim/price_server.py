"""The embedded venue's price sockets: PolyBolt's messages and those of its predecessor RTDS.

Told is what settles the generated markets: the path of each window, one after another. Paths of neighbouring
windows know nothing of each other, so the later one is scaled until its strike is the earlier one's closing
average, as it is at the venue, and the step between them fades over a minute. Scaling changes no winner.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from invmm.replay.tape import Tape
from invmm.sim.access import Access
from invmm.sim.channels import Channel, Connection
from invmm.sim.floor import Floor
from invmm.sim.path import AVERAGE_S
from invmm.sim.price import FEEDS, READING_DTYPE, STREAM, FeedShape, FloatArray, readings_of
from invmm.types import PriceFact

TURN_S = 0.02
FADE_S = 60.0
SNAPSHOT_MS = 120_000
SILENT_S = 90.0
KEPT_MS = 900_000
MS = 1_000_000
RTDS = {
    "crypto_prices": (PriceFact.DIRECT, 0, "usdt"),
    "crypto_prices_chainlink": (PriceFact.SPOT, 0, "/usd"),
    "crypto_prices_twap_sixty": (PriceFact.AVERAGE, 60, "/usd"),
}


class Reference:
    """The price of one asset: what its feeds have told and will tell, as far as its windows are known."""

    def __init__(self, seed: int, shape: FeedShape = FEEDS) -> None:
        self.rows = np.zeros(0, READING_DTYPE)
        self._seed = seed
        self._shape = shape
        self._price: FloatArray = np.zeros(0)
        self._begin_ms = self._step_ms = self._end_ms = 0

    def take(self, tape: Tape) -> None:
        """One more window. One that overlaps the last replaces all: it is another story."""
        price: FloatArray = tape.meta["path_price"]
        start_ms, end_ms = tape.market.start_s * 1000, tape.market.end_s * 1000
        step_ms = int(tape.meta["path_step_ms"])
        begin_ms = start_ms + int(tape.meta["path_start_ms"])
        rng = np.random.Generator(np.random.PCG64([self._seed, STREAM, tape.market.start_s]))
        earlier = self.rows
        if start_ms == self._end_ms and step_ms == self._step_ms:
            price, begin_ms = self._continued(price, begin_ms, start_ms)
            earlier = earlier[earlier["observed_ms"] < start_ms]
            fresh = readings_of(price, begin_ms, step_ms, rng, self._shape)
            fresh = fresh[fresh["observed_ms"] >= start_ms]
        else:
            if start_ms < self._end_ms:
                earlier = earlier[:0]
            earlier = earlier[earlier["observed_ms"] < begin_ms]
            fresh = readings_of(price, begin_ms, step_ms, rng, self._shape)
        earlier = earlier[earlier["observed_ms"] >= begin_ms - KEPT_MS]
        rows = np.concatenate([earlier, fresh])
        self.rows = rows[np.argsort(rows["at_ns"], kind="stable")]
        self._price, self._begin_ms, self._step_ms, self._end_ms = price, begin_ms, step_ms, end_ms

    def _continued(self, price: FloatArray, begin_ms: int, start_ms: int) -> tuple[FloatArray, int]:
        """A path from the start of its window on, made to follow the one before; that one's last average's
        worth of prices goes before it.
        """
        width = AVERAGE_S * 1000 // self._step_ms
        first = (start_ms - begin_ms) // self._step_ms
        last = (start_ms - self._begin_ms) // self._step_ms
        before = self._price[last - width : last]
        price = price[first:] * (before.mean() / price[first - width : first].mean())
        step = np.log(before[-1] / price[0])
        ages_s = np.arange(len(price)) * self._step_ms / 1000
        price = price * np.exp(step * np.maximum(0.0, 1.0 - ages_s / FADE_S))
        return np.concatenate([before, price]), start_ms - AVERAGE_S * 1000

    def told(self, from_ns: int, until_ns: int) -> npt.NDArray[np.void]:
        """What arrives after `from_ns`, up to `until_ns`."""
        first, last = np.searchsorted(self.rows["at_ns"], [from_ns, until_ns], side="right")
        return self.rows[first:last]


@dataclass
class Stream:
    """One subscription of a connection."""

    topic: str
    fact: PriceFact
    average_s: int
    asset: str
    symbol: str
    source: str
    sequence: int = 0


@dataclass
class Client:
    """What is known of a connection."""

    is_authed: bool = False
    streams: list[Stream] = field(default_factory=list)
    sent_ns: int = 0


class PriceDesk:
    """Both sockets, on the floor's clock."""

    def __init__(self, floor: Floor, access: Access, seed: int) -> None:
        self._floor = floor
        self._access = access
        self._seed = seed
        self.references: dict[str, Reference] = {}
        self.polybolt = Channel(self._polybolt, SILENT_S)
        self.rtds = Channel(self._rtds, SILENT_S)
        self._clients: WeakKeyDictionary[Connection, Client] = WeakKeyDictionary()

    def take(self, tape: Tape) -> None:
        """A market was opened. It has prices if it has a path and settles by it, as far as anybody knows."""
        asset = tape.market.asset
        if "path_price" in tape.meta and asset:
            self.references.setdefault(asset, Reference(self._seed)).take(tape)

    async def run(self) -> None:
        """Sends what has become due, for ever."""
        while True:
            now_ns = self._floor.now_ns()
            for channel, write in ((self.polybolt, self._as_polybolt), (self.rtds, self._as_rtds)):
                for connection in channel.connections:
                    client = self._clients.get(connection)
                    if client is None or not client.streams:
                        continue
                    payloads = []
                    for reference, streams in self._by_asset(client):
                        rows = reference.told(client.sent_ns, now_ns)
                        payloads += [
                            write(stream, row, now_ns)
                            for row in rows
                            for stream in streams
                            if row["fact"] == stream.fact and row["average_s"] == stream.average_s
                        ]
                    client.sent_ns = now_ns
                    channel.send(connection, payloads)
            await asyncio.sleep(TURN_S)

    def _by_asset(self, client: Client) -> list[tuple[Reference, list[Stream]]]:
        assets = dict.fromkeys(stream.asset for stream in client.streams)
        return [
            (self.references[asset], [stream for stream in client.streams if stream.asset == asset])
            for asset in assets
            if asset in self.references
        ]

    # ---- PolyBolt ----

    def _polybolt(self, connection: Connection, message: dict[str, Any]) -> bool:
        client = self._clients.setdefault(connection, Client())
        operation, rid = message.get("op"), message.get("rid")
        if operation == "ping":
            return self._say(connection, {"op": "pong"})
        if operation == "auth":
            auth = message.get("auth")
            client.is_authed = isinstance(auth, dict) and self._access.prove_triple(auth) is not None
            if client.is_authed:
                return self._say(connection, {"op": "authed", "rid": rid})
            return self._say(connection, {"op": "error", "rid": rid, "code": "auth_invalid"})
        if operation != "subscribe":
            return self._say(connection, {"op": "error", "rid": rid, "code": "bad_op"})
        if not client.is_authed:
            return self._say(connection, {"op": "error", "rid": rid, "code": "auth_required"})
        for item in message.get("subscriptions") or ():
            stream = _polybolt_stream(item)
            if isinstance(stream, str):
                self._say(connection, {"op": "error", "rid": rid, "code": stream})
                continue
            self._say(connection, {"op": "subscribed", "rid": rid, "channel": stream.topic})
            self._begin(connection, client, stream, self.polybolt)
        return True

    def _say(self, connection: Connection, message: dict[str, Any]) -> bool:
        self.polybolt.send(connection, [_compact(message)])
        return True

    def _begin(self, connection: Connection, client: Client, stream: Stream, channel: Channel) -> None:
        """Adds a stream, with a snapshot of its last prices: one of a second at most."""
        now_ns = self._floor.now_ns()
        reference = self.references.get(stream.asset)
        data: list[dict[str, Any]] = []
        if reference is not None:
            rows = reference.told(now_ns - SNAPSHOT_MS * MS, now_ns)
            rows = rows[(rows["fact"] == stream.fact) & (rows["average_s"] == stream.average_s)]
            rows = rows[rows["observed_ms"] % 1000 == 0]
            data = [
                {
                    "timestamp": int(row["observed_ms"]),
                    "value": round(float(row["price"]), 8),
                    "full_accuracy_value": f"{row['price']:.8f}",
                }
                for row in rows
            ]
        if not client.streams:
            client.sent_ns = now_ns
        client.streams.append(stream)
        if data:
            write = self._snapshot_polybolt if channel is self.polybolt else self._snapshot_rtds
            channel.send(connection, [write(stream, data, now_ns)])

    @staticmethod
    def _snapshot_polybolt(stream: Stream, data: list[dict[str, Any]], now_ns: int) -> bytes:
        payload: dict[str, Any] = {"symbol": stream.symbol, "source": stream.source, "data": data}
        if stream.average_s:
            payload["window_seconds"] = stream.average_s
        return _compact(_envelope(stream, now_ns) | {"snapshot": True, "payload": payload})

    @staticmethod
    def _as_polybolt(stream: Stream, row: np.void, now_ns: int) -> bytes:
        payload: dict[str, Any] = {
            "symbol": stream.symbol,
            "source": stream.source,
            "timestamp": int(row["observed_ms"]),
            "value": round(float(row["price"]), 8),
            "full_accuracy_value": f"{row['price']:.8f}",
        }
        if stream.average_s:
            payload["window_seconds"] = stream.average_s
        return _compact(_envelope(stream, now_ns) | {"payload": payload})

    # ---- RTDS ----

    def _rtds(self, connection: Connection, message: dict[str, Any]) -> bool:
        client = self._clients.setdefault(connection, Client())
        wanted = message.get("subscriptions")
        if message.get("action") != "subscribe" or not isinstance(wanted, list):
            return True  # it says nothing to what it does not know
        topics = [item.get("topic") if isinstance(item, dict) else None for item in wanted]
        if any(topic not in RTDS for topic in topics):
            return True  # one unknown topic spoils them all
        for item in wanted:
            fact, average_s, ending = RTDS[item["topic"]]
            filters = str(item.get("filters", ""))
            with contextlib.suppress(ValueError, AttributeError):
                symbol = str(json.loads(filters).get("symbol"))
                if " " in filters or not symbol.endswith(ending):
                    continue  # a blank silences the topic
                source = "binance" if fact is PriceFact.DIRECT else "chainlink"
                stream = Stream(item["topic"], fact, average_s, symbol.removesuffix(ending), symbol, source)
                self._begin(connection, client, stream, self.rtds)
        return True

    @staticmethod
    def _snapshot_rtds(stream: Stream, data: list[dict[str, Any]], now_ns: int) -> bytes:
        rows = [{"timestamp": row["timestamp"], "value": row["value"]} for row in data]
        return _compact(
            {
                "topic": "crypto_prices",  # whatever was asked for
                "type": "subscribe",
                "timestamp": now_ns // MS,
                "payload": {"symbol": stream.symbol, "data": rows},
            }
        )

    @staticmethod
    def _as_rtds(stream: Stream, row: np.void, now_ns: int) -> bytes:
        exact = (
            f"{row['price']:.8f}" if stream.source == "binance" else str(round(float(row["price"]) * 1e18))
        )
        payload: dict[str, Any] = {
            "symbol": stream.symbol,
            "timestamp": int(row["observed_ms"]),
            "value": round(float(row["price"]), 8),
            "full_accuracy_value": exact,
        }
        if stream.average_s:
            payload["window_s"] = stream.average_s
        return _compact(
            {"topic": stream.topic, "type": "update", "timestamp": now_ns // MS, "payload": payload}
        )


def _polybolt_stream(item: Any) -> Stream | str:
    """A subscription, or the code of its refusal."""
    channel = item.get("channel") if isinstance(item, dict) else None
    if channel not in ("price.crypto", "price.crypto.twap"):
        return "bad_channel"
    filters = item.get("filter")
    symbol = filters.get("symbol") if isinstance(filters, dict) else None
    if not isinstance(symbol, str) or not symbol.endswith("usd"):
        return "bad_filter"
    asset = symbol.removesuffix("usd")
    if channel == "price.crypto.twap":
        if filters.get("window_seconds") != AVERAGE_S:
            return "bad_filter"
        return Stream(channel, PriceFact.AVERAGE, AVERAGE_S, asset, symbol, "chainlink")
    provider = filters.get("provider", "chainlink")
    if provider not in ("chainlink", "pyth"):
        return "bad_filter"
    fact = PriceFact.SPOT if provider == "chainlink" else PriceFact.DIRECT
    return Stream(channel, fact, 0, asset, symbol, provider)


def _envelope(stream: Stream, now_ns: int) -> dict[str, Any]:
    stream.sequence += 1
    return {"v": 1, "channel": stream.topic, "seq": stream.sequence, "ts": now_ns // MS}


def _compact(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()
