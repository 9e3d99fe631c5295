"""Signs of life of the engine."""

from __future__ import annotations

from invmm._ext.words import SharedWords
from invmm.execution.watch import EngineWatch

SECOND_NS = 1_000_000_000


def test_an_engine_that_never_gave_a_sign_is_neither_alive_nor_abandoned():
    watch = EngineWatch(SharedWords())
    assert not watch.tick(100 * SECOND_NS)
    assert not watch.is_abandoned
    assert not watch.lives(100 * SECOND_NS)


def test_silence_cancels_everything_again_and_again_until_the_engine_is_back():
    words = SharedWords()
    words.beat_ns = 10 * SECOND_NS
    watch = EngineWatch(words)
    cancels = [second for second in range(10, 120) if watch.tick(second * SECOND_NS)]
    assert cancels == [14, 15, 17, 21, 29, 45, 75, 105]
    assert watch.is_abandoned
    words.beat_ns = 120 * SECOND_NS
    assert not watch.tick(121 * SECOND_NS)
    assert watch.lives(121 * SECOND_NS)
    assert not watch.is_abandoned
    assert watch.tick(124 * SECOND_NS), "and a second silence begins anew"
