"""A generated BTC 5-minute Up/Down market: one seed in, one tape of exact wire frames out.

Nothing here was recorded and profit on it says nothing about live trading. The model is built to be no kinder
than recorded markets (`invmm.sim.hardness` measures that, `invmm.sim.calibration` prints the comparison).
Same seed, same bytes.

Each step of `STEP_MS`: takers' orders match, makers pull what is stale, step in front, and change levels
elsewhere; every change goes out as the frames that the venue sends, with hashes and best prices that verify.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from invmm.replay.tape import MarketInfo, Tape, pack
from invmm.sim import frames
from invmm.sim.flow import DEFAULT_FLOW, STEP_S, FlowSettings, Makers, Takers, uniforms
from invmm.sim.identity import GENERATIONS, identify
from invmm.sim.ladder import MirroredLadder
from invmm.sim.path import DAY_TYPES, STEP_MS, price_path
from invmm.types import Outcome, Side

START_S = 1_790_766_900
"""Default start of the window: a multiple of 300 s, the day of the capture that shows true timing."""

POST_S = 2  # trading goes on after the window: recorded markets show frames for two to five seconds
TRADE_PRICE_LAG_MS = (33, 40)  # last_trade_price behind its book frames, capture of 2026-09-30
FEED_LATENCY_MS = 24.0
TICK_CHANGE_HAZARD_PER_S = 1 / 60  # while the mid is beyond the threshold
TICK_CHANGE_E4 = 400  # the venue's rule: below 0.04 or above 0.96


def generate(
    seed: int,
    *,
    day: str | None = None,
    start_s: int = START_S,
    window_s: int = 300,
    pre_s: int = 3,
    settings: FlowSettings = DEFAULT_FLOW,
    market: MarketInfo | None = None,
    quiet_s: int = 0,
) -> Tape:
    """One generated market as a tape.

    Parameters
    ----------
    seed : int
        Everything is drawn from it (PCG64): the same seed gives the same bytes.
    day : {"quiet", "trending", "jumping"}, optional
        Kind of day; drawn from the seed when None.
    start_s, window_s, pre_s : int
        Start of the window in unix seconds, its length, and how long before it the tape begins.
    settings : FlowSettings
        Rates of the order flow; the defaults are calibrated.
    market : MarketInfo, optional
        Ids, slug and exchange; by default ids that follow from seed and start. `start_s` and `window_s` must
        be its.
    quiet_s : int
        The book is on show, unchanging, this long before the tape would begin.

    Returns
    -------
    Tape
        Origin "GENERATED", winner set by the time-average rule. `meta` holds `seed`, `day`, `strike`,
        `final`, `settlement_lag_s`, `tick_change_ms`, the underlying as `path_price` (dollars),
        `path_start_ms` (relative to the start of the window), `path_step_ms`, and unless the market was
        given `question_id`, of which its condition was made.
    """
    if day is not None and day not in DAY_TYPES:
        raise ValueError(f"day: expected one of {sorted(DAY_TYPES)}, got {day!r}")
    if window_s < 90 or pre_s < 0:
        raise ValueError(f"expected window_s >= 90 and pre_s >= 0, got {window_s} and {pre_s}")
    rng = np.random.Generator(np.random.PCG64(seed))
    drawn = list(DAY_TYPES)[int(rng.choice(3, p=[0.3, 0.35, 0.35]))]
    return _Market(rng, seed, day or drawn, start_s, window_s, pre_s, settings, market, quiet_s).run()


class _Market:
    """One run of the model: owns the book, the clock and the frames made so far."""

    def __init__(
        self,
        rng: np.random.Generator,
        seed: int,
        day: str,
        start_s: int,
        window_s: int,
        pre_s: int,
        settings: FlowSettings,
        market: MarketInfo | None,
        quiet_s: int,
    ) -> None:
        self._rng = rng
        self._seed = seed
        self._day = day
        self._start_ms = start_s * 1000
        self._window_s = window_s
        self._pre_s = pre_s
        self._question_id = ""
        if market is None:
            named = identify(f"{seed} {start_s}")
            market = MarketInfo(
                slug=f"btc-updown-5m-{start_s}",
                condition_id=named.condition_id,
                up_token_id=named.up_token_id,
                down_token_id=named.down_token_id,
                start_s=start_s,
                end_s=start_s + window_s,
            )
            self._question_id = named.question_id
        self._quiet_ms = quiet_s * 1000
        self._path = price_path(rng, DAY_TYPES[day], window_s, pre_s + 2, POST_S + 1)
        self._ladder = MirroredLadder(
            market.condition_id,
            market.up_token_id,
            market.down_token_id,
            version=GENERATIONS[market.exchange],
        )
        self._makers = Makers(rng, self._path, DAY_TYPES[day], self._ladder, window_s, settings)
        self._takers = Takers(rng, self._path, DAY_TYPES[day], self._ladder, window_s, settings)
        self._u = uniforms(rng)
        self._lines: list[tuple[int, bytes]] = []
        self._trades = 0
        self._tick_change_ms: int | None = None
        self._info = replace(market, winner=self._path.winner, origin="GENERATED")

    def run(self) -> Tape:
        """Steps through the window and returns the tape."""
        path = self._path
        first = (-self._pre_s * 1000 - path.start_ms) // STEP_MS
        last = ((self._window_s + POST_S) * 1000 - path.start_ms) // STEP_MS
        self._open(first)
        for index in range(first, last):
            self._step(index)
        self._lines.sort(key=lambda line: line[0])
        times = np.array([line[0] for line in self._lines], dtype=np.int64)
        received = _received(self._rng, times)
        rows = zip(received.tolist(), times.tolist(), (frame for _, frame in self._lines), strict=True)
        lag = (
            53.0
            + float(self._rng.exponential(4.0))
            + (float(self._rng.random() < 0.08) * float(self._rng.random()) * 90.0)
        )
        meta: dict[str, Any] = {
            "seed": self._seed,
            "day": self._day,
            "strike": path.strike,
            "final": path.final,
            # Settlement came 53 to 152 s after the end of about 115 windows, median 55 s.
            "settlement_lag_s": min(lag, 152.0),
            "tick_change_ms": self._tick_change_ms,
            "path_price": path.price,
            "path_start_ms": path.start_ms,
            "path_step_ms": STEP_MS,
            **({"question_id": self._question_id} if self._question_id else {}),
        }
        return pack(self._info, ((at, venue, 0, frame) for at, venue, frame in rows), meta)

    def _open(self, index: int) -> None:
        at = self._start_ms + self._path.start_ms + index * STEP_MS
        for side, tick, size in self._makers.opening(index):
            self._set(side, tick, size)
        # The dump bears the time of the last change, which lies before the subscription.
        at -= 1 + self._quiet_ms
        self._lines.append((at, frames.snapshot(self._ladder, str(at))))

    def _step(self, index: int) -> None:
        makers, ladder = self._makers, self._ladder
        offset_ms = self._path.start_ms + index * STEP_MS
        base = self._start_ms + offset_ms
        left = self._window_s - offset_ms / 1000
        u = self._u
        actions: list[tuple[int, int, Any]] = []
        calm = 1.0 if 0 < left <= self._window_s else 0.4
        for order in self._takers.orders(index, calm):
            actions.append((int(next(u) * STEP_MS), 0, order))
        actions.append((int(next(u) * STEP_MS), 1, None))
        actions.append((int(next(u) * STEP_MS), 2, None))
        for _ in range(makers.change_counts[index]):
            actions.append((int(next(u) * STEP_MS), 3, None))
        actions.sort(key=lambda action: action[0])
        for offset, kind, order in actions:
            at = base + offset
            if kind == 0:
                self._match(at, *order)
            elif kind == 1:
                for batch in makers.reprice(index):
                    self._change(at, batch)
            elif kind == 2:
                self._change(at, makers.improve(index))
            else:
                self._change(at, makers.refresh(index, left))
        if ladder.ticks == 100:
            mid_e4 = (ladder.best_bid + ladder.best_ask) * 50
            beyond = mid_e4 < TICK_CHANGE_E4 or mid_e4 > 10_000 - TICK_CHANGE_E4
            if beyond and next(u) < TICK_CHANGE_HAZARD_PER_S * STEP_S:
                self._refine(base + STEP_MS - 1)

    def _set(self, side: int, tick: int, size: int) -> None:
        if side == Side.BUY:
            self._ladder.set_bid(tick, size)
        else:
            self._ladder.set_ask(tick, size)

    def _change(self, at: int, changes: list[frames.LevelChange]) -> None:
        """Applies and publishes one engine batch; changes that would cross the book are left out, as
        post-only orders are."""
        ladder = self._ladder
        applied: list[frames.LevelChange] = []
        for side, tick, size in changes:
            if size and (tick >= ladder.best_ask if side == Side.BUY else tick <= ladder.best_bid):
                continue
            self._set(side, tick, size)
            applied.append((side, tick, size))
        if applied:
            native = Outcome.UP if next(self._u) < 0.5 else Outcome.DOWN
            for frame in frames.price_changes(ladder, str(at), applied, native):
                self._lines.append((at, frame))

    def _match(self, at: int, side: Side, limit: int, size: int) -> None:
        """Matches one taker order up to its limit; the rest of it is killed."""
        ladder = self._ladder
        left = size
        price = 0
        while left > 0:
            if side == Side.BUY:
                tick = ladder.best_ask
                if tick > limit or tick >= ladder.ticks:
                    break
                resting = ladder.asks[tick]
            else:
                tick = ladder.best_bid
                if tick < limit or tick <= 0:
                    break
                resting = ladder.bids[tick]
            taken = min(resting, left)
            self._set(Side.SELL if side == Side.BUY else Side.BUY, tick, resting - taken)
            left -= taken
            price = tick
        if left == size:
            return
        self._trades += 1
        u = self._u
        # The taker traded Up directly, or Down in the opposite direction (a mint or merge match).
        token = Outcome.UP if next(u) < 0.5 else Outcome.DOWN
        own_side = side if token == Outcome.UP else Side(1 - side)
        own_tick = price if token == Outcome.UP else ladder.ticks - price
        hashed_e4 = (own_tick if next(u) < 0.5 else ladder.ticks - own_tick) * ladder.tick_e4
        ladder.last_trade_price = f"{hashed_e4 / 10_000:.3f}"
        timestamp = str(at)
        up, down = frames.books_after_trade(ladder, timestamp)
        first, second = (up, down) if token == Outcome.UP else (down, up)
        self._lines.append((at, first))
        self._lines.append((at, second))
        low, high = TRADE_PRICE_LAG_MS
        later = at + low + int(next(u) * (high - low))
        digest = hashlib.sha256(f"{self._seed}:{self._trades}".encode()).hexdigest()
        frame = frames.last_trade_price(
            ladder, str(later), token, own_side, ladder.price_text[own_tick], size - left, f"0x{digest}"
        )
        self._lines.append((later, frame))

    def _refine(self, at: int) -> None:
        old = self._ladder.tick_size
        self._ladder.refine()
        self._tick_change_ms = at
        for frame in frames.tick_size_changes(self._ladder, str(at), old):
            self._lines.append((at, frame))


def _received(rng: np.random.Generator, venue_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Receive times: feed latency with jitter, stalls after which everything arrives at once, never going
    back."""
    count = len(venue_ms)
    at = venue_ms.astype(np.float64) + FEED_LATENCY_MS + rng.gamma(2.0, 0.4, count)
    stalls = rng.poisson((venue_ms[-1] - venue_ms[0]) / 1000 * 0.04) if count else 0
    for begin in rng.uniform(venue_ms[0], venue_ms[-1], stalls).tolist():
        end = begin + 40.0 + float(rng.exponential(90.0))
        inside = slice(int(np.searchsorted(at, begin)), int(np.searchsorted(at, end)))
        at[inside] = np.maximum(at[inside], end)
    at = np.maximum.accumulate(at)
    # Read buffers: what arrives within half a millisecond is read together.
    received: npt.NDArray[np.int64] = np.ceil(at * 2).astype(np.int64) * 500_000
    return received
