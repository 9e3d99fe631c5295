"""Compiled models give the bits of the Python ones; quotes that follow a model keep the house rules."""

from __future__ import annotations

import itertools
import math
import statistics
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invmm._ext.model_policy import ModelPolicy, PythonModel
from invmm._ext.models import deviation_of_returns
from invmm.models import AvellanedaStoikovModel, GLFTModel, MeanReversionModel, SimpleModel
from invmm.models.fast import fast_model
from tests.unit.test_solver import QUOTE, SHARE, market

KINDS = (AvellanedaStoikovModel, GLFTModel, SimpleModel, MeanReversionModel)
balances = st.integers(0, 10**12)
prices = st.floats(1e-4, 1.0) | st.integers(1, 99).map(lambda cents: cents / 100)
calm = st.integers(-40, 40).map(lambda step: 0.5 + step * 2**-17)  # volatilities between the clamps
histories = st.lists(prices, max_size=40) | st.lists(calm, max_size=40)
configs = st.fixed_dictionaries(
    {},
    optional={
        "INVENTORY_RISK_AVERSION": st.floats(0.0, 2.0),
        "TARGET_INVENTORY_RATIO": st.floats(0.0, 1.0),
        "BASE_SPREAD": st.floats(0.0, 0.2),
        "VOLATILITY_WINDOW_SIZE": st.integers(1, 50),
        "MIN_RANGE_PERCENTAGE": st.floats(0.0, 5.0),
        "MAX_RANGE_PERCENTAGE": st.floats(5.0, 60.0),
        "EXECUTION_COST": st.floats(0.0, 0.1),
        "INVENTORY_PENALTY": st.floats(0.0, 1.0),
        "TERMINAL_INVENTORY_PENALTY": st.floats(0.0, 1.0),
        "MEAN_REVERSION_STRENGTH": st.floats(0.0, 20.0),
        "MEAN_REVERSION_LOOKBACK": st.integers(1, 40),
    },
)


def bars(history):
    return [[price] * 5 for price in history]


@settings(max_examples=60, deadline=None)
@given(held=st.tuples(balances, balances), spot=prices, history=histories, config=configs)
def test_a_compiled_model_gives_the_bits_of_the_python_one(held, spot, history, config):
    for kind in KINDS:
        model = kind(SimpleNamespace(**config))
        amounts = [micro / 1e6 for micro in held]
        fast, slow = fast_model(model), PythonModel(model)
        assert not isinstance(fast, PythonModel)
        assert fast.ranges(*amounts, spot, bars(history)) == slow.ranges(*amounts, spot, bars(history))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(prices, min_size=3, max_size=40)
    | st.lists(st.floats(1e-300, 1e300), min_size=3, max_size=20)
    | st.lists(st.integers(0, 3).map(lambda n: 1.0 + n * 2**-52), min_size=3, max_size=30)
    | st.lists(calm, min_size=9, max_size=20).map(lambda few: (few * 120)[:1_025])
)
def test_the_compiled_deviation_is_rounded_once(history):
    returns = [
        math.log(after / before) for before, after in itertools.pairwise(history) if after / before > 0
    ]
    if len(returns) < 2 or not all(map(math.isfinite, returns)):
        return
    assert deviation_of_returns(np.array(returns)).hex() == statistics.stdev(returns).hex()


@pytest.mark.parametrize("wrong", [[], [0.5], [math.nan, 0.0], [math.inf, 0.0], [1e4, 0.0], [0.0] * 1_025])
def test_what_is_no_log_return_has_no_deviation(wrong):
    with pytest.raises(ValueError, match="expected 2 to 1024 log returns"):
        deviation_of_returns(np.array(wrong))


@settings(max_examples=60, deadline=None)
@given(
    mid=st.integers(1, 49).map(lambda n: 200 * n),
    held=st.tuples(st.integers(0, 2_000), st.integers(0, 2_000)),
    tick=st.sampled_from((10, 25, 100)),
    history=st.lists(st.integers(-300, 300), max_size=8),
    config=configs,
)
def test_quotes_as_a_model_says_never_meet_each_other_or_the_book(mid, held, tick, history, config):
    policies = [ModelPolicy(fast_model(kind(SimpleNamespace(**config))), sample_ms=1) for kind in KINDS]
    for number, step in enumerate([*history, 0]):
        up = min(9_800, max(200, mid + step // 100 * 100))
        view = market(up + 100, 10_100 - up, held=held, tick_e4=tick, ms_to_end=-number)
        for policy in policies:
            actions, _, _ = policy.decide(view)
            chosen = actions[actions["kind"] == QUOTE]
            best = [int(chosen["price_e4"][chosen["token"] == token].max(initial=0)) for token in (0, 1)]
            assert sum(best) <= 10_000 - tick
            for token, price in enumerate(best):
                assert price < view["top"][token]["ask_e4"]
            assert (chosen["price_e4"] % tick == 0).all()
            assert (chosen["price_e4"] >= 100).all()
            assert (chosen["size_micro"] == 100 * SHARE).all()


@pytest.mark.parametrize("kind", [AvellanedaStoikovModel, GLFTModel, SimpleModel])
@settings(max_examples=40, deadline=None)
@given(held=st.tuples(st.integers(1, 500), st.integers(1, 500)), mid=st.integers(10, 90))
def test_the_needed_token_is_never_bid_for_further_from_its_value_than_the_heavy_one(kind, held, mid):
    if held[0] == held[1]:
        return
    got = fast_model(kind(SimpleNamespace())).ranges(held[0], held[1] * mid / 100, mid / 100)
    heavy, needed = ("range_b_percentage", "range_a_percentage")[:: 1 if held[0] > held[1] else -1]
    assert got[needed] <= got[heavy]
