from typing_extensions import disjoint_base

from invmm._ext.sink import FrameSink

@disjoint_base
class FrameMerge:
    duplicates: int
    old: int
    switches: int
    lanes: tuple[FrameLane, FrameLane]
    def __init__(self, sink: FrameSink, tokens: int = 2) -> None: ...
    @property
    def carrying(self) -> tuple[bool, bool]: ...

@disjoint_base
class FrameLane(FrameSink):
    def __init__(self, merge: FrameMerge, number: int) -> None: ...
