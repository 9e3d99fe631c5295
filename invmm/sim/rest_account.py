"""REST of the embedded venue about the account: open orders, trades, balances, the dead man's switch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from invmm.sim import rules, wire
from invmm.sim.account import UNLIMITED, Trade
from invmm.sim.exchange import Exchange
from invmm.sim.limits import TIERS
from invmm.sim.orders import Order
from invmm.sim.profile import SECOND
from invmm.sim.rest_shapes import KEY, account_of, asset_of, error, json_of, order_id_of, page_of, token_of
from invmm.sim.rules import Who
from invmm.venue.profile import ExchangeName
from invmm.venue.profile import exchange as exchange_of

if TYPE_CHECKING:
    from invmm.sim.server import VenueServer


class Own:
    """Handlers over a server's state."""

    def __init__(self, server: VenueServer) -> None:
        self._server = server

    async def orders(self, _: bytes, request: web.Request) -> web.Response:
        """Open orders; with `id` that order in any state."""
        query, account = request.query, account_of(request)
        if "id" in query:
            found = self._find(query["id"], account)
            return page_of(self._server, [found] if found is not None else [], request)
        entries = []
        for exchange in self._server.floor.exchanges:
            for order, filled_micro in self._open(exchange):
                if not order.request.is_of(account):
                    continue
                entry = wire.open_order(order, exchange.market, self._server.who)
                entry.update(size_matched=wire.size_text(filled_micro), status="LIVE")
                if all(query.get(name) in (None, entry[name]) for name in ("market", "asset_id")):
                    entries.append(entry)
        return page_of(self._server, entries, request)

    def _open(self, exchange: Exchange) -> list[tuple[Order, int]]:
        """Open orders with what is filled of them; as of some time ago when the listing lags."""
        faults, now_ns = self._server.faults, self._server.floor.now_ns()
        lag_ns = faults.lag_ns("orders")
        if lag_ns:
            found = _open_at(exchange, now_ns - lag_ns)
        else:
            found = [(order, order.filled_micro) for order in exchange.open_orders()]
        return [
            (order, filled_micro)
            for order, filled_micro in found
            if not faults.hides(order.request.id_text, "orders", now_ns - order.arrived_ns)
        ]

    async def order(self, _: bytes, request: web.Request) -> web.Response:
        """One order in any state; `null` when there is none."""
        return web.json_response(self._find(request.match_info["id"], account_of(request)))

    def _find(self, text: str, account: str) -> dict[str, Any] | None:
        order_id = order_id_of(text)
        for exchange in self._server.floor.exchanges:
            order = exchange.orders.get(order_id) if order_id is not None else None
            if order is None or not order.request.is_of(account):
                continue
            age_ns = self._server.floor.now_ns() - order.arrived_ns
            if not self._server.faults.hides(order.request.id_text, "order", age_ns):
                return wire.open_order(order, exchange.market, self._server.who)
        return None

    async def trades(self, _: bytes, request: web.Request) -> web.Response:
        """Own trades, newest first."""
        query, account = request.query, account_of(request)
        markets = {exchange.market.condition_id: exchange.market for exchange in self._server.floor.exchanges}
        try:
            after, before = int(query.get("after", -1)), int(query.get("before", 1 << 62))
        except ValueError:
            return error(400, "invalid before or after")
        faults, now_ns = self._server.faults, self._server.floor.now_ns()
        lag_ns = faults.lag_ns("trades")
        entries = []
        for trade in reversed(self._server.floor.purses.named(account).trades):
            seconds = trade.time_ns // SECOND
            if seconds <= after:
                break  # all others are older
            if seconds >= before:
                continue
            who = next((one for one in self._parties(trade) if account in ("", one.account)), None)
            if who is None or trade.time_ns > now_ns - lag_ns:
                continue
            if faults.hides(trade.id_text, "trades", now_ns - trade.time_ns):
                continue
            entry = wire.trade_entry(trade, markets[trade.condition_id], who)
            if any(query.get(name) not in (None, entry[name]) for name in ("id", "market", "asset_id")):
                continue
            entries.append(entry)
        return page_of(self._server, entries, request)

    def _parties(self, trade: Trade) -> list[Who]:
        return [part.who or self._server.who for part in trade.legs]

    async def balance(self, _: bytes, request: web.Request) -> web.Response:
        """Settled balance of the collateral or of a token, 6-decimal integers."""
        account, query = self._server.floor.purses.named(account_of(request)), request.query
        value = account.settled_cash_micro - account.unredeemed_micro
        if query.get("asset_type") != "COLLATERAL":
            found = token_of(self._server, asset_of(request))
            if found is None:
                return error(404, rules.NO_BOOK)
            session, token = found
            value = account.holding(session.market.condition_id).settled_micro[token]
        allowed = account.allowances_micro
        spenders = {
            one.contract: str(allowed.get(one.contract.lower(), UNLIMITED))
            for one in map(exchange_of, ExchangeName)
        }
        return web.json_response({"balance": str(value), "allowances": spenders})

    async def refresh_balance(self, _: bytes, request: web.Request) -> web.Response:
        """Looks at the chain, where there is one: only then own merges and redemptions are known here. The
        answer is empty, as the venue's.
        """
        floor = self._server.floor
        await floor.refresh(floor.purses.named(account_of(request)))
        return web.Response()

    async def notifications(self, _: bytes, __: web.Request) -> web.Response:
        """There are none."""
        return web.json_response([])

    async def drop_notifications(self, _: bytes, __: web.Request) -> web.Response:
        """There are none to drop."""
        return web.json_response("OK")

    async def order_scoring(self, _: bytes, __: web.Request) -> web.Response:
        """No order earns rewards here."""
        return web.json_response({"scoring": False})

    async def orders_scoring(self, body: bytes, _: web.Request) -> web.Response:
        """No order earns rewards here."""
        asked = json_of(body)
        if not isinstance(asked, list):
            return error(400, rules.INVALID_PAYLOAD)
        return web.json_response({str(one): False for one in asked})

    async def tier(self, _: bytes, request: web.Request) -> web.Response:
        """The signer's tier and its buckets (ours: the answer's fields are not documented)."""
        name = self._server.profile.tier
        orders_per_s, orders, cancels_per_s, cancels = TIERS[name]
        return web.json_response(
            {
                "tier": name,
                "orders_per_second": orders_per_s,
                "orders_burst": orders,
                "cancels_per_second": cancels_per_s,
                "cancels_burst": cancels,
            }
        )

    async def heartbeat(self, body: bytes, request: web.Request) -> web.Response:
        """Dead man's switch of the API key that asks."""
        switch, key = self._server.switch, request[KEY].api_key
        payload = json_of(body)
        given = payload.get("heartbeat_id") if isinstance(payload, dict) else None
        following = switch.beat(given or "", key)
        if following is None:
            told = {"error_msg": "Invalid Heartbeat ID", "heartbeat_id": switch.last_id(key)}
            return web.json_response(told, status=400)
        return web.json_response({"heartbeat_id": following})


def _open_at(exchange: Exchange, time_ns: int) -> list[tuple[Order, int]]:
    """The orders that were open at a past time, with what was filled of them then."""
    found = []
    for order in exchange.orders.values():
        if order.arrived_ns <= time_ns and (order.is_open or order.left_ns > time_ns):
            name = order.request.order_id
            parts = (leg for one in order.trades if one.time_ns <= time_ns for leg in one.legs)
            found.append((order, sum(leg.size_micro for leg in parts if leg.order_id == name)))
    return found
