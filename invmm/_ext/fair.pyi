from typing_extensions import disjoint_base

RULES: dict[str, int]
STATES: dict[int, str]
STRIKES: dict[int, str]

@disjoint_base
class FairValue:
    def __init__(
        self,
        rule: str = "",
        *,
        average_s: float = 0.0,
        start_ms: int = 0,
        end_ms: int = 0,
        strike: float = 0.0,
        sigma: float = 0.9e-4,
        sigma_floor: float = 0.2e-4,
        sigma_cap: float = 1e-3,
        basis: float = 2e-4,
        move: float = 0.001,
    ) -> None: ...
    @property
    def strike_from(self) -> int: ...
    @property
    def prices(self) -> int: ...
    @property
    def refused(self) -> int: ...
    @property
    def is_modelled(self) -> bool: ...
    def tell(
        self, fact: int, observed_ms: int, price: float, *, average_s: int = 0, now_ms: int | None = None
    ) -> bool: ...
    def at(self, now_ms: int) -> dict[str, object]: ...
    def stats(self) -> dict[str, object]: ...
