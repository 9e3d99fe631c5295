"""The price socket of one asset: PolyBolt with credentials, RTDS without.

Any frame proves life; one that is silent for `stale_s` is replaced, after a random wait so that not everybody
comes back at once. Whatever goes wrong here costs nothing but the prices: quoting goes on by the books.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from invmm._ext.sink import CallbackSink
from invmm.clock import LiveClock
from invmm.feed.connection import FeedSettings, SupervisedSocket
from invmm.feed.dial import Connection
from invmm.feed.frames import ApiCredentials
from invmm.feed.price_messages import (
    FINAL_ERRORS,
    PING_POLYBOLT,
    PING_RTDS,
    Price,
    PriceMessages,
    polybolt_auth,
    polybolt_subscribe,
    rtds_subscribe,
)
from invmm.feed.states import EndCause, FeedState
from invmm.price_settings import PriceSettings

NS, MS = 1_000_000_000, 1_000_000
ACK_S = 10.0
POLYBOLT_PING_S, RTDS_PING_S = 30.0, 5.0
STEP_S = 0.11  # between two operations


def socket_settings(prices: PriceSettings, given: FeedSettings, *, is_polybolt: bool) -> FeedSettings:
    """Those of the other sockets, with a price socket's own patience."""
    stale_s = max(prices.stale_s, given.silence_s)
    return replace(
        given,
        keep_alive_s=POLYBOLT_PING_S if is_polybolt else RTDS_PING_S,
        silence_s=stale_s,
        silence_cap_s=stale_s,
        backoff_base_s=prices.jitter_s,
        backoff_cap_s=prices.jitter_s,
    )


class PriceFeed(SupervisedSocket):
    """Prices of one asset.

    Parameters
    ----------
    url : str
    asset : str
        As in "btc".
    averages_s : sequence of int
        The published averages that are wanted, seconds.
    credentials : ApiCredentials or None
        PolyBolt's; None: the socket speaks RTDS. Read when a connection opens; never kept, printed or logged.
    on_prices : callable(prices, now_ns)
        Gets what was told, on the event loop, oldest first. An exception replaces the connection.
    clock, settings, **rest
        As in `SupervisedSocket`.

    Live means that prices have come on this connection.
    """

    name = "price"

    def __init__(
        self,
        url: str,
        asset: str,
        averages_s: Sequence[int],
        credentials: ApiCredentials | None,
        on_prices: Callable[[tuple[Price, ...], int], object],
        clock: LiveClock,
        settings: FeedSettings | None = None,
        **rest: Any,
    ) -> None:
        self.name = f"{asset} price"
        super().__init__(url, CallbackSink(self._on_frame), clock, settings, **rest)
        self.asset = asset
        self.messages = PriceMessages(asset)
        self.refusal = ""  # the code after which no other attempt is made
        self._averages_s = tuple(dict.fromkeys(averages_s))
        self._credentials = credentials
        self._on_prices = on_prices
        self._has_prices = False
        self._subscribe_ns: int | None = None  # when to
        self._opened_ns = self._heard_ns = 0

    def want(self, average_s: int) -> None:
        """One more average, from the next connection on; this one is replaced."""
        if average_s and average_s not in self._averages_s:
            self._averages_s += (average_s,)
            if self._listener is not None:
                self._listener.end(EndCause.RESYNC)
                self._wake.set()

    def _on_frame(self, data: bytes, now_ns: int, last: bool) -> None:
        self._heard_ns = now_ns
        said = self.messages.read(data, now_ns // MS)
        if said.prices:
            if not self._has_prices:
                self._has_prices = True
                self._wake.set()
            self._on_prices(said.prices, now_ns)
        elif said.op == "authed":
            self._subscribe_ns = now_ns + round(STEP_S * NS)
            self._wake.set()
        elif said.op == "error":
            self.last_error = f"the venue says {said.code}"
            if said.code in FINAL_ERRORS:
                self.refusal = said.code
            elif said.code == "auth_expired" and self._listener is not None:
                self._listener.end(EndCause.PEER)
            self._wake.set()

    def _wants_connection(self) -> bool:
        return not self.refusal

    def _opened(self, listener: Connection, now_ns: int) -> None:
        self.messages.begin()
        self._has_prices = False
        self._subscribe_ns = None
        self._opened_ns = self._heard_ns = now_ns
        if self._credentials is None:
            listener.send_text(rtds_subscribe(self.asset, self._averages_s))
        else:
            listener.send_text(polybolt_auth(self._credentials))

    def _ping(self, listener: Connection) -> None:
        if listener.messages or self._credentials is None:  # nothing goes before the proof of identity
            listener.send_text(PING_RTDS if self._credentials is None else PING_POLYBOLT)

    def _check(self, listener: Connection, now_ns: int) -> EndCause:
        if self._subscribe_ns is not None and now_ns >= self._subscribe_ns:
            self._subscribe_ns = None
            listener.send_text(polybolt_subscribe(self.asset, self._averages_s))
        self._set_state(FeedState.LIVE if self._has_prices else FeedState.SUBSCRIBING)
        if not self._has_prices and now_ns - self._opened_ns >= self._ack_ns:
            return EndCause.FIRST_EVENT
        if now_ns - self._heard_ns >= round(self.settings.silence_s * NS):
            return EndCause.SILENT
        return EndCause.NONE

    def _due_ns(self, now_ns: int) -> int | None:
        due_ns = [self._heard_ns + round(self.settings.silence_s * NS)]
        if not self._has_prices:
            due_ns.append(self._opened_ns + self._ack_ns)
        if self._subscribe_ns is not None:
            due_ns.append(self._subscribe_ns)
        return min(due_ns)

    @property
    def _ack_ns(self) -> int:
        return round(self._network_s(ACK_S) * self.clock.scale * NS)
