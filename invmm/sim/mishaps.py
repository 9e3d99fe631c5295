"""What can happen to a REST request on its way: held up, refused, answered late, done without an answer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from invmm.sim.faults import Fault
from invmm.sim.meter import TOO_MANY
from invmm.sim.profile import SECOND

if TYPE_CHECKING:
    from invmm.sim.server import VenueServer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_LONGEST_SILENCE_S = 600.0


async def on_the_way(server: VenueServer, request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers a request through the limits, the venue's mode and the faults `http`, `slow` and `lose`."""
    faults = server.faults
    wait_s, is_refused = server.limits.delay_s(
        request.method, request.path, server.floor.running_ns() / SECOND
    )
    if is_refused:
        told = {"Retry-After": str(max(1, math.ceil(wait_s)))}
        return web.json_response({"error": TOO_MANY}, status=429, headers=told)
    if wait_s:
        await asyncio.sleep(wait_s / speed_of(server))
    refused = server.mode.refusal(request.method, request.path, await request.read())
    if refused is not None:
        return refused
    broken = faults.strike_request("http", request)
    if broken is not None and not broken.figures.get("done", False):
        return _named(broken)
    slow = faults.strike_request("slow", request)
    pause_s = slow.number("seconds", 1.0) / speed_of(server) if slow is not None else 0.0
    is_before = slow is not None and bool(slow.figures.get("before", False))
    if is_before:
        await asyncio.sleep(pause_s)
    lost = faults.strike_request("lose", request) if request.method in ("POST", "DELETE") else None
    answer = await handler(request)
    if lost is not None and request.transport is not None:
        request.transport.abort()
    if not is_before and pause_s:
        await asyncio.sleep(pause_s)
    return answer if broken is None else _named(broken)


def speed_of(server: VenueServer) -> float:
    """Seconds of the venue per second."""
    return server.floor.clock.speed if server.floor.clock is not None else 1.0


async def unanswered(fault: Fault, request: web.Request) -> web.Response:
    """The end of a request whose deed comes later, as `answer` says: "cut" (the default), "silence", or an
    `http` answer.
    """
    how = fault.figures.get("answer", "cut")
    if how == "cut" and request.transport is not None:
        request.transport.abort()
    elif how == "silence":
        await asyncio.sleep(_LONGEST_SILENCE_S)  # the client gives up before
    return _named(fault)


def _named(fault: Fault) -> web.Response:
    """The answer that a fault names: `status`, `body` (JSON, or text such as HTML) and `retry_after`."""
    figures = fault.figures
    status = int(figures.get("status", 503))
    body = figures.get("body", {"error": "unavailable"})
    headers = {"Retry-After": str(figures["retry_after"])} if "retry_after" in figures else None
    if isinstance(body, str):
        kind = "text/html" if body.lstrip().startswith("<") else "text/plain"
        return web.Response(text=body, status=status, headers=headers, content_type=kind)
    return web.json_response(body, status=status, headers=headers)
