"""Frames into books: every message kind, what is refused, what the integrity checks see."""

import json
from typing import Any

import pytest

from invmm._ext.decode import REJECTED_KEPT, MarketBooks
from invmm.types import Side

UP = "58726851105893121441976415044785550794620582864839872973127370351200548678811"
DOWN = "40113202025193181740822500498877260546965498642740503547096491847887927548587"
MARKET = "0x2aaeb40ad2a1ad262d75d5c52bff1a9f801fb72e65774343729fe103ee9fa308"
HASH = "63a3d3e950df9f8129d42069eb888e3ab6ce2419"
SHARE = 1_000_000
Entry = tuple[str, str, str, str, str, str]


def price_change(
    *entries: tuple[str, str, str, str, str, str], ms: int = 1790766981670, spaced: bool = True
) -> bytes:
    """The venue's exact text; entries are (asset, price, size, side, best_bid, best_ask)."""
    rows = [
        {"asset_id": a, "price": p, "size": s, "side": d, "hash": HASH, "best_bid": bid, "best_ask": ask}
        for a, p, s, d, bid, ask in entries
    ]
    frame = {"market": MARKET, "price_changes": rows, "timestamp": str(ms), "event_type": "price_change"}
    text = json.dumps(frame, separators=(", " if spaced else ",", ":"))
    return text.encode()


def book(
    asset: str, bids: dict[str, str], asks: dict[str, str], ms: int = 1790766966313, **more: Any
) -> dict[str, Any]:
    return {
        "market": MARKET,
        "asset_id": asset,
        "bids": [{"price": p, "size": s} for p, s in bids.items()],
        "asks": [{"price": p, "size": s} for p, s in asks.items()],
        "hash": HASH,
        "timestamp": str(ms),
        "event_type": "book",
        **more,
    }


