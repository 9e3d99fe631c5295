"""The market socket: which tokens are subscribed, whether each has its book, whether each still gets data.

The sink gets every message of the connection as it came. It is told of a lost or replaced connection at once:
what it holds is not tradable until a fresh book has arrived for the token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from invmm._ext.sink import FrameSink
from invmm.clock import LiveClock
from invmm.feed.connection import NS, FeedSettings, SupervisedSocket
from invmm.feed.dial import Connection
from invmm.feed.frames import check_token_ids, market_add, market_first, market_remove
from invmm.feed.liveness import Liveness
from invmm.feed.states import EndCause, FeedState, TokenState

ASK_AGAIN_NS = NS // 10

Witness = Callable[[Sequence[str]], bool]
"""Whether something else says that these silent tokens should have had data: a second socket, a REST sample,
the price of the underlying."""


class MarketFeed(SupervisedSocket):
    """Books and trades of up to `settings.max_tokens` tokens over one connection.

    Parameters
    ----------
    url : str
        For instance `wss://ws-subscriptions-clob.polymarket.com/ws/market`.
    token_ids : sequence of str
        Decimal ids; may be empty: the feed then connects when tokens are added.
    sink, clock, settings, **rest
        As in `SupervisedSocket`.

    witness : Witness, optional
        Asked while a token is silent, on the event loop, every 100 ms of engine time.

    A token that gets no first book within `first_event_s` is subscribed again `redrives` times, then the
    connection is replaced. A token that had data and has none for the limit of silence makes the feed SILENT,
    whether or not PING is answered, and the connection is replaced: at once without a witness, else when the
    witness disagrees with the silence, at the latest after `silence_cap_s`. Of 18
    recorded five-minute markets 8 were quiet for 3 to 14 s at some time, 27 times in all: without a witness
    some replacements are for nothing. While `patient` is set, silence is nothing unusual: the window has not
    begun or is over.
    """

    name = "market"

    def __init__(
        self,
        url: str,
        token_ids: Sequence[str],
        sink: FrameSink,
        clock: LiveClock,
        settings: FeedSettings | None = None,
        *,
        witness: Witness | None = None,
        **rest: Any,
    ) -> None:
        super().__init__(url, sink, clock, settings, **rest)
        self._witness = witness
        self.patient = False
        self._wanted_end = EndCause.NONE
        self.token_ids = check_token_ids(token_ids, self.settings.max_tokens)
        self._subscribed: tuple[str, ...] = ()
        self._first_sent = False
        self._liveness = self._new_liveness()

    def set_tokens(self, token_ids: Sequence[str]) -> None:
        """Changes the subscription without a new connection: sends what is added and removed, no more."""
        self.token_ids = check_token_ids(token_ids, self.settings.max_tokens)
        self._wake.set()

    def add_tokens(self, token_ids: Sequence[str]) -> None:
        """`set_tokens` with these in addition."""
        self.set_tokens([*self.token_ids, *token_ids])

    def remove_tokens(self, token_ids: Sequence[str]) -> None:
        """`set_tokens` without these."""
        gone = set(token_ids)
        self.set_tokens([token_id for token_id in self.token_ids if token_id not in gone])

    def replace(self, cause: EndCause = EndCause.RESYNC) -> bool:
        """Replaces the present connection, for fresh books on a new one; False if there is none, or if it is
        being replaced already.
        """
        if not self.is_connected or self._wanted_end is not EndCause.NONE:
            return False
        self._wanted_end = cause
        self._wake.set()
        return True

    def token_states(self) -> dict[str, TokenState]:
        """State of every wanted token on the current connection, as of now."""
        if self._listener is not None:
            self._observe(self._listener)
        known = self._liveness.states() if self._listener is not None else {}
        return {token_id: known.get(token_id, TokenState.WAITING) for token_id in self.token_ids}

    def data_age_ns(self, token_id: str) -> int | None:
        """Engine time since a token's last data on this connection, ns, exact to 100 ms; None if none."""
        if self._listener is None or token_id not in self._subscribed:
            return None
        heard_ns, _ = self._listener.heard(token_id)
        return self.clock.now_ns() - heard_ns if heard_ns else None

    @property
    def silence_limit_ns(self) -> int:
        """The limit of silence in force, ns of engine time."""
        return self._liveness.limit_ns

    def _wants_connection(self) -> bool:
        return bool(self.token_ids)

    def _opened(self, listener: Connection, now_ns: int) -> None:
        limit_ns = self._liveness.limit_ns
        self._liveness = self._new_liveness()
        self._liveness.limit_ns = limit_ns  # what was learnt about the market outlives the connection
        self._subscribed = ()
        self._first_sent = False
        self._wanted_end = EndCause.NONE
        self._subscribe(listener, now_ns)

    def _check(self, listener: Connection, now_ns: int) -> EndCause:
        if self._wanted_end is not EndCause.NONE:
            return self._wanted_end
        if self._subscribed != self.token_ids:
            self._subscribe(listener, now_ns)
        self._observe(listener)
        if not self.patient:
            self._liveness.learn(listener.gap_counts())
        verdict = self._liveness.check(now_ns)
        if verdict.redrive:
            # The venue may ignore a subscription to a token that it believes we hold.
            listener.send_text(market_remove(verdict.redrive))
            listener.send_text(market_add(verdict.redrive, self.settings.custom_features))
        if verdict.missing:
            return EndCause.FIRST_EVENT
        if verdict.silent and not self.patient:
            self._set_state(FeedState.SILENT)
            if verdict.overdue or self._witness is None or self._witness(verdict.silent):
                return EndCause.SILENT
            listener.awaiting_data = True
            return EndCause.NONE
        self._set_state(FeedState.LIVE if self._liveness.all_live() else FeedState.SUBSCRIBING)
        return EndCause.NONE

    def _due_ns(self, now_ns: int) -> int | None:
        due_ns = self._liveness.due_ns()
        if self.patient and due_ns is not None:
            due_ns = max(due_ns, now_ns + ASK_AGAIN_NS)
        if self.state is FeedState.SILENT:
            # The witness may change its mind; data wakes us by itself.
            due_ns = min(now_ns + ASK_AGAIN_NS, due_ns or now_ns + ASK_AGAIN_NS)
        return due_ns

    def _subscribe(self, listener: Connection, now_ns: int) -> None:
        old = set(self._subscribed)
        new = set(self.token_ids)
        added = [token_id for token_id in self.token_ids if token_id not in old]
        gone = [token_id for token_id in self._subscribed if token_id not in new]
        listener.follow(self.token_ids)
        if gone:
            listener.send_text(market_remove(gone))
            self._liveness.removed(gone)
        if added:
            build = market_add if self._first_sent else market_first
            listener.send_text(build(added, self.settings.custom_features))
            self._first_sent = True
            self._liveness.subscribed(added, now_ns)
        self._subscribed = self.token_ids

    def _observe(self, listener: Connection) -> None:
        for token_id in self._subscribed:
            self._liveness.observe(token_id, *listener.heard(token_id))

    def _new_liveness(self) -> Liveness:
        settings = self.settings
        return Liveness(
            first_event_ns=round(settings.first_event_s * NS),
            redrives=settings.redrives,
            silence_ns=round(settings.silence_s * NS),
            silence_cap_ns=round(settings.silence_cap_s * NS),
        )
