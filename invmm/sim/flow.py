"""Order flow of a generated market: makers around a lagged view of fair, and takers who know better.

Three views of one fair probability make the adverse selection of the real market:

    fast makers   see it early: they pull what is about to be picked off and step in front on the other side
    takers        see it now, but their orders are held for the taker delay before they match
    slow makers   see an exponential average of it: theirs are the orders that takers hit

so whoever rests at the back of a queue without being fast is filled mostly when the price is about to move
through it. Uninformed takers lean with what comes (`foresight`), towards the cheaper token and towards what
has just fallen, as the recorded responses, signs and pair costs together ask for. Constants that say
"recorded" were measured with `python -m invmm.sim.calibration --recorded DIR --json FILE` (`changes_at_*`,
`depth_*`); those that say "tuned" cannot be read off a book and were set so that the table of that command
agrees.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from invmm.sim.frames import LevelChange
from invmm.sim.ladder import MirroredLadder
from invmm.sim.path import STEP_MS, DayType, PricePath, reverting
from invmm.types import MICRO, Side

STEP_S = STEP_MS / 1000

# Level changes per second by distance from the best, in ticks: recorded books, both sides (lower bounds:
# changes between two trades are seen as one). The last entry stands for everything deeper.
CHANGE_RATE = (
    19.6,
    10.2,
    8.5,
    7.0,
    6.0,
    5.6,
    5.2,
    4.8,
    4.6,
    4.3,
    4.1,
    3.6,
    3.0,
    2.7,
    2.4,
    2.1,
    2.0,
    1.8,
    1.6,
    1.5,
) + (0.75,) * 28
# Median size by distance from the best, shares: recorded books with the mid between 0.10 and 0.90; targets,
# of which the first two lie above and the others below what is recorded (228, 267, 340, 368, 414 …), since
# young levels are small and refilled ones overshoot.
DEPTH = (450.0, 290.0, 310.0, 330.0, 350.0, 370.0, 380.0, 390.0, 390.0, 400.0, 400.0, 400.0)
# Sizes at the outer cents, shares: first recorded books of 30 markets; orders that wait for a lottery win.
WALL = {
    1: 11800.0,
    2: 18700.0,
    3: 15000.0,
    4: 10600.0,
    5: 7000.0,
    6: 3400.0,
    7: 2200.0,
    8: 2100.0,
    9: 2000.0,
    10: 1200.0,
}
# Sizes of orders, shares: what recorded levels most often lose to one trade, with its weight.
ROUND_SIZES = (
    (5, 0.24),
    (10, 0.10),
    (6, 0.08),
    (30, 0.06),
    (2, 0.05),
    (7, 0.05),
    (20, 0.05),
    (15, 0.04),
    (60, 0.03),
    (100, 0.02),
)

# Persistence of uninformed signs: seconds, log odds. Tuned to the recorded correlation of trade signs.
PRESSURE = ((1.0, 0.25), (30.0, 0.5))

# Takers' orders: median in shares, standard deviation of the log, share of popular sizes. Tuned to recorded
# sizes.
TAKER_SIZES = (12.0, 0.95, 0.30)

TAKER_DELAY_S = 0.15  # the venue holds orders that would match on entry, crypto Up/Down, since 2026-09-04


@dataclass(frozen=True)
class FlowSettings:
    """Tuned rates of the generated flow: seconds, cents of a dollar per share, events per second."""

    # Makers. The lag gives the recorded ratio of 5 s to 1 s roughness.
    view_lag_s: float = 0.68
    fast_lead_s: float = 0.10
    fast_pull_s: float = 0.03  # mean time until a fast maker has pulled a level that is about to be hit
    slow_pull_s: float = 0.12
    step_in_s: float = 0.05  # mean time until somebody improves a best price that lags the view
    half_spread_c: float = 0.1
    view_noise_c: float = 0.15
    hysteresis_c: float = 0.5  # how far the view leaves the spread before slow makers move their quotes
    change_events_per_s: float = 90.0
    ladder_share: float = 0.3  # of change events that move several levels of one side in one engine batch
    liquidity: float = 1.05  # of all level sizes, times a lognormal of each market

    # Informed takers.
    informed_rate: float = 35.0  # orders per second and cent of edge
    informed_edge_c: float = 0.2

    # Uninformed takers: how often, and in log odds what leans their side towards Up.
    noise_rate_per_s: float = 3.6
    late_interest: float = 1.0  # more of them, up to this much, in the last minute of an undecided market
    excitement: float = 0.5  # new orders per order, within `excitement_s`
    excitement_s: float = 0.4
    foresight_s: float = 4.0
    foresight_weight: float = 0.7  # per cent between fair `foresight_s` ahead and the mid
    contrarian_s: float = 45.0
    contrarian_weight: float = 0.08  # per cent that fair is below its average over `contrarian_s`
    longshot_weight: float = 0.03  # per cent that fair is below 50: the cheaper token is preferred
    market_leaning: float = 0.5  # standard deviation of a market's own leaning


DEFAULT_FLOW = FlowSettings()


def uniforms(rng: np.random.Generator) -> Iterator[float]:
    """An endless run of uniform draws in [0, 1), taken from `rng` in blocks."""
    while True:
        yield from rng.random(8192).tolist()


def order_sizes(rng: np.random.Generator, median: float, sigma: float, round_share: float) -> Iterator[int]:
    """Endless order sizes in micro-shares: popular round sizes, otherwise lognormal; a few with odd
    decimals."""
    sizes = np.array([size for size, _ in ROUND_SIZES])
    weights = np.array([weight for _, weight in ROUND_SIZES])
    weights /= weights.sum()
    while True:
        kind = rng.random(4096)
        popular = rng.choice(sizes, 4096, p=weights).astype(np.float64)
        drawn = np.exp(rng.normal(math.log(median), sigma, 4096)).clip(0.5, 1500.0)
        whole = rng.random(4096) < 0.55
        drawn = np.where(whole, np.ceil(drawn), np.round(drawn, 2))
        odd = rng.random(4096) < 0.01
        drawn = np.where(odd, np.round(drawn + rng.random(4096), 6), drawn)
        yield from np.round(np.where(kind < round_share, popular, drawn) * MICRO).astype(np.int64).tolist()


def _average(values: list[float], memory_s: float) -> list[float]:
    """Exponential average over `memory_s` on the grid of steps."""
    keep = math.exp(-STEP_S / memory_s)
    level, out = values[0], []
    for value in values:
        level = level * keep + value * (1 - keep)
        out.append(level)
    return out


class Makers:
    """Everybody who rests orders: decides the level changes of one step, which the caller applies and
    publishes."""

    def __init__(
        self,
        rng: np.random.Generator,
        path: PricePath,
        day: DayType,
        ladder: MirroredLadder,
        window_s: int,
        settings: FlowSettings,
    ) -> None:
        self._ladder = ladder
        self._settings = settings
        self._u = uniforms(rng)
        self._sizes = order_sizes(rng, 30.0, 1.3, 0.35)
        self._window_s = window_s
        self._liquidity = settings.liquidity * math.exp(rng.normal(0.0, 0.25))
        self._character: list[float] = np.exp(
            rng.normal(0.0, 0.7, 1001)
        ).tolist()  # some prices are liked more than others
        self._slow, self._fast = self._views(rng, path)
        self._half_c = self._half_spreads(path, window_s)
        rate = settings.change_events_per_s * day.activity * STEP_S
        burst = 0.6 + 8.0 * np.abs(np.concatenate(([0.0], np.diff(self._slow)))) / STEP_S
        self.change_counts: list[int] = rng.poisson(rate * np.minimum(burst, 3.0)).tolist()
        self._distance = np.cumsum(CHANGE_RATE) / sum(CHANGE_RATE)

    def _views(self, rng: np.random.Generator, path: PricePath) -> tuple[list[float], list[float]]:
        fair = path.fair
        keep = math.exp(-STEP_S / self._settings.view_lag_s)
        noise = reverting(rng, len(fair), 2.0, self._settings.view_noise_c / 100)
        slow = np.empty(len(fair))
        view = float(fair[0])
        for index, (now, disagreement) in enumerate(zip(fair.tolist(), noise.tolist(), strict=True)):
            view = view * keep + now * (1 - keep)
            # No disagreement about a certain outcome: noise shrinks with p (1 - p).
            slow[index] = view + disagreement * min(1.0, 8.0 * view * (1.0 - view))
        lead = round(self._settings.fast_lead_s / STEP_S)
        fast = np.concatenate((fair[lead:], np.repeat(fair[-1], lead)))
        return slow.tolist(), fast.tolist()

    def _half_spreads(self, path: PricePath, window_s: int) -> list[float]:
        """Half spread in cents: wider while fair has just moved and in the last ten seconds."""
        moved = np.abs(path.fair - np.concatenate((np.repeat(path.fair[0], 50), path.fair[:-50]))) * 100
        seconds = path.start_ms / 1000 + np.arange(len(path.fair)) * STEP_S
        ending = np.clip((seconds - (window_s - 10)) / 10, 0.0, 1.0)
        half: list[float] = (
            self._settings.half_spread_c + 0.03 * np.minimum(moved, 8.0) + 0.15 * ending
        ).tolist()
        return half

    def wanted(self, index: int) -> tuple[int, int]:
        """Best bid and best ask that the slow makers want at a step, in ticks; 0 and `ticks` are none."""
        ticks = self._ladder.ticks
        view = self._slow[index] * ticks
        half = self._half_c[index] * (ticks / 100 if ticks == 100 else 2.0)
        ladder = self._ladder
        slack = self._settings.hysteresis_c * (1.0 if ticks == 100 else 3.0)
        if (
            ladder.best_ask - ladder.best_bid == 1
            and ladder.best_bid - slack < view < ladder.best_ask + slack
        ):
            return ladder.best_bid, ladder.best_ask
        bid = math.floor(view - half)
        ask = math.ceil(view + half)
        if ask <= bid:
            ask = bid + 1
        # The outermost cents are lottery tickets, left in the book until the outcome is all but certain.
        if view > 0.0002 * ticks:
            bid = max(bid, 1)
        if view < 0.9998 * ticks:
            ask = min(ask, ticks - 1)
        return max(bid, 0), min(ask, ticks)

    def target(self, tick: int, distance: int, seconds_left: float) -> float:
        """Size that a level tends to, micro-shares."""
        ladder = self._ladder
        base = DEPTH[distance] if distance < len(DEPTH) else DEPTH[-1]
        if ladder.ticks == 1000:
            base *= 0.5 if tick % 10 else 1.0
        size = base * self._character[tick] * self._liquidity
        edge = min(tick, ladder.ticks - tick) * 100 // ladder.ticks
        if edge in WALL and (ladder.ticks == 100 or tick % 10 == 0):
            size += WALL[edge]
        if seconds_left < 20.0:
            size *= 0.5 + seconds_left / 40.0 if seconds_left > 0 else 0.3
        return size * MICRO

    def opening(self, index: int) -> list[LevelChange]:
        """The levels of the first book."""
        bid, ask = self.wanted(index)
        levels: list[LevelChange] = []
        for tick in range(1, 100):
            side = Side.BUY if tick <= bid else Side.SELL
            if bid < tick < ask:
                continue
            distance = bid - tick if side == Side.BUY else tick - ask
            size = self.target(tick, distance, 300.0) * (0.3 + next(self._u))
            levels.append((side, tick, max(round(size / 10_000) * 10_000, MICRO)))
        return levels

    def reprice(self, index: int) -> list[list[LevelChange]]:
        """Pulls of stale levels and improvements of lagging bests, each list one engine batch."""
        ladder = self._ladder
        settings = self._settings
        u = self._u
        want_bid, want_ask = self.wanted(index)
        fast = self._fast[index] * ladder.ticks
        margin = 0.3 if ladder.ticks == 100 else 3.0
        batches: list[list[LevelChange]] = []
        slow_chance = 1 - math.exp(-STEP_S / settings.slow_pull_s)
        fast_chance = 1 - math.exp(-STEP_S / settings.fast_pull_s)

        pulled: list[LevelChange] = []
        tick = ladder.best_bid
        while tick > 0 and (tick > want_bid or tick > fast + margin):
            size = ladder.bids[tick]
            if size:
                if tick > want_bid and next(u) < slow_chance:
                    pulled.append((Side.BUY, tick, 0))
                elif tick > fast + margin and size > 40 * MICRO and next(u) < fast_chance:
                    pulled.append((Side.BUY, tick, int(size * (0.15 + 0.4 * next(u))) // 10_000 * 10_000))
            tick -= 1
        if pulled:
            batches.append(pulled)
        pulled = []
        tick = ladder.best_ask
        while tick < ladder.ticks and (tick < want_ask or tick < fast - margin):
            size = ladder.asks[tick]
            if size:
                if tick < want_ask and next(u) < slow_chance:
                    pulled.append((Side.SELL, tick, 0))
                elif tick < fast - margin and size > 40 * MICRO and next(u) < fast_chance:
                    pulled.append((Side.SELL, tick, int(size * (0.15 + 0.4 * next(u))) // 10_000 * 10_000))
            tick += 1
        if pulled:
            batches.append(pulled)
        return batches

    def improve(self, index: int) -> list[LevelChange]:
        """New best levels where the best lags the view; at most one per side."""
        ladder = self._ladder
        u = self._u
        want_bid, want_ask = self.wanted(index)
        chance = 1 - math.exp(-STEP_S / self._settings.step_in_s)
        changes: list[LevelChange] = []
        if ladder.best_bid < want_bid and next(u) < chance:
            tick = min(want_bid, ladder.best_ask - 1)
            if tick > ladder.best_bid:
                changes.append((Side.BUY, tick, self._arrival(tick)))
        best_bid = changes[0][1] if changes else ladder.best_bid
        if ladder.best_ask > want_ask and next(u) < chance:
            tick = max(want_ask, best_bid + 1)
            if tick < ladder.best_ask:
                changes.append((Side.SELL, tick, self._arrival(tick)))
        return changes

    def _arrival(self, tick: int) -> int:
        """Size of a new best level: several makers arrive within the step."""
        u = next(self._u)
        return int(self.target(tick, 0, 300.0) * u * 1.6) // 10_000 * 10_000 + next(self._sizes)

    def refresh(self, index: int, seconds_left: float) -> list[LevelChange]:
        """One maker's change somewhere in the book: a level, or several neighbouring levels of one side."""
        ladder = self._ladder
        u = self._u
        bid_side = next(u) < 0.5
        distance = int(np.searchsorted(self._distance, next(u)))
        if distance >= len(CHANGE_RATE):
            distance = len(CHANGE_RATE) - 1
        count = 1
        if next(u) < self._settings.ladder_share:
            count = 2 + int(next(u) * 6)
        changes: list[LevelChange] = []
        want_bid, want_ask = self.wanted(index)
        adding: bool | None = None
        for _ in range(count):
            if bid_side:
                tick = min(ladder.best_bid, want_bid) - distance
                if tick < 1:
                    break
                size = ladder.bids[tick]
            else:
                tick = max(ladder.best_ask, want_ask) + distance
                if tick >= ladder.ticks:
                    break
                size = ladder.asks[tick]
            target = self.target(tick, distance, seconds_left)
            add_chance = min(max(0.5 + 0.45 * (target - size) / target, 0.04), 0.96)
            if adding is None or count == 1:
                adding = next(u) < add_chance
            amount = next(self._sizes)
            if target > 1e9:
                amount *= 8
            if adding:
                # Empty levels near the best fill quickly: whoever was pushed out re-joins.
                amount += int(max(0.5 * target - size, 0.0) * next(u)) // 10_000 * 10_000
                after = size + amount
            else:
                after = size - amount if size > amount else 0
            if after != size:
                changes.append((Side.BUY if bid_side else Side.SELL, tick, after))
            distance += 1
        return changes


