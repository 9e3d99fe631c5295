"""Prices for the markets of an engine: one socket per asset, each price told to every market it concerns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from invmm.errors import ConfigError
from invmm.feed.price_messages import Price, fact_of
from invmm.feed.states import EndCause, FeedState
from invmm.strategy.fair_value import price_event
from invmm.venue.profile import is_local

if TYPE_CHECKING:
    from invmm.clock import LiveClock
    from invmm.feed.backoff import ReconnectBudget
    from invmm.feed.connection import FeedSettings, SupervisedSocket
    from invmm.feed.frames import ApiCredentials
    from invmm.feed.price import PriceFeed
    from invmm.market import Market
    from invmm.price_settings import PriceSettings

QUIET = (FeedState.CONNECTING, FeedState.SUBSCRIBING, FeedState.CLOSED)
REMEMBERED_S = 90  # of an asset's prices, for a market that is opened later


class PriceHub:
    """The price sockets of one engine; none before `open`.

    Parameters
    ----------
    prices : PriceSettings
    tell : callable(event, now_ns)
        The engine's step.
    say : callable(text)
        What people should know.
    """

    def __init__(
        self, prices: PriceSettings, tell: Callable[[Any, int], object], say: Callable[[str], object]
    ) -> None:
        self.feeds: dict[str, PriceFeed] = {}
        self._prices = prices
        self._markets: dict[int, Market] = {}
        self._recent: dict[str, dict[tuple[str, int, int], Price]] = {}
        self._tell, self._say = tell, say
        self._url = ""

    def open(self, venue: object, settings: FeedSettings, clock: LiveClock, budget: ReconnectBudget) -> None:
        """From now on sockets are opened as markets ask for them. `venue`: where `price_url` and `rtds_url`
        are taken from, and the credentials of PolyBolt; what is missing or empty is not there. `settings`:
        of all sockets. ConfigError for an address that would show credentials on the way.
        """
        self._clock, self._budget, self._settings = clock, budget, settings
        self._url, self._credentials = place(venue, self._prices)
        if self._prices.source == "polybolt" and self._prices.use and not self._url:
            self._say("prices: PolyBolt asks for API credentials, none were found: books alone")

    def watch(self, market: Market) -> None:
        """Tells a market the prices of its asset from now on, and one of each second remembered at once."""
        info = market.info
        if not (market.asks_prices and info.asset and self._url):
            return
        self._markets[market.number] = market
        now_ns = self._clock.now_ns()
        for price in self._recent.get(info.asset, {}).values():
            self._one(market, price, now_ns)
        feed = self.feeds.get(info.asset)
        if feed is not None:
            feed.want(info.average_s)
            return
        averages_s = (info.average_s,) if info.average_s else ()
        from invmm.feed.price import PriceFeed, socket_settings  # a replay needs no sockets

        feed = PriceFeed(
            self._url,
            info.asset,
            averages_s,
            self._credentials,
            lambda told, at_ns: self._all(info.asset, told, at_ns),
            self._clock,
            socket_settings(self._prices, self._settings, is_polybolt=self._credentials is not None),
            budget=self._budget,
            on_state=self._changed,
        )
        self.feeds[info.asset] = feed
        feed.start()

    def forget(self, number: int) -> None:
        """The market is closed. Its asset's socket stays for the next one."""
        self._markets.pop(number, None)

    async def close(self) -> None:
        """Ends every socket."""
        await asyncio.gather(*(feed.close() for feed in self.feeds.values()))

    def _all(self, asset: str, told: tuple[Price, ...], now_ns: int) -> None:
        recent = self._recent.setdefault(asset, {})
        for price in told:  # the first of each second: a market that opens must not keep the others waiting
            recent.setdefault((price.source, price.average_s, price.observed_ms // 1000), price)
        since_s = now_ns // 1_000_000_000 - REMEMBERED_S
        while recent and (oldest := next(iter(recent)))[2] < since_s:
            del recent[oldest]
        for market in self._markets.values():
            if market.info.asset == asset:
                for price in told:
                    self._one(market, price, now_ns)

    def _one(self, market: Market, price: Price, now_ns: int) -> None:
        fact = fact_of(price, market.info.rule)
        if fact is not None and market.winner is None:
            event = price_event(
                fact, market.number, price.observed_ms, price.dollars, now_ns, average_s=price.average_s
            )
            self._tell(event, now_ns)

    def _changed(self, feed: SupervisedSocket, state: FeedState, cause: EndCause) -> None:
        """Said, never an alarm: without prices quoting goes on."""
        words = f"{feed.name} feed {state.name.lower().replace('_', ' ')}"
        why = feed.last_error or cause.name.lower().replace("_", " ")
        if state not in QUIET:
            self._say(words if state is FeedState.LIVE else f"{words} ({why}): fair value by the books alone")


def place(venue: object, prices: PriceSettings) -> tuple[str, ApiCredentials | None]:
    """Address and credentials of the price socket; "" where there is none, None where it asks for none."""
    credentials: ApiCredentials | None = getattr(venue, "credentials", None)
    if credentials is not None and not credentials.api_key:
        credentials = None
    polybolt, rtds = getattr(venue, "price_url", ""), getattr(venue, "rtds_url", "")
    if not prices.use:
        return "", None
    if prices.source == "rtds" or (prices.source == "auto" and not (polybolt and credentials)):
        return prices.url or rtds, None
    if credentials is None:
        return "", None  # PolyBolt is asked for, which nobody without credentials may hear
    url = prices.url or polybolt
    if not url.startswith("wss://") and not is_local(url):
        raise ConfigError(f"[price] url: expected wss://, as credentials go there, found {url!r}")
    return url, credentials
