"""One decision of a policy that quotes as an inventory model says: compiled, and across the bridge to Python.

    python -m bench.bench_models [--json FILE]    INVMM_BENCH_SHORT=1 for a run that only proves it works
    pytest bench/bench_models.py

Every sample is the mean of several decisions made in a C loop, on a history of 60 samples whose volatility
lies between its clamps. Both versions of a model give the same bits, so they are timed on the same work.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
import pytest

from bench.bench_solver import SHARE, view
from bench.harness import SHORT, Distribution, distribution, report, require_release
from invmm._ext.model_policy import ModelPolicy, PythonModel
from invmm.models import (
    AvellanedaStoikovModel,
    BaseInventoryModel,
    Config,
    GLFTModel,
    MeanReversionModel,
    SimpleModel,
)
from invmm.models.fast import fast_model

KINDS = (AvellanedaStoikovModel, GLFTModel, SimpleModel, MeanReversionModel)
SAMPLES = 20 if SHORT else 1_000
HISTORY = 60


def policy(kind: type[BaseInventoryModel], is_compiled: bool) -> ModelPolicy:
    """A policy whose model has seen `HISTORY` samples."""
    model = kind(Config(env_file=None, environment={}))
    made = ModelPolicy(fast_model(model) if is_compiled else PythonModel(model), sample_ms=1)
    for number in range(HISTORY + 1):
        up = 5_100 if number % 2 else 5_101
        record = view((30, 10), (up, 5_000), (5_000, 10_000 - up))
        record["tick_e4"], record["ms_to_end"] = 1, -number
        made.decide(record)
    return made


def rows(is_compiled: bool) -> list[Distribution]:
    decisions = 200 if is_compiled else 10
    record = view((30, 10), (5_100, 5_000), (5_000, 4_900))
    record["ms_to_end"] = -HISTORY
    result = []
    for kind in KINDS:
        made = policy(kind, is_compiled)
        samples = np.empty(SAMPLES)
        for index in range(SAMPLES):
            begin = time.perf_counter_ns()
            made.decide_repeatedly(record, decisions)
            samples[index] = (time.perf_counter_ns() - begin) / decisions
        size = int(made.decide(record)[0]["size_micro"].sum()) // SHARE
        result.append(
            distribution(kind.__name__, samples, note=f"{size} shares bid for; means of {decisions}")
        )
    return result


@pytest.mark.parametrize("is_compiled", [True, False], ids=["compiled", "python"])
@pytest.mark.parametrize("kind", KINDS)
def test_ten_decisions(benchmark: Any, kind: type[BaseInventoryModel], is_compiled: bool) -> None:
    record = view((30, 10), (5_100, 5_000), (5_000, 4_900))
    record["ms_to_end"] = -HISTORY
    benchmark(policy(kind, is_compiled).decide_repeatedly, record, 10)


def main() -> int:
    parser = argparse.ArgumentParser(description="Decisions with an inventory model.")
    parser.add_argument("--json", metavar="FILE", help="also write the rows there")
    options = parser.parse_args()
    require_release()
    groups = {"Compiled": rows(is_compiled=True), "Python": rows(is_compiled=False)}
    report("Inventory models", groups, json_path=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
