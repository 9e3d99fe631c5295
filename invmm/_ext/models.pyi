from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

RANGES_FIELDS: tuple[str, ...]

def deviation_of_returns(returns: npt.NDArray[np.float64]) -> float: ...

@disjoint_base
class FastModel:
    @property
    def name(self) -> str: ...
    @property
    def min_range(self) -> float: ...
    @property
    def max_range(self) -> float: ...
    def __init__(self, model: Any = None) -> None: ...
    def ranges(
        self, amount0: float, amount1: float, spot: float, bars: npt.ArrayLike = ()
    ) -> dict[str, float] | int: ...

@disjoint_base
class FastAvellanedaStoikov(FastModel):
    def __init__(self, model: Any) -> None: ...

@disjoint_base
class FastGLFT(FastAvellanedaStoikov):
    def __init__(self, model: Any) -> None: ...

@disjoint_base
class FastSimple(FastModel):
    def __init__(self, model: Any) -> None: ...

@disjoint_base
class FastMeanReversion(FastModel):
    def __init__(self, model: Any) -> None: ...
