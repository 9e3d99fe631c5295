from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer, disjoint_base

from invmm._ext.account import Account
from invmm._ext.decode import MarketBooks
from invmm._ext.ring import CommandRing
from invmm._ext.solver import Policy
from invmm._ext.transaction import ReplaceDesk
from invmm._ext.words import SharedWords
from invmm.types import CommandArray

@disjoint_base
class MarketStep(ReplaceDesk):
    def __init__(
        self,
        books: MarketBooks,
        policy: Policy,
        limits: dict[str, int],
        market: int = 0,
        end_ms: int = 0,
        seed: int = 0,
        ring: CommandRing | None = None,
        words: SharedWords | None = None,
        serial: int = 0,
        account: Account | None = None,
    ) -> None: ...
    @property
    def policy(self) -> Policy: ...
    @property
    def end_ms(self) -> int: ...
    def retune(self, policy: Policy, limits: dict[str, int]) -> None: ...
    def step(self, event: Any, now_ns: int, frame: Buffer = b"") -> CommandArray: ...
    def run(
        self, events: npt.NDArray[np.uint8] | Buffer, first: int, last: int, frames: Buffer
    ) -> tuple[int, CommandArray]: ...
    wants_frame: bool
    watcher: Callable[[MarketBooks, bytes], object] | None
    def stats(self) -> dict[str, Any]: ...
    @property
    def no_quote_reasons(self) -> tuple[int, int]: ...
    @property
    def settled_outcome(self) -> int | None: ...
    @property
    def resync_reason(self) -> int: ...
    def expect_checkpoints(self, flags: Buffer) -> None: ...
    def end_batch(self) -> None: ...
