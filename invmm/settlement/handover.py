"""What a window leaves behind, on its way to settlement: shares, what they cost, and whether to merge them.

The engine's thread puts, whoever settles takes. Nothing is dropped: a full queue means that no further window
is opened.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from invmm.errors import ConfigError
from invmm.market import Market
from invmm.replay.tape import MarketInfo
from invmm.settings import StrategySettings
from invmm.settlement.ledger import Ledger
from invmm.settlement.merger import MergeDecision, Merger, MergerConfig
from invmm.strategy.vocabulary import InventorySnapshot
from invmm.types import MICRO, OrderStatus, Outcome

FINAL = (OrderStatus.TRADE_CONFIRMED, OrderStatus.TRADE_FAILED)


@dataclass(frozen=True, slots=True)
class Residue:
    """One ended window.

    Attributes
    ----------
    info : MarketInfo
    ledger : Ledger
        All its fills; belongs to the taker from now on.
    up_micro, down_micro : int
        Shares held, fills included that are not confirmed yet.
    unsettled : int
        Fills whose settlement was not final: confirmed or failed is still to be found out.
    alive : int
        Orders whose end was not proven; only when the engine was stopped.
    merge : MergeDecision
        Whether the pairs are worth merging before the market resolves, and why not.
    closed_ns : int
        Engine time of the handing over.
    """

    info: MarketInfo
    ledger: Ledger
    up_micro: int
    down_micro: int
    unsettled: int
    alive: int
    merge: MergeDecision
    closed_ns: int

    @property
    def pairs_micro(self) -> int:
        """Matched shares, each pair worth a dollar."""
        return max(0, min(self.up_micro, self.down_micro))


class SettlementQueue:
    """Ended windows in order; one thread puts, one takes.

    Examples
    --------
    >>> queue = SettlementQueue(capacity=2)
    >>> queue.is_full, queue.take() is None
    (False, True)
    """

    def __init__(self, capacity: int = 4096) -> None:
        if capacity < 1:
            raise ConfigError(f"settlement queue: expected room for at least 1, found {capacity}")
        self.capacity = capacity
        self.handed_over = 0
        self._waiting: deque[Residue] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """No further window may be opened: its residue would have no place."""
        return len(self._waiting) >= self.capacity

    def put(self, residue: Residue) -> None:
        """Hands one over. Never refuses: what is held cannot be wished away."""
        self._waiting.append(residue)
        self.handed_over += 1

    def take(self) -> Residue | None:
        """The oldest, or None."""
        return self._waiting.popleft() if self._waiting else None


def merger_of(strategy: StrategySettings) -> Merger:
    """The merge rule of the settings; ConfigError for values that the rule does not take."""
    try:
        return Merger(
            MergerConfig(
                min_merge_size=strategy.min_merge_size,
                max_merge_imbalance=strategy.max_merge_imbalance,
                max_combined_cost=strategy.max_combined_cost,
            )
        )
    except ValueError as error:
        raise ConfigError(f"[strategy] {error}") from error


def unsettled(ledger: Ledger) -> int:
    """Fills that are neither confirmed nor failed."""
    return sum(leg.status not in FINAL for leg in ledger.legs.values())


def residue_of(market: Market, merger: Merger, now_ns: int) -> Residue:
    """What a market leaves behind at `now_ns` (engine time)."""
    ledger = market.ledger
    up_micro, down_micro = (ledger.held_micro(outcome) for outcome in Outcome)
    held = InventorySnapshot(
        up_size=max(0, up_micro) / MICRO,
        up_avg_price=ledger.average(Outcome.UP),
        down_size=max(0, down_micro) / MICRO,
        down_avg_price=ledger.average(Outcome.DOWN),
    )
    return Residue(
        info=market.info,
        ledger=ledger,
        up_micro=up_micro,
        down_micro=down_micro,
        unsettled=unsettled(ledger),
        alive=market.step.registry.counts()["live"],
        merge=merger.check_merge(held),
        closed_ns=now_ns,
    )
