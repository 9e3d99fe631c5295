"""The one logical book of a generated market, shown as two mirrored books with the venue's hash.

Levels are held in terms of the Up token on a dense grid of ticks; the Down book is the mirror image (an Up
bid at p is a Down ask at 1 - p of the same size), so one list of level texts per side and token is enough to
write either book.
"""

from __future__ import annotations

import hashlib

from invmm.types import MICRO


def decimal(value_micro: int) -> str:
    """Micro-units as the venue writes them: no trailing zeros, no exponent, at most six decimals."""
    whole, rest = divmod(value_micro, MICRO)
    return str(whole) if rest == 0 else f"{whole}.{rest:06d}".rstrip("0")


class MirroredLadder:
    """Sizes by tick (1 .. ticks-1) of the Up book's bids and asks, and the text of both tokens' books.

    `bids[i]` and `asks[i]` are micro-shares, 0 for no level. Best levels are kept up to date: `best_bid` is 0
    and `best_ask` is `ticks` when the side is empty. Nothing here keeps the two sides apart: who changes
    levels keeps them uncrossed.
    """

    def __init__(
        self,
        condition_id: str,
        up_token_id: str,
        down_token_id: str,
        min_order_size: str = "5",
        version: str = "v1",
    ) -> None:
        self.condition_id = condition_id
        self.up_token_id = up_token_id
        self.down_token_id = down_token_id
        self.last_trade_price = ""
        self._min_order_size = min_order_size
        self.version_text = ',"version":"v2"' if version == "v2" else ""  # only the second generation says
        self._set_grid(100)

    def _set_grid(self, ticks: int) -> None:
        self.ticks = ticks
        step = 10_000 // ticks
        self.tick_e4 = step
        self.tick_size = decimal(step * 100)
        self.price_text = [decimal(index * step * 100) for index in range(ticks + 1)]
        self.bids = [0] * (ticks + 1)
        self.asks = [0] * (ticks + 1)
        # Each list in the venue's order (best level last), so a book is a join over what is not empty.
        # bid slot i holds tick i; ask slot i holds tick ticks - i.
        self._up_bids = [""] * (ticks + 1)
        self._up_asks = [""] * (ticks + 1)
        self._down_bids = [""] * (ticks + 1)
        self._down_asks = [""] * (ticks + 1)
        self.best_bid = 0
        self.best_ask = ticks
        self._tail = (
            f'],"min_order_size":"{self._min_order_size}","tick_size":"{self.tick_size}","neg_risk":false,'
            '"last_trade_price":"'
        )

    def refine(self, ticks: int = 1000) -> None:
        """The tick changes from 0.01 to 0.001, or to another part of a cent (`ticks` in a dollar): every
        level stays at its price on the finer grid.
        """
        if self.ticks != 100 or ticks % 100:
            raise ValueError(f"only 100 ticks can be refined, to a multiple: {self.ticks} to {ticks}")
        bids, asks, parts = self.bids, self.asks, ticks // 100
        self._set_grid(ticks)
        for index in range(1, 100):
            if bids[index]:
                self.set_bid(index * parts, bids[index])
            if asks[index]:
                self.set_ask(index * parts, asks[index])

    def set_bid(self, tick: int, size_micro: int) -> None:
        """Sets the Up bid (= Down ask at 1 - p) to an absolute size; 0 removes the level."""
        self.bids[tick] = size_micro
        if size_micro:
            size = decimal(size_micro)
            mirror = self.ticks - tick
            self._up_bids[tick] = f'{{"price":"{self.price_text[tick]}","size":"{size}"}}'
            self._down_asks[tick] = f'{{"price":"{self.price_text[mirror]}","size":"{size}"}}'
            if tick > self.best_bid:
                self.best_bid = tick
        else:
            self._up_bids[tick] = self._down_asks[tick] = ""
            if tick == self.best_bid:
                bids = self.bids
                while tick > 0 and not bids[tick]:
                    tick -= 1
                self.best_bid = tick

    def set_ask(self, tick: int, size_micro: int) -> None:
        """Sets the Up ask (= Down bid at 1 - p) to an absolute size; 0 removes the level."""
        self.asks[tick] = size_micro
        slot = self.ticks - tick
        if size_micro:
            size = decimal(size_micro)
            self._up_asks[slot] = f'{{"price":"{self.price_text[tick]}","size":"{size}"}}'
            self._down_bids[slot] = f'{{"price":"{self.price_text[slot]}","size":"{size}"}}'
            if tick < self.best_ask:
                self.best_ask = tick
        else:
            self._up_asks[slot] = self._down_bids[slot] = ""
            if tick == self.best_ask:
                asks, ticks = self.asks, self.ticks
                while tick < ticks and not asks[tick]:
                    tick += 1
                self.best_ask = tick

    def up_text(self) -> tuple[str, str]:
        """Bids and asks of the Up book, compact, without brackets."""
        return ",".join(filter(None, self._up_bids)), ",".join(filter(None, self._up_asks))

    def down_text(self) -> tuple[str, str]:
        """Bids and asks of the Down book, compact, without brackets."""
        return ",".join(filter(None, self._down_bids)), ",".join(filter(None, self._down_asks))

    def hashes(self, timestamp: str) -> tuple[str, str]:
        """The venue's hashes of the Up and the Down book at `timestamp` (ms): SHA-1 of compact JSON."""
        tail = f'{self._tail}{self.last_trade_price}"{self.version_text}}}'
        out = []
        for token, (bids, asks) in (
            (self.up_token_id, self.up_text()),
            (self.down_token_id, self.down_text()),
        ):
            text = (
                f'{{"market":"{self.condition_id}","asset_id":"{token}","timestamp":"{timestamp}",'
                f'"hash":"","bids":[{bids}],"asks":[{asks}{tail}'
            )
            out.append(hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
        return out[0], out[1]
