"""Reading a market's two listings: what is taken over, and that each inconsistency is a refusal by name."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from invmm.replay.tape import MarketInfo
from invmm.venue.listing import Found, NotTradableError, RefusalKind, read_market
from invmm.venue.profile import CONTRACTS, POLYGON
from invmm.venue.series import Window

START = 1791241200
SLUG = f"btc-updown-15m-{START}"
WINDOW = Window(SLUG, START, START + 900)
V1 = "0xcd5f9f505e0c0182746aa65963f72f01e7463259e5ea9f56672c0fe3a37f348a"
V1_UP = "25070934348813416902477876984955073880416401960631253331845590271167412497744"
V1_DOWN = "111614563957165270026378011809694313565736745512637881727398424401624030147043"
V2 = "0x017791f201d5a788e0039e511fc1900e5f000000000000000000000000000000"
V2_UP = "663574927012476832975694178961957910328055987427402067619466963999000625152"
V2_DOWN = "663574927012476832975694178961957910328055987427402067619466963999000625153"


def gamma(**changes: Any) -> dict[str, Any]:
    listing = {
        "slug": SLUG,
        "conditionId": V1,
        "outcomes": '["Up", "Down"]',
        "clobTokenIds": json.dumps([V1_UP, V1_DOWN]),
        "outcomePrices": '["0.905", "0.095"]',
        "eventStartTime": "2026-10-05T23:00:00Z",
        "endDate": "2026-10-05T23:15:00Z",
        "active": True,
        "closed": False,
        "enableOrderBook": True,
        "acceptingOrders": True,
        "negRisk": False,
        "feesEnabled": True,
        "feeSchedule": {"exponent": 1, "rate": 0.07, "takerOnly": True, "rebateRate": 0.2},
        "version": "v1",
    }
    return without(listing | changes)


def clob(**changes: Any) -> dict[str, Any]:
    listing = {
        "t": [{"t": V1_UP, "o": "Up"}, {"t": V1_DOWN, "o": "Down"}],
        "c": V1,
        "mos": 5,
        "mts": 0.01,
        "ao": True,
        "itode": True,
        "fd": {"r": 0.07, "e": 1, "to": True},
        "v": "v1",
    }
    return without(listing | changes)


def without(listing: dict[str, Any]) -> dict[str, Any]:
    """`...` as a value means that the key is not there."""
    return {key: value for key, value in listing.items() if value is not ...}


def read(g: dict[str, Any] | None = None, c: dict[str, Any] | None = None, window: Window = WINDOW) -> Found:
    return read_market(window, gamma() if g is None else g, clob() if c is None else c, CONTRACTS[POLYGON])


def second_generation(**changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return (
        gamma(conditionId=V2, version="v2", clobTokenIds=None, positionIds=[V2_UP, V2_DOWN]) | changes,
        clob(c=V2, v="v2", t=[{"t": V2_UP, "o": "Up"}, {"t": V2_DOWN, "o": "Down"}]),
    )


def test_a_consistent_listing_is_a_market_to_trade() -> None:
    found = read()
    assert found.refusals == ()
    assert found.require() == MarketInfo(
        slug=SLUG,
        condition_id=V1,
        up_token_id=V1_UP,
        down_token_id=V1_DOWN,
        start_s=START,
        end_s=START + 900,
        tick_e4=100,
        min_size_micro=5_000_000,
        fee_rate=0.07,
        rebate_share=0.2,
        origin="LISTED",
        exchange="v2",
    )
    assert (found.taker_delay, found.version) == (True, "v1")


def test_a_second_generation_market_goes_to_the_newer_exchange() -> None:
    info = read(*second_generation()).require()
    assert (info.exchange, info.up_token_id, info.down_token_id) == ("v3", V2_UP, V2_DOWN)


def test_a_condition_of_31_bytes_is_the_padded_one() -> None:
    assert read(*second_generation(conditionId=V2[:-2])).require().condition_id == V2


def test_the_generation_chooses_the_id_field_also_when_both_are_there() -> None:
    listing, other = second_generation(clobTokenIds=json.dumps([V1_UP, V1_DOWN]))
    assert read(listing, other).require().up_token_id == V2_UP


def test_outcomes_are_paired_by_label_whatever_their_order() -> None:
    swapped = clob(t=[{"t": V1_DOWN, "o": "Down"}, {"t": V1_UP, "o": "Up"}])
    assert read(c=swapped).require().up_token_id == V1_UP


def test_yes_and_no_stand_for_up_and_down() -> None:
    found = read(
        gamma(outcomes='["Yes", "No"]'), clob(t=[{"t": V1_UP, "o": "Yes"}, {"t": V1_DOWN, "o": "No"}])
    )
    assert found.require().up_token_id == V1_UP


@pytest.mark.parametrize(
    ("kind", "g", "c", "says"),
    [
        (RefusalKind.SLUG, {"slug": "btc-updown-15m-1"}, {}, SLUG),
        (RefusalKind.CONDITION, {}, {"c": V2}, V2),
        (RefusalKind.VERSION, {"version": ...}, {}, "Gamma's version: expected 'v1' or 'v2', found None"),
        (RefusalKind.VERSION, {}, {"v": ...}, "the CLOB's v: expected 'v1' or 'v2', found None"),
        (RefusalKind.VERSION, {}, {"v": "v3"}, "found 'v3'"),
        (RefusalKind.VERSION, {}, {"v": "v2"}, "expected 'v1', found 'v2'"),
        (RefusalKind.NEG_RISK, {"negRisk": True}, {}, "without neg-risk"),
        (RefusalKind.NEG_RISK, {}, {"nr": True}, "without neg-risk"),
        (RefusalKind.OUTCOMES, {"outcomes": '["Up", "Up"]'}, {}, "two different outcomes"),
        (RefusalKind.OUTCOMES, {"clobTokenIds": "[]"}, {}, "clobTokenIds"),
        (RefusalKind.OUTCOMES, {"clobTokenIds": "not JSON"}, {}, "clobTokenIds"),
        (RefusalKind.OUTCOMES, {}, {"t": None}, "the CLOB's t"),
        (RefusalKind.OUTCOMES, {}, {"t": [{"t": V1_UP, "o": "Up"}]}, "the CLOB's t"),
        (RefusalKind.OUTCOMES, {}, {"t": [{"t": "1", "o": "A"}, {"t": "2", "o": "B"}]}, "found ['A', 'B']"),
        (RefusalKind.TOKENS, {"clobTokenIds": json.dumps([V1_DOWN, V1_UP])}, {}, "ids by outcome"),
        (RefusalKind.TICK, {}, {"mts": 0.03}, "found 300"),
        (RefusalKind.TICK, {}, {"mts": 0.00001}, "mts: expected a number above 0"),
        (RefusalKind.TICK, {}, {"mts": True}, "found True"),
        (RefusalKind.TICK, {}, {"mts": ...}, "found None"),
        (RefusalKind.MIN_SIZE, {}, {"mos": 0}, "found 0"),
        (RefusalKind.FEES, {}, {"fd": {"r": 0.05, "e": 1, "to": True}}, "fee rate"),
        (RefusalKind.FEES, {}, {"fd": None}, "expected fd and feeSchedule"),
        (
            RefusalKind.FEES,
            {"feeSchedule": {"exponent": 2, "rate": 0.07, "takerOnly": True}},
            {"fd": {"r": 0.07, "e": 2, "to": True}},
            "exponent 1",
        ),
        (
            RefusalKind.FEES,
            {"feeSchedule": {"exponent": 1, "rate": 0.07, "takerOnly": False}},
            {"fd": {"r": 0.07, "e": 1, "to": False}},
            "takers only",
        ),
        (RefusalKind.TIMES, {"eventStartTime": ...}, {}, "eventStartTime"),
        (RefusalKind.TIMES, {"endDate": "2026-10-05T23:15:00"}, {}, "with an offset"),
        (RefusalKind.TIMES, {"endDate": "2026-10-05T23:20:00Z"}, {}, str(START + 900)),
        (RefusalKind.CLOSED, {"closed": True}, {}, "closed"),
        (RefusalKind.NOT_ACCEPTING, {"acceptingOrders": False}, {}, "acceptingOrders"),
        (RefusalKind.NOT_ACCEPTING, {}, {"ao": False}, "ao"),
        (RefusalKind.NOT_ACCEPTING, {"enableOrderBook": ...}, {}, "enableOrderBook"),
    ],
)
def test_each_inconsistency_is_a_refusal_that_says_what_was_expected_and_found(
    kind: RefusalKind, g: dict[str, Any], c: dict[str, Any], says: str
) -> None:
    found = read(gamma(**g), clob(**c))
    assert kind in [refusal.kind for refusal in found.refusals]
    assert any(says in refusal.text for refusal in found.refusals), [str(r) for r in found.refusals]
    with pytest.raises(NotTradableError, match="not tradable"):
        found.require()


def test_ids_that_are_swapped_in_both_listings_are_found_out_by_recomputing_them() -> None:
    found = read(
        gamma(clobTokenIds=json.dumps([V1_DOWN, V1_UP])),
        clob(t=[{"t": V1_DOWN, "o": "Up"}, {"t": V1_UP, "o": "Down"}]),
    )
    assert [refusal.kind for refusal in found.refusals] == [RefusalKind.IDS]
    assert V1_UP in found.refusals[0].text


def test_ids_of_another_condition_are_found_out_in_both_generations() -> None:
    for g, c in ((gamma(), clob()), second_generation()):
        other = c["c"][:4] + ("0" if c["c"][4] != "0" else "1") + c["c"][5:]
        found = read(g | {"conditionId": other}, c | {"c": other})
        assert [refusal.kind for refusal in found.refusals] == [RefusalKind.IDS]


def test_first_generation_ids_in_a_second_generation_market_are_refused() -> None:
    g, c = second_generation(positionIds=[V1_UP, V1_DOWN])
    c["t"] = [{"t": V1_UP, "o": "Up"}, {"t": V1_DOWN, "o": "Down"}]
    assert {refusal.kind for refusal in read(g, c).refusals} == {RefusalKind.IDS}


def test_a_market_that_the_order_book_does_not_know_yet_is_worth_asking_for_again() -> None:
    found = read_market(WINDOW, gamma(), None, CONTRACTS[POLYGON])
    assert [(r.kind, r.passes) for r in found.refusals] == [(RefusalKind.NOT_READY, True)]


def test_a_wrong_id_never_passes_by_itself() -> None:
    assert not any(r.passes for r in read(c=clob(c=V2)).refusals)


def test_a_market_without_fees_has_none() -> None:
    assert read(gamma(feesEnabled=False, feeSchedule=...), clob(fd=...)).require().fee_rate == 0.0


def test_a_closed_market_says_who_won() -> None:
    found = read(gamma(closed=True, outcomePrices='["0", "1"]'))
    assert (found.closed, found.winner) == (True, "Down")
    assert read(gamma(closed=True, outcomePrices='["0.5", "0.5"]')).winner == ""


@pytest.mark.parametrize("junk", [None, 7, [], {}, "", "x" * 10_000, [[]], {"t": []}, 1e400, "0x12"])
def test_any_value_in_any_field_is_a_refusal_and_never_an_exception(junk: Any) -> None:
    for key in gamma():
        if key not in ("outcomePrices", "feesEnabled", "negRisk"):
            found = read(gamma() | {key: copy.deepcopy(junk)})
            assert found.refusals, key
            assert all(len(str(refusal)) < 800 for refusal in found.refusals)
    for key in clob():
        if (key, junk) != ("mos", 7) and key != "itode":
            assert read(c=clob() | {key: copy.deepcopy(junk)}).refusals, key


@pytest.mark.recorded
def test_the_recorded_listing_of_a_real_market_is_tradable() -> None:
    if "INVMM_RECORDED" not in os.environ:
        pytest.skip("INVMM_RECORDED is not set: no recordings")
    samples = Path(os.environ["INVMM_RECORDED"]).parent / "reference" / "samples"
    listed = json.loads((samples / "rest_gamma_market_v1_btc15m.json").read_text())
    traded = json.loads((samples / "rest_clob_market_v1.json").read_text())
    settled = {"rule": "average", "average_s": 60, "asset": "btc"}
    assert read(listed, traded).require() == dataclasses.replace(read().require(), **settled)
