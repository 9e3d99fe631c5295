"""Quotes as an inventory model says: prices by hand, the model's history, answers that make no sense."""

from __future__ import annotations

import json
import math
import signal
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest

from invmm._ext.model_policy import ModelPolicy, PythonModel
from invmm.errors import ConfigError
from invmm.models import (
    AvellanedaStoikovModel,
    BaseInventoryModel,
    GLFTModel,
    MeanReversionModel,
    ModelFactory,
    SimpleModel,
)
from invmm.models.fast import fast_model
from invmm.ops.results import model_words
from invmm.replay.report import model_figures
from invmm.settings import ModelSettings, Settings
from invmm.strategy.policies import make_policy, resolved
from invmm.types import CommandKind, EventKind, OrderStatus, Reason
from tests.unit.test_solver import CANCEL, OPEN, QUOTE, TAKE, market
from tests.unit.test_step import Desk

GOOD = {
    "range_a_percentage": 4.0,
    "range_b_percentage": 10.0,
    "inventory_ratio": 0.5,
    "target_ratio": 0.5,
    "deviation": 0.0,
    "volatility": 0.5,
    "model_metadata": {},
}


class Told(BaseInventoryModel):
    """Answers with what it was told to, and remembers what it was asked."""

    def __init__(self, answer=None):
        super().__init__(SimpleNamespace())
        self.answer = GOOD if answer is None else answer
        self.asked = []

    def calculate_lp_ranges(self, *arguments):
        self.asked.append(arguments)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def quotes(policy, view):
    """Up prices, Down prices, reasons."""
    actions, reasons, _ = policy.decide(view)
    assert not (actions["kind"] == TAKE).any()
    chosen = actions[actions["kind"] == QUOTE]
    return [[int(p) for p in chosen["price_e4"][chosen["token"] == token]] for token in (0, 1)], reasons


def up_at(mid_e4, held=(0, 0), **fields):
    """A market whose Up is quoted a cent on both sides of `mid_e4`."""
    return market(up_ask=mid_e4 + 100, down_ask=10_100 - mid_e4, held=held, **fields)


def simple(**settings):
    return ModelPolicy(fast_model(SimpleModel(SimpleNamespace())), **settings)


def test_both_tokens_are_bid_for_as_far_below_their_value_as_the_model_says():
    # Balanced: 5 % each. 0.50 × 0.95 = 0.475, floored to a cent; levels a cent apart.
    assert quotes(simple(), up_at(5_000)) == ([[4_700, 4_600, 4_500], [4_700, 4_600, 4_500]], (0, 0))


def test_the_needed_token_takes_the_narrow_range_and_the_heavy_one_the_wide():
    # Ratio 0.75: 2.5 % and 7.5 %. Down, needed: 0.50 × 0.975 = 0.4875. Up: 0.50 × 0.925 = 0.4625.
    (up, down), _ = quotes(simple(num_levels=1), up_at(5_000, held=(750, 250)))
    assert (up, down) == ([4_600], [4_800])
    (up, down), _ = quotes(simple(num_levels=1), up_at(5_000, held=(250, 750)))
    assert (up, down) == ([4_800], [4_600])


@pytest.mark.parametrize(
    ("mid", "expected"),
    [(8_000, ([7_600], [1_900])), (2_000, ([1_900], [7_600])), (5_000, ([4_700], [4_700]))],
)
def test_matched_pairs_are_balanced_at_every_price(mid, expected):
    # 0.80 × 0.95 = 0.76 and 0.20 × 0.95 = 0.19: 5 % on both sides whatever the price.
    assert quotes(simple(num_levels=1), up_at(mid, held=(60, 60)))[0] == list(expected)


def test_the_model_is_asked_in_the_terms_of_the_original():
    told = Told()
    policy = ModelPolicy(PythonModel(told))
    quotes(policy, up_at(8_000, held=(100, 25)))
    balance0, balance1, spot, history, address0, address1, client = told.asked[0]
    assert (balance0, balance1, spot, history) == (100_000_000, 20_000_000, 0.8, [])
    assert type(balance0) is type(balance1) is int
    assert (client.get_token_decimals(address0), client.get_token_decimals(address1)) == (6, 6)
    ratio = told.calculate_inventory_ratio(balance0, balance1, spot, address0, address1, client)
    assert ratio == pytest.approx(0.8)  # (1 + δ)/2 with δ = 75/125


