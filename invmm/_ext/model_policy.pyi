from typing import Any

from typing_extensions import disjoint_base

from invmm._ext.models import RANGES_FIELDS as RANGES_FIELDS
from invmm._ext.models import FastModel
from invmm._ext.solver import Policy

@disjoint_base
class ModelPolicy(Policy):
    @property
    def model(self) -> FastModel: ...
    @property
    def sample_ms(self) -> int: ...
    def __init__(
        self,
        model: FastModel,
        name: str = "model",
        num_levels: int = 3,
        order_size: float = 100.0,
        spread_per_level: float = 1.0,
        max_imbalance: float = 0.8,
        sample_ms: int = 1000,
    ) -> None: ...
    def stats(self) -> dict[str, Any]: ...

class MarketClient:
    def get_token_decimals(self, address: str) -> int: ...

@disjoint_base
class PythonModel(FastModel):
    @property
    def model(self) -> Any: ...
    @property
    def last_error(self) -> str | None: ...
    def __init__(self, model: Any) -> None: ...
