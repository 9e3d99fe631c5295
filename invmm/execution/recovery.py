"""The start of a session: what the last one left is found and dealt with before anything is quoted.

    1  lock            one engine per folder and per key                        (`state.StateFolder`)
    2  journal         replayed: the ids that may be alive, their markets       (`left.read_left`)
    3  unknown orders  each is UNKNOWN in the registry of its market, so every limit counts it
    4  cancel all      until the venue has answered; what it lists is proof, an id that is not ours an alarm
    5  open orders     listed; one that is not ours is cancelled, and nothing is quoted until somebody looks
    6  trades          from ten minutes before the oldest market that was open: the fills of its orders
    7  balances        held against these fills from now on
    8  merges          looked up by the settler, by their names                (`settlement/settler.py`)
    9  mode            nothing is quoted while the venue is away, or after an alarm
    10 caution         half of each market's limits, one level of half size, until the last one is resolved

Every step is told with its result. Steps 5 to 7 are one pass of the `Reconciler`, which goes on from there.
If the machine itself went down the tail of the journal may be missing: then nothing is quoted until no order
of that time can be alive, whatever its id.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from invmm.errors import InvmmError, VenueError
from invmm.execution.closing import take_cancelled
from invmm.permission import AlarmKind
from invmm.settings import Settings
from invmm.types import (
    COMMAND_DTYPE,
    EVENT_DTYPE,
    CommandKind,
    EventKind,
    OrderStatus,
    Reason,
    Source,
)

if TYPE_CHECKING:
    from invmm.engine import Engine
    from invmm.execution.connected import ConnectedVenue
    from invmm.execution.inbox import Inbox
    from invmm.execution.left import Left, LeftOrder
    from invmm.market import Market

SECOND = 1_000_000_000
TRADES_BEFORE_S = 600
LAST_KEY = (1 << 24) - 1  # of a market: own new orders are numbered from 1 upwards
TURN_S = 0.05
PAUSES_S = (0.1, 0.25, 0.5, 1.0, 2.0)
STEPS = 10


def cautious(settings: Settings) -> Settings:
    """The settings of each market while orders of the last session may be alive: half of every sum over its
    orders and shares, one level, half size.
    """
    risk, strategy = settings.risk, settings.strategy
    return replace(
        settings,
        risk=replace(
            risk,
            max_cash_dollars=max(1.0, risk.max_cash_dollars / 2),
            max_direction_shares=max(5.0, risk.max_direction_shares / 2),
            max_gross_shares=max(5.0, risk.max_gross_shares / 2),
        ),
        strategy=replace(strategy, num_levels=1, order_size=max(5.0, strategy.order_size / 2)),
    )


class Recovery:
    """Steps 2 to 10 for one engine.

    Parameters
    ----------
    engine : Engine
        Not started yet.
    left : Left
        What the last session left.
    inbox : Inbox
        The engine's: learns the ids of orders that are ours again.
    """

    def __init__(self, engine: Engine, left: Left, inbox: Inbox) -> None:
        self.left = left
        self.markets: list[Market] = []  # those of the last session
        self.cancelled_s = 0.0  # CLOCK_MONOTONIC when the venue had cancelled all, 0 before
        self.quoting_s = 0.0  # … when quoting was possible
        self.foreign: list[str] = []
        self._engine = engine
        self._inbox = inbox
        inbox.find = self.key_of
        self._market_of: dict[bytes, Market] = {}
        self._next_key: dict[int, int] = {}
        self._waiting: set[int] = set()  # keys of orders without proof
        self._lost_until_ns = 0

    # ---- before anything is connected --------------------------------------------------------------------

    def begin(self) -> None:
        """Steps 2 and 3: the markets of the last session are there again, its orders UNKNOWN in them."""
        engine, left = self._engine, self.left
        assert engine.clock is not None
        now_ns = engine.clock.now_ns()
        self._say(2, "journal", left.words())
        self._lost_until_ns = left.lost_until_ns(engine.clock, engine.settings.engine.quote_lifetime_s)
        if left.alive or now_ns < self._lost_until_ns:
            engine.set_caution(True)
        for info in left.markets:
            market = engine.add_market(info)
            market.held = market.unlisted = True
            self.markets.append(market)
            for order in left.orders.values():
                if order.condition_id == info.condition_id:
                    self._market_of[order.order_id] = market
                    if order.order_id in left.alive:
                        self._waiting.add(self._adopt(market, order))
        self._say(3, "unknown orders", f"{len(self._waiting)}, in {len(self.markets)} markets")

    def key_of(self, order_id: bytes) -> int | None:
        """Own key of an order of the last session that had ended before it: it is known again from now on."""
        order, market = self.left.orders.get(order_id), self._market_of.get(order_id)
        if order is None or market is None or self._engine.markets.get(market.number) is not market:
            return None
        return self._adopt(market, order)

    def _adopt(self, market: Market, order: LeftOrder) -> int:
        """Puts an order into the registry of its market; its key."""
        engine = self._engine
        assert engine.clock is not None
        number = market.number
        place = self._next_key.get(number, LAST_KEY)
        self._next_key[number] = place - 1
        key = ((number + 1) << 40) + ((market.serial & 0xFFFF) << 24) + place
        command = np.zeros(1, COMMAND_DTYPE)
        command["kind"], command["market"], command["key"] = CommandKind.PLACE, number, key
        command["token"], command["side"], command["order_type"] = order.outcome, order.side, order.order_type
        command["price_e4"], command["size_micro"] = order.price_e4, order.size_micro
        command["expiration_s"], command["decided_ns"] = order.expiration_s, order.sent_ns
        if not market.step.registry.add(command):
            engine.permission.alarm(
                f"{market.info.slug}: no room for an order of the last session", AlarmKind.RECOVERY
            )
            return 0
        self._inbox.register(order.order_id, key)
        # Nobody knows whether it was sent, or sent again: no answer, and a refusal would prove nothing.
        said = [OrderStatus.SENT, OrderStatus.RESENT, OrderStatus.UNKNOWN]
        if order.order_id not in self.left.alive:
            said.append(OrderStatus.CANCELED)  # proven in the journal; its fills may be news all the same
        now_ns = engine.clock.now_ns()
        for status in said:
            event = np.zeros(1, EVENT_DTYPE)
            event["kind"], event["status"], event["source"] = EventKind.ORDER_RESULT, status, Source.ENGINE
            event["market"], event["key"], event["order_id"] = number, key, np.void(order.order_id)
            event["time_ns"] = order.sent_ns if status == OrderStatus.SENT else now_ns
            event["reason"] = Reason.RECOVERED
            engine.step(event, now_ns)
        return key

    # ---- connected ---------------------------------------------------------------------------------------

    async def run(self, venue: ConnectedVenue) -> None:
        """Steps 4 to 10; returns when nothing of the last session is left in doubt."""
        self._say(4, "cancel all", await self._cancel_all(venue))
        self.cancelled_s = time.monotonic()
        engine, permission = self._engine, self._engine.permission
        assert engine.clock is not None
        lost_ns = self._lost_until_ns - engine.clock.now_ns()
        if lost_ns > 0:
            permission.block(f"the journal's tail is lost: no quotes for {lost_ns / SECOND:.0f} s")
        reconciler = engine.begin_reconciling(self._trades_from_ns())
        while not reconciler.is_current:
            await asyncio.sleep(TURN_S)
        for market in self.markets:
            market.unlisted = False
        for foreign in self.foreign:
            permission.alarm(
                f"an order that is not ours was open and is cancelled: {foreign}", AlarmKind.FOREIGN_ORDER
            )
        stats = reconciler.stats
        self._say(5, "open orders", f"listed, {stats.foreign_orders + len(self.foreign)} not ours")
        self._say(6, "trades", f"{stats.missed_fills} fills")
        self._say(7, "balances", "read")
        self._say(8, "merges", "left to the settler")
        await self._wait_for_lost_tail()
        self.quoting_s = time.monotonic()
        self._say(9, "mode", permission.mode.name.lower())
        await self._until_resolved()

    async def _cancel_all(self, venue: ConnectedVenue) -> str:
        failed = 0
        while True:
            try:
                answer = await venue.cancel_all()
                break
            except InvmmError as error:
                if not failed:
                    self._engine.messages.append(f"start: cancel-all: {error}; it is repeated")
                if isinstance(error, VenueError) and error.status in (400, 401, 403, 404) and not failed:
                    self._engine.permission.alarm(
                        f"the venue refuses to cancel: status {error.status}", AlarmKind.RECOVERY
                    )
                await asyncio.sleep(PAUSES_S[min(failed, len(PAUSES_S) - 1)])
                failed += 1
        self.foreign = take_cancelled(self._engine, answer)
        gone = 0 if answer is None else len(answer["canceled"])
        return f"{gone} cancelled, {len(self.foreign)} of them not ours"

    def _trades_from_ns(self) -> int:
        assert self._engine.clock is not None
        times = [self._engine.clock.now_ns()]
        times += [info.start_s * SECOND for info in self.left.markets]
        times += [order.sent_ns for order in self.left.orders.values()]
        return min(times) - TRADES_BEFORE_S * SECOND

    async def _wait_for_lost_tail(self) -> None:
        engine = self._engine
        assert engine.clock is not None
        if not engine.permission.blocked:
            return
        while engine.clock.now_ns() < self._lost_until_ns:
            await asyncio.sleep(TURN_S)
        engine.permission.unblock()
        reconciler = engine.begin_reconciling(self._trades_from_ns())
        while not reconciler.is_current:
            await asyncio.sleep(TURN_S)

    async def _until_resolved(self) -> None:
        """Step 10."""
        engine = self._engine
        if engine.is_cautious:
            self._say(10, "caution", f"quoting small, {len(self._waiting)} orders may be alive")
        while self._waiting:
            await asyncio.sleep(TURN_S)
            self._waiting &= self._alive()
        if engine.is_cautious:
            engine.set_caution(False)
            self._say(10, "caution", "over: the end of every order of the last session is proven")

    def _alive(self) -> set[int]:
        return {
            int(str(order["key"])) for market in self.markets for order in market.step.registry.orders_live()
        }

    @property
    def waiting(self) -> int:
        """Orders of earlier sessions without proof of their end."""
        return len(self._waiting)

    def _say(self, number: int, name: str, words: str) -> None:
        self._engine.messages.append(f"start {number}/{STEPS}, {name}: {words}")
