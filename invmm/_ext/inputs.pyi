from typing import Self

from typing_extensions import disjoint_base

from invmm._ext.journal import Journal
from invmm._ext.registry import Registry

@disjoint_base
class InputLog:
    def __new__(
        cls,
        journal: Journal | None = None,
        market: int = 0,
        up_token: bytes = ...,
        down_token: bytes = ...,
        with_frames: bool = False,
    ) -> Self: ...
    @property
    def journal(self) -> Journal | None: ...
    def write_orders(self, registry: Registry, now_ns: int) -> bool: ...
