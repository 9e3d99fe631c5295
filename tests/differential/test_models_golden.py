"""The original models' own outputs: every row equal bit for bit, but for those that hold its known defect."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from invmm._ext.models import RANGES_FIELDS
from invmm.models import ModelFactory
from invmm.models.avellaneda_stoikov import AvellanedaStoikovModel
from invmm.models.fast import fast_model
from invmm.types import Reason
from tests.differential.test_solver_golden import bits

ROWS = [
    json.loads(line)
    for line in gzip.decompress(
        (Path(__file__).parents[1] / "data" / "asymmetric_lp_models.jsonl.gz").read_bytes()
    ).splitlines()
]
DEFECT = "stdev requires at least two data points"


class Client:
    """Knows the decimals of the addresses 0xA and 0xB."""

    def __init__(self, decimals):
        self.decimals = dict(zip(("0xA", "0xB"), decimals, strict=True))

    def get_token_decimals(self, address):
        return self.decimals[address]


def is_defect(row):
    return row["output"]["model_metadata"].get("error") == DEFECT


def answer(row):
    model = ModelFactory.create_model(row["model"], SimpleNamespace(**row["config"]))
    return model, model.calculate_lp_ranges(
        row["token0_balance"],
        row["token1_balance"],
        row["spot_price"],
        row["price_history"],
        "0xA",
        "0xB",
        Client(row["decimals"]),
    )


def test_all_rows_are_there():
    assert (len(ROWS), sum(map(is_defect, ROWS))) == (600, 63)


@pytest.mark.parametrize("start", range(0, 600, 100))
def test_a_model_equals_the_original(start):
    for row in ROWS[start : start + 100]:
        model, got = answer(row)
        if isinstance(model, AvellanedaStoikovModel):
            assert bits(model.calculate_realized_volatility(row["price_history"])) == bits(row["parkinson"])
        if not is_defect(row):
            assert bits(got) == bits(row["output"]), row["case"]


def test_where_the_original_fails_on_two_prices_ours_takes_the_default_volatility():
    for row in filter(is_defect, ROWS):
        _, got = answer(row)
        assert len(row["price_history"]) == 2
        assert got["volatility"] == 0.02
        assert "error" not in got["model_metadata"]


def test_the_compiled_models_equal_the_original_too():
    for row in ROWS:
        fast = fast_model(ModelFactory.create_model(row["model"], SimpleNamespace(**row["config"])))
        balances = (row["token0_balance"], row["token1_balance"])
        amounts = [balance / 10**digits for balance, digits in zip(balances, row["decimals"], strict=True)]
        bars = [
            [sample[name] for name in ("price", "high", "low", "open", "close")]
            for sample in row["price_history"]
        ]
        got = fast.ranges(*amounts, row["spot_price"], bars)
        if is_defect(row):
            assert got["volatility"] == 0.02
        elif row["output"]["model_metadata"].get("fallback_used"):
            assert got == Reason.MODEL_FALLBACK
        else:
            assert bits(got) == bits({name: row["output"][name] for name in RANGES_FIELDS}), row["case"]
