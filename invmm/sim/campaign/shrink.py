"""Makes a failing seed smaller: less time, fewer faults, as long as the same checker fails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from invmm.sim.campaign.hazards import ALL, Planned, draw_plan
from invmm.sim.campaign.report import SeedReport, run_seed

TRIES_MAX = 60


def shrink(
    seed: int,
    minutes: float,
    names: Sequence[str] | None = None,
    *,
    plan: list[Planned] | None = None,
) -> SeedReport | None:
    """The smallest failing report that was found; None when the seed does not fail.

    First the time is cut to what the first failure needs, then faults are left out: halves, then single ones.
    """
    if plan is None:
        plan = draw_plan(seed, minutes, ALL if names is None else tuple(names))
    best = run_seed(seed, minutes=minutes, plan=plan)
    if not best.counts:
        return None
    checkers = set(best.counts)
    tries = 0

    def still(candidate: list[Planned], length: float) -> SeedReport | None:
        nonlocal tries
        tries += 1
        if tries > TRIES_MAX:
            return None
        found = run_seed(seed, minutes=length, plan=candidate)
        return found if checkers & set(found.counts) else None

    first_s = min((failure.at_s for failure in best.failures), default=minutes * 60)
    for seconds in (first_s + 1, first_s + 30, first_s + 120):
        shorter = math.ceil(seconds / 6) / 10
        if shorter < best.minutes:
            cut = [
                replace(one, until_s=min(one.until_s, shorter * 60))
                for one in best.plan
                if one.at_s < shorter * 60
            ]
            if found := still(cut, shorter):
                best = found
                break
    size = max(1, len(best.plan) // 2)
    while size and best.plan and tries < TRIES_MAX:
        for start in range(0, len(best.plan), size):
            rest = [*best.plan[:start], *best.plan[start + size :]]
            if found := still(rest, best.minutes):
                best = found
                break
        else:
            size //= 2
    return best
