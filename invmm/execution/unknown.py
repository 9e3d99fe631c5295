"""Orders of unknown fate: when they are asked for by id, and what an answer proves.

The ladder: at once, after 0.25, 0.5, 1, 2 and 4 seconds, then every 5 seconds until there is proof. What
follows from an answer is the step's business: the same bytes once more while the order is wanted and young,
otherwise cancels until proof or fence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from invmm.types import OrderStatus

MS = 1_000_000
SECOND = 1_000_000_000
RUNGS_NS = (0, 250 * MS, 500 * MS, SECOND, 2 * SECOND, 4 * SECOND)
LATER_NS = 5 * SECOND
TRADES_BEFORE_S = 600  # trades are asked for from so long before the order was sent


class Listing(Protocol):
    """What is asked of the venue; `VenueClient` is one. Each raises InvmmError when nothing was learnt."""

    async def open_orders(self) -> list[dict[str, Any]]: ...

    async def order(self, order_id: str, /) -> dict[str, Any] | None: ...

    async def trades(self, after: int | None = None) -> list[dict[str, Any]]: ...

    async def balance_allowance(
        self, asset_type: str = "COLLATERAL", token_id: str | None = None
    ) -> dict[str, Any]: ...

    async def ask(self, method: str, path: str, /) -> Any: ...

    async def cancel(self, order_ids: list[str], /) -> Any: ...


@dataclass
class _Climb:
    since_ns: int
    asked: int = 0
    last_ns: int = 0
    is_waiting: bool = False


class Ladder:
    """Says which unknown orders are to be asked for now.

    Examples
    --------
    >>> ladder = Ladder()
    >>> [at for at in range(0, 20_000, 50) if ladder.due([(7, 0)], at * MS) and ladder.answered(7) is None]
    [0, 250, 500, 1000, 2000, 4000, 9000, 14000, 19000]
    """

    def __init__(self) -> None:
        self._climbs: dict[int, _Climb] = {}

    def due(self, unknown: Iterable[tuple[int, int]], now_ns: int) -> list[int]:
        """Keys to ask for now; each counts as asked, and is not due again before `answered`.

        Parameters
        ----------
        unknown : iterable of (key, since_ns)
            All orders of unknown fate, and since when they are.
        now_ns : int
            Engine time.
        """
        seen = dict(unknown)
        for key in self._climbs.keys() - seen.keys():
            del self._climbs[key]
        found = []
        for key, since_ns in seen.items():
            climb = self._climbs.get(key)
            if climb is None or (climb.since_ns != since_ns and not climb.is_waiting):
                climb = self._climbs[key] = _Climb(since_ns)
            if climb.is_waiting:
                continue
            if climb.asked < len(RUNGS_NS):
                at_ns = climb.since_ns + RUNGS_NS[climb.asked]
            else:
                at_ns = climb.last_ns + LATER_NS
            if now_ns >= at_ns:
                # Rungs that were missed while an answer was awaited are not climbed one by one.
                passed = sum(climb.since_ns + rung <= now_ns for rung in RUNGS_NS)
                climb.asked, climb.last_ns, climb.is_waiting = max(climb.asked + 1, passed), now_ns, True
                found.append(key)
        return found

    def answered(self, key: int) -> None:
        """An answer, or none in time: the order may be asked for again."""
        climb = self._climbs.get(key)
        if climb is not None:
            climb.is_waiting = False


@dataclass(frozen=True)
class Finding:
    """What a look at one order brought. `asked_ns` is when its question was asked, engine time."""

    key: int
    order_id: str
    asked_ns: int
    row: dict[str, Any] | None
    is_clean: bool = False  # its fence had passed, and neither open orders nor trades name it
    trades: list[dict[str, Any]] = field(default_factory=list)  # that name it, if they were asked for


async def look_up(
    venue: Listing, key: int, order_id: str, *, now_ns: Callable[[], int], sent_ns: int, fence_ns: int
) -> Finding:
    """Asks for one order by id; after its fence, if it is not known, for open orders and trades as well.

    Parameters
    ----------
    venue : Listing
    key, order_id
        Ours and the venue's (`0x…`) name of the order.
    now_ns : callable
        The engine clock.
    sent_ns : int
        When it was sent.
    fence_ns : int
        Its fence (`Registry.order`), 0 if it has none.

    Raises
    ------
    InvmmError
        No well-formed answer: nothing was learnt.
    """
    asked_ns = now_ns()
    row = await venue.order(order_id)
    if row is not None or not fence_ns or asked_ns < fence_ns:
        return Finding(key, order_id, asked_ns, row)
    wanted = order_id.lower()
    open_ids = {str(each.get("id", "")).lower() for each in await venue.open_orders()}
    trades = [
        each
        for each in await venue.trades(after=sent_ns // SECOND - TRADES_BEFORE_S)
        if wanted in names(each)
    ]
    return Finding(key, order_id, asked_ns, None, wanted not in open_ids and not trades, trades)


def names(trade: dict[str, Any]) -> set[str]:
    """Ids of the orders that a trade names, in lower case."""
    makers = trade.get("maker_orders") or []
    found = {str(each.get("order_id", "")).lower() for each in makers if isinstance(each, dict)}
    return found | {str(trade.get("taker_order_id", "")).lower()}


QUERIED = {OrderStatus.LIVE: OrderStatus.FOUND, OrderStatus.DELAYED: OrderStatus.FOUND}
"""A query by id that lists an order open says more than a message: it contradicts an end before it."""
