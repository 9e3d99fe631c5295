from collections.abc import Iterable

from typing_extensions import disjoint_base

from invmm._ext.solver import Policy

@disjoint_base
class StandingPolicy(Policy):
    def __init__(self, quotes: Iterable[tuple[int, int, int, int]] = ()) -> None: ...
    def want(self, quotes: Iterable[tuple[int, int, int, int]]) -> None: ...
