from collections.abc import Callable
from typing import NoReturn, Protocol, Self, final

import numpy as np
import numpy.typing as npt

from invmm._ext.gate import Gate
from invmm._ext.l2 import L2Signer
from invmm._ext.ring import CommandRing, ResultRing
from invmm._ext.template import OrderTemplate
from invmm._ext.words import SharedWords
from invmm.execution.outbox import Outbox
from invmm.execution.signing import OrderSigning

class _Line(Protocol):
    scale: float
    origin_ns: int
    mono_origin_ns: int

@final
class Intake:
    def __new__(
        cls,
        ring: CommandRing,
        results: ResultRing,
        words: SharedWords,
        signer: L2Signer,
        host: str,
        clock: _Line,
    ) -> Self: ...
    def __reduce__(self) -> NoReturn: ...
    origin_ns: int
    scale: float
    hold_cancels: bool
    linger_ns: int
    rehearsal: Callable[[bytes], object] | None
    rehearse_ns: int
    @property
    def rehearsals(self) -> int: ...
    @property
    def gate(self) -> Gate: ...
    @property
    def orders(self) -> OrderSigning: ...
    @property
    def words(self) -> SharedWords: ...
    @property
    def seen(self) -> int: ...
    @property
    def built(self) -> bool: ...
    @property
    def sent(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def popped_ns(self) -> int: ...
    @property
    def ready_ns(self) -> int: ...
    @property
    def python_ns(self) -> int: ...
    @property
    def written_ns(self) -> int: ...
    @property
    def lost(self) -> int: ...
    def set_template(self, market: int, token: int, template: OrderTemplate | None) -> None: ...
    def take(
        self,
        spin_ns: int,
        timeout_ns: int,
        epoll_fd: int,
        place_fd: int,
        cancel_fd: int,
        place_writer: Callable[[bytes], int] | None = None,
        cancel_writer: Callable[[bytes], int] | None = None,
    ) -> int: ...
    def again(self, legs: npt.NDArray[np.void], fd: int) -> int: ...
    def legs_copy(self) -> npt.NDArray[np.void]: ...
    @property
    def outbox(self) -> Outbox: ...
    def request(self) -> bytes: ...
    def body(self) -> bytes: ...
    def why_not(self, legs: npt.NDArray[np.void]) -> int: ...
    def answer(
        self,
        legs: npt.NDArray[np.void],
        index: int,
        status: int,
        reason: int = 0,
        code: int = 0,
        filled_micro: int = 0,
    ) -> None: ...
    def order_id(self, key: int) -> bytes | None: ...
    def flush(self) -> bool: ...
    def engine_ns(self, monotonic_ns: int) -> int: ...
