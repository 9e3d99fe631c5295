from typing import NoReturn, final

import numpy as np
import numpy.typing as npt

from invmm._ext.wallet import Wallet

@final
class OrderTemplate:
    tick_e4: int
    min_size_micro: int
    min_notional_micro: int
    gtd_lead_s: int
    def __new__(
        cls,
        signer: Wallet,
        token_id: str,
        exchange: str = "v2",
        owner: str = "",
        *,
        tick_e4: int = 100,
        min_size_micro: int = 0,
        min_notional_micro: int = 0,
        gtd_lead_s: int = 0,
        metadata: str | bytes | None = None,
        builder: str | bytes | None = None,
    ) -> OrderTemplate: ...
    @property
    def token_id(self) -> str: ...
    @property
    def exchange(self) -> str: ...
    @property
    def serial(self) -> int: ...
    @property
    def body_capacity(self) -> int: ...
    def build(
        self, command: npt.NDArray[np.uint8] | bytes, timestamp_ms: int, *, ahead: bool = False
    ) -> tuple[bytes, bytes]: ...
    def release(self, command: npt.NDArray[np.uint8] | bytes, time_ms: int) -> None: ...
    def __reduce__(self) -> NoReturn: ...
