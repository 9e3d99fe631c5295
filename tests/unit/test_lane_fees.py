"""Fees of a transaction and of its replacements, by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from invmm.settings import SettlementSettings
from invmm.settlement.fees import GWEI, Fees, first_fees, raised_fees

SETTINGS = SettlementSettings(max_fee_gwei=810, tip_floor_gwei=30, tip_cap_gwei=162)
FEES = st.integers(0, 2_000 * GWEI)


def test_a_first_bid_is_twice_the_base_fee_and_the_tip() -> None:
    assert first_fees(100 * GWEI, 40 * GWEI, SETTINGS) == Fees(240 * GWEI, 40 * GWEI)


def test_a_tip_is_brought_between_floor_and_what_two_replacements_bring_to_its_cap() -> None:
    assert first_fees(100 * GWEI, 1, SETTINGS) == Fees(230 * GWEI, 30 * GWEI)
    assert first_fees(100 * GWEI, 900 * GWEI, SETTINGS) == Fees(328 * GWEI, 128 * GWEI)


def test_a_first_bid_leaves_room_for_two_replacements_where_the_base_fee_allows() -> None:
    assert first_fees(400 * GWEI, 40 * GWEI, SETTINGS) == Fees(640 * GWEI, 40 * GWEI)
    assert first_fees(700 * GWEI, 40 * GWEI, SETTINGS) == Fees(740 * GWEI, 40 * GWEI)


def test_there_is_no_bid_above_the_cap() -> None:
    assert first_fees(770 * GWEI, 40 * GWEI, SETTINGS) == Fees(810 * GWEI, 40 * GWEI)
    assert first_fees(770 * GWEI + 1, 40 * GWEI, SETTINGS) is None
    assert raised_fees(Fees(721 * GWEI, 40 * GWEI), 1, SETTINGS) is None
    assert raised_fees(Fees(200 * GWEI, 145 * GWEI), 1, SETTINGS) is None


def test_a_replacement_follows_the_base_fee() -> None:
    assert raised_fees(Fees(80 * GWEI, 40 * GWEI), 1, SETTINGS) == Fees(90 * GWEI, 45 * GWEI)
    assert raised_fees(Fees(80 * GWEI, 40 * GWEI), 200 * GWEI, SETTINGS) == Fees(445 * GWEI, 45 * GWEI)


@given(FEES, FEES, FEES)
def test_caps_hold_and_replacements_are_an_eighth_higher(base: int, later: int, tip: int) -> None:
    fees = first_fees(base, tip, SETTINGS)
    count = 0
    while fees is not None:
        assert fees.tip_wei <= fees.max_fee_wei <= 810 * GWEI
        assert fees.tip_wei <= 162 * GWEI
        higher = raised_fees(fees, later, SETTINGS)
        if higher is not None:
            assert 8 * higher.max_fee_wei >= 9 * fees.max_fee_wei
            assert 8 * higher.tip_wei >= 9 * fees.tip_wei
            assert higher.max_fee_wei >= later + higher.tip_wei
        fees = higher
        count += 1
    assert count < 100
