"""The lane's journal: what is in it survives whatever interrupts the writing of the next record."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from invmm.errors import DataError, InUseError
from invmm.settlement import lane_journal
from invmm.settlement.lane_journal import LaneJournal

RECORDS = ({"kind": "job", "name": "a"}, {"kind": "sending", "raw": "ab" * 40, "token": 2**255 + 1})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    journal = LaneJournal(tmp_path / "lane")
    for record in RECORDS:
        journal.append(record)
    journal.close()
    return journal.path


def found(path: Path) -> tuple[dict[str, object], ...]:
    journal = LaneJournal(path)
    journal.close()
    return journal.records


def test_records_come_back_as_they_were(path: Path) -> None:
    assert found(path) == RECORDS
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_last_record_torn_anywhere_is_removed_and_the_next_one_takes_its_place(path: Path) -> None:
    content = path.read_bytes()
    second = content.index(b"\n") + 1
    for end in range(second, len(content)):
        path.write_bytes(content[:end])
        journal = LaneJournal(path)
        assert journal.records == RECORDS[:1]
        journal.append(RECORDS[1])
        journal.close()
        assert path.read_bytes() == content


def test_a_last_record_with_a_page_that_never_reached_the_disk_is_removed(path: Path) -> None:
    content = path.read_bytes()
    second = content.index(b"\n") + 1
    path.write_bytes(content[:second] + bytes(20) + content[second + 20 :])
    assert found(path) == RECORDS[:1]


def test_damage_to_a_whole_record_is_refused_wherever_it_is(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for place in (12, content.index(b"\n") + 12):
        damaged = content.copy()
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="expected its checksum to match"):
            LaneJournal(path)


def test_a_second_lane_on_the_same_file_is_refused(path: Path) -> None:
    journal = LaneJournal(path)
    with pytest.raises(InUseError, match="no other lane"):
        LaneJournal(path)
    journal.close()
    LaneJournal(path).close()


@pytest.mark.parametrize("failing", ["pwrite", "fsync"])
def test_a_record_that_could_not_be_written_is_not_there(
    path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    journal = LaneJournal(path)
    whole = getattr(os, failing)
    calls = []

    def fail_once(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 1:
            if failing == "pwrite":
                whole(arguments[0], b"half", arguments[2])
            raise OSError(28, "no space left on device")
        return whole(*arguments)

    monkeypatch.setattr(lane_journal.os, failing, fail_once)
    with pytest.raises(OSError, match="no space"):
        journal.append({"kind": "lost"})
    monkeypatch.undo()
    journal.append({"kind": "next"})
    journal.close()
    assert found(path) == (*RECORDS, {"kind": "next"})


def test_after_a_record_that_cannot_be_taken_back_nothing_is_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = LaneJournal(path)

    def fail(*_: object) -> None:
        raise OSError(5, "input/output error")

    monkeypatch.setattr(lane_journal.os, "fsync", fail)
    with pytest.raises(OSError, match="input/output"):
        journal.append({"kind": "lost"})
    monkeypatch.undo()
    with pytest.raises(OSError, match="could not be taken back"):
        journal.append({"kind": "next"})
    journal.close()


def test_replacing_all_records_leaves_the_old_or_the_new_ones_whatever_interrupts_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = ({"kind": "until"}, {"kind": "ended"})
    for failing, left in (("pwrite", RECORDS), ("rename", RECORDS), (None, new)):
        journal = LaneJournal(path)
        with monkeypatch.context() as patch:
            if failing:
                patch.setattr(lane_journal.os, failing, lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
                with pytest.raises(OSError, match="full"):
                    journal.replace(new)
            else:
                journal.replace(new)
        journal.append({"kind": "next"})
        with pytest.raises(InUseError):
            LaneJournal(path)
        journal.close()
        assert found(path) == (*left, {"kind": "next"})
        journal = LaneJournal(path)
        journal.replace(RECORDS)
        journal.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_every_record_is_on_disk_before_append_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = LaneJournal(path)
    steps = []
    pwrite, fsync = os.pwrite, os.fsync
    monkeypatch.setattr(lane_journal.os, "pwrite", lambda *a: (steps.append("write"), pwrite(*a))[1])
    monkeypatch.setattr(lane_journal.os, "fsync", lambda *a: (steps.append("sync"), fsync(*a))[1])
    journal.append({"kind": "a"})
    assert steps == ["write", "sync"]
    journal.close()
