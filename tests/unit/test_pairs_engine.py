"""The policy `pairs` in the engine: what the step tells it."""

from __future__ import annotations

from invmm._ext.pairs_policy import PairsPolicy
from invmm.types import CommandKind, EventKind, Outcome, Reason
from tests.unit.test_step import Desk


def pairs_desk(more: str = "") -> tuple[Desk, PairsPolicy]:
    """With so small an edge that a calm market is quoted at three levels."""
    desk = Desk(f'[strategy]\npolicy = "pairs"\n[pairs]\nmin_edge = 0.002\nadverse_slope = 0.0\n{more}')
    policy = desk.market.step.policy
    assert isinstance(policy, PairsPolicy)
    return desk, policy


def test_a_new_market_is_quoted_on_both_sides() -> None:
    desk, _ = pairs_desk()
    commands = desk.open()
    assert {int(c["token"]) for c in commands} == {0, 1}
    assert all(c["kind"] == CommandKind.PLACE for c in commands)
    assert (
        max(commands["price_e4"][commands["token"] == 0]) + max(commands["price_e4"][commands["token"] == 1])
        < 10_000
    )


def test_a_fill_is_learnt_from_and_so_is_the_end() -> None:
    desk, policy = pairs_desk()
    commands = desk.open()
    desk.accept(commands, 10)
    up = next(c for c in commands if c["token"] == 0)
    desk.fill(up, 100, 400)
    for at_ms in (1_500, 2_000):
        desk.event(EventKind.TIMER, at_ms)
    assert [row["count"] for row in policy.markouts.stats()] == [1, 0, 0, 0]
    desk.event(EventKind.SETTLEMENT, 300_000, token=Outcome.DOWN)
    assert policy.markouts.stats()[3]["count"] == 1
    assert float(policy.markouts.stats()[3]["mean"]) > 0.4  # bought near .5, worth nothing


def test_in_the_last_twenty_seconds_every_quote_is_pulled_with_its_reason() -> None:
    desk, _ = pairs_desk("narrow_s = 0.0")
    desk.accept(desk.open(278_000), 278_010)
    commands = desk.event(EventKind.TIMER, 280_500)
    assert {int(c["kind"]) for c in commands} == {CommandKind.CANCEL}
    assert desk.reasons == (Reason.NO_EXIT, Reason.NO_EXIT)
