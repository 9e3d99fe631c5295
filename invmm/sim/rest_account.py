"""REST of the embedded venue about the account: open orders, trades, balances, the dead man's switch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from invmm.sim import rules, signatures, wire
from invmm.sim.profile import SECOND
from invmm.sim.rest_shapes import error, json_of, order_id_of, page_of, token_of

if TYPE_CHECKING:
    from invmm.sim.server import VenueServer


class Own:
    """Handlers over a server's state."""

    def __init__(self, server: VenueServer) -> None:
        self._server = server

    async def orders(self, _: bytes, request: web.Request) -> web.Response:
        """Open orders; with `id` that order in any state."""
        query = request.query
        if "id" in query:
            found = self._find(query["id"])
            return page_of(self._server, [found] if found is not None else [], request)
        entries = []
        for exchange in self._server.exchanges:
            for order in exchange.open_orders():
                entry = wire.open_order(order, exchange.market, self._server.who)
                if all(query.get(name) in (None, entry[name]) for name in ("market", "asset_id")):
                    entries.append(entry)
        return page_of(self._server, entries, request)

    async def order(self, _: bytes, request: web.Request) -> web.Response:
        """One order in any state; `null` when there is none."""
        return web.json_response(self._find(request.match_info["id"]))

    def _find(self, text: str) -> dict[str, Any] | None:
        order_id = order_id_of(text)
        for exchange in self._server.exchanges:
            order = exchange.orders.get(order_id) if order_id is not None else None
            if order is not None:
                return wire.open_order(order, exchange.market, self._server.who)
        return None

    async def trades(self, _: bytes, request: web.Request) -> web.Response:
        """Own trades, newest first."""
        query = request.query
        markets = {exchange.market.condition_id: exchange.market for exchange in self._server.exchanges}
        try:
            after, before = int(query.get("after", -1)), int(query.get("before", 1 << 62))
        except ValueError:
            return error(400, "invalid before or after")
        entries = []
        for trade in reversed(self._server.account.trades):
            entry = wire.trade_entry(trade, markets[trade.condition_id], self._server.who)
            if any(query.get(name) not in (None, entry[name]) for name in ("id", "market", "asset_id")):
                continue
            seconds = trade.time_ns // SECOND
            if not after < seconds < before:
                continue
            entries.append(entry)
        return page_of(self._server, entries, request)

    async def balance(self, _: bytes, request: web.Request) -> web.Response:
        """Settled balance of the collateral or of a token, 6-decimal integers."""
        account, query = self._server.account, request.query
        value = account.settled_cash_micro
        if query.get("asset_type") != "COLLATERAL":
            token = token_of(self._server, request)
            if token is None:
                return error(404, rules.NO_BOOK)
            value = account.settled_tokens_micro[token]
        spenders = {address: str((1 << 256) - 1) for address in signatures.EXCHANGES.values()}
        return web.json_response({"balance": str(value), "allowances": spenders})

    async def refresh_balance(self, _: bytes, __: web.Request) -> web.Response:
        """There is no cache to refresh; the answer is empty, as the venue's."""
        return web.Response()

    async def heartbeat(self, body: bytes, _: web.Request) -> web.Response:
        """Dead man's switch."""
        payload = json_of(body)
        given = payload.get("heartbeat_id") if isinstance(payload, dict) else None
        following = self._server.beat(given or "")
        if following is None:
            told = {"error_msg": "Invalid Heartbeat ID", "heartbeat_id": self._server.heartbeat_id}
            return web.json_response(told, status=400)
        return web.json_response({"heartbeat_id": following})
