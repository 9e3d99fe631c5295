"""The file of what limits have used up (`execution/risk_file.py`): what is read back, refused and kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invmm.errors import ConfigError
from invmm.execution.losses import Kept
from invmm.execution.risk_file import LatestWriter, RiskRecord, load, parse


def test_the_file_says_what_was_written_and_nothing_else_is_accepted(tmp_path: Path) -> None:
    record = RiskRecord(
        20_000, 19_999, 2, [(1_728_000_000, 3)], {"0xab": Kept(-5, 2, 20_000)}, {"0xcd": (7, 9)}
    )
    assert parse(record.as_json()) == record
    path = tmp_path / "risk.json"
    assert load(path) is None
    good = json.loads(record.as_json())
    for wrong in (
        b"",
        b"{}",
        b"[]",
        record.as_json()[:-3],
        json.dumps(good | {"more": 1}).encode(),
        json.dumps(good | {"version": 2}).encode(),
        json.dumps(good | {"kill_level": True}).encode(),
        json.dumps(good | {"kill_level": 4}).encode(),
        json.dumps(good | {"day": "yesterday"}).encode(),
        json.dumps(good | {"minute": [[1, -1]]}).encode(),
        json.dumps(good | {"markets": {"0xab": {"worst_micro": float("nan")}}}).encode(),
        record.as_json().replace(b'"version": 1', b'"version": 1, "version": 1'),
        b"[" * 100_000,
        b"\xff",
    ):
        path.write_bytes(wrong)
        with pytest.raises(ConfigError, match=r"risk\.json: expected the risk figures") as caught:
            load(path)
        assert path.read_bytes() == wrong, "it is never reset"
        assert "not begun anew" in str(caught.value)


@given(st.binary(max_size=200))
def test_no_content_of_the_file_is_more_than_an_error(content: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        parse(content)


def test_a_writer_keeps_the_newest_and_says_when_it_cannot(tmp_path: Path) -> None:
    writer = LatestWriter(tmp_path / "risk.json")
    for number in range(50):
        writer.put(b"%d" % number)
    writer.close()
    assert (tmp_path / "risk.json").read_bytes() == b"49"
    assert 1 <= writer.written <= 50
    lost = LatestWriter(tmp_path / "gone" / "risk.json")
    lost.put(b"1")
    lost.close()
    assert "cannot be written" in (lost.error or "")
