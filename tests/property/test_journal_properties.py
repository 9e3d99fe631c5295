"""Whatever happens to a journal file, what is read back was written, in order, from the beginning."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from invmm._ext import journal as kernel
from invmm.execution.journaled import joined
from invmm.journal_types import JOURNAL_DTYPE, RECORD_BYTES, EndReason, JournalKind, Records
from tests.reference import journal as twin


def a_file(lines: list[bytes], room: int = 8) -> bytes:
    """A journal file in memory, with room for at least that many more."""
    memory = bytearray((1 + len(lines) + room) * RECORD_BYTES)
    journal = kernel.Journal()
    journal.offer(memory, twin.header(), 5)
    for i, line in enumerate(lines):
        assert journal.append(JournalKind.NOTE, line, i, i * i)
    return bytes(memory)


LINES = [bytes([65 + i]) * (11 * i) for i in range(11)]
FILE = a_file(LINES)


def is_beginning(records: Records, of: bytes) -> bool:
    """Whether these are the first records that were written."""
    written = np.frombuffer(of, JOURNAL_DTYPE, len(LINES), RECORD_BYTES)
    return records.tobytes() == written[: len(records)].tobytes()


def test_a_file_cut_anywhere_gives_its_beginning() -> None:
    for size in range(len(FILE)):
        records, end = kernel.read_bytes(FILE[:size])
        assert is_beginning(records, FILE)
        assert len(records) == max(0, min(len(LINES), size // RECORD_BYTES - 1))
        if size < RECORD_BYTES:
            assert end.reason is EndReason.HEADER
        elif size < (1 + len(LINES)) * RECORD_BYTES:
            assert end.reason is EndReason.SHORT
            assert end.is_torn


def test_any_bit_flipped_anywhere_is_seen() -> None:
    data = bytearray(FILE)
    for place in range((1 + len(LINES)) * RECORD_BYTES):
        data[place] ^= 1 << place % 8
        records, end = kernel.read_bytes(bytes(data))
        assert end.is_torn
        assert len(records) == max(0, place // RECORD_BYTES - 1)
        assert is_beginning(records, FILE)
        data[place] ^= 1 << place % 8


@given(
    st.lists(
        st.tuples(st.integers(0, len(FILE) - 1), st.binary(min_size=1, max_size=400)), min_size=1, max_size=4
    )
)
def test_whatever_is_written_over_it_no_wrong_record_is_read(wounds: list[tuple[int, bytes]]) -> None:
    data = bytearray(FILE)
    for at, junk in wounds:
        data[at : at + len(junk)] = junk[: len(data) - at]
    records, end = kernel.read_bytes(bytes(data))
    assert (records.tobytes(), end) == twin.read(bytes(data))
    assert is_beginning(records, FILE)
    header = kernel.header_of(bytes(data))
    if header is not None:
        sound = kernel.whole(bytes(data), 1)
        assert sound[: len(records)].all()
        written = np.frombuffer(FILE, JOURNAL_DTYPE, len(sound), RECORD_BYTES)
        found = np.frombuffer(bytes(data), JOURNAL_DTYPE, len(sound), RECORD_BYTES)
        assert found[sound].tobytes() == written[sound].tobytes()


@given(st.permutations(range(len(LINES))))
def test_records_in_another_order_end_where_the_order_does(order: list[int]) -> None:
    rows = [FILE[(1 + i) * RECORD_BYTES : (2 + i) * RECORD_BYTES] for i in order]
    data = FILE[:RECORD_BYTES] + b"".join(rows) + FILE[(1 + len(LINES)) * RECORD_BYTES :]
    records, end = kernel.read_bytes(data)
    right = next((at for at, i in enumerate(order) if at != i), len(LINES))
    assert len(records) == right
    assert end.reason is (EndReason.UNWRITTEN if right == len(LINES) else EndReason.SEQUENCE)


@given(st.binary(max_size=1000))
def test_anything_at_all_can_be_read(data: bytes) -> None:
    assert kernel.read_bytes(data)[0].size == 0
    assert kernel.scan(data, 1)[0] <= len(data) // RECORD_BYTES
    assert len(kernel.whole(data, 1)) == max(0, len(data) // RECORD_BYTES - 1)


@given(st.lists(st.binary(max_size=300), max_size=40), st.integers(1, 30))
def test_lines_of_any_length_come_back_over_any_number_of_files(lines: list[bytes], size: int) -> None:
    files: list[bytearray] = []
    journal = kernel.Journal()

    def offer() -> None:
        files.append(bytearray((1 + size) * RECORD_BYTES))
        journal.offer(files[-1], twin.header(), 5)

    offer()
    offer()
    kept = []
    for line in lines:
        before = journal.sequence
        if journal.append(JournalKind.NOTE, line):
            kept.append(line)
        else:
            assert journal.sequence == before  # all of it or nothing
        if journal.collect():
            offer()
    parts = [kernel.read_bytes(bytes(file))[0] for file in files]
    records = np.concatenate(parts)
    assert records["sequence"].tolist() == list(range(1, len(records) + 1))
    starts = np.flatnonzero(records["kind"] == JournalKind.NOTE)
    assert [joined(records, int(i)).rstrip(b"\0") for i in starts] == [line.rstrip(b"\0") for line in kept]
