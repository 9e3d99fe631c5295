"""Invariants of generated markets over drawn seeds, days and lengths."""

from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from invmm.sim.ladder import MirroredLadder, decimal
from invmm.sim.market import generate
from invmm.sim.path import AVERAGE_S, DAY_TYPES, STEP_MS, price_path
from invmm.types import Side
from tests.reference.book_reader import MarketReader

DAYS = st.sampled_from(sorted(DAY_TYPES))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**63 - 1), day=DAYS)
def test_at_every_batch_end_books_are_uncrossed_mirrored_and_agree_with_the_stated_best(
    seed: int, day: str
) -> None:
    tape = generate(seed, day=day, window_s=90, pre_s=0)
    market = tape.market
    reader = MarketReader(market.condition_id, market.up_token_id, market.down_token_id)
    reader.read(tape.frames(), verify_hashes=False)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), day=DAYS, window_s=st.integers(90, 300))
def test_fair_is_a_probability_and_ends_at_the_winner(seed: int, day: str, window_s: int) -> None:
    path = price_path(np.random.Generator(np.random.PCG64(seed)), DAY_TYPES[day], window_s, 3, 2)
    assert np.all((path.fair >= 0) & (path.fair <= 1))
    last = path.fair[(window_s * 1000 - path.start_ms) // STEP_MS]
    assert round(float(last)) == (1 if path.final >= path.strike else 0)
    assert len(path.price) * STEP_MS == (AVERAGE_S + 3 + window_s + 2) * 1000


@given(value=st.integers(0, 10**13))
def test_decimals_are_exact_and_without_trailing_zeros(value: int) -> None:
    text = decimal(value)
    assert Decimal(text) * 1_000_000 == value
    assert "." not in text or text[-1] not in "0."


@given(
    changes=st.lists(
        st.tuples(st.booleans(), st.integers(1, 49), st.sampled_from([0, 1, 5_000_000, 123_456_789])),
        max_size=60,
    )
)
def test_ladder_bests_follow_a_plain_dictionary(changes: list[tuple[bool, int, int]]) -> None:
    ladder = MirroredLadder("0xc", "1", "2")
    plain: dict[tuple[Side, int], int] = {}
    for is_bid, offset, size in changes:
        side, tick = (Side.BUY, offset) if is_bid else (Side.SELL, 100 - offset)
        (ladder.set_bid if is_bid else ladder.set_ask)(tick, size)
        plain[side, tick] = size
        bids = [t for (s, t), amount in plain.items() if s == Side.BUY and amount]
        asks = [t for (s, t), amount in plain.items() if s == Side.SELL and amount]
        assert ladder.best_bid == max(bids, default=0)
        assert ladder.best_ask == min(asks, default=100)
    before = ladder.up_text()
    prices = [json.loads(f"[{text}]") for text in before]
    ladder.refine()
    assert [json.loads(f"[{text}]") for text in ladder.up_text()] == prices
    assert ladder.tick_size == "0.001"
