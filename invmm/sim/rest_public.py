"""REST of the embedded venue that anybody may read: books, market parameters, clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from invmm.sim import rules, wire
from invmm.sim.profile import SECOND
from invmm.sim.rest_shapes import error, token_of

if TYPE_CHECKING:
    from invmm.sim.server import VenueServer
    from invmm.sim.session import Session


class Public:
    """Handlers over a server's state."""

    def __init__(self, server: VenueServer) -> None:
        self._server = server

    @property
    def _session(self) -> Session:
        session = self._server.session
        assert session is not None
        return session

    async def book(self, request: web.Request) -> web.Response:
        """The displayed book of a token."""
        token = token_of(self._server, request)
        return error(404, rules.NO_BOOK) if token is None else web.json_response(self._session.book(token))

    async def tick_size(self, request: web.Request) -> web.Response:
        """Tick size as a number."""
        if token_of(self._server, request) is None:
            return error(404, "market not found")
        return web.json_response({"minimum_tick_size": self._session.exchange.tick_e4 / 10_000})

    async def neg_risk(self, request: web.Request) -> web.Response:
        """Never, for these markets."""
        if token_of(self._server, request) is None:
            return error(404, "market not found")
        return web.json_response({"neg_risk": False})

    async def fee_rate(self, request: web.Request) -> web.Response:
        """The legacy maximum."""
        if token_of(self._server, request) is None:
            return error(404, "market not found")
        return web.json_response({"base_fee": 1000})

    async def clock(self, _: web.Request) -> web.Response:
        """The venue's time: seconds of the tape."""
        return web.json_response(self._session.now_ns() // SECOND)

    async def version(self, _: web.Request) -> web.Response:
        """CLOB version."""
        return web.json_response({"version": 2})

    async def clob_market(self, request: web.Request) -> web.Response:
        """Parameters of any of the server's markets."""
        session = self._session
        for tape in self._server.tapes:
            if tape.market.condition_id == request.match_info["id"]:
                is_running = tape is session.tape
                tick = session.exchange.tick_e4 if is_running else tape.market.tick_e4
                accepting = is_running and not session.exchange.is_closed
                return web.json_response(wire.clob_market(tape.market, tick, accepting=accepting))
        return error(404, "market not found")
