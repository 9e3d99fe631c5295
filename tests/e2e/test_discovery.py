"""Discovery over real loopback sockets: series and clock in, checked markets out."""

from __future__ import annotations

import asyncio
import threading

import pytest

from invmm.errors import TransportError, VenueError
from invmm.venue.discovery import Discovery, NotTradableError, RefusalKind, Series, first_tradable
from tests.e2e.fake_listing import FakeListing

NOW = 1795259000
FIVE = Series.parse("btc-updown-5m")


async def find(fake: FakeListing, text: str = "btc-updown-5m", count: int = 2):  # type: ignore[no-untyped-def]
    assert fake.profile is not None
    async with Discovery(fake.profile, timeout_s=2) as discovery:
        return await discovery.find(Series.parse(text), NOW, count)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_running_and_the_next_windows_are_found_in_order(version: str) -> None:
    async def run() -> None:
        async with FakeListing() as fake:
            for window in FIVE.windows(NOW, 3):
                fake.put(window, version)
            found = await find(fake, count=3)
        assert [each.window.start_s for each in found] == [1795258800, 1795259100, 1795259400]
        assert all(each.tradable for each in found)
        assert {each.require().exchange for each in found} == {"v2" if version == "v1" else "v3"}

    asyncio.run(run())


def test_a_window_that_is_not_listed_yet_does_not_hide_the_running_one() -> None:
    async def run() -> None:
        async with FakeListing() as fake:
            fake.put(FIVE.windows(NOW, 1)[0])
            running, following = await find(fake)
        assert running.tradable
        assert [(r.kind, r.passes) for r in following.refusals] == [(RefusalKind.NOT_LISTED, True)]

    asyncio.run(run())


def test_a_market_in_hydration_is_listed_but_not_tradable() -> None:
    async def run() -> None:
        async with FakeListing() as fake:
            fake.put(FIVE.windows(NOW, 1)[0])
            fake.clob.clear()
            (found,) = await find(fake, count=1)
        assert [r.kind for r in found.refusals] == [RefusalKind.NOT_READY]
        with pytest.raises(NotTradableError, match="not ready"):
            first_tradable([found])

    asyncio.run(run())


def test_one_market_is_found_by_slug_and_by_condition() -> None:
    async def run() -> None:
        async with FakeListing() as fake:
            window = FIVE.windows(NOW, 1)[0]
            fake.put(window)
            condition = fake.gamma[window.slug]["conditionId"]
            (by_slug,) = await find(fake, window.slug)
            (by_condition,) = await find(fake, condition.upper().replace("0X", "0x"))
            (unknown,) = await find(fake, "0x" + "ab" * 32)
        assert by_slug.require() == by_condition.require()
        assert [r.kind for r in unknown.refusals] == [RefusalKind.NOT_LISTED]

    asyncio.run(run())


def test_failures_of_the_server_are_tried_again_and_then_reported() -> None:
    async def run() -> None:
        async with FakeListing() as fake:
            window = FIVE.windows(NOW, 1)[0]
            fake.put(window)
            fake.failures = [503, 429]
            (found,) = await find(fake, count=1)
            assert found.tradable
            assert fake.asked[window.slug] == 3
            fake.failures = [500] * 3
            with pytest.raises(TransportError, match="3 tries: status 500"):
                await find(fake, count=1)
            fake.failures = [403]
            with pytest.raises(VenueError, match="403"):
                await find(fake, count=1)

    asyncio.run(run())


def test_a_thread_without_a_loop_can_ask_as_well() -> None:
    ready, done = threading.Event(), threading.Event()
    fake = FakeListing()

    def serve() -> None:
        async def run() -> None:
            async with fake:
                for window in FIVE.windows(NOW, 2):
                    fake.put(window)
                ready.set()
                await asyncio.to_thread(done.wait)

        asyncio.run(run())

    server = threading.Thread(target=serve)
    server.start()
    try:
        assert ready.wait(10)
        assert fake.profile is not None
        discovery = Discovery(fake.profile)
        assert all(discovery.window_blocking(window).tradable for window in FIVE.windows(NOW, 2))
    finally:
        done.set()
        server.join(10)


def markets(*arguments: str) -> tuple[int, str]:
    """Exit code and output of `invmm markets` in a process of its own, while the test serves listings."""
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "invmm.ops.cli", "markets", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_command_lists_what_is_open_and_next_with_reasons() -> None:
    import json

    async def run() -> tuple[tuple[int, str], tuple[int, str]]:
        async with FakeListing() as fake:
            running, following, _ = FIVE.windows(NOW, 3)
            fake.put(running)
            fake.put(following, "v2")
            assert fake.profile is not None
            port = fake.profile.rest_url.rpartition(":")[2]
            arguments = [
                "--profile",
                "loopback",
                "--port",
                port,
                "--series",
                "btc-updown-5m",
                "--at",
                str(NOW),
            ]
            return (
                await asyncio.to_thread(markets, *arguments, "--json"),
                await asyncio.to_thread(markets, *arguments),
            )

    (code, text), (code_again, table) = asyncio.run(run())
    assert code == code_again == 0, text + table
    windows = json.loads(text)["windows"]
    assert [(w["state"], w["tradable"], w["exchange"]) for w in windows] == [
        ("open", True, "v2"),
        ("next", True, "v3"),
        ("next", False, ""),
    ]
    assert windows[2]["reasons"][0]["kind"] == "not listed"
    assert windows[0]["slug"] in table
    assert "not listed: Gamma lists no market named btc-updown-5m-1795259400" in table


def test_the_command_fails_when_nothing_is_tradable_and_says_why() -> None:
    async def run() -> tuple[int, str]:
        async with FakeListing() as fake:
            assert fake.profile is not None
            port = fake.profile.rest_url.rpartition(":")[2]
            return await asyncio.to_thread(markets, "--profile", "loopback", "--port", port)

    code, text = asyncio.run(run())
    assert code == 1
    assert "not listed" in text


def test_the_command_refuses_what_names_no_series() -> None:
    code, text = markets("--series", "nonsense")
    assert code == 2
    assert "series: expected a series such as btc-updown-5m" in text
