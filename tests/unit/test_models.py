"""The models that ship, their base and their factory. GLFT and mean reversion are held to figures by hand."""

from __future__ import annotations

import importlib.metadata
import math
from types import SimpleNamespace

import pytest

from invmm.models import (
    AvellanedaStoikovModel,
    BaseInventoryModel,
    GLFTModel,
    MeanReversionModel,
    ModelFactory,
    SimpleModel,
)
from invmm.models.avellaneda_stoikov import PARKINSON_TEXTBOOK
from invmm.models.base_model import RESULT_KEYS

MICRO = 1_000_000
CLIENT = SimpleNamespace(get_token_decimals=lambda _address: 6)


def ranges(model, up, down, spot=1.0, history=()):
    got = model.calculate_lp_ranges(up * MICRO, down * MICRO, spot, list(history), "up", "down", CLIENT)
    return got["range_a_percentage"], got["range_b_percentage"]


def flat(price, count=20):
    return [dict.fromkeys(("price", "high", "low", "open", "close"), price)] * count


@pytest.fixture
def factory(monkeypatch):
    """The factory, as it is in a new process."""
    monkeypatch.setattr(ModelFactory, "_models", dict(ModelFactory._models))
    monkeypatch.setattr(ModelFactory, "_broken", {})
    monkeypatch.setattr(ModelFactory, "_searched", False)
    return ModelFactory


@pytest.mark.parametrize(
    ("up", "down", "expected"), [(75, 25, (2.5, 7.5)), (75, 0, (2.0, 10.0)), (50, 50, (5.0, 5.0))]
)
def test_simple_model_answers_as_the_original_was_seen_to(up, down, expected):
    assert ranges(SimpleModel(SimpleNamespace()), up, down) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("up", "down", "expected"),
    [
        # 0.01 + 0.001 + 0.1·0.02²·0.5 + 0.05·0.5 + 0.2·0.5² = 0.08602; ×0.5 and ×2, ×1.001
        (100, 0, (4.305301, 17.221204)),
        (0, 100, (17.221204, 4.305301)),
        # 0.011; twice it is 2.2022 % with the cost, half of it is below 2 %; balanced counts as Down heavy
        (50, 50, (2.2022, 2.0)),
        # 0.011 + 0.00001 + 0.0125 + 0.0125 = 0.03601; half of it is below 2 %
        (75, 25, (2.0, 7.209202)),
    ],
)
def test_glft_answers_as_computed_by_hand(up, down, expected):
    assert ranges(GLFTModel(SimpleNamespace()), up, down) == pytest.approx(expected, rel=1e-12)


def test_glft_is_dearer_with_its_parameters():
    config = SimpleNamespace(EXECUTION_COST=0.01, INVENTORY_PENALTY=0.1, TERMINAL_INVENTORY_PENALTY=0.0)
    # 0.01 + 0.01 + 0.00002 + 0.05 = 0.07002; ×0.5 ×1.01 = 0.0353601, ×2 ×1.01 = 0.1414404
    assert ranges(GLFTModel(config), 1, 0) == pytest.approx((3.53601, 14.14404), rel=1e-12)


@pytest.mark.parametrize(
    ("spot", "expected"),
    [(0.5, 5.0), (0.54, 4.8), (0.46, 4.8), (0.6, 5.5)],  # 5·(1−0.5·0.08), 5·(1+0.5·0.2)
)
def test_mean_reversion_answers_as_computed_by_hand(spot, expected):
    model = MeanReversionModel(SimpleNamespace())
    got = ranges(model, 1, 1, spot, flat(0.5))
    assert got == pytest.approx((expected, expected), rel=1e-12)


def test_mean_reversion_says_nothing_while_its_history_is_short():
    model = MeanReversionModel(SimpleNamespace())
    assert model.calculate_lp_ranges(1, 1, 0.5, flat(0.5, 19), "up", "down", CLIENT) is None
    assert model.get_model_info()["name"] == "MeanReversionModel"


def test_parkinson_volatility_answers_as_the_original_was_seen_to():
    history = [{"high": 1.0001, "low": 1.0}, {"high": 1.0002, "low": 1.0}]
    original = AvellanedaStoikovModel(SimpleNamespace()).calculate_realized_volatility(history)
    assert original == pytest.approx(0.05731, abs=5e-6)
    textbook = AvellanedaStoikovModel(SimpleNamespace(PARKINSON_FACTOR=PARKINSON_TEXTBOOK))
    ratio = textbook.calculate_realized_volatility(history) / original
    assert ratio == pytest.approx(math.sqrt(1 / math.log(2)), rel=1e-12)  # √(1/(4 ln 2) / (1/4))


def test_parkinson_volatility_takes_close_and_open_where_high_and_low_say_nothing():
    model = AvellanedaStoikovModel(SimpleNamespace())
    history = [{"open": 1.0, "close": math.exp(1e-8)}, {"high": 0.0, "low": 0.0, "open": 1.0, "close": 1.0}]
    # mean of 1e-8 and 0, × 525600, the root
    assert model.calculate_realized_volatility(history) == pytest.approx(math.sqrt(5e-9 * 525_600), rel=1e-7)
    assert model.calculate_realized_volatility([{}, {}]) == 0.02


