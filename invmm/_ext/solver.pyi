from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

TOP_DTYPE: np.dtype[np.void]
OWN_ORDER_DTYPE: np.dtype[np.void]
POLICY_INPUT_DTYPE: np.dtype[np.void]
ACTION_DTYPE: np.dtype[np.void]
STATUS_TEXTS: dict[int, str]

@disjoint_base
class Policy:
    @property
    def name(self) -> str: ...
    def decide(
        self, view: npt.NDArray[np.void] | np.void
    ) -> tuple[npt.NDArray[np.void], tuple[int, int], float]: ...
    def stats(self) -> dict[str, Any]: ...
    def decide_repeatedly(self, view: npt.NDArray[np.void] | np.void, count: int) -> int: ...

@disjoint_base
class InventoryMMPolicy(Policy):
    @property
    def compatible(self) -> bool: ...
    def __init__(
        self,
        num_levels: int = 3,
        base_offset: float = 0.01,
        min_profit_margin: float = 0.01,
        max_imbalance: float = 0.8,
        order_size: float = 100.0,
        spread_per_level: float = 1.0,
        compatible: bool = False,
    ) -> None: ...