def compact(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


SNAPSHOT = compact(
    [
        book(
            UP,
            {"0.48": "10", "0.49": "5.5"},
            {"0.52": "7", "0.51": "4"},
            tick_size="0.01",
            last_trade_price="",
        ),
        book(DOWN, {"0.48": "7", "0.49": "4"}, {"0.52": "10", "0.51": "5.5"}, tick_size="0.01"),
    ]
)
MIRRORED = price_change((UP, "0.5", "3", "BUY", "0.5", "0.51"), (DOWN, "0.5", "3", "SELL", "0.49", "0.5"))


@pytest.fixture
def books() -> MarketBooks:
    books = MarketBooks(UP, DOWN)
    assert books.apply_frame(SNAPSHOT, 1) == 8
    return books


def test_a_snapshot_of_both_tokens_fills_both_books(books: MarketBooks) -> None:
    assert books.up.depth(Side.BUY).tolist() == [(4900, 5_500_000), (4800, 10 * SHARE)]
    assert books.down.depth(Side.SELL).tolist() == [(5100, 5_500_000), (5200, 10 * SHARE)]
    assert books.state["has_snapshot"] == (True, True)
    assert books.state["token_ms"] == (1790766966313, 1790766966313)
    books.end_batch()
    assert books.stats["mirror_checks"] == 1
    assert books.stats["mirror_mismatches"] == 0


def test_a_snapshot_drops_levels_it_does_not_name_and_repeated_changes_nothing(
    books: MarketBooks,
) -> None:
    assert books.apply_frame(SNAPSHOT, 2) == 0
    assert books.apply_frame(compact(book(UP, {"0.49": "1"}, {})), 3) == 4
    assert books.changes_of_last_frame() == [
        (0, 0, 4900, 5_500_000, SHARE),
        (0, 0, 4800, 10 * SHARE, 0),
        (0, 1, 5100, 4 * SHARE, 0),
        (0, 1, 5200, 7 * SHARE, 0),
    ]
    books.up.check()


@pytest.mark.parametrize("spaced", [True, False])
def test_price_changes_in_the_venues_text_take_the_template(books: MarketBooks, spaced: bool) -> None:
    frame = price_change(
        (UP, "0.5", "3", "BUY", "0.5", "0.51"), (DOWN, "0.5", "3.25", "SELL", "0.49", "0.5"), spaced=spaced
    )
    assert books.apply_frame(frame, 9) == 2
    assert books.changes_of_last_frame() == [(0, 0, 5000, 0, 3 * SHARE), (1, 1, 5000, 0, 3_250_000)]
    assert books.stats["template_frames"] == 1
    assert books.state["venue_ms"] == 1790766981670
    assert books.state["token_ns"] == (9, 9)
    assert books.apply_frame(frame, 9) == 0


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_kind_of_buffer_is_taken(kind: type) -> None:
    books = MarketBooks(UP, DOWN)
    assert books.apply_frame(kind(SNAPSHOT), 1) == 8


def test_size_zero_removes_and_numbers_keep_every_decimal(books: MarketBooks) -> None:
    frame = price_change(
        (UP, "0.49", "0", "BUY", "0.48", "0.51"),
        (UP, "0.4825", "0.000001", "BUY", "0.48", "0.51"),
        (UP, "0.0001", "12345678.654321", "BUY", "0.48", "0.51"),
        (UP, "0.9999", "123456789", "SELL", "0.48", "0.51"),
    )
    assert books.apply_frame(frame, 2) == 4
    assert books.up.depth(Side.BUY).tolist() == [(4825, 1), (4800, 10 * SHARE), (1, 12_345_678_654_321)]
    assert books.up.size(Side.SELL, 9999) == 123_456_789 * SHARE
    books.up.check()


def test_any_key_order_and_blanks_are_read_without_the_parser(books: MarketBooks) -> None:
    row = {
        "best_ask": "0.51",
        "side": "BUY",
        "extra": [1, {"a": None}],
        "size": "3",
        "price": ".5",
        "asset_id": UP,
    }
    frame = {"event_type": "price_change", "timestamp": "5", "price_changes": [row]}
    assert books.apply_frame(b" \n" + json.dumps(frame, indent=2).encode() + b"\r\n", 2) == 1
    assert books.up.best_bid() == (5000, 3 * SHARE)
    assert books.stats["fallback_frames"] == 0


def test_escapes_exponents_and_json_numbers_go_through_the_parser(books: MarketBooks) -> None:
    frame = (
        b'{"event_typ\\u0065":"price_change","timestamp":5,"price_changes":[{"asset_id":"'
        + UP.encode()
        + b'","price":0.5,"size":3e1,"side":"\\u0042UY"}],"note":"\xc3\xa9"}'
    )
    assert books.apply_frame(frame, 2) == 1
    assert books.up.best_bid() == (5000, 30 * SHARE)
    assert books.stats["fallback_frames"] == 1
    assert books.stats["refused"] == 0
    text = b'{"event_type":"price_change","timestamp":"5","price_changes":[{"asset_id":"'
    assert books.apply_frame(text + UP.encode() + b'","price":"5e-1","size":"0.4E+2","side":"BUY"}]}', 2) == 1
    assert books.up.best_bid() == (5000, 40 * SHARE)


def test_a_trade_is_told_and_changes_no_level(books: MarketBooks) -> None:
    frame = {
        "market": MARKET, "asset_id": DOWN, "price": "0.51", "size": "20.5", "side": "SELL",
        "timestamp": "1790767298674", "event_type": "last_trade_price", "transaction_hash": "0xe3",
    }  # fmt: skip
    assert books.apply_frame(compact(frame), 2) == 0
    assert books.last_trade == (1, 1, 5100, 20_500_000, 1790767298674)
    assert books.apply_frame(b"PONG", 2) == 0
    assert books.last_trade is None


def test_a_tick_change_starts_an_epoch_and_waits_for_a_snapshot(books: MarketBooks) -> None:
    frame = {
        "event_type": "tick_size_change", "market": MARKET, "asset_id": UP, "old_tick_size": "0.01",
        "new_tick_size": "0.001", "timestamp": "6",
    }  # fmt: skip
    assert books.apply_frame(compact(frame), 2) == 0
    assert books.up.tick_e4 == 10
    assert books.down.tick_e4 == 100
    assert books.state["epoch"] == (1, 0)
    assert books.state["has_snapshot"] == (False, True)
    assert books.up.best_bid() == (4900, 5_500_000)
    assert books.apply_frame(compact(book(UP, {"0.499": "1"}, {})), 3) == 5
    assert books.state["has_snapshot"] == (True, True)


def test_a_snapshot_tells_the_tick(books: MarketBooks) -> None:
    books.apply_frame(compact([book(UP, {}, {"0.999": "1"}, tick_size="0.001")]), 2)
    assert books.up.tick_e4 == 10
    assert books.state["tick_e4"] == 10


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (b"PONG", "pong"),
        (b"PONG\n", "pong"),
        (b"[]", "other"),
        (b'{"event_type":"something_new","x":[1,2.5,{"y":null}],"z":true}', "other"),
        (b'{"no":"event type"}', "other"),
        (b'{"event_type":"market_resolved","timestamp":"7","assets_ids":["1"]}', "market_resolved"),
        (b'{"event_type":"new_market","fee_schedule":{"rate":"0.04"},"description":"\\u00e9"}', "new_market"),
        (b'{"event_type":"best_bid_ask","asset_id":"1","best_bid":"0.7","timestamp":"7"}', "best_bid_ask"),
    ],
)
def test_other_messages_change_nothing_and_are_counted(books: MarketBooks, frame: bytes, kind: str) -> None:
    assert books.apply_frame(frame, 2) == 0
    assert books.state["event_kind"] == kind
    assert books.stats["refused"] == 0
    if frame != b"[]":
        assert books.stats["events"][kind] == 1


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize(("named", "winner"), [(UP, 0), (DOWN, 1)])
def test_the_winner_of_a_resolved_market_is_told(
    books: MarketBooks, named: str, winner: int, escaped: bool
) -> None:
    frame = compact({"event_type": "market_resolved", "id": "7", "market": MARKET, "assets_ids": [UP, DOWN],
                     "winning_asset_id": named, "winning_outcome": "Up", "timestamp": "7"})  # fmt: skip
    if escaped:
        frame = frame.replace(b'"Up"', b'"\\u0055p"')
    assert books.winner is None
    assert books.apply_frame(frame, 2) == 0
    assert books.stats["fallback_frames"] == escaped
    assert books.winner == winner
    assert books.state["event_kind"] == "market_resolved"
    assert books.apply_frame(b"PONG", 3) == 0
    assert books.winner == winner


