"""The venue's own checksum of a book, compared lazily: a few times a minute, never on the trading path.

The recipe is SHA-1 over a compact JSON of the whole book (see `Book.venue_hash`). It names the market's last
trade price, which a frame after a trade already contains and the feed tells only later, so candidates are
tried. The recipe has changed several times: a mismatch is counted and told, it never stops trading; what
stops trading are the checks against the message's best and between tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from invmm._ext.book import Book
from invmm._ext.decode import MarketBooks
from invmm.types import Side

ALL_LEVELS = 10_000


class HashCheck:
    """Counts of one market's comparisons. `in_a_row` mismatches of 2 or more deserve a look.

    Parameters
    ----------
    up_token_id, down_token_id : str
    min_order_size : str
        As the venue writes it; frames do not carry it.
    """

    def __init__(self, up_token_id: str, down_token_id: str, min_order_size: str = "5") -> None:
        self.tokens = {up_token_id: 0, down_token_id: 1}
        self.min_order_size = min_order_size
        self.checks = 0
        self.mismatches = 0
        self.in_a_row = 0
        self._last_price = ""

    def compare(self, books: MarketBooks, frame: bytes) -> bool | None:
        """Whether the hashes in a frame are those of the books that just took it.

        Parameters
        ----------
        books : MarketBooks
            As they are right after the frame.
        frame : bytes
            The last frame of its timestamp; earlier ones carry the hash of the state after the last.

        Returns
        -------
        bool or None
            None when the frame has no hash of one of the tokens.
        """
        told = list(self._told(frame))
        if not told:
            return None
        good = all(self._equal(books.down if token else books.up, *about) for token, *about in told)
        self.checks += 1
        self.mismatches += not good
        self.in_a_row = 0 if good else self.in_a_row + 1
        return good

    def _told(self, frame: bytes) -> Iterator[tuple[int, str, str, str, str, bool]]:
        """(token, market, asset id, timestamp, hash, is Protocol V2) per token; the last word on each."""
        try:
            message = orjson.loads(frame)
        except orjson.JSONDecodeError:
            return
        found: dict[str, tuple[int, str, str, str, str, bool]] = {}
        for event in message if isinstance(message, list) else [message]:
            if not isinstance(event, dict):
                continue
            if event.get("event_type") == "last_trade_price":
                self._last_price = _three_decimals(event.get("price"))
            entries = event.get("price_changes") if event.get("event_type") == "price_change" else [event]
            for entry in entries if isinstance(entries, list) else ():
                asset, told = str(entry.get("asset_id")), entry.get("hash")
                if asset in self.tokens and told:
                    market, at = str(event.get("market")), str(event.get("timestamp"))
                    found[asset] = (
                        self.tokens[asset],
                        market,
                        asset,
                        at,
                        str(told),
                        event.get("version") == "v2",
                    )
                    if event.get("last_trade_price"):
                        self._last_price = _three_decimals(event["last_trade_price"])
        yield from found.values()

    def _equal(self, book: Book, market: str, asset: str, timestamp: str, told: str, is_v2: bool) -> bool:
        head = (
            f'{{"market":"{market}","asset_id":"{asset}","timestamp":"{timestamp}","hash":"",'
            f'"bids":[{_levels(book, Side.BUY)}],"asks":[{_levels(book, Side.SELL)}],'
            f'"min_order_size":"{self.min_order_size}","tick_size":"{_text(book.tick_e4, 4)}",'
            '"neg_risk":false,'
            f'"last_trade_price":"'
        )
        tail = '","version":"v2"}' if is_v2 else '"}'
        state = hashlib.sha1(head.encode(), usedforsecurity=False)
        for price in _candidates(self._last_price):
            attempt = state.copy()
            attempt.update((price + tail).encode())
            if attempt.hexdigest() == told:
                self._last_price = price
                return True
        return False


def _candidates(last: str) -> Iterable[str]:
    """The last price known, its mirror image, none yet, and then every price that there is."""
    yield last
    if last:
        yield f"{1 - float(last):.3f}"
        yield ""
    for thousandths in range(1, 1000):
        yield f"{thousandths / 1000:.3f}"


def _three_decimals(price: Any) -> str:
    try:
        return f"{float(price):.3f}" if price else ""
    except (TypeError, ValueError):
        return ""


def _levels(book: Book, side: Side) -> str:
    """Levels as the venue writes them: the best one last."""
    worst_first = book.depth(side, ALL_LEVELS)[::-1].tolist()
    return ",".join(
        f'{{"price":"{_text(price, 4)}","size":"{_text(size, 6)}"}}' for price, size in worst_first
    )


def _text(scaled: int, decimals: int) -> str:
    """A scaled integer as a decimal without trailing zeros."""
    whole, part = divmod(scaled, 10**decimals)
    return f"{whole}.{part:0{decimals}d}".rstrip("0").rstrip(".") if part else str(whole)
