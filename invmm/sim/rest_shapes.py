"""What the REST handlers of the embedded venue have in common: error bodies, request bodies, pages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from invmm.sim import wire
from invmm.types import Outcome

if TYPE_CHECKING:
    from invmm.sim.access import ApiKey
    from invmm.sim.server import VenueServer
    from invmm.sim.session import Session

# Newer aiohttp warns of text as a key here, older ones have no class for it.
KEY: Final[Any] = getattr(web, "RequestKey", web.AppKey)("key")
"""Where a request keeps the API key that its headers proved."""


def error(status: int, text: str) -> web.Response:
    """An error in the venue's shape."""
    return web.json_response({"error": text}, status=status)


def account_of(request: web.Request) -> str:
    """The account that a private request comes from; empty where the venue checks nothing."""
    key: ApiKey = request[KEY]
    return key.address if key.api_key else ""


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


def token_of(server: VenueServer, asset: Any) -> tuple[Session, Outcome] | None:
    """The open market and outcome of a token id, None when there is no such market."""
    session = server.floor.by_token(asset)
    return None if session is None else (session, session.market.outcome_of(asset))


def asset_of(request: web.Request) -> str | None:
    """The token id that a request names."""
    return request.query.get("token_id") or request.match_info.get("id")