@pytest.mark.parametrize("named", ['"5"', "null", "5", '["1"]', f'"{UP}0"', '"\\u0035"'])
@pytest.mark.parametrize("kind", ["market_resolved", "new_market"])
def test_a_winner_that_is_not_of_this_market_is_none(books: MarketBooks, kind: str, named: str) -> None:
    frame = f'{{"event_type":"{kind}","timestamp":"7","winning_asset_id":{named}}}'
    assert books.apply_frame(frame.encode(), 2) == 0
    assert books.winner is None


def test_another_event_cannot_name_a_winner(books: MarketBooks) -> None:
    assert books.apply_frame(compact({"event_type": "new_market", "winning_asset_id": UP}), 2) == 0
    assert books.apply_frame(compact(book(UP, {}, {}, winning_asset_id=UP)), 2) >= 0
    assert books.winner is None


def test_an_unknown_asset_is_counted_and_the_known_one_applied(books: MarketBooks) -> None:
    stranger = UP[:-1] + "2"
    frame = price_change(
        (stranger, "0.5", "3", "BUY", "0.5", "0.51"), (DOWN, "0.5", "3", "SELL", "0.49", "0.5")
    )
    assert books.apply_frame(frame, 2) == 1
    assert books.down.best_ask() == (5000, 3 * SHARE)
    assert books.apply_frame(compact([book(stranger, {"0.1": "1"}, {})]), 2) == 0
    assert books.stats["unknown_assets"] == 2


GOOD = (DOWN, "0.5", "1", "BUY", "0.5", "0.51")
REFUSED = [
    (b"", "json"),
    (b"PING", "json"),
    (b"{", "json"),
    (b'{"event_type":"book"} x', "json"),
    (b'{"event_type":"\xff"}', "json"),
    (b"3", "shape"),
    (b"[3]", "shape"),
    (b'{"event_type":"book"}', "timestamp"),
    (b'{"event_type":"book","timestamp":"-3","asset_id":"1","bids":[],"asks":[]}', "timestamp"),
    (b'{"event_type":"book","timestamp":"3","asset_id":1,"bids":[],"asks":[]}', "asset_id"),
    (b'{"event_type":"book","timestamp":"3","asset_id":"1","bids":[]}', "levels"),
    (b'{"event_type":"book","timestamp":"3","asset_id":"1","bids":[4],"asks":[]}', "levels"),
    (
        b'{"event_type":"book","timestamp":"3","asset_id":"1","bids":[],"asks":[],"tick_size":0.6}',
        "tick_size",
    ),
    (b'{"event_type":"price_change","timestamp":"3","changes":[]}', "levels"),
    (b'{"event_type":"tick_size_change","timestamp":"3","asset_id":"1","new_tick_size":"0"}', "tick_size"),
    (b'{"event_type":"last_trade_price","timestamp":"3","asset_id":"1","price":"0.5","size":"1"}', "side"),
    *(
        (
            price_change((DOWN, "0.5", "1", "BUY", "0.5", "0.51"), (UP, price, "3", "BUY", "0.5", "0.51")),
            "price",
        )
        for price in (
            "0",
            "1",
            "1.5",
            "-0.5",
            "0.00001",
            "0.12345",
            "NaN",
            "",
            "0.5.5",
            "\u0660.\u0665",
            "0x1",
            " 0.5",
        )
    ),
    *(
        (
            price_change((DOWN, "0.5", "1", "BUY", "0.5", "0.51"), (UP, "0.5", size, "BUY", "0.5", "0.51")),
            "size",
        )
        for size in ("-1", "1.0000001", "1e13", "inf", "1e", "", ".", "1_0", "+1")
    ),
    (price_change((UP, "0.5", "1", "buy", "0.5", "0.51")), "side"),
    (price_change((UP, "0.5", "1", "BUY", "x", "0.51")), "best"),
    (price_change((UP, "0.5", "1", "BUY", "0.5", "1.1")), "best"),
    (price_change((UP, "0.5", "1", "BUY", "0.5", "0.51"))[:-1], "json"),
    (SNAPSHOT.replace(b'"0.51"', b'"51"'), "price"),
]


