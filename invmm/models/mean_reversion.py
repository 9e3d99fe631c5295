"""Wider ranges while the price is far from its mean, narrower ones while it is near; blind to inventory."""

from __future__ import annotations

from typing import Any

from .base_model import BaseInventoryModel


class MeanReversionModel(BaseInventoryModel):
    """Mean reversion: one range for both sides, by the price's distance from the mean of the last samples.

    5 % × (1 − strength × distance), and + instead of − where |price − mean| / mean is above 0.1. No answer
    while there are fewer samples than MEAN_REVERSION_LOOKBACK.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.base_range = 0.05
        self.mean_reversion_strength = self._setting("MEAN_REVERSION_STRENGTH", 0.5)
        self.lookback_period = self._setting("MEAN_REVERSION_LOOKBACK", 20)

    def calculate_lp_ranges(
        self,
        token0_balance: float,
        token1_balance: float,
        spot_price: float,
        price_history: list[dict[str, float]],
        token_a_address: str,
        token_b_address: str,
        client: Any,
    ) -> dict[str, Any] | None:
        """As in `BaseInventoryModel`; None while the history is short."""
        lookback = int(self.lookback_period)
        if len(price_history) < lookback:
            return None
        total = 0.0  # added up one by one: what `sum` of floats gives depends on Python's version
        for sample in price_history[-lookback:]:
            total += sample["price"]
        mean = total / lookback
        distance = abs(spot_price - mean) / mean
        change = self.mean_reversion_strength * distance
        percentage = self.base_range * (1 + change if distance > 0.1 else 1 - change) * 100.0
        return {
            "range_a_percentage": percentage,
            "range_b_percentage": percentage,
            "inventory_ratio": 0.5,
            "target_ratio": 0.5,
            "deviation": 0.0,
            "volatility": self.calculate_volatility(price_history),
            "model_metadata": {
                "model_name": self.model_name,
                "mean_reversion_strength": self.mean_reversion_strength,
                "price_deviation": distance,
            },
        }