def test_a_balance_of_down_is_rounded_to_the_nearest_micro_share():
    told = Told()
    view = up_at(3_300)
    view["position_micro"][1] = 5_000_005  # × 0.33 = 1 650 001.65
    quotes(ModelPolicy(PythonModel(told)), view)
    assert told.asked[0][1] == 1_650_002


def test_range_a_is_the_offset_of_down_and_range_b_that_of_up():
    # Up 0.50 × 0.90, Down 0.50 × 0.96.
    policy = ModelPolicy(PythonModel(Told()), num_levels=1)
    assert quotes(policy, up_at(5_000))[0] == [[4_500], [4_800]]


@pytest.mark.parametrize(
    ("changed", "settings", "up", "down", "reasons"),
    [
        ({"range_b_percentage": 100.0}, {}, [], [4_800], (Reason.BELOW_MIN_PRICE, 0)),
        ({"range_b_percentage": 1e300}, {}, [], [4_800], (Reason.BELOW_MIN_PRICE, 0)),
        ({"range_b_percentage": 98.5}, {}, [], [4_800], (Reason.BELOW_MIN_PRICE, 0)),
        ({}, {"num_levels": 0}, [], [], (Reason.NOT_WANTED, Reason.NOT_WANTED)),
        ({}, {"order_size": 4.0}, [], [], (Reason.BELOW_MIN_SIZE, Reason.BELOW_MIN_SIZE)),
        # Both at fair value would be minted against each other: one tick less than a dollar.
        ({"range_a_percentage": 0.0, "range_b_percentage": 0.0}, {}, [4_900], [5_000], (0, 0)),
    ],
)
def test_a_quote_that_cannot_be_has_its_reason(changed, settings, up, down, reasons):
    policy = ModelPolicy(PythonModel(Told(GOOD | changed)), **{"num_levels": 1} | settings)
    assert quotes(policy, up_at(5_000)) == ([up, down], reasons)


def test_of_two_bids_that_would_meet_the_heavy_token_gives_way():
    told = Told(GOOD | {"range_a_percentage": 0.0, "range_b_percentage": 0.0})
    policy = ModelPolicy(PythonModel(told), num_levels=1)
    assert quotes(policy, up_at(5_000, held=(10, 20)))[0] == [[5_000], [4_900]]


def test_no_bid_meets_an_ask_of_either_book():
    told = Told(GOOD | {"range_a_percentage": 0.0, "range_b_percentage": 0.0})
    policy = ModelPolicy(PythonModel(told), num_levels=1)
    view = up_at(5_000)
    view["top"][1]["bid_e4"] = 5_100  # Down is bid for at 0.51: Up is offered at 0.49
    assert quotes(policy, view)[0] == [[4_800], [5_000]]


def test_the_heavy_token_is_no_longer_bid_for_at_the_limit_of_imbalance():
    # 240 ahead of a ladder of 300: at 0.8.
    (up, down), reasons = quotes(simple(), up_at(5_000, held=(240, 0)))
    assert (up, reasons) == ([], (Reason.IMBALANCE, 0))
    assert down
    assert quotes(simple(), up_at(5_000, held=(239, 0)))[1] == (0, 0)


def test_without_a_middle_nothing_is_quoted_and_orders_are_cancelled():
    view = market(up_ask=-1, down_ask=5_000, orders=[(7, 0, 4_000, OPEN)])
    actions, reasons, _ = simple().decide(view)
    assert reasons == (Reason.NO_MID, Reason.NO_MID)
    assert [(int(a["kind"]), int(a["key"]), int(a["reason"])) for a in actions] == [
        (CANCEL, 7, Reason.NO_MID)
    ]


def test_an_order_at_its_price_is_kept():
    actions, _, _ = simple(num_levels=1).decide(
        up_at(5_000, orders=[(7, 0, 4_700, OPEN), (8, 1, 4_600, OPEN)])
    )
    assert [(int(a["kind"]), int(a["token"]), int(a["price_e4"])) for a in actions] == [
        (CANCEL, 1, 4_600),
        (QUOTE, 1, 4_700),
    ]


