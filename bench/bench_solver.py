"""One decision of the inventory policy and of `pairs`: both tokens, six levels each.

    python -m bench.bench_solver [--json FILE]    INVMM_BENCH_SHORT=1 for a run that only proves it works
    pytest bench/bench_solver.py

Every sample is the mean of 1000 decisions made in a C loop, since a Python call costs more than a decision.
Budget: 0.5 µs. The situations are made up and named; what a decision costs depends on how many orders are
live and on whether the pair test has to lower a bid, so each has its own row.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bench.harness import SHORT, Distribution, distribution, report, require_release
from invmm._ext.pairs_policy import PairsPolicy
from invmm._ext.solver import POLICY_INPUT_DTYPE, InventoryMMPolicy, Policy
from invmm.strategy.solver import solve
from invmm.strategy.vocabulary import InventorySnapshot, OrderbookSnapshot, SolverConfig, SolverInput

SHARE = 1_000_000
LEVELS = 6
DECISIONS = 1_000
SAMPLES = 20 if SHORT else 2_000
CALLS = 50 if SHORT else 5_000


def policy(compatible: bool = False) -> InventoryMMPolicy:
    return InventoryMMPolicy(num_levels=LEVELS, compatible=compatible)


def view(held: tuple[int, int], asks: tuple[int, int], bids: tuple[int, int]) -> npt.NDArray[np.void]:
    """One situation: shares held at .50 and .47, best prices in 1e-4 dollars."""
    record = np.zeros((), POLICY_INPUT_DTYPE)
    record["position_micro"] = np.array(held) * SHARE
    record["cost_micro"] = np.array(held) * SHARE * (50, 47) // 100
    for name in ("low_micro", "high_micro", "sellable_micro"):
        record[name] = record["position_micro"]
    record["tick_e4"], record["min_size_micro"], record["fee_rate_ppm"] = 100, 5 * SHARE, 70_000
    record["ms_to_end"] = 200_000
    record["ahead_micro"] = -1
    for token in (0, 1):
        record["top"][token] = (bids[token], asks[token], 100 * SHARE, 100 * SHARE, False, False)
    return record


def pairs() -> PairsPolicy:
    """With room for six levels, and so that it completes pairs in the last situation."""
    return PairsPolicy(num_levels=LEVELS, max_lead=1_000.0, dollars_at_risk=500.0, patience_s=0.0)


def resting(record: npt.NDArray[np.void], decider: Policy) -> npt.NDArray[np.void]:
    """The same situation with every quote of it resting already."""
    actions, _, _ = decider.decide(record)
    quotes = actions[actions["kind"] == 2]
    result = record.copy()
    result["n_orders"] = len(quotes)
    for index, quote in enumerate(quotes):
        size = quote["size_micro"]
        result["orders"][index] = (index, size, size, quote["price_e4"], quote["token"], 0, 1, False)
    return result


FLAT = view((200, 200), (5_100, 5_000), (5_000, 4_900))
SITUATIONS = {
    "12 quotes, nothing resting": FLAT,
    "12 quotes, all resting": resting(FLAT, policy()),
    "bids lowered by the pair test": view((30, 30), (6_000, 5_000), (5_000, 4_000)),
    "imbalance, taker order": view((300, 200), (6_200, 4_200), (5_800, 3_800)),
}

PAIRS_SITUATIONS = {
    "12 quotes, nothing resting": FLAT,
    "12 quotes, all resting": resting(FLAT, pairs()),
    "a lead, completed": SITUATIONS["imbalance, taker order"],
}


def rows(decider: Policy, situations: dict[str, npt.NDArray[np.void]]) -> list[Distribution]:
    result = []
    for name, record in situations.items():
        decider.decide_repeatedly(record, DECISIONS)
        samples = np.empty(SAMPLES)
        for index in range(SAMPLES):
            begin = time.perf_counter_ns()
            decider.decide_repeatedly(record, DECISIONS)
            samples[index] = (time.perf_counter_ns() - begin) / DECISIONS
        count = len(decider.decide(record)[0])
        result.append(distribution(name, samples, note=f"{count} actions; means of {DECISIONS}"))
    return result


def solve_rows() -> list[Distribution]:
    """What a program pays that calls `solve` with floats."""
    book = OrderbookSnapshot(best_ask=(0.51, 100.0), best_bid=(0.49, 100.0))
    record = SolverInput(
        config=SolverConfig(num_levels=LEVELS),
        inventory=InventorySnapshot(200, 0.50, 200, 0.47),
        up_orderbook=book,
        down_orderbook=book,
    )
    result = []
    for compatible in (False, True):
        samples = np.empty(CALLS)
        for index in range(CALLS):
            begin = time.perf_counter_ns()
            solve(record, compatible)
            samples[index] = time.perf_counter_ns() - begin
        result.append(distribution(f"solve(view, compatible={compatible})", samples))
    return result


@pytest.mark.parametrize("compatible", [False, True], ids=["default", "compatible"])
@pytest.mark.parametrize("name", SITUATIONS)
def test_a_thousand_decisions(benchmark: Any, name: str, compatible: bool) -> None:
    record = SITUATIONS[name]
    benchmark(policy(compatible).decide_repeatedly, record, DECISIONS)


@pytest.mark.parametrize("name", PAIRS_SITUATIONS)
def test_a_thousand_decisions_of_pairs(benchmark: Any, name: str) -> None:
    benchmark(pairs().decide_repeatedly, PAIRS_SITUATIONS[name], DECISIONS)


def main() -> int:
    parser = argparse.ArgumentParser(description="Decisions of the policies.")
    parser.add_argument("--json", metavar="FILE", help="also write the rows there")
    options = parser.parse_args()
    require_release()
    groups = {
        "One decision, default (integers)": rows(policy(), SITUATIONS),
        "One decision, compatible (doubles)": rows(policy(compatible=True), SITUATIONS),
        "One decision, pairs": rows(pairs(), PAIRS_SITUATIONS),
        "From Python, floats in and out": solve_rows(),
    }
    report("Policies", groups, json_path=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
