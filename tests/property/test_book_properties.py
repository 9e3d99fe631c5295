"""The compiled book equals two dicts under any sequence of operations, and its invariants hold after each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invmm._ext.book import Book
from tests.reference.book import ReferenceBook

SIZES = st.one_of(st.just(0), st.integers(1, 10**15))
PRICES = st.one_of(
    st.integers(1, 99).map(lambda n: n * 100), st.integers(1, 999).map(lambda n: n * 10), st.integers(1, 9999)
)
OPERATIONS = st.lists(st.tuples(st.integers(0, 1), PRICES, SIZES), max_size=30)
Operations = list[tuple[int, int, int]]


def agree(book: Book, twin: ReferenceBook) -> None:
    book.check()
    for side in (0, 1):
        assert book.depth(side).tolist() == twin.depth(side)
        assert book.depth(side, 3).tolist() == twin.depth(side, 3)
        assert book.count(side) == len(twin.sides[side])
    assert book.best_bid() == twin.best(0)
    assert book.best_ask() == twin.best(1)


@given(st.sampled_from([1, 10, 25, 100, 1000]), OPERATIONS)
def test_book_equals_its_twin_after_every_update(tick: int, operations: Operations) -> None:
    book, twin = Book(tick), ReferenceBook()
    for side, price, size in operations:
        assert book.apply(side, price, size) == twin.apply(side, price, size)
        assert book.size(1 - side, price) == twin.size(1 - side, price)
        agree(book, twin)


@given(OPERATIONS, OPERATIONS)
def test_replace_equals_the_same_levels_applied_to_an_empty_book(
    before: Operations, levels: Operations
) -> None:
    book, twin = Book(), ReferenceBook()
    for operation in before:
        book.apply(*operation)
    bids, asks = ([(price, size) for side, price, size in levels if side == wanted] for wanted in (0, 1))
    book.replace(bids, asks)
    for operation in levels:
        twin.apply(*operation)
    agree(book, twin)
    book.clear()
    agree(book, ReferenceBook())


@given(OPERATIONS, st.integers(0, 1), st.integers(0, 9 * 10**14))
def test_vwap_is_the_exact_average_rounded_once(operations: Operations, side: int, size: int) -> None:
    book, twin = Book(), ReferenceBook()
    for operation in operations:
        book.apply(*operation)
        twin.apply(*operation)
    average, filled = book.vwap(side, size)
    expected, expected_filled = twin.vwap(side, size)
    assert filled == expected_filled
    assert average == pytest.approx(float(expected), rel=1e-14)


@given(OPERATIONS, st.integers(0, 1), st.integers(1, 10**14))
def test_more_depth_never_worsens_the_average(operations: Operations, side: int, size: int) -> None:
    book = Book()
    for operation in operations:
        book.apply(*operation)
    average, filled = book.vwap(side, size)
    best = book.best_ask() if side else book.best_bid()
    if filled < size or best is None:
        return
    book.apply(side, best[0], best[1] + size)
    deeper, _ = book.vwap(side, size)
    assert deeper <= average + 1e-12 if side else deeper >= average - 1e-12
