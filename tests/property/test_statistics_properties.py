"""Means over markets with intervals: laws that hold for all data, and coverage where the truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invmm.replay.statistics import _student as student
from invmm.replay.statistics import block_length, mean_of, paired, ratio_of

VALUES = st.lists(st.floats(-1e4, 1e4), min_size=8, max_size=60)


@settings(max_examples=40)
@given(VALUES)
def test_the_mean_lies_within_its_interval_and_equal_values_give_equal_ones(values: list[float]) -> None:
    found = mean_of(values, draws=200)
    assert found.mean is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low - 1e-6 <= found.mean <= found.high + 1e-6
    assert found == mean_of(list(values), draws=200)


@settings(max_examples=40)
@given(VALUES, st.floats(-1e3, 1e3), st.floats(0.1, 10.0))
def test_shifted_and_scaled_values_shift_and_scale_the_interval(
    values: list[float], shift: float, scale: float
) -> None:
    found = mean_of(values, draws=100)
    moved = mean_of([scale * value + shift for value in values], draws=100)
    for name in ("mean", "low", "high"):
        expected = scale * getattr(found, name) + shift
        assert getattr(moved, name) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert moved.detectable == pytest.approx(scale * (found.detectable or 0.0), rel=1e-6, abs=1e-6)


@settings(max_examples=40)
@given(VALUES)
def test_a_policy_against_itself_is_never_shown_to_differ(values: list[float]) -> None:
    found = paired(values, values, draws=100)
    assert (found.mean, found.low, found.high, found.verdict) == (0.0, 0.0, 0.0, "not shown")


def test_a_constant_difference_is_found_whatever_the_markets_were_like() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(0, 1e3, 40)
    found = paired(base + 0.5, base)
    assert found.mean == pytest.approx(0.5)
    assert found.verdict == "better"
    assert paired(base - 0.5, base).verdict == "worse"


def test_weights_make_the_mean_of_all_shares_not_of_markets() -> None:
    found = ratio_of([10.0, -10.0] * 10, [10.0, 5.0] * 10)
    assert found.mean == pytest.approx(0.0)
    assert ratio_of([1.0] * 10, [2.0] * 10).mean == pytest.approx(0.5)
    assert ratio_of([0.0] * 10, [0.0] * 10).mean is None


def test_too_few_markets_have_a_mean_and_no_interval() -> None:
    assert mean_of([1.0]).low is None
    assert mean_of([]).mean is None
    assert mean_of([1.0]).verdict == "not shown"
    # Two markets: a block each.
    assert mean_of([1.0, 3.0]).low is not None


@pytest.mark.parametrize(("freedom", "known"), [(1, 12.706), (3, 3.182), (4, 2.776), (8, 2.306), (60, 2.000)])
def test_students_percentile_is_that_of_the_tables(freedom: int, known: float) -> None:
    assert student(freedom) == pytest.approx(known, rel=0.012)


@pytest.mark.parametrize("wrong", [[1.0, math.nan], [1.0, math.inf]])
def test_what_is_not_finite_is_an_error(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        mean_of(wrong)


def _autoregressive(rng: np.random.Generator, n: int, memory: float) -> np.ndarray:
    noise = rng.normal(0, 1, n + 50)
    out = np.zeros(n + 50)
    for i in range(1, n + 50):
        out[i] = memory * out[i - 1] + noise[i]
    return out[50:]


@pytest.mark.parametrize(("n", "memory", "block"), [(9, 0.0, 2), (60, 0.0, None), (200, 0.3, 12)])
def test_intervals_cover_the_truth_as_often_as_they_say(n: int, memory: float, block: int | None) -> None:
    rng = np.random.default_rng(n)
    trials, covered = 300, 0
    for trial in range(trials):
        found = mean_of(2.0 + _autoregressive(rng, n, memory), block=block, draws=400, seed=trial)
        covered += (found.low or 0.0) <= 2.0 <= (found.high or 0.0)
    # 95 % ± four standard errors of 300 trials, less two points that blocks lose where neighbours are alike.
    error = math.sqrt(0.95 * 0.05 / trials)
    assert 0.95 - 4 * error - (0.02 if memory else 0.0) <= covered / trials <= min(1.0, 0.95 + 4 * error)


def test_without_blocks_neighbours_that_are_alike_make_it_too_sure() -> None:
    rng = np.random.default_rng(3)
    covered = [0, 0]
    for trial in range(200):
        values = _autoregressive(rng, 150, 0.8)
        for index, block in enumerate((1, 25)):
            found = mean_of(values, block=block, draws=200, seed=trial)
            covered[index] += (found.low or 0.0) <= 0.0 <= (found.high or 0.0)
    assert covered[0] / 200 < 0.65
    assert covered[1] / 200 > 0.82


def test_the_detectable_difference_is_detected_four_times_in_five() -> None:
    rng = np.random.default_rng(4)
    n, sigma = 100, 1.0
    known = (1.96 + 0.8416) * sigma / math.sqrt(n)
    said = [mean_of(rng.normal(0, sigma, n), block=1, draws=400).detectable or 0.0 for _ in range(60)]
    assert np.mean(said) == pytest.approx(known, rel=0.05)
    shown = sum(
        mean_of(rng.normal(known, sigma, n), block=1, draws=400, seed=k).verdict == "better"
        for k in range(300)
    )
    assert shown / 300 == pytest.approx(0.8, abs=4 * math.sqrt(0.8 * 0.2 / 300))


def test_blocks_grow_with_the_cube_root() -> None:
    assert [block_length(n) for n in (1, 9, 18, 500)] == [1, 2, 3, 8]
