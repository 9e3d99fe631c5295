"""What the venue lists about our orders and trades, as the messages that the user channel would have sent.

The user channel replays nothing: what happens while it is down is known only by asking. The answers become the same evidence, so
what is known already changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Protocol

ORDERS, TRADES, ORDER = "/data/orders", "/data/trades", "/data/order/"


class Listing(Protocol):
    """A venue that can be asked; `RemoteVenue` is one."""

    async def pages(self, path: str, query: dict[str, str]) -> list[dict[str, Any]]: ...

    async def ask(self, method: str, path: str, query: dict[str, str] | None = None) -> Any: ...


async def missed_messages(
    venue: Listing, condition_ids: Iterable[str], alive: Collection[str]
) -> list[dict[str, Any]]:
    """Messages that say what the venue knows now.

    Parameters
    ----------
    venue : Listing
    condition_ids : iterable of str
        Markets to ask about.
    alive : collection of str
        Ids (`0x…`) of the own orders that are believed to be possibly alive. One that is not among the open orders is asked for by
        name: its absence alone proves nothing.

    Returns
    -------
    list of dict
        Trades first, then orders, as messages of the user channel.

    Raises
    ------
    InvmmError
        The venue could not be asked; nothing was learnt.
    """
    messages: list[dict[str, Any]] = []
    orders: list[dict[str, Any]] = []
    for condition_id in condition_ids:
        query = {"market": condition_id}
        orders += await venue.pages(ORDERS, query)
        # Trades after orders: an order that is filled between the two questions is then seen open and filled, not neither.
        messages += [entry | {"event_type": "trade"} for entry in await venue.pages(TRADES, query)]
    open_ids = {str(entry.get("id", "")).lower() for entry in orders}
    for order_id in alive:
        if order_id.lower() not in open_ids:
            entry = await venue.ask("GET", ORDER + order_id)
            if isinstance(entry, dict):
                orders.append(entry)
    return messages + [entry | {"event_type": "order", "type": ""} for entry in orders]
