"""What a signer's requests cost of its token buckets, and what their answers say about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from invmm.sim.profile import SECOND
from invmm.sim.rest_shapes import error, json_of

if TYPE_CHECKING:
    from invmm.sim.server import VenueServer

Private = Callable[[bytes, web.Request], Awaitable[web.Response]]
TOO_MANY = "Too Many Requests"


async def metered(
    server: VenueServer, account: str, request: web.Request, body: bytes, handler: Private
) -> web.Response:
    """Answers a signer's request, or refuses it when its bucket is empty."""
    kind, cost = cost_of(server, request, body)
    if not cost:
        return await handler(body, request)
    verdict = server.limits.signer(account, kind, cost, server.floor.running_ns() / SECOND)
    answer = error(429, TOO_MANY) if verdict.is_refused else await handler(body, request)
    if not answer.prepared:
        answer.headers.update(verdict.headers)
    return answer


def cost_of(server: VenueServer, request: web.Request, body: bytes) -> tuple[str, int]:
    """Bucket and tokens: a batch costs its legs, cancelling all costs 1 and what is open."""
    path, method = request.path, request.method
    if path in ("/order", "/orders") and method in ("POST", "DELETE"):
        payload = json_of(body)
        legs = len(payload) if isinstance(payload, list) else 1
        return ("orders" if method == "POST" else "cancels"), max(1, legs)
    if path in ("/cancel-all", "/cancel-market-orders") and method == "DELETE":
        return "cancels", 1 + sum(len(one.open_orders()) for one in server.floor.exchanges)
    return "", 0
