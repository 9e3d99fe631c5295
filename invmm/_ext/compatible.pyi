from collections.abc import Sequence

from invmm.strategy.vocabulary import InventorySnapshot, OpenOrder, OrderbookSnapshot, SolverConfig

def solve_compatible(
    config: SolverConfig,
    inventory: InventorySnapshot,
    books: tuple[OrderbookSnapshot, OrderbookSnapshot],
    bids: tuple[Sequence[OpenOrder], Sequence[OpenOrder]],
) -> tuple[
    float,
    list[int],
    list[tuple[int, int, float]],
    tuple[int, float, float, float] | None,
    tuple[int, int],
    bool,
]: ...
