"""The engine itself as the probe: what its policies come to on tapes, per market and over all of them.

`play` runs one tape through the replay player, as `python -m invmm.run --replay … --speed max` does, and
keeps the sums from which the figures of one market or of many follow. Figures of many are ratios of sums, as
in the report of a session; their sampling error comes from drawing markets with replacement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from invmm.replay.player import Player
from invmm.replay.report import HORIZONS_S, markouts
from invmm.replay.tape import Tape
from invmm.settings import Settings
from invmm.types import MICRO, Outcome

ORIGINAL = "inventory_mm_compatible"
MENDED = "inventory_mm"
KINDNESS = {
    "fill_rate": 1,
    "one_sided": -1,
    "pair_cost": -1,
    "markout_1": 1,
    "markout_5": 1,
    "markout_30": 1,
    "profit_c": 1,
}
"""The figures of `figures`: +1 when a larger value is kinder, -1 when a smaller one is."""


@dataclass(frozen=True)
class Played:
    """One policy on one market: sums, so that markets can be added up. Shares and dollars."""

    slug: str
    bought: float
    placed: float
    unmatched: float
    pairs: float
    pairs_paid: float
    profit: float
    marks: tuple[tuple[float, float], ...]
    """For each of `HORIZONS_S`: sum of shares x (mid then - price paid), and the shares with a mid then."""
    queue_ahead_of_truth: int


def play(tape: Tape, policy: str = ORIGINAL, seed: int = 1) -> Played:
    """Plays `tape` with the default settings and `policy`; `seed` is the engine's and the venue's."""
    result = Player(Settings(), seed=seed, policy=policy).play(tape)
    ledger = result.ledger
    up, down = (ledger.held_micro(outcome) / MICRO for outcome in Outcome)
    pairs = ledger.pairs_micro / MICRO
    marks = markouts(result)
    return Played(
        slug=tape.market.slug,
        bought=sum(leg.size_micro for leg in ledger.standing) / MICRO,
        placed=result.placed_micro / MICRO,
        unmatched=abs(up - down),
        pairs=pairs,
        pairs_paid=pairs * ledger.pair_cost if pairs else 0.0,
        profit=float(ledger.settle(result.winner).total),
        marks=tuple(marks[horizon] for horizon in HORIZONS_S),
        queue_ahead_of_truth=result.queue_ahead_of_truth,
    )


def figures(plays: Sequence[Played]) -> dict[str, float]:
    """Fill rate, unmatched share, pair cost (dollars), markouts and profit (cents per share), pooled.

    Keys are those of `KINDNESS`; nan where nothing was bought, paired or marked.
    """
    bought = sum(one.bought for one in plays)
    out = {
        "fill_rate": _ratio(bought, sum(one.placed for one in plays)),
        "one_sided": _ratio(sum(one.unmatched for one in plays), bought),
        "pair_cost": _ratio(sum(one.pairs_paid for one in plays), sum(one.pairs for one in plays)),
        "profit_c": 100 * _ratio(sum(one.profit for one in plays), bought),
    }
    for index, horizon in enumerate(HORIZONS_S):
        total, weight = (sum(one.marks[index][part] for one in plays) for part in (0, 1))
        out[f"markout_{horizon}"] = 100 * _ratio(total, weight)
    return out


def errors(plays: Sequence[Played], draws: int = 400, seed: int = 0) -> dict[str, float]:
    """Standard errors of `figures` over markets: their spread over `draws` samples of as many markets, drawn
    with replacement.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    samples = [
        figures([plays[i] for i in rng.integers(0, len(plays), len(plays)).tolist()]) for _ in range(draws)
    ]
    return {name: float(np.nanstd([sample[name] for sample in samples])) for name in KINDNESS}


ROUNDING = 1e-9  # equal figures may differ by this after sums of floats


@dataclass(frozen=True)
class Verdict:
    """One figure on recorded and on generated markets, pooled and as the median over markets."""

    name: str
    recorded: float
    recorded_error: float
    recorded_median: float
    generated: float
    generated_error: float
    generated_median: float

    @property
    def kinder_by(self) -> float:
        """How much kinder the generated markets are, pooled, in standard errors of the difference;
        negative when they are harder.
        """
        error = float(np.hypot(self.recorded_error, self.generated_error))
        return (self.generated - self.recorded) * KINDNESS[self.name] / max(error, 1e-6)

    @property
    def is_kinder(self) -> bool:
        """Whether the pooled figure or the median over markets is kinder, however little."""
        medians = (self.generated_median - self.recorded_median) * KINDNESS[self.name]
        return self.kinder_by > ROUNDING or medians > ROUNDING


def compare(recorded: Sequence[Played], generated: Sequence[Played]) -> list[Verdict]:
    """Every figure of `KINDNESS` on both; each sequence holds at least one market."""
    old, new = figures(recorded), figures(generated)
    old_error, new_error = errors(recorded), errors(generated)
    old_median, new_median = _medians(recorded), _medians(generated)
    return [
        Verdict(n, old[n], old_error[n], old_median[n], new[n], new_error[n], new_median[n]) for n in KINDNESS
    ]


def _medians(plays: Sequence[Played]) -> dict[str, float]:
    markets = [figures([one]) for one in plays]
    return {name: float(np.nanmedian([market[name] for market in markets])) for name in KINDNESS}


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
