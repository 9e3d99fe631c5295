"""What `--faults` lets happen: drawn from the seed, taken by the venue, over in time."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Any

import pytest

from invmm.clock import NS, LiveClock
from invmm.errors import TransportError
from invmm.run import main
from invmm.sim.hazards import CALM_S, DRAWS, END, FIRST_S, Hazards, drawn
from invmm.testing import TestVenue

SCALE = 500.0


def test_equal_seeds_draw_equal_hazards_and_others_do_not() -> None:
    first, again, other = ([*islice(drawn(seed), 60)] for seed in (1, 1, 2))
    assert first == again != other
    assert first[0][0] == FIRST_S
    assert all(CALM_S[0] <= calm_s <= CALM_S[1] for calm_s, _ in first[1:])


def test_every_kind_comes_before_one_comes_again() -> None:
    kinds = {hazard.kind for seed in range(20) for _, hazard in islice(drawn(seed), len(DRAWS))}
    assert {
        *("cut_sockets", "lost_answers", "late_orders", "slow_answers", "partial_batch", "refused_requests"),
        *("throttled", "restart", "halt", "silent_data", "failed_settlements", "heartbeat_refused"),
        *("user_events_reorder", "user_events_duplicate", "user_events_drop", "revoked_orders"),
        *("lagging_listings", "hidden_from_listings"),
    } == kinds
    for seed in range(5):
        once = [hazard.kind for _, hazard in islice(drawn(seed), len(DRAWS))]
        assert len(set(once)) == len(DRAWS)


def test_the_venue_takes_every_request_and_is_well_after_the_last() -> None:
    with TestVenue(light=True, in_process=True) as venue:
        for seed in range(4):
            for _, hazard in islice(drawn(seed), len(DRAWS)):
                for path, body in (*hazard.begin, *hazard.end):
                    venue.child.control(path, body)
        for path, body in END:
            venue.child.control(path, body)
        assert venue.mode("RUNNING")["mode"] == "RUNNING"


class Venue:
    def __init__(self, *, fails: bool = False) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.fails = fails

    def control(self, path: str, body: dict[str, Any]) -> None:
        self.asked.append((path, body))
        if self.fails:
            raise TransportError("gone")


def test_hazards_are_told_counted_ended_and_over_in_time() -> None:
    async def play() -> tuple[Hazards, Venue, list[str]]:
        venue, said = Venue(), []
        hazards, clock = Hazards(3, venue.control, said.append), LiveClock(SCALE)
        until_ns = clock.now_ns() + 120 * NS
        hazards.begin(clock, until_ns)
        assert hazards._task is not None
        await hazards._task
        await hazards.end()
        await hazards.end()
        return hazards, venue, said

    hazards, venue, said = asyncio.run(play())
    assert sum(hazards.counts.values()) == len(said) > 1
    assert all(text.startswith("FAULT: ") for text in said)
    wanted = [r for _, h in islice(drawn(3), len(said)) for r in (*h.begin, *h.end)]
    assert venue.asked == [*wanted, *END]


def test_one_that_is_interrupted_leaves_the_venue_well() -> None:
    async def play(fails: bool) -> tuple[Venue, list[str]]:
        venue, said = Venue(fails=fails), []
        hazards = Hazards(3, venue.control, said.append)
        hazards.begin(LiveClock(SCALE))
        while not said:
            await asyncio.sleep(0)
        await hazards.end()
        return venue, said

    venue, _ = asyncio.run(play(False))
    assert venue.asked[-len(END) :] == list(END)
    _, said = asyncio.run(play(True))
    assert "was not possible" in said[-1]


@pytest.mark.parametrize("more", [("--speed", "max"), ("--paper",), ("--live",)])
def test_faults_need_the_embedded_venue_over_sockets(
    more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--faults", "1", *more]) == 2
    assert "--faults: expected" in capsys.readouterr().err


def test_a_seed_below_zero_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--faults", "-1"]) == 2
    assert "--faults: expected an integer of at least 0" in capsys.readouterr().err
