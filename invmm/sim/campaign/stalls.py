"""How long quotes stay after the venue's book has changed and the engine was not told.

A stall begins when a change is due that would have made the engine's book differ from the venue's and does
not reach it: until then the book was right, and whoever said so (a witness) was right too. It is over when of
each own order in the market a cancel has reached the venue, or its end has come. The books are compared where
the venue's changes, so a stall has the length it has, whatever the time between two looks.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from invmm.sim.campaign.hazards import TABLE
from invmm.sim.campaign.network import Incoming
from invmm.sim.profile import SECOND
from invmm.sim.session import Session
from invmm.types import Side

if TYPE_CHECKING:
    from invmm.sim.campaign.world import World

PULLED_NS = 3 * SECOND
AFTER_S = 60.0  # what a fault on the way of cancels leaves behind: back-off, halved rates, a start
ALL_LEVELS = 10_000


class Stalls:
    """The stalls of a world, by market; fails as `stall` where no fault is in the way of cancels.

    Attributes
    ----------
    seconds : list of float
        From the change to the last of the cancels, of each stall in which something was to be cancelled.
    """

    def __init__(self, world: World) -> None:
        self.seconds: list[float] = []
        self._world = world
        self._since_ns: dict[str, int] = {}  # by market
        self._had: set[str] = set()  # markets in which something was to be cancelled since
        self._asked: set[str] = set()  # ids that a cancel named
        self._late: set[str] = set()

    def changing(self, session: Session, due_ns: int) -> None:
        """The venue's book is about to change; who listens will be told at `due_ns`."""
        is_stalled = session.market.slug in self._since_ns and self._world.stale_ns(session) > 0
        if is_stalled and not self._agree(session):
            return  # it differs already
        self._forget(session)
        self._since_ns[session.market.slug] = due_ns
        if self._open(session):
            self._had.add(session.market.slug)

    def cancelled(self, request: Incoming) -> None:
        """A request reaches the venue: perhaps it cancels."""
        if request.method != "DELETE":
            return
        sessions = list(self._world.server.floor.sessions.values())
        if request.path == "/cancel-all":
            self._asked.update(name for session in sessions for name in self._open(session))
        else:
            self._asked.update(_ids(request._body))
        for session in sessions:
            self.look(session)

    def look(self, session: Session) -> None:
        """Something has happened, or time has passed."""
        world, slug = self._world, session.market.slug
        since_ns = self._since_ns.get(slug)
        stalled_ns = 0 if since_ns is None else world.loop.now_ns() - since_ns
        if stalled_ns <= 0:
            return
        is_helpless = not world.engine_knows or world.network.is_down or world.network.is_silent
        if is_helpless or not world.stale_ns(session):
            self._forget(session)  # nobody is there to pull, nothing gets through, or it was told
        elif self._open(session):
            self._had.add(slug)
            if stalled_ns > PULLED_NS and slug not in self._late and not self._agree(session):
                self._late.add(slug)
                self._judge(slug, stalled_ns, "and not all is pulled")
        else:
            if slug in self._had and not self._agree(session):
                self.seconds.append(stalled_ns / SECOND)
                if slug not in self._late:
                    self._judge(slug, stalled_ns, "when the last order was pulled")
            self._forget(session)

    def _judge(self, slug: str, stalled_ns: int, when: str) -> None:
        world = self._world
        since_s = world.now_s - stalled_ns / SECOND
        in_the_way = any(
            TABLE[fault.name].slows and fault.at_s <= world.now_s and fault.until_s + AFTER_S >= since_s
            for fault in world.plan
        )
        if stalled_ns > PULLED_NS and not in_the_way:
            world.fail("stall", f"{slug}: the book was wrong for {stalled_ns / SECOND:.2f} s {when}")

    def _open(self, session: Session) -> set[str]:
        """Own orders there that no cancel has named."""
        orders = session.exchange.open_orders()
        return {order.request.id_text for order in orders if self._world.is_own(order)} - self._asked

    def _forget(self, session: Session) -> None:
        slug = session.market.slug
        self._since_ns.pop(slug, None)
        self._had.discard(slug)
        self._late.discard(slug)

    def _agree(self, session: Session) -> bool:
        """Whether the engine's books of a market are the venue's."""
        for market in self._world.engine.engine.markets.values():
            if market.info.slug == session.market.slug:
                ours, theirs = market.step.books, session.books
                return all(
                    mine.depth(side, ALL_LEVELS).tolist() == venues.depth(side, ALL_LEVELS).tolist()
                    for mine, venues in ((ours.up, theirs.up), (ours.down, theirs.down))
                    for side in Side
                )
        return False


def _ids(body: bytes) -> list[str]:
    """Ids of orders that a cancel names; none of what cannot be read."""
    try:
        told: Any = json.loads(body)
    except ValueError:
        return []
    if isinstance(told, dict):
        told = [told.get("orderID")]
    return [name for name in told if isinstance(name, str)] if isinstance(told, list) else []
