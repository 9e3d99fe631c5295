"""The end of a session: everything is cancelled until the venue has proven it, within a few seconds.

    cancel ─▶ proof of each order's end, an empty listing ─▶ executor closed ─▶ one more look ─▶ verdict

Cancels go on until the proof is there: by id from the market steps, as cancel-all from here. That the venue
lists nothing proves nothing about an order without an answer: a copy of it may still arrive until its fence.
Such an order is named in the verdict with the time of its fence, and the session is not verified clean.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from invmm.errors import InvmmError
from invmm.feed.user_messages import order_id_bytes
from invmm.types import EVENT_DTYPE, EventKind, OrderStatus, Source

if TYPE_CHECKING:
    from invmm.engine import Engine
    from invmm.execution.connected import ConnectedVenue
    from invmm.venue.client import CancelAnswer

SECOND = 1_000_000_000
ASK_EVERY_S = 0.25
LAST_LOOK_S = 1.5
"""Of the deadline: kept for closing the executor, a listing after that, and a look at every single order, in
equal parts.
"""
LEAST_S = 0.25
"""For any one of these, however short the deadline is."""


@dataclass(frozen=True, slots=True)
class Unproven:
    """An order that may still be alive. `fence_ns`: engine time after which none of it can be left, or 0."""

    order_id: str
    market: str
    state: str
    fence_ns: int

    def __str__(self) -> str:
        if self.fence_ns:
            until = datetime.fromtimestamp(self.fence_ns / SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            until = f"until its fence at {until}"
        else:
            until = "without a date: until it is cancelled or its market resolved"
        return f"order {self.order_id} of {self.market} ({self.state}) may be alive {until}"


@dataclass
class Verdict:
    """How a session ended. It is clean when every order is proven dead and the venue lists none."""

    unproven: list[Unproven] = field(default_factory=list)
    lists_none: bool = False
    error: str = ""

    @property
    def is_clean(self) -> bool:
        """Whether all is proven."""
        return self.lists_none and not self.unproven

    def words(self) -> list[str]:
        """What people should know; nothing when it is clean."""
        told = [f"not verified: {one}" for one in self.unproven]
        if not self.lists_none:
            told.append(f"not verified: open orders: {self.error or 'the venue did not list them in time'}")
        return told


async def close_orders(engine: Engine, venue: ConnectedVenue, deadline_s: float) -> Verdict:
    """Cancels and looks until all is proven or the time is over; closes the executor before the last look.

    The engine's mode is STOPPED and its timer runs: it repeats cancels by id and asks for orders by id.

    Parameters
    ----------
    engine : Engine
    venue : ConnectedVenue
        The engine's; closed afterwards.
    deadline_s : float
        Real seconds for all of it.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + deadline_s
    last_look_s = min(LAST_LOOK_S, deadline_s / 2)
    verdict = Verdict()
    while True:
        await _ask(engine, venue, verdict, until - last_look_s)
        if (verdict.lists_none and not _any_alive(engine)) or loop.time() >= until - last_look_s:
            break
        await asyncio.sleep(ASK_EVERY_S)
    await asyncio.to_thread(venue.close, max(LEAST_S, until - 2 * last_look_s / 3 - loop.time()))
    engine.take_evidence(np.zeros(0, EVENT_DTYPE))  # the executor's last word
    if not verdict.lists_none or _any_alive(engine):
        # A request may have been in flight when the orders were listed: what it left shows only now.
        await _ask(engine, venue, verdict, max(until - last_look_s / 3, loop.time() + LEAST_S))
    if engine.reconciler is not None:
        try:  # fills that the user feed did not live to tell, and each order that may be alive by its id
            async with asyncio.timeout_at(max(until, loop.time() + LEAST_S)):
                await engine.reconciler.finish()
        except (InvmmError, TimeoutError) as error:
            engine.messages.append(f"trades could not be listed: {error or 'no answer in time'}")
    verdict.unproven = unproven(engine, is_closed=True)
    return verdict


async def _ask(engine: Engine, venue: ConnectedVenue, verdict: Verdict, until: float) -> None:
    """Cancels what may be open, and lists; one round."""
    verdict.lists_none = False
    try:
        async with asyncio.timeout_at(until):
            count = await venue.open_order_count()
            if count or _any_alive(engine):
                take_cancelled(engine, await venue.cancel_all())
                count = await venue.open_order_count()
            verdict.lists_none, verdict.error = count == 0, f"{count} are open" if count else ""
    except TimeoutError:
        verdict.error = verdict.error or "no answer in time"
    except InvmmError as error:
        verdict.error = str(error)


def take_cancelled(engine: Engine, answer: CancelAnswer | None) -> list[str]:
    """Applies what an answer to a cancel proves dead; the ids in it that are not this engine's."""
    records, foreign = [], []
    assert engine.clock is not None
    for order_id in () if answer is None else answer["canceled"]:
        try:
            raw = order_id_bytes(order_id)
        except ValueError:
            continue  # it names nothing
        key = engine.key_of(raw)
        market = next((one for one in engine.markets.values() if key is not None and one.owns(key)), None)
        if key is None or market is None:
            foreign.append(order_id)
            continue
        record = np.zeros(1, EVENT_DTYPE)
        record["kind"], record["status"] = EventKind.ORDER_RESULT, OrderStatus.CANCELED
        record["source"], record["time_ns"] = Source.EDGE, engine.clock.now_ns()
        record["market"], record["key"], record["order_id"] = market.number, key, np.void(raw)
        records.append(record)
    if records:
        engine.take_evidence(np.concatenate(records))
    return foreign


def _any_alive(engine: Engine) -> bool:
    return any(market.step.registry.counts()["live"] for market in engine.markets.values())


def unproven(engine: Engine, *, is_closed: bool = False) -> list[Unproven]:
    """Orders without proof of their end. Once the executor is closed and its last word heard, one whose id
    was never announced has not left: its id is announced before its bytes are sent.
    """
    found = []
    for market in engine.markets.values():
        orders = market.step.registry.orders_live()
        ids = engine.order_ids([int(str(order["key"])) for order in orders])
        for order in orders:
            order_id = ids.get(int(str(order["key"])))
            if order_id is None and is_closed and order["state"] == "prepared":
                continue
            fence_ns = int(str(order["fence_ns"]))
            found.append(
                Unproven(order_id or "of unknown id", market.info.slug, str(order["state"]), fence_ns)
            )
    return found
