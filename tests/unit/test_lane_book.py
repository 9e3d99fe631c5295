"""The lane's book refuses what could have a second effect, before it is written down."""

from __future__ import annotations

from typing import Any

import pytest

from invmm.errors import DataError
from invmm.settlement.fees import Fees
from invmm.settlement.lane_book import Attempt, LaneBook, Progress
from invmm.settlement.nodes import Receipt
from tests.unit.fake_chain import ACCOUNT, MemoryJournal, merge_job


def attempt(nonce: int) -> Attempt:
    return Attempt(nonce, f"0x{nonce:064x}", b"\x02", Fees(2, 1), 21_000, 1)


def job_of(book: LaneBook, name: str) -> Progress:
    book.add(merge_job(name))
    found = book.progress(name)
    assert found is not None
    return found


@pytest.fixture
def disk() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def book(disk: list[dict[str, Any]]) -> LaneBook:
    return LaneBook(MemoryJournal(disk), ACCOUNT, 137)


def test_a_second_nonce_for_a_call_is_neither_written_nor_taken(
    book: LaneBook, disk: list[dict[str, Any]]
) -> None:
    job = job_of(book, "a")
    book.sending(job, attempt(3))
    length = len(disk)
    with pytest.raises(ValueError, match="nonce 4 beside 3"):
        book.sending(job, attempt(4))
    assert len(disk) == length
    book.sending(job, attempt(3))
    assert len(job.attempts) == 2


def test_a_second_job_in_flight_is_neither_written_nor_taken(book: LaneBook) -> None:
    first, second = job_of(book, "a"), job_of(book, "b")
    book.sending(first, attempt(3))
    with pytest.raises(ValueError, match="b beside a"):
        book.sending(second, attempt(4))


def test_a_nonce_that_is_used_up_is_not_used_again(book: LaneBook) -> None:
    first, second = job_of(book, "a"), job_of(book, "b")
    book.sending(first, attempt(3))
    book.used(first, Receipt(first.transaction, 9, "0xb", False, 21_000, 5, []), {})
    with pytest.raises(ValueError, match="nonce 3 is used up, the next one is 4"):
        book.sending(second, attempt(3))
    with pytest.raises(ValueError, match="is not the one in flight"):
        book.sending(first, attempt(4))


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "sending", "name": "nobody"},
        {"kind": "end", "name": "a", "state": "nonsense", "reason": "", "halts": False},
        {"kind": "unheard"},
        {"kind": "job", "name": "b", "calls": [[1]], "changes": []},
        {"kind": "job", "name": "b", "calls": [], "changes": [["gold", 0, 1]]},
    ],
)
def test_a_record_that_does_not_fit_is_an_error_that_names_its_place(
    book: LaneBook, disk: list[dict[str, Any]], record: dict[str, Any]
) -> None:
    job_of(book, "a")
    disk.append(record)
    with pytest.raises(DataError, match="record 3 does not fit"):
        LaneBook(MemoryJournal(disk), ACCOUNT, 137)
