"""Engine time, live and replayed."""

import time

import pytest

from invmm._ext.sink import FrameSink
from invmm.clock import Clock, LiveClock, ReplayClock
from invmm.errors import ConfigError
from invmm.feed.listener import FeedListener


def test_live_clock_starts_at_the_wall_clock_and_runs_with_the_machine() -> None:
    before = time.time_ns()
    clock = LiveClock()
    assert before <= clock.origin_ns <= time.time_ns()
    assert clock.at_ns(clock.mono_origin_ns + 123) == clock.origin_ns + 123


def test_scaled_clock_runs_that_much_faster() -> None:
    clock = LiveClock(6.0, origin_ns=1_000, mono_origin_ns=500)
    assert clock.at_ns(500 + 7) == 1_000 + 42
    assert clock.wall_s(6_000_000_000) == 1.0
    assert clock.wall_s(-1) == 0.0


def test_unscaled_clock_is_exact_where_a_double_is_not() -> None:
    clock = LiveClock(1.0, origin_ns=0, mono_origin_ns=0)
    assert clock.at_ns((1 << 53) + 1) == (1 << 53) + 1


@pytest.mark.parametrize("scale", [1.0, 6.0, 0.1, 3.3333333])
def test_listener_and_clock_compute_the_same_time(scale: float) -> None:
    clock = LiveClock(scale, origin_ns=1_790_766_966_313_000_000, mono_origin_ns=7_000_000_000)
    listener = FeedListener(FrameSink(), clock)
    for elapsed in (0, 1, 999, 10**6 + 1, 10**9 + 7, 86_400 * 10**9 + 13, -5, -(10**9) - 1):
        mono_ns = clock.mono_origin_ns + elapsed
        assert listener.engine_ns(mono_ns) == clock.at_ns(mono_ns)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), 10_001.0])
def test_scale_out_of_range_is_refused(scale: float) -> None:
    with pytest.raises(ConfigError, match="clock scale"):
        LiveClock(scale)


def test_replay_clock_stands_still_until_set_and_never_goes_back() -> None:
    clock = ReplayClock(10)
    assert clock.now_ns() == 10
    clock.set(25)
    clock.set(25)
    assert clock.now_ns() == 25
    with pytest.raises(ValueError, match="expected 25 ns or later, found 24 ns"):
        clock.set(24)


def test_both_are_clocks() -> None:
    assert isinstance(LiveClock(), Clock)
    assert isinstance(ReplayClock(), Clock)
