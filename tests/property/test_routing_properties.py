"""Messages that name both tokens of a market, in any order and among others, against plain dictionaries."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from invmm._ext.decode import MarketBooks
from invmm.types import Side
from tests.reference import wire

OTHER = "3" * 77
entries = st.lists(
    st.tuples(
        st.sampled_from((wire.UP, wire.DOWN, OTHER)),
        st.sampled_from(("BUY", "SELL")),
        st.integers(1, 99).map(lambda cents: cents * 100),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(entries, min_size=1, max_size=6))
def test_f7_each_level_lands_in_the_book_of_the_token_that_its_entry_names(
    messages: list[list[tuple[str, str, int, int]]],
) -> None:
    books = MarketBooks(wire.UP, wire.DOWN, 100)
    books.apply_frame(wire.snapshot({4000: 1}, {6000: 1}, 1), 1)
    oracle = {
        wire.UP: ({4000: 1_000_000}, {6000: 1_000_000}),
        wire.DOWN: ({4000: 1_000_000}, {6000: 1_000_000}),
        OTHER: ({}, {}),
    }
    for number, message in enumerate(messages, 2):
        texts = [wire._entry(token, side, price, size, 4000, 6000) for token, side, price, size in message]
        frame = (
            f'{{"market":"{wire.MARKET}", "price_changes":[{", ".join(texts)}], '
            f'"timestamp":"{number}", "event_type":"price_change"}}'
        )
        assert books.apply_frame(frame.encode(), number) >= 0
        for token, side, price, size in message:
            levels = oracle[token][Side[side]]
            levels.pop(price, None)
            if size:
                levels[price] = size * 1_000_000
    for token, book in ((wire.UP, books.up), (wire.DOWN, books.down)):
        for side in Side:
            assert dict(book.depth(side).tolist()) == oracle[token][side]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from((Side.BUY, Side.SELL)), st.integers(1, 99), st.integers(0, 3)), max_size=20
    )
)
def test_f7_a_bid_for_up_is_an_ask_for_down_at_one_minus_its_price(
    changes: list[tuple[Side, int, int]],
) -> None:
    """Whatever the venue's own messages do, both books stay mirror images, and the check says so."""
    books = MarketBooks(wire.UP, wire.DOWN, 100)
    books.apply_frame(wire.snapshot({4000: 1}, {6000: 1}, 1), 1)
    for number, (side, cents, size) in enumerate(changes, 2):
        books.apply_frame(wire.change(side.name, cents * 100, size, 4000, 6000, number), number)
    books.end_batch()
    assert books.state["mirror_ok"]
    for side in Side:
        ours = dict(books.up.depth(side).tolist())
        assert {10_000 - p: s for p, s in ours.items()} == dict(books.down.depth(1 - side).tolist())
