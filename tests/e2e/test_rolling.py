"""Rolling from window to window over real sockets: the engine against the embedded venue's rolling series."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from invmm.execution.remote import RemoteVenue
from invmm.paper import PaperVenue
from invmm.rolling_session import RollingSession
from invmm.settings import EngineSettings, ExecutorSettings, MarketSettings, Settings, StrategySettings
from invmm.settlement.handover import Residue
from invmm.testing import Series as ServedSeries
from invmm.testing import TestVenue
from invmm.venue.auth import OrderSigner
from invmm.venue.discovery import Discovery
from invmm.venue.series import Series

# The light market says something every five seconds of its own time, and a window takes a fraction of a real
# second: limits that are about real networks are wide.
SETTINGS = Settings(
    engine=EngineSettings(
        book_max_age_ms=20_000, command_deadline_ms=30_000, cancel_retry_ms=20_000, stop_before_end_ms=20_000
    ),
    executor=ExecutorSettings(rehearse_ms=0, wait="park"),
    market=MarketSettings(open_before_s=30, settle_wait_s=120),
    strategy=StrategySettings(policy="inventory_mm", order_size=10.0),
)
MINUTE = Series("btc-updown-1m", "btc", 60)


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def session_on(venue: TestVenue, settings: Settings = SETTINGS, **options: Any) -> RollingSession:
    clock = venue.clock()
    remote = RemoteVenue(
        venue.profile,
        venue.credentials,
        OrderSigner(venue.private_key),
        clock,
        settings,
    )
    find = Discovery(venue.profile).window_blocking
    return RollingSession(settings, MINUTE, remote, clock, find, headless=True, **options)


def roll(windows: int, speed: float, generation: str = "v1") -> None:
    memory: list[tuple[int, int]] = []  # windows closed, resident bytes
    residues: list[Residue] = []
    served = ServedSeries("btc-updown-1m", tape="light", generation=generation)
    with TestVenue(served, speed=speed, remember=windows + 16) as venue:
        session = session_on(venue, windows=windows)
        engine, roller = session.engine, session.roller
        settle = session._settle_queue

        def taken() -> None:  # what the session itself keeps of each window must not count as a leak
            while (residue := session.settlement.take()) is not None:
                residues.append(replace(residue, ledger=type(residue.ledger)()))
            settle()
            for result in session.results:
                result.stats, result.books = {"frames": 0}, {"decode_failures": {}}
            if roller.counts.closed >= 10 * (len(memory) + 1):
                gc.collect()
                memory.append((roller.counts.closed, rss_bytes()))

        session._settle_queue = taken  # type: ignore[method-assign]
        asyncio.run(session.run())
        truth = venue.truth()
    said = "\n".join(session.messages[-40:])
    assert session.clean, said
    assert roller.counts.opened + roller.counts.skipped == windows, said
    # The first ones, while the venue was coming up, and where a busy machine took a third of a second.
    spared = 2 + windows // 15
    assert roller.counts.skipped <= spared, said
    assert all(residue.alive == 0 for residue in residues)
    # Every window that was opened before its start was traded, and nothing of it outlived its close.
    traded = {order["market"] for order in truth["orders"]}
    assert len(traded) >= roller.counts.opened - roller.counts.late - spared, said
    states = Counter(order["state"] for order in truth["orders"])
    assert not states.keys() & {"LIVE", "DELAYED"}, states
    # At these speeds the time between the last quote and the close is a fraction of a real second, and an
    # answer may take longer than that on a busy machine.
    assert states["CANCELED_MARKET_RESOLVED"] <= 1 + states.total() // 50, states
    # Nothing of a closed market is left in the engine.
    assert engine.markets == {}
    assert engine._tokens == {}
    assert engine._inbox is not None
    assert len(engine._inbox) == 0
    if len(memory) >= 8:
        early, late = memory[len(memory) // 2][1], memory[-1][1]
        assert late < early + (6 << 20), memory


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_windows_follow_each_other_and_no_order_outlives_its_window(generation: str) -> None:
    roll(12, 60.0, generation)


@pytest.mark.slow
def test_memory_stays_flat_over_three_hundred_windows() -> None:
    roll(300, 160.0)


def test_paper_trading_follows_the_feed_and_sends_nothing() -> None:
    settings = replace(SETTINGS, strategy=StrategySettings(policy="inventory_mm", order_size=10.0))
    with TestVenue(ServedSeries("btc-updown-1m", tape="light"), speed=40.0) as venue:
        clock = venue.clock()
        paper = PaperVenue(venue.market_url, clock, settings)
        find = Discovery(venue.profile).window_blocking
        session = RollingSession(settings, MINUTE, paper, clock, find, windows=4, headless=True)
        asyncio.run(session.run())
        truth = venue.truth()
    summary = session.summary()
    assert summary["clean"], summary["messages"]
    assert summary["orders"] > 0
    assert summary["alive_at_the_end"] == summary["decode_failures"] == 0
    assert (truth["orders"], truth["trades"]) == ([], [])
    assert all(result.winner is not None for result in session.results), summary["messages"]


def run(*arguments: str, timeout: float = 120) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "invmm.run", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_command_rolls_over_a_series_of_the_embedded_venue() -> None:
    code, out, err = run(
        *("--series", "btc-updown-5m", "--windows", "1", "--speed", "8", "--duration", "60"),
        *("--headless", "--json"),
    )
    summary = json.loads(out.splitlines()[-1])
    assert code == 0, err
    assert summary["mode"] == "embedded"
    assert summary["opened"] == 1
    assert summary["clean"]
    assert summary["frames"] > 100


def test_the_command_trades_on_paper_until_its_time_is_over() -> None:
    with TestVenue(ServedSeries("btc-updown-5m", tape="light")) as venue:
        code, out, err = run(
            *("--paper", "--profile", "loopback", "--port", str(venue.port)),
            *("--duration", "6", "--headless", "--json"),
        )
        assert code == 0, err
        summary = json.loads(out.splitlines()[-1])
        assert summary["mode"] == "paper"
        assert summary["opened"] in (1, 2), summary  # two where a window ends while it runs
        assert summary["clean"], summary
        assert venue.truth()["orders"] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--series", "nonsense"), "series: expected a series such as btc-updown-5m"),
        (("--series", "btc-updown-5m", "--speed", "max"), "--speed: expected a number"),
        (("--paper", "--speed", "7"), "none with --paper"),
        (("--paper", "--replay"), "expected without --series, --paper and --live"),
        (("--paper", "--port", "1"), "--port: expected with --profile loopback only"),
        (("--series", "btc-updown-5m", "--windows", "-1"), "--windows: expected 0 or more"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: tuple[str, ...], says: str) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert says in err
