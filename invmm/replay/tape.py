"""A tape: one market's frames in order of arrival, packed in one buffer, ready to be stepped through.

Recorded files and the generated market both become tapes, so everything behind them is the same code.

File format (`*.jsonl`, `*.jsonl.gz`), one line per frame: `{"recv": seconds, "src": "rec"|"der", "frame":
<JSON>}`. The frame's own text is kept byte for byte. `src` "rec" marks a frame as recorded, so a `book` in it
is a checkpoint: the maintained book must equal it before it is adopted. `src` "der" marks a frame derived
from two successive recorded books; `"gen"` one that was generated, `"live"` one that was recorded from the
feed itself, where every book is news. `"gap":true` says that the connection was lost before the frame. A
`markets.json` beside the file, or one
folder up, names token ids and window.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntFlag
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from invmm.errors import DataError
from invmm.types import Outcome

NS = 1_000_000_000


class TapeFlag(IntFlag):
    """Bits of a tape row's `flags`."""

    CHECKPOINT = 1  # a recorded `book` after the first frame: must equal the maintained book
    DERIVED = 2  # derived from two recorded books, which the venue sends after trades
    BUFFER_END = 4  # last frame of equal receive time: the engine may solve
    GAP = 8  # the connection was lost before this frame: what was known is not any more


TAPE_DTYPE = np.dtype(
    [("recv_ns", "<i8"), ("venue_ms", "<i8"), ("offset", "<u8"), ("length", "<u4"), ("flags", "<u4")]
)


@dataclass(frozen=True)
class MarketInfo:
    """What must be known of a market before it is traded. Times are unix seconds, ids the venue's strings."""

    slug: str
    condition_id: str
    up_token_id: str
    down_token_id: str
    start_s: int
    end_s: int
    tick_e4: int = 100
    min_size_micro: int = 5_000_000
    fee_rate: float = 0.07
    rebate_share: float = 0.2
    winner: Outcome | None = None
    origin: str = "RECORDED"
    exchange: str = "v2"  # the generation: "v2", "v2-neg-risk" or "v3" (venue/profile.py)
    rule: str = ""  # how it settles: "point", "average" or "candle" (strategy/fair_value.py); "": not known
    average_s: int = 0  # of "average"
    asset: str = ""  # of which the price is, as in "btc"
    strike: float = 0.0  # dollars, as told by the venue; 0: not told

    def outcome_of(self, token_id: str) -> Outcome:
        """UP or DOWN; DataError when the id is neither."""
        if token_id == self.up_token_id:
            return Outcome.UP
        if token_id == self.down_token_id:
            return Outcome.DOWN
        raise DataError(f"{self.slug}: token id {token_id} is neither its Up nor its Down token")


@dataclass(frozen=True)
class Tape:
    """Frames of one market. `rows` (TAPE_DTYPE) index into `data`; `recv_ns` never goes back."""

    market: MarketInfo
    data: bytes
    rows: npt.NDArray[np.void]
    meta: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def frame(self, index: int) -> bytes:
        """The exact bytes of one frame."""
        row = self.rows[index]
        start = int(row["offset"])
        return self.data[start : start + int(row["length"])]

    def frames(self) -> Iterator[bytes]:
        """All frames in order."""
        for index in range(len(self.rows)):
            yield self.frame(index)


def pack(
    market: MarketInfo, lines: Iterable[tuple[int, int, int, bytes]], meta: dict[str, Any] | None = None
) -> Tape:
    """A tape from `(recv_ns, venue_ms, flags, frame)` tuples in order of arrival; sets BUFFER_END itself."""
    parts: list[bytes] = []
    rows: list[tuple[int, int, int, int, int]] = []
    offset = 0
    for recv_ns, venue_ms, flags, frame in lines:
        rows.append((recv_ns, venue_ms, offset, len(frame), flags))
        parts.append(frame)
        offset += len(frame)
    table = np.array(rows, dtype=TAPE_DTYPE)
    if len(table):
        backwards = np.flatnonzero(np.diff(table["recv_ns"]) < 0)
        if len(backwards):
            raise DataError(f"{market.slug}: receive time goes back at frame {int(backwards[0]) + 2}")
        last = np.append(np.diff(table["recv_ns"]) != 0, True)
        table["flags"][last] |= np.uint32(TapeFlag.BUFFER_END)
    return Tape(market, b"".join(parts), table, meta or {})