def test_the_history_is_sampled_from_the_middle_of_the_book():
    told = Told()
    policy = ModelPolicy(PythonModel(told), sample_ms=1_000)
    mids = {
        100_000: 5_000,
        99_700: 5_300,
        99_300: 4_800,
        99_000: 5_100,
        98_100: 5_200,
        95_500: 5_400,
        95_000: 5_000,
    }
    for ms_to_end, mid in mids.items():
        quotes(policy, up_at(mid, ms_to_end=ms_to_end))
    names = ("price", "high", "low", "open", "close")
    history = [tuple(sample[name] for name in names) for sample in told.asked[-1][3]]
    assert history == [
        (0.48, 0.53, 0.48, 0.50, 0.48),  # 100.0 s to 99.0 s before the end
        (0.52, 0.52, 0.48, 0.48, 0.52),  # opens where the last one closed
        (0.54, 0.54, 0.52, 0.52, 0.54),  # nothing was decided for two seconds: no sample of these
    ]
    assert all(tuple(sample) == names for sample in told.asked[-1][3])
    assert [len(asked[3]) for asked in told.asked] == [0, 0, 0, 1, 1, 2, 3]


def test_a_model_may_spoil_the_history_that_it_was_given():
    told = Told()
    policy = ModelPolicy(PythonModel(told), sample_ms=1_000)
    for ms_to_end in (3_000, 2_000, 1_000):
        quotes(policy, up_at(5_000, ms_to_end=ms_to_end))
        told.asked[-1][3].clear()
    quotes(policy, up_at(5_000, ms_to_end=0))
    assert len(told.asked[-1][3]) == 3


def test_the_history_holds_the_last_1024_samples():
    told = Told()
    policy = ModelPolicy(PythonModel(told), sample_ms=1)
    views = [up_at(5_000), up_at(6_000)]
    for number in range(1_100):
        views[number % 2]["ms_to_end"] = 10_000 - number
        policy.decide(views[number % 2])
        told.asked[:-1] = []
    history = told.asked[-1][3]
    assert (len(history), policy.stats()["samples"]) == (1_024, 1_099)
    assert [sample["price"] for sample in history[-3:]] == [0.5, 0.6, 0.5]


WRONG = {
    "nothing": (False, Reason.MODEL_NO_RESULT, None),
    "an error": (
        ZeroDivisionError("secret"),
        Reason.MODEL_ERROR,
        "ZeroDivisionError at test_model_policy.py",
    ),
    "an exit": (SystemExit(3), Reason.MODEL_ERROR, "SystemExit"),
    "a list": ([1], Reason.MODEL_NONSENSE, "expected a dict, found list"),
    "an empty answer": ({}, Reason.MODEL_NONSENSE, "range_a_percentage: expected a number, found NoneType"),
    "not a number": (
        GOOD | {"range_b_percentage": math.nan},
        Reason.MODEL_NONSENSE,
        "range_b_percentage: expected a f",
    ),
    "infinity": (GOOD | {"range_a_percentage": math.inf}, Reason.MODEL_NONSENSE, "found inf"),
    "below nothing": (GOOD | {"range_a_percentage": -0.1}, Reason.MODEL_NONSENSE, "at least 0, found -0.1"),
    "a text": (GOOD | {"range_a_percentage": "5"}, Reason.MODEL_NONSENSE, "expected a number, found str"),
    "no metadata": (
        GOOD | {"model_metadata": None},
        Reason.MODEL_NONSENSE,
        "model_metadata: expected a dict",
    ),
    "a fallback": (
        GOOD | {"model_metadata": {"fallback_used": True}},
        Reason.MODEL_FALLBACK,
        "fallback_used",
    ),
}
WRONG |= {
    f"no {name}": ({k: v for k, v in GOOD.items() if k != name}, Reason.MODEL_NONSENSE, name) for name in GOOD
}


@pytest.mark.parametrize("case", WRONG)
def test_an_answer_that_is_no_answer_stops_the_quotes_with_its_reason(case):
    answer, reason, says = WRONG[case]
    told = Told(answer)
    if answer is False:
        told.answer = None
    policy = ModelPolicy(PythonModel(told), num_levels=1)
    actions, reasons, _ = policy.decide(up_at(5_000, orders=[(7, 0, 4_500, OPEN), (8, 1, 4_800, OPEN)]))
    assert reasons == (reason, reason)
    assert [(int(a["kind"]), int(a["reason"])) for a in actions] == [(CANCEL, reason)] * 2
    last = policy.stats()["last_error"]
    assert last is None if says is None else says in last
    assert "secret" not in str(last)
    told.answer = GOOD
    assert quotes(policy, up_at(5_000)) == ([[4_500], [4_800]], (0, 0))


