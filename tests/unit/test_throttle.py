"""Rates: what the venue publishes, what its answers say, and how a warning is taken."""

from __future__ import annotations

import email.utils
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invmm._ext.pace import Pace
from invmm.execution.throttle import (
    CANCELS,
    MEDIAN_OF,
    ORDERS,
    SECOND_NS,
    Lane,
    Throttle,
    retry_after_s,
)
from invmm.types import CommandKind
from invmm.venue.limits import TIERS, WINDOWS, Limits, Window
from invmm.venue.profile import LIVE

PLACE, CANCEL, CANCEL_ALL = CommandKind.PLACE, CommandKind.CANCEL, CommandKind.CANCEL_ALL
NOW = 1_790_000_000 * SECOND_NS
WALL = 1_790_000_000.0
MS = 1_000_000


def throttle(**changes: object) -> Throttle:
    return Throttle(replace(Limits(), **changes))  # type: ignore[arg-type]


def hear(one: Throttle, code: int = 200, kind: int = PLACE, ack_ms: int = 10, now: int = NOW, **headers: str):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    one.answered(kind, code, named, ack_ms * MS, now)


def drain(one: Throttle, kind: int, now: int) -> int:
    """How many go one by one at a moment."""
    count = 0
    while one.room(kind, 1, now) and count < 10_000:
        one.charge(kind, 1, now)
        count += 1
    return count


def test_the_standard_tier_is_sixty_orders_at_once_less_a_tenth_and_forty_a_second():
    one = throttle()
    assert drain(one, PLACE, NOW) == 54
    assert one.next_ns(PLACE, NOW) == NOW + SECOND_NS // 40
    assert drain(one, PLACE, NOW + SECOND_NS) == 40


def test_orders_never_take_the_room_of_cancels():
    one = throttle()
    drain(one, PLACE, NOW)
    assert drain(one, CANCEL, NOW) == 108
    assert one.room(CANCEL_ALL, 1, NOW) == 1, "what ends everything is never refused here"


def test_what_both_lanes_share_keeps_a_tenth_for_cancels():
    one = throttle(tier="elite", windows={"*": (Window(100, 10),)})
    assert drain(one, PLACE, NOW) == 90
    assert drain(one, CANCEL, NOW) == 10


def test_a_batch_costs_its_legs_and_one_request():
    one = throttle(windows={"POST /orders": (Window(3, 10),)})
    for _ in range(3):
        assert one.room(PLACE, 15, NOW) == 15
        one.charge(PLACE, 15, NOW)
    assert one.room(PLACE, 15, NOW) == 0, "three requests were all"


def test_cancel_all_costs_the_orders_that_it_ended():
    one = throttle()
    one.charge(CANCEL_ALL, 1, NOW)
    one.canceled_all(19, NOW)
    assert one.pace.left(CANCELS, NOW) == 88


def test_the_ten_minute_window_of_batches_is_below_the_tier_and_holds():
    one = throttle()
    sent, now = 0, NOW
    for _ in range(600 * 4):
        now += SECOND_NS // 4
        sent += drain(one, PLACE, now)
    assert 600 * 35 <= sent <= 600 * 35 + 21_000
    assert WINDOWS["POST /orders"][1] == Window(21_000, 600)


@pytest.mark.parametrize("tier", TIERS)
def test_every_tier_is_served_when_the_venue_names_it(tier: str):
    one = throttle(windows={})
    hear(one, poly_ratelimit_tier=tier.title())
    assert one.tier == tier
    assert drain(one, PLACE, NOW) == TIERS[tier].orders_burst * 9 // 10
    assert drain(one, CANCEL, NOW) == TIERS[tier].cancels_burst * 9 // 10


def test_a_tier_that_nobody_knows_changes_nothing():
    one = throttle()
    hear(one, poly_ratelimit_tier="Unobtainium")
    assert one.tier == "standard"
    with pytest.raises(ValueError, match="standard"):
        Limits(tier="Unobtainium")


def test_remaining_tokens_are_believed_when_they_are_fewer():
    one = throttle()
    hear(one, poly_ratelimit_remaining="7")
    assert drain(one, PLACE, NOW) == 7
    hear(one, poly_ratelimit_remaining="50")
    assert drain(one, PLACE, NOW) == 0
    hear(one, kind=CANCEL, poly_ratelimit_remaining="0")
    assert drain(one, CANCEL, NOW) == 0


def test_too_many_requests_pauses_placements_for_as_long_as_asked():
    one = throttle()
    hear(one, 429, retry_after="5")
    assert drain(one, PLACE, NOW + 5 * SECOND_NS - 1) == 0
    assert drain(one, PLACE, NOW + 5 * SECOND_NS) == 1
    assert one.share(Lane.PLACE) == 0.5
    assert drain(one, CANCEL, NOW) == 108