def load(path: str | Path) -> Tape:
    """Reads one recorded market. DataError names file, line, what was expected and what was found."""
    path = Path(path)
    row, listing = listed(path)
    market = _market_info(path, row, listing)
    meta = {"path": str(path), "winner_inferred": row.get("winner_inferred") is not None}
    return pack(market, _recorded_lines(path), meta)


def find(paths: Iterable[str | Path]) -> list[Path]:
    """Recorded files named by files and folders, each folder's in order of name; DataError if none."""
    found: list[Path] = []
    for given in map(Path, paths):
        if given.is_dir():
            inside = sorted(p for p in given.iterdir() if p.name.endswith((".jsonl", ".jsonl.gz")))
            if not inside:
                raise DataError(
                    f"{given}: expected recorded markets (*.jsonl or *.jsonl.gz) in this folder, found none"
                )
            found += inside
        elif given.is_file():
            found.append(given)
        else:
            raise DataError(f"{given}: no such file or folder")
    if not found:
        raise DataError("expected at least one recorded market, none was named")
    return found


def _recorded_lines(path: Path) -> Iterator[tuple[int, int, int, bytes]]:
    number, is_filled = 0, False
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    is_filled = True
                    yield _recorded_line(path, number, line)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip after line {number}: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not is_filled:
        raise DataError(f"{path}: expected recorded frames, the file is empty")


def _recorded_line(path: Path, number: int, line: bytes) -> tuple[int, int, int, bytes]:
    try:
        row = json.loads(line)
        received = row["recv"]
        source = row["src"]
        frame = row["frame"]
        start = line.index(b'"frame":') + len(b'"frame":')
        text = line[start : line.rindex(b"}")].strip()
        # Recorded with microseconds; exact integers from here on.
        recv_ns = round(float(received) * 1e6) * 1000
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(
            f'{path}:{number}: expected {{"recv": seconds, "src": "rec"|"der", "frame": …}}, '
            f"found {line[:120]!r} ({error})"
        ) from error
    first = frame[0] if isinstance(frame, list) and frame else frame
    kind = first.get("event_type") if isinstance(first, dict) else None
    try:
        venue_ms = int(first.get("timestamp", 0)) if isinstance(first, dict) else 0
    except (ValueError, TypeError):
        venue_ms = 0
    flags = 0
    if source == "rec" and kind == "book" and number > 1:
        flags |= TapeFlag.CHECKPOINT
    if source == "der":
        flags |= TapeFlag.DERIVED
    if row.get("gap") is True:
        flags |= TapeFlag.GAP
    return recv_ns, venue_ms, flags, text


def listed(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The entry of a recorded market in its `markets.json`, and all of that file."""
    slug = path.name.removesuffix(".gz").removesuffix(".jsonl")
    for folder in (path.parent, path.parent.parent):
        listing = folder / "markets.json"
        if listing.is_file():
            break
    else:
        raise DataError(f"{path}: expected a markets.json beside it or one folder up, found none")
    try:
        rows = json.loads(listing.read_text())
        row = next((r for r in rows["markets"] if r["slug"] == slug), None)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{listing}: not a list of recorded markets: {error!r}") from error
    if row is None:
        raise DataError(f"{listing}: expected an entry with slug {slug!r}, found none")
    return row, rows


def _market_info(path: Path, row: dict[str, Any], rows: dict[str, Any]) -> MarketInfo:
    try:
        winner = row.get("winner_inferred") or row.get("winner")
        return MarketInfo(
            slug=row["slug"],
            condition_id=row["condition_id"],
            up_token_id=row["token_up"],
            down_token_id=row["token_down"],
            start_s=int(row["start"]),
            end_s=int(row["end"]),
            tick_e4=round(float(row.get("tick", 0.01)) * 1e4),
            min_size_micro=round(float(row.get("min_order_size") or rows.get("min_order_size", "5")) * 1e6),
            fee_rate=float(row.get("fee_rate", MarketInfo.fee_rate)),
            rebate_share=float(row.get("rebate_share", MarketInfo.rebate_share)),
            winner=None if winner is None else Outcome[str(winner).upper()],
            origin=str(rows.get("origin", "RECORDED")),
            exchange=str(row.get("exchange", MarketInfo.exchange)),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: its entry in markets.json is not that of a market: {error!r}") from error
