"""The generated market: exact frames, true hashes, one logical book, a winner by the settlement rule."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from invmm.replay.tape import Tape, TapeFlag
from invmm.sim.market import START_S, generate
from invmm.sim.path import DAY_TYPES, price_path
from invmm.types import Outcome
from tests.reference.book_reader import MarketReader, TokenBook, plain

SHORT = {"window_s": 90, "pre_s": 0}


@pytest.fixture(scope="module")
def tape() -> Tape:
    return generate(7, day="trending", window_s=120)


@pytest.fixture(scope="module")
def extreme() -> Tape:
    """A market that spends time beyond 0.96 or 0.04, found by looking rather than by a remembered seed."""
    for seed in range(200):
        rng = np.random.Generator(np.random.PCG64(seed))
        rng.choice(3)  # the day, which is drawn first
        fair = price_path(rng, DAY_TYPES["trending"], 120, 5, 3).fair
        if np.mean((fair < 0.04) | (fair > 0.96)) < 0.4:
            continue
        candidate = generate(seed, day="trending", window_s=120)
        if candidate.meta["tick_change_ms"] is not None:
            return candidate
    raise AssertionError("no generated market of 200 changed its tick")


def messages(tape: Tape) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for frame in tape.frames():
        decoded = json.loads(frame)
        for message in decoded if isinstance(decoded, list) else [decoded]:
            yield frame, message


def next_trade(frames: list[bytes], index: int) -> int:
    """The first frame from `index` on with which the books of a trade begin; a batch starts there."""
    return next(
        i for i in range(index, len(frames)) if b'"bids"' in frames[i] and b'"bids"' not in frames[i - 1]
    )


def test_every_hash_best_and_mirror_of_a_market_verifies(tape: Tape) -> None:
    reader = MarketReader(tape.market.condition_id, tape.market.up_token_id, tape.market.down_token_id)
    frames = list(tape.frames())
    reader.read(frames[: next_trade(frames, 5000)])
    assert reader.hashes_verified > 2000
    assert re.fullmatch(r"0\.\d{3}", reader.last_trade)


def test_hashes_verify_across_a_tick_change(extreme: Tape) -> None:
    changed = int(np.searchsorted(extreme.rows["venue_ms"], extreme.meta["tick_change_ms"]))
    reader = MarketReader(
        extreme.market.condition_id, extreme.market.up_token_id, extreme.market.down_token_id
    )
    frames = list(extreme.frames())
    # Hashes are verified from a trade on: its books tell the last trade price, and it starts a batch.
    start = next_trade(frames, max(changed - 800, 2))
    assert start < changed
    reader.read(frames[:start], verify_hashes=False)
    reader.read(frames[start : next_trade(frames, changed + 1000)])
    assert reader.hashes_verified > 200
    assert {book.tick_size for book in reader.books.values()} == {"0.001"}


def test_a_damaged_size_hash_best_or_mirror_is_noticed(tape: Tape) -> None:
    """The reader itself must be able to fail, or the tests above say nothing."""
    frames = list(tape.frames())[:400]
    times = tape.rows["venue_ms"].tolist()
    position = next(
        i
        for i in range(1, 400)
        if b"price_changes" in frames[i] and times[i - 1] != times[i] and times[i + 1] != times[i]
    )
    for pattern, replacement, reason in (
        (rb'"size":"[^"]*"', b'"size":"77.77"', "mirror"),
        (rb'"best_bid":"[^"]*"', b'"best_bid":"0.01"', "best"),
        (rb'"hash":"..', b'"hash":"zz', "hash"),
    ):
        damaged = [*frames]
        damaged[position] = re.sub(pattern, replacement, damaged[position], count=1)
        reader = MarketReader(tape.market.condition_id, tape.market.up_token_id, tape.market.down_token_id)
        with pytest.raises(AssertionError, match=reason):
            reader.read(damaged)


def test_tick_changes_come_for_both_tokens_and_only_beyond_the_threshold(extreme: Tape) -> None:
    changes = [m for _, m in messages(extreme) if m["event_type"] == "tick_size_change"]
    assert {m["asset_id"] for m in changes} == {extreme.market.up_token_id, extreme.market.down_token_id}
    assert {(m["old_tick_size"], m["new_tick_size"]) for m in changes} == {("0.01", "0.001")}
    assert {m["timestamp"] for m in changes} == {str(extreme.meta["tick_change_ms"])}
    books = [
        m
        for _, m in messages(extreme)
        if m["event_type"] == "book" and int(m["timestamp"]) <= extreme.meta["tick_change_ms"]
    ]
    reader = TokenBook()
    reader.replace(books[-1])
    bid, ask = map(Decimal, reader.best())
    assert (bid + ask) / 2 < Decimal("0.06") or (bid + ask) / 2 > Decimal("0.94")
    fine = [
        level["price"]
        for _, m in messages(extreme)
        if m["event_type"] == "book" and int(m["timestamp"]) > extreme.meta["tick_change_ms"]
        for level in m["bids"] + m["asks"]
        if len(level["price"]) == 5
    ]
    assert fine, "no level uses the finer grid"


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    first, again, other = generate(3, **SHORT), generate(3, **SHORT), generate(4, **SHORT)
    assert first.data == again.data
    assert first.rows.tobytes() == again.rows.tobytes()
    assert first.market == again.market
    assert first.data != other.data


def test_the_winner_follows_from_the_time_averages_of_the_stored_path() -> None:
    winners = set()
    for seed in range(12):
        if len(winners) == 2:
            break
        tape = generate(seed, window_s=90, pre_s=0)
        price, step = tape.meta["path_price"], tape.meta["path_step_ms"]
        start = -tape.meta["path_start_ms"] // step
        minute = 60_000 // step
        end = start + 90_000 // step
        strike = np.mean(price[start - minute : start])
        final = np.mean(price[end - minute : end])
        assert tape.market.winner == (Outcome.UP if final >= strike else Outcome.DOWN)
        assert (strike, final) == (tape.meta["strike"], tape.meta["final"])
        winners.add(tape.market.winner)
    assert winners == {Outcome.UP, Outcome.DOWN}


def test_first_frame_is_a_compact_array_of_both_books_and_ends_the_line(tape: Tape) -> None:
    first = tape.frame(0)
    assert first.startswith(b'[{"market":"0x')
    assert first.endswith(b"}]\n")
    assert b'", "' not in first
    up, down = json.loads(first)
    keys = [
        "market",
        "asset_id",
        "timestamp",
        "hash",
        "bids",
        "asks",
        "tick_size",
        "event_type",
        "last_trade_price",
    ]
    assert list(up) == keys
    assert list(down) == keys
    assert (up["asset_id"], down["asset_id"]) == (tape.market.up_token_id, tape.market.down_token_id)
    assert [Decimal(level["price"]) for level in up["bids"]] == sorted(
        Decimal(level["price"]) for level in up["bids"]
    )
    assert [Decimal(level["price"]) for level in up["asks"]] == sorted(
        (Decimal(a["price"]) for a in up["asks"]), reverse=True
    )


def test_later_frames_have_the_key_order_and_spacing_of_the_venue(tape: Tape) -> None:
    order = {
        "book": ["market", "asset_id", "bids", "asks", "hash", "timestamp", "event_type"],
        "price_change": ["market", "price_changes", "timestamp", "event_type"],
        "last_trade_price": [
            *(
                "market",
                "asset_id",
                "price",
                "size",
                "fee_rate_bps",
                "side",
                "timestamp",
                "event_type",
                "transaction_hash",
            ),
        ],
    }
    entry = ["asset_id", "price", "size", "side", "hash", "best_bid", "best_ask"]
    seen = set()
    for frame, message in itertools.islice(messages(tape), 2, 6000):
        kind = message["event_type"]
        seen.add(kind)
        assert list(message) == order[kind]
        assert frame == json.dumps(message, separators=(", ", ":")).encode()
        if kind == "price_change":
            assert [list(row) for row in message["price_changes"]] == [entry, entry]
    assert seen == set(order)


def test_prices_and_sizes_are_plain_decimals_on_the_grid(extreme: Tape) -> None:
    number = re.compile(r"(0|[1-9]\d*)(\.\d*[1-9])?")
    for _, message in messages(extreme):
        levels = message.get("price_changes") or message.get("bids", []) + message.get("asks", [])
        for level in levels:
            assert number.fullmatch(level["price"])
            assert len(level["price"]) <= 5
            assert number.fullmatch(level["size"])
            assert len(level["size"].partition(".")[2]) <= 6
            assert 0 < Decimal(level["price"]) < 1


def test_a_change_and_its_mirror_stand_in_one_frame(tape: Tape) -> None:
    first_tokens = set()
    for _, message in itertools.islice(messages(tape), 2, 4000):
        if message["event_type"] != "price_change":
            continue
        one, two = message["price_changes"]
        first_tokens.add(one["asset_id"])
        assert one["asset_id"] != two["asset_id"]
        assert Decimal(one["price"]) + Decimal(two["price"]) == 1
        assert one["size"] == two["size"]
        assert one["side"] != two["side"]
    assert first_tokens == {tape.market.up_token_id, tape.market.down_token_id}


def test_trade_summaries_follow_the_books_of_their_trade(tape: Tape) -> None:
    books = [
        int(m["timestamp"]) for _, m in itertools.islice(messages(tape), 2, None) if m["event_type"] == "book"
    ]
    trades = [int(m["timestamp"]) for _, m in messages(tape) if m["event_type"] == "last_trade_price"]
    assert len(books) == 2 * len(trades)
    assert all(
        33 <= trade - book < 40 for book, trade in zip(sorted(books[::2]), sorted(trades), strict=True)
    ) or all(any(33 <= trade - book < 40 for book in books) for trade in trades)


def test_identifiers_slug_and_times_look_like_the_venues(tape: Tape) -> None:
    market = tape.market
    assert market.slug == f"btc-updown-5m-{START_S}"
    assert START_S % 300 == 0
    assert re.fullmatch(r"0x[0-9a-f]{64}", market.condition_id)
    assert re.fullmatch(r"[1-9]\d{70,77}", market.up_token_id)
    assert re.fullmatch(r"[1-9]\d{70,77}", market.down_token_id)
    assert market.origin == "GENERATED"
    assert market.end_s - market.start_s == 120
    assert tape.rows["venue_ms"][0] < START_S * 1000
    assert np.all(np.diff(tape.rows["venue_ms"]) >= 0)


def test_feed_times_have_bursts_and_never_go_back(tape: Tape) -> None:
    received = tape.rows["recv_ns"]
    assert np.all(np.diff(received) >= 0)
    assert np.all(received >= tape.rows["venue_ms"] * 1_000_000)
    assert np.any(np.diff(tape.rows["venue_ms"]) == 0), "no two frames share a millisecond"
    ends = (tape.rows["flags"] & TapeFlag.BUFFER_END) != 0
    assert 0 < np.count_nonzero(ends) < len(ends), "reads must hold one frame at times and several at others"


def test_a_batch_is_split_into_frames_of_one_time_and_one_final_hash(tape: Tape) -> None:
    groups = itertools.groupby(
        (m for _, m in messages(tape) if m["event_type"] == "price_change"),
        key=lambda m: (m["timestamp"], m["price_changes"][0]["hash"]),
    )
    assert max(len(list(group)) for _, group in groups) >= 4


def test_days_differ_in_how_far_the_underlying_moves() -> None:
    def roughness(day: str) -> tuple[float, float]:
        paths = [
            price_path(np.random.Generator(np.random.PCG64(n)), DAY_TYPES[day], 300, 3, 2) for n in range(30)
        ]
        moves = np.concatenate([np.diff(np.log(path.price[::50])) for path in paths])
        return float(np.std(moves)), float(np.mean(moves**4) / np.mean(moves**2) ** 2)

    quiet, trending, jumping = roughness("quiet"), roughness("trending"), roughness("jumping")
    assert quiet[0] < trending[0]
    assert quiet[0] < jumping[0]
    assert jumping[1] > trending[1], "a jumping day has heavier tails than a trending one"


def test_unknown_day_and_short_window_are_refused() -> None:
    with pytest.raises(ValueError, match="expected one of"):
        generate(1, day="sunny")
    with pytest.raises(ValueError, match="window_s"):
        generate(1, window_s=60)


def test_identifiers_and_hashes_do_not_depend_on_the_reader() -> None:
    """The recipe by hand on a book of one level, so that reader and generator cannot share a mistake."""
    book = TokenBook()
    book.replace({"bids": [{"price": "0.4", "size": "12.5"}], "asks": []})
    by_hand = (
        '{"market":"0xm","asset_id":"1","timestamp":"5","hash":"","bids":[{"price":"0.4","size":"12.5"}],"asks":[],'
        '"min_order_size":"5","tick_size":"0.01","neg_risk":false,"last_trade_price":""}'
    )
    assert book.hash("0xm", "1", "5", "") == hashlib.sha1(by_hand.encode()).hexdigest()
    assert plain(Decimal("0.50")) == "0.5"
    assert plain(Decimal(0)) == "0"
