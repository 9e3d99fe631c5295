"""A comparison's figures from its trials: the dictionary that is written as JSON and shown as text and page.

Its fields are described in `docs/comparison.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

import numpy as np

from invmm.replay.compare_plan import HEADLINE, TOXICITIES, VARIANTS
from invmm.replay.statistics import Estimate, mean_of, paired, ratio_of
from invmm.replay.trial import HORIZONS_S

Row = Mapping[str, Any]
Rows = dict[str, list[Row]]
"""Of each policy, one per market, in the same order."""

REBATE_MINIMUM_DOLLARS: Final = 1.0
"""Less than this is not paid out on a day."""
MARKETS_A_DAY: Final = 288
"""Of five minutes: so many generated markets in a row count as a day."""
OWN_SHARE_LIMIT: Final = 0.05
MARKOUTS: Final = (*(f"{horizon}s" for horizon in HORIZONS_S), "resolution")


def of_case(rows: Sequence[Row], case: str) -> Rows:
    """The trials of a case by policy; markets in the order in which they were planned."""
    found: Rows = {}
    for row in rows:
        if row["case"] == case:
            found.setdefault(str(row["label"]), []).append(row)
    return found


def rebates_paid(rows: Sequence[Row]) -> list[float]:
    """What is paid back for each market, dollars: accrued over a UTC day, paid if that has a dollar or more.

    Generated markets all begin at the same time: 288 of them in a row are a day.
    """
    days: list[Any] = []
    for index, row in enumerate(rows):
        is_generated = row["origin"] == "GENERATED"
        days.append(index // MARKETS_A_DAY if is_generated else int(row["start_s"]) // 86_400)
    sums: dict[Any, float] = {}
    for day, row in zip(days, rows, strict=True):
        sums[day] = sums.get(day, 0.0) + float(row["rebates_dollars"])
    return [
        float(row["rebates_dollars"]) if sums[day] >= REBATE_MINIMUM_DOLLARS else 0.0
        for day, row in zip(days, rows, strict=True)
    ]


def profits(rows: Sequence[Row]) -> list[float]:
    """Dollars per market."""
    return [float(row["profit_dollars"]) for row in rows]


def judged(values: Mapping[str, Sequence[float]], base: str) -> dict[str, dict[str, Any]]:
    """Of each policy its mean profit, and its paired difference to the base with a verdict."""
    out = {}
    for name, each in values.items():
        difference = paired(each, values[base])
        out[name] = {
            "profit": mean_of(each).words(),
            "difference": {**difference.words(), "verdict": difference.verdict},
        }
    return out


def figures(rows: Sequence[Row]) -> dict[str, Any]:
    """What a policy did over all markets: means per market, ratios of sums over all of them."""
    n = max(1, len(rows))

    def total(name: str) -> float:
        return sum(float(row[name] or 0.0) for row in rows)

    def ratio(part: float, whole: float) -> float | None:
        return part / whole if whole else None

    shares = total("bought_shares") + total("sold_shares")
    pairs = total("pairs")
    paid = sum(float(row["pairs"]) * float(row["pair_cost"]) for row in rows if row["pair_cost"] is not None)
    leads = [abs(float(row["final_imbalance_shares"])) for row in rows]
    own = [float(row["own_share"] or 0.0) for row in rows]
    return {
        "fills": total("fills") / n,
        "orders": total("orders") / n,
        "messages": total("messages") / n,
        "messages_per_fill": ratio(total("messages"), total("fills")),
        "maker_share": ratio(total("maker_shares"), shares),
        "one_sided_share": ratio(sum(leads), shares),
        "pairs": pairs / n,
        "pair_cost": ratio(paid, pairs),
        "pairs_at_or_above_one": total("pairs_at_or_above_one") / n,
        "pairs_at_or_above_one_share": ratio(total("pairs_at_or_above_one"), pairs),
        "pairs_at_or_above_one_dollars": total("pairs_at_or_above_one_dollars") / n,
        "final_imbalance_shares": sum(leads) / n,
        "own_share": ratio(shares, total("traded_shares")),
        "own_share_most": max(own, default=None),
        "own_share_flagged": sum(each > OWN_SHARE_LIMIT for each in own),
        "pairs_dollars": total("pairs_dollars") / n,
        "orphans_dollars": total("orphans_dollars") / n,
        "fees_dollars": total("fees_dollars") / n,
        "rebates_dollars": total("rebates_dollars") / n,
        "max_committed_dollars": max((float(row["max_committed_dollars"]) for row in rows), default=0.0),
        "failed_fills": total("failed_fills"),
        "unreconciled": sum(not row["reconciled"] for row in rows),
        "reasons": _summed([row["reasons"] for row in rows]),
    }


def markouts(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Cents per share of all fills after each horizon, weighted by shares; the interval is over markets, `n`
    counts fills.
    """
    out = {}
    for name in MARKOUTS:
        shares = np.array([float(row[f"markout_{name}_shares"]) for row in rows])
        cents = np.array([float(row[f"markout_{name}_cents"] or 0.0) for row in rows])
        found = ratio_of(cents * shares, shares)
        fills = sum(int(row[f"markout_{name}_fills"]) for row in rows)
        out[name] = {**found.words(), "n": fills}
    return out


