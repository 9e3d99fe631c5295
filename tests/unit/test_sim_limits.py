"""Rate limits of the embedded venue: windows per endpoint, buckets per signer, their headers."""

from __future__ import annotations

from itertools import pairwise

import pytest

from invmm.sim.limits import ENDPOINTS, TIERS, Bucket, Limits
from invmm.sim.profile import VenueProfile


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    bucket = Bucket(60, 40)
    assert bucket.wait_s(60, 100.0) == 0
    bucket.take(60)
    assert bucket.wait_s(1, 100.0) == pytest.approx(1 / 40)
    assert bucket.wait_s(1, 100.025) == pytest.approx(0)
    assert bucket.wait_s(60, 101.5) == 0  # full again, and no fuller
    assert bucket.wait_s(61, 1e9) == float("inf")


def test_a_clock_that_was_set_back_gives_nothing_away() -> None:
    bucket = Bucket(10, 1)
    bucket.wait_s(10, 1000.0)
    bucket.take(10)
    assert bucket.wait_s(1, 10.0) == 1
    assert bucket.wait_s(1, 11.0) == 0


def test_a_signer_has_the_published_bucket_and_is_told_where_it_stands() -> None:
    limits = Limits(VenueProfile())
    told = limits.signer("a", "orders", 15, 1000.0)
    assert not told.is_refused
    assert told.headers == {
        "Poly-RateLimit-Remaining": "45",
        "Poly-RateLimit-Reset": "1000",
        "Poly-RateLimit-Tier": "standard",
    }
    for _ in range(3):
        assert not limits.signer("a", "orders", 15, 1000.0).is_refused
    refused = limits.signer("a", "orders", 15, 1000.0)
    assert refused.is_refused
    assert refused.headers["Retry-After"] == "1"
    assert not limits.signer("b", "orders", 15, 1000.0).is_refused
    assert not limits.signer("a", "cancels", 120, 1000.0).is_refused  # a bucket of its own
    # All of a batch or none of it: fourteen tokens are not enough for fifteen orders.
    assert limits.signer("a", "orders", 15, 1000.0 + 14 / 40).is_refused
    assert not limits.signer("a", "orders", 15, 1000.0 + 15 / 40).is_refused


def test_warning_mode_refuses_nothing_and_says_what_it_would_have_done() -> None:
    limits = Limits(VenueProfile(signer_limits="warn", tier="gold"))
    assert "Poly-RateLimit-Warning" not in limits.signer("a", "orders", 600, 5.0).headers
    told = limits.signer("a", "orders", 15, 5.0)
    assert (told.is_refused, told.headers["Poly-RateLimit-Warning"]) == (False, "true")


def test_an_endpoint_over_its_window_is_slowed_then_refused() -> None:
    limits = Limits(VenueProfile())
    burst = ENDPOINTS["", "/tick-size"][0]
    assert [limits.delay_s("GET", "/tick-size", 50.0) for _ in range(burst)] == [(0.0, False)] * burst
    wait_s, is_refused = limits.delay_s("GET", "/tick-size", 50.0)
    assert (wait_s, is_refused) == (pytest.approx(10 / burst), False)
    held_up = 0
    while not limits.delay_s("GET", "/tick-size", 50.0)[1]:
        held_up += 1
    assert held_up == 19  # what comes within a second of the window is let through late
    assert limits.delay_s("GET", "/book", 50.0) == (0.0, False)
    assert not limits.delay_s("GET", "/tick-size", 51.0)[1]


def test_paths_below_a_limited_one_share_its_limit_and_methods_have_their_own() -> None:
    limits = Limits(VenueProfile(endpoint_limit_share=0.01))
    for _ in range(2):
        assert limits.delay_s("GET", "/tick-size/123", 0.0) == (0.0, False)
    assert limits.delay_s("GET", "/tick-size", 0.0)[1]
    for _ in range(20):
        assert limits.delay_s("POST", "/orders", 0.0) == (0.0, False)
    assert limits.delay_s("POST", "/orders", 0.0)[0] > 0
    assert limits.delay_s("DELETE", "/orders", 0.0) == (0.0, False)
    unlimited = Limits(VenueProfile(endpoint_limit_share=0.0))
    assert {unlimited.delay_s("GET", "/tick-size", 0.0) for _ in range(1000)} == {(0.0, False)}


def test_the_ten_minute_window_holds_too() -> None:
    limits = Limits(VenueProfile(endpoint_limit_share=0.001))  # POST /orders: 2 and 21
    taken = 0
    for second in range(0, 300, 5):
        wait_s, is_refused = limits.delay_s("POST", "/orders", float(second))
        taken += not is_refused and wait_s == 0
    assert 21 <= taken <= 21 + 300 * 21 / 600 + 1


def test_every_tier_allows_more_than_the_one_before() -> None:
    for low, high in pairwise(TIERS.values()):
        assert all(less < more for less, more in zip(low, high, strict=True))