@pytest.mark.parametrize(
    ("arguments", "valid"),
    [
        ((0, 0, 0.5, []), True),
        ((-1, 0, 0.5, []), False),
        ((0, -1, 0.5, []), False),
        ((0, 0, 0.0, []), False),
        ((0, 0, 0.5, ()), False),
    ],
)
def test_inputs_are_valid_when_nothing_is_negative_and_the_history_is_a_list(arguments, valid):
    model = SimpleModel(SimpleNamespace())
    assert model.validate_inputs(*arguments) is valid


def test_a_built_in_model_falls_back_to_its_narrowest_range_after_an_error():
    config = SimpleNamespace(MIN_RANGE_PERCENTAGE=3.0, DEFAULT_VOLATILITY=0.5, TARGET_INVENTORY_RATIO=0.4)
    for model, volatility, target in (
        (AvellanedaStoikovModel(config), 0.5, 0.4),
        (GLFTModel(config), 0.5, 0.4),
        (SimpleModel(config), 0.02, 0.5),
    ):
        got = model.calculate_lp_ranges(1, 1, 0.5, [{}, {}, {}], "up", "down", CLIENT)
        assert (got["range_a_percentage"], got["range_b_percentage"]) == (3.0, 3.0)
        assert (got["volatility"], got["target_ratio"]) == (volatility, target)
        assert (got["inventory_ratio"], got["deviation"]) == (0.5, 0.0)
        assert got["model_metadata"]["fallback_used"] is True
        assert got["model_metadata"]["error"] == "'price'"


def test_volatility_is_bounded_and_0_02_without_two_returns():
    model = SimpleModel(SimpleNamespace())
    assert [model.calculate_volatility(flat(0.5, n)) for n in (0, 1, 2, 3)] == [0.02, 0.02, 0.02, 0.01]
    assert model.calculate_volatility([{"price": p} for p in (0.1, 0.9, 0.1)]) == 2.0
    # Returns of +1e-5 and −1e-5 alternating, four of them: deviation 1e-5·√(4/3)
    prices = [{"price": math.exp(1e-5 * (n % 2))} for n in range(5)]
    expected = 1e-5 * math.sqrt(4 / 3) * math.sqrt(525_600)
    assert model.calculate_volatility(prices) == pytest.approx(max(expected, 0.01), rel=1e-9)


def test_a_model_of_an_unknown_name_is_refused_with_the_names_there_are(factory):
    with pytest.raises(ValueError, match=r"AvellanedaStoikovModel, SimpleModel, .*found 'Nothing'"):
        factory.create_model("Nothing", SimpleNamespace())
    with pytest.raises(ValueError, match="found 'Nothing'"):
        factory.get_model_info("Nothing")


@pytest.mark.parametrize("found", [int, SimpleModel(SimpleNamespace()), None, "SimpleModel"])
def test_only_a_subclass_of_the_base_can_be_registered(factory, found):
    with pytest.raises(ValueError, match="expected a subclass of BaseInventoryModel"):
        factory.register_model("X", found)
    assert "X" not in factory.get_available_models()


def test_every_model_that_ships_is_listed_and_says_what_it_is(factory):
    listed = factory.get_available_models()
    assert list(listed) == ["AvellanedaStoikovModel", "SimpleModel", "GLFTModel", "MeanReversionModel"]
    for name, description in listed.items():
        info = factory.get_model_info(name)
        assert info["description"] == description
        assert set(info) == {"name", "description", "version", "parameters", "features"}
        assert isinstance(factory.create_model(name, SimpleNamespace()), BaseInventoryModel)


def test_the_config_chooses_where_no_name_is_given(factory, monkeypatch):
    assert factory.create_model(None, SimpleNamespace()).model_name == "AvellanedaStoikovModel"
    assert factory.create_model(config=SimpleNamespace(INVENTORY_MODEL="GLFTModel")).model_name == "GLFTModel"
    monkeypatch.setenv("INVENTORY_MODEL", "SimpleModel")
    assert factory.create_model().model_name == "SimpleModel"


class Answering(BaseInventoryModel):
    """Answers with nothing.

    Not ever.
    """

    def calculate_lp_ranges(self, *arguments):
        return None


def test_installed_packages_add_models_and_a_broken_one_is_told_not_raised(factory, monkeypatch):
    points = [
        importlib.metadata.EntryPoint("Theirs", f"{__name__}:Answering", "invmm.models"),
        importlib.metadata.EntryPoint("Lost", "no_such_module:Model", "invmm.models"),
        importlib.metadata.EntryPoint("NoModel", "builtins:int", "invmm.models"),
        importlib.metadata.EntryPoint("SimpleModel", "no_such_module:Model", "invmm.models"),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: points)
    listed = factory.get_available_models()
    assert listed["Theirs"] == "Answers with nothing."
    assert listed["Lost"].startswith("cannot be loaded: no_such_module:Model: ModuleNotFoundError")
    assert listed["NoModel"].startswith("cannot be loaded: builtins:int: ValueError")
    assert listed["SimpleModel"].startswith("a fixed range")  # what is there goes first
    assert isinstance(factory.create_model("Theirs", SimpleNamespace()), Answering)
    with pytest.raises(ValueError, match="installed, but it cannot be loaded"):
        factory.create_model("Lost", SimpleNamespace())


def test_results_have_the_promised_keys():
    for kind in (AvellanedaStoikovModel, SimpleModel, GLFTModel, MeanReversionModel):
        got = kind(SimpleNamespace()).calculate_lp_ranges(1, 1, 0.5, flat(0.5), "up", "down", CLIENT)
        assert tuple(got) == RESULT_KEYS
