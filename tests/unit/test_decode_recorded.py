"""Recorded markets through the decoder: all is read, every check holds, one flipped value is seen."""

import json
import os
from pathlib import Path

import pytest

from invmm._ext.decode import MarketBooks
from invmm.replay.tape import Tape, TapeFlag, find, load
from tests.unit.test_decode import DOWN, UP

RECORDED = os.environ.get("INVMM_RECORDED")
needs_recorded = pytest.mark.skipif(RECORDED is None, reason="INVMM_RECORDED is not set")


def run(tape: Tape, flip: dict[int, bytes] | None = None) -> tuple[MarketBooks, int, int]:
    """Applies a tape; gives books, checkpoints and those of them that changed a level."""
    books = MarketBooks(tape.market.up_token_id, tape.market.down_token_id)
    checkpoints = mismatches = 0
    flags = tape.rows["flags"].tolist()
    for index, frame in enumerate(tape.frames()):
        changed = books.apply_frame((flip or {}).get(index, frame), index)
        assert changed >= 0, books.last_error
        if flags[index] & TapeFlag.CHECKPOINT:
            checkpoints += 1
            mismatches += changed != 0
    books.end_batch()
    books.up.check()
    books.down.check()
    return books, checkpoints, mismatches


@pytest.mark.recorded
@needs_recorded
def test_all_recorded_markets_are_maintained_exactly() -> None:
    assert RECORDED is not None
    checkpoints = mismatches = frames = template = 0
    for path in find([Path(RECORDED) / "btc5m-20260416" / "replay"]):
        books, found, wrong = run(load(path))
        stats = books.stats
        checkpoints += found
        mismatches += wrong
        frames += stats["frames"]
        template += stats["template_frames"]
        assert stats["decode_failures"] == {}
        assert stats["fallback_frames"] == 0
        assert stats["best_checks"] > 0
        assert stats["best_mismatches"] == 0
        assert stats["mirror_checks"] > 0
        assert stats["mirror_mismatches"] == 0
        assert stats["unknown_assets"] == 0
    assert (checkpoints, mismatches) == (1313, 0)
    assert template / frames > 0.93


@pytest.fixture(scope="module")
def tape() -> Tape:
    assert RECORDED is not None
    return load(Path(RECORDED) / "btc5m-20260416" / "replay" / "btc-updown-5m-1776327600.jsonl.gz")


def find_frame(tape: Tape, wanted: bytes, after: int) -> int:
    return next(i for i, frame in enumerate(tape.frames()) if i > after and wanted in frame)


@pytest.mark.recorded
@needs_recorded
def test_one_flipped_level_is_seen_at_the_next_checkpoint(tape: Tape) -> None:
    checkpoint = next(i for i in range(2000, len(tape)) if tape.rows["flags"][i] & TapeFlag.CHECKPOINT)
    frame = tape.frame(checkpoint)
    flipped = frame.replace(b'"size":"', b'"size":"7', 1)
    _, checkpoints, mismatches = run(tape, {checkpoint: flipped})
    assert checkpoints > 1
    assert mismatches >= 1


@pytest.mark.recorded
@needs_recorded
def test_one_flipped_best_is_counted(tape: Tape) -> None:
    stamp, last = b"", 0
    for index, frame in enumerate(tape.frames()):  # the last price_change of some batch
        if b'"price_change"' in frame and index > 500:
            now = frame[frame.rindex(b'"timestamp"') :]
            if stamp and now != stamp:
                break
            stamp, last = now, index
    flipped = tape.frame(last).replace(b'"best_bid":"0.', b'"best_bid":"0.0', 1)
    books, _, _ = run(tape, {last: flipped})
    assert books.stats["best_mismatches"] == 1


@pytest.mark.recorded
@needs_recorded
def test_one_flipped_mirror_size_is_counted(tape: Tape) -> None:
    index = find_frame(tape, b'"price_change"', 500)
    books, _, _ = run(tape, {index: tape.frame(index).replace(b'"size":"', b'"size":"9', 1)})
    assert books.stats["mirror_mismatches"] >= 1


@pytest.mark.recorded
@needs_recorded
def test_all_captured_messages_decode() -> None:
    assert RECORDED is not None
    samples = sorted((Path(RECORDED).parent / "reference" / "samples").glob("ws_market_*"))
    assert len(samples) >= 12
    for path in samples:
        books = MarketBooks(UP, DOWN)
        texts = [path.read_bytes()]
        if path.suffix == ".jsonl":
            texts = path.read_bytes().splitlines()
            if "capture" in path.name:
                texts = [json.loads(line)["payloadUtf8"].encode() for line in texts]
        for text in texts:
            assert books.apply_frame(text, 1) >= 0, (path.name, books.last_error)
        books.end_batch()
        assert books.stats["fallback_frames"] == 0
        assert books.stats["best_mismatches"] == 0
        assert books.stats["mirror_mismatches"] == 0
