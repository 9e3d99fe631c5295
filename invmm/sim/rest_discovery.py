"""REST of the embedded venue that finds markets: Gamma's markets and events, the CLOB's market objects.

All hosts of the venue are one port here, so `/markets` answers as Gamma when it is asked by slug, id or
limit, and as the CLOB otherwise.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from aiohttp import web

from invmm.sim import gamma, rules
from invmm.sim.identity import GENERATIONS
from invmm.sim.rest_shapes import error, page_of
from invmm.sim.windows import Window

if TYPE_CHECKING:
    from invmm.sim.server import VenueServer

_MOST = 100
_OF_GAMMA = ("slug", "id", "limit", "offset", "condition_ids", "clob_token_ids", "closed")


class Discovery:
    """Handlers over a server's directory of markets."""

    def __init__(self, server: VenueServer) -> None:
        self._server = server

    def _now_ns(self) -> int:
        return self._server.floor.now_ns()

    def _windows(self) -> list[Window]:
        return sorted(self._server.windows.by_condition.values(), key=lambda one: one.market.start_s)

    # ---- Gamma ----

    async def market_by_slug(self, request: web.Request) -> web.Response:
        """A market by its slug."""
        window = self._server.windows.find(request.match_info["slug"])
        if window is None:
            return error(404, "slug not found")
        return web.json_response(gamma.market(window, self._now_ns()))

    async def event_by_slug(self, request: web.Request) -> web.Response:
        """An event, with its market, by its slug."""
        window = self._server.windows.find(request.match_info["slug"])
        if window is None:
            return error(404, "slug not found")
        return web.json_response(gamma.event(window, self._now_ns()))

    async def markets(self, request: web.Request) -> web.Response:
        """Gamma's array for its own parameters; the CLOB's pages otherwise."""
        if any(name in request.query for name in _OF_GAMMA):
            found = self._filtered(request)
            return web.json_response([gamma.market(one, self._now_ns()) for one in found[:_MOST]])
        known = [gamma.full_market(one) for one in self._windows() if one.session is not None]
        return page_of(self._server, known, request)

    async def events(self, request: web.Request) -> web.Response:
        """An array of events."""
        found = self._filtered(request)[:_MOST]
        return web.json_response([gamma.event(one, self._now_ns()) for one in found])

    async def events_by_keyset(self, request: web.Request) -> web.Response:
        """Pages of events; `limit` is clamped to 100, `next_cursor` is left out on the last page."""
        return self._keyset(request, "events")

    async def markets_by_keyset(self, request: web.Request) -> web.Response:
        """Pages of markets."""
        return self._keyset(request, "markets")

    def _keyset(self, request: web.Request, items: str) -> web.Response:
        query = request.query
        try:
            limit = max(1, min(_MOST, int(query.get("limit", "20"))))
            after = (
                int(base64.b64decode(query["after_cursor"], validate=True)) if "after_cursor" in query else 0
            )
        except ValueError:
            return error(400, "invalid limit or after_cursor")
        found = [one for one in self._filtered(request) if one.number > after]
        found.sort(key=lambda one: one.number)
        show = gamma.event if items == "events" else gamma.market
        told: dict[str, Any] = {items: [show(one, self._now_ns()) for one in found[:limit]]}
        if len(found) > limit:
            told["next_cursor"] = base64.b64encode(str(found[limit - 1].number).encode()).decode()
        return web.json_response(told)

    def _filtered(self, request: web.Request) -> list[Window]:
        """By slug, series (id or slug), condition, token, `closed` and `version`."""
        query = request.query
        found = self._windows()
        slugs, ids = query.getall("slug", []), query.getall("id", [])
        series = {*query.getall("series_id", []), *query.getall("series_slug", [])}
        conditions, tokens = query.getall("condition_ids", []), query.getall("clob_token_ids", [])
        if slugs:
            found = [one for one in found if one.market.slug in slugs]
        if ids:
            found = [one for one in found if str(one.number) in ids or str(100_000 + one.number) in ids]
        if series:
            found = [
                one
                for one in found
                if one.series is not None and series & {str(one.series.number), one.series.slug}
            ]
        if conditions:
            found = [one for one in found if one.market.condition_id in conditions]
        if tokens:
            found = [one for one in found if {one.market.up_token_id, one.market.down_token_id} & set(tokens)]
        if "closed" in query:
            found = [one for one in found if one.is_resolved == (query["closed"].lower() == "true")]
        if "version" in query:
            versions = set(query.getall("version"))
            found = [one for one in found if GENERATIONS[one.market.exchange] in versions]
        return found

    async def series(self, request: web.Request) -> web.Response:
        """The rolling series."""
        slugs = request.query.getall("slug", [])
        known = [one for one in self._server.windows.series if not slugs or one.slug in slugs]
        return web.json_response([gamma.series(one) for one in known])

    # ---- CLOB ----

    async def clob_market(self, request: web.Request) -> web.Response:
        """The compact market object; 404 until the CLOB knows the market."""
        window = self._known(request)
        return error(404, rules.NO_MARKET) if window is None else web.json_response(gamma.clob_market(window))

    async def full_market(self, request: web.Request) -> web.Response:
        """The full, older object; by number it is Gamma's."""
        asked = request.match_info["id"]
        if asked.isdecimal():
            named = next((one for one in self._windows() if str(one.number) == asked), None)
            if named is None:
                return error(404, "id not found")
            return web.json_response(gamma.market(named, self._now_ns()))
        window = self._known(request)
        return error(404, rules.NO_MARKET) if window is None else web.json_response(gamma.full_market(window))

    def _known(self, request: web.Request) -> Window | None:
        window = self._server.windows.by_condition.get(request.match_info["id"].lower())
        if window is None or (
            window.series is not None and window.session is None and not window.resolved_ns
        ):
            return None
        return window


def add_routes(app: web.Application, server: VenueServer) -> None:
    """Puts the handlers under their paths."""
    discovery, router = Discovery(server), app.router
    router.add_get("/markets/slug/{slug}", discovery.market_by_slug)
    router.add_get("/markets/keyset", discovery.markets_by_keyset)
    router.add_get("/markets", discovery.markets)
    router.add_get("/markets/{id}", discovery.full_market)
    router.add_get("/events/slug/{slug}", discovery.event_by_slug)
    router.add_get("/events/keyset", discovery.events_by_keyset)
    router.add_get("/events", discovery.events)
    router.add_get("/series", discovery.series)
    router.add_get("/clob-markets/{id}", discovery.clob_market)
