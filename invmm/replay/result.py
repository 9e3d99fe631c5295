"""What one market came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from invmm.replay.tape import Tape
from invmm.settlement.ledger import E10_PER_MICRO_DOLLAR, Ledger
from invmm.types import Outcome

MID_DTYPE = np.dtype([("time_ns", "<i8"), ("up_mid", "<f8")])


@dataclass
class MarketResult:
    """One market as the engine knows it; `venue_cash_micro` is the venue's own figure beside it."""

    tape: Tape
    ledger: Ledger
    step: dict[str, Any]
    books: dict[str, Any]
    orders: int
    placed_micro: int
    winner: Outcome | None
    start_cash_micro: int
    venue_cash_micro: int | None
    mids: npt.NDArray[np.void] | None = None
    queue_errors_micro: list[int] = field(default_factory=list)
    queue_ahead_of_truth: int = 0
    hash_checks: int = 0
    hash_mismatches: int = 0

    @property
    def ledger_cash_micro(self) -> float:
        """Cash by the ledger, micro-dollars, after resolution if there was one. Before it, by fills alone:
        the venue sees later what was merged, which is compared with the chain.
        """
        start_micro = self.start_cash_micro
        if self.winner is None:
            start_micro -= self.ledger.settled_cash_micro
        return self.ledger.cash_e10(start_micro * E10_PER_MICRO_DOLLAR, self.winner) / E10_PER_MICRO_DOLLAR

    @property
    def reconciled(self) -> bool:
        """Whether ledger and venue agree; the venue rounds each fill's cash to a micro-dollar, so that much
        each may differ.
        """
        if self.venue_cash_micro is None:
            return False
        return abs(self.ledger_cash_micro - self.venue_cash_micro) <= len(self.ledger.legs)
