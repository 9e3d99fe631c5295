from typing_extensions import disjoint_base

@disjoint_base
class Exposure:
    def __init__(self, bounds: dict[str, int]) -> None: ...
    def hold(
        self,
        token: int,
        low_micro: int,
        high_micro: int,
        *,
        reserved_micro: int = 0,
        spent_e10: int = 0,
        unsettled_e10: int = 0,
    ) -> None: ...
    def add(self, token: int, side: int, price_e4: int, size_micro: int, takes: bool = False) -> None: ...
    def refusal(
        self, token: int, side: int, price_e4: int, size_micro: int, takes: bool = False
    ) -> int: ...
    def excess(self) -> int: ...
    def figures(self) -> dict[str, object]: ...
