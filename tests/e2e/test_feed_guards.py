"""The guards of the data, over sockets: the running engine and an embedded venue whose stream misbehaves.

One test per row of the catalogue that a socket can show; `tests/unit/test_guards.py` has every row by
hand, in milliseconds, so most of these belong to the long campaigns.
"""

from __future__ import annotations

import os
import signal

import pytest

from invmm.feed.pair import PairedFeed
from invmm.replay.tape import Tape
from invmm.settings import FeedSettings, Settings
from invmm.sim.market import generate
from invmm.types import Reason
from tests.e2e.test_session_faults import Rig, session


@pytest.fixture(scope="module")
def tape() -> Tape:
    return generate(5, day="quiet")


def reconnects(desk: Rig) -> int:
    return desk.engine.feeds[0].stats().reconnects


async def pulled(desk: Rig, *reasons: Reason) -> None:
    before = desk.prevented(*reasons)
    await desk.until(
        f"quotes pulled for {[reason.name for reason in reasons]}", lambda: desk.prevented(*reasons) > before
    )


def test_f1_data_that_stops_for_all_tokens_while_ping_is_answered_pulls_quotes_and_replaces_the_socket(
    tape: Tape,
) -> None:
    async def act(desk: Rig) -> None:
        await desk.fault("hold", seconds=1e6)
        await pulled(desk, Reason.DISPUTED, Reason.STALE)
        await desk.until("a new connection", lambda: reconnects(desk) >= 1)
        assert desk.engine.feeds[0].stats().pongs > 0
        assert desk.engine.guard is not None
        assert desk.engine.guard.witness(0).stats.disputed + desk.prevented(Reason.STALE) > 0
        await desk.quotes()

    session(tape, act)


@pytest.mark.slow
def test_f1_data_that_stops_for_one_token_pulls_the_quotes_of_both(tape: Tape) -> None:
    async def act(desk: Rig) -> None:
        await desk.fault("mute", token=tape.market.down_token_id, rate=1.0)
        await pulled(desk, Reason.MIRROR_MISMATCH, Reason.DISPUTED, Reason.STALE)
        await desk.until("a new connection", lambda: reconnects(desk) >= 1)
        await desk.until("no orders", lambda: desk.live == 0)
        await desk.fault("clear", of="mute")
        await desk.quotes()

    session(tape, act)


@pytest.mark.slow
def test_f1_of_two_sockets_one_may_die_while_quotes_stand(tape: Tape) -> None:
    async def act(desk: Rig) -> None:
        feed = desk.engine.feeds[0]
        assert isinstance(feed, PairedFeed)
        await desk.until("both carry", lambda: feed.merge.carrying == (True, True))
        for switches in (1, 2, 3):
            await desk.fault("kill", count=1)
            await desk.until("a switch", lambda: feed.merge.switches == switches)  # noqa: B023
            await desk.until("a replacement", lambda: feed.merge.carrying == (True, True))
        assert desk.prevented(Reason.DISCONNECTED) == 0
        assert feed.merge.duplicates > 0
        books = desk.market.step.books.stats
        assert (books["best_mismatches"], books["mirror_mismatches"]) == (0, 0)
        await desk.quotes()

    session(tape, act, Settings(feed=FeedSettings(sockets=2)))


@pytest.mark.slow
def test_f2_an_ignored_subscription_is_repeated_and_its_market_not_quoted_until_its_book_comes(
    tape: Tape,
) -> None:
    async def act(desk: Rig) -> None:
        await desk.fault("mute", token=tape.market.up_token_id, rate=1.0)
        await desk.fault("kill")
        await desk.until("first events missed", lambda: "market feed backing off (first event)" in desk.said)
        assert desk.live == 0
        await desk.fault("clear", of="mute")
        await desk.quotes()

    session(tape, act)


@pytest.mark.slow
def test_f3_every_message_twice_changes_nothing(tape: Tape) -> None:
    async def act(desk: Rig) -> None:
        await desk.fault("echo", rate=1.0)
        frames = desk.market.step.stats()["frames"]
        await desk.until("frames", lambda: desk.market.step.stats()["frames"] > frames + 400)
        books = desk.market.step.books.stats
        assert (books["best_mismatches"], books["mirror_mismatches"]) == (0, 0)
        assert reconnects(desk) == 0

    session(tape, act)


@pytest.mark.parametrize("form", ["hollow", pytest.param("old", marks=pytest.mark.slow)])
def test_f4_a_ghost_snapshot_during_resync_is_never_quoted_on(tape: Tape, form: str) -> None:
    async def act(desk: Rig) -> None:
        await desk.fault("ghost", form=form, count=1)
        placed = desk.market.step.registry.counts()["orders"]
        await desk.fault("kill")
        await pulled(desk, Reason.UNCONFIRMED)
        assert desk.market.step.registry.counts()["orders"] - placed <= 6  # what was under way
        await desk.quotes()  # on the messages' bests, or on a later book
        up = desk.market.step.books.up
        bid, ask = up.best_bid(), up.best_ask()
        assert bid is not None
        assert ask is not None
        assert ask[0] - bid[0] < 5000

    session(tape, act)


@pytest.mark.slow
def test_f5_wrong_checksums_are_counted_and_stop_nothing(tape: Tape) -> None:
    async def act(desk: Rig) -> None:
        await desk.fault("wrong_hash", rate=1.0)
        hashes = desk.market.hashes
        for _ in range(3):
            before = hashes.checks
            desk.market.step.wants_frame = True
            await desk.until("a checksum", lambda: hashes.checks > before)  # noqa: B023
        assert hashes.in_a_row >= 3
        assert desk.engine.guard is not None
        asked = desk.engine.guard.witness(0).stats.doubts
        assert asked <= 1
        await desk.quotes()
        assert reconnects(desk) == 0

    session(tape, act)


@pytest.mark.slow
def test_f6_a_book_that_stays_crossed_is_fetched_anew(tape: Tape) -> None:
    async def act(desk: Rig) -> None:
        await desk.fault("cross", rate=1.0)
        await pulled(desk, Reason.CROSSED, Reason.BEST_MISMATCH)
        await desk.until("a new connection", lambda: reconnects(desk) >= 1)
        await desk.fault("clear", of="cross")
        assert "fresh books wanted" in desk.said
        await desk.quotes()

    session(tape, act)


@pytest.mark.slow
def test_f10_ten_seconds_of_nothing_and_then_a_burst(tape: Tape) -> None:
    async def act(desk: Rig) -> None:
        await desk.fault("hold", seconds=10.0)
        await pulled(desk, Reason.STALE, Reason.DISPUTED, Reason.LATE)
        await desk.quotes()

    session(tape, act)


@pytest.mark.slow
def test_f1_a_venue_that_is_stopped_while_tcp_stays_up_is_not_quoted_at(tape: Tape) -> None:
    async def act(desk: Rig) -> None:
        assert desk.child.pid is not None
        os.kill(desk.child.pid, signal.SIGSTOP)
        try:
            await pulled(desk, Reason.STALE, Reason.DISCONNECTED)
        finally:
            os.kill(desk.child.pid, signal.SIGCONT)
        await desk.quotes()

    session(tape, act)
