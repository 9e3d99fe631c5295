"""Delays between connection attempts."""

import random

import pytest

from invmm.errors import ConfigError
from invmm.feed.backoff import FullJitter, ReconnectBudget

NS = 1_000_000_000


def unlimited() -> ReconnectBudget:
    return ReconnectBudget(1_000_000, 1.0)


def test_bound_of_the_delay_doubles_up_to_the_cap() -> None:
    backoff = FullJitter(0.25, 3.0, unlimited(), lambda: 1.0)
    assert [backoff.next_ns(0) / NS for _ in range(6)] == [0.25, 0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.reset()
    assert backoff.next_ns(0) / NS == 0.25


def test_draws_fill_the_whole_interval() -> None:
    backoff = FullJitter(1.0, 1.0, unlimited(), random.Random(7).random)
    delays = [backoff.next_ns(0) / NS for _ in range(2000)]
    assert 0 <= min(delays) < 0.01
    assert 0.99 < max(delays) <= 1
    assert 0.47 < sum(delays) / len(delays) < 0.53


def test_venue_may_ask_for_a_longer_pause() -> None:
    backoff = FullJitter(0.25, 3.0, unlimited(), lambda: 0.5)
    assert backoff.next_ns(0, at_least_ns=7 * NS) == 7 * NS


def test_very_many_attempts_do_not_overflow() -> None:
    backoff = FullJitter(0.25, 3.0, unlimited(), lambda: 1.0)
    backoff.attempts = 10_000
    assert backoff.next_ns(0) == 3 * NS


def test_budget_gives_its_burst_at_once_and_then_one_at_a_time() -> None:
    budget = ReconnectBudget(burst=3, per_s=0.5)
    assert [budget.reserve_ns(0) // NS for _ in range(5)] == [0, 0, 0, 2, 4]
    assert budget.reserve_ns(100 * NS) == 0


def test_thousand_forced_reconnects_of_several_feeds_stay_within_the_shared_budget() -> None:
    budget = ReconnectBudget(burst=10, per_s=2.0)
    draw = random.Random(11).random
    feeds = [FullJitter(0.01, 0.1, budget, draw) for _ in range(4)]
    now = [0, 0, 0, 0]
    starts = []
    for _ in range(1000):
        feed = min(range(4), key=now.__getitem__)
        now[feed] += feeds[feed].next_ns(now[feed])
        starts.append(now[feed])
    starts.sort()
    for window_s in (1, 10, 100):
        allowed = 10 + 2 * window_s
        for index in range(len(starts) - allowed):
            assert starts[index + allowed] - starts[index] >= window_s * NS - 1


@pytest.mark.parametrize(("burst", "per_s"), [(0, 1.0), (1, 0.0), (1, -1.0)])
def test_impossible_budget_is_refused(burst: int, per_s: float) -> None:
    with pytest.raises(ConfigError, match="reconnect budget"):
        ReconnectBudget(burst, per_s)


def test_cap_below_base_is_refused() -> None:
    with pytest.raises(ConfigError, match="back-off"):
        FullJitter(2.0, 1.0, unlimited(), random.random)
