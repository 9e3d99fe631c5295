"""Messages of the price sockets: the captured ones, and every way of not being one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from invmm.feed.price_messages import (
    NOTHING,
    Price,
    PriceMessages,
    fact_of,
    polybolt_subscribe,
    rtds_subscribe,
)
from invmm.types import PriceFact

NOW_MS = 1_790_767_298_200


def told(**changes: Any) -> dict[str, Any]:
    payload = {
        "symbol": "btcusd",
        "source": "chainlink",
        "timestamp": NOW_MS - 200,
        "value": 65000.5,
        "full_accuracy_value": "65000.5",
        "window_seconds": 60,
    }
    message = {"v": 1, "channel": "price.crypto.twap", "seq": 17, "ts": NOW_MS - 77, "payload": payload}
    for name, value in changes.items():
        (payload if name in payload else message)[name] = value
    return message


def read(message: object, messages: PriceMessages | None = None) -> tuple[Price, ...]:
    return (messages or PriceMessages("btc")).read(json.dumps(message).encode(), NOW_MS).prices


def test_an_update_is_a_price_and_a_snapshot_is_many_oldest_first() -> None:
    assert read(told()) == (Price("chainlink", 60, NOW_MS - 200, 65000.5),)
    messages = PriceMessages("btc")
    data = [{"timestamp": NOW_MS - late, "value": 1.0 + late} for late in (0, 2_000, 1_000)]
    payload = {"symbol": "btcusd", "source": "pyth", "data": data}
    prices = read({"channel": "price.crypto", "snapshot": True, "payload": payload}, messages)
    assert [price.observed_ms - NOW_MS for price in prices] == [-2_000, -1_000, 0]
    assert {price.source for price in prices} == {"pyth"}
    assert (messages.counts.snapshots, messages.counts.prices) == (1, 3)


def test_what_was_left_out_or_lost_on_the_way_is_counted() -> None:
    messages = PriceMessages("btc")
    for sequence, dropped in ((17, 0), (18, 4), (21, 0)):
        assert read(told(seq=sequence, dropped=dropped), messages)
    assert (messages.counts.dropped, messages.counts.missed) == (4, 2)
    messages.begin()
    assert read(told(seq=1), messages)
    assert messages.counts.missed == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"channel": "price.metal"},
        {"symbol": "ethusd"},
        {"symbol": None},
        {"timestamp": "soon"},
        {"timestamp": True},
        {"timestamp": -1},
        {"timestamp": NOW_MS + 60_000},
        {"value": 0},
        {"value": -5.0},
        {"value": 1e12},
        {"value": "65000"},
        {"value": True},
        {"window_seconds": "a minute"},
        {"window_seconds": 100_000},
        {"dropped": "some"},
        {"payload": None},
        {"payload": []},
        {"payload": {"symbol": "btcusd", "window_seconds": 60, "data": 7}},
        {"payload": {"symbol": "btcusd", "window_seconds": 60, "data": [None]}},
    ],
)
def test_a_message_that_is_none_is_counted_and_never_raises(changes: dict[str, Any]) -> None:
    messages = PriceMessages("btc")
    assert read(told(**changes), messages) == ()
    assert messages.counts.bad == 1
    assert messages.last_bad


@pytest.mark.parametrize("data", [b"\xff\xfe", b"{", b"[1]", b"7", b'{"op":', b"[" * 100_000, b'{"x":1}'])
def test_bytes_that_are_no_message_are_counted(data: bytes) -> None:
    messages = PriceMessages("btc")
    assert messages.read(data, NOW_MS) == NOTHING
    assert messages.counts.bad == 1
    assert messages.read(b" ", NOW_MS) == NOTHING
    assert messages.counts.bad == 1


def test_answers_and_the_venues_error_codes_are_told() -> None:
    messages = PriceMessages("btc")
    assert messages.read(b'{"op":"authed","rid":"1"}', NOW_MS).op == "authed"
    said = messages.read(b'{"op":"error","code":"rate_limited"}', NOW_MS)
    assert (said.op, said.code) == ("error", "rate_limited")
    assert messages.errors == {"rate_limited": 1}


def test_the_predecessors_messages_name_their_feed_by_topic_but_for_the_first() -> None:
    def update(topic: str, symbol: str, **more: Any) -> dict[str, Any]:
        payload = {"symbol": symbol, "timestamp": NOW_MS, "value": 3.5, **more}
        return {"topic": topic, "type": "update", "timestamp": NOW_MS, "payload": payload}

    found = [
        read(update("crypto_prices", "btcusdt")),
        read(update("crypto_prices_chainlink", "btc/usd")),
        read(update("crypto_prices_twap_sixty", "btc/usd", window_s=60)),
    ]
    assert [(prices[0].source, prices[0].average_s) for prices in found] == [
        ("binance", 0),
        ("chainlink", 0),
        ("chainlink", 60),
    ]
    messages = PriceMessages("btc")
    first = {"topic": "crypto_prices", "type": "subscribe", "payload": {"symbol": "btc/usd", "data": []}}
    assert read(first, messages) == ()
    assert messages.counts.bad == 0
    assert read(update("crypto_prices_twap_sixty", "btc/usd", window_s=30), messages) == ()
    assert read(update("crypto_prices_twap_sixty", "btcusdt"), messages) == ()
    assert messages.counts.bad == 2


def test_a_price_is_what_the_rule_of_the_market_makes_of_it() -> None:
    chainlink, binance = Price("chainlink", 0, 1, 1.0), Price("binance", 0, 1, 1.0)
    average = Price("chainlink", 60, 1, 1.0)
    assert [fact_of(chainlink, rule) for rule in ("average", "point", "candle")] == [
        PriceFact.SPOT,
        PriceFact.SPOT,
        None,
    ]
    assert [fact_of(binance, rule) for rule in ("average", "point", "candle")] == [
        PriceFact.DIRECT,
        PriceFact.DIRECT,
        PriceFact.SPOT,
    ]
    assert [fact_of(average, rule) for rule in ("average", "point", "candle")] == [
        PriceFact.AVERAGE,
        None,
        None,
    ]


def test_what_is_asked_for_is_spelled_as_the_venue_wants_it() -> None:
    asked = json.loads(rtds_subscribe("btc", (60,)))
    filters = [item["filters"] for item in asked["subscriptions"]]
    assert filters == ['{"symbol":"btc/usd"}', '{"symbol":"btcusdt"}', '{"symbol":"btc/usd"}']
    assert {item["topic"] for item in asked["subscriptions"]} == {
        "crypto_prices",
        "crypto_prices_chainlink",
        "crypto_prices_twap_sixty",
    }
    assert all(item["type"] == "update" for item in asked["subscriptions"])
    first = json.loads(polybolt_subscribe("eth", (30,)))["subscriptions"][0]
    assert first == {"channel": "price.crypto.twap", "filter": {"symbol": "ethusd", "window_seconds": 30}}


@pytest.mark.recorded
def test_captured_messages_are_read() -> None:
    if "INVMM_RECORDED" not in os.environ:
        pytest.skip("INVMM_RECORDED is not set: no recordings")
    samples = Path(os.environ["INVMM_RECORDED"]).parent / "reference" / "samples"
    found = {}
    for name, asset in (
        ("rtds_crypto_prices_snapshot", "btc"),
        ("rtds_crypto_prices_update", "btc"),
        ("rtds_twap_update", "eth"),
    ):
        messages = PriceMessages(asset)
        found[name] = messages.read((samples / f"{name}.json").read_bytes(), NOW_MS).prices
        assert messages.counts.bad == 0
    assert found["rtds_crypto_prices_snapshot"][0] == Price("binance", 0, 1780726209000, 61164.12)
    assert len(found["rtds_crypto_prices_snapshot"]) == 3
    assert found["rtds_crypto_prices_update"] == (Price("binance", 0, 1780730269000, 61035.86),)
    assert found["rtds_twap_update"] == (Price("chainlink", 60, 1785178860000, 3200.25),)
    frames = json.loads((samples / "polybolt_frames.json").read_text())
    messages = PriceMessages("btc")
    assert read(frames["server_update"], messages) == (Price("chainlink", 60, 1790767298000, 65000.5),)
    for answer in frames["server_acks"]:
        assert messages.read(json.dumps(answer).encode(), NOW_MS).op == answer["op"]
    asked = json.loads(polybolt_subscribe("btc", (60,)))
    assert asked["subscriptions"][:2] == frames["client_subscribe"]["subscriptions"]
