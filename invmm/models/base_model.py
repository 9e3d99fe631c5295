"""What an inventory model is: two balances, a price and its history in, two range widths out.

The names, arguments and results are those of AsymmetricLP, so that a model written for it runs unchanged.
"""

from __future__ import annotations

import inspect
import itertools
import math
import statistics
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final

MINUTES_A_YEAR: Final = 525_600
VOLATILITY_FLOOR: Final = 0.01
VOLATILITY_CEILING: Final = 2.0
VOLATILITY_UNKNOWN: Final = 0.02
RESULT_KEYS: Final = (
    "range_a_percentage",
    "range_b_percentage",
    "inventory_ratio",
    "target_ratio",
    "deviation",
    "volatility",
    "model_metadata",
)
"""What `calculate_lp_ranges` answers with."""


class BaseInventoryModel(ABC):
    """Base of inventory models.

    Parameters
    ----------
    config : object
        Its attributes are the settings; a model reads `getattr(self.config, "NAME", default)`.

    Attributes
    ----------
    config : object
        As given.
    model_name : str
        Name of the class.
    """

    def __init__(self, config: Any) -> None:
        self.config = config
        self.model_name = type(self).__name__

    @abstractmethod
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
        """How far from the spot price each side is quoted.

        Parameters
        ----------
        token0_balance, token1_balance : int
            Balances in their smallest units.
        spot_price : float
            Price of token 0 in token 1.
        price_history : list of dict
            Samples, oldest first, each with `price`, `high`, `low`, `open` and `close`.
        token_a_address, token_b_address : str
            What `client.get_token_decimals` is asked with for token 0 and token 1.
        client : object
            Has `get_token_decimals(address) -> int`.

        Returns
        -------
        dict or None
            `RESULT_KEYS`: the two ranges in percent of the price, the share of token 0 in the whole value,
            its target, the distance between them, the volatility of a year, and a dict of the model's own.
            None: no opinion, nothing is quoted.
        """

    def get_model_info(self) -> dict[str, Any]:
        """`name`, `description`, `version`, `parameters` and `features`, for people.

        This one is read off the class: its docstring, and the plain numbers and texts it was made with.
        """
        kind = type(self)
        doc = inspect.getdoc(kind) if kind.__doc__ else None
        plain = {
            name: value
            for name, value in vars(self).items()
            if not name.startswith("_") and name != "model_name" and isinstance(value, int | float | str)
        }
        return {
            "name": kind.__name__,
            "description": doc.splitlines()[0] if doc else "no description",
            "version": str(getattr(kind, "version", "1.0.0")),
            "parameters": plain,
            "features": [],
        }

    def validate_inputs(
        self, token0_balance: float, token1_balance: float, spot_price: float, price_history: object
    ) -> bool:
        """Whether no balance is below 0, the price is above 0 and the history is a list."""
        if token0_balance < 0 or token1_balance < 0 or spot_price <= 0:
            return False
        return isinstance(price_history, list)

    def calculate_inventory_ratio(
        self,
        token0_balance: float,
        token1_balance: float,
        spot_price: float,
        token_a_address: str,
        token_b_address: str,
        client: Any,
    ) -> float:
        """Share of token 0 in the value of both, 0 to 1; 0.5 when there is nothing."""
        value0: float = token0_balance / 10 ** client.get_token_decimals(token_a_address) * spot_price
        value1: float = token1_balance / 10 ** client.get_token_decimals(token_b_address)
        total = value0 + value1
        return 0.5 if total == 0 else value0 / total

    def calculate_volatility(self, price_history: Sequence[Mapping[str, float]], window: int = 20) -> float:
        """Volatility of a year, if the samples are minutes: sample deviation of the log returns between the
        last `window` prices × √525600, within 0.01 and 2; 0.02 for fewer than two returns.
        """
        prices = [sample["price"] for sample in price_history[-window:]]
        returns = [math.log(after / before) for before, after in itertools.pairwise(prices)]
        if len(returns) < 2:
            return VOLATILITY_UNKNOWN
        yearly = statistics.stdev(returns) * math.sqrt(MINUTES_A_YEAR)
        return max(VOLATILITY_FLOOR, min(VOLATILITY_CEILING, yearly))

    def _setting(self, name: str, default: float) -> float:
        value: float = getattr(self.config, name, default)
        return value

    def _fallback(
        self, error: Exception, target: float, volatility: float, percentage: float
    ) -> dict[str, Any]:
        """What a built-in model answers with after an error: `fallback_used` in its metadata says so."""
        return {
            "range_a_percentage": percentage,
            "range_b_percentage": percentage,
            "inventory_ratio": 0.5,
            "target_ratio": target,
            "deviation": 0.0,
            "volatility": volatility,
            "model_metadata": {
                "model_name": self.model_name,
                "error": str(error),
                "fallback_used": True,
            },
        }


def clamp(value: float, low: float, high: float) -> float:
    """`value` within `low` and `high`; `low` wins where they are out of order."""
    return max(low, min(high, value))
