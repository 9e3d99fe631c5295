"""What the engine knows about the data and the compiled steps do not: it tells them, and they decide.

| fact                                                       | reason while it is not so            |
|------------------------------------------------------------|--------------------------------------|
| the user stream is up and has answered                     | USER_FEED                            |
| a reconciliation pass of the last 15 s has succeeded       | UNRECONCILED                         |
| the venue's clock is at most 1 s from ours                 | CLOCK                                |
| a second source has a quiet book as we have it (`witness`) | STALE, after the limit of silence    |
| … or another one                                           | DISPUTED                             |

And it does what the steps ask for: a book that contradicts itself for long is fetched anew over a new
connection. Books are held against the venue's checksum every ten seconds, and a market's feed is told when
silence is to be expected. Everything here runs on the engine's thread, off the path of a frame.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from invmm.feed.states import FeedState
from invmm.feed.witness import BookWitness, WitnessSettings
from invmm.limits import SILENCE_FLOOR_S
from invmm.types import EVENT_DTYPE, EventKind, GuardFact, Outcome, Reason

if TYPE_CHECKING:
    from invmm.clock import LiveClock
    from invmm.market import Market
    from invmm.settings import Settings

MS = 1_000_000
SECOND = 1_000_000_000
RECONCILED_NS = 15 * SECOND
HASH_EVERY_NS = 10 * SECOND
ASK_FLOOR_S, GRACE_FLOOR_S = 0.2, 0.1  # real seconds, for a clock that is faster than the machine
SPOKEN = (FeedState.LIVE, FeedState.SILENT)


class UserStream(Protocol):
    """The user feed as far as it matters here."""

    @property
    def is_live(self) -> bool: ...


class Reconciled(Protocol):
    """The reconciler as far as it matters here."""

    @property
    def reconciled_ns(self) -> int: ...

    @property
    def clock_offset_ns(self) -> int: ...


class Sampler(Protocol):
    """What a sample of books is asked of, on the edge thread."""

    def books(self, token_ids: Sequence[str]) -> Awaitable[list[dict[str, Any]]]: ...


AskEdge = Callable[[Callable[[Sampler], Awaitable[Any]], Callable[[Any], object]], bool]
"""`EdgeThread.ask`, or False where there is no edge."""


@dataclass
class _Watched:
    witness: BookWitness
    held: Reason = Reason.NONE
    clock_ms: int = 0


class DataGuard:
    """Guards the data of all markets of an engine.

    Parameters
    ----------
    markets : mapping
        The open markets by number; may change.
    clock, settings
        Of the engine.
    ask_edge : AskEdge
        Where samples are asked for.
    """

    def __init__(
        self, markets: Mapping[int, Market], clock: LiveClock, settings: Settings, ask_edge: AskEdge
    ) -> None:
        self.user_feed: UserStream | None = None  # set when there is an account to be followed
        self.reconciler: Reconciled | None = None
        self.resyncs = 0
        self._markets = markets
        self._clock = clock
        self._ask_edge = ask_edge
        self._watched: dict[int, _Watched] = {}
        self._hash_due_ns = 0
        self._stop_before_end_ms = settings.engine.stop_before_end_ms
        max_age_ns = settings.engine.book_max_age_ms * MS
        self._witness_settings = WitnessSettings(
            quiet_ns=max_age_ns * 2 // 5,
            every_ns=max(max_age_ns // 3, round(ASK_FLOOR_S * clock.scale * SECOND)),
            grace_ns=max(max_age_ns // 10, round(GRACE_FLOOR_S * clock.scale * SECOND)),
            valid_ns=max_age_ns,
        )
        self._reconciled_limit_ns = max(RECONCILED_NS, round(4 * SILENCE_FLOOR_S * clock.scale * SECOND))

    def watch(self, market: Market) -> Callable[[Sequence[str]], bool]:
        """Begins with a market; gives what its feed asks about silent tokens (`feed.market.Witness`)."""
        ids = (market.info.up_token_id, market.info.down_token_id)

        def ask(done: Callable[[Any], object]) -> bool:
            return self._ask_edge(lambda client: client.books(ids), done)

        def tell(fact: GuardFact, outcome: Outcome, time_ns: int) -> None:
            self._tell(market, fact, token=outcome, time_ns=time_ns)

        witness = BookWitness(market.step.books, ids, ask, tell, self._witness_settings)
        market.on_hash_doubt = lambda: witness.doubt(self._clock.now_ns())
        self._watched[market.number] = _Watched(witness)
        return lambda silent: witness.disagrees(silent, self._clock.now_ns())

    def witness(self, number: int) -> BookWitness:
        """The witness of a market, for its counters."""
        return self._watched[number].witness

    def tick(self, now_ns: int) -> None:
        """From the engine's timer, before the steps'."""
        if not self._watched.keys() <= self._markets.keys():
            for number in self._watched.keys() - self._markets.keys():
                del self._watched[number]
        wants_hash = now_ns >= self._hash_due_ns
        if wants_hash:
            self._hash_due_ns = now_ns + HASH_EVERY_NS
        held = self._held(now_ns)
        clock_ms = 0 if self.reconciler is None else self.reconciler.clock_offset_ns // MS
        for number, watched in self._watched.items():
            market = self._markets[number]
            market.step.wants_frame |= wants_hash
            ended_ns = now_ns - market.info.end_s * SECOND
            if market.feed is not None:
                market.feed.patient = market.held or ended_ns >= 0
                if market.feed.token_ids and market.has_had_last_word(now_ns):
                    market.feed.set_tokens(())  # what is silent now is meant to be
            if watched.held != held:
                watched.held = held
                self._tell(market, GuardFact.HOLD, reason=held)
            if watched.clock_ms != clock_ms:
                watched.clock_ms = clock_ms
                self._tell(market, GuardFact.CLOCK, code=clock_ms)
            is_traded = not market.held and market.winner is None
            watched.witness.tick(now_ns, wanted=is_traded and ended_ns < -self._stop_before_end_ms * MS)
            self._resync(market)

    def _held(self, now_ns: int) -> Reason:
        if self.user_feed is not None and not self.user_feed.is_live:
            return Reason.USER_FEED
        if self.reconciler is not None and now_ns - self.reconciler.reconciled_ns > self._reconciled_limit_ns:
            return Reason.UNRECONCILED
        return Reason.NONE

    def _resync(self, market: Market) -> None:
        reason = market.step.resync_reason
        feed = market.feed
        if reason and feed is not None and feed.state in SPOKEN and not market.held and feed.replace():
            self.resyncs += 1
            market.say(f"{market.info.slug}: fresh books wanted ({Reason(reason).name.lower()})")

    def _tell(self, market: Market, fact: GuardFact, **fields: int) -> None:
        event = np.zeros(1, dtype=EVENT_DTYPE)
        event["kind"], event["market"], event["status"] = EventKind.GUARD, market.number, fact
        for name, value in fields.items():
            event[name] = value
        market.step.step(event, self._clock.now_ns())
