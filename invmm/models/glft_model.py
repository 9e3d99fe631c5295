"""After Guéant, Lehalle and Fernandez-Tapia: Avellaneda-Stoikov with costs of execution and of inventory."""

from __future__ import annotations

from typing import Any

from .avellaneda_stoikov import AvellanedaStoikovModel


class GLFTModel(AvellanedaStoikovModel):
    """GLFT: the spread also grows with the cost of execution and with the inventory itself.

    total = BASE_SPREAD + EXECUTION_COST + INVENTORY_RISK_AVERSION × volatility² × |skew| +
    INVENTORY_PENALTY × |skew| + TERMINAL_INVENTORY_PENALTY × skew², where skew is the ratio's distance from
    TARGET_INVENTORY_RATIO; half of it for the heavy token, twice for the other, × (1 + EXECUTION_COST).
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.execution_cost = self._setting("EXECUTION_COST", 0.001)
        self.inventory_penalty = self._setting("INVENTORY_PENALTY", 0.05)
        self.terminal_penalty = self._setting("TERMINAL_INVENTORY_PENALTY", 0.2)

    def _widths(self, skew: float, volatility: float) -> tuple[float, float]:
        total = (
            self.base_spread
            + self.execution_cost
            + self.risk_aversion * volatility**2 * abs(skew)
            + self.inventory_penalty * abs(skew)
            + self.terminal_penalty * skew**2
        )
        range_a, range_b = (0.5 * total, 2.0 * total) if skew > 0 else (2.0 * total, 0.5 * total)
        return range_a * (1.0 + self.execution_cost), range_b * (1.0 + self.execution_cost)

    def _metadata(self) -> dict[str, Any]:
        return {
            "model_name": self.model_name,
            "risk_aversion": self.risk_aversion,
            "base_spread": self.base_spread,
            "volatility_window": self.volatility_window,
            "execution_cost": self.execution_cost,
            "inventory_penalty": self.inventory_penalty,
            "terminal_inventory_penalty": self.terminal_penalty,
            "glft_formula_used": True,
        }

    def get_model_info(self) -> dict[str, Any]:
        """As in `BaseInventoryModel`."""
        info = super().get_model_info()
        return {
            **info,
            "name": "GLFT",
            "description": "Avellaneda-Stoikov with costs of execution and of inventory",
            "parameters": {
                **info["parameters"],
                "execution_cost": self.execution_cost,
                "inventory_penalty": self.inventory_penalty,
                "terminal_inventory_penalty": self.terminal_penalty,
            },
            "features": [*info["features"], "execution cost", "inventory penalties"],
        }
