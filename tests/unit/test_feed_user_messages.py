"""User messages to records. The inline messages have the venue's shape and invented ids."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from invmm.feed.user_messages import UserMessages, order_id_bytes, time_ms, trade_key
from invmm.types import EventArray, EventFlag, EventKind, OrderStatus, Outcome, Reason, Side, Source

UP, DOWN = "111", "222"
TOKENS = {UP: (3, Outcome.UP), DOWN: (3, Outcome.DOWN)}
NOW_NS = 1_790_766_966_000_000_000
MINE = "0x" + "0a" * 32
MINE_TOO = "0x" + "0b" * 32
FOREIGN = "0x" + "ff" * 32
API_KEY = "00000000-0000-0000-0000-00000000aaaa"


def reader(*known: str, api_key: str | None = None, kept: int = 8) -> UserMessages:
    keys = {order_id_bytes(text): number for number, text in enumerate(known, 1)}
    return UserMessages(keys.get, TOKENS, api_key, kept)


def order(**changes: Any) -> dict[str, Any]:
    return {
        "asset_id": UP,
        "event_type": "order",
        "id": MINE,
        "order_type": "GTC",
        "original_size": "5",
        "size_matched": "0",
        "outcome": "Up",
        "owner": API_KEY,
        "price": "0.513",
        "side": "BUY",
        "status": "LIVE",
        "timestamp": "1725842520990",
        "type": "PLACEMENT",
    } | changes


def maker(order_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "asset_id": UP,
        "matched_amount": "5",
        "order_id": order_id,
        "owner": "x",
        "price": "0.52",
    } | changes


def trade(*makers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "asset_id": UP,
        "event_type": "trade",
        "id": "f50e8ab2-0000",
        "maker_orders": list(makers),
        "match_time": "1725958681",
        "owner": "x",
        "price": "0.52",
        "side": "BUY",
        "size": "8",
        "status": "MATCHED",
        "taker_order_id": FOREIGN,
        "timestamp": "1725958682125",
        "trader_side": "MAKER",
        "type": "TRADE",
    } | changes


def read(messages: UserMessages, *parts: dict[str, Any]) -> EventArray:
    return messages.read(json.dumps(parts[0] if len(parts) == 1 else parts).encode(), NOW_NS)


def test_placement_becomes_a_live_record() -> None:
    (record,) = read(reader(MINE), order())
    assert record["kind"] == EventKind.USER_EVENT
    assert record["source"] == Source.USER_FEED
    assert record["sequence"] == 1
    assert record["market"] == 3
    assert record["token"] == Outcome.UP
    assert record["side"] == Side.BUY
    assert record["status"] == OrderStatus.LIVE
    assert record["key"] == 1
    assert record["price_e4"] == 5130
    assert record["size_micro"] == 5_000_000
    assert record["filled_micro"] == 0
    assert record["venue_ms"] == 1725842520990
    assert record["time_ns"] == NOW_NS
    assert record["trade"] == 0
    assert record["order_id"].tobytes() == bytes.fromhex("0a" * 32)


@pytest.mark.parametrize(
    ("changes", "status", "filled_micro"),
    [
        ({"type": "UPDATE", "status": "MATCHED", "size_matched": "2"}, OrderStatus.LIVE, 2_000_000),
        ({"type": "UPDATE", "status": "MATCHED", "size_matched": "5"}, OrderStatus.MATCHED, 5_000_000),
        ({"type": "UPDATE", "status": "LIVE", "size_matched": "0.5"}, OrderStatus.LIVE, 500_000),
        ({"type": "UPDATE", "status": None, "size_matched": "5"}, OrderStatus.MATCHED, 5_000_000),
        (
            {"type": "CANCELLATION", "status": "CANCELED", "size_matched": "5"},
            OrderStatus.CANCELED,
            5_000_000,
        ),
        ({"type": "CANCELLATION", "status": "INVALID"}, OrderStatus.CANCELED, 0),
        ({"type": "CANCELLATION", "status": "CANCELED", "size_matched": ""}, OrderStatus.CANCELED, -1),
        ({"type": "CANCELLATION", "status": "brand new"}, OrderStatus.CANCELED, 0),
        ({"type": "UPDATE", "status": "CANCELED_EXPIRED_ORDER"}, OrderStatus.CANCELED, 0),
        (
            {"type": "CANCELLATION", "status": "CANCELED_order couldn't be fully filled. FOK"},
            OrderStatus.CANCELED,
            0,
        ),
        ({"status": "DELAYED"}, OrderStatus.DELAYED, 0),
        ({"status": "UNMATCHED"}, OrderStatus.LIVE, 0),
        ({"status": ""}, OrderStatus.LIVE, 0),
        ({"status": "SOMETHING_ELSE"}, OrderStatus.UNKNOWN, 0),
    ],
)
def test_order_states_are_read_by_type_and_prefix(
    changes: dict[str, Any], status: OrderStatus, filled_micro: int
) -> None:
    (record,) = read(reader(MINE), order(**changes))
    assert record["status"] == status
    assert record["filled_micro"] == filled_micro


def test_cancellation_for_lack_of_balance_says_so() -> None:
    (record,) = read(reader(MINE), order(type="CANCELLATION", status="CANCELED_NOT_ENOUGH_BALANCE"))
    assert record["reason"] == Reason.VENUE_BALANCE


def test_killed_order_with_empty_numbers_is_read() -> None:
    (record,) = read(
        reader(MINE),
        order(type="CANCELLATION", size_matched="", original_size="", price="", status="CANCELED_x"),
    )
    assert (record["size_micro"], record["filled_micro"], record["price_e4"]) == (0, -1, 0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1725842520990", 1725842520990),
        ("1725842520", 1725842520000),
        (1725842520, 1725842520000),
        (1725842520990, 1725842520990),
        ("", 0),
        (None, 0),
        ("soon", 0),
        ("-5", 0),
        ("1e400", 0),
        ("NaN", 0),
    ],
)
def test_times_are_seconds_or_milliseconds_by_magnitude(value: object, expected: int) -> None:
    assert time_ms(value) == expected


def test_own_maker_leg_is_taken_from_the_entry_and_not_from_the_top_level() -> None:
    (record,) = read(reader(MINE), trade(maker(FOREIGN), maker(MINE, price="0.518", matched_amount="2.5")))
    assert record["status"] == OrderStatus.TRADE_MATCHED
    assert record["size_micro"] == 2_500_000
    assert record["price_e4"] == 5180
    assert record["side"] == Side.SELL  # the taker bought the same token
    assert record["token"] == Outcome.UP
    assert record["flags"] == 0
    assert record["trade"] == trade_key("f50e8ab2-0000")


def test_maker_in_the_other_token_stands_on_the_takers_side() -> None:
    (record,) = read(reader(MINE), trade(maker(MINE, asset_id=DOWN, price="0.482")))
    assert record["token"] == Outcome.DOWN
    assert record["side"] == Side.BUY
    assert record["price_e4"] == 4820


def test_stated_side_of_a_maker_wins() -> None:
    (record,) = read(reader(MINE), trade(maker(MINE, side="BUY")))
    assert record["side"] == Side.BUY


def test_taker_leg_is_the_top_level() -> None:
    (record,) = read(reader(MINE), trade(maker(FOREIGN), taker_order_id=MINE, trader_side="TAKER"))
    assert record["flags"] == EventFlag.TAKER
    assert record["size_micro"] == 8_000_000
    assert record["price_e4"] == 5200
    assert record["side"] == Side.BUY


def test_several_own_legs_make_one_record_each_and_one_order_matched_twice_makes_one() -> None:
    records = read(
        reader(MINE, MINE_TOO), trade(maker(MINE), maker(MINE_TOO), maker(MINE, matched_amount="1.25"))
    )
    assert list(records["key"]) == [1, 2]
    assert list(records["size_micro"]) == [6_250_000, 5_000_000]
    assert len(set(records["trade"])) == 1


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("MATCHED", OrderStatus.TRADE_MATCHED),
        ("MATCHED_NOT_BROADCASTED", OrderStatus.TRADE_MATCHED),
        ("MINED", OrderStatus.TRADE_MINED),
        ("CONFIRMED", OrderStatus.TRADE_CONFIRMED),
        ("RETRYING", OrderStatus.TRADE_RETRYING),
        ("FAILED", OrderStatus.TRADE_FAILED),
        ("TRADE_STATUS_FAILED", OrderStatus.TRADE_FAILED),
        ("EVAPORATED", OrderStatus.TRADE_MATCHED),  # a trade all the same: provisional
    ],
)
def test_trade_stages_are_read_by_prefix(status: str, expected: OrderStatus) -> None:
    (record,) = read(reader(MINE), trade(maker(MINE), status=status))
    assert record["status"] == expected


def test_repeated_and_reordered_stages_give_the_same_identity() -> None:
    messages = reader(MINE)
    records = [
        read(messages, trade(maker(MINE), status=status))[0] for status in ("CONFIRMED", "MATCHED", "MATCHED")
    ]
    assert len({(int(r["trade"]), r["order_id"].tobytes(), int(r["size_micro"])) for r in records}) == 1
    assert [int(r["sequence"]) for r in records] == [1, 2, 3]


def test_trade_key_is_blake2b_of_the_id_little_endian() -> None:
    assert trade_key("abc").to_bytes(8, "little") == hashlib.blake2b(b"abc", digest_size=8).digest()


def test_foreign_maker_trade_gives_nothing_and_is_kept_until_the_order_is_known() -> None:
    keys: dict[bytes, int] = {}
    messages = UserMessages(keys.get, TOKENS)
    assert len(read(messages, trade(maker(MINE)))) == 0
    assert messages.stats.unknown_orders == 1
    assert len(messages.retry(NOW_NS)) == 0
    assert messages.unknown_count == 1
    keys[order_id_bytes(MINE)] = 9
    (record,) = messages.retry(NOW_NS + 1)
    assert (record["key"], record["size_micro"], record["time_ns"]) == (9, 5_000_000, NOW_NS + 1)
    assert messages.unknown_count == 0
    assert messages.stats.unknown_orders == 1


def test_legs_that_are_not_ours_are_counted_with_the_reason() -> None:
    messages = reader(MINE)
    read(messages, trade(maker(FOREIGN), maker("0x12"), maker(MINE)))
    assert messages.stats.discarded == {
        "maker is somebody else": 1,
        "maker without readable order id": 1,
        "taker is somebody else": 1,
    }
    assert messages.stats.legs == 1
    messages.retry(NOW_NS)
    assert sum(messages.stats.discarded.values()) == 3


def test_order_statuses_of_rest_may_have_a_prefix() -> None:
    (record,) = read(reader(MINE), order(type="", status="ORDER_STATUS_CANCELED_MARKET_RESOLVED"))
    assert record["status"] == OrderStatus.CANCELED


def test_ids_and_keys_are_compared_without_regard_to_case() -> None:
    (record,) = read(reader(MINE), trade(maker(MINE.upper().replace("0X", "0x"))))
    assert record["key"] == 1
    (record,) = read(reader(api_key="AB-cd"), trade(maker(FOREIGN, owner="ab-CD")))
    assert record["key"] == 0


def test_kept_messages_are_bounded() -> None:
    messages = reader(kept=3)
    for _ in range(10):
        read(messages, trade(maker(FOREIGN)))
    assert messages.unknown_count == 3
    assert messages.stats.unknown_orders == 10


def test_foreign_order_in_our_market_is_reported_without_a_key() -> None:
    (record,) = read(reader(), order(id=FOREIGN))
    assert record["key"] == 0
    assert record["order_id"].tobytes() == b"\xff" * 32


def test_foreign_order_elsewhere_in_the_account_is_only_counted() -> None:
    messages = reader()
    assert len(read(messages, order(id=FOREIGN, asset_id="999"))) == 0
    assert messages.stats.unknown_tokens == 1
    assert messages.stats.unknown_orders == 1


def test_leg_with_our_api_key_counts_as_ours_though_its_order_is_unknown() -> None:
    (record,) = read(reader(api_key=API_KEY), trade(maker(FOREIGN), maker(MINE, owner=API_KEY)))
    assert record["key"] == 0
    assert record["order_id"].tobytes() == bytes.fromhex("0a" * 32)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (order(id="0x78xx"), "order id"),
        (order(id=None), "order id"),
        (order(side="HOLD"), "side"),
        (order(price="1.5"), "price"),
        (order(price="x"), "price"),
        (order(original_size="-1"), "size"),
        (order(original_size="1e99"), "size"),
        (order(original_size=True), "size"),
        (trade(maker(MINE, matched_amount="")), "fill without size"),
        (trade(maker("0x12")), "order id"),
        (trade(maker(MINE), id=None), "trade without id"),
        (trade(maker_orders="many"), "maker orders are not a list"),
        (trade(maker_orders=[7]), "maker order is not an object"),
    ],
)
def test_unreadable_message_is_counted_and_gives_nothing(message: dict[str, Any], why: str) -> None:
    messages = reader(MINE)
    assert len(read(messages, message)) == 0
    assert messages.stats.refused == {why: 1}


def test_frames_may_be_arrays_and_hold_anything() -> None:
    messages = reader(MINE)
    records = messages.read(json.dumps([order(), 7, {"event_type": "news"}, order()]).encode(), NOW_NS)
    assert len(records) == 2
    assert messages.stats.refused == {"not an object": 1}
    assert messages.stats.other_events == 1
    assert len(messages.read(b"{half", NOW_NS)) == 0
    assert messages.stats.refused["not JSON"] == 1


def test_numbers_instead_of_strings_are_read() -> None:
    (record,) = read(reader(MINE), order(price=0.07, original_size=12))
    assert (record["price_e4"], record["size_micro"]) == (700, 12_000_000)


def test_fill_sizes_are_rounded_down_to_micro_shares() -> None:
    (record,) = read(reader(MINE), trade(maker(MINE, matched_amount="1.9999999")))
    assert record["size_micro"] == 1_999_999


recorded = os.environ.get("INVMM_RECORDED")


@pytest.mark.recorded
@pytest.mark.skipif(not recorded, reason="INVMM_RECORDED is not set")
def test_captured_messages_of_the_venue_are_read() -> None:
    samples = Path(recorded or "") / ".." / "reference" / "samples"
    expected = {
        "ws_user_order_placement": (OrderStatus.LIVE, 5130, 5_000_000),
        "ws_user_order_cancellation": (OrderStatus.CANCELED, 5130, 5_000_000),
        "ws_user_order_update_docs": (OrderStatus.LIVE, 800, 100_000_000),
        "ws_user_trade_maker_confirmed": (OrderStatus.TRADE_CONFIRMED, 5130, 5_000_000),
        "ws_user_trade_taker_matched": (OrderStatus.TRADE_MATCHED, 5200, 5_000_000),
        "ws_user_trade_taker_multi_maker": (OrderStatus.TRADE_MINED, 5180, 5_000_000),
    }
    ours = {
        "ws_user_trade_maker_confirmed": "0x3ad09f225ebe141dfbdb3824f31cb457e8e0301ca4e0a06311e543f5328b9dea",
        "ws_user_trade_taker_matched": "0x5b605a0e8e40f3402d3cb3bc19edad6733ed23fbc079d2a09ee399c3487ace81",
        "ws_user_trade_taker_multi_maker": "0xab679e56242324e15e59cfd488cd0f12"
        "e4fd71b153b9bfb57518898b9983145e",
    }
    for name, (status, price_e4, size_micro) in expected.items():
        data = (samples / f"{name}.json").read_bytes()
        own = order_id_bytes(ours.get(name) or json.loads(data)["id"])
        records = UserMessages({own: 5}.get, {}).read(data, NOW_NS)
        assert len(records) == 1, name
        record = records[0]
        assert (record["key"], record["status"]) == (5, status), name
        assert (record["price_e4"], record["size_micro"]) == (price_e4, size_micro), name
        assert record["venue_ms"] > 10**12, name
        assert np.uint16(record["flags"]) == (EventFlag.TAKER if name == "ws_user_trade_taker_matched" else 0)


@pytest.mark.recorded
@pytest.mark.skipif(not recorded, reason="INVMM_RECORDED is not set")
@pytest.mark.parametrize("name", ["ws_user_order_fok_killed", "ws_user_order_venue_cancel"])
def test_captured_cancellations_with_shortened_ids_are_read_with_a_whole_id(name: str) -> None:
    samples = Path(recorded or "") / ".." / "reference" / "samples"
    message = json.loads((samples / f"{name}.json").read_bytes())
    assert len(read(reader(MINE), message)) == 0
    (record,) = read(reader(MINE), message | {"id": MINE})
    assert record["status"] == OrderStatus.CANCELED
