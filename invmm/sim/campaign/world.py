"""A world: the embedded venue, an engine process, and the time between them."""

from __future__ import annotations

import asyncio
import math
import random
from random import Random
from typing import Any

from invmm.settings import Settings
from invmm.sim.campaign.machine import VenueClock, VirtualLoop
from invmm.sim.campaign.network import Network
from invmm.sim.campaign.process import EngineProcess, imagined
from invmm.sim.profile import SECOND, VenueProfile
from invmm.sim.server import Credentials, VenueServer
from invmm.sim.windows import Series
from invmm.venue.auth import ApiCredentials

START_S = 1_790_000_100  # a multiple of 300
SERIES = "btc-updown-5m"
KEY = "0x" + "4c" * 32  # nobody's


class World:
    """One seed's world."""

    def __init__(self, seed: int, settings: Settings) -> None:
        self.seed = seed
        self.loop = VirtualLoop(START_S * SECOND)
        self.settings = settings
        self.credentials = ApiCredentials(
            "11111111-2222-4333-8444-555555555555", "c2VjcmV0LXNlY3JldC1zZWNyZXQ=", "passphrase"
        )
        from invmm.venue.auth import OrderSigner

        address = OrderSigner(KEY).address
        profile = VenueProfile(signer_limits="enforce", heartbeat_limit_s=10)
        self.server = VenueServer(
            [],
            profile,
            Credentials(
                self.credentials.api_key, self.credentials.secret, self.credentials.passphrase, address
            ),
            seed,
            math.inf,
            100,
            None,
            [Series(SERIES, tape="light", listed_ahead_s=45, kept_s=3600)],
        )
        clock: Any = VenueClock(self.loop)
        self.server.floor.run_on(clock)
        self.network = Network(self.loop, self.server, "")
        self.random = Random(f"{seed}:world")
        self.engine = self.new_engine("engine-0")

    def new_engine(self, name: str) -> EngineProcess:
        return EngineProcess(
            name, self.loop, self.network, self.settings, self.credentials, KEY, self.seed, SERIES
        )

    def run(self, until_s: float) -> None:
        """Lets time pass."""
        state = random.getstate()
        random.seed(self.seed)
        asyncio.set_event_loop(self.loop)
        try:
            with imagined():
                self.loop.run_until_complete(self._play(until_s))
        finally:
            random.setstate(state)

    async def _play(self, until_s: float) -> None:
        limit_s = self.server.profile.heartbeat_limit_s or math.inf
        self._background = [
            self.loop.create_task(self.server.switch.watch(limit_s=limit_s)),
            self.loop.create_task(self.server.windows.run()),
        ]
        await asyncio.sleep(1)
        self.engine.start()
        await asyncio.sleep(until_s)
