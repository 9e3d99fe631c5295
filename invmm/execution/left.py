"""What earlier sessions left, read from their journal: orders that may be alive, markets that were open.

The journal names every id before its bytes leave (`journal_types`), so what it does not name is not ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from invmm.clock import LiveClock
from invmm.replay.tape import MarketInfo
from invmm.types import OrderType, Outcome, Side

SECOND = 1_000_000_000
EARLY_S, MARGIN_S = 60, 6
"""The venue ends an order so long before its date; for clocks, and the margin of the expiry fence."""
LIFETIME_S = 184
"""Assumed of orders without a date, whose request is long over by then."""


@dataclass(frozen=True, slots=True)
class LeftOrder:
    """An order as it was signed. Prices in 1e-4 dollars, sizes in micro-shares."""

    order_id: bytes
    condition_id: str
    outcome: Outcome
    side: Side
    order_type: OrderType
    price_e4: int
    size_micro: int
    expiration_s: int
    sent_ns: int


@dataclass(frozen=True)
class Left:
    """What earlier sessions left.

    Attributes
    ----------
    markets : sequence of MarketInfo
        Those that were open when the journal ends, and those of orders that may be alive.
    orders : mapping
        Order id → order: all of these markets.
    alive : frozenset of bytes
        Ids without proof of their end.
    account : str
        Whose journal it is; empty if there is none.
    last_ns : int
        Engine time of the last record.
    is_closed : bool
        The last session ended in order.
    is_same_boot : bool
        The machine has not started anew since.
    is_torn : bool
        Records were lost.
    """

    markets: Sequence[MarketInfo] = ()
    orders: Mapping[bytes, LeftOrder] = field(default_factory=dict)
    alive: frozenset[bytes] = frozenset()
    account: str = ""
    last_ns: int = 0
    is_closed: bool = True
    is_same_boot: bool = True
    is_torn: bool = False

    def words(self) -> str:
        """One line for people."""
        if not self.account:
            return "empty: no session before this one"
        end = "ended in order" if self.is_closed else "was cut off"
        if not self.is_same_boot:
            end += ", the machine has started anew since"
        if self.is_torn:
            end += ", records are damaged"
        return f"the last session {end}; {len(self.alive)} orders may be alive"

    def lost_until_ns(self, clock: LiveClock, lifetime_s: int) -> int:
        """Until when an order may be alive whose id never reached the disk; 0 if none can be missing.

        A killed process loses nothing. When the machine went down, what had not been synced is gone: such an
        order was sent before the present boot.
        """
        if self.is_closed or (self.is_same_boot and not self.is_torn):
            return 0
        sent_ns = clock.now_ns() if self.is_same_boot else clock.at_ns(0)
        return sent_ns + ((lifetime_s or LIFETIME_S) - EARLY_S + MARGIN_S) * SECOND
