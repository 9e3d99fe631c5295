"""The imagined machine under a campaign: its time, and processes that stop and die."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from invmm.sim.campaign.machine import Asleep, Busy, Process, VirtualClock, VirtualLoop

START_NS = 1_790_000_100_000_000_000


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop(START_NS)
    yield made
    made.close()


def test_an_hour_passes_at_once(loop: VirtualLoop) -> None:
    loop.run_until_complete(asyncio.sleep(3600))
    assert VirtualClock(loop).now_ns() == VirtualClock(loop).mono_ns() == START_NS + 3600 * 10**9


def test_what_is_due_at_different_times_happens_in_order(loop: VirtualLoop) -> None:
    told: list[float] = []
    for at in (3.0, 1.0, 2.0):
        loop.call_at(at, told.append, at)
    loop.run_until_complete(asyncio.sleep(5))
    assert told == [1.0, 2.0, 3.0]


def test_a_killed_process_never_runs_again_not_even_its_last_words(loop: VirtualLoop) -> None:
    said: list[str] = []

    async def work() -> None:
        try:
            while True:
                await asyncio.sleep(1)
                said.append("tick")
        finally:
            said.append("last words")

    async def story() -> None:
        process = Process("victim")
        task = process.context.run(loop.create_task, work())
        await asyncio.sleep(2.5)
        process.kill()
        await asyncio.sleep(10)
        assert said == ["tick", "tick"]
        task.cancel()
        process.go_on(loop)  # the world is over
        await asyncio.gather(task, return_exceptions=True)

    loop.run_until_complete(story())


def test_a_stopped_process_goes_on_with_what_has_piled_up(loop: VirtualLoop) -> None:
    heard: list[float] = []
    process = Process("sleeper")

    async def story() -> None:
        for at in (1.0, 2.0, 8.0):
            loop.call_at(at, lambda: heard.append(loop.time()), context=process.context)
        await asyncio.sleep(0.5)
        process.stop()
        await asyncio.sleep(5)
        assert heard == []
        process.go_on(loop)
        await asyncio.sleep(5)

    loop.run_until_complete(story())
    assert heard == [5.5, 5.5, 8.0]


def test_waiting_for_nothing_is_an_error_and_no_hang(loop: VirtualLoop) -> None:
    with pytest.raises(Asleep):
        loop.run_until_complete(loop.create_future())


def test_going_round_in_circles_at_one_instant_is_an_error_and_no_hang(loop: VirtualLoop) -> None:
    def again() -> None:
        loop.call_soon(again)

    loop.call_soon(again)
    with pytest.raises(Busy):
        loop.run_until_complete(asyncio.sleep(1))
