"""What a session came to: figures from the engine's records, the venue's truth where it was asked.

`summarise` makes one flat dictionary out of market results; `markouts`, `one_sided_share` and the like are
the measures by which a generated market is held against recorded ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from invmm.replay.result import MarketResult
from invmm.settlement.ledger import Leg
from invmm.settlement.merger import Merger, MergerConfig
from invmm.strategy.vocabulary import InventorySnapshot
from invmm.types import MICRO, Outcome, Reason, Side

SECOND = 1_000_000_000
HORIZONS_S = (1, 5, 30)
WARNING = "GENERATED market: the flow is a model, so profit on it says nothing about live trading."


def markouts(result: MarketResult, horizons_s: Sequence[int] = HORIZONS_S) -> dict[int, tuple[float, float]]:
    """Per horizon: (sum of shares × (mid after the horizon − price paid), shares), dollars and shares, over
    own fills.
    """
    sums = dict.fromkeys(horizons_s, (0.0, 0.0))
    if result.mids is None or not len(result.mids):
        return sums
    times, mids = result.mids["time_ns"], result.mids["up_mid"]
    for leg in result.ledger.standing:
        for horizon in horizons_s:
            at = int(np.searchsorted(times, leg.time_ns + horizon * SECOND))
            if at >= len(times):
                continue
            mid = float(mids[at]) if leg.outcome == Outcome.UP else 1 - float(mids[at])
            shares = leg.size_micro / MICRO
            total, weight = sums[horizon]
            sums[horizon] = (total + shares * (mid - leg.price_e4 / 1e4), weight + shares)
    return sums


def one_sided_share(result: MarketResult) -> float | None:
    """Unmatched shares at the end, of all shares bought; None without a fill."""
    up, down = (result.ledger.traded_micro(outcome) for outcome in Outcome)
    return abs(up - down) / (up + down) if up + down else None


def summarise(
    results: Sequence[MarketResult], *, digest: str, commands: int, merger: MergerConfig
) -> dict[str, Any]:
    """All markets of a session as one dictionary; sizes in shares, money in dollars, times in ns."""
    books: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    step: Counter[str] = Counter()
    profit: Counter[str] = Counter()
    mark: dict[int, list[float]] = {h: [0.0, 0.0] for h in HORIZONS_S}
    pairs_micro = fills = bought_micro = placed_micro = unmatched_micro = merges = merged_micro = 0
    pair_value_e4 = 0.0
    for result in results:
        ledger = result.ledger
        for key, value in result.books.items():
            if isinstance(value, int):
                books[key] += value
        failures.update(result.books.get("decode_failures", {}))
        reasons.update(
            {Reason(number).name.lower(): count for number, count in result.step["reasons"].items()}
        )
        step.update({key: value for key, value in result.step.items() if isinstance(value, int)})
        parts = ledger.settle(result.winner)
        for name in ("pair_edge", "orphans", "fees", "rebates", "total"):
            profit[name] += getattr(parts, name)
        pairs_micro += ledger.matched_micro
        pair_value_e4 += ledger.matched_micro * ledger.pair_cost
        fills += len(ledger.standing)
        bought_micro += sum(leg.size_micro for leg in ledger.standing)
        placed_micro += result.placed_micro
        unmatched_micro += abs(ledger.traded_micro(Outcome.UP) - ledger.traded_micro(Outcome.DOWN))
        planned = planned_merges(ledger.standing, merger)
        merges += len(planned)
        merged_micro += sum(planned)
        for horizon, (total, weight) in markouts(result).items():
            mark[horizon][0] += total
            mark[horizon][1] += weight
    errors = np.array([e for result in results for e in result.queue_errors_micro], dtype=np.float64)
    return {
        "digest": digest,
        "origin": "GENERATED" if any(r.tape.market.origin == "GENERATED" for r in results) else "RECORDED",
        "markets": len(results),
        "frames": step["frames"],
        "decode_failures": dict(failures),
        "checkpoints": step["checkpoints"],
        "checkpoint_mismatches": step["checkpoint_mismatches"],
        "best_checks": books["best_checks"],
        "best_mismatches": books["best_mismatches"],
        "mirror_checks": books["mirror_checks"],
        "mirror_mismatches": books["mirror_mismatches"],
        "commands": commands,
        "solves": step["solves"],
        "suppressed": step["suppressed"],
        "orders": sum(result.orders for result in results),
        "orders_by_market": {result.tape.market.slug: result.orders for result in results},
        "fills": fills,
        "fill_rate": bought_micro / placed_micro if placed_micro else 0.0,
        "bought_shares": bought_micro / MICRO,
        "pairs": pairs_micro / MICRO,
        "pair_cost": pair_value_e4 / pairs_micro if pairs_micro else None,
        "one_sided_share": unmatched_micro / bought_micro if bought_micro else None,
        "markout": {f"{h}s": (total / weight if weight else None) for h, (total, weight) in mark.items()},
        "merges": {"count": merges, "pairs": merged_micro / MICRO},
        "profit": {name: round(value, 6) for name, value in profit.items()},
        "reasons": dict(reasons),
        "model": model_figures([result.step.get("policy", {}) for result in results]),
        "queue_error_shares": _quantiles(errors),
        "queue_ahead_of_truth": sum(result.queue_ahead_of_truth for result in results),
        "hash_checks": sum(result.hash_checks for result in results),
        "hash_mismatches": sum(result.hash_mismatches for result in results),
        "reconciled": all(result.reconciled for result in results),
        "latency_ns": {},
        "winners": {r.tape.market.slug: None if r.winner is None else r.winner.name.title() for r in results},
    }


def model_figures(counted: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """How an inventory model answered in all markets, and how often its clamps bound; None without one.

    Parameters
    ----------
    counted : sequence of dict
        `ModelPolicy.stats()` of each market, {} for one with another policy.

    Returns
    -------
    dict or None
        `name`, `asked`, `answered`, `samples` of the history, `last_error`; as shares of the answers
        `volatility_low` and `volatility_high` (at 0.01 and at 2), as shares of the ranges, two in an answer,
        `range_low` and `range_high`. A share is None without an answer.
    """
    sums: Counter[str] = Counter()
    for each in counted:
        sums.update({name: value for name, value in each.items() if isinstance(value, int)})
    if not sums["asked"]:
        return None
    answers = sums["answered"]
    shares = {"volatility_low": 1, "volatility_high": 1, "range_low": 2, "range_high": 2}
    return {
        "name": next(each["model"] for each in counted if each.get("model")),
        "asked": sums["asked"],
        "answered": answers,
        "samples": sums["samples"],
        "last_error": next((each["last_error"] for each in counted if each.get("last_error")), None),
        **{name: sums[name] / (per * answers) if answers else None for name, per in shares.items()},
    }


def model_words(figures: dict[str, Any]) -> str:
    """`model_figures` in a line."""
    told = f"{figures['name']}: {figures['answered']:,} of {figures['asked']:,} questions answered"
    if figures["answered"]:
        told += (
            f"; volatility clamped to its floor in {figures['volatility_low']:.1%}, to its ceiling in "
            f"{figures['volatility_high']:.1%}; ranges to their floor in {figures['range_low']:.1%}, "
            f"to their ceiling in {figures['range_high']:.1%}"
        )
    return told + (f"; last failure: {figures['last_error']}" if figures["last_error"] else "")


def _quantiles(errors_micro: npt.NDArray[np.float64]) -> dict[str, float | int]:
    if not len(errors_micro):
        return {"samples": 0}
    size = np.abs(errors_micro) / MICRO
    return {"samples": len(size), "p50": float(np.quantile(size, 0.5)), "p90": float(np.quantile(size, 0.9))}


def planned_merges(legs: Sequence[Leg], config: MergerConfig) -> list[int]:
    """Sizes (micro-pairs) of the merges that the merger would have made, asked after each fill."""
    merger = Merger(config)
    held = [0.0, 0.0]
    cost = [0.0, 0.0]
    merges: list[int] = []
    for leg in legs:
        shares = leg.size_micro / MICRO * (1 if leg.side == Side.BUY else -1)
        cost[leg.outcome] += shares * leg.price_e4 / 1e4
        held[leg.outcome] += shares
        average = [cost[i] / held[i] if held[i] > 0 else 0.0 for i in (0, 1)]
        decision = merger.check_merge(InventorySnapshot(held[0], average[0], held[1], average[1]))
        if decision.should_merge:
            merges.append(round(decision.pairs_to_merge * MICRO))
            for i in (0, 1):
                held[i] = max(0.0, held[i] - decision.pairs_to_merge)
                cost[i] = held[i] * average[i]
    return merges
