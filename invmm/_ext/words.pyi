from typing import Self, final

import numpy as np
import numpy.typing as npt

BEAT_LIMIT_NS: int

@final
class SharedWords:
    def __new__(cls, markets: int = 64) -> Self: ...
    mode: int
    beat_ns: int
    venue_mode: int
    missed_heartbeats: int
    heartbeat_until_ns: int
    engine_until_ns: int
    executor_beat_ns: int
    venue_stop: int
    kill: int
    journal_stop: int
    @property
    def heartbeat_ok(self) -> bool: ...
    @property
    def memory(self) -> npt.NDArray[np.uint64]: ...
    @property
    def markets(self) -> int: ...
    def market_close_ns(self, market: int) -> int: ...
    def set_market_close(self, market: int, close_ns: int) -> None: ...
    def market_version(self, market: int) -> int: ...
    def set_market_version(self, market: int, version: int) -> None: ...
