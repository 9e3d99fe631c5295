"""Prices of a generated market's underlying, as its feeds would tell them.

What settles a generated market is its own path (`sim/path.py`), so that is what the settlement feed reads:
once a second, late by a relay's delay. The direct feed is early and often, and off by a basis that wanders
and a little noise. All of it is drawn from a random stream of its own: the market's frames stay as they are.

Delays are those measured on the venue's relay, 1.4 s after the observation, and on a direct feed, 0.1 s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from invmm.replay.tape import MarketInfo, Tape
from invmm.sim.path import AVERAGE_S, BASIS_S, SIGMA_PER_S
from invmm.types import EVENT_DTYPE, EventKind, PriceFact, Source

STREAM = 0x7072_6963_65  # of the seeds: "price"
READING_DTYPE = np.dtype(
    [("fact", "u1"), ("average_s", "<i4"), ("observed_ms", "<i8"), ("price", "<f8"), ("at_ns", "<i8")]
)
BP = 1e-4
MS = 1_000_000
E8 = 100_000_000
DOUBT = SIGMA_PER_S * BASIS_S**0.5
"""What a generated market's makers do not know of its settlement feed, as a part of the price."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FeedShape:
    """How the feeds tell the path. Times in milliseconds, differences in basis points."""

    direct_ms: int = 100
    direct_delay_ms: float = 100.0
    spot_ms: int = 1_000
    spot_delay_ms: float = 1_400.0
    jitter_ms: float = 15.0
    basis_bp: float = 4.0  # of a market: standard deviation of where it begins
    wander_bp: float = 1.0  # … of what is added in its course
    wander_s: float = 60.0  # … and how long that lasts
    noise_bp: float = 0.2  # of a direct price
    strike_error: float = 0.0  # standard deviation of what the told strike is off, as a part of it


FEEDS = FeedShape()


def asset_of(slug: str) -> str:
    """Of which the price is, as in "btc"."""
    first = slug.split("-", 1)[0]
    return {"bitcoin": "btc", "ethereum": "eth", "solana": "sol"}.get(first, first)


def rule_of(tape: Tape) -> MarketInfo:
    """The market with the rule it settles by; as it is, where the tape has no path or the rule is known."""
    if "path_price" not in tape.meta or tape.market.rule:
        return tape.market
    return replace(tape.market, rule="average", average_s=AVERAGE_S, asset=asset_of(tape.market.slug))


def readings(tape: Tape, shape: FeedShape = FEEDS) -> npt.NDArray[np.void]:
    """Every price that a listener would be told of a generated market, in order of arrival (READING_DTYPE).

    From the beginning of its path to the end of the tape; empty for a tape without a path.
    """
    if "path_price" not in tape.meta:
        return np.zeros(0, READING_DTYPE)
    rng = np.random.Generator(np.random.PCG64([int(tape.meta["seed"]), STREAM]))
    begin_ms = tape.market.start_s * 1000 + int(tape.meta["path_start_ms"])
    return readings_of(tape.meta["path_price"], begin_ms, int(tape.meta["path_step_ms"]), rng, shape)


def readings_of(
    path: FloatArray, begin_ms: int, step_ms: int, rng: np.random.Generator, shape: FeedShape
) -> npt.NDArray[np.void]:
    """The same of a price that begins at `begin_ms`, unix milliseconds."""
    direct = _told(
        rng, PriceFact.DIRECT, path, begin_ms, step_ms, shape.direct_ms, shape.direct_delay_ms, shape
    )
    direct["price"] *= np.exp(_basis(rng, len(direct), shape) * BP)
    spot = _told(rng, PriceFact.SPOT, path, begin_ms, step_ms, shape.spot_ms, shape.spot_delay_ms, shape)
    total = np.concatenate(([0.0], np.cumsum(path)))
    width = AVERAGE_S * 1000 // step_ms
    averages = spot.copy()
    averages["fact"], averages["average_s"] = PriceFact.AVERAGE, AVERAGE_S
    last = (averages["observed_ms"] - begin_ms) // step_ms  # up to, not including, as the settlement does
    averages, last = averages[last >= width], last[last >= width]
    averages["price"] = (total[last] - total[last - width]) / width
    averages["price"] *= np.exp(rng.standard_normal() * shape.strike_error)
    told = np.concatenate([direct, spot, averages])
    return told[np.argsort(told["at_ns"], kind="stable")]


def _told(
    rng: np.random.Generator,
    fact: PriceFact,
    path: FloatArray,
    begin_ms: int,
    step_ms: int,
    every_ms: int,
    delay_ms: float,
    shape: FeedShape,
) -> npt.NDArray[np.void]:
    """The path every so often, arriving with a delay and never going back."""
    first = -(-begin_ms // every_ms) * every_ms
    observed = np.arange(first, begin_ms + len(path) * step_ms, every_ms, dtype=np.int64)
    rows = np.zeros(len(observed), READING_DTYPE)
    rows["fact"], rows["observed_ms"] = fact, observed
    rows["price"] = path[(observed - begin_ms) // step_ms]
    late = delay_ms + rng.gamma(1.0, shape.jitter_ms, len(observed))
    rows["at_ns"] = np.maximum.accumulate(observed * MS + (late * MS).astype(np.int64))
    return rows


def _basis(rng: np.random.Generator, count: int, shape: FeedShape) -> FloatArray:
    """Basis of each direct price in basis points: a constant, what wanders, and noise."""
    keep = float(np.exp(-shape.direct_ms / 1000 / shape.wander_s))
    shocks = rng.standard_normal(count) * shape.wander_bp * (1 - keep * keep) ** 0.5
    level, wander = float(rng.standard_normal()) * shape.wander_bp, np.empty(count)
    for index, shock in enumerate(shocks.tolist()):
        level = level * keep + shock
        wander[index] = level
    return rng.standard_normal() * shape.basis_bp + wander + rng.standard_normal(count) * shape.noise_bp


def price_events(tape: Tape, market: int, shape: FeedShape = FEEDS) -> npt.NDArray[np.void]:
    """The same as events of a step, within the tape's time: what came before it comes at its beginning, as a
    socket's snapshot does.
    """
    told = readings(tape, shape)
    if not len(told) or not len(tape):
        return np.zeros(0, EVENT_DTYPE)
    first_ns, last_ns = int(tape.rows["recv_ns"][0]), int(tape.rows["recv_ns"][-1])
    told = told[told["at_ns"] <= last_ns]
    events = np.zeros(len(told), EVENT_DTYPE)
    events["kind"], events["source"], events["market"] = EventKind.PRICE, Source.PRICE_FEED, market
    events["status"], events["code"] = told["fact"], told["average_s"]
    events["venue_ms"], events["offset"] = told["observed_ms"], np.round(told["price"] * E8).astype(np.uint64)
    events["time_ns"] = np.maximum(told["at_ns"], first_ns)
    events["sequence"] = np.arange(1, len(told) + 1)
    return events
