"""Signs of life of the engine."""

from __future__ import annotations

from invmm._ext.words import SharedWords
from invmm.execution.watch import Concern, EngineWatch, ExecutorWatch

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


def test_the_engine_learns_that_it_stood_still_before_it_beats_again():
    words = SharedWords()
    watch = ExecutorWatch(words)
    assert watch.look(10 * SECOND_NS) == []
    assert watch.look(13 * SECOND_NS) == []
    assert watch.look(17 * SECOND_NS) == [Concern.STOOD_STILL]
    assert watch.look(18 * SECOND_NS) == []


def test_two_missed_heartbeats_are_told_once_and_so_is_the_first_that_goes_through():
    words = SharedWords()
    watch = ExecutorWatch(words)
    told = []
    for second, missed in enumerate((1, 0, 1, 2, 3, 2, 1, 0, 0, 1, 0), start=10):
        words.missed_heartbeats = missed
        told.append(watch.look(second * SECOND_NS))
    assert told == [
        *([], [], [], [Concern.ABOUT_TO_CANCEL], [], [], [], [Concern.HEARTBEATS_BACK], [], [], [])
    ]


def test_an_executor_that_falls_silent_is_told_again_and_again():
    words = SharedWords()
    watch = ExecutorWatch(words)
    assert watch.look(9 * SECOND_NS) == [], "none has given a sign yet"
    words.executor_beat_ns = 10 * SECOND_NS
    told = [second for second in range(10, 60) if Concern.EXECUTOR_SILENT in watch.look(second * SECOND_NS)]
    assert told == [14, 15, 17, 21, 29, 45]
    words.executor_beat_ns = 60 * SECOND_NS
    assert watch.look(60 * SECOND_NS) == []


def test_an_executor_that_stood_still_with_the_engine_is_given_a_moment():
    words = SharedWords()
    watch = ExecutorWatch(words)
    words.executor_beat_ns = 10 * SECOND_NS
    assert watch.look(10 * SECOND_NS) == []
    assert watch.look(30 * SECOND_NS) == [Concern.STOOD_STILL]
    words.executor_beat_ns = 30 * SECOND_NS
    assert watch.look(30 * SECOND_NS + 1) == []
