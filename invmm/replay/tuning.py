"""Tuning: every policy gets the same number of tries on the same tuning markets.

A policy declares what may be varied (`SPACES`); sizes and limits are everybody's and are not. The first try
is the policy as it ships, the others are drawn, seeded, from its space. The best mean profit is chosen,
whatever the interval about it: tuning decides nothing, the deciding markets do.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from invmm.errors import DataError
from invmm.replay.compare_plan import HEADLINE, Plan, Planned
from invmm.replay.entrants import Entrant, entrant
from invmm.replay.trial import Conditions

SCHEMA: Final = 1

Space = Mapping[str, tuple[float, float, bool]]
"""By name of a parameter: least, most, and whether factors, not differences, are equally likely."""

_LADDER: Final[Space] = {"spread_per_level": (0.5, 4.0, False), "max_imbalance": (0.1, 1.0, False)}
_RANGES: Final[Space] = {
    **_LADDER,
    "MIN_RANGE_PERCENTAGE": (0.5, 8.0, True),
    "MAX_RANGE_PERCENTAGE": (8.0, 40.0, True),
}
_ORIGINAL: Final[Space] = {
    **_LADDER,
    "base_offset": (0.005, 0.08, True),
    "min_profit_margin": (0.001, 0.05, True),
}
SPACES: Final[Mapping[str, Space]] = {
    "do_nothing": {},
    "join_touch": {"max_imbalance": (0.1, 1.0, False)},
    "inventory_mm": _ORIGINAL,
    "inventory_mm:fixed": _ORIGINAL,
    "avellaneda_stoikov": {
        **_RANGES,
        "INVENTORY_RISK_AVERSION": (0.01, 10.0, True),
        "BASE_SPREAD": (0.005, 0.2, True),
    },
    "simple": _RANGES,
    "glft": {
        **_RANGES,
        "INVENTORY_RISK_AVERSION": (0.01, 10.0, True),
        "BASE_SPREAD": (0.005, 0.2, True),
    },
    "pairs": {
        "dollars_at_risk": (50.0, 10_000.0, True),
        "min_edge": (0.001, 0.04, True),
        "adverse": (0.0, 0.02, False),
        "adverse_slope": (0.0, 3.0, False),
        "follow": (0.0, 1.5, False),
        "max_lead_shares": (50.0, 800.0, True),
        "narrow_s": (30.0, 180.0, False),
    },
}
DIGITS: Final = 4  # of a drawn value, so that a text says it


def with_parameters(who: Entrant, parameters: Mapping[str, float]) -> str:
    """The text of a policy with parameters added to its own."""
    own = dict(who.parameters) | {key: f"{value:g}" for key, value in parameters.items()}
    if not own:
        return who.name
    told = ",".join(f"{key}={value}" for key, value in own.items())
    return f"{who.name}{',' if ':' in who.name else ':'}{told}"


def tries(name: str, trials: int, seed: int) -> list[dict[str, float]]:
    """What is tried for a policy: first nothing changed, then points of its space."""
    named = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    rng = np.random.Generator(np.random.PCG64([seed, named]))
    space = SPACES.get(name, {})
    points: list[dict[str, float]] = [{}]
    while len(points) < trials:
        drawn = {}
        for key, (low, high, is_log) in space.items():
            share = float(rng.random())
            value = low * (high / low) ** share if is_log else low + (high - low) * share
            drawn[key] = _rounded(value)
        points.append(drawn)
    return points[:trials]


def tuning_plan(
    policies: Sequence[Entrant], sources: Sequence[str], seeds: Sequence[int], trials: int, seed: int
) -> Plan:
    """Every try of every policy on every tuning market, under the headline's conditions."""
    made = []
    for source, market_seed in zip(sources, seeds, strict=True):
        for who in policies:
            for number, point in enumerate(tries(who.name, trials, seed)):
                text = with_parameters(who, point)
                label = f"{who.text}#{number}"
                made.append(Planned(source, label, text, HEADLINE, Conditions(), market_seed))
    return Plan(tuple(made))


def chosen(
    policies: Sequence[Entrant], rows: Sequence[Mapping[str, Any]], trials: int, seed: int
) -> dict[str, Any]:
    """For each policy the best try, its mean profit and that of the policy as it ships; and all tries."""
    profits: dict[str, list[float]] = {}
    for row in rows:
        profits.setdefault(str(row["label"]), []).append(float(row["profit_dollars"]))
    out = {}
    for who in policies:
        points = tries(who.name, trials, seed)
        means = [float(np.mean(profits[f"{who.text}#{number}"])) for number in range(len(points))]
        best = int(np.argmax(means))
        out[who.text] = {
            "text": with_parameters(who, points[best]),
            "parameters": points[best],
            "profit": means[best],
            "profit_as_shipped": means[0],
            "space": {key: list(each) for key, each in SPACES.get(who.name, {}).items()},
            "tried": [
                {"parameters": point, "profit": mean} for point, mean in zip(points, means, strict=True)
            ],
        }
    return out


def read_tuned(path: Path) -> dict[str, Any]:
    """What `--tune` wrote: `trials`, and `policies` by text. DataError if it is something else."""
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    policies = told.get("policies") if isinstance(told, dict) and told.get("tuned") == SCHEMA else None
    if not isinstance(policies, dict):
        raise DataError(f"{path}: expected what --tune writes, of version {SCHEMA}")
    for text, each in policies.items():
        if entrant(each["text"]).name != entrant(text).name:
            raise DataError(f"{path}: {text}: expected parameters of it, found {each['text']!r}")
    return dict(told)


def _rounded(value: float) -> float:
    return value if value == 0 else round(value, DIGITS - 1 - math.floor(math.log10(abs(value))))
