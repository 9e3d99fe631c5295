"""Every example in the strategy's docstrings runs and says what it says."""

import doctest
import importlib

import pytest

MODULES = [
    "invmm.execution.handle",
    "invmm.settlement.merger",
    "invmm.strategy.commands",
    "invmm.strategy.extraction",
    "invmm.strategy.inventory_mm",
    "invmm.strategy.profitability",
    "invmm.strategy.solver",
    "invmm.strategy.vocabulary",
    "invmm.venue.blocking",
    "invmm.venue.client",
    "invmm.venue.trading",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_module_hold(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
