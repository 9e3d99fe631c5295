"""Books that others would build from the same frames: what ours is measured against, in the same process and
turn.

Each peer keeps both books of a market. `apply(frame)` takes one frame and answers the Up token's best bid and
ask in the peer's own terms; `bests()` answers both tokens in integers, so that peers can be proven equal
before they are timed. Peers whose packages are missing are left out with a note.
"""

from __future__ import annotations

import json
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np

Bests = tuple[tuple[int | None, int | None], tuple[int | None, int | None]]
"""((bid, ask) of Up, (bid, ask) of Down) in 1e-4 dollars, None for an empty side."""


class Peer(Protocol):
    """A decoder with two books behind it."""

    name: str

    def __init__(self, up_token_id: str, down_token_id: str) -> None: ...

    def apply(self, frame: bytes) -> object: ...

    def bests(self) -> Bests: ...


class UnequalError(Exception):
    """A peer's books differ from the first one's: its time would be the time of something else."""


def _e4(price: float | None) -> int | None:
    return None if price is None else round(price * 10_000)


class SortedDictPeer:
    """What most bots do: json, float(), one SortedDict per side."""

    name = "json + SortedDict (typical)"

    def __init__(self, up_token_id: str, down_token_id: str) -> None:
        from sortedcontainers import SortedDict

        self.books = {token: (SortedDict(), SortedDict()) for token in (up_token_id, down_token_id)}
        self.up = self.books[up_token_id]
        self.down = self.books[down_token_id]

    def apply(self, frame: bytes) -> Any:
        message = json.loads(frame)
        for event in message if isinstance(message, list) else (message,):
            kind = event["event_type"]
            if kind == "price_change":
                for change in event["price_changes"]:
                    side = self.books[change["asset_id"]][change["side"] == "SELL"]
                    price, size = float(change["price"]), float(change["size"])
                    if size:
                        side[price] = size
                    else:
                        side.pop(price, None)
            elif kind == "book":
                bids, asks = self.books[event["asset_id"]]
                bids.clear()
                asks.clear()
                bids.update((float(level["price"]), float(level["size"])) for level in event["bids"])
                asks.update((float(level["price"]), float(level["size"])) for level in event["asks"])
        return self._best(self.up)

    @staticmethod
    def _best(book: tuple[Any, Any]) -> tuple[float | None, float | None]:
        bids, asks = book
        return (bids.peekitem(-1)[0] if bids else None), (asks.peekitem(0)[0] if asks else None)

    def bests(self) -> Bests:
        (a, b), (c, d) = self._best(self.up), self._best(self.down)
        return (_e4(a), _e4(b)), (_e4(c), _e4(d))


class _Level:
    """One side: a dict of sizes and a sorted list of prices, the fastest book in plain Python."""

    __slots__ = ("prices", "sizes")

    def __init__(self) -> None:
        self.sizes: dict[float, float] = {}
        self.prices: list[float] = []

    def set(self, price: float, size: float) -> None:
        sizes = self.sizes
        if size:
            if price not in sizes:
                insort(self.prices, price)
            sizes[price] = size
        elif price in sizes:
            del sizes[price]
            del self.prices[bisect_left(self.prices, price)]

    def replace(self, levels: dict[float, float]) -> None:
        self.sizes = levels
        self.prices = sorted(levels)


def _best_of(book: tuple[_Level, _Level]) -> tuple[float | None, float | None]:
    bids, asks = book
    return (bids.prices[-1] if bids.prices else None), (asks.prices[0] if asks.prices else None)


class _BisectPeer:
    def __init__(self, up_token_id: str, down_token_id: str) -> None:
        self.books = {token: (_Level(), _Level()) for token in (up_token_id, down_token_id)}
        self.up = self.books[up_token_id]
        self.down = self.books[down_token_id]

    def bests(self) -> Bests:
        (a, b), (c, d) = _best_of(self.up), _best_of(self.down)
        return (_e4(a), _e4(b)), (_e4(c), _e4(d))


class OrjsonPeer(_BisectPeer):
    """orjson, float(), dict + sorted list."""

    name = "orjson + dict/bisect"

    def __init__(self, up_token_id: str, down_token_id: str) -> None:
        super().__init__(up_token_id, down_token_id)
        import orjson

        self.loads = orjson.loads

    def apply(self, frame: bytes) -> Any:
        message = self.loads(frame)
        for event in message if isinstance(message, list) else (message,):
            kind = event["event_type"]
            if kind == "price_change":
                for change in event["price_changes"]:
                    self.books[change["asset_id"]][change["side"] == "SELL"].set(
                        float(change["price"]), float(change["size"])
                    )
            elif kind == "book":
                bids, asks = self.books[event["asset_id"]]
                bids.replace({float(level["price"]): float(level["size"]) for level in event["bids"]})
                asks.replace({float(level["price"]): float(level["size"]) for level in event["asks"]})
        return _best_of(self.up)


