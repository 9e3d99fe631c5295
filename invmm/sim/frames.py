"""Market-channel frames of a generated market, byte for byte in the shapes that the venue sends.

The dump after a subscription is compact and ends with a newline; later frames have ", " between members and
items. A frame of level changes holds the level in one token and its mirror in the other; all frames of one
engine batch carry the timestamp, the final hashes and the final best prices of that batch, so the bests run
ahead of the levels inside it.
"""

from __future__ import annotations

from invmm.sim.ladder import MirroredLadder, decimal
from invmm.types import Outcome, Side

LevelChange = tuple[int, int, int]
"""Side of the Up book (Side.BUY or Side.SELL), tick, new absolute size in micro-shares."""


def snapshot(ladder: MirroredLadder, timestamp: str) -> bytes:
    """The first frame after a subscription: an array with the books of both tokens."""
    books = []
    for token, (bids, asks), digest in zip(
        (ladder.up_token_id, ladder.down_token_id),
        (ladder.up_text(), ladder.down_text()),
        ladder.hashes(timestamp),
        strict=True,
    ):
        books.append(
            f'{{"market":"{ladder.condition_id}","asset_id":"{token}","timestamp":"{timestamp}","hash":"{digest}",'
            f'"bids":[{bids}],"asks":[{asks}],"tick_size":"{ladder.tick_size}","event_type":"book",'
            f'"last_trade_price":"{ladder.last_trade_price}"{ladder.version_text}}}'
        )
    return f"[{','.join(books)}]\n".encode()


def books_after_trade(ladder: MirroredLadder, timestamp: str) -> tuple[bytes, bytes]:
    """The `book` frames of the Up and the Down token that follow a trade."""
    out = []
    version = ladder.version_text.replace(",", ", ")
    for token, (bids, asks), digest in zip(
        (ladder.up_token_id, ladder.down_token_id),
        (ladder.up_text(), ladder.down_text()),
        ladder.hashes(timestamp),
        strict=True,
    ):
        levels = f'"bids":[{bids}],"asks":[{asks}]'.replace(",", ", ")
        out.append(
            f'{{"market":"{ladder.condition_id}", "asset_id":"{token}", {levels}, "hash":"{digest}", '
            f'"timestamp":"{timestamp}", "event_type":"book"{version}}}'.encode()
        )
    return out[0], out[1]


def price_changes(
    ladder: MirroredLadder, timestamp: str, changes: list[LevelChange], native: Outcome
) -> list[bytes]:
    """One frame per level change of an engine batch; `native` names the token whose entry comes first."""
    ticks = ladder.ticks
    text = ladder.price_text
    bid, ask = ladder.best_bid, ladder.best_ask
    hash_up, hash_down = ladder.hashes(timestamp)
    end_up = f'"hash":"{hash_up}", "best_bid":"{text[bid]}", "best_ask":"{text[ask]}"}}'
    end_down = f'"hash":"{hash_down}", "best_bid":"{text[ticks - ask]}", "best_ask":"{text[ticks - bid]}"}}'
    head = f'{{"market":"{ladder.condition_id}", "price_changes":['
    tail = f'], "timestamp":"{timestamp}", "event_type":"price_change"}}'
    up, down = ladder.up_token_id, ladder.down_token_id
    out = []
    for side, tick, size_micro in changes:
        size = decimal(size_micro)
        side_up, side_down = ("BUY", "SELL") if side == Side.BUY else ("SELL", "BUY")
        of_up = f'{{"asset_id":"{up}", "price":"{text[tick]}", "size":"{size}", "side":"{side_up}", {end_up}'
        mirror = text[ticks - tick]
        of_down = (
            f'{{"asset_id":"{down}", "price":"{mirror}", "size":"{size}", "side":"{side_down}", {end_down}'
        )
        first, second = (of_up, of_down) if native == Outcome.UP else (of_down, of_up)
        out.append(f"{head}{first}, {second}{tail}".encode())
    return out


def last_trade_price(
    ladder: MirroredLadder,
    timestamp: str,
    token: Outcome,
    side: Side,
    price_text: str,
    size_micro: int,
    transaction_hash: str,
) -> bytes:
    """The summary of one taker order: price and size in terms of `token`, `side` is the taker's."""
    asset = ladder.up_token_id if token == Outcome.UP else ladder.down_token_id
    return (
        f'{{"market":"{ladder.condition_id}", "asset_id":"{asset}", "price":"{price_text}", '
        f'"size":"{decimal(size_micro)}", "fee_rate_bps":"0", "side":"{side.name}", '
        f'"timestamp":"{timestamp}", "event_type":"last_trade_price", '
        f'"transaction_hash":"{transaction_hash}"}}'
    ).encode()


def tick_size_changes(ladder: MirroredLadder, timestamp: str, old_tick_size: str) -> tuple[bytes, bytes]:
    """The tick changes of both tokens; `ladder` already has the new tick."""
    up, down = (
        (
            f'{{"market":"{ladder.condition_id}", "asset_id":"{token}", "old_tick_size":"{old_tick_size}", '
            f'"new_tick_size":"{ladder.tick_size}", "timestamp":"{timestamp}", '
            f'"event_type":"tick_size_change"}}'
        ).encode()
        for token in (ladder.up_token_id, ladder.down_token_id)
    )
    return up, down
