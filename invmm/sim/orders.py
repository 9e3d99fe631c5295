"""Own orders at the embedded venue, the queues they wait in, and what is told about them."""

from __future__ import annotations

from dataclasses import dataclass, field

from invmm.sim.account import Trade
from invmm.sim.rules import OrderRequest
from invmm.types import Reason, Side


@dataclass(slots=True, eq=False)
class Order:
    """An own order at the venue. `side` and `price_e4` of `request` are its own; `up_side`, `up_price_e4` its
    queue.
    """

    request: OrderRequest
    up_side: Side
    up_price_e4: int
    arrived_ns: int
    state: str = "NEW"  # NEW, DELAYED, LIVE, MATCHED, CANCELED (plus a suffix)
    filled_micro: int = 0
    standing_micro: int = 0  # of it, by matches that are not drawn to fail
    paid_micro: int = 0  # notional of maker fills so far
    ahead_micro: int = 0  # before decreases whose print may still come
    ceiling_micro: int = 0  # least displayed size since it rests
    rested_ns: int = 0
    left_ns: int = 0  # when it left its queue, 0 while it has not
    trades: list[Trade] = field(default_factory=list)
    truth: list[tuple[int, int]] = field(default_factory=list)  # (time, shares ahead) when recorded

    @property
    def key(self) -> int:
        return self.request.key

    @property
    def left_micro(self) -> int:
        return self.request.size_micro - self.filled_micro

    @property
    def is_open(self) -> bool:
        return self.state in ("LIVE", "DELAYED")


@dataclass(slots=True, eq=False)
class Level:
    """A queue in which own orders wait. `size_micro` is the displayed (public) size at the end of the last
    batch.
    """

    side: Side
    price_e4: int
    size_micro: int
    orders: list[Order] = field(default_factory=list)  # by arrival
    printed_micro: int = 0  # trade volume whose decrease was not seen yet
    printed_ns: int = 0
    pending_micro: int = 0  # decrease seen in `book` frames whose print may still come
    pending_ns: int = 0

    def shown_ahead(self, order: Order) -> int:
        """Shares ahead: never more than were ever displayed since the order rests, for who comes later is
        behind it.
        """
        return min(order.ahead_micro, order.ceiling_micro)


@dataclass(frozen=True, slots=True)
class Report:
    """What the venue says about an order or a trade, and when. `kind`: placed, canceled, updated, trade,
    settlement.
    """

    kind: str
    time_ns: int
    order: Order | None = None
    trade: Trade | None = None
    text: str = ""
    reason: Reason = Reason.NONE
