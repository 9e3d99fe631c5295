"""Axes of a sweep: what may be varied, over which values, and what is said about anything else."""

import pytest

from invmm.errors import ConfigError
from invmm.replay.entrants import entrant
from invmm.research.space import (
    check_point,
    conditions_at,
    grid,
    parse_axis,
    parse_space,
    settings_at,
    told,
)
from invmm.settings import Settings

BASE = Settings()


def axis(text, policy="pairs"):
    return parse_axis(text, BASE, entrant(policy))


def test_values_have_the_type_of_their_setting():
    assert axis("strategy.order_size=20,50").choices == (20.0, 50.0)
    assert [type(value) for value in axis("strategy.order_size=20,50").choices] == [float, float]
    assert axis("strategy.num_levels=1,3").choices == (1, 3)
    assert axis("pairs.sells=true,False").choices == (True, False)
    assert axis("engine.queue_model=power2,power3").choices == ("power2", "power3")


def test_a_range_is_searched_and_a_range_with_a_number_is_a_list():
    found = axis("pairs.min_edge=0.001:0.1:log")
    assert (found.choices, found.low, found.high, found.log) == ((), 0.001, 0.1, True)
    assert axis("pairs.min_edge=0.001:0.1:3:log").choices == pytest.approx((0.001, 0.01, 0.1))
    assert axis("strategy.num_levels=1:4:4").choices == (1, 2, 3, 4)
    assert axis("strategy.num_levels=1:3:9").choices == (1, 2, 3)  # no more than there are
    assert axis("strategy.order_size=10:30:3").choices == (10.0, 20.0, 30.0)


def test_a_model_s_parameter_may_be_named_with_and_without_its_place():
    short, long = (axis(f"{name}=0.01,0.02", "glft") for name in ("BASE_SPREAD", "model.params.BASE_SPREAD"))
    assert short == long
    assert short.name == "model.params.BASE_SPREAD"
    assert settings_at(BASE, {short.name: 0.02}).model.params == {"BASE_SPREAD": 0.02}
    assert axis("VOLATILITY_WINDOW_SIZE=10:30", "glft").kind is int
    assert axis("BASE_SPREAD=0.01,1", "glft").choices == (0.01, 1.0)


def test_a_point_becomes_settings_and_conditions():
    point = {"strategy.order_size": 20.0, "pairs.min_edge": 0.01, "conditions.latency_ms": 5.0}
    found = settings_at(BASE, point)
    assert (found.strategy.order_size, found.pairs.min_edge) == (20.0, 0.01)
    assert found.engine == BASE.engine
    assert (conditions_at(point).latency_ms, conditions_at({}).latency_ms) == (5.0, 50.0)
    assert told(point) == "strategy.order_size=20.0, pairs.min_edge=0.01, conditions.latency_ms=5.0"


def test_a_grid_is_every_combination_with_the_last_axis_fastest():
    axes = parse_space(["strategy.num_levels=1,2", "pairs.sells=true,false"], BASE, entrant("pairs"))
    assert [tuple(point.values()) for point in grid(axes)] == [(1, True), (1, False), (2, True), (2, False)]


@pytest.mark.parametrize(
    ("text", "policy", "words"),
    [
        ("strategy.order_size", "pairs", "expected name=a,b,c or name=low:high"),
        ("strategy.ordersize=5", "pairs", "unknown key, expected one of policy, num_levels"),
        ("stratgy.order_size=5", "pairs", "expected a setting of the tables engine, risk, strategy"),
        ("wallet.funder=x", "pairs", r"\[wallet\] does not reach a replayed market"),
        ("strategy.order_size=1,20", "pairs", "expected 5…100000 shares, found 1.0"),
        ("strategy.order_size=1:20", "pairs", "expected 5…100000 shares, found 1.0"),
        ("strategy.order_size=many", "pairs", "expected a number, found 'many'"),
        ("strategy.num_levels=1.5", "pairs", "expected a whole number"),
        ("pairs.sells=yes", "pairs", "expected true or false"),
        ("pairs.sells=true:false", "pairs", "expected low:high"),
        ("engine.queue_model=fifo", "pairs", "expected one of conservative, proportional"),
        ("strategy.order_size=20,20", "pairs", "expected each value once"),
        ("strategy.order_size=20:10", "pairs", "expected low below high, found 20.0 and 10.0"),
        ("strategy.base_offset=0:0.1:log", "pairs", "expected low below high and above 0"),
        ("strategy.order_size=10:20:1", "pairs", "expected a number of values of at least 2, found '1'"),
        ("strategy.order_size=10:20:30:40", "pairs", "expected low:high"),
        ("strategy.policy=pairs,simple", "pairs", "expected --policy"),
        ("pairs.min_edge=0.01", "simple", "read by pairs only, found --policy simple"),
        ("BASE_SPREAD=0.01", "pairs", "read by avellaneda_stoikov, simple, glft, model only"),
        ("BASE_SPRED=0.01", "glft", "expected a parameter that the model of glft asks for: .*BASE_SPREAD"),
        ("BASE_SPREAD=0.01,wide", "glft", "expected values of one kind"),
        ("INVENTORY_MODEL=GLFTModel", "glft", "one sweep has one model"),
        ("sim.taker_delay_ms=0,1", "pairs", "expected conditions.taker_delay_ms"),
        ("sim.speed=1", "pairs", "expected a setting that reaches a replayed market"),
        ("conditions.latency=5", "pairs", "unknown condition, expected one of queue_model, latency_ms"),
        ("conditions.latency_ms=-1", "pairs", "latency_ms: expected 0 to 5000, found -1"),
        ("conditions.queue_model=fifo", "pairs", "conservative"),
    ],
)
def test_what_cannot_be_varied_is_named_with_what_can(text, policy, words):
    with pytest.raises(ConfigError, match=words):
        axis(text, policy)


def test_an_axis_comes_once_and_a_space_has_one_at_least():
    with pytest.raises(ConfigError, match=r"strategy\.num_levels: expected once, found 2 times"):
        parse_space(["strategy.num_levels=1", "strategy.num_levels=2"], BASE, entrant("pairs"))
    with pytest.raises(ConfigError, match="expected at least one"):
        parse_space([], BASE, entrant("pairs"))


def test_a_grid_takes_no_range_and_not_too_much():
    who = entrant("pairs")
    with pytest.raises(ConfigError, match=r"pairs.min_edge: expected values .* for --grid, found a range"):
        grid(parse_space(["pairs.min_edge=0.01:0.1"], BASE, who))
    many = [f"pairs.{name}=1:20:1000" for name in ("patience_s", "narrow_s")]
    with pytest.raises(ConfigError, match="expected at most 100,000 combinations, found 1,000,000"):
        grid(parse_space(many, BASE, who))


def test_what_the_policy_s_text_sets_cannot_be_varied_as_well():
    who = entrant("pairs:min_edge=0.01")
    with pytest.raises(ConfigError, match=r"--policy pairs:min_edge=0\.01 sets it, too"):
        check_point(BASE, who, {"pairs.min_edge": 0.02})
    check_point(BASE, who, {"strategy.order_size": 20.0})


def test_a_policy_that_cannot_be_made_is_told_before_anything_runs():
    who = entrant("model:INVENTORY_MODEL=NoSuchModel")
    with pytest.raises(ConfigError, match="expected one of AvellanedaStoikovModel"):
        check_point(BASE, who, {"strategy.order_size": 20.0})