def test_a_number_may_be_of_any_real_type_and_the_deviation_of_any_sign():
    answer = {name: np.float32(value) for name, value in GOOD.items() if name != "model_metadata"}
    told = Told(answer | {"range_a_percentage": 4, "deviation": -0.25, "model_metadata": {"any": "thing"}})
    assert quotes(ModelPolicy(PythonModel(told), num_levels=1), up_at(5_000))[1] == (0, 0)


def test_an_interrupt_that_comes_while_a_model_thinks_is_not_lost(monkeypatch):
    heard = []
    before = signal.signal(signal.SIGINT, lambda *_: heard.append("interrupt"))
    try:
        policy = ModelPolicy(PythonModel(Told(KeyboardInterrupt())))
        assert quotes(policy, up_at(5_000))[1] == (Reason.MODEL_ERROR, Reason.MODEL_ERROR)
        while not heard:
            pass
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == ["interrupt"]


@pytest.fixture
def registered(monkeypatch):
    """A model that the factory knows as Told; the engine asks it."""
    told = Told()
    monkeypatch.setattr(ModelFactory, "_models", dict(ModelFactory._models))

    class Known(Told):
        def __new__(cls, config):
            return told

    ModelFactory.register_model("Told", Known)
    return told


TOLD = '[strategy]\npolicy = "model"\n[model.params]\nINVENTORY_MODEL = "Told"\n'


def test_the_engine_pulls_the_quotes_of_a_market_whose_model_fails_and_takes_them_up_again(registered):
    desk = Desk(TOLD)
    placed = desk.open()
    assert len(placed) == 6
    desk.accept(placed, 10)
    registered.answer = ValueError("no idea")
    pulled = desk.event(EventKind.TIMER, 200)
    assert {CommandKind(int(kind)) for kind in pulled["kind"]} == {CommandKind.CANCEL}
    assert len(pulled) == 6
    assert desk.reasons == (Reason.MODEL_ERROR, Reason.MODEL_ERROR)
    stats = desk.market.step.stats()
    assert stats["reasons"][Reason.MODEL_ERROR] == 2  # told once for each token, not once a solve
    assert stats["policy"]["last_error"].startswith("ValueError at test_model_policy.py")
    for command in pulled:
        desk.answer(command, OrderStatus.CANCELED, 210)
    registered.answer = GOOD
    again = desk.event(EventKind.TIMER, 2_000)
    assert {CommandKind(int(kind)) for kind in again["kind"]} == {CommandKind.PLACE}
    assert desk.reasons == (Reason.NONE, Reason.NONE)


def test_a_policy_counts_how_often_the_clamps_of_its_model_bind():
    policy = ModelPolicy(fast_model(AvellanedaStoikovModel(SimpleNamespace())), sample_ms=1_000)
    for second in range(5):
        # Jumps of ten cents: the volatility is beyond 2 as soon as there are two returns.
        quotes(policy, up_at(5_000 + 1_000 * (second % 2), held=(100, 0), ms_to_end=10_000 - 1_000 * second))
    counted = policy.stats()
    assert (counted["asked"], counted["answered"], counted["samples"]) == (5, 5, 4)
    assert (counted["volatility_low"], counted["volatility_high"]) == (0, 2)
    # All Up: 0.01 + 0.1·σ²·0.5; narrow is half of it: below 2 % before, 10.5 % with σ = 2; wide 2 %, 42 %.
    assert (counted["range_low"], counted["range_high"]) == (3, 2)
    figures = model_figures([counted, {}, counted])
    assert figures["answered"] == 10
    assert (figures["volatility_high"], figures["range_low"], figures["range_high"]) == (0.4, 0.3, 0.2)
    words = model_words(figures)
    assert words == (
        "AvellanedaStoikovModel: 10 of 10 questions answered; volatility clamped to its floor in 0.0%, "
        "to its ceiling in 40.0%; ranges to their floor in 30.0%, to their ceiling in 20.0%"
    )


def test_a_report_has_no_model_where_none_was_asked_and_no_shares_where_none_answered():
    assert model_figures([{}, {}]) is None
    told = Told()
    told.answer = None
    policy = ModelPolicy(PythonModel(told))
    quotes(policy, up_at(5_000))
    figures = model_figures([policy.stats()])
    assert (figures["asked"], figures["answered"], figures["range_low"]) == (1, 0, None)
    assert model_words(figures) == "Told: 0 of 1 questions answered"


