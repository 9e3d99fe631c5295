"""The kill switch of a session over real sockets: level 2 by the command, released, level 1 by a signal."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from invmm.execution.kill import listen, read
from invmm.execution.state import StateFolder
from invmm.ops.kill import main as kill
from invmm.replay.tape import Tape
from tests.e2e.test_session_faults import rig
from tests.e2e.test_session_faults import tape as tape  # the fixture

__all__ = ["tape"]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_level_2_cancels_and_verifies_while_the_session_goes_on_and_a_release_lets_it_quote_again(
    tape: Tape, tmp_path: Path
) -> None:
    async def play() -> None:
        state = StateFolder(tmp_path)
        with state:
            async with rig(tape, state=state) as desk:
                risk = desk.engine.risk
                asked = ["2", "--state", str(tmp_path), "--wait", "60", "--why", "a look"]
                assert await asyncio.to_thread(kill, asked) == 0
                assert (risk.level, read(state.kill).verified, desk.live) == (2, True, 0)
                assert (await desk.truth())["orders"] is not None
                assert await desk.venue.open_order_count() == 0
                assert await asyncio.to_thread(kill, ["--release", "--state", str(tmp_path)]) == 0
                await desk.until("released", lambda: risk.level == 0)
                await desk.quotes()
                loop = asyncio.get_running_loop()
                listen(loop, desk.engine.kill)
                os.kill(os.getpid(), signal.SIGUSR1)
                await desk.until("pulled", lambda: risk.level == 1 and desk.live == 0)
                assert read(state.kill).why == "SIGUSR1"
                for number in (signal.SIGUSR1, signal.SIGUSR2):
                    loop.remove_signal_handler(number)

    asyncio.run(play())
