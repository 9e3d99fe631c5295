"""The journal: what was appended is read back, in order and whole, whatever happened to the file."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import numpy as np
import pytest

from invmm import journal_types as layout
from invmm._ext import journal as kernel
from invmm.clock import ReplayClock
from invmm.errors import ConfigError, DataError
from invmm.execution.journal import SessionJournal, read_stream
from invmm.execution.journaled import joined, read_file, text_of
from invmm.journal_types import (
    JOURNAL_DTYPE,
    PAYLOAD_BYTES,
    RECORD_BYTES,
    EndReason,
    JournalKind,
)
from invmm.settings import StateSettings
from tests.project.sources import ROOT
from tests.project.test_records import C_TYPES

SETTINGS = StateSettings(journal_records=1024, journal_files=2)
PXD = ROOT / "invmm/_ext/journal.pxd"


def session(folder: Path, settings: StateSettings = SETTINGS, **words: object) -> SessionJournal:
    return SessionJournal(folder, settings, ReplayClock(10**18), background=False, **words)  # type: ignore[arg-type]


def notes(folder: Path, stream: str = "inputs") -> list[str]:
    return [
        text_of(file.records, i)
        for file in read_stream(folder, stream)
        for i in np.flatnonzero(file.records["kind"] == JournalKind.NOTE)
    ]


def structure(name: str) -> type[ctypes.Structure]:
    match = re.search(rf"cdef struct {name}:\n((?:    .*\n|\n)+)", PXD.read_text() + "\n")
    assert match, f"journal.pxd has no struct {name}"
    fields: list[tuple[str, type]] = []
    for line in match[1].splitlines():
        code = line.split("#", 1)[0].strip()
        if code:
            kind, field = code.split()
            c_type, _, count = kind.partition("[")
            fields.append((field, C_TYPES[c_type] * int(count.rstrip("]")) if count else C_TYPES[c_type]))
    return type(name, (ctypes.Structure,), {"_fields_": fields})


@pytest.mark.parametrize(
    ("name", "dtype", "size"),
    [
        ("record_t", layout.JOURNAL_DTYPE, RECORD_BYTES),
        ("quote_t", layout.QUOTE_DTYPE, PAYLOAD_BYTES),
        ("journaled_order_t", layout.ORDER_DTYPE, PAYLOAD_BYTES),
    ],
)
def test_layouts_in_c_and_numpy_are_one(name: str, dtype: np.dtype[np.void], size: int) -> None:
    made = structure(name)
    assert ctypes.sizeof(made) == dtype.itemsize == size
    assert dtype.fields is not None
    offsets = {field: place[1] for field, place in dtype.fields.items()}
    assert offsets == {field: getattr(made, field).offset for field, _ in made._fields_}  # type: ignore[misc]


def test_other_payloads_fill_a_record() -> None:
    for dtype in (layout.FILE_DTYPE, layout.MARKET_DTYPE, layout.CHECKPOINT_DTYPE):
        assert dtype.itemsize == PAYLOAD_BYTES


def test_kinds_and_flags_in_c_are_those_of_the_table() -> None:
    numbers = dict(re.findall(r"^    (?:KIND|FLAG)_(\w+) = (\d+)", PXD.read_text(), re.MULTILINE))
    named = {each.name: str(int(each)) for enum in (JournalKind, layout.JournalFlag) for each in enum}
    assert numbers == named


def test_the_checksum_is_crc32c_by_instruction_and_by_table() -> None:
    # RFC 3720, B.4: 32 bytes of zeros, of ones, and counting up.
    vectors = [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ]
    for data, expected in vectors:
        assert kernel.checksum(data) == kernel.checksum_by_table(data) == expected
    whole = bytes(range(251)) * 3
    assert kernel.checksum(whole[100:], kernel.checksum(whole[:100])) == kernel.checksum(whole)
    assert kernel.checksum_by_table(whole) == kernel.checksum(whole)


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    with session(tmp_path) as journal:
        for i in range(5):
            assert journal.inputs.append(JournalKind.NOTE, f"line {i}".encode(), time_ns=i, link=7)
        assert journal.intents.append(JournalKind.NOTE, b"other")
    (file,) = read_stream(tmp_path, "inputs")
    assert file.records["sequence"].tolist() == [1, 2, 3, 4, 5, 6]
    assert file.records["time_ns"][:5].tolist() == [0, 1, 2, 3, 4]
    assert file.records["link"][:5].tolist() == [7] * 5
    assert file.end == layout.JournalEnd(EndReason.CLOSED, 6, 7 * RECORD_BYTES)
    assert notes(tmp_path) == [f"line {i}" for i in range(5)]
    assert notes(tmp_path, "intents") == ["other"]


def test_a_reader_sees_records_while_they_are_written(tmp_path: Path) -> None:
    with session(tmp_path) as journal:
        path = tmp_path / "inputs-00000001.journal"
        for i in range(3):
            journal.inputs.append(JournalKind.NOTE, b"x")
            records, end = kernel.read(path)
            assert len(records) == i + 1
            assert end == layout.JournalEnd(EndReason.UNWRITTEN, i + 1, (i + 2) * RECORD_BYTES)


def test_a_long_payload_goes_on_in_further_records(tmp_path: Path) -> None:
    text = bytes(range(1, 256)) * 3
    with session(tmp_path) as journal:
        journal.inputs.append(JournalKind.NOTE, text)
        journal.inputs.append(JournalKind.NOTE, b"next")
    (file,) = read_stream(tmp_path, "inputs")
    assert joined(file.records, 0)[: len(text)] == text
    assert notes(tmp_path)[1] == "next"


def test_a_full_file_is_followed_by_the_one_that_waits(tmp_path: Path) -> None:
    with session(tmp_path) as journal:
        for i in range(3000):
            assert journal.inputs.append(JournalKind.NOTE, str(i).encode())
            if i % 500 == 0:
                journal.tend()
    files = list(read_stream(tmp_path, "inputs"))
    assert [len(file.records) for file in files] == [1024, 1024, 953]
    assert [file.end.reason for file in files] == [EndReason.FULL, EndReason.FULL, EndReason.CLOSED]
    assert notes(tmp_path) == [str(i) for i in range(3000)]
    assert len({file.session for file in files}) == 1


def test_without_a_next_file_nothing_is_appended_until_there_is_one(tmp_path: Path) -> None:
    with session(tmp_path) as journal:
        assert journal.inputs.room == 2048
        for _ in range(2048):
            assert journal.inputs.append(JournalKind.NOTE, b"x")
        assert journal.inputs.room == 0
        assert "no room" in journal.failed
        assert not journal.inputs.append(JournalKind.NOTE, b"lost")
        assert journal.inputs.refused == 1
        journal.tend()
        assert journal.failed == ""
        assert journal.inputs.append(JournalKind.NOTE, b"found")
    last = list(read_stream(tmp_path, "inputs"))[-1]
    assert text_of(last.records, 0) == "found"
    assert last.records["flags"][0] == layout.JournalFlag.LOST
    assert last.records["sequence"][0] == 2049


def test_a_new_session_begins_new_files(tmp_path: Path) -> None:
    for name in (b"first", b"second"):
        with session(tmp_path) as journal:
            journal.inputs.append(JournalKind.NOTE, name)
    files = list(read_stream(tmp_path, "inputs"))
    assert [file.number for file in files] == [1, 2]
    assert files[0].session != files[1].session
    assert notes(tmp_path) == ["first", "second"]


def test_the_first_record_says_whose_file_it_is(tmp_path: Path) -> None:
    account = "0x" + "ab" * 20
    with session(tmp_path, account=account, digest=b"\x07" * 32):
        pass
    (file,) = read_stream(tmp_path, "intents")
    assert file.header["account"].tobytes().hex() == "ab" * 20
    assert file.header["digest"].tobytes() == b"\x07" * 32
    assert file.header["stream"] == layout.Stream.INTENTS
    assert file.header["started_ns"] == 10**18
    assert file.header["records"] == 1024


def test_after_close_nothing_is_appended(tmp_path: Path) -> None:
    journal = session(tmp_path)
    journal.close()
    journal.close()
    assert journal.inputs.room == 0
    assert not journal.inputs.append(JournalKind.NOTE, b"late")
    assert notes(tmp_path) == []


def test_a_file_that_is_no_journal_is_named(tmp_path: Path) -> None:
    path = tmp_path / "inputs-00000001.journal"
    path.write_bytes(b"something else" * 50)
    with pytest.raises(DataError, match=r"inputs-00000001\.journal: expected a journal file"):
        read_file(path)
    assert kernel.read(path)[1].reason is EndReason.HEADER
    assert list(read_stream(tmp_path, "inputs")) == []
    with pytest.raises(DataError, match="cannot be read"):
        read_file(tmp_path / "absent.journal")


def test_a_full_disk_is_refused_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(ConfigError, match="No space left"):
        session(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_memory_for_a_file_must_be_whole_records() -> None:
    journal = kernel.Journal()
    header = bytes(PAYLOAD_BYTES)
    for size in (RECORD_BYTES, 3 * RECORD_BYTES + 1):
        with pytest.raises(ValueError, match="expected"):
            journal.offer(bytearray(size), header, 0)
    journal.offer(bytearray(2 * RECORD_BYTES), header, 0)
    journal.offer(bytearray(2 * RECORD_BYTES), header, 0)
    with pytest.raises(ValueError, match="waits already"):
        journal.offer(bytearray(2 * RECORD_BYTES), header, 0)


def test_a_whole_record_at_another_place_does_not_count(tmp_path: Path) -> None:
    with session(tmp_path) as journal:
        for name in (b"one", b"two", b"three"):
            journal.inputs.append(JournalKind.NOTE, name)
    path = tmp_path / "inputs-00000001.journal"
    data = bytearray(path.read_bytes())
    two = data[2 * RECORD_BYTES : 3 * RECORD_BYTES]
    data[3 * RECORD_BYTES : 4 * RECORD_BYTES] = two
    records, end = kernel.read_bytes(bytes(data))
    assert len(records) == 2
    assert end.reason is EndReason.SEQUENCE
    assert records.dtype == JOURNAL_DTYPE


def test_what_follows_a_torn_record_can_be_salvaged(tmp_path: Path) -> None:
    with session(tmp_path) as journal:
        for name in (b"one", b"two", b"three"):
            journal.inputs.append(JournalKind.NOTE, name)
    path = tmp_path / "inputs-00000001.journal"
    data = bytearray(path.read_bytes())
    data[2 * RECORD_BYTES + 40] ^= 1
    path.write_bytes(data)
    assert notes(tmp_path) == ["one"]
    file = read_file(path, salvage=True)
    assert file.is_salvaged
    assert [text_of(file.records, i) for i in range(2)] == ["one", "three"]
