"""The embedded venue's dead man's switch: cancels the orders of the API key that stopped, and no others."""

from __future__ import annotations

import asyncio
import time

from invmm.sim.clock import TapeClock
from invmm.sim.orders import Order
from invmm.sim.profile import VenueProfile
from invmm.sim.rules import OrderRequest, Who
from invmm.sim.server import Credentials, VenueServer
from invmm.types import Outcome, Side
from tests.e2e.sim_client import a_tape, until
from tests.reference.frames import at


def test_only_the_orders_of_the_key_that_stopped_are_cancelled() -> None:
    async def play() -> None:
        server = VenueServer([a_tape()], VenueProfile(order_latency_ns=0, ack_latency_ns=0), Credentials())
        server.start(TapeClock(time.monotonic_ns(), at(10), 1.0), 0)
        assert server.session is not None
        requests = [
            OrderRequest(
                bytes([index]) * 32, Outcome.UP, Side.BUY, 4000, 10_000_000, who=Who(key, "0x01", "0x01")
            )
            for index, key in enumerate(("first", "second"))
        ]
        first, second = await server.session.place(list(requests))
        assert isinstance(first, Order)
        assert isinstance(second, Order)
        switch = server.switch
        told = switch.beat("", "first")
        assert switch.beat("", "first") is None  # the chain goes on with the id that was given out
        assert switch.last_id("first") == told
        assert switch.last_id("second") == ""
        watch = asyncio.create_task(switch.watch(check_s=0.02, limit_s=0.1))
        await until(lambda: first.state == "CANCELED")
        assert second.state == "LIVE"
        assert switch.beat("", "first") is not None  # armed again from the start
        watch.cancel()
        server.session.finish()

    asyncio.run(play())
