"""The memory that frames are read in: shared by all books of a thread, by no two threads."""

import threading

import pytest

from invmm._ext.decode import MarketBooks
from invmm.types import Side
from tests.unit.test_decode import DOWN, MIRRORED, SHARE, SNAPSHOT, UP, book, compact, price_change


@pytest.fixture
def books() -> MarketBooks:
    books = MarketBooks(UP, DOWN)
    assert books.apply_frame(SNAPSHOT, 1) == 8
    return books


def test_changes_of_a_frame_are_gone_when_another_market_of_the_thread_has_one(books: MarketBooks) -> None:
    other = MarketBooks("1", "2")
    assert books.apply_frame(MIRRORED, 1) == 2
    assert other.apply_frame(compact(book("2", {"0.5": "1"}, {})), 1) == 1
    with pytest.raises(RuntimeError, match="another market"):
        books.changes_of_last_frame()
    assert other.changes_of_last_frame() == [(1, 0, 5000, 0, SHARE)]


def test_books_move_between_threads_and_threads_do_not_share_a_frame(books: MarketBooks) -> None:
    found: list[int] = []

    def feed() -> None:
        own = MarketBooks(UP, DOWN)
        for n in range(200):
            frame = price_change((UP, "0.5", str(n + 1), "BUY", "0.5", "0.51"))
            found.append(own.apply_frame(frame, n))
            # The parser's path takes the lock and may hand it over to another thread half way.
            found.append(own.apply_frame(frame.replace(b'"BUY"', b'"\\u0042UY"'), n))
        found.append(own.up.size(Side.BUY, 5000) // SHARE)

    threads = [threading.Thread(target=feed) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0] * 800 + [1] * 800 + [200] * 4
    mover = threading.Thread(target=lambda: found.append(books.apply_frame(MIRRORED, 1)))
    mover.start()
    mover.join()
    assert found[-1] == 2
