"""Policies by name: what `--policy` and `[strategy] policy` may say."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Final

from invmm._ext.model_policy import MarketClient, ModelPolicy
from invmm._ext.solver import InventoryMMPolicy, Policy
from invmm._ext.touch import JoinTouchPolicy
from invmm.errors import ConfigError, origin_of
from invmm.settings import POLICIES, ModelSettings, Settings, StrategySettings
from invmm.strategy.pairs import PairsTerms as PairsTerms  # by this path, too
from invmm.strategy.pairs import pairs_policy
from invmm.types import MICRO

LONG: Final = 1_024  # samples

MODELS: Final = {
    "avellaneda_stoikov": "AvellanedaStoikovModel",
    "simple": "SimpleModel",
    "glft": "GLFTModel",
    "model": "",
}
"""Policies that quote as an inventory model says, and its name; of `model`, the one that is chosen."""


def make_policy(
    name: str,
    settings: StrategySettings,
    model: ModelSettings | None = None,
    pairs: PairsTerms | None = None,
) -> Policy:
    """The policy of that name; ConfigError names the ones there are.

    `model` is asked by those of `MODELS` only, and is complete: the environment is not read (`resolved`).
    `pairs`: what `pairs` needs beyond the settings of the strategy; the defaults if omitted.
    """
    if name == "pairs":
        return pairs_policy(settings, pairs or PairsTerms.new())
    if name in MODELS:
        return _model_policy(name, settings, model or ModelSettings())
    if name == "do_nothing":
        return Policy()
    if name == "join_touch":
        return JoinTouchPolicy(settings.num_levels, settings.order_size, settings.max_imbalance)
    if name not in POLICIES:
        raise ConfigError(f"policy: expected one of {', '.join(POLICIES)}, found {name!r}")
    return InventoryMMPolicy(
        num_levels=settings.num_levels,
        base_offset=settings.base_offset,
        min_profit_margin=settings.min_profit_margin,
        max_imbalance=settings.max_imbalance,
        order_size=settings.order_size,
        spread_per_level=settings.spread_per_level,
        compatible=name == "inventory_mm_compatible",
    )


def _model_policy(name: str, settings: StrategySettings, model: ModelSettings) -> ModelPolicy:
    from invmm.models.config import Config  # not needed by the other policies
    from invmm.models.fast import fast_model
    from invmm.models.model_factory import ModelFactory

    config = Config(model.params, env_file=None, environment={})
    try:
        made = ModelFactory.create_model(MODELS[name] or None, config)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return ModelPolicy(
        fast_model(made),
        name=name,
        num_levels=settings.num_levels,
        order_size=settings.order_size,
        spread_per_level=settings.spread_per_level,
        max_imbalance=settings.max_imbalance,
        sample_ms=model.sample_ms,
    )


def resolved(
    settings: Settings, policy: str | None = None, *, is_command: bool = False
) -> tuple[Settings, str]:
    """Settings that need no environment any more, and the name of the policy (that of the settings, if None).

    For a policy of `MODELS`, every parameter of its model is looked for in the environment and in `.env` and
    written into `[model.params]`, so that a journal has them. Settings that name their INVENTORY_MODEL there
    are taken as complete, but not by a command: for its user, the environment goes before the file.

    Raises
    ------
    ConfigError
        There is no such model, or it cannot be made.
    """
    policy = policy or settings.strategy.policy
    if policy not in MODELS or ("INVENTORY_MODEL" in settings.model.params and not is_command):
        return settings, policy
    from invmm.models.config import Config
    from invmm.models.model_factory import ModelFactory

    config = Config(settings.model.params)
    try:
        model = ModelFactory.create_model(MODELS[policy] or None, config)
    except Exception as error:
        if isinstance(error, ValueError):
            raise ConfigError(str(error)) from None
        raise ConfigError(f"inventory model: cannot be made: {origin_of(error)}") from error
    # Made, and asked with a short and a long history, it has asked for the parameters of its own.
    sample = dict.fromkeys(("price", "high", "low", "open", "close"), 0.5)
    for length in (0, LONG):
        with suppress(Exception):  # told with the reason when it happens in earnest
            model.calculate_lp_ranges(MICRO, MICRO, 0.5, [sample] * length, "UP", "DOWN", MarketClient())
    return replace(settings, model=replace(settings.model, params=config.params)), policy
