"""What deserves a solve and what does not."""

import pytest

from invmm._ext.trigger import Trigger

BID, ASK = (4800, 1_000_000), (4900, 2_000_000)


@pytest.fixture
def trigger() -> Trigger:
    t = Trigger(250_000)
    for token in (0, 1):
        t.solved(token, BID, ASK)
    return t


def test_first_look_always_deserves_a_solve():
    assert Trigger().moved(0, BID, ASK)


def test_unmoved_best_levels_are_suppressed(trigger):
    assert not trigger.moved(0, BID, ASK)
    assert not trigger.moved(1, BID, ASK)


@pytest.mark.parametrize(
    ("bid", "ask"), [((4700, 1_000_000), ASK), (BID, (5000, 2_000_000)), (None, ASK), (BID, None)]
)
def test_moved_price_or_emptied_side_triggers(trigger, bid, ask):
    assert trigger.moved(0, bid, ask)


def test_size_triggers_past_its_threshold_only(trigger):
    assert not trigger.moved(0, (4800, 1_250_000), ASK)  # exactly 25 %
    assert trigger.moved(0, (4800, 1_250_001), ASK)
    assert trigger.moved(0, BID, (4900, 1_499_999))


def test_zero_threshold_counts_every_change():
    t = Trigger(0)
    t.solved(0, BID, ASK)
    assert not t.moved(0, BID, ASK)
    assert t.moved(0, (4800, 1_000_001), ASK)


def test_huge_sizes_do_not_overflow(trigger):
    assert trigger.moved(0, (4800, 2**62), ASK)


def test_bad_arguments_are_named(trigger):
    with pytest.raises(ValueError, match="size_change_ppm"):
        Trigger(1_000_001)
    with pytest.raises(ValueError, match="token"):
        trigger.moved(2, BID, ASK)
    with pytest.raises(ValueError, match="token"):
        trigger.solved(-1, BID, ASK)
