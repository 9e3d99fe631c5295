"""Decides when matched Up and Down shares are merged back into dollars.

It only decides; the settlement stage executes.
The original's rule, kept as it is: enough pairs, not too imbalanced, bought cheaply enough. A merge returns
$1 per pair whatever the pair cost, so the cost test protects nothing; it is there because the original has
it and its answers are reproduced.
"""

from __future__ import annotations

from dataclasses import dataclass

from invmm.strategy.vocabulary import InventorySnapshot, check_number

COST_EPSILON = 1e-9
"""Dollars below its limit that the combined cost must stay, so that equality up to rounding is refused."""


@dataclass(frozen=True, slots=True)
class MergerConfig:
    """When to merge.

    Parameters
    ----------
    min_merge_size : float
        Least number of pairs, above 0 shares.
    max_merge_imbalance : float
        Largest |imbalance|, above 0 and at most 1.
    max_combined_cost : float
        The pair's combined average price must be below this many dollars; above 0 and below 1.

    Examples
    --------
    >>> MergerConfig().max_combined_cost
    0.99
    >>> MergerConfig(min_merge_size=0)
    Traceback (most recent call last):
    ValueError: min_merge_size: expected more than 0 shares, got 0
    """

    min_merge_size: float = 10.0
    max_merge_imbalance: float = 0.3
    max_combined_cost: float = 0.99

    def __post_init__(self) -> None:
        check_number("min_merge_size", self.min_merge_size, 0.0, 1e9, "shares")
        check_number("max_merge_imbalance", self.max_merge_imbalance, 0.0, 1.0, "of the inventory")
        check_number("max_combined_cost", self.max_combined_cost, 0.0, 1.0, "dollars per pair")
        if self.min_merge_size == 0:
            raise ValueError(f"min_merge_size: expected more than 0 shares, got {self.min_merge_size!r}")
        if self.max_merge_imbalance == 0:
            raise ValueError(f"max_merge_imbalance: expected more than 0, got {self.max_merge_imbalance!r}")
        if self.max_combined_cost in (0, 1):
            raise ValueError(
                f"max_combined_cost: expected above 0 and below 1 dollar, got {self.max_combined_cost!r}"
            )


@dataclass(frozen=True, slots=True)
class MergeDecision:
    """Whether to merge, how many pairs, and what they earn over what they cost.

    Examples
    --------
    >>> MergeDecision(False).pairs_to_merge
    0.0
    """

    should_merge: bool
    pairs_to_merge: float = 0.0
    expected_profit: float = 0.0
    reason: str = ""


class Merger:
    """Asks, for an inventory, whether its pairs are to be merged now.

    Examples
    --------
    >>> held = InventorySnapshot(up_size=100.0, up_avg_price=0.5, down_size=80.0, down_avg_price=0.375)
    >>> Merger().check_merge(held)
    MergeDecision(should_merge=True, pairs_to_merge=80.0, expected_profit=10.0, reason='')
    >>> Merger(MergerConfig(min_merge_size=90.0)).check_merge(held).reason
    '80 pairs, needs 90'
    """

    def __init__(self, config: MergerConfig | None = None) -> None:
        self.config = MergerConfig() if config is None else config

    def check_merge(self, inventory: InventorySnapshot) -> MergeDecision:
        """Return the decision; the first test that fails gives the reason, in the original's order."""
        config = self.config
        pairs = inventory.pairs
        imbalance = inventory.imbalance
        combined = inventory.combined_avg_cost
        if not pairs >= config.min_merge_size:
            return MergeDecision(False, reason=f"{pairs:g} pairs, needs {config.min_merge_size:g}")
        if not abs(imbalance) <= config.max_merge_imbalance:
            return MergeDecision(
                False, reason=f"imbalance {imbalance:+.3f}, limit {config.max_merge_imbalance:g}"
            )
        if not combined < config.max_combined_cost - COST_EPSILON:
            return MergeDecision(
                False, reason=f"pair cost {combined:.4f}, must be below {config.max_combined_cost:g}"
            )
        return MergeDecision(True, pairs, pairs * (1.0 - combined))