@pytest.mark.parametrize(("frame", "kind"), REFUSED)
def test_malformed_frames_change_nothing_are_counted_and_kept(
    books: MarketBooks, frame: bytes, kind: str
) -> None:
    before = [
        books.up.depth(0).tolist(),
        books.up.depth(1).tolist(),
        books.down.depth(0).tolist(),
        books.state,
    ]
    assert books.apply_frame(frame, 2) == -1
    after = [
        books.up.depth(0).tolist(),
        books.up.depth(1).tolist(),
        books.down.depth(0).tolist(),
        books.state,
    ]
    assert after[:3] == before[:3]
    assert books.state["token_ns"] == before[3]["token_ns"]
    assert books.stats["decode_failures"] == {kind: 1}
    assert books.last_error.startswith(kind)
    assert books.rejected == [(books.last_error, frame)]
    assert books.state["event_kind"] == "refused"


def test_an_array_with_one_bad_book_is_refused_whole() -> None:
    books = MarketBooks(UP, DOWN)
    frame = compact([book(UP, {"0.4": "1"}, {}), book(DOWN, {"0.4": "x"}, {})])
    assert books.apply_frame(frame, 1) == -1
    assert books.up.best_bid() is None


def test_only_the_last_refused_frames_are_kept(books: MarketBooks) -> None:
    for n in range(REJECTED_KEPT + 5):
        books.apply_frame(b"bad %d" % n, 1)
    assert [frame for _, frame in books.rejected] == [b"bad %d" % n for n in range(5, REJECTED_KEPT + 5)]
    assert books.stats["refused"] == REJECTED_KEPT + 5


def test_too_many_levels_are_refused(books: MarketBooks) -> None:
    frame = compact({"event_type": "book", "timestamp": "1", "asset_id": UP, "asks": [],
                     "bids": [{"price": "0.5", "size": "1"}] * 40_001})  # fmt: skip
    assert books.apply_frame(frame, 1) == -1
    assert books.stats["decode_failures"] == {"too_long": 1}


def test_a_full_four_decimal_snapshot_of_both_tokens_fits() -> None:
    books = MarketBooks(UP, DOWN)
    levels = {f"0.{n:04d}": str(n) for n in range(1, 10_000)}
    frame = compact([book(UP, levels, levels), book(DOWN, levels, levels)])
    assert books.apply_frame(frame, 1) == 4 * 9999
    assert books.apply_frame(compact([book(UP, {}, {}), book(DOWN, {}, {})]), 1) == 4 * 9999
    books.up.check()
    books.down.check()


def test_every_truncation_of_a_frame_is_refused(books: MarketBooks) -> None:
    for end in range(len(MIRRORED)):
        assert books.apply_frame(MIRRORED[:end], 1) == -1
    assert books.apply_frame(MIRRORED, 1) == 2


def test_best_is_compared_at_the_end_of_a_batch_only(books: MarketBooks) -> None:
    early = price_change(
        (UP, "0.49", "0", "BUY", "0.47", "0.51"), (DOWN, "0.51", "0", "SELL", "0.49", "0.53")
    )
    late = price_change((UP, "0.48", "0", "BUY", "0.47", "0.51"), (DOWN, "0.52", "0", "SELL", "0.49", "0.53"))
    final = price_change(
        (UP, "0.47", "2", "BUY", "0.47", "0.51"), (DOWN, "0.53", "2", "SELL", "0.49", "0.53")
    )
    for frame in (early, late, final):
        books.apply_frame(frame, 2)
    assert books.stats["best_checks"] == 0
    books.end_batch()
    books.end_batch()
    assert books.stats["best_checks"] == 2
    assert books.stats["best_mismatches"] == 0


