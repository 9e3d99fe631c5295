"""The per-token data clock, without sockets."""

from invmm.feed.liveness import Liveness, Verdict
from invmm.feed.states import TokenState

S = 1_000_000_000


def liveness() -> Liveness:
    return Liveness(first_event_ns=5 * S, redrives=3, silence_ns=3 * S, silence_cap_ns=10 * S)


def test_token_without_book_is_redriven_three_times_and_then_missing() -> None:
    clocks = liveness()
    clocks.subscribed(["1", "2"], 0)
    clocks.observe("1", 1 * S, True)
    seen = []
    for second in range(1, 25):
        clocks.observe("1", second * S, True)
        verdict = clocks.check(second * S)
        if verdict != Verdict():
            seen.append((second, verdict))
    assert seen == [
        (5, Verdict(redrive=("2",))),
        (10, Verdict(redrive=("2",))),
        (15, Verdict(redrive=("2",))),
        (20, Verdict(missing=("2",))),
    ]
    assert clocks.states() == {"1": TokenState.LIVE, "2": TokenState.MISSING}


def test_data_without_a_book_does_not_make_a_token_live() -> None:
    clocks = liveness()
    clocks.subscribed(["1"], 0)
    clocks.observe("1", 4 * S, False)
    assert clocks.check(5 * S).redrive == ("1",)
    assert not clocks.all_live()


def test_live_token_goes_silent_at_the_limit_and_overdue_at_the_cap() -> None:
    clocks = liveness()
    clocks.subscribed(["1"], 0)
    clocks.observe("1", 1 * S, True)
    assert clocks.due_ns() == 4 * S
    assert clocks.check(4 * S - 1) == Verdict()
    assert clocks.check(4 * S) == Verdict(silent=("1",))
    assert clocks.states() == {"1": TokenState.SILENT}
    assert clocks.due_ns() == 11 * S
    assert clocks.check(11 * S - 1) == Verdict(silent=("1",))
    assert clocks.check(11 * S) == Verdict(silent=("1",), overdue=("1",))


def test_silent_token_that_is_heard_again_is_live() -> None:
    clocks = liveness()
    clocks.subscribed(["1"], 0)
    clocks.observe("1", 1 * S, True)
    clocks.check(5 * S)
    clocks.observe("1", 9 * S, True)
    assert clocks.check(9 * S) == Verdict()
    assert clocks.all_live()


def test_next_look_is_the_earliest_deadline() -> None:
    clocks = liveness()
    assert clocks.due_ns() is None
    clocks.subscribed(["1", "2"], 0)
    assert clocks.due_ns() == 5 * S
    clocks.observe("1", 1 * S, True)
    assert clocks.due_ns() == 4 * S
    clocks.removed(["1"])
    assert clocks.due_ns() == 5 * S


def test_limit_follows_the_rare_gaps_between_minimum_and_cap() -> None:
    clocks = liveness()
    counts = [0] * 24
    counts[7] = 999
    clocks.learn(counts)
    assert clocks.limit_ns == 3 * S  # too few to know
    counts[7] = 10_000
    clocks.learn(counts)
    assert clocks.limit_ns == 3 * S  # 128 ms is below the minimum
    counts[12] = 11
    clocks.learn(counts)
    assert clocks.limit_ns == 4_096_000_000  # more than one gap in a thousand is that long
    counts[20] = 1000
    clocks.learn(counts)
    assert clocks.limit_ns == 10 * S
