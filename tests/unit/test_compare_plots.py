"""The plots of the comparison page, by hand: where marks lie, what is kept when a line is thinned."""

from __future__ import annotations

import math
import re

import pytest

from invmm.replay.compare_plots import (
    POINTS,
    WIDTH,
    Band,
    Dots,
    Interval,
    Line,
    chart,
    intervals,
    mark,
    strips,
    thinned,
    tick_text,
    ticks,
)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (-0.31, 0.29, [-0.2, 0, 0.2]),
        (3, 3, [3]),
        (95, 1005, [200, 400, 600, 800, 1000]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_a_tick_has_the_decimals_that_it_needs_and_a_true_minus() -> None:
    assert [tick_text(value, 0.05) for value in (-0.1, -1e-17, 0.15)] == ["−0.10", "0", "0.15"]
    assert tick_text(-1500, 500) == "−1,500"


def test_a_thinned_line_keeps_its_ends_and_its_extremes() -> None:
    count = 40 * POINTS
    values: list[float | None] = [math.sin(k / 50) for k in range(count)]
    values[7777], values[8888], values[9000] = 9.0, -9.0, None
    kept = thinned(range(count), values)
    assert len(kept) <= 4 * POINTS + 4
    assert {(0.0, 0.0), (7777.0, 9.0), (8888.0, -9.0), (count - 1.0, values[-1])} <= set(kept)
    assert kept == sorted(kept, key=lambda point: point[0])


def test_a_short_line_is_kept_whole_and_values_that_are_none_break_it() -> None:
    drawn = chart("t", [Line("a", [0, 1, 2, 3], [1, 1, math.nan, 2], 0)], x_unit="s", y_unit="$")
    path = re.findall(r"class='line s0' d='([^']*)'", drawn)[0]
    assert path.count("M") == 2
    assert path.count("L") == 1
    assert "nan" not in drawn


def test_a_step_line_holds_its_value_until_the_next() -> None:
    drawn = chart("t", [Line("a", [0, 5, 10], [0, 1, 1], 0, step=True)], x_unit="s", y_unit="$")
    assert re.search(r"class='line s0' d='M[\d.]+,[\d.]+H[\d.]+V[\d.]+H[\d.]+'", drawn)


def test_marks_lie_where_the_axis_says() -> None:
    rows = [Interval("a", 0.0, -1.0, 1.0, 0), Interval("b", 1.0, None, None, 1)]
    drawn = intervals("t", rows, unit="$")
    zero = float(re.search(r"class='zero' d='M([\d.]+),", drawn)[1])  # type: ignore[index]
    places = [float(x) for x in re.findall(r"class='mark[^']*' d='M([\d.]+),", drawn)]
    ends = [float(x) for x in re.findall(r"class='whisker s0' d='M([\d.]+),\d+H([\d.]+)", drawn)[0]]
    assert places[0] == zero
    assert ends == pytest.approx([2 * zero - ends[1], places[1]], abs=0.11)
    assert drawn.count("whisker") == 1


def test_every_market_has_its_dot_and_those_beyond_the_edge_are_counted() -> None:
    values = [float(k % 7) for k in range(398)] + [1e6, -1e6]
    drawn = strips("t", [("a", values, 2)], unit="$")
    assert "n 400, 2 beyond" in drawn
    dots = re.findall(r"M([\d.]+),[\d.]+h0", drawn)
    assert len(dots) == 400
    assert all(0 <= float(x) <= WIDTH for x in dots)


def test_every_look_is_told_apart_without_its_colour() -> None:
    shapes = {re.sub(r"[sf]\d", "", mark(look, 5, 5)) for look in range(8)}
    assert len(shapes) == 8


def test_nothing_to_draw_is_no_figure() -> None:
    assert chart("t", [], x_unit="s", y_unit="$") == ""
    assert chart("t", [Line("a", [0], [None], 0), Dots("d", [], [], 0)], x_unit="s", y_unit="$") == ""
    assert chart("t", [Band("b", [0, 1], [None, None], [None, None])], x_unit="s", y_unit="$") == ""
    assert intervals("t", [Interval("a", None, 1.0, 2.0, 0)], unit="$") == ""
    assert strips("t", [("a", [None, math.nan], 0)], unit="$") == ""


def test_one_moment_and_equal_values_can_be_drawn() -> None:
    drawn = chart("t", [Line("a", [3], [2], 0), Band("b", [3], [1], [1])], x_unit="s", y_unit="$")
    assert drawn.startswith("<figure>")
    assert "nan" not in drawn
