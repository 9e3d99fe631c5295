"""Frames in the venue's exact format, written out plainly, for tests that need a market of their own."""

from __future__ import annotations

from collections.abc import Mapping

UP, DOWN = "1" * 77, "2" * 77
MARKET = "0x" + "ab" * 32


def price_text(price_e4: int) -> str:
    """0.5 for 5000: no trailing zeros, as the venue writes it."""
    return f"{price_e4 / 10000:.4f}".rstrip("0").rstrip(".") or "0"


def levels_text(levels: Mapping[int, float], *, descending: bool) -> str:
    """Levels with the best one last."""
    return ",".join(
        f'{{"price":"{price_text(p)}","size":"{levels[p]:g}"}}'
        for p in sorted(levels, reverse=descending)
        if levels[p]
    )


def mirrored(levels: Mapping[int, float]) -> dict[int, float]:
    """The same levels in the other token's terms."""
    return {10000 - price: size for price, size in levels.items()}


def book_text(
    token: str, bids: Mapping[int, float], asks: Mapping[int, float], ms: int, *, tick: str = "0.01"
) -> str:
    """One `book` object of the snapshot after subscribing."""
    return (
        f'{{"market":"{MARKET}","asset_id":"{token}","timestamp":"{ms}","hash":"{"0" * 40}",'
        f'"bids":[{levels_text(bids, descending=False)}],"asks":[{levels_text(asks, descending=True)}],'
        f'"tick_size":"{tick}","event_type":"book","last_trade_price":""}}'
    )


def snapshot(bids: Mapping[int, float], asks: Mapping[int, float], ms: int) -> bytes:
    """The array of both books; `bids` and `asks` are those of Up, Down is their mirror image."""
    return (
        f"[{book_text(UP, bids, asks, ms)},{book_text(DOWN, mirrored(asks), mirrored(bids), ms)}]\n"
    ).encode()


def change(side: str, price_e4: int, size: float, best_bid_e4: int, best_ask_e4: int, ms: int) -> bytes:
    """A `price_change` of an Up level and its mirror; the bests are Up's after it (0, 10000: empty side)."""
    other = "SELL" if side == "BUY" else "BUY"
    up = _entry(UP, side, price_e4, size, best_bid_e4, best_ask_e4)
    down = _entry(DOWN, other, 10000 - price_e4, size, 10000 - best_ask_e4, 10000 - best_bid_e4)
    return (
        f'{{"market":"{MARKET}", "price_changes":[{up}, {down}], '
        f'"timestamp":"{ms}", "event_type":"price_change"}}'
    ).encode()


def _entry(token: str, side: str, price_e4: int, size: float, best_bid_e4: int, best_ask_e4: int) -> str:
    return (
        f'{{"asset_id":"{token}", "price":"{price_text(price_e4)}", "size":"{size:g}", "side":"{side}", '
        f'"hash":"{"0" * 40}", "best_bid":"{price_text(best_bid_e4)}", '
        f'"best_ask":"{price_text(best_ask_e4)}"}}'
    )


def trade(token: str, side: str, price_e4: int, size: float, ms: int) -> bytes:
    """A `last_trade_price`; `side` is the taker's."""
    return (
        f'{{"market":"{MARKET}", "asset_id":"{token}", "price":"{price_text(price_e4)}", "size":"{size:g}", '
        f'"fee_rate_bps":"0", "side":"{side}", "timestamp":"{ms}", "event_type":"last_trade_price", '
        f'"transaction_hash":"0x{"c" * 64}"}}'
    ).encode()


def tick_change(token: str, old: str, new: str, ms: int) -> bytes:
    """A `tick_size_change`."""
    return (
        f'{{"asset_id":"{token}","event_type":"tick_size_change","market":"{MARKET}","new_tick_size":"{new}",'
        f'"old_tick_size":"{old}","timestamp":"{ms}"}}'
    ).encode()
