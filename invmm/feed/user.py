"""The user socket: what the venue says about our own orders and trades, as `USER_EVENT` records.

The venue answers nothing to the first frame and replays nothing that was missed: after each time this feed
becomes live, orders and trades must be asked for by REST before anything is quoted (`connections` in `stats`
tells that it happened).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from invmm._ext.sink import CallbackSink
from invmm.clock import LiveClock
from invmm.feed.connection import FeedSettings, SupervisedSocket
from invmm.feed.dial import Connection
from invmm.feed.frames import ApiCredentials, user_first
from invmm.feed.states import EndCause, FeedState
from invmm.feed.user_messages import OrderKeys, UserMessages
from invmm.types import EventArray


class UserFeed(SupervisedSocket):
    """Own orders and trades of all markets of one account.

    Parameters
    ----------
    url : str
        For instance `wss://ws-subscriptions-clob.polymarket.com/ws/user`.
    credentials : ApiCredentials
        Read when a connection opens; never kept in a frame, printed or logged here.
    on_events : callable(records)
        Gets `EVENT_DTYPE` records (at least one) on the event loop. An exception replaces the connection.
    keys : callable
        Own order key from the venue's 32-byte id, or None.
    tokens : mapping
        Token id → (engine's number of the market, Outcome).
    clock, settings, **rest
        As in `SupervisedSocket`.
    on_disconnect : callable(now_ns), optional
        Told at once when the connection is lost.

    Live means that the venue has answered PING after the first frame; a wrong key shows as connections that
    the venue closes before that.
    """

    name = "user"

    def __init__(
        self,
        url: str,
        credentials: ApiCredentials,
        on_events: Callable[[EventArray], object],
        keys: OrderKeys,
        tokens: Mapping[str, tuple[int, int]],
        clock: LiveClock,
        settings: FeedSettings | None = None,
        *,
        on_disconnect: Callable[[int], object] | None = None,
        **rest: Any,
    ) -> None:
        super().__init__(url, CallbackSink(self._on_frame, None, on_disconnect), clock, settings, **rest)
        self.messages = UserMessages(keys, tokens, credentials.api_key)
        self._credentials = credentials
        self._on_events = on_events

    def retry_unknown(self) -> None:
        """Reads again what was said about unknown orders; call it when an order became known late."""
        records = self.messages.retry(self.clock.now_ns())
        if len(records):
            self._on_events(records)

    def _on_frame(self, data: bytes, now_ns: int, last: bool) -> None:
        records = self.messages.read(data, now_ns)
        if len(records):
            self._on_events(records)

    def _opened(self, listener: Connection, now_ns: int) -> None:
        listener.send_text(user_first(self._credentials))

    def _check(self, listener: Connection, now_ns: int) -> EndCause:
        self._set_state(FeedState.LIVE if listener.pongs else FeedState.SUBSCRIBING)
        return EndCause.NONE
