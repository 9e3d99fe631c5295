"""Others at the venue of a world: who trades with our key, who trades against us, and what the venue says of
trades that cannot be.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from invmm.feed.user_messages import trade_key
from invmm.sim.orders import Order
from invmm.sim.profile import SECOND
from invmm.sim.rules import OrderRequest, Who
from invmm.sim.session import Session
from invmm.sim.wire import compact, trade_event
from invmm.types import MICRO, PRICE_ONE_E4, OrderStatus, OrderType, Outcome, Side

if TYPE_CHECKING:
    from invmm.sim.campaign.world import World

TAKER = "0x000000000000000000000000000000000000ad0e"
LOOK_NS = SECOND // 10
TOLD_NS = SECOND // 4  # until the engine's timer has seen what it was told


class Strangers:
    """What others do in a world.

    Attributes
    ----------
    placed : set of bytes
        Ids of orders of our account that no engine of this world has placed.
    swept : int
        Trades so far that took several own orders at once.
    """

    def __init__(self, world: World) -> None:
        self.placed: set[bytes] = set()
        self.swept = 0
        self._world = world
        self._random = Random(f"{world.seed}:strangers")
        self._taken = 0

    def place_foreign(self) -> None:
        """Somebody else with our key places an order far from the market."""
        world = self._world
        for session in world.server.floor.sessions.values():
            exchange = session.exchange
            if exchange.is_closed or exchange.now_ns < session.market.start_s * SECOND:
                continue
            name = Random(f"{world.seed}:foreign:{world.now_s}").randbytes(32)
            who = Who(world.credentials.api_key, world.account, world.account)
            self.placed.add(name)
            exchange.place(
                OrderRequest(
                    name, Outcome.UP, Side.BUY, exchange.tick_e4, 10 * MICRO, post_only=True, who=who
                )
            )
            session._tick()
            return

    def take(self, until_s: float, edge_e4: int = 0, rate: float = 1.0) -> None:
        """Somebody who looks ten times a second and, at a share `rate` of the looks, buys the other token
        against each bid of ours that pays at least `mid − edge_e4`. Both buy: the venue mints the pair, and
        its trade names the taker's token and side, which are not ours.
        """
        if self._world.now_s >= until_s:
            return
        if self._random.random() < rate:
            for session in self._world.server.floor.sessions.values():
                self._take_of(session, edge_e4)
        self._world.loop.call_in_ns(LOOK_NS, self.take, until_s, edge_e4, rate)

    def _take_of(self, session: Session, edge_e4: int) -> None:
        exchange, books = session.exchange, session.books
        bid, ask = books.up.best_bid(), books.up.best_ask()
        if exchange.is_closed or bid is None or ask is None:
            return
        up_mid_e4 = (bid[0] + ask[0]) / 2
        for order in exchange.open_orders():
            request = order.request
            mid_e4 = up_mid_e4 if request.token == Outcome.UP else PRICE_ONE_E4 - up_mid_e4
            is_bid = self._world.is_own(order) and order.state == "LIVE" and request.side == Side.BUY
            if is_bid and request.price_e4 >= mid_e4 - edge_e4:
                self._buy_against(session, order)
        session._tick()

    def _buy_against(self, session: Session, order: Order) -> None:
        self._taken += 1
        name = hashlib.sha256(b"%d taker %d" % (self._world.seed, self._taken)).digest()
        session.exchange.place(
            OrderRequest(
                name,
                Outcome(1 - order.request.token),
                Side.BUY,
                PRICE_ONE_E4 - order.request.price_e4,
                order.left_micro,
                OrderType.FAK,
                who=Who("taker", TAKER, TAKER),
            )
        )

    def sweep(self, until_s: float, rate: float = 1.0) -> None:
        """Somebody who looks ten times a second and, at a share `rate` of the looks, takes all of our orders
        that rest on one side of a market, where there are several: one trade, told under one id.
        """
        if self._world.now_s >= until_s:
            return
        if self._random.random() < rate:
            for session in self._world.server.floor.sessions.values():
                self._sweep(session)
        self._world.loop.call_in_ns(LOOK_NS, self.sweep, until_s, rate)

    def _sweep(self, session: Session) -> None:
        exchange = session.exchange
        for side in Side:
            resting = [
                order
                for order in exchange.open_orders()
                if order.up_side == side and order.state == "LIVE" and self._world.is_own(order)
            ]
            if not exchange.is_closed and len(resting) > 1:
                resting.sort(key=lambda order: order.up_price_e4, reverse=side == Side.BUY)
                exchange.sweep(resting)
                self.swept += 1
        session._tick()

    def contradict(self, until_s: float) -> None:
        """The user channel tells that a trade has failed which the engine was told is confirmed; looked for
        once a second.
        """
        world = self._world
        heard = world.server.user_channel.connections
        if world.now_s >= until_s:
            return
        if heard and world.engine_knows and not (world.network.is_down or world.network.is_silent):
            known = {
                leg.trade: market.info.condition_id
                for market in world.engine.engine.markets.values()
                for leg in market.ledger.legs.values()
                if leg.status == OrderStatus.TRADE_CONFIRMED
            }
            for trade in reversed(world.server.floor.purses.first.trades):
                session = world.server.floor.sessions.get(trade.condition_id)
                if session is not None and trade_key(trade.id_text) in known:
                    who = Who(world.credentials.api_key, world.account, world.account)
                    told = replace(trade, status=OrderStatus.TRADE_FAILED)
                    event = trade_event(told, session.market, who, session.exchange.stamp_ms())
                    world.server.user_channel.garbage(compact(event))
                    world.guards.over("a trade was told both ways", world.loop.now_ns() + TOLD_NS)
                    return
        world.loop.call_in_ns(SECOND, self.contradict, until_s)
