from collections.abc import Callable
from typing import Any

from typing_extensions import Buffer, disjoint_base

@disjoint_base
class FrameSink:
    @property
    def entered_ns(self) -> int: ...
    @property
    def published(self) -> int: ...
    fault: int
    def acted_counts(self) -> list[int]: ...
    def on_frame(self, data: Buffer, now_ns: int, last: bool = True) -> None: ...
    def on_buffer_end(self, now_ns: int) -> None: ...
    def on_disconnect(self, now_ns: int) -> None: ...

@disjoint_base
class CallbackSink(FrameSink):
    def __init__(
        self,
        on_frame: Callable[[Any, int, bool], object] | None = None,
        on_buffer_end: Callable[[int], object] | None = None,
        on_disconnect: Callable[[int], object] | None = None,
        *,
        copy: bool = True,
    ) -> None: ...
    @property
    def last_error(self) -> BaseException | None: ...
