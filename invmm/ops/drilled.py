"""The engine that `invmm drill` kills: the shipped one, in a process of its own, with orders resting.

Reads one JSON line with what it needs from standard input (also the key, which nobody else sees there), says
`ready`, and trades until its standard input ends. The line `wedge` blocks its event loop, as a callback that
never returns would.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from invmm.clock import LiveClock
from invmm.engine import Engine
from invmm.execution.remote import RemoteVenue
from invmm.execution.state import StateFolder
from invmm.ops.hardening import harden
from invmm.replay.tape import MarketInfo
from invmm.settings import Settings
from invmm.venue.auth import ApiCredentials, OrderSigner
from invmm.venue.profile import loopback

SETTINGS = '[executor]\nheartbeat = "on"\n[strategy]\npolicy = "inventory_mm"\n'  # which quotes nearly always
WEDGED_S = 3_600.0


async def trade(told: dict[str, Any]) -> None:
    """Trades the market that is told until standard input ends."""
    settings = Settings.parse(SETTINGS)
    clock = LiveClock(1.0, int(told["tape_ns"]), int(told["monotonic_ns"]))
    signer = OrderSigner(told.pop("private_key"))
    venue = RemoteVenue(
        loopback(int(told["port"])), ApiCredentials(*told.pop("credentials")), signer, clock, settings
    )
    engine = Engine(settings, venue=venue, clock=clock, seed=1)
    with StateFolder(Path(told["state"])) as state:
        engine.state = state
        engine.add_market(MarketInfo(**told["market"], winner=None), number=0)
        await engine.start()
        print("ready", flush=True)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        while line := await reader.readline():
            if line.strip() == b"wedge":
                time.sleep(WEDGED_S)
        await engine.stop()


def main() -> int:
    """Runs until standard input ends."""
    harden()
    line = b""
    while not line.endswith(b"\n"):  # not buffered: what follows is the loop's to read
        part = os.read(0, 1)
        if not part:
            return 2
        line += part
    asyncio.run(trade(json.loads(line)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
