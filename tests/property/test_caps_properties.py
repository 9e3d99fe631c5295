"""The rate of the signer's caps against an obvious twin, over any sequence of times."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from invmm._ext.amounts import OrderRuleError
from invmm._ext.caps import SignerCaps
from invmm.venue.auth import OrderSigner

SIGNER_KEY = "51" * 32
START_MS = 1_790_767_298_789


class Bucket:
    """`burst` orders at the start, one more each interval, never more than `burst`."""

    def __init__(self, interval_us: int, burst: int) -> None:
        self.interval_us, self.burst = interval_us, burst
        self.level, self.at_us = Fraction(burst), 0

    def take(self, now_us: int) -> bool:
        # A time before the last one has seen less refilled, by what would have come since.
        gained = Fraction(now_us - self.at_us, self.interval_us)
        level = min(Fraction(self.burst), self.level + gained)
        if level < 1:
            return False
        self.level, self.at_us = level - 1, now_us
        return True


@given(
    st.integers(1, 600),
    st.integers(1, 20),
    st.lists(st.integers(-50, 400), min_size=1, max_size=60),
)
def test_rate_equals_a_bucket_that_is_filled_evenly(rate: int, burst: int, steps_ms: list[int]) -> None:
    signer = OrderSigner(SIGNER_KEY)
    signer.caps = SignerCaps(orders_per_second=rate, burst=burst)
    bucket = Bucket(-(-1_000_000 // rate), burst)
    now_ms = START_MS
    for step_ms in steps_ms:
        now_ms += step_ms
        try:
            signer.sign("1", "BUY", 5000, 5_000_000, tick_e4=100, timestamp_ms=now_ms, salt=1)
            signed = True
        except OrderRuleError:
            signed = False
        assert signed == bucket.take(now_ms * 1_000)
