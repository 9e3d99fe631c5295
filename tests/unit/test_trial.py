"""One market, one policy, one set of conditions."""

from __future__ import annotations

import json
import multiprocessing
from functools import cache
from typing import Any

import pytest

from invmm.errors import ConfigError
from invmm.replay.tape import Tape
from invmm.replay.trial import Conditions, play_trial, sized, tape_of
from invmm.settings import Settings
from invmm.sim.market import generate


@cache
def market() -> Tape:
    return generate(7, window_s=90)


@cache
def played(policy: str, **conditions: Any) -> dict[str, Any]:
    return play_trial(market(), policy, conditions=Conditions(**conditions), series=True)


def _elsewhere(policy: str) -> dict[str, Any]:
    return play_trial(generate(7, window_s=90), policy, series=True)


def test_equal_arguments_give_an_equal_dictionary_in_any_process() -> None:
    here = played("join_touch")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(_elsewhere, ["join_touch"])
    assert here == there
    assert json.loads(json.dumps(here)) == here


def test_who_does_nothing_sends_nothing() -> None:
    row = played("do_nothing")
    assert (row["orders"], row["messages"], row["fills"], row["profit_e10"]) == (0, 0, 0, 0)
    assert row["pair_cost"] is None
    assert row["markout_5s_cents"] is None
    assert row["traded_shares"] > 0


def test_who_joins_the_touch_only_rests_at_best_bids() -> None:
    row = played("join_touch")
    assert row["fills"] > 0
    assert row["maker_share"] == 1.0
    series = row["series"]
    for own, best in zip(series["own_up_bid"], series["up_bid"], strict=True):
        assert own is None or best is None or own <= best + 0.05


@pytest.mark.parametrize("policy", ["join_touch", "inventory_mm"])
def test_the_parts_are_the_profit(policy: str) -> None:
    row = played(policy)
    parts = row["pairs_dollars"] + row["orphans_dollars"] + row["fees_dollars"]
    assert parts == pytest.approx(row["profit_dollars"], abs=1e-9)
    assert row["reconciled"]
    assert row["series"]["profit"][-1] == pytest.approx(row["profit_dollars"], abs=1e-5)
    assert 0 < row["max_committed_dollars"] <= Settings().risk.max_cash_dollars


def test_rebates_count_only_where_they_are_asked_for() -> None:
    without, with_them = played("join_touch"), played("join_touch", rebates=True)
    assert without["rebates_dollars"] == with_them["rebates_dollars"] > 0
    gain = with_them["profit_dollars"] - without["profit_dollars"]
    assert gain == pytest.approx(without["rebates_dollars"])


def test_a_settlement_that_fails_takes_its_shares_back() -> None:
    row = played("join_touch", failure_rate=1.0)
    assert row["failed_fills"] > 0
    assert (row["fills"], row["profit_e10"]) == (0, 0)


def test_a_slower_way_to_the_venue_changes_what_is_done() -> None:
    assert played("join_touch", latency_ms=500.0)["digest"] != played("join_touch")["digest"]


def test_own_sizes_are_scaled_with_every_limit() -> None:
    settings = sized(Settings(), 5)
    assert settings.strategy.order_size == 500.0
    assert settings.risk.max_order_shares == 1_000.0
    assert settings.pairs.max_lead_shares == 2_000.0
    row = played("join_touch", size_factor=5)
    assert row["placed_shares"] / row["orders"] > 300


@pytest.mark.parametrize(
    "wrong",
    [{"queue_model": "kind"}, {"latency_ms": -1.0}, {"failure_rate": 1.5}, {"size_factor": 0}],
)
def test_conditions_out_of_range_are_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        Conditions(**wrong)


@pytest.mark.parametrize("name", ["generated:", "generated:-1", "generated:x"])
def test_a_market_that_is_none_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match="expected generated:SEED"):
        tape_of(name)


def test_without_a_price_of_the_underlying_pairs_does_something_else_and_others_do_not() -> None:
    assert played("pairs", prices=False)["digest"] != played("pairs")["digest"]
    assert played("join_touch", prices=False)["digest"] == played("join_touch")["digest"]
