"""The book of one token: levels, best, depth, VWAP, hash, and the rearrangement for finer prices."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from invmm._ext.book import MAX_SIZE_MICRO, VWAP_LIMIT_MICRO, Book
from invmm.types import LEVEL_DTYPE, Side

SHARE = 1_000_000
RECORDED = os.environ.get("INVMM_RECORDED")


@pytest.fixture
def book() -> Book:
    book = Book()
    book.replace([(4800, 10 * SHARE), (4900, 5 * SHARE)], [(5100, 4 * SHARE), (5200, 6 * SHARE)])
    return book


def test_an_empty_book_has_no_best_and_no_depth() -> None:
    book = Book()
    assert book.best_bid() is None
    assert book.best_ask() is None
    assert len(book.depth(Side.BUY, 5)) == 0
    assert book.vwap(Side.SELL, SHARE) == (0.0, 0)
    book.check()


def test_best_is_the_highest_bid_and_the_lowest_ask(book: Book) -> None:
    assert book.best_bid() == (4900, 5 * SHARE)
    assert book.best_ask() == (5100, 4 * SHARE)
    book.apply(Side.BUY, 4900, 0)
    book.apply(Side.SELL, 5000, 7)
    assert book.best_bid() == (4800, 10 * SHARE)
    assert book.best_ask() == (5000, 7)
    book.check()


def test_apply_sets_the_total_and_gives_what_stood_there(book: Book) -> None:
    assert book.apply(Side.BUY, 4900, 3) == 5 * SHARE
    assert book.size(Side.BUY, 4900) == 3
    assert book.size(Side.SELL, 4900) == 0


def test_depth_is_best_first_and_as_long_as_asked(book: Book) -> None:
    bids = book.depth(Side.BUY, 9)
    assert bids.dtype == LEVEL_DTYPE
    assert bids.tolist() == [(4900, 5 * SHARE), (4800, 10 * SHARE)]
    assert book.depth(Side.SELL, 1).tolist() == [(5100, 4 * SHARE)]
    assert book.depth(Side.SELL, 0).tolist() == []


def test_vwap_walks_the_side_and_says_how_much_is_there(book: Book) -> None:
    assert book.vwap(Side.SELL, 5 * SHARE) == pytest.approx(((4 * 0.51 + 1 * 0.52) / 5, 5 * SHARE))
    assert book.vwap(Side.SELL, 100 * SHARE) == pytest.approx(((4 * 0.51 + 6 * 0.52) / 10, 10 * SHARE))
    assert book.vwap(Side.BUY, 0) == (0.0, 0)


def test_vwap_stays_exact_at_the_largest_sizes() -> None:
    book = Book()
    book.apply(Side.SELL, 9999, MAX_SIZE_MICRO)
    assert book.vwap(Side.SELL, VWAP_LIMIT_MICRO) == (0.9999, VWAP_LIMIT_MICRO)


def test_prices_off_the_tick_are_accepted_and_move_no_level(book: Book) -> None:
    for price in (4950, 4925, 4921, 1, 9999):
        book.apply(Side.BUY, price, price)
        book.check()
    added = [(9999, 9999), (4950, 4950), (4925, 4925), (4921, 4921)]
    assert book.depth(Side.BUY).tolist() == [*added, (4900, 5 * SHARE), (4800, 10 * SHARE), (1, 1)]
    assert book.depth(Side.SELL).tolist() == [(5100, 4 * SHARE), (5200, 6 * SHARE)]
    assert book.size(Side.SELL, 5150) == 0


def test_asking_for_a_price_off_the_grid_finds_nothing(book: Book) -> None:
    assert book.size(Side.BUY, 4901) == 0


def test_replace_drops_what_it_does_not_name_and_the_last_of_equal_prices_counts(book: Book) -> None:
    book.replace([(100, 5), (100, 7), (200, 0)], [])
    assert book.depth(Side.BUY).tolist() == [(100, 7)]
    assert book.best_ask() is None
    book.check()


def test_replace_with_one_bad_level_changes_nothing(book: Book) -> None:
    with pytest.raises(ValueError, match="price_e4"):
        book.replace([(100, 5)], [(10_000, 5)])
    assert book.best_bid() == (4900, 5 * SHARE)


def test_clear_forgets_levels_and_starts_an_epoch(book: Book) -> None:
    before = book.epoch
    book.apply(Side.BUY, 4901, 1)
    book.clear()
    assert book.best_bid() is None
    assert book.best_ask() is None
    assert book.epoch == before + 1
    book.check()


def test_crossed_is_said(book: Book) -> None:
    assert not book.is_crossed()
    book.apply(Side.BUY, 5100, 1)
    assert book.is_crossed()


@pytest.mark.parametrize("tick", [1, 5, 10, 25, 50, 100, 1000, 3, 5000])
def test_every_tick_holds_levels(tick: int) -> None:
    book = Book(tick)
    book.apply(Side.BUY, tick, 1)
    book.apply(Side.SELL, 10_000 - tick, 2)
    assert book.tick_e4 == tick
    assert book.best_bid() == (tick, 1)
    assert book.best_ask() == (10_000 - tick, 2)
    book.check()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((2, 100, 1), "side"),
        ((0, 0, 1), "price_e4"),
        ((0, 10_000, 1), "price_e4"),
        ((0, 0.5, 1), "price_e4"),
        ((0, 100, -1), "size_micro"),
        ((0, 100, MAX_SIZE_MICRO + 1), "size_micro"),
        ((0, 100, float("nan")), "size_micro"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(arguments: tuple[int, int, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Book().apply(*arguments)


def test_text_and_impossible_ticks_are_refused() -> None:
    with pytest.raises(TypeError, match="price_e4"):
        Book().apply(0, "0.5", 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tick_e4"):
        Book(0)


def test_venue_hash_follows_the_recipe() -> None:
    book = Book()
    book.replace([(100, 5 * SHARE), (5000, 1_500_000)], [(9900, 10_000)])
    text = (
        b'{"market":"0xab","asset_id":"12","timestamp":"17","hash":"","bids":[{"price":"0.01","size":"5"},'
        b'{"price":"0.5","size":"1.5"}],"asks":[{"price":"0.99","size":"0.01"}],"min_order_size":"5",'
        b'"tick_size":"0.01","neg_risk":false,"last_trade_price":"0.490"'
    )
    assert book.venue_hash("0xab", "12", "17", "0.490") == hashlib.sha1(text + b"}").hexdigest()
    v2 = hashlib.sha1(text + b',"version":"v2"}').hexdigest()
    assert book.venue_hash("0xab", "12", 17, "0.490", version="v2") == v2


@pytest.mark.recorded
@pytest.mark.skipif(RECORDED is None, reason="INVMM_RECORDED is not set")
@pytest.mark.parametrize(
    ("name", "last_trade"), [("book_snapshot", ""), ("book_after_trade", "0.490"), ("v2_book_snapshot", "")]
)
def test_venue_hash_equals_the_recorded_one(name: str, last_trade: str) -> None:
    assert RECORDED is not None
    path = Path(RECORDED).parent / "reference" / "samples" / f"ws_market_{name}.json"
    document = json.loads(path.read_text())
    for frame in document if isinstance(document, list) else [document]:
        book = Book()
        bids, asks = (
            [(round(float(row["price"]) * 1e4), round(float(row["size"]) * 1e6)) for row in frame[key]]
            for key in ("bids", "asks")
        )
        book.replace(bids, asks)
        version = frame.get("version")
        found = book.venue_hash(
            frame["market"], frame["asset_id"], frame["timestamp"], last_trade, version=version
        )
        assert found == frame["hash"]
