"""The plainest model: a fixed range, shifted by inventory, blind to volatility."""

from __future__ import annotations

from typing import Any, Final

from .base_model import VOLATILITY_UNKNOWN, BaseInventoryModel, clamp

BASE_RANGE: Final = 0.05
SENSITIVITY: Final = 2.0
TARGET_RATIO: Final = 0.5


class SimpleModel(BaseInventoryModel):
    """Simple: 5 % on both sides; heavy token's × (1 − 2 × deviation), the other's × (1 + 2 × deviation)."""

    version = "1.0.0"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.base_range = BASE_RANGE
        self.inventory_sensitivity = SENSITIVITY
        self.target_ratio = TARGET_RATIO
        self.min_range = self._setting("MIN_RANGE_PERCENTAGE", 2.0)
        self.max_range = self._setting("MAX_RANGE_PERCENTAGE", 20.0)

    def calculate_lp_ranges(
        self,
        token0_balance: float,
        token1_balance: float,
        spot_price: float,
        price_history: list[dict[str, float]],
        token_a_address: str,
        token_b_address: str,
        client: Any,
    ) -> dict[str, Any]:
        """As in `BaseInventoryModel`. Never raises: after an error both ranges are the narrowest."""
        try:
            if not self.validate_inputs(token0_balance, token1_balance, spot_price, price_history):
                raise ValueError("Invalid input parameters")
            ratio = self.calculate_inventory_ratio(
                token0_balance, token1_balance, spot_price, token_a_address, token_b_address, client
            )
            deviation = abs(ratio - self.target_ratio)
            narrow = self.base_range * (1.0 - self.inventory_sensitivity * deviation)
            wide = self.base_range * (1.0 + self.inventory_sensitivity * deviation)
            range_a, range_b = (narrow, wide) if ratio > self.target_ratio else (wide, narrow)
            low, high = self.min_range / 100.0, self.max_range / 100.0
            return {
                "range_a_percentage": clamp(range_a, low, high) * 100.0,
                "range_b_percentage": clamp(range_b, low, high) * 100.0,
                "inventory_ratio": ratio,
                "target_ratio": self.target_ratio,
                "deviation": deviation,
                "volatility": self.calculate_volatility(price_history),
                "model_metadata": {
                    "model_name": self.model_name,
                    "base_range": self.base_range,
                    "inventory_sensitivity": self.inventory_sensitivity,
                    "simple_logic_used": True,
                },
            }
        except Exception as error:
            return self._fallback(error, self.target_ratio, VOLATILITY_UNKNOWN, self.min_range)

    def get_model_info(self) -> dict[str, Any]:
        """As in `BaseInventoryModel`."""
        return {
            "name": "Simple",
            "description": "a fixed range, narrower for the heavy token; no volatility",
            "version": self.version,
            "parameters": {
                "base_range": self.base_range,
                "inventory_sensitivity": self.inventory_sensitivity,
                "target_ratio": self.target_ratio,
                "min_range_percentage": self.min_range,
                "max_range_percentage": self.max_range,
            },
            "features": ["inventory skew", "bounded ranges"],
        }
