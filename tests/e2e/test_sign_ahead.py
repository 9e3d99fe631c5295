"""Orders signed ahead, all the way: over sockets to servers that check every signature."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from invmm.settings import Settings
from invmm.sim.market import generate
from invmm.types import OrderStatus, OrderType
from tests.e2e.executor_bench import FAST, Bench, Start, accept, begin_benches, statuses
from tests.e2e.test_session_faults import rig


@pytest.fixture
def start() -> Iterator[Start]:
    yield from begin_benches()


def wait_signed(bench: Bench, count: int) -> None:
    end = time.monotonic() + 5
    while bench.executor.statistics().signed_ahead["signed"] < count:
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.parametrize("wait", ["park", "spin"])
def test_prepared_orders_are_accepted_and_their_ids_are_those_announced(start: Start, wait: str):
    # `accept` computes each id and signature again from the body that came.
    settings = replace(FAST, sign_ahead=16, sign_ahead_age_ms=60_000, wait=wait, unknown_after_ms=2_000)
    bench = start(accept, settings)
    bench.submit(bench.place(1))
    first = bench.expect(2)
    assert statuses(first) == [OrderStatus.SENT, OrderStatus.LIVE]
    wait_signed(bench, 16)
    bench.submit(bench.place(2, 3, price_e4=[4700, 5100]))
    bench.submit(bench.place(4, order_type=OrderType.FOK))
    results = bench.expect(6)
    assert sorted(statuses(results)) == [OrderStatus.SENT] * 3 + [OrderStatus.LIVE] * 3
    counts = bench.executor.statistics().signed_ahead
    assert (counts["used"], counts["missed"]) == (3, 1)
    assert len({bytes(r["order_id"]) for r in first + results}) == 4


def test_without_the_setting_nothing_is_signed_ahead(start: Start):
    bench = start(accept)
    bench.submit(bench.place(1))
    bench.expect(2)
    assert bench.executor.statistics().signed_ahead == {}


def test_a_session_with_signing_ahead_trades_on_the_embedded_venue_which_verifies_every_order():
    settings = Settings()
    settings = replace(settings, executor=replace(settings.executor, sign_ahead=64, sign_ahead_age_ms=5_000))

    async def play() -> None:
        async with rig(generate(4, day="quiet"), settings) as desk:
            executor = desk.venue.executor
            await desk.until("prepared orders", lambda: executor.statistics().signed_ahead["used"] >= 10)
            refused = desk.market.step.registry.counts()
            assert executor.statistics().answers.keys() == {200}, desk.said
            assert refused["live"] > 0

    asyncio.run(play())
