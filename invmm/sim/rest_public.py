"""REST of the embedded venue that anybody may read: books, market parameters, clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from invmm.sim import rules
from invmm.sim.rest_shapes import asset_of, error, token_of

if TYPE_CHECKING:
    from invmm.sim.server import VenueServer


class Public:
    """Handlers over a server's state."""

    def __init__(self, server: VenueServer) -> None:
        self._server = server

    async def book(self, request: web.Request) -> web.Response:
        """The displayed book of a token."""
        found = token_of(self._server, asset_of(request))
        if found is None:
            return error(404, rules.NO_BOOK)
        session, token = found
        return web.json_response(session.book(token))

    async def tick_size(self, request: web.Request) -> web.Response:
        """Tick size as a number."""
        found = token_of(self._server, asset_of(request))
        if found is None:
            return error(404, rules.NO_MARKET)
        return web.json_response({"minimum_tick_size": found[0].exchange.tick_e4 / 10_000})

    async def neg_risk(self, request: web.Request) -> web.Response:
        """Whether the market settles on the neg-risk exchange."""
        found = token_of(self._server, asset_of(request))
        if found is None:
            return error(404, rules.NO_MARKET)
        return web.json_response({"neg_risk": found[0].market.exchange == "v2-neg-risk"})

    async def fee_rate(self, request: web.Request) -> web.Response:
        """The legacy maximum."""
        if token_of(self._server, asset_of(request)) is None:
            return error(404, rules.NO_MARKET)
        return web.json_response({"base_fee": 1000})

    async def clock(self, _: web.Request) -> web.Response:
        """The venue's time in whole seconds."""
        return web.json_response(int(self._server.time_s()))

    async def version(self, _: web.Request) -> web.Response:
        """CLOB version: 1 where orders of the first generation are taken."""
        fault = self._server.faults.armed("version")
        if fault is not None:
            return web.json_response({"version": int(fault.number("version", 3))})
        return web.json_response({"version": 1 if self._server.profile.domain == "1" else 2})
