"""A small market that moves: few frames, but real price moves, trades through our quotes and sweeps.

Not calibrated on anything: it gives the world of a campaign something to quote against, and takers who hit
quotes that should have moved. `sim/market.py` makes markets like the recorded ones.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from random import Random

from invmm.replay.tape import MarketInfo, Tape, pack
from invmm.sim import frames
from invmm.sim.identity import GENERATIONS
from invmm.sim.ladder import MirroredLadder
from invmm.sim.light import FEED_LATENCY_NS, SHARE
from invmm.types import Outcome, Side

LONGEST_GAP_MS = 2_400
DEPTH = 8
TICK_CHANGES = 0.15  # of all windows
FINE_TICKS = (1000, 400)  # in a dollar, afterwards: 0.001 or 0.0025
Line = tuple[int, bytes]


class _Maker:
    """Draws one market."""

    def __init__(self, market: MarketInfo, seed: int) -> None:
        self.random = Random(f"{seed}:{market.slug}:tape")
        self.ladder = MirroredLadder(
            market.condition_id,
            market.up_token_id,
            market.down_token_id,
            version=GENERATIONS[market.exchange],
        )
        self.prints = 0
        self.name = market.condition_id
        self.unit = 1  # ticks of a step
        span_ms = 1000 * (market.end_s - market.start_s)
        at_ms = 1000 * market.start_s + int(self.random.uniform(0.1, 0.9) * span_ms)
        self.fine = Random(f"{seed}:{market.slug}:grid").choice(FINE_TICKS)
        self.refine_ms = at_ms if self.random.random() < TICK_CHANGES else 1 << 62
        middle = self.random.randrange(30, 70)
        for away in range(1, DEPTH + 1):
            self.ladder.set_bid(middle - away, self._size())
            self.ladder.set_ask(middle + away, self._size())

    def _size(self) -> int:
        return self.random.randrange(20, 300) * SHARE

    def lines(self, begin_ms: int, end_ms: int, mean_ms: float) -> list[Line]:
        """Frames with their times."""
        lines = [(begin_ms, frames.snapshot(self.ladder, str(begin_ms)))]
        at = begin_ms
        while True:
            at += max(40, min(LONGEST_GAP_MS, int(self.random.expovariate(1 / mean_ms))))
            if at >= end_ms - 100:
                return lines
            lines += self._step(at)

    def _step(self, at: int) -> list[Line]:
        if at >= self.refine_ms:
            self.refine_ms, self.unit = 1 << 62, self.fine // 100
            self.ladder.refine(self.fine)
            stamp = str(at)
            changed = frames.tick_size_changes(self.ladder, stamp, "0.01")
            return [(at, frame) for frame in (*changed, *frames.books_after_trade(self.ladder, stamp))]
        draw = self.random.random()
        if draw < 0.4:
            return self._resize(at)
        if draw < 0.65:
            return self._move(at)
        return self._trade(at, 1 if draw < 0.9 else self.random.randrange(2, 5))

    def _resize(self, at: int) -> list[Line]:
        ladder, away = self.ladder, self.random.randrange(4) * self.unit
        if self.random.random() < 0.5:
            change = (Side.BUY, max(self.unit, ladder.best_bid - away), self._size())
        else:
            change = (Side.SELL, min(ladder.ticks - self.unit, ladder.best_ask + away), self._size())
        return self._changes(at, [change])

    def _move(self, at: int) -> list[Line]:
        """Makers move the price by a few ticks: levels of one side go, the other side follows."""
        ladder = self.ladder
        ticks = self.random.choice((1, 1, 1, 2, 3))
        unit, middle = self.unit, (ladder.best_bid + ladder.best_ask) / 2 / self.unit
        up = self.random.random() < (0.5 if 20 < middle < 80 else float(middle <= 20))
        changes = []
        for _ in range(ticks):
            if up and ladder.best_ask < ladder.ticks - 6 * unit:
                tick = ladder.best_ask
                changes += [(Side.SELL, tick, 0), (Side.BUY, tick - unit, self._size())]
                far = (Side.SELL, min(ladder.ticks - unit, tick + DEPTH * unit), self._size())
            elif not up and ladder.best_bid > 6 * unit:
                tick = ladder.best_bid
                changes += [(Side.BUY, tick, 0), (Side.SELL, tick + unit, self._size())]
                far = (Side.BUY, max(unit, tick - DEPTH * unit), self._size())
            else:
                break
            changes.append(far)
            for change in changes[-3:]:
                self._set(*change)
        return self._changes(at, changes + self._fill_up()) if changes else self._resize(at)

    def _trade(self, at: int, levels: int) -> list[Line]:
        """A taker empties so many levels; the book closes up behind it."""
        ladder = self.ladder
        unit, middle = self.unit, (ladder.best_bid + ladder.best_ask) / 2 / self.unit
        buys = self.random.random() < (0.5 if 20 < middle < 80 else float(middle <= 20))
        size, tick = 0, 0
        for _ in range(levels):
            tick = ladder.best_ask if buys else ladder.best_bid
            if not 4 * unit < tick < ladder.ticks - 4 * unit:
                break
            size += (ladder.asks if buys else ladder.bids)[tick]
            self._set(Side.SELL if buys else Side.BUY, tick, 0)
            if not any(ladder.asks if buys else ladder.bids):
                break
        if not size:
            return self._resize(at)
        if buys:
            self._set(Side.BUY, ladder.best_ask - unit, self._size())
            self._set(Side.SELL, min(ladder.ticks - unit, ladder.best_ask + DEPTH * unit), self._size())
        else:
            self._set(Side.SELL, ladder.best_bid + unit, self._size())
            self._set(Side.BUY, max(unit, ladder.best_bid - DEPTH * unit), self._size())
        self._fill_up()
        self.prints += 1
        ladder.last_trade_price = f"{tick * ladder.tick_e4 / 10_000:.{3 + (tick * ladder.tick_e4 % 10 > 0)}f}"
        digest = hashlib.sha256(f"{self.name}:{self.prints}".encode()).hexdigest()
        told = frames.last_trade_price(
            ladder,
            str(at + 35),
            Outcome.UP,
            Side.BUY if buys else Side.SELL,
            ladder.price_text[tick],
            size,
            f"0x{digest}",
        )
        return [*((at, frame) for frame in frames.books_after_trade(ladder, str(at))), (at + 35, told)]

    def _fill_up(self) -> list[tuple[Side, int, int]]:
        """Levels that are missing behind the best ones come back."""
        ladder, changes = self.ladder, []
        for away in range(1, DEPTH // 2):
            bid, ask = ladder.best_bid - away * self.unit, ladder.best_ask + away * self.unit
            if bid > 0 and not ladder.bids[bid]:
                changes.append((Side.BUY, bid, self._size()))
            if ask < ladder.ticks and not ladder.asks[ask]:
                changes.append((Side.SELL, ask, self._size()))
        for change in changes:
            self._set(*change)
        return changes

    def _set(self, side: Side, tick: int, size: int) -> None:
        (self.ladder.set_bid if side == Side.BUY else self.ladder.set_ask)(tick, size)

    def _changes(self, at: int, changes: list[tuple[Side, int, int]]) -> list[Line]:
        final = {(side, tick): size for side, tick, size in changes}
        for (side, tick), size in final.items():
            self._set(side, tick, size)
        native = Outcome(self.random.randrange(2))
        listed: list[frames.LevelChange] = [(side, tick, size) for (side, tick), size in final.items()]
        return [(at, frame) for frame in frames.price_changes(self.ladder, str(at), listed, native)]


def moving_tape(market: MarketInfo, seed: int, begin_s: int, *, mean_ms: float = 1800.0) -> Tape:
    """A market with a step every `mean_ms` on average, from `begin_s` (unix seconds) to its end.

    Same arguments, same bytes.
    """
    maker = _Maker(market, seed)
    lines = sorted(maker.lines(begin_s * 1000, market.end_s * 1000, mean_ms), key=lambda line: line[0])
    ladder = maker.ladder
    winner = Outcome.UP if ladder.best_bid + ladder.best_ask >= ladder.ticks else Outcome.DOWN
    return pack(
        replace(market, winner=winner),
        ((ms * 1_000_000 + FEED_LATENCY_NS, ms, 0, frame) for ms, frame in lines),
    )
