"""The compiled decoder equals the orjson twin on mutated and generated frames (long runs: `fuzz_decode`)."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.differential.fuzz_decode import DOWN, UP, Pair, campaign, mutate, synthetic

NUMBER = st.text("0123456789.eE+-", max_size=12) | st.decimals(0, 2, places=5).map(str)


def test_a_short_campaign_of_mutated_frames_agrees() -> None:
    done = campaign(seed=20260416, seconds=60, count=6000)
    assert done["frames"] >= 6000
    assert min(done.values()) > 100  # every way through the decoder was taken


@pytest.mark.slow
def test_a_long_campaign_of_mutated_frames_agrees() -> None:
    assert campaign(seed=random.randrange(2**32), seconds=120)["frames"] > 10_000


@given(NUMBER, NUMBER, st.sampled_from([UP, DOWN]), st.booleans())
def test_every_spelling_of_a_number_means_the_same(price: str, size: str, token: str, spaced: bool) -> None:
    row = f'{{"asset_id":"{token}", "price":"{price}", "size":"{size}", "side":"BUY", "hash":"{"a" * 40}", '
    frame = f'{{"market":"0x{"b" * 64}", "price_changes":[{row}"best_bid":"0.5", "best_ask":"0.51"}}], '
    frame += '"timestamp":"1790766981670", "event_type":"price_change"}'
    if not spaced:
        frame = frame.replace(", ", ",")
    Pair().feed(frame.encode())
    Pair().feed(frame.replace(f'"{size}"', size or "1").encode())


@given(st.integers(0, 2**32))
@settings(max_examples=50)
def test_any_frame_of_the_generator_agrees(seed: int) -> None:
    rng = random.Random(seed)
    pair = Pair()
    for _ in range(5):
        pair.feed(mutate(rng, synthetic(rng)))