class MsgspecPeer(_BisectPeer):
    """msgspec into typed structs with only the needed fields, floats read by it; dict + sorted list."""

    name = "msgspec + dict/bisect (best Python)"

    def __init__(self, up_token_id: str, down_token_id: str) -> None:
        super().__init__(up_token_id, down_token_id)
        import msgspec

        # strict=False lets the decoder read "0.46" as a float, which is cheaper than str and float() in
        # Python
        change = msgspec.defstruct(
            "Change", [("asset_id", str), ("price", float), ("size", float), ("side", str)], gc=False
        )
        level = msgspec.defstruct("Level", [("price", float), ("size", float)], gc=False)
        event = msgspec.defstruct(
            "Event",
            [
                ("event_type", str),
                ("asset_id", str, ""),
                ("price_changes", list[change], ()),  # type: ignore[valid-type]
                ("bids", list[level], ()),  # type: ignore[valid-type]
                ("asks", list[level], ()),  # type: ignore[valid-type]
            ],
            gc=False,
        )
        self.one: Any = msgspec.json.Decoder(event, strict=False).decode
        self.many: Any = msgspec.json.Decoder(list[event], strict=False).decode  # type: ignore[valid-type]

    def apply(self, frame: bytes) -> Any:
        for event in self.many(frame) if frame[0] == 91 else (self.one(frame),):
            for change in event.price_changes:
                self.books[change.asset_id][change.side == "SELL"].set(change.price, change.size)
            if event.event_type == "book":
                bids, asks = self.books[event.asset_id]
                bids.replace({level.price: level.size for level in event.bids})
                asks.replace({level.price: level.size for level in event.asks})
        return _best_of(self.up)


class NautilusPeer:
    """nautilus_trader's OrderBook behind msgspec structs, by way of OrderBookDelta like its own adapter."""

    name = "msgspec + nautilus_trader OrderBook"

    def __init__(self, up_token_id: str, down_token_id: str) -> None:
        import msgspec
        from nautilus_trader.model.book import OrderBook
        from nautilus_trader.model.data import BookOrder, OrderBookDelta
        from nautilus_trader.model.enums import BookAction, BookType, OrderSide
        from nautilus_trader.model.identifiers import InstrumentId
        from nautilus_trader.model.objects import Price, Quantity

        change = msgspec.defstruct(
            "Change", [("asset_id", str), ("price", str), ("size", str), ("side", str)], gc=False
        )
        level = msgspec.defstruct("Level", [("price", str), ("size", str)], gc=False)
        event = msgspec.defstruct(
            "Event",
            [
                ("event_type", str),
                ("asset_id", str, ""),
                ("price_changes", list[change], ()),  # type: ignore[valid-type]
                ("bids", list[level], ()),  # type: ignore[valid-type]
                ("asks", list[level], ()),  # type: ignore[valid-type]
            ],
            gc=False,
        )
        self.one: Any = msgspec.json.Decoder(event).decode
        self.many: Any = msgspec.json.Decoder(list[event]).decode  # type: ignore[valid-type]
        self.delta, self.order, self.clear = OrderBookDelta, BookOrder, OrderBookDelta.clear
        self.update, self.delete, self.add = BookAction.UPDATE, BookAction.DELETE, BookAction.ADD
        self.buy, self.sell = OrderSide.BUY, OrderSide.SELL
        self.price, self.size = Price, Quantity
        self.books: dict[str, tuple[Any, Any]] = {}
        for token in (up_token_id, down_token_id):
            instrument = InstrumentId.from_str(f"{token}.POLYMARKET")
            self.books[token] = (instrument, OrderBook(instrument, book_type=BookType.L2_MBP))
        self.up = self.books[up_token_id][1]
        self.down = self.books[down_token_id][1]

    def apply(self, frame: bytes) -> Any:
        for event in self.many(frame) if frame[0] == 91 else (self.one(frame),):
            for change in event.price_changes:
                instrument, book = self.books[change.asset_id]
                size = float(change.size)
                self._apply(
                    book,
                    instrument,
                    self.update if size else self.delete,
                    self.buy if change.side == "BUY" else self.sell,
                    change.price,
                    size,
                )
            if event.event_type == "book":
                instrument, book = self.books[event.asset_id]
                book.apply_delta(self.clear(instrument, 0, 0, 0))
                for side, levels in ((self.buy, event.bids), (self.sell, event.asks)):
                    for level in levels:
                        self._apply(book, instrument, self.add, side, level.price, float(level.size))
        return self.up.best_bid_price(), self.up.best_ask_price()

    def _apply(self, book: Any, instrument: Any, action: Any, side: Any, price: str, size: float) -> None:
        order = self.order(side, self.price(float(price), 4), self.size(size, 6), 0)
        book.apply_delta(self.delta(instrument, action, order, 0, 0, 0, 0))

    def bests(self) -> Bests:
        answers = [
            self.up.best_bid_price(),
            self.up.best_ask_price(),
            self.down.best_bid_price(),
            self.down.best_ask_price(),
        ]
        a, b, c, d = (None if price is None else _e4(float(price)) for price in answers)
        return (a, b), (c, d)