@pytest.mark.parametrize("kind", [AvellanedaStoikovModel, SimpleModel, GLFTModel, MeanReversionModel])
def test_a_built_in_model_is_compiled_and_a_subclass_of_it_is_asked_itself(kind):
    config = SimpleNamespace()
    assert not isinstance(fast_model(kind(config)), PythonModel)
    assert isinstance(fast_model(type("Mine", (kind,), {})(config)), PythonModel)


def test_a_window_beyond_what_is_compiled_is_left_to_python():
    config = SimpleNamespace(VOLATILITY_WINDOW_SIZE=5_000, MEAN_REVERSION_LOOKBACK=0)
    for kind in (AvellanedaStoikovModel, GLFTModel, MeanReversionModel):
        assert isinstance(fast_model(kind(config)), PythonModel)


def test_policies_are_made_by_name_and_an_unknown_model_is_an_error_of_configuration():
    strategy, model = Settings().strategy, Settings().model
    names = {"avellaneda_stoikov": "AvellanedaStoikovModel", "simple": "SimpleModel", "glft": "GLFTModel"}
    for policy, name in (names | {"model": "AvellanedaStoikovModel"}).items():
        made = make_policy(policy, strategy, model)
        assert (made.name, made.model.name, made.sample_ms) == (policy, name, 1_000)
    with pytest.raises(ConfigError, match="found 'None such'"):
        make_policy("model", strategy, Settings.parse('[model.params]\nINVENTORY_MODEL = "None such"').model)
    with pytest.raises(ConfigError, match=r"inventory_mm, .*glft, model, .*found 'pears'"):
        make_policy("pears", strategy)


def test_what_the_environment_says_of_a_model_is_written_into_the_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("INVENTORY_MODEL=GLFTModel\nBOT_TOKEN=x\nINVENTORY_PENALTY=0.1\n")
    monkeypatch.setenv("EXECUTION_COST", "0.5")  # GLFT asks for it, and nobody else has named it
    settings, policy = resolved(Settings(), "model")
    assert policy == "model"
    assert settings.model.params["INVENTORY_MODEL"] == "GLFTModel"
    assert settings.model.params["EXECUTION_COST"] == 0.5
    assert settings.model.params["INVENTORY_PENALTY"] == 0.1
    assert "BOT_TOKEN" not in settings.model.params  # nobody asked for it
    told = json.loads(json.dumps(asdict(settings)))["model"]  # as a journal keeps it
    assert Settings(model=ModelSettings(**told)) == settings
    monkeypatch.setenv("INVENTORY_MODEL", "SimpleModel")
    assert resolved(settings, "model")[0] is settings  # complete: of a journal, for instance
    assert resolved(settings, "model", is_command=True)[0].model.params["INVENTORY_MODEL"] == "SimpleModel"
    assert resolved(settings)[0] is settings  # inventory_mm asks no model
    monkeypatch.setenv("INVENTORY_MODEL", "Other")
    with pytest.raises(ConfigError, match="found 'Other'"):
        resolved(Settings(), "model")


class Late(Told):
    """Asks for its parameters when it is asked itself."""

    def __init__(self, config):
        super().__init__()
        self.config = config

    def calculate_lp_ranges(self, *arguments):
        if len(arguments[3]) > 20:
            return GOOD | {"range_a_percentage": self.config.LATE_WIDTH}
        raise ValueError("too early")


def test_a_parameter_that_a_model_asks_for_late_is_found_before_the_engine_starts(monkeypatch):
    monkeypatch.setattr(ModelFactory, "_models", {"Late": Late})
    monkeypatch.setenv("INVENTORY_MODEL", "Late")
    monkeypatch.setenv("LATE_WIDTH", "7")
    assert resolved(Settings(), "model")[0].model.params["LATE_WIDTH"] == 7


def test_a_model_that_cannot_be_made_is_an_error_of_configuration_without_its_text(monkeypatch):
    class Broken(Told):
        def __init__(self, config):
            raise KeyError("a secret")

    monkeypatch.setattr(ModelFactory, "_models", {"Broken": Broken})
    monkeypatch.setenv("INVENTORY_MODEL", "Broken")
    with pytest.raises(ConfigError, match="cannot be made: KeyError at test_model_policy") as raised:
        resolved(Settings(), "model")
    assert "secret" not in str(raised.value)
