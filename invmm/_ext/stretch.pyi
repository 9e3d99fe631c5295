import numpy as np
import numpy.typing as npt

from invmm._ext.decode import MarketBooks

def pass_over(
    books: MarketBooks,
    data: bytes,
    offsets: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    firsts: npt.NDArray[np.int64],
    times_ns: npt.NDArray[np.int64],
    is_plain: npt.NDArray[np.uint8],
    batch: int,
    until_ns: int,
    watched: list[tuple[int, int, int]],
    best: tuple[int, int] | None,
) -> tuple[int, int]: ...
