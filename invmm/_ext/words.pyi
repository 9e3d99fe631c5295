from typing import Self, final

import numpy as np
import numpy.typing as npt

@final
class SharedWords:
    def __new__(cls, markets: int = 64) -> Self: ...
    mode: int
    beat_ns: int
    venue_mode: int
    missed_heartbeats: int
    venue_stop: int
    @property
    def heartbeat_ok(self) -> bool: ...
    @property
    def memory(self) -> npt.NDArray[np.uint64]: ...
    @property
    def markets(self) -> int: ...
    def market_version(self, market: int) -> int: ...
    def set_market_version(self, market: int, version: int) -> None: ...
