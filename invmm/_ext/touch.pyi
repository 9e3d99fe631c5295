from typing_extensions import disjoint_base

from invmm._ext.solver import Policy

@disjoint_base
class JoinTouchPolicy(Policy):
    def __init__(
        self, num_levels: int = 3, order_size: float = 100.0, max_imbalance: float = 0.8
    ) -> None: ...
