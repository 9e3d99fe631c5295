"""The default model: range widths from inventory skew and variance, after Avellaneda and Stoikov."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .base_model import MINUTES_A_YEAR, BaseInventoryModel, clamp

PARKINSON_ORIGINAL: Final = 0.25
PARKINSON_TEXTBOOK: Final = 1 / (4 * math.log(2))
"""Factor of ln(high / low)² in Parkinson's variance (1980); the original rounds it to a quarter."""


class AvellanedaStoikovModel(BaseInventoryModel):
    """Avellaneda-Stoikov: the heavy token's range narrows and the other widens, more so with variance.

    total = BASE_SPREAD + INVENTORY_RISK_AVERSION × volatility² × |ratio − TARGET_INVENTORY_RATIO|; the heavy
    token gets half of it, the other one twice. A ratio at its target counts as token 1 heavy.
    """

    version = "1.0.0"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.risk_aversion = self._setting("INVENTORY_RISK_AVERSION", 0.1)
        self.target_ratio = self._setting("TARGET_INVENTORY_RATIO", 0.5)
        self.max_deviation = self._setting("MAX_INVENTORY_DEVIATION", 0.3)
        self.base_spread = self._setting("BASE_SPREAD", 0.01)
        self.volatility_window = self._setting("VOLATILITY_WINDOW_SIZE", 20)
        self.default_volatility = self._setting("DEFAULT_VOLATILITY", 0.02)
        self.min_volatility = self._setting("MIN_VOLATILITY", 0.01)
        self.max_volatility = self._setting("MAX_VOLATILITY", 2.0)
        self.parkinson_factor = self._setting("PARKINSON_FACTOR", PARKINSON_ORIGINAL)
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
            skew = ratio - self.target_ratio
            volatility = self.calculate_volatility(price_history, int(self.volatility_window))
            range_a, range_b = self._widths(skew, volatility)
            low, high = self.min_range / 100.0, self.max_range / 100.0
            return {
                "range_a_percentage": clamp(range_a, low, high) * 100.0,
                "range_b_percentage": clamp(range_b, low, high) * 100.0,
                "inventory_ratio": ratio,
                "target_ratio": self.target_ratio,
                "deviation": abs(skew),
                "volatility": volatility,
                "model_metadata": self._metadata(),
            }
        except Exception as error:
            return self._fallback(error, self.target_ratio, self.default_volatility, self.min_range)

    def _widths(self, skew: float, volatility: float) -> tuple[float, float]:
        """Both ranges as fractions, before they are bounded."""
        total = self.base_spread + self.risk_aversion * volatility**2 * abs(skew)
        return (0.5 * total, 2.0 * total) if skew > 0 else (2.0 * total, 0.5 * total)

    def _metadata(self) -> dict[str, Any]:
        return {
            "model_name": self.model_name,
            "risk_aversion": self.risk_aversion,
            "base_spread": self.base_spread,
            "volatility_window": self.volatility_window,
            "as_formula_used": True,
        }

    def calculate_realized_volatility(self, price_history: Sequence[Mapping[str, float]]) -> float:
        """Parkinson's volatility of a year from minute samples, over the last VOLATILITY_WINDOW_SIZE ones.

        Mean of PARKINSON_FACTOR × ln(high / low)² (`PARKINSON_ORIGINAL`, on request `PARKINSON_TEXTBOOK`),
        with |ln(close / open)| for a sample without a usable high and low, × 525600; the root of it, within
        MIN_VOLATILITY and MAX_VOLATILITY. DEFAULT_VOLATILITY for fewer than two samples.
        """
        if len(price_history) < 2:
            return self.default_volatility
        variances = [self._variance(sample) for sample in price_history[-int(self.volatility_window) :]]
        known = [variance for variance in variances if variance is not None]
        if not known:
            return self.default_volatility
        yearly = math.sqrt(statistics.mean(known) * MINUTES_A_YEAR)
        return clamp(yearly, self.min_volatility, self.max_volatility)

    def _variance(self, sample: Mapping[str, float]) -> float | None:
        high, low = sample.get("high", 0.0), sample.get("low", 0.0)
        if high >= low > 0:
            return self.parkinson_factor * math.log(high / low) ** 2
        before, after = sample.get("open", 0.0), sample.get("close", 0.0)
        return abs(math.log(after / before)) if before > 0 and after > 0 else None

    def get_model_info(self) -> dict[str, Any]:
        """As in `BaseInventoryModel`."""
        return {
            "name": "Avellaneda-Stoikov",
            "description": "ranges from inventory skew and variance, bounded; Parkinson volatility beside it",
            "version": self.version,
            "parameters": {
                "risk_aversion": self.risk_aversion,
                "target_ratio": self.target_ratio,
                "max_deviation": self.max_deviation,
                "base_spread": self.base_spread,
                "volatility_window": self.volatility_window,
                "min_range_percentage": self.min_range,
                "max_range_percentage": self.max_range,
            },
            "features": ["inventory skew", "volatility", "Parkinson volatility", "bounded ranges"],
        }
