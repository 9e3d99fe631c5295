"""Recorded files become tapes, byte for byte; damaged ones say where."""

import gzip
import json

import pytest

from invmm.errors import DataError
from invmm.replay.tape import MarketInfo, TapeFlag, find, load, pack
from invmm.types import Outcome

LINES = [
    b'{"recv":1700000000.5,"src":"der","frame":'
    b'[{"asset_id":"1", "timestamp":"1700000000490", "event_type":"book"}]}',
    b'{"recv":1700000001.25,"src":"der","frame":'
    b'{"market":"0x1", "timestamp":"1700000001240", "event_type":"price_change"}}',
    b'{"recv":1700000001.25,"src":"rec","frame":{"market":"0x1","timestamp":"1700000001240","event_type":"book"}}',
]
LISTING = {
    "min_order_size": "5",
    "markets": [
        {
            "slug": "m-1",
            "condition_id": "0x1",
            "token_up": "1",
            "token_down": "2",
            "start": 1700000000,
            "end": 1700000300,
            "winner_inferred": "Down",
        }
    ],
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "markets.json").write_text(json.dumps(LISTING))
    (tmp_path / "replay").mkdir()
    return tmp_path / "replay"


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_frames_keep_their_bytes_and_times(folder, suffix):
    path = folder / f"m-1.{suffix}"
    data = b"\n".join(LINES) + b"\n"
    path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    tape = load(path)
    assert len(tape) == 3
    assert tape.frame(1) == b'{"market":"0x1", "timestamp":"1700000001240", "event_type":"price_change"}'
    assert tape.rows["recv_ns"].tolist() == [1700000000500000000, 1700000001250000000, 1700000001250000000]
    assert tape.rows["venue_ms"].tolist() == [1700000000490, 1700000001240, 1700000001240]
    assert tape.rows["flags"].tolist() == [
        TapeFlag.DERIVED | TapeFlag.BUFFER_END,
        TapeFlag.DERIVED,
        TapeFlag.CHECKPOINT | TapeFlag.BUFFER_END,
    ]
    assert tape.market.winner == Outcome.DOWN


def test_damage_is_named_with_file_and_line(folder):
    path = folder / "m-1.jsonl"
    path.write_bytes(LINES[0] + b'\n{"recv":1}\n')
    with pytest.raises(DataError, match=r"m-1\.jsonl:2"):
        load(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="empty"):
        load(path)
    packed = folder / "m-1.jsonl.gz"
    packed.write_bytes(gzip.compress(b"\n".join(LINES))[:-20])
    with pytest.raises(DataError, match="damaged gzip"):
        load(packed)


def test_unlisted_market_and_missing_listing_are_named(folder):
    path = folder / "m-2.jsonl"
    path.write_bytes(LINES[0])
    with pytest.raises(DataError, match="'m-2'"):
        load(path)
    (folder.parent / "markets.json").unlink()
    with pytest.raises(DataError, match=r"markets\.json"):
        load(path)


def test_find_takes_files_and_folders_in_order(folder):
    for name in ("b.jsonl", "a.jsonl.gz", "c.txt"):
        (folder / name).write_bytes(b"")
    assert [p.name for p in find([folder])] == ["a.jsonl.gz", "b.jsonl"]
    with pytest.raises(DataError, match="no such file"):
        find([folder / "x"])
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="found none"):
        find([folder / "empty"])
    with pytest.raises(DataError, match="none was named"):
        find([])


def test_time_that_goes_back_is_refused():
    info = MarketInfo("m", "0x1", "1", "2", 0, 300)
    with pytest.raises(DataError, match="frame 2"):
        pack(info, [(5, 0, 0, b"a"), (4, 0, 0, b"b")])
    with pytest.raises(DataError, match="neither"):
        info.outcome_of("3")
