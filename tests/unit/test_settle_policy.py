"""Merge, redeem, split or wait: each reason, and the border at which it turns."""

from __future__ import annotations

from typing import Any

import pytest

from invmm.errors import ConfigError
from invmm.settlement.policy import Action, Decision, Means, SettlePolicy, SettleReason, Standing

PLENTY = Means(cost_micro=2_000, cash_micro=10**9, need_micro=3 * 10**8)


def decide(
    up: float, down: float, means: Means = PLENTY, policy: SettlePolicy | None = None, **facts: Any
) -> Decision:
    held = Standing(up_micro=int(up * 10**6), down_micro=int(down * 10**6), **{"seconds_left": 400, **facts})
    return (policy or SettlePolicy()).decide(held, means)


def test_merges_the_smaller_side_when_its_dollars_earn_more_than_the_gas():
    decision = decide(100, 60)
    assert (decision.action, decision.reason) == (Action.MERGE, SettleReason.MERGE_WORTH)
    assert (decision.up_micro, decision.down_micro, decision.pays_micro) == (60_000_000,) * 3


def test_turns_exactly_where_what_is_earned_exceeds_what_it_costs():
    policy = SettlePolicy()
    worth = policy.worth_micro(60 * 10**6, 400)
    assert worth == 60 * 10**6 * 5 * 400 // (100 * 86_400)
    assert decide(60, 60, Means(worth - 1, 10**9)).action is Action.MERGE
    assert decide(60, 60, Means(worth, 10**9)).reason is SettleReason.NOT_WORTH


def test_waits_for_the_resolution_when_it_is_near():
    assert decide(100, 100, seconds_left=10).reason is SettleReason.NOT_WORTH


def test_is_forced_while_the_quotes_lack_cash_whatever_it_costs():
    short = Means(cost_micro=10**9, cash_micro=299_999_999, need_micro=3 * 10**8)
    assert decide(5, 5, short).reason is SettleReason.MERGE_CASH_SHORT
    enough = Means(cost_micro=10**9, cash_micro=3 * 10**8, need_micro=3 * 10**8)
    assert decide(5, 5, enough).reason is SettleReason.NOT_WORTH
    unknown = Means(cost_micro=None, cash_micro=299_999_999, need_micro=3 * 10**8)
    assert decide(5, 5, unknown).reason is SettleReason.MERGE_CASH_SHORT
    assert decide(5, 5, Means(None, None)).reason is SettleReason.UNKNOWN_COST


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"up": 0, "down": 0}, SettleReason.EMPTY),
        ({"up": 5, "down": 0}, SettleReason.NO_PAIRS),
        ({"up": 5, "down": 0, "provisional_micro": 5}, SettleReason.PROVISIONAL),
        ({"up": 0.5, "down": 9}, SettleReason.TOO_FEW),
        ({"up": 90, "down": 90, "is_busy": True}, SettleReason.BUSY),
    ],
)
def test_nothing_is_done_without_confirmed_pairs_that_are_free(facts: dict[str, Any], reason: SettleReason):
    up, down = facts.pop("up"), facts.pop("down")
    assert decide(up, down, **facts).reason is reason


def test_nothing_new_begins_on_the_safety_path_or_without_quota():
    stopped = Means(2_000, 0, 10**9, is_killed=True)
    for facts in ({}, {"payouts": (1, 0)}, {"is_fresh": True}):
        up = 0 if "is_fresh" in facts else 100
        policy = SettlePolicy(split_micro=10**6)
        assert decide(up, up, stopped, policy, **facts).reason is SettleReason.STOPPED
        dry = Means(2_000, 10**9, has_quota=False)
        assert decide(up, up, dry, policy, **facts).reason is SettleReason.QUOTA


def test_without_new_risk_pairs_are_left_and_what_is_resolved_is_redeemed():
    careful = Means(2_000, 0, 10**9, is_stopped=True)
    assert decide(100, 100, careful).reason is SettleReason.STOPPED
    assert decide(100, 40, careful, payouts=(1, 0)).action is Action.REDEEM


@pytest.mark.parametrize(
    ("payouts", "pays"), [((1, 0), 100_000_000), ((0, 1), 40_000_000), ((1, 1), 70_000_000)]
)
def test_redeems_all_that_is_left_for_what_the_resolution_pays(payouts: tuple[int, int], pays: int):
    decision = decide(100, 40, payouts=payouts)
    assert (decision.action, decision.pays_micro) == (Action.REDEEM, pays)
    assert (decision.up_micro, decision.down_micro) == (100_000_000, 40_000_000)


def test_leaves_what_lost_and_what_pays_less_than_it_costs():
    assert decide(0, 40, payouts=(1, 0)).reason is SettleReason.LOST
    assert decide(40, 0, Means(40_000_000, 10**9), payouts=(1, 0)).reason is SettleReason.DUST
    assert decide(0, 0, payouts=(1, 0)).reason is SettleReason.EMPTY
    assert decide(0, 0, payouts=(1, 0), provisional_micro=5).reason is SettleReason.PROVISIONAL


def test_splits_at_open_only_when_told_to_and_when_the_quotes_keep_their_cash():
    fresh = {"is_fresh": True}
    assert decide(0, 0, **fresh).reason is SettleReason.EMPTY
    policy = SettlePolicy(split_micro=50_000_000)
    decision = decide(0, 0, policy=policy, **fresh)
    assert (decision.action, decision.pairs_micro) == (Action.SPLIT, 50_000_000)
    poor = Means(2_000, 349_999_999, 300_000_000)
    assert decide(0, 0, poor, policy, **fresh).reason is SettleReason.NO_CASH
    assert decide(5, 0, policy=policy, **fresh).action is Action.WAIT


def test_the_originals_rule_decides_alone_where_it_was_chosen():
    policy = SettlePolicy(rule="original")
    assert decide(50, 50, Means(10**9, 10**9), policy).reason is SettleReason.MERGE_RULE
    assert decide(50, 50, Means(0, 0, 10**9), policy, rule="9 pairs, needs 10").reason is SettleReason.RULE
    assert decide(50, 50, policy=SettlePolicy(rule="off")).reason is SettleReason.OFF


@pytest.mark.parametrize("wrong", [{"rule": "never"}, {"min_pairs_micro": -1}, {"return_ppm_day": -1}])
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]):
    with pytest.raises(ConfigError):
        SettlePolicy(**wrong)
