"""REST of the embedded venue with figures taken from a book, one token or many at a time, and what clients
ask besides trading.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from invmm.sim import rules, wire
from invmm.sim.rest_shapes import asset_of, error, json_of, token_of
from invmm.sim.rules import decimal
from invmm.types import PRICE_ONE_E4, Outcome, Side

if TYPE_CHECKING:
    from invmm.sim.server import VenueServer
    from invmm.sim.session import Session

_MOST_TOKENS = 500
_Figure = Callable[["Session", Outcome, str], dict[str, str]]


def _best(session: Session, token: Outcome) -> tuple[int, int]:
    """Best bid and ask of a token's displayed book; 0 and a dollar where a side is empty."""
    book = session.books.up if token == Outcome.UP else session.books.down
    bid, ask = book.best_bid(), book.best_ask()
    return (0 if bid is None else bid[0], PRICE_ONE_E4 if ask is None else ask[0])


def _midpoint(session: Session, token: Outcome, _: str) -> dict[str, str]:
    return {"mid": decimal(sum(_best(session, token)) * 5, 5)}


def _price(session: Session, token: Outcome, side: str) -> dict[str, str]:
    # Which side is meant is disputed; this is the newer documentation's.
    return {"price": wire.price_text(_best(session, token)[side != "BUY"])}


def _spread(session: Session, token: Outcome, _: str) -> dict[str, str]:
    bid, ask = _best(session, token)
    return {"spread": wire.price_text(ask - bid)}


def _last(session: Session, token: Outcome, _: str) -> dict[str, str]:
    """The last trade as the token's own price; half a dollar and no side before the first."""
    price, side = session.last_trade
    if side is None:
        return {"price": "0.5", "side": ""}
    if token == Outcome.DOWN:
        price, side = PRICE_ONE_E4 - price, Side(1 - side)
    return {"price": wire.price_text(price), "side": side.name}


class Prices:
    """Handlers over a server's markets."""

    def __init__(self, server: VenueServer) -> None:
        self._server = server

    def one(self, figure: _Figure) -> Callable[[web.Request], Any]:
        """A handler of a figure for `token_id`."""

        async def answer(request: web.Request) -> web.Response:
            found = token_of(self._server, asset_of(request))
            if found is None:
                return error(404, rules.NO_BOOK)
            side = request.query.get("side", "BUY")
            if side not in Side.__members__:
                return error(400, "Invalid side")
            return web.json_response(figure(*found, side))

        return answer

    def many(self, figure: _Figure, key: str) -> Callable[[web.Request], Any]:
        """A handler of a figure for a list of `{"token_id": …}`; tokens without a book are left out."""

        async def answer(request: web.Request) -> web.Response:
            asked = await _asked(request)
            if asked is None:
                return error(400, "Invalid payload")
            told: dict[str, Any] = {}
            for one in asked:
                found = token_of(self._server, one["token_id"])
                if found is None:
                    continue
                side = str(one.get("side", "BUY"))
                value = figure(*found, side)[key]
                if key == "price":
                    told.setdefault(one["token_id"], {})[side] = value
                else:
                    told[one["token_id"]] = value
            return web.json_response(told)

        return answer

    async def last_prices(self, request: web.Request) -> web.Response:
        """Last trades of a list of tokens, of those that traded."""
        asked = await _asked(request)
        if asked is None:
            return error(400, "Invalid payload")
        found = [(one["token_id"], token_of(self._server, one["token_id"])) for one in asked]
        told = [{"token_id": name, **_last(*place, "")} for name, place in found if place is not None]
        return web.json_response([one for one in told if one["side"]])

    async def books(self, request: web.Request) -> web.Response:
        """Books of a list of tokens."""
        asked = await _asked(request)
        if asked is None:
            return error(400, "Invalid payload")
        found = [token_of(self._server, one["token_id"]) for one in asked]
        told = orjson.dumps([place[0].book(place[1]) for place in found if place is not None])
        return web.Response(body=told, content_type="application/json", charset="utf-8")

    async def market_of_token(self, request: web.Request) -> web.Response:
        """Condition id and both tokens of a token's market; the primary one is the smaller id."""
        found = token_of(self._server, asset_of(request))
        if found is None:
            return error(404, rules.NO_MARKET)
        market = found[0].market
        first, second = sorted((market.up_token_id, market.down_token_id), key=int)
        return web.json_response(
            {"condition_id": market.condition_id, "primary_token_id": first, "secondary_token_id": second}
        )


async def _asked(request: web.Request) -> list[dict[str, Any]] | None:
    payload = json_of(await request.read())
    if not isinstance(payload, list) or not 0 < len(payload) <= _MOST_TOKENS:
        return None
    return payload if all(isinstance(one, dict) and "token_id" in one for one in payload) else None


async def _fine(_: web.Request) -> web.Response:
    return web.json_response("OK")


async def _no_builder(_: web.Request) -> web.Response:
    """Nobody is a builder here: no fee of theirs."""
    return web.json_response({"builder_maker_fee_rate_bps": 0, "builder_taker_fee_rate_bps": 0})


def add_routes(app: web.Application, server: VenueServer) -> None:
    """Puts the handlers under their paths."""
    prices, router = Prices(server), app.router
    for name, figure, key in (
        ("midpoint", _midpoint, "mid"),
        ("price", _price, "price"),
        ("spread", _spread, "spread"),
    ):
        router.add_get(f"/{name}", prices.one(figure))
        router.add_post(f"/{name}s", prices.many(figure, key))
    router.add_get("/last-trade-price", prices.one(_last))
    router.add_post("/last-trades-prices", prices.last_prices)
    router.add_post("/books", prices.books)
    router.add_get("/markets-by-token/{id}", prices.market_of_token)
    router.add_get("/fees/builder-fees/{code}", _no_builder)
    router.add_get("/", _fine)
    router.add_get("/ok", _fine)