def test_cancels_are_tried_again_after_a_second_whatever_was_asked():
    one = throttle()
    hear(one, 429, kind=CANCEL, retry_after="600")
    assert drain(one, CANCEL, NOW) == 0
    assert drain(one, CANCEL, NOW + SECOND_NS) == 1


def test_without_a_time_the_reset_header_counts_and_then_a_second():
    one = throttle()
    hear(one, 429, poly_ratelimit_reset=str(1_790_000_003))
    assert one.next_ns(PLACE, NOW) == NOW + 3 * SECOND_NS
    one = throttle()
    hear(one, 429)
    assert one.next_ns(PLACE, NOW) == NOW + SECOND_NS


def test_a_slow_answer_halves_the_rate_once_and_it_grows_back():
    one = throttle()
    for _ in range(3):
        hear(one, ack_ms=1_500)
    assert (one.share(Lane.PLACE), one.warnings) == (0.5, 3), "one sign, however many answers carry it"
    hear(one, ack_ms=1_500, now=NOW + 2 * SECOND_NS)
    assert one.share(Lane.PLACE) == 0.25
    for second in range(3, 40):
        one.grow(NOW + second * SECOND_NS)
    assert one.share(Lane.PLACE) == 1.0
    assert drain(one, PLACE, NOW + 60 * SECOND_NS) == 54


def test_slow_is_measured_against_what_is_usual():
    one = throttle()
    for _ in range(MEDIAN_OF):
        hear(one, ack_ms=5)
    hear(one, ack_ms=200)
    assert one.warnings == 0, "no answer below 300 ms is slow"
    hear(one, ack_ms=400)
    assert one.warnings == 1
    usual = throttle()
    for _ in range(MEDIAN_OF):
        hear(usual, ack_ms=250)
    hear(usual, ack_ms=400)
    assert usual.warnings == 0


def test_no_answer_is_slow_only_after_a_while():
    one = throttle()
    hear(one, 0, ack_ms=3)
    assert one.warnings == 0
    hear(one, 0, ack_ms=1_500)
    assert one.warnings == 1


def test_a_rate_never_falls_below_a_sixteenth_and_one_leg_always_fits():
    one = throttle()
    for second in range(20):
        hear(one, 429, retry_after="0", now=NOW + 2 * second * SECOND_NS)
    assert one.share(Lane.PLACE) == 1 / 16
    assert drain(one, PLACE, NOW + 3600 * SECOND_NS) == 3


def test_a_warning_mark_counts_like_too_many():
    one = throttle()
    hear(one, poly_ratelimit_warning="true")
    assert one.share(Lane.PLACE) == 0.5
    hear(one, poly_ratelimit_warning="0", kind=CANCEL)
    assert one.share(Lane.CANCEL) == 1.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("999999", 3600.0),
        (email.utils.formatdate(WALL + 79, usegmt=True), 79.0),
        (email.utils.formatdate(WALL - 79, usegmt=True), 0.0),
        ("soon", None),
        ("-1", None),
        ("٣", None),
        ("", None),
        ("1" * 30, None),
        ("Wed, 99 Foo 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(text: str, seconds: float | None):
    assert retry_after_s({"retry-after": text}, NOW) == seconds


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "retry-after",
                "poly-ratelimit-remaining",
                "poly-ratelimit-reset",
                "poly-ratelimit-tier",
                "poly-ratelimit-warning",
            ]
        ),
        st.text(max_size=30),
    ),
    st.integers(0, 600),
)
def test_no_header_breaks_the_throttle(headers: dict[str, str], code: int):
    one = throttle()
    one.answered(PLACE, code, headers, 10 * MS, NOW)
    assert one.room(PLACE, 1, NOW + 3601 * SECOND_NS) == 1


def test_the_profile_carries_the_limits():
    assert LIVE.limits.orders_per_second == 40
    assert LIVE.limits.cancels_per_second == 80
    assert LIVE.limits.rates == TIERS["standard"]


def test_rules_that_make_no_sense_are_errors():
    with pytest.raises(ValueError, match="at most 16"):
        Pace([(1, 0, 1, 1, 0)] * 17)
    with pytest.raises(ValueError, match="rule 0"):
        Pace([(1, 0, 0, 1, 0)])
    with pytest.raises(ValueError, match="above what is kept"):
        Pace([(1, 0, 1, 1, 1)])
    with pytest.raises(IndexError, match="below 1"):
        Pace([(1, 0, 1, 1, 0)]).left(ORDERS + 1, 0)
