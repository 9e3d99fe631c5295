"""A light market: few frames per window, for tests that need many windows rather than much of a market.

The frames are exact (shapes, hashes, best prices); the flow is not calibrated on anything, and quoting
against it says nothing about a market. `sim/market.py` makes the calibrated ones.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from random import Random

from invmm.replay.tape import MarketInfo, Tape, pack
from invmm.sim import frames
from invmm.sim.identity import GENERATIONS
from invmm.sim.ladder import MirroredLadder
from invmm.types import Outcome, Side

FEED_LATENCY_NS = 10_000_000
SHARE = 1_000_000


def light_tape(market: MarketInfo, seed: int, begin_s: int, *, step_ms: int = 5000) -> Tape:
    """A market that changes every `step_ms` from `begin_s` (unix seconds) to the end of its window.

    At each step the book moves a tick or a size changes; every third step is a trade at the best. Received 10
    ms after it happened. Same arguments, same bytes.
    """
    random = Random(f"{seed}:{market.slug}:light")
    ladder = MirroredLadder(
        market.condition_id,
        market.up_token_id,
        market.down_token_id,
        version=GENERATIONS[market.exchange],
    )
    middle = 50
    for away in range(1, 11):
        ladder.set_bid(middle - away, 100 * away * SHARE)
        ladder.set_ask(middle + away, 100 * away * SHARE)
    begin_ms, end_ms = begin_s * 1000, market.end_s * 1000
    lines = [(begin_ms, frames.snapshot(ladder, str(begin_ms)))]
    for number, at in enumerate(range(begin_ms + step_ms, end_ms, step_ms), 1):
        if number % 3 == 0:
            lines += _trade(ladder, random, at, number)
        else:
            lines += _change(ladder, random, at)
    winner = Outcome.UP if ladder.best_bid + ladder.best_ask >= 100 else Outcome.DOWN
    return pack(
        replace(market, winner=winner),
        ((ms * 1_000_000 + FEED_LATENCY_NS, ms, 0, frame) for ms, frame in lines),
    )


def _change(ladder: MirroredLadder, random: Random, at: int) -> list[tuple[int, bytes]]:
    """A new size near the best of one side, or a step of the whole best by one tick."""
    size = random.randrange(20, 400) * SHARE
    if random.random() < 0.5:
        side, tick = Side.BUY, max(1, ladder.best_bid - random.randrange(4))
        ladder.set_bid(tick, size)
    else:
        side, tick = Side.SELL, min(99, ladder.best_ask + random.randrange(4))
        ladder.set_ask(tick, size)
    native = Outcome.UP if random.random() < 0.5 else Outcome.DOWN
    return [(at, frame) for frame in frames.price_changes(ladder, str(at), [(side, tick, size)], native)]


def _trade(ladder: MirroredLadder, random: Random, at: int, number: int) -> list[tuple[int, bytes]]:
    """A taker empties the best level of one side; a new one opens behind the other."""
    taker = Side.BUY if random.random() < 0.5 else Side.SELL
    tick = ladder.best_ask if taker == Side.BUY else ladder.best_bid
    if not 5 < tick < 95:
        taker = Side(1 - taker)
        tick = ladder.best_ask if taker == Side.BUY else ladder.best_bid
    if taker == Side.BUY:
        size = ladder.asks[tick]
        ladder.set_ask(tick, 0)
        ladder.set_bid(tick - 1, 150 * SHARE)
        ladder.set_ask(min(99, tick + 8), 150 * SHARE)
    else:
        size = ladder.bids[tick]
        ladder.set_bid(tick, 0)
        ladder.set_ask(tick + 1, 150 * SHARE)
        ladder.set_bid(max(1, tick - 8), 150 * SHARE)
    ladder.last_trade_price = f"{tick / 100:.3f}"
    digest = hashlib.sha256(f"{ladder.condition_id}:{number}".encode()).hexdigest()
    told = frames.last_trade_price(
        ladder, str(at + 35), Outcome.UP, taker, ladder.price_text[tick], size, f"0x{digest}"
    )
    return [*((at, frame) for frame in frames.books_after_trade(ladder, str(at))), (at + 35, told)]
