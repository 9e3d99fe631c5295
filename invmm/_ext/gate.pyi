from typing import Self, final

import numpy as np
import numpy.typing as npt

from invmm._ext.pace import Pace
from invmm._ext.words import SharedWords

@final
class Gate:
    def __new__(cls, words: SharedWords) -> Self: ...
    stopping: bool
    trials: int
    pace: Pace | None
    book_max_age_ns: int
    @property
    def words(self) -> SharedWords: ...
    def check(self, legs: npt.NDArray[np.void], now_ns: int, is_ready: bool = True) -> int: ...
    def is_unseen(self, legs: npt.NDArray[np.void]) -> bool: ...
    def count(self, reason: int) -> None: ...
    def refusals(self) -> dict[str, int]: ...