class Takers:
    """Everybody who crosses: draws the orders of one step as (side in terms of Up, limit tick, size in
    micro-shares)."""

    def __init__(
        self,
        rng: np.random.Generator,
        path: PricePath,
        day: DayType,
        ladder: MirroredLadder,
        window_s: int,
        settings: FlowSettings,
    ) -> None:
        self._ladder = ladder
        self._settings = settings
        self._u = uniforms(rng)
        self._sizes = order_sizes(rng, *TAKER_SIZES)
        self._activity = day.activity
        delay = round(TAKER_DELAY_S / STEP_S)
        self._seen = np.concatenate((np.repeat(path.fair[0], delay), path.fair[:-delay])).tolist()
        bias = rng.normal(0.0, settings.market_leaning)
        self._pressure = [bias + leaning for leaning in self._pressures(rng, len(path.fair))]
        # Undecided markets draw traders in their last minute: recorded rates go up to 25 a second there.
        seconds = path.start_ms / 1000 + np.arange(len(path.fair)) * STEP_S
        late = np.clip((seconds - (window_s - 60)) / 20, 0.0, 1.0)
        self._interest = (1 + settings.late_interest * late * 4 * path.fair * (1 - path.fair)).tolist()
        self._usual = _average(path.fair.tolist(), settings.contrarian_s)
        ahead = round(settings.foresight_s / STEP_S)
        self._later = np.concatenate((path.fair[ahead:], np.repeat(path.fair[-1], ahead))).tolist()
        self._excitement = 0.0

    @staticmethod
    def _pressures(rng: np.random.Generator, count: int) -> list[float]:
        """Leaning of uninformed orders towards Up (log odds): persistent over one and over thirty seconds, as
        recorded signs are."""
        parts = [weight * reverting(rng, count, memory_s, 1.0) for memory_s, weight in PRESSURE]
        leaning: list[float] = sum(parts[1:], parts[0]).tolist()
        return leaning

    def orders(self, index: int, calm: float) -> list[tuple[Side, int, int]]:
        """Orders that reach the match in this step; `calm` scales the noise (1 inside the window)."""
        ladder = self._ladder
        settings = self._settings
        u = self._u
        scale = 100 / ladder.ticks
        out: list[tuple[Side, int, int]] = []
        calm *= self._interest[index]
        seen = self._seen[index] * ladder.ticks
        for side in (Side.BUY, Side.SELL):
            edge = (
                seen - ladder.best_ask if side == Side.BUY else ladder.best_bid - seen
            ) * scale - settings.informed_edge_c
            if edge <= 0 or (ladder.best_ask >= ladder.ticks if side == Side.BUY else ladder.best_bid <= 0):
                continue
            chance = 1 - math.exp(-settings.informed_rate * edge * STEP_S)
            while next(u) < chance:
                limit = math.floor(seen) if side == Side.BUY else math.ceil(seen)
                out.append((side, limit, next(self._sizes)))
                chance *= 0.5
        self._excitement *= math.exp(-STEP_S / settings.excitement_s)
        rate = (settings.noise_rate_per_s * self._activity * calm + self._excitement) * STEP_S
        while rate > 0 and next(u) < rate:
            mid = (ladder.best_bid + ladder.best_ask) / 2
            ahead_c = (self._later[index] * ladder.ticks - mid) * scale
            seen_c = self._seen[index] * 100
            dip_c = self._usual[index] * 100 - seen_c
            leaning = (
                self._pressure[index]
                + settings.longshot_weight * (50.0 - seen_c)
                + settings.contrarian_weight * dip_c
                + settings.foresight_weight * ahead_c
            )
            side = Side.BUY if next(u) < 1 / (1 + math.exp(-max(min(leaning, 30.0), -30.0))) else Side.SELL
            reach = 1 if next(u) < 0.06 else 0
            limit = ladder.best_ask + reach if side == Side.BUY else ladder.best_bid - reach
            out.append((side, limit, next(self._sizes)))
            self._excitement += settings.excitement / settings.excitement_s
            rate *= 0.5
        return out
