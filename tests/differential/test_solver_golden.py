"""The original strategy's own outputs: kernel and plain twin must equal every row bit for bit."""

import gzip
import json
from pathlib import Path

import pytest

from invmm.settlement.merger import Merger
from invmm.strategy.solver import solve
from invmm.strategy.vocabulary import SolverInput
from tests.reference import solver as reference

ROWS = [
    json.loads(line)
    for line in gzip.decompress(
        (Path(__file__).parents[1] / "data" / "inventory_mm_solver.jsonl.gz").read_bytes()
    ).splitlines()
]


def bits(value):
    """Floats as hexadecimal text, so that equality is of bits; integers among floats count as floats."""
    if isinstance(value, dict):
        return {key: bits(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [bits(entry) for entry in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value).hex()
    return value


def test_all_rows_are_there():
    assert len(ROWS) == 1500


@pytest.mark.parametrize("start", range(0, 1500, 100))
def test_compiled_solver_equals_the_original(start):
    for row in ROWS[start : start + 100]:
        got = solve(SolverInput.from_mapping(row["input"]), compatible=True).to_mapping()
        assert bits(got) == bits(row["output"]), row["case"]


def test_plain_twin_equals_the_original():
    for row in ROWS:
        assert bits(reference.solve(row["input"])) == bits(row["output"]), row["case"]


def test_merger_equals_the_original():
    for row in ROWS:
        decision = Merger().check_merge(SolverInput.from_mapping(row["input"]).inventory)
        got = {
            "should_merge": decision.should_merge,
            "pairs_to_merge": decision.pairs_to_merge,
            "expected_profit": decision.expected_profit,
        }
        assert bits(got) == bits(row["merge"]), row["case"]
