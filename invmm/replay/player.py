"""Plays tapes through the engine at full speed on a virtual clock: the system's deterministic face.

The engine, its step and its settings are those of live trading; what differs is the clock and that the
embedded venue is asked in process. Same tapes, settings and seed → the same commands, byte for byte; their
BLAKE2b digest says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from invmm.engine import Engine
from invmm.market import Market
from invmm.replay.result import MID_DTYPE, MarketResult
from invmm.replay.tape import Tape, TapeFlag
from invmm.settings import Settings, SimSettings
from invmm.sim.embedded import EmbeddedVenue
from invmm.sim.price import price_events, rule_of
from invmm.sim.profile import VenueProfile
from invmm.sim.stretches import CutTape
from invmm.types import EVENT_DTYPE, MICRO, EventFlag, EventKind, Mode, Source

MS = 1_000_000
SECOND = 1_000_000_000
PULL_NS = 5 * SECOND  # how long a market that is cut short waits for proof that its orders have ended


def frame_events(tape: Tape, market: int) -> npt.NDArray[np.void]:
    """A tape as events: a FRAME for each frame, a BUFFER_END after the last of equal receive time, and before
    the first frame after a lost connection one that says so.
    """
    rows = tape.rows
    ends = (rows["flags"] & np.uint32(TapeFlag.BUFFER_END)) != 0
    gaps = ((rows["flags"] & np.uint32(TapeFlag.GAP)) != 0).astype(np.int64)
    repeats = 1 + gaps + ends.astype(np.int64)
    events = np.zeros(int(repeats.sum()), dtype=EVENT_DTYPE)
    firsts = np.cumsum(repeats) - repeats
    at = firsts + gaps
    events["source"] = Source.REPLAY
    events["market"] = market
    events["sequence"] = np.arange(1, len(events) + 1)
    for name, column in (("venue_ms", "venue_ms"), ("time_ns", "recv_ns")):
        events[name] = np.repeat(rows[column], repeats)
    events["kind"] = EventKind.BUFFER_END
    events["kind"][at] = EventKind.FRAME
    events["offset"][at] = rows["offset"]
    events["length"][at] = rows["length"]
    checkpoint = (rows["flags"] & np.uint32(TapeFlag.CHECKPOINT)) != 0
    events["flags"][at] = np.where(checkpoint, int(EventFlag.CHECKPOINT), 0)
    events["flags"][firsts[gaps != 0]] = EventFlag.DISCONNECTED
    return events


def merged(events: npt.NDArray[np.void], more: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Both in order of time; of equal time, `events` go first."""
    if not len(more):
        return events
    both = np.concatenate([events, more])
    return both[np.argsort(both["time_ns"], kind="stable")]


def venue_profile(sim: SimSettings) -> VenueProfile:
    """The settings of the embedded venue in its own terms."""
    return VenueProfile(
        feed_latency_ns=round(sim.feed_latency_ms * MS),
        order_latency_ns=round(sim.order_latency_ms * MS),
        ack_latency_ns=round(sim.ack_latency_ms * MS),
        user_latency_ns=round(sim.ack_latency_ms * MS),
        taker_delay_ns=round(sim.taker_delay_ms * MS),
        settlement_lag_ns=round(sim.settlement_lag_s * SECOND),
        collateral_micro=round(sim.collateral_dollars * MICRO),
        queue_model=sim.queue_model,
    )


@dataclass(frozen=True)
class Prepared:
    """What is made of a tape before it is played; for a tape that is played often, made once."""

    tape: Tape
    events: npt.NDArray[np.void]
    """Those of market 0."""
    cut: CutTape

    @classmethod
    def of(cls, tape: Tape, feed_latency_ns: int) -> Prepared:
        """`feed_latency_ns`: that of the venue's profile."""
        return cls(tape, frame_events(tape, 0), CutTape.of(tape, feed_latency_ns))


