"""Recording the market feed of the embedded venue, and playing what was recorded."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from invmm.clock import LiveClock
from invmm.errors import DataError
from invmm.ops.record import Catalogue, Recorder, WindowFile, verify
from invmm.replay.player import frame_events
from invmm.replay.tape import MarketInfo, TapeFlag, load
from invmm.settings import EngineSettings, MarketSettings, Settings
from invmm.testing import Series as ServedSeries
from invmm.testing import TestVenue
from invmm.types import EventFlag, EventKind
from invmm.venue.discovery import Discovery
from invmm.venue.listing import Found
from invmm.venue.series import Series, Window

MINUTE = Series("btc-updown-1m", "btc", 60)
SETTINGS = Settings(engine=EngineSettings(book_max_age_ms=20_000), market=MarketSettings(open_before_s=20))
INFO = MarketInfo("btc-updown-5m-1", "0xab", "11", "22", 1, 301)


def record(
    folder: Path,
    windows: int,
    *,
    speed: float = 30.0,
    start_s: int | None = None,
    act: Callable[[TestVenue, Recorder], Any] | None = None,
    **options: Any,
) -> Recorder:
    with TestVenue(ServedSeries("btc-updown-1m", tape="light"), speed=speed, start_s=start_s) as venue:
        recorder = Recorder(
            MINUTE,
            folder,
            venue.market_url,
            Discovery(venue.profile).window_blocking,
            venue.clock(),
            SETTINGS,
            windows=windows,
            say=lambda text: said.append(text),
            **options,
        )
        said: list[str] = []

        async def run() -> None:
            stopping = asyncio.Event()
            task = asyncio.create_task(recorder.run(stopping))
            if act is not None:
                await asyncio.to_thread(act, venue, recorder)
            await asyncio.wait_for(task, 120)

        asyncio.run(run())
    recorder.said = said  # type: ignore[attr-defined]
    return recorder


def test_windows_are_recorded_verified_and_played_again(tmp_path: Path) -> None:
    recorder = record(tmp_path, 3)
    assert recorder.problems == []
    assert [verdict.passed for verdict in recorder.verdicts] == [True] * 3
    assert all(verdict.best_checks + verdict.hash_checks > 0 for verdict in recorder.verdicts)
    rows = json.loads((tmp_path / "markets.json").read_text())["markets"]
    assert len(rows) == 3
    for row in rows:
        path = tmp_path / f"{row['slug']}.jsonl.gz"
        tape = load(path)
        assert len(tape) == row["frames"] > 0
        assert tape.market.condition_id == row["condition_id"]
        assert row["winner"] in ("Up", "Down")
        assert verify(path).digest == verify(path).digest
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_recording_survives_lost_connections_and_marks_the_gap(tmp_path: Path) -> None:
    def act(venue: TestVenue, recorder: Recorder) -> None:
        end = time.monotonic() + 60
        while not any(p.stat().st_size for p in tmp_path.glob("*.jsonl")):
            assert time.monotonic() < end, "nothing was recorded"
            time.sleep(0.05)
        venue.fault("kill")

    # Slow, and ten seconds before a window: it is still open when its first frames have been seen on disk.
    recorder = record(tmp_path, 1, speed=5.0, start_s=1_795_280_390, act=act)
    assert recorder.problems == []
    (verdict,) = recorder.verdicts
    assert (verdict.gaps, verdict.decode_failures) == (1, 0)
    tape = load(next(tmp_path.glob("*.jsonl.gz")))
    marked = np.flatnonzero(tape.rows["flags"] & np.uint32(TapeFlag.GAP))
    assert len(marked) == 1
    assert tape.frame(int(marked[0])).startswith(b"[")
    events = frame_events(tape, 0)
    at = int(np.flatnonzero(events["flags"] & np.uint16(EventFlag.DISCONNECTED))[0])
    assert events["kind"][at] == EventKind.BUFFER_END
    assert events["kind"][at + 1] == EventKind.FRAME
    assert events["length"][at + 1] == tape.rows["length"][int(marked[0])]
    assert int((events["kind"] == EventKind.FRAME).sum()) == len(tape)


def test_frames_are_kept_byte_for_byte_and_time_to_the_microsecond(tmp_path: Path) -> None:
    frames = [
        b'[{"event_type":"book", "timestamp":"1"}]\n',
        b'{"event_type":"book",  "x":1.50}',
        b"not JSON \xff",
    ]
    file = WindowFile(tmp_path / f"{INFO.slug}.jsonl")
    for number, frame in enumerate(frames):
        file.on_frame(frame, 1_790_000_000_123_456_789 + number, True)
    file.on_disconnect(0)
    file.on_frame(frames[1], 1_790_000_001_000_000_000, True)
    file.close()
    assert (file.frames, file.gaps, file.odd) == (4, 1, 1)
    packed = file.compress()
    Catalogue(tmp_path, "btc-updown-5m").put(INFO)
    tape = load(packed)
    assert tape.frame(0) == frames[0].strip()
    assert tape.frame(1) == frames[1]
    assert tape.frame(2).startswith(b'"not JSON')
    assert tape.rows["recv_ns"].tolist()[0] == 1_790_000_000_123_456_000
    assert [int(flags) & TapeFlag.GAP for flags in tape.rows["flags"]] == [0, 0, 0, TapeFlag.GAP]
    assert not any(int(flags) & TapeFlag.CHECKPOINT for flags in tape.rows["flags"])


def test_what_is_known_of_a_market_comes_back_from_the_catalogue(tmp_path: Path) -> None:
    info = MarketInfo(
        *("a-b", "0xab", "11", "22", 1, 301),
        tick_e4=10,
        min_size_micro=15_000_000,
        fee_rate=0.05,
        rebate_share=0.1,
        exchange="v3",
    )
    Catalogue(tmp_path, "s").put(info)
    Catalogue(tmp_path, "s").put(INFO, winner="Down")
    (tmp_path / "a-b.jsonl").write_text('{"recv":1.5,"src":"live","frame":{"event_type":"book"}}\n')
    assert load(tmp_path / "a-b.jsonl").market == info
    assert len(Catalogue(tmp_path, "s").rows) == 2


def test_a_catalogue_that_is_none_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "markets.json").write_text("[]")
    with pytest.raises(DataError, match="expected a list of recorded markets"):
        Catalogue(tmp_path, "s")


def test_a_window_that_is_on_disk_is_not_recorded_again(tmp_path: Path) -> None:
    clock = LiveClock()
    start_s = clock.now_ns() // 10**9
    info = MarketInfo(f"btc-updown-5m-{start_s}", "0xab", "11", "22", start_s, start_s + 300)
    window = Window(info.slug, info.start_s, info.end_s)
    kept = tmp_path / f"{info.slug}.jsonl.gz"
    kept.write_bytes(b"kept")
    said: list[str] = []
    recorder = Recorder(
        Series.parse(info.slug),
        tmp_path,
        "ws://127.0.0.1:1/ws/market",
        lambda _: Found(window, info),
        clock,
        SETTINGS,
        say=said.append,
    )
    asyncio.run(asyncio.wait_for(recorder.run(asyncio.Event()), 30))
    assert kept.read_bytes() == b"kept"
    assert "not recorded, a file of it exists" in said[0]


def test_a_recording_that_contradicts_itself_is_not_verified(tmp_path: Path) -> None:
    record(tmp_path, 1, verified=False)
    (path,) = tmp_path.glob("*.jsonl.gz")
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    changed = [line.replace(b'"best_bid":"0.', b'"best_bid":"0.0') for line in lines]
    assert changed != lines
    path.write_bytes(gzip.compress(b"".join(changed)))
    verdict = verify(path)
    assert verdict.best_mismatches > 0
    assert not verdict.passed
    done = subprocess.run(
        [sys.executable, "-m", "invmm.ops.record", "--verify", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "NOT VERIFIED" in done.stdout


def test_the_command_records_until_it_is_stopped_and_leaves_whole_files(tmp_path: Path) -> None:
    with TestVenue(ServedSeries("btc-updown-5m", tape="light")) as venue:
        venue.market()
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "invmm.ops.cli",
                "record",
                "btc-updown-5m",
                "--out",
                str(tmp_path),
                "--profile",
                "loopback",
                "--port",
                str(venue.port),
                "--json",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            end = time.monotonic() + 60
            while not any(p.stat().st_size for p in tmp_path.glob("*.jsonl")):
                assert time.monotonic() < end
                assert process.poll() is None, process.communicate()
                time.sleep(0.1)
            time.sleep(1)
            os.kill(process.pid, signal.SIGTERM)
            out, err = process.communicate(timeout=60)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
    assert process.returncode == 130, err
    told = json.loads(out)
    assert told["problems"] == []
    assert [verdict["decode_failures"] for verdict in told["verdicts"]] == [0] * len(told["verdicts"])
    assert len(load(next(tmp_path.glob("*.jsonl.gz")))) >= 1


def test_the_command_says_what_it_needs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "invmm.ops.cli", "record", "btc-updown-5m"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "expected SERIES and --out DIR" in done.stderr
