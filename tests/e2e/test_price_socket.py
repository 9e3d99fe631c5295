"""Both price sockets against the embedded venue over loopback: what is heard, lost, and heard again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from invmm.clock import LiveClock
from invmm.engine import Engine
from invmm.feed.connection import FeedSettings
from invmm.feed.price import PriceFeed, socket_settings
from invmm.feed.price_hub import PriceHub
from invmm.feed.price_messages import Price
from invmm.feed.states import FeedState
from invmm.limits import reconnect_budget_of
from invmm.price_settings import PriceSettings
from invmm.settings import Settings
from invmm.sim.host import ChildCredentials
from invmm.sim.price import rule_of
from invmm.sim.thread import VenueThread
from invmm.types import Outcome
from invmm.venue.auth import ApiCredentials
from tests.reference.priced import priced_tape

START_S = 1_790_766_900
SPEED = 20.0
DEADLINE_S = 30.0


class Venue:
    """What a hub asks of a venue."""

    def __init__(self, host: VenueThread, credentials: ApiCredentials) -> None:
        self.credentials = credentials
        self.price_url = f"ws://127.0.0.1:{host.port}/ws/price"
        self.rtds_url = f"ws://127.0.0.1:{host.port}/ws/rtds"


def serve(test: Callable[[VenueThread, Venue, LiveClock], Coroutine[Any, Any, None]]) -> None:
    """Runs a test against a venue whose market begins now."""
    key = ChildCredentials.fresh("0x" + "11" * 20)
    with VenueThread([priced_tape(8, START_S)], credentials=key) as host:
        mapping = host.begin(0, speed=SPEED)
        clock = LiveClock(SPEED, int(mapping["tape_ns"]), int(mapping["monotonic_ns"]))
        asyncio.run(test(host, Venue(host, ApiCredentials(key.api_key, key.secret, key.passphrase)), clock))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("source", ["polybolt", "rtds"])
def test_an_engines_market_hears_its_prices_and_goes_on_when_they_stop(source: str) -> None:
    async def test(host: VenueThread, venue: Venue, clock: LiveClock) -> None:
        text = f'[strategy]\npolicy = "pairs"\n[price]\nsource = "{source}"\njitter_s = 0.1\n'
        settings = Settings.parse(text)
        engine, said = Engine(settings, clock=clock), []
        market = engine.add_market(rule_of(priced_tape(8, START_S)), number=0)
        hub = PriceHub(settings.price, engine.step, said.append)
        hub.open(venue, FeedSettings(), clock, reconnect_budget_of(settings))
        hub.watch(market)
        fair = market.step.fair
        feed = hub.feeds["btc"]
        await until(lambda: fair.prices > 100)
        if source == "polybolt":  # its snapshot tells the strike, however late one comes
            await until(lambda: fair.stats()["strike_from"] == "read")
            assert fair.stats()["strike"] == pytest.approx(priced_tape(8, START_S).meta["strike"], rel=2e-5)
        host.fault("garbage", channel="price", text="{]")
        host.fault("kill", channel="price")
        await until(lambda: feed.stats().connections >= 2 and feed.is_live)
        assert feed.messages.counts.bad >= 1
        count = fair.prices
        await until(lambda: fair.prices > count)
        if source == "polybolt":
            host.fault("stall", channel="price")
            await until(lambda: fair.at(clock.now_ns() // 1_000_000).get("age_s", 0) > 3.0)
            host.fault("resume", channel="price")
            count = fair.prices
            await until(lambda: fair.prices > count)
        await hub.close()
        assert feed.state is FeedState.CLOSED
        assert said[0] == "btc price feed live"
        assert said[1] == "btc price feed backing off (peer): fair value by the books alone"

    serve(test)


def test_wrong_credentials_leave_an_engine_without_prices_and_without_an_alarm() -> None:
    async def test(host: VenueThread, venue: Venue, clock: LiveClock) -> None:
        engine, said = Engine(Settings.parse('[strategy]\npolicy = "pairs"\n'), clock=clock), []
        market = engine.add_market(rule_of(priced_tape(8, START_S)), number=0)
        venue.credentials = ApiCredentials("nobody", "c2VjcmV0", "wrong")
        hub = PriceHub(PriceSettings(), engine.step, said.append)
        hub.open(venue, FeedSettings(), clock, reconnect_budget_of(Settings()))
        hub.watch(market)
        await until(lambda: hub.feeds["btc"].refusal)
        await until(lambda: said)
        assert "auth_invalid" in said[0]
        assert not engine.permission.alarms
        assert market.step.fair.prices == 0
        await hub.close()

    serve(test)


def test_prices_of_a_market_that_is_opened_later_come_at_once() -> None:
    async def test(host: VenueThread, venue: Venue, clock: LiveClock) -> None:
        engine = Engine(Settings.parse('[strategy]\npolicy = "pairs"\n'), clock=clock)
        hub = PriceHub(PriceSettings(), engine.step, lambda _: None)
        hub.open(venue, FeedSettings(), clock, reconnect_budget_of(Settings()))
        info = rule_of(priced_tape(8, START_S))
        hub.watch(engine.add_market(info, number=0))
        await until(lambda: engine.markets[0].step.fair.prices > 100)
        later = engine.add_market(info, number=1)
        hub.watch(later)
        assert later.step.fair.prices > 30
        assert len(hub.feeds) == 1
        hub.forget(1)
        await hub.close()

    serve(test)


def test_every_feed_is_told_with_a_snapshot_first() -> None:
    async def test(host: VenueThread, venue: Venue, clock: LiveClock) -> None:
        heard: list[Price] = []
        feed = PriceFeed(
            venue.price_url,
            "btc",
            (60,),
            venue.credentials,
            lambda told, now_ns: heard.extend(told),
            clock,
            socket_settings(PriceSettings(), FeedSettings(), is_polybolt=True),
        )
        feed.start()
        await until(lambda: len(heard) > 300)
        await feed.close()
        assert {(price.source, price.average_s) for price in heard} == {
            ("chainlink", 0),
            ("chainlink", 60),
            ("pyth", 0),
        }
        assert feed.messages.counts.snapshots == 3
        assert (feed.messages.counts.bad, feed.messages.counts.missed) == (0, 0)
        path = priced_tape(8, START_S)
        spot = [price for price in heard if price.source == "chainlink" and not price.average_s]
        steps = [(p.observed_ms - START_S * 1000 - path.meta["path_start_ms"]) // 20 for p in spot]
        assert np.allclose([p.dollars for p in spot], path.meta["path_price"][steps], rtol=1e-9)
        assert path.market.winner in tuple(Outcome)

    serve(test)