class Player:
    """Plays tapes one after another through one engine. `digest` covers all commands so far."""

    def __init__(
        self,
        settings: Settings,
        *,
        seed: int = 0,
        policy: str | None = None,
        progress: Callable[[Tape, float], None] | None = None,
        sample_ms: int = 500,
        profile: VenueProfile | None = None,
        watch: Callable[[int, Market], None] | None = None,
        is_checking: bool = True,
    ) -> None:
        """`profile` of the venue: that of the settings if omitted. `watch` is called with time and market at
        each sample. Without `is_checking` the engine's places in the queues are not held against the
        venue's, nor its books against checksums: the commands are the same.
        """
        self.settings = settings
        self.seed = seed
        self.policy = policy
        self.progress = progress
        self.sample_ns = sample_ms * MS
        self.profile = profile or venue_profile(settings.sim)
        self.watch = watch
        self.is_checking = is_checking
        self.results: list[MarketResult] = []
        self.commands = 0
        self.clean = True  # whether no order was left open after a market that was cut short
        self._hash = hashlib.blake2b(digest_size=32)
        self._stopping = False

    def stop(self) -> None:
        """Ends the market being played at its next timer: its quotes are pulled and what there is counts.

        Safe in a signal handler.
        """
        self._stopping = True

    @property
    def digest(self) -> str:
        """BLAKE2b (256 bits) over the raw command records, in order."""
        return self._hash.hexdigest()

    def play(self, tape: Tape | Prepared, *, until_ns: int | None = None) -> MarketResult:
        """Plays one market to its resolution (or to `until_ns`) and returns what it came to."""
        number = len(self.results)
        feed_latency_ns = self.profile.feed_latency_ns
        if not isinstance(tape, Prepared) or tape.cut.feed_latency_ns != feed_latency_ns:
            tape = Prepared.of(tape.tape if isinstance(tape, Prepared) else tape, feed_latency_ns)
        events, tape_cut, tape = tape.events, tape.cut, tape.tape
        if number:
            events = events.copy()
            events["market"] = number
        venue = EmbeddedVenue(tape, seed=self.seed, profile=self.profile, market=number, tape_cut=tape_cut)
        engine = Engine(self.settings, policy=self.policy, venue=venue, seed=self.seed)
        prices = self.settings.price.use
        market = engine.add_market(rule_of(tape) if prices else tape.market, number=number)
        step = market.step
        if prices and market.asks_prices:
            events = merged(events, price_events(tape, number))
        raw = events.view(np.uint8).reshape(-1)
        times = events["time_ns"]
        count = len(events)
        rows_of = (
            np.cumsum(events["kind"] == EventKind.FRAME) - 1
        )  # the tape's row that each event belongs to
        inbox = np.zeros(512, dtype=EVENT_DTYPE)
        tick = np.zeros(1, dtype=EVENT_DTYPE)
        tick["kind"], tick["market"] = EventKind.TIMER, number
        coalesce = np.zeros(1, dtype=EVENT_DTYPE)
        coalesce["kind"], coalesce["market"] = EventKind.BUFFER_END, number
        first_ns = int(times[0]) if count else tape.market.start_s * SECOND
        last_ns = int(times[-1]) if count else first_ns
        close_ns = max(last_ns, tape.market.end_s * SECOND) + self.profile.settlement_lag_ns + 60 * SECOND
        if until_ns is not None:
            close_ns = min(close_ns, until_ns)
        timer_ns = self.settings.engine.timer_ms * MS
        next_timer = first_ns + timer_ns
        next_sample = first_ns + self.sample_ns
        errors: list[int] = []
        ahead_of_truth = 0
        mids: list[tuple[int, float]] = []
        shown = 0.0
        venue.start()
        index = 0
        # How far the venue may be ahead of what is submitted, and what it tells ahead of that: what it does
        # before an order can reach it does not depend on the order. Its places in the queues are true only
        # when they are asked for in time.
        lead_ns = 0 if self.is_checking else self.profile.order_latency_ns - 1
        told_after_ns = min(self.profile.ack_latency_ns, self.profile.user_latency_ns)
        now = known_ns = first_ns

        def submit(commands: npt.NDArray[np.void], now_ns: int) -> None:
            if len(commands):
                self._hash.update(commands.tobytes())
                self.commands += len(commands)
                venue.submit(commands, now_ns)

        while True:
            frame_ns = int(times[index]) if index < count else None
            following = next_timer if frame_ns is None else min(next_timer, frame_ns)
            limit = next_timer + 1
            if lead_ns > 0:
                if following > known_ns:
                    venue.advance(now + lead_ns)
                    known_ns = now + lead_ns + told_after_ns
                limit = min(limit, known_ns + 1)
                venue_ns = venue.told_ns()
                if venue_ns is None or venue_ns > known_ns:
                    venue_ns = None
                    if following > known_ns:
                        now = known_ns
                        continue
            else:
                venue_ns = venue.next_ns()
            now = following
            if venue_ns is not None and venue_ns <= now:
                now = venue_ns
                if now > close_ns:
                    break
                venue.advance(now)
                got = venue.poll(now, inbox)
                for i in range(got):
                    submit(engine.step(inbox[i : i + 1], now), now)
                if got:
                    submit(step.step(coalesce, now), now)
                if market.winner is not None and venue.next_ns() is None:
                    break
                continue
            if now > close_ns:
                break
            if frame_ns is not None and frame_ns <= next_timer:
                # Up to the next timer; what the venue has to say at the same time as a frame is said first.
                limit = limit if venue_ns is None else min(limit, venue_ns)
                stop = index + int(np.searchsorted(times[index : index + 4096], limit))
                index, commands = step.run(raw, index, max(stop, index + 1), tape.data)
                now = int(times[index - 1])
                submit(commands, now)
                continue
            next_timer += timer_ns
            submit(step.step(tick, now), now)
            if self._stopping:
                break
            if now >= next_sample:
                next_sample += self.sample_ns
                if self.is_checking:
                    self._compare_hash(market, tape, rows_of[index - 1] if 0 < index <= count else -1)
                mid = market.up_mid()
                if mid is not None:
                    mids.append((now, mid))
                if self.watch is not None:
                    self.watch(now, market)
                for order in step.registry.orders_live() if self.is_checking else ():
                    estimate = order["ahead_micro"]
                    truth = venue.true_ahead_micro(int(str(order["key"])))
                    if estimate is not None and truth is not None:
                        errors.append(int(str(estimate)) - truth)
                        ahead_of_truth += int(str(estimate)) < truth
                if self.progress is not None:
                    done = (now - first_ns) / max(1, close_ns - first_ns)
                    if done - shown >= 0.02:
                        shown = done
                        self.progress(tape, min(1.0, done))
            if market.winner is not None and venue.next_ns() is None and index >= count:
                break
        if market.winner is None:
            self._pull(engine, venue, number, now, submit)
        step.end_batch()
        counts = step.registry.counts()
        account = venue.core.account
        venue.check()
        result = MarketResult(
            tape=tape,
            ledger=market.ledger,
            step=step.stats(),
            books=step.books.stats,
            orders=counts["orders"],
            placed_micro=counts["placed_micro"],
            winner=market.winner,
            start_cash_micro=account.start_micro,
            venue_cash_micro=account.cash_micro,
            mids=np.array(mids, dtype=MID_DTYPE),
            queue_errors_micro=errors,
            hash_checks=market.hashes.checks,
            hash_mismatches=market.hashes.mismatches,
            queue_ahead_of_truth=ahead_of_truth,
        )
        venue.close()
        self.results.append(result)
        if self.progress is not None:
            self.progress(tape, 1.0)
        return result

    def _pull(
        self, engine: Engine, venue: EmbeddedVenue, number: int, now_ns: int, submit: Callable[..., None]
    ) -> None:
        """The market was cut short: cancels, waits for answers, looks whether the venue holds an order."""
        stop = np.zeros(1, dtype=EVENT_DTYPE)
        stop["kind"], stop["market"], stop["status"] = EventKind.MODE, number, Mode.STOPPED
        inbox = np.zeros(512, dtype=EVENT_DTYPE)
        submit(engine.step(stop, now_ns).copy(), now_ns)
        until_ns = now_ns + PULL_NS
        while engine.markets[number].step.registry.counts()["live"]:
            due_ns = venue.next_ns()
            if due_ns is None or due_ns > until_ns:
                break
            venue.advance(due_ns)
            for record in inbox[: venue.poll(due_ns, inbox)]:
                submit(engine.step(record, due_ns).copy(), due_ns)
        self.clean = self.clean and not venue.core.open_orders()

    def _compare_hash(self, market: Market, tape: Tape, row: int) -> None:
        """Holds the books against the venue's checksum in a frame that was the last of its timestamp."""
        rows = tape.rows["venue_ms"]
        if 0 <= row < len(rows) - 1 and rows[row] != rows[row + 1]:
            market.hashes.compare(market.step.books, tape.frame(row))