class OursPeer:
    """`invmm.MarketBooks` as a bot calls it: bytes in, best levels out."""

    name = "invmm"

    def __init__(self, up_token_id: str, down_token_id: str) -> None:
        from invmm._ext.decode import MarketBooks

        books = MarketBooks(up_token_id, down_token_id)
        self.books = books
        self._apply_frame = books.apply_frame
        self._bid, self._ask = books.up.best_bid, books.up.best_ask

    def apply(self, frame: bytes) -> Any:
        if self._apply_frame(frame, 0) < 0:
            raise ValueError(f"refused: {self.books.last_error}")
        return self._bid(), self._ask()

    def bests(self) -> Bests:
        def price(level: tuple[int, int] | None) -> int | None:
            return None if level is None else level[0]

        up, down = self.books.up, self.books.down
        return (price(up.best_bid()), price(up.best_ask())), (price(down.best_bid()), price(down.best_ask()))


PEERS: tuple[type[Any], ...] = (OursPeer, MsgspecPeer, OrjsonPeer, SortedDictPeer, NautilusPeer)
REFERENCE = MsgspecPeer


def available(
    up_token_id: str, down_token_id: str, wanted: Iterable[type[Any]] = PEERS
) -> tuple[list[Any], list[str]]:
    """Peers that can be built here, and a note for each that cannot; ours must be there."""
    peers, notes = [], []
    for kind in wanted:
        try:
            peers.append(kind(up_token_id, down_token_id))
        except ImportError as error:
            if kind is OursPeer:
                raise
            notes.append(f"{kind.name}: {error}")
    return peers, notes


def verify_equal(peers: Sequence[Any], frames: Iterable[bytes]) -> int:
    """Feeds all peers the same frames and compares both books' bests after each; returns the frames compared.

    UnequalError names the frame and the two answers.
    """
    count = 0
    for count, frame in enumerate(frames, 1):
        answers = []
        for peer in peers:
            peer.apply(frame)
            answers.append(peer.bests())
        for peer, answer in zip(peers, answers, strict=True):
            if answer != answers[0]:
                raise UnequalError(
                    f"after frame {count} {peers[0].name} says {answers[0]}, {peer.name} says {answer}: "
                    f"{frame[:300]!r}"
                )
    return count


def hftbacktest_update_ns(changes: Sequence[tuple[int, int, int]], repeats: int = 9) -> float:
    """ns per book update of hftbacktest's ROIVectorMarketDepth; ImportError when it is not installed.

    Parameters
    ----------
    changes : (side, price in 1e-4 dollars, size in 1e-6 shares) rows; side 0 is the bid side
    repeats : times the stream is run; the fastest counts

    Its depth lives inside the backtest machinery, in which one event updates two books (the exchange's and
    the local one). The figure is the elapsed time of the depth events less that of as many trade events,
    which touch no book, halved.
    """
    import hftbacktest as hbt

    depth = _hft_events(hbt, changes, hbt.DEPTH_EVENT)
    trades = _hft_events(hbt, changes, hbt.TRADE_EVENT)
    _hft_elapsed(hbt, depth[:1000])  # compiles
    pairs = [(_hft_elapsed(hbt, depth), _hft_elapsed(hbt, trades)) for _ in range(repeats)]
    with_books, without = (min(times) for times in zip(*pairs, strict=True))
    return float(with_books - without) / len(changes) / 2


def _hft_events(hbt: Any, changes: Sequence[tuple[int, int, int]], kind: int) -> Any:
    rows = np.zeros(len(changes), dtype=hbt.event_dtype)
    sides = np.array([hbt.BUY_EVENT, hbt.SELL_EVENT], dtype=np.uint64)
    table = np.array(changes, dtype=np.int64)
    rows["ev"] = sides[table[:, 0]] | np.uint64(kind | hbt.EXCH_EVENT | hbt.LOCAL_EVENT)
    rows["exch_ts"] = rows["local_ts"] = np.arange(1, len(changes) + 1) * 1000
    rows["px"], rows["qty"] = table[:, 1] / 1e4, table[:, 2] / 1e6
    return rows


def _hft_elapsed(hbt: Any, events: Any) -> int:
    import time

    asset = (
        hbt.BacktestAsset()
        .data(events)
        .linear_asset(1.0)
        .constant_order_latency(0, 0)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(0.01)
        .lot_size(0.01)
        .roi_lb(0.0)
        .roi_ub(1.0)
    )
    run: Callable[[Any], None] = _hft_run()
    backtest = hbt.ROIVectorMarketDepthBacktest([asset])
    begin = time.perf_counter_ns()
    run(backtest)
    elapsed = time.perf_counter_ns() - begin
    backtest.close()
    return elapsed


def _hft_run() -> Callable[[Any], None]:
    global _HFT_RUN
    if _HFT_RUN is None:
        import numba

        @numba.njit  # type: ignore[untyped-decorator]
        def run(backtest: Any) -> None:
            while backtest.elapse(1_000_000_000) == 0:
                pass

        _HFT_RUN = run
    return _HFT_RUN


_HFT_RUN: Callable[[Any], None] | None = None
