"""A small market of our own in the format of recordings, and copies of recordings with one thing wrong."""

from __future__ import annotations

import gzip
import json
import random
import re
import shutil
from pathlib import Path
from typing import Any

from tests.reference import wire

START_S = 1_700_000_100
SLUG = f"btc-updown-5m-{START_S}"
WINDOW_S = 300


def write_market(folder: Path, *, seed: int = 7) -> Path:
    """Writes `markets.json` and a market of one window; the path of its file.

    A book that rests around 0.50, with level changes four times a second, a Down book every five seconds that says again what is
    known (a checkpoint), and sometimes a sale that goes through the best bids.
    """
    draw = random.Random(seed)
    bids = {price: float(draw.randrange(50, 400)) for price in range(4500, 5000, 100)}
    asks = {price: float(draw.randrange(50, 400)) for price in range(5100, 5600, 100)}
    lines: list[tuple[float, str, bytes]] = []
    now_ms = START_S * 1000 + 500
    lines.append((now_ms / 1000, "rec", wire.snapshot(bids, asks, now_ms).strip()))
    for step in range(1, WINDOW_S * 4 - 8):
        now_ms = START_S * 1000 + 500 + 250 * step
        best_bid, best_ask = max(bids), min(asks)
        if step % 20 == 10:
            text = wire.book_text(wire.DOWN, wire.mirrored(asks), wire.mirrored(bids), now_ms)
            lines.append((now_ms / 1000, "rec", text.encode()))
        elif step % 20 == 15:
            token, side, price = draw.choice([(wire.UP, "SELL", best_bid - 300), (wire.DOWN, "SELL", 10_000 - best_ask - 300)])
            lines.append((now_ms / 1000, "rec", wire.trade(token, side, price, draw.randrange(100, 600), now_ms)))
        else:
            own, name = (bids, "BUY") if draw.random() < 0.5 else (asks, "SELL")
            price = draw.choice(sorted(own))
            own[price] = float(draw.randrange(50, 400))
            lines.append((now_ms / 1000, "der", wire.change(name, price, own[price], best_bid, best_ask, now_ms)))
    path = folder / f"{SLUG}.jsonl.gz"
    write_lines(path, lines)
    entry = {"slug": SLUG, "condition_id": wire.MARKET, "token_up": wire.UP, "token_down": wire.DOWN}
    entry |= {"start": START_S, "end": START_S + WINDOW_S, "winner_inferred": "Up"}
    (folder / "markets.json").write_text(json.dumps({"min_order_size": "5", "markets": [entry]}))
    return path


def write_lines(path: Path, lines: list[tuple[float, str, bytes]]) -> None:
    """Writes frames as a recording has them, gzipped without a time so that equal frames give equal bytes."""
    text = b"".join(b'{"recv":%.6f,"src":"%s","frame":%s}\n' % (at, source.encode(), frame) for at, source, frame in lines)
    path.write_bytes(gzip.compress(text, mtime=0))


def read_lines(path: Path) -> list[bytes]:
    """The lines of a recording."""
    return gzip.decompress(path.read_bytes()).splitlines(keepends=True)


def copy_with(path: Path, folder: Path, number: int, line: bytes) -> Path:
    """A copy of a recording, with its listing, in which the line of that number is another one."""
    lines = read_lines(path)
    assert lines[number] != line, "the copy would be equal"
    lines[number] = line
    folder.mkdir(parents=True)
    listing = next(p / "markets.json" for p in (path.parent, path.parent.parent) if (p / "markets.json").is_file())
    shutil.copyfile(listing, folder / "markets.json")
    made = folder / path.name
    made.write_bytes(gzip.compress(b"".join(lines), mtime=0))
    return made


def frame_of(line: bytes) -> Any:
    """The parsed frame of a line."""
    return json.loads(line)["frame"]


def is_change(line: bytes) -> bool:
    """Whether it holds a `price_change` of one level in both tokens, to a size above 0."""
    frame = frame_of(line)
    if not isinstance(frame, dict) or frame["event_type"] != "price_change":
        return False
    sizes = [float(entry["size"]) for entry in frame["price_changes"]]
    return len(sizes) == 2 and min(sizes) > 0


def is_checkpoint(line: bytes) -> bool:
    """Whether it holds a recorded book of one token."""
    frame = frame_of(line)
    return b'"src":"rec"' in line and isinstance(frame, dict) and frame["event_type"] == "book"


def change_before_checkpoint(lines: list[bytes]) -> int:
    """Number of a line with a change, late enough that there are orders, followed at once by a checkpoint."""
    return next(n for n in range(len(lines) // 4, len(lines) - 1) if is_change(lines[n]) and is_checkpoint(lines[n + 1]))


def change_at_end_of_batch(lines: list[bytes]) -> int:
    """Number of a line with a change, after which another timestamp begins."""
    for number in range(len(lines) // 4, len(lines) - 1):
        if is_change(lines[number]) and frame_of(lines[number])["timestamp"] != frame_of(lines[number + 1])["timestamp"]:
            return number
    raise AssertionError("no such line")


def with_sizes(line: bytes, size: str, *, entries: tuple[int, ...]) -> bytes:
    """The line with another size in these entries of its `price_changes`; everything else byte for byte."""
    found = list(re.finditer(rb'"size": ?"([^"]*)"', line))
    for index in sorted(entries, reverse=True):
        start, end = found[index].span(1)
        line = line[:start] + size.encode() + line[end:]
    return line


def with_best_bid(line: bytes, price: str, *, entry: int) -> bytes:
    """The line with another `best_bid` in this entry of its `price_changes`."""
    found = list(re.finditer(rb'"best_bid": ?"([^"]*)"', line))
    start, end = found[entry].span(1)
    return line[:start] + price.encode() + line[end:]
