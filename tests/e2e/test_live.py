"""`--live` as an operator has it, against a twin of the venue: engine, reaper and venue are processes of
their own. It trades, is killed, recovers, refuses a second instance, and stops verified.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from invmm.testing import Series, TestVenue

ROOT = Path(__file__).resolve().parents[2]
SERIES = "btc-updown-4h"  # a window that does not end while this runs
PATIENCE_S = 90.0


class Stage:
    """A venue and the processes that are started against it."""

    def __init__(self, venue: TestVenue, folder: Path, stack: ExitStack) -> None:
        self.venue, self.folder, self.state, self._stack = venue, folder, folder / "state", stack
        ceilings = (ROOT / "invmm/profiles/first-1000.toml").read_text()
        # The light market says something every five seconds only.
        (folder / "live.toml").write_text(ceilings + "\n[engine]\nbook_max_age_ms = 60000\n")
        keys = venue.credentials
        self.environ = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("INVMM_LIVE", "CLOB"))
            },
            "PYTHONPATH": str(ROOT),
            "XDG_STATE_HOME": str(folder),
            "CLOB_API_KEY": keys.api_key,
            "CLOB_SECRET": keys.secret,
            "CLOB_PASS_PHRASE": keys.passphrase,
        }

    def start(self, *command: str, **environ: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(ended, process)
        return process

    def reaper(self) -> subprocess.Popen[str]:
        return self.start(
            *("invmm.ops.reaper", "--state", str(self.state), "--profile", "loopback"),
            *("--port", str(self.venue.port), "--env", "--silence", "30"),
            POLYMARKET_ADDRESS=self.venue.address,
        )

    def live(self, *options: str) -> subprocess.Popen[str]:
        return self.start(
            *("invmm.run", "--live", "--series", SERIES, "--profile", "loopback"),
            *("--port", str(self.venue.port), "--env", "--config", "live.toml", "--headless", "--json"),
            *("--state", str(self.state), "--policy", "inventory_mm", *options),
            INVMM_LIVE=f"yes-{SERIES}",
            POLYMARKET_PRIVATE_KEY=self.venue.private_key,
        )

    def open_orders(self) -> list[dict[str, Any]]:
        return [order for order in self.venue.truth()["orders"] if order["state"] in ("LIVE", "DELAYED")]

    def until(self, what: str, holds: Callable[[], bool], *processes: subprocess.Popen[str]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not holds():
            dead = [process for process in processes if process.poll() is not None]
            if dead or time.monotonic() > end:
                for process in processes:
                    process.kill()
                told = ["\n".join(process.communicate()) for process in processes]
                pytest.fail(f"not seen: {what}; " + "\n---\n".join(told))
            time.sleep(0.02)


def ended(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    process.communicate()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        venue = stack.enter_context(TestVenue(Series(SERIES, tape="light"), seed=3))
        yield Stage(venue, tmp_path, stack)


def test_it_trades_is_killed_recovers_and_stops_verified(stage: Stage) -> None:
    refused = stage.live()
    out, err = refused.communicate(timeout=PATIENCE_S)
    assert refused.returncode == 3, err
    assert f"no reaper watches over {stage.state}" in err
    assert f"invmm reaper --state {stage.state} --profile loopback --port {stage.venue.port}" in err
    assert json.loads(out)["refusals"]

    reaper = stage.reaper()
    stage.until("the reaper", lambda: (stage.state / "reaper").exists(), reaper)
    engine = stage.live()
    stage.until("orders at the venue", lambda: bool(stage.open_orders()), engine, reaper)

    second = stage.live()
    _, err = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 3, err
    assert f"an engine runs from it (process {engine.pid})" in err

    engine.kill()
    engine.wait()
    before = stage.open_orders()  # with what was on its way
    engine = stage.live()
    left = {order["order_id"] for order in before}
    stage.until(
        "new orders",
        lambda: any(order["order_id"] not in left for order in stage.open_orders()),
        engine,
        reaper,
    )
    assert not left & {order["order_id"] for order in stage.open_orders()}, "what was left is cancelled"
    engine.send_signal(signal.SIGTERM)
    out, err = engine.communicate(timeout=PATIENCE_S)
    told = json.loads(out.splitlines()[-1])
    said = "\n".join(told["messages"])
    assert told["mode"] == "live"
    assert "the last session was cut off" in said
    assert "start 9/10, mode: running" in said
    # Had the kill hit an order on its way, nobody could say yet that it will not arrive.
    assert told["clean"] is ("not verified: order" not in said)
    assert engine.returncode == (130 if told["clean"] else 4), err
    assert not stage.open_orders()
    assert stage.venue.private_key[2:] not in out + err