def variants(rows: Sequence[Row], base: str) -> list[dict[str, Any]]:
    """Every case beside the headline, each with the headline on the same markets before it."""
    headline = of_case(rows, HEADLINE)
    out: list[dict[str, Any]] = []
    played = [(case.name, of_case(rows, case.name)) for case in VARIANTS]
    played = [(name, found) for name, found in played if found]
    if not played:
        return []
    n = len(next(iter(played[0][1].values())))
    same = {name: each[:n] for name, each in headline.items()}
    first = "headline on these markets (conservative queue, latency 50 ms, FAILED 0 %, size × 1)"
    out.append({"name": first, "n": n, "policies": judged(_profits(same), base)})
    values = {
        name: [a + b for a, b in zip(profits(each), rebates_paid(each), strict=True)]
        for name, each in same.items()
    }
    out.append({"name": "with rebates, paid daily", "n": n, "policies": judged(values, base)})
    for name, found in played:
        of = len(next(iter(found.values())))
        out.append({"name": name, "n": of, "policies": judged(_profits(found), base)})
    return out


def toxicity(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Mean profit at each share of informed flow with its interval, and where it reaches zero: the first fall
    through it, between its neighbours on a line. None where there is none; `zero_words` says what there is.
    """
    by_level = {level: of_case(rows, toxicity_case(level)) for level in TOXICITIES if level != 1.0}
    if not any(by_level.values()):
        return None
    n = min(len(each) for found in by_level.values() for each in found.values())
    by_level[1.0] = of_case(rows, HEADLINE)
    out: dict[str, Any] = {"levels": list(TOXICITIES), "n": n, "policies": {}}
    for name in by_level[1.0]:
        found = [mean_of(profits(by_level[level][name][:n])) for level in TOXICITIES]
        means = [each.mean or 0.0 for each in found]
        zero = zero_at(TOXICITIES, means)
        out["policies"][name] = {
            "profit": means,
            "low": [each.low for each in found],
            "high": [each.high for each in found],
            "zero_at": zero,
            "zero_words": "" if zero is not None else _side(means),
        }
    return out


def _side(means: Sequence[float]) -> str:
    if max(means) <= 0:
        return "no profit at any"
    return "profit at all" if min(means) > 0 else "does not fall through it"


def toxicity_case(level: float) -> str:
    """Name of the case that scales the informed flow."""
    return f"informed flow × {level:g}"


def zero_at(levels: Sequence[float], means: Sequence[float]) -> float | None:
    """Where a line through the points falls through zero for the first time; None where it does not.

    >>> zero_at([0, 1, 2], [3.0, 1.0, -1.0])
    1.5
    """
    points = list(zip(levels, means, strict=True))
    for (x0, y0), (x1, y1) in pairwise(points):
        if y0 > 0 >= y1:
            return x0 + (x1 - x0) * y0 / (y0 - y1)
    return None


def report(rows: Sequence[Row], base: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """All of it.

    Parameters
    ----------
    rows : sequence of dict
        Of all trials, in the order of the plan.
    base : str
        The policy that the others are held against.
    about : mapping
        What is known beside the trials: source, commit, tuning, openings, caveats, …
    """
    headline = of_case(rows, HEADLINE)
    values = _profits(headline)
    found = judged(values, base)
    policies = {
        name: {**found[name], "figures": figures(each), "markouts": markouts(each), "text": each[0]["policy"]}
        for name, each in headline.items()
    }
    first = next(iter(headline.values()))
    out = {
        **about,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "base": base,
        "policies": policies,
        "against": _against(values),
        "variants": variants(rows, base),
        "markets": [
            {
                "market": row["market"],
                "winner": row["winner"],
                "winner_inferred": row["winner_inferred"],
                "profit": {name: each[index] for name, each in values.items()},
                "own_share": {name: each[index]["own_share"] for name, each in headline.items()},
            }
            for index, row in enumerate(first)
        ],
        "inferred_winners": [row["market"] for row in first if row["winner_inferred"]],
        "samples": _samples(headline),
    }
    if (told := toxicity(rows)) is not None:
        out["toxicity"] = told
    return out


def _against(values: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """Paired differences of each policy to each other one."""

    def words(found: Estimate) -> dict[str, Any]:
        return {**found.words(), "verdict": found.verdict}

    return {
        name: {other: words(paired(each, values[other])) for other in values if other != name}
        for name, each in values.items()
    }


def _profits(found: Rows) -> dict[str, list[float]]:
    return {name: profits(each) for name, each in found.items()}


def _samples(headline: Rows) -> list[dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    for name, each in headline.items():
        for row in each:
            if row.get("series"):
                out.setdefault(str(row["market"]), {})[name] = row["series"]
    return [{"market": market, "policies": policies} for market, policies in out.items()]


def _summed(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    out: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            out[name] = out.get(name, 0) + count
    return dict(sorted(out.items()))
