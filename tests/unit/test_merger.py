"""The merge decision: three tests in order, each at its border."""

import pytest

from invmm.settlement.merger import Merger, MergerConfig
from invmm.strategy.vocabulary import InventorySnapshot


def decide(up, up_avg, down, down_avg, **config):
    return Merger(MergerConfig(**config)).check_merge(InventorySnapshot(up, up_avg, down, down_avg))


def test_merges_all_pairs_and_tells_the_profit():
    decision = decide(100.0, 0.50, 80.0, 0.25)
    assert (decision.should_merge, decision.pairs_to_merge, decision.expected_profit) == (True, 80.0, 20.0)


def test_ten_pairs_are_enough_and_fewer_are_not():
    assert decide(10.0, 0.4, 10.0, 0.4).should_merge
    decision = decide(9.999, 0.4, 9.999, 0.4)
    assert not decision.should_merge
    assert "pairs" in decision.reason
    assert (decision.pairs_to_merge, decision.expected_profit) == (0.0, 0.0)


def test_imbalance_at_the_limit_merges_and_above_it_does_not():
    assert decide(75.0, 0.4, 25.0, 0.4, max_merge_imbalance=0.5).should_merge
    assert "imbalance" in decide(76.0, 0.4, 24.0, 0.4, max_merge_imbalance=0.5).reason


def test_cost_at_its_limit_is_refused_also_when_rounding_falls_short_of_it():
    assert not decide(50.0, 0.53, 50.0, 0.46).should_merge
    assert not decide(50.0, 0.53, 50.0, 0.46 - 1e-12).should_merge
    assert decide(50.0, 0.53, 50.0, 0.4599).should_merge


@pytest.mark.parametrize(
    "config",
    [
        {"min_merge_size": 0.0},
        {"min_merge_size": -1.0},
        {"min_merge_size": float("nan")},
        {"max_merge_imbalance": 0.0},
        {"max_merge_imbalance": 1.01},
        {"max_combined_cost": 0.0},
        {"max_combined_cost": 1.0},
    ],
)
def test_settings_out_of_range_are_refused(config):
    with pytest.raises(ValueError, match=next(iter(config))):
        MergerConfig(**config)
