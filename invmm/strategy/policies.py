"""Policies by name: what `--policy` and `[strategy] policy` may say."""

from __future__ import annotations

from collections.abc import Callable

from invmm._ext.solver import InventoryMMPolicy, Policy
from invmm.errors import ConfigError
from invmm.settings import StrategySettings


def _inventory_mm(settings: StrategySettings, *, compatible: bool) -> Policy:
    return InventoryMMPolicy(
        num_levels=settings.num_levels,
        base_offset=settings.base_offset,
        min_profit_margin=settings.min_profit_margin,
        max_imbalance=settings.max_imbalance,
        order_size=settings.order_size,
        spread_per_level=settings.spread_per_level,
        compatible=compatible,
    )


POLICIES: dict[str, Callable[[StrategySettings], Policy]] = {
    "inventory_mm": lambda settings: _inventory_mm(settings, compatible=False),
    "inventory_mm_compatible": lambda settings: _inventory_mm(settings, compatible=True),
}


def make_policy(name: str, settings: StrategySettings) -> Policy:
    """The policy of that name; ConfigError names the ones there are."""
    if name not in POLICIES:
        raise ConfigError(f"policy: expected one of {', '.join(POLICIES)}, found {name!r}")
    return POLICIES[name](settings)
