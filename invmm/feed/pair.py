"""A market over two sockets: one may die, stall or be renewed, and the stream goes on.

Both carry every message, the first copy wins (`merge.pyx`). Each is the other's witness: a socket that is
silent while the other one has data is replaced without a word to the engine. Renewals are planned and
staggered, so that the venue's own limits on the life of a connection never meet both at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from invmm._ext.sink import FrameSink
from invmm.clock import LiveClock
from invmm.feed.connection import NS, FeedSettings, FeedStats
from invmm.feed.market import MarketFeed, Witness
from invmm.feed.merge import FrameMerge
from invmm.feed.states import EndCause, FeedState, TokenState

LOOK_NS = NS // 20
BEST_FIRST = (
    FeedState.LIVE,
    FeedState.SILENT,
    FeedState.SUBSCRIBING,
    FeedState.CONNECTING,
    FeedState.BACKING_OFF,
    FeedState.IDLE,
    FeedState.REFUSED,
    FeedState.FAILED,
    FeedState.CLOSED,
)


class MarketStream(Protocol):
    """The market channel of one market, over one socket (`MarketFeed`) or two (`PairedFeed`)."""

    name: str
    patient: bool

    @property
    def state(self) -> FeedState: ...
    @property
    def is_live(self) -> bool: ...
    @property
    def token_ids(self) -> tuple[str, ...]: ...
    def start(self) -> None: ...
    async def close(self) -> None: ...
    def set_tokens(self, token_ids: Sequence[str]) -> None: ...
    def token_states(self) -> dict[str, TokenState]: ...
    def replace(self, cause: EndCause = ...) -> bool: ...
    def stats(self) -> FeedStats: ...


def market_stream(sockets: int, renew_s: float, *given: Any, **more: Any) -> MarketStream:
    """A market's channel over one socket or two; what else is given is `MarketFeed`'s."""
    return PairedFeed(*given, renew_s=renew_s, **more) if sockets == 2 else MarketFeed(*given, **more)


class PairedFeed:
    """Two `MarketFeed`s for the same tokens.

    Parameters
    ----------
    url, token_ids, sink, clock, settings, **rest
        As in `MarketFeed`.
    witness : Witness, optional
        Asked about a silence of both sockets.
    renew_s : float
        Engine time between planned renewals, of one socket and the other in turn; 0: none.
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
        renew_s: float = 0.0,
        **rest: Any,
    ) -> None:
        self.merge = FrameMerge(sink, max(1, len(token_ids)))
        self.feeds = tuple(
            MarketFeed(url, token_ids, lane, clock, settings, witness=self._witness(number, witness), **rest)
            for number, lane in enumerate(self.merge.lanes)
        )
        self.feeds[1].name = "second market"
        self._clock = clock
        self._renew_ns = round(renew_s * NS)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts the first socket, and the second one when the first is live."""
        self.feeds[0].start()
        self._task = asyncio.get_running_loop().create_task(self._look_after(), name="invmm market pair")

    async def close(self) -> None:
        """Ends both; may be repeated."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for feed in self.feeds:
            await feed.close()

    @property
    def state(self) -> FeedState:
        """The better one of the two."""
        return min((feed.state for feed in self.feeds), key=BEST_FIRST.index)

    @property
    def is_live(self) -> bool:
        return self.state is FeedState.LIVE

    @property
    def token_ids(self) -> tuple[str, ...]:
        return self.feeds[0].token_ids

    @property
    def patient(self) -> bool:
        """As in `MarketFeed`, of both."""
        return self.feeds[0].patient

    @patient.setter
    def patient(self, patient: bool) -> None:
        for feed in self.feeds:
            feed.patient = patient

    def set_tokens(self, token_ids: Sequence[str]) -> None:
        """As in `MarketFeed`, of both."""
        for feed in self.feeds:
            feed.set_tokens(token_ids)

    def token_states(self) -> dict[str, TokenState]:
        """Of the better socket."""
        return min(self.feeds, key=lambda feed: BEST_FIRST.index(feed.state)).token_states()

    def replace(self, cause: EndCause = EndCause.RESYNC) -> bool:
        """Replaces both: what they made together is not to be trusted."""
        replaced = [feed.replace(cause) for feed in self.feeds]
        return any(replaced)

    def stats(self) -> FeedStats:
        """Sums over both; age and round trip are the better ones."""
        one, two = (feed.stats() for feed in self.feeds)
        ages = [stats.data_age_ns for stats in (one, two) if stats.data_age_ns is not None]
        trips = [stats.round_trip_ns for stats in (one, two) if stats.round_trip_ns]
        one.add(two)
        one.data_age_ns, one.round_trip_ns = min(ages, default=None), min(trips, default=0)
        return one

    def _witness(self, number: int, witness: Witness | None) -> Witness:
        def disagrees(silent: Sequence[str]) -> bool:
            other = self.feeds[1 - number]
            limit_ns = other.silence_limit_ns
            ages = [other.data_age_ns(token_id) for token_id in silent]
            return any(age is not None and age < limit_ns for age in ages) or (
                witness is None or witness(silent)
            )

        return disagrees

    async def _look_after(self) -> None:
        """Starts the second socket, then renews one after the other."""
        until_ns = self._clock.now_ns() + round(self.feeds[0].settings.first_event_s * NS)
        await self._until(lambda: self.feeds[0].is_live or self._clock.now_ns() >= until_ns)
        self.feeds[1].start()
        turn = 0
        while self._renew_ns:
            await asyncio.sleep(self._clock.wall_s(self._renew_ns))
            await self._until(lambda: all(feed.is_live for feed in self.feeds))
            self.feeds[turn].replace(EndCause.RENEWED)
            turn = 1 - turn

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await asyncio.sleep(self._clock.wall_s(LOOK_NS))
