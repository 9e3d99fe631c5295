"""What can happen to a REST request on its way: refused, answered late, done without an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from invmm.sim.faults import Faults
from invmm.sim.floor import Floor

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def faulty(faults: Faults, floor: Floor, request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers a request through the armed faults `http`, `slow` and `lose`."""
    fault = faults.strike_request("http", request)
    if fault is not None:
        return refusal(fault.figures)
    slow = faults.strike_request("slow", request)
    pause_s = 0.0
    if slow is not None:
        speed = floor.clock.speed if floor.clock is not None else 1.0
        pause_s = slow.number("seconds", 1.0) / speed
    if slow is not None and slow.figures.get("before", False):
        await asyncio.sleep(pause_s)
    lost = faults.strike_request("lose", request) if request.method in ("POST", "DELETE") else None
    answer = await handler(request)
    if lost is not None and request.transport is not None:
        request.transport.abort()
    if slow is not None and not slow.figures.get("before", False):
        await asyncio.sleep(pause_s)
    return answer


def refusal(figures: dict[str, object]) -> web.Response:
    """The answer that an `http` fault names: `status`, `body` (JSON, or text such as HTML) and
    `retry_after`.
    """
    status = int(str(figures.get("status", 503)))
    body = figures.get("body", {"error": "unavailable"})
    headers = {"Retry-After": str(figures["retry_after"])} if "retry_after" in figures else None
    if isinstance(body, str):
        kind = "text/html" if body.lstrip().startswith("<") else "text/plain"
        return web.Response(text=body, status=status, headers=headers, content_type=kind)
    return web.json_response(body, status=status, headers=headers)
