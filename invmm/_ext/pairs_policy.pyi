from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

from invmm._ext.markouts import Markouts
from invmm._ext.solver import Policy

@disjoint_base
class PairsPolicy(Policy):
    @property
    def markouts(self) -> Markouts: ...
    def __init__(
        self,
        markouts: Markouts | None = None,
        *,
        dollars_at_risk: float = 2500.0,
        min_edge: float = 0.002,
        message: float = 0.01,
        rebate_share: float = 0.2,
        max_pair_cost: float = 0.0,
        taker_delay_ms: float = 250.0,
        order_size: float = 100.0,
        max_lead: float = 400.0,
        patience_s: float = 150.0,
        narrow_s: float = 60.0,
        fair_max_age_ms: float = 2000.0,
        num_levels: int = 3,
        overshoot: bool = False,
        sells: bool = True,
        offers: bool = False,
    ) -> None: ...
    def fair(self, view: npt.NDArray[np.void] | np.void) -> float | None: ...
    def filled(self, token: int, price_e4: int) -> None: ...
    def settled(self, winner: int) -> None: ...
    def stats(self) -> dict[str, Any]: ...