def test_a_frame_of_another_timestamp_ends_the_batch(books: MarketBooks) -> None:
    books.apply_frame(MIRRORED, 2)
    books.apply_frame(price_change((UP, "0.4", "1", "BUY", "0.5", "0.51"), ms=1790766981671), 3)
    assert books.stats["best_checks"] == 2
    assert books.stats["mirror_checks"] == 2  # the snapshots, then the mirrored change


def test_an_empty_side_is_told_as_0_and_1(books: MarketBooks) -> None:
    books.apply_frame(compact([book(UP, {}, {"0.51": "4"}), book(DOWN, {"0.49": "4"}, {})]), 2)
    frame = price_change((UP, "0.51", "9", "SELL", "0", "0.51"), (DOWN, "0.49", "9", "BUY", "0.49", "1"))
    books.apply_frame(frame, 3)
    books.end_batch()
    assert books.stats["best_checks"] == 2
    assert books.stats["best_mismatches"] == 0


def test_a_wrong_best_is_counted(books: MarketBooks) -> None:
    books.apply_frame(MIRRORED.replace(b'"best_bid":"0.5"', b'"best_bid":"0.49"'), 2)
    books.end_batch()
    assert books.stats["best_mismatches"] == 1
    assert books.state["best_ok"] == (False, True)
    books.apply_frame(MIRRORED, 2)
    books.end_batch()
    assert books.state["best_ok"] == (True, True)


def test_a_broken_mirror_is_counted_until_whole_books_agree_again(books: MarketBooks) -> None:
    books.apply_frame(MIRRORED.replace(b'"size":"3"', b'"size":"4"', 1), 2)
    books.end_batch()
    assert books.stats["mirror_mismatches"] == 1
    assert not books.state["mirror_ok"]
    other = price_change((UP, "0.4", "1", "BUY", "0.5", "0.51"), (DOWN, "0.6", "1", "SELL", "0.49", "0.5"))
    books.apply_frame(other, 2)
    books.end_batch()
    assert books.stats["mirror_mismatches"] == 2
    books.apply_frame(MIRRORED, 2)
    books.end_batch()
    assert books.state["mirror_ok"]


def test_many_levels_in_one_batch_are_all_compared(books: MarketBooks) -> None:
    for n in range(1, 48):
        books.apply_frame(
            price_change(
                (UP, f"0.{n:02d}", "8", "BUY", "0.49", "0.51"),
                (DOWN, f"0.{100 - n:02d}", "9" if n == 1 else "8", "SELL", "0.49", "0.51"),
            ),
            n,
        )
    books.end_batch()
    assert books.stats["mirror_mismatches"] == 1


def test_nothing_is_checked_before_both_snapshots() -> None:
    books = MarketBooks(UP, DOWN)
    books.apply_frame(MIRRORED, 1)
    books.end_batch()
    assert books.stats["best_checks"] == 0
    assert books.stats["mirror_checks"] == 0


def test_reset_forgets_levels_and_waits_for_snapshots(books: MarketBooks) -> None:
    books.apply_frame(MIRRORED, 1)
    books.reset()
    assert books.up.best_bid() is None
    assert books.state["has_snapshot"] == (False, False)
    assert books.state["epoch"] == (1, 1)
    assert books.apply_frame(SNAPSHOT, 2) == 8
    books.end_batch()
    assert books.stats["mirror_mismatches"] == 0


def test_short_token_ids_work() -> None:
    books = MarketBooks("1", "2")
    assert books.apply_frame(compact(book("2", {"0.5": "1"}, {})), 1) == 1
    assert books.down.best_bid() == (5000, SHARE)


@pytest.mark.parametrize("ids", [("", "1"), ("1", "1"), ("a b", "1"), ("1" * 128, "2"), ("é", "1")])
def test_impossible_token_ids_are_refused(ids: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="token id"):
        MarketBooks(*ids)


def test_text_is_refused_as_a_type(books: MarketBooks) -> None:
    with pytest.raises(TypeError, match="bytes"):
        books.apply_frame("PONG", 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        MarketBooks(1, 2)  # type: ignore[arg-type]
