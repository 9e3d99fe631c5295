"""A venue in a thread of this process does what one in a child process does, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from invmm.errors import TransportError, VenueError
from invmm.sim.rules import NO_BOOK
from invmm.testing import Series, TestVenue
from tests.e2e.twin_bot import LIGHT, QUICK, START_S, Bot, heard


def open_sockets() -> int:
    """Sockets that this process holds."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:  # the one that lists them
            continue
    return found


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No thread and no socket more than before; what is collected late warns, and warnings are errors."""
    before = (set(threading.enumerate()), open_sockets())
    yield
    gc.collect()
    assert (set(threading.enumerate()), open_sockets()) == before


@pytest.mark.parametrize("in_process", [False, True])
def test_an_order_lives_and_fills_and_settles_wherever_the_venue_runs(in_process: bool) -> None:
    async def life(venue: TestVenue) -> None:
        async with aiohttp.ClientSession() as session:
            bot, events = Bot(venue, session), list[dict[str, Any]]()
            reader = await heard(venue, session, events)
            market = venue.market()
            resting = await bot.place(market, 300, 10)
            taken = await bot.place(market, 9900, 5, order_type="FAK")
            assert await bot.open_ids() == [resting]
            venue.fault("lose")
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await bot.call("POST", "/order", bot.order(market, 200, 10))
            assert len(await bot.open_ids()) == 2
            status, told, _ = await bot.call("DELETE", "/order", {"orderID": resting})
            assert (status, told["canceled"]) == (200, [resting])
            venue.restart(restart_s=30, post_only_s=30)
            assert (await bot.call("POST", "/order", bot.order(market, 400, 10)))[0] == 425
            venue.advance(60)
            with pytest.raises(VenueError, match="unknown fault"):
                venue.fault("earthquake")
            venue.advance(600)
            assert (await bot.call("POST", "/order", bot.order(market, 400, 10)))[:2] == (
                404,
                {"error": NO_BOOK},
            )
            assert venue.market().start_s > market.start_s
            truth = venue.truth()
            states = {order["order_id"]: order["state"] for order in truth["orders"]}
            assert (states[resting], states[taken], len(states)) == ("CANCELED", "MATCHED", 3)
            assert [trade["status"] for trade in truth["trades"]] == ["TRADE_CONFIRMED"]
            assert truth["cash_micro"] == truth["start_micro"] + truth["payout_micro"] + sum(
                leg["cash_micro"] for trade in truth["trades"] for leg in trade["legs"]
            )
            kinds = {one["type"] for one in events if one["event_type"] == "order"}
            assert kinds == {"PLACEMENT", "UPDATE", "CANCELLATION"}
            stages = [one["status"] for one in events if one["event_type"] == "trade"]
            assert stages == ["MATCHED", "MINED", "CONFIRMED"]
            reader.cancel()

    with TestVenue(LIGHT, profile=QUICK, start_s=START_S + 30, in_process=in_process) as venue:
        assert (venue.facts()["pid"] == os.getpid()) == in_process
        asyncio.run(asyncio.wait_for(life(venue), 60))
        assert venue.child.errors == ""
    assert venue.child.stop() is None


def test_several_run_at_once_each_with_its_own_truth() -> None:
    names = ("btc-updown-5m", "eth-updown-15m", "sol-updown-5m")
    venues = [TestVenue(name, light=True, in_process=True, seed=seed) for seed, name in enumerate(names)]
    for venue in venues:
        venue.start()
    try:
        venues[0].balance(collateral_micro=5_000_000)
        venues[1].advance(3600)
        assert [venue.truth()["cash_micro"] for venue in venues] == [
            5_000_000,
            10_000_000_000,
            10_000_000_000,
        ]
        assert [venue.market().slug.rpartition("-")[0] for venue in venues] == list(names)
        assert venues[1].now_s() - venues[2].now_s() > 3500
    finally:
        for venue in venues:
            venue.stop()
    venues[0].start()  # it can be started again, and has forgotten everything
    try:
        assert venues[0].truth()["cash_micro"] == 10_000_000_000
    finally:
        venues[0].stop()


def test_it_starts_and_stops_inside_a_running_loop() -> None:
    async def inside() -> int:
        with TestVenue(LIGHT, profile=QUICK, start_s=START_S + 30, in_process=True) as venue:
            async with aiohttp.ClientSession() as session:
                await Bot(venue, session).place(venue.market(), 300, 10)
            return len(venue.truth()["orders"])

    assert asyncio.run(inside()) == 1


def test_a_port_that_is_taken_is_refused_with_the_reason() -> None:
    with TestVenue(light=True, in_process=True) as venue:
        with pytest.raises(TransportError, match="address already in use"):
            TestVenue(light=True, in_process=True, port=venue.port).start()
        assert venue.truth()["orders"] == []


def test_it_stops_at_once_while_a_market_is_being_made_and_clients_hang() -> None:
    venue = TestVenue(Series("btc-updown-5m"), in_process=True)
    venue.start()
    with socket.create_connection(("127.0.0.1", venue.port)) as waiting:
        venue.fault("slow", seconds=3600, before=True, path="/book")
        waiting.sendall(b"GET /book?token_id=1 HTTP/1.1\r\nHost: here\r\n\r\n")
        time.sleep(0.2)
        began = time.monotonic()
        assert venue.child.stop() == 0
        assert time.monotonic() - began < 10
        assert waiting.recv(100) == b""


def test_one_that_is_not_stopped_does_not_keep_the_process() -> None:
    script = """if True:
        import invmm.testing
        venue = invmm.testing.TestVenue(light=True, in_process=True)
        venue.start()
        print(venue.url)"""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(ended.stdout.strip() + "/time", timeout=2)
