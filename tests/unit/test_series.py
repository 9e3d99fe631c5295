"""Names and times of windows."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from invmm.errors import ConfigError
from invmm.venue.series import Series, Window, eastern_offset_s

NEW_YORK = ZoneInfo("America/New_York")


def unix(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp())


def test_five_minute_windows_are_named_by_their_start() -> None:
    assert Series.parse("btc-updown-5m").windows(unix(2026, 11, 21, 11, 3), 3) == [
        Window("btc-updown-5m-1795258800", 1795258800, 1795259100),
        Window("btc-updown-5m-1795259100", 1795259100, 1795259400),
        Window("btc-updown-5m-1795259400", 1795259400, 1795259700),
    ]


def test_a_window_ends_where_the_next_begins_to_the_second() -> None:
    series = Series.parse("eth-updown-15m")
    start = 1791241200
    assert series.windows(start - 0.001, 1)[0].end_s == start
    assert series.windows(start, 1)[0] == Window(f"eth-updown-15m-{start}", start, start + 900)


def test_hours_are_named_by_the_clock_in_new_york() -> None:
    series = Series.parse("btc-updown-1h")
    named = [window.slug for window in series.windows(unix(2026, 7, 4, 15, 59), 4)]
    assert named == [
        "bitcoin-up-or-down-july-4-2026-11am-et",
        "bitcoin-up-or-down-july-4-2026-12pm-et",
        "bitcoin-up-or-down-july-4-2026-1pm-et",
        "bitcoin-up-or-down-july-4-2026-2pm-et",
    ]


def test_midnight_in_new_york_is_twelve_am_of_the_new_day() -> None:
    window = Series.parse("sol-updown-1h").windows(unix(2026, 12, 31, 5), 1)[0]
    assert window.slug == "solana-up-or-down-december-31-2026-12am-et"


def test_the_hour_that_repeats_in_autumn_has_one_name_and_two_times() -> None:
    first, second, third = Series.parse("btc-updown-1h").windows(unix(2026, 11, 1, 5), 3)
    assert first.slug == second.slug == "bitcoin-up-or-down-november-1-2026-1am-et"
    assert second.start_s - first.start_s == 3600
    assert third.slug == "bitcoin-up-or-down-november-1-2026-2am-et"


def test_the_hour_that_is_missing_in_spring_is_not_named() -> None:
    first, second = Series.parse("btc-updown-1h").windows(unix(2026, 3, 8, 6), 2)
    assert first.slug == "bitcoin-up-or-down-march-8-2026-1am-et"
    assert second.slug == "bitcoin-up-or-down-march-8-2026-3am-et"


@pytest.mark.parametrize("year", range(2024, 2034))
def test_the_offset_of_new_york_is_that_of_the_time_zone_database(year: int) -> None:
    for unix_s in range(unix(year, 1, 1), unix(year + 1, 1, 1), 1800):
        there = datetime.fromtimestamp(unix_s, NEW_YORK).utcoffset()
        assert there is not None
        assert eastern_offset_s(unix_s) == there.total_seconds(), datetime.fromtimestamp(unix_s, UTC)


def test_four_hour_windows_begin_at_multiples_of_four_in_new_york_and_leave_no_gap() -> None:
    series = Series.parse("btc-updown-4h")
    window = series.windows(unix(2026, 3, 6), 1)[0]
    lengths = set()
    while window.start_s < unix(2026, 11, 4):
        assert datetime.fromtimestamp(window.start_s, NEW_YORK).hour % 4 == 0
        (following,) = series.windows(window.end_s, 1)
        assert following.start_s == window.end_s
        assert window.slug == f"btc-updown-4h-{window.start_s}"
        lengths.add((window.end_s - window.start_s) // 3600)
        window = following
    assert lengths == {3, 4, 5}


def test_a_slug_with_its_start_is_one_window_of_known_times() -> None:
    series = Series.parse("btc-updown-15m-1791241200")
    assert series.windows(0) == [Window("btc-updown-15m-1791241200", 1791241200, 1791242100)]


def test_any_slug_and_any_condition_id_name_one_market() -> None:
    slug = "bitcoin-up-or-down-july-4-2026-1pm-et"
    condition = "0xCD" + "5f" * 31
    assert Series.parse(slug).windows(0) == [Window(slug)]
    assert Series.parse(condition).windows(0) == [Window("", condition_id=condition.lower())]


@pytest.mark.parametrize(
    "text", ["", "btc", "btc-updown-7m", "abc-updown-5m", "BTC-updown-5m", "0x12", "a b-c"]
)
def test_what_names_nothing_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        Series.parse(text)
