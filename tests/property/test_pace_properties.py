"""Buckets as moments against buckets as tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from invmm._ext.pace import Pace
from tests.reference import pace as reference

RULES = st.lists(
    st.tuples(
        st.integers(0, 7), st.integers(0, 7), st.integers(1, 1000), st.integers(2, 50), st.integers(0, 1)
    ),
    min_size=1,
    max_size=4,
)
STEPS = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(0, 2), st.integers(1, 20), st.booleans()), max_size=60
)


@given(RULES, STEPS)
def test_a_bucket_is_a_moment(
    rules: list[tuple[int, int, int, int, int]], steps: list[tuple[int, int, int, bool]]
):
    ours, twin, now = Pace(rules), reference.Pace(rules), 10**9
    for wait, lane, legs, obeys in steps:
        now += wait
        room = ours.room(lane, legs, now)
        assert room == twin.room(lane, legs, now)
        legs = room if obeys else legs
        if legs:
            ours.charge(lane, legs, now)
            twin.charge(lane, legs, now)


@given(RULES, STEPS)
def test_no_window_sees_more_than_its_burst_and_its_rate(
    rules: list[tuple[int, int, int, int, int]], steps: list[tuple[int, int, int, bool]]
):
    ours, now = Pace(rules), 10**9
    sent: list[tuple[int, int, int]] = []
    for wait, lane, legs, _ in steps:
        now += wait
        room = ours.room(lane, legs, now)
        if room:
            ours.charge(lane, room, now)
            sent.append((now, lane, room))
    for by_leg, by_request, interval, burst, _ in rules:
        used = [
            (at, legs if by_leg >> lane & 1 else 1)
            for at, lane, legs in sent
            if (by_leg | by_request) >> lane & 1
        ]
        for i, (begin, _) in enumerate(used):
            total = 0
            for at, units in used[i:]:
                total += units
                assert (total - burst) * interval <= at - begin


@given(RULES, STEPS)
def test_the_earliest_moment_is_the_earliest(
    rules: list[tuple[int, int, int, int, int]], steps: list[tuple[int, int, int, bool]]
):
    ours, now = Pace(rules), 10**9
    for wait, lane, legs, _ in steps:
        now += wait
        at = ours.next_ns(lane, now)
        assert ours.room(lane, 1, at) == 1
        assert at == now or ours.room(lane, 1, at - 1) == 0
        ours.charge(lane, legs, now)
