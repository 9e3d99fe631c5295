"""Small markets whose price is known: a light tape with a path beside it."""

from __future__ import annotations

import numpy as np

from invmm.replay.tape import MarketInfo, Tape
from invmm.sim.identity import identify
from invmm.sim.light import light_tape
from invmm.sim.path import STEP_MS, time_average
from invmm.types import Outcome

BEFORE_S, AFTER_S = 65, 3


def priced_tape(seed: int, start_s: int, window_s: int = 120, *, begin: float = 75_000.0) -> Tape:
    """A light tape that settles by the average over a minute of a seeded random walk."""
    rng = np.random.default_rng(seed)
    count = (BEFORE_S + window_s + AFTER_S) * 1000 // STEP_MS
    path = begin * np.exp(np.cumsum(rng.standard_normal(count)) * 0.9e-4 * (STEP_MS / 1000) ** 0.5)
    start_ms = -BEFORE_S * 1000
    strike, final = time_average(path, start_ms, 0), time_average(path, start_ms, window_s * 1000)
    named = identify(f"{seed} {start_s}")
    market = MarketInfo(
        slug=f"btc-updown-5m-{start_s}",
        condition_id=named.condition_id,
        up_token_id=named.up_token_id,
        down_token_id=named.down_token_id,
        start_s=start_s,
        end_s=start_s + window_s,
        origin="GENERATED",
    )
    tape = light_tape(market, seed, start_s - 3, step_ms=1_000)
    info = MarketInfo(**{**tape.market.__dict__, "winner": Outcome.UP if final >= strike else Outcome.DOWN})
    meta = {
        "seed": seed,
        "strike": strike,
        "final": final,
        "path_price": path,
        "path_start_ms": start_ms,
        "path_step_ms": STEP_MS,
    }
    return Tape(info, tape.data, tape.rows, meta)
