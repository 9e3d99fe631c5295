"""REST of the embedded venue: which handler answers which path, and who must prove an account first."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from invmm.sim.meter import Private, metered
from invmm.sim.rest_access import Login
from invmm.sim.rest_account import Own
from invmm.sim.rest_orders import Orders
from invmm.sim.rest_public import Public
from invmm.sim.rest_shapes import KEY, error
from invmm.sim.rules import Refusal

if TYPE_CHECKING:
    from invmm.sim.server import VenueServer


def add_routes(app: web.Application, server: VenueServer) -> None:
    """Puts the handlers under their paths; private ones behind the header check."""
    login, orders, own, public = Login(server), Orders(server), Own(server), Public(server)

    def private(handler: Private) -> Callable[[web.Request], Awaitable[web.Response]]:
        @functools.wraps(handler)
        async def checked(request: web.Request) -> web.Response:
            body = await request.read()
            key = server.access.prove(request.method, request.path, request.headers, body)
            if isinstance(key, Refusal):
                return error(key.status, key.text)
            request[KEY] = key
            return await metered(server, key.address, request, body, handler)

        return checked

    router = app.router
    router.add_post("/auth/api-key", login.create)
    router.add_get("/auth/derive-api-key", login.derive)
    router.add_get("/auth/api-keys", private(login.list))
    router.add_delete("/auth/api-key", private(login.revoke))
    router.add_get("/auth/ban-status/closed-only", private(login.closed_only))
    router.add_get("/deployed", login.deployed)
    router.add_post("/_control/account", login.change)
    router.add_post("/order", private(orders.post_order))
    router.add_post("/orders", private(orders.post_orders))
    router.add_delete("/order", private(orders.delete_order))
    router.add_delete("/orders", private(orders.delete_orders))
    router.add_delete("/cancel-all", private(orders.cancel_all))
    router.add_delete("/cancel-market-orders", private(orders.cancel_market_orders))
    router.add_get("/data/orders", private(own.orders))
    router.add_get("/data/order/{id}", private(own.order))
    router.add_get("/data/trades", private(own.trades))
    router.add_get("/balance-allowance", private(own.balance))
    router.add_get("/balance-allowance/update", private(own.refresh_balance))
    router.add_get("/notifications", private(own.notifications))
    router.add_delete("/notifications", private(own.drop_notifications))
    router.add_get("/order-scoring", private(own.order_scoring))
    router.add_post("/orders-scoring", private(own.orders_scoring))
    router.add_get("/v1/user/rate-limit-tier", private(own.tier))
    router.add_post("/v1/heartbeats", private(own.heartbeat))
    router.add_get("/book", public.book)
    router.add_get("/tick-size", public.tick_size)
    router.add_get("/tick-size/{id}", public.tick_size)
    router.add_get("/neg-risk", public.neg_risk)
    router.add_get("/fee-rate", public.fee_rate)
    router.add_get("/time", public.clock)
    router.add_get("/version", public.version)
