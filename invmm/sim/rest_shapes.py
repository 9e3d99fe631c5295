"""What the REST handlers of the embedded venue have in common: error bodies, request bodies, pages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from invmm.sim import wire
from invmm.types import Outcome

if TYPE_CHECKING:
    from invmm.sim.server import VenueServer


def error(status: int, text: str) -> web.Response:
    """An error in the venue's shape."""
    return web.json_response({"error": text}, status=status)


def json_of(body: bytes) -> Any:
    """A request's body, None when it is no JSON."""
    try:
        return json.loads(body)
    except ValueError:
        return None


def order_id_of(text: Any) -> bytes | None:
    """The 32 bytes of an order id, None when it is none."""
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except (AttributeError, ValueError):
        return None
    return raw if len(raw) == 32 else None


def page_of(server: VenueServer, entries: list[dict[str, Any]], request: web.Request) -> web.Response:
    """One page of a listing, as `next_cursor` asks for it."""
    page = wire.page(entries, request.query.get("next_cursor", ""), server.page_limit)
    return error(400, "invalid next_cursor") if page is None else web.json_response(page)


def token_of(server: VenueServer, request: web.Request) -> Outcome | None:
    """The token that a request names, None when it is not one of the running market's."""
    session = server.session
    assert session is not None
    market = session.market
    asset = request.query.get("token_id") or request.match_info.get("id")
    if asset not in (market.up_token_id, market.down_token_id):
        return None
    return market.outcome_of(asset)
