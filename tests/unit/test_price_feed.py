"""The price socket's supervisor in virtual time: proof of identity, silence, refusals, waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from invmm.errors import ConfigError
from invmm.feed.backoff import ReconnectBudget
from invmm.feed.connection import FeedSettings
from invmm.feed.dial import Call
from invmm.feed.price import PriceFeed, socket_settings
from invmm.feed.price_hub import place
from invmm.feed.price_messages import PING_RTDS, Price
from invmm.feed.states import EndCause, FeedState
from invmm.price_settings import PriceSettings
from invmm.venue.auth import ApiCredentials
from tests import markers
from tests.unit.test_feed_virtual import NS, FakeConnection, VirtualClock, VirtualLoop, play

ME = ApiCredentials(markers.API_KEY, markers.API_SECRET, markers.PASSPHRASE)


class Rig:
    """A feed, the connections that it opened, and what the venue says on each."""

    def __init__(self, loop: VirtualLoop, *, is_polybolt: bool = True, **prices: Any) -> None:
        self.loop = loop
        self.opened: list[tuple[float, FakeConnection, Call]] = []
        self.prices: list[Price] = []
        settings = PriceSettings(**prices)
        clock: Any = VirtualClock(loop)
        self.feed = PriceFeed(
            "ws://venue",
            "btc",
            (60,),
            ME if is_polybolt else None,
            lambda told, now_ns: self.prices.extend(told),
            clock,
            socket_settings(settings, FeedSettings(), is_polybolt=is_polybolt),
            budget=ReconnectBudget(1_000, 100.0),
            connect=self.connect,
        )

    async def connect(self, call: Call) -> FakeConnection:
        connection = FakeConnection(call)
        self.opened.append((self.loop.now_s, connection, call))
        return connection

    def say(self, message: object) -> None:
        _, connection, call = self.opened[-1]
        connection.messages += 1
        call.sink.on_frame(json.dumps(message).encode(), round(self.loop.now_s * NS), True)
        call.notify()

    def price(self) -> None:
        payload = {"symbol": "btcusd", "source": "chainlink", "timestamp": round(self.loop.now_s * 1000)}
        self.say({"channel": "price.crypto", "seq": 1, "payload": payload | {"value": 65_000.0}})

    def texts(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.opened[-1][1].texts]


def run(test: Callable[[Rig], Any], **more: Any) -> None:
    async def whole(loop: VirtualLoop) -> None:
        rig = Rig(loop, **more)
        rig.feed.start()
        await asyncio.sleep(0.01)
        await test(rig)
        await rig.feed.close()

    play(whole)


def test_identity_is_proven_before_anything_is_asked_for() -> None:
    async def test(rig: Rig) -> None:
        assert [message["op"] for message in rig.texts()] == ["auth"]
        rig.say({"op": "authed", "rid": "1"})
        await asyncio.sleep(0.05)
        assert len(rig.texts()) == 1  # one operation in 110 ms
        await asyncio.sleep(0.1)
        assert [message["op"] for message in rig.texts()] == ["auth", "subscribe"]
        assert rig.feed.state is FeedState.SUBSCRIBING
        rig.price()
        await asyncio.sleep(0.01)
        assert rig.feed.is_live
        assert [price.dollars for price in rig.prices] == [65_000.0]
        await asyncio.sleep(61.0)
        assert [message["op"] for message in rig.texts()][2:] == ["ping", "ping"]

    run(test)


def test_the_predecessor_is_asked_at_once_and_kept_alive_without_an_answer() -> None:
    async def test(rig: Rig) -> None:
        assert json.loads(rig.opened[0][1].texts[0])["action"] == "subscribe"
        for _ in range(12):
            payload = {"symbol": "btcusdt", "timestamp": round(rig.loop.now_s * 1000), "value": 1.0}
            rig.say({"topic": "crypto_prices", "type": "update", "payload": payload})
            await asyncio.sleep(5.0)
        assert rig.opened[0][1].texts.count(PING_RTDS) == 12 + 1
        assert len(rig.opened) == 1
        assert rig.feed.is_live

    run(test, is_polybolt=False)


def test_a_silent_socket_is_replaced_after_a_random_wait() -> None:
    waits = []

    async def test(rig: Rig) -> None:
        for _ in range(40):
            before = len(rig.opened)
            rig.price()
            while len(rig.opened) == before:
                await asyncio.sleep(0.1)
            waits.append(rig.opened[-1][0] - rig.opened[-2][0])
        assert rig.feed.stats().ends[EndCause.SILENT] == 40

    run(test, stale_s=90.0, jitter_s=10.0)
    assert all(90.0 <= wait <= 100.3 for wait in waits)
    assert max(waits) - min(waits) > 5.0


def test_without_prices_within_ten_seconds_another_connection_is_tried() -> None:
    async def test(rig: Rig) -> None:
        rig.say({"op": "authed"})
        await asyncio.sleep(25.0)
        assert rig.feed.stats().ends[EndCause.FIRST_EVENT] >= 1
        assert len(rig.opened) >= 2

    run(test)


@pytest.mark.parametrize("code", ["auth_invalid", "auth_required"])
def test_a_refusal_that_lasts_ends_the_attempts(code: str) -> None:
    async def test(rig: Rig) -> None:
        rig.say({"op": "error", "code": code})
        await asyncio.sleep(1_000.0)
        assert len(rig.opened) == 1
        assert rig.feed.state is FeedState.IDLE
        assert rig.feed.refusal == code
        assert code in str(rig.feed.last_error)

    run(test)


def test_expired_credentials_are_proven_again() -> None:
    async def test(rig: Rig) -> None:
        rig.price()
        rig.say({"op": "error", "code": "auth_expired"})
        await asyncio.sleep(5.0)
        assert len(rig.opened) == 2
        assert rig.texts()[0]["op"] == "auth"

    run(test, jitter_s=1.0)


def test_bad_messages_leave_the_connection_as_it_is() -> None:
    async def test(rig: Rig) -> None:
        rig.price()
        for junk in ({"op": 5}, [], 7, {"channel": "price.crypto"}, {"topic": []}):
            rig.say(junk)
        rig.say({"op": "error", "code": "rate_limited"})
        await asyncio.sleep(1.0)
        assert rig.feed.is_live
        assert len(rig.opened) == 1
        assert rig.feed.messages.counts.bad == 4
        assert rig.feed.messages.errors == {"rate_limited": 1}

    run(test)


def test_which_socket_is_taken_follows_from_the_credentials_and_the_settings() -> None:
    class Venue:
        credentials, price_url, rtds_url = ME, "wss://new", "ws://old"

    class Paper:
        credentials, rtds_url = ApiCredentials("", "", ""), "ws://old"

    assert place(Venue(), PriceSettings()) == ("wss://new", ME)
    assert place(Venue(), PriceSettings(source="rtds")) == ("ws://old", None)
    assert place(Venue(), PriceSettings(url="wss://mine")) == ("wss://mine", ME)
    assert place(Venue(), PriceSettings(url="ws://127.0.0.1:9")) == ("ws://127.0.0.1:9", ME)
    with pytest.raises(ConfigError, match="wss"):
        place(Venue(), PriceSettings(url="ws://mine"))
    assert place(Paper(), PriceSettings()) == ("ws://old", None)
    assert place(Paper(), PriceSettings(source="polybolt")) == ("", None)
    assert place(Venue(), PriceSettings(use=False)) == ("", None)
    assert place(object(), PriceSettings()) == ("", None)
