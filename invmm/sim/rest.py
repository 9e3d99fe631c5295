"""REST of the embedded venue: orders, cancels, own data, books, market parameters."""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from invmm.sim import rules, signatures, wire
from invmm.sim.orders import Order
from invmm.sim.profile import SECOND
from invmm.sim.rules import OrderRequest, Refusal
from invmm.types import Outcome

if TYPE_CHECKING:
    from invmm.sim.server import VenueServer
    from invmm.sim.session import Session

Private = Callable[[bytes, web.Request], Awaitable[web.Response]]


def _error(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)


class Rest:
    """Handlers over a server's state."""

    def __init__(self, server: VenueServer) -> None:
        self._server = server

    @property
    def _session(self) -> Session:
        session = self._server.session
        assert session is not None
        return session

    # ---- orders ----

    def _read(self, payload: Any) -> OrderRequest | Refusal:
        """Order id, signature and owner first, then the order itself."""
        server, session = self._server, self._session
        signed = payload.get("order") if isinstance(payload, dict) else None
        if not isinstance(signed, dict):
            return Refusal(400, rules.INVALID_PAYLOAD)
        try:
            order_id = signatures.order_digest(signed)
            known = server.credentials
            if known.api_key:
                if payload.get("owner") != known.api_key:
                    return Refusal(400, "the order owner has to be the owner of the API KEY")
                wrapped = int(signed["signatureType"]) == 3
                signer = signatures.signer_of(signed, digest=order_id)
                if not wrapped and signed["signer"].lower() != known.address.lower():
                    return Refusal(400, "the order signer address has to be the address of the API KEY")
                if signer != known.address.lower():
                    return Refusal(400, "invalid signature")
        except (KeyError, ValueError, OverflowError, AttributeError, TypeError) as error:
            text = "invalid signature" if "signature" in str(error) else rules.INVALID_PAYLOAD
            return Refusal(400, text)
        if signed.get("tokenId") not in (session.market.up_token_id, session.market.down_token_id):
            return Refusal(404, rules.NO_BOOK)
        return wire.parse_order(payload, session.market, session.exchange.tick_e4, order_id)

    @staticmethod
    def _killed(answer: Order | Refusal) -> Refusal | None:
        """A refusal, also the one of an order that died on entry without a fill."""
        if isinstance(answer, Refusal):
            return answer
        if (
            not answer.is_open
            and not answer.filled_micro
            and answer.state.startswith(("CANCELED_", "INVALID"))
        ):
            return Refusal(400, answer.state.removeprefix("CANCELED_"))
        return None

    async def post_order(self, body: bytes, _: web.Request) -> web.Response:
        """One order."""
        payload = _json(body)
        request = self._read(payload)
        answer = (await self._session.place([request]))[0]
        refusal = self._killed(answer)
        if refusal is not None:
            return _error(refusal.status, refusal.text)
        assert isinstance(answer, Order)
        return web.json_response(wire.order_answer(answer))

    async def post_orders(self, body: bytes, _: web.Request) -> web.Response:
        """Up to 15 orders; each leg answers for itself."""
        payload = _json(body)
        if not isinstance(payload, list) or not payload:
            return _error(400, rules.INVALID_PAYLOAD)
        if len(payload) > rules.MAX_BATCH:
            refusal = rules.too_many(len(payload))
            return _error(refusal.status, refusal.text)
        answers = await self._session.place([self._read(entry) for entry in payload])
        legs = []
        for answer in answers:
            refused = self._killed(answer)
            if refused is not None:
                legs.append(wire.refused_leg(refused.text))
            elif isinstance(answer, Order):
                legs.append(wire.order_answer(answer))
        return web.json_response(legs)

    async def delete_order(self, body: bytes, _: web.Request) -> web.Response:
        """One cancel."""
        payload = _json(body)
        order_id = _order_id(payload.get("orderID")) if isinstance(payload, dict) else None
        if order_id is None:
            return _error(400, rules.INVALID_PAYLOAD)
        return web.json_response(await self._session.cancel([order_id]))

    async def delete_orders(self, body: bytes, _: web.Request) -> web.Response:
        """Up to 1000 cancels."""
        payload = _json(body)
        if not isinstance(payload, list) or not 0 < len(payload) <= rules.MAX_CANCELS:
            return _error(400, rules.INVALID_PAYLOAD)
        ids = [_order_id(entry) for entry in payload]
        known = [order_id for order_id in ids if order_id is not None]
        if len(known) != len(ids):
            return _error(400, rules.INVALID_PAYLOAD)
        return web.json_response(await self._session.cancel(known))

    async def cancel_all(self, _: bytes, __: web.Request) -> web.Response:
        """Everything that is open."""
        return web.json_response(await self._session.cancel_all())

    async def cancel_market_orders(self, body: bytes, _: web.Request) -> web.Response:
        """Everything of a market, or of one of its tokens; without either everything."""
        payload = _json(body) if body else {}
        if not isinstance(payload, dict):
            return _error(400, rules.INVALID_PAYLOAD)
        market, asset = payload.get("market"), payload.get("asset_id")
        mine = self._session.market
        if market not in (None, "", mine.condition_id):
            return web.json_response({"canceled": [], "not_canceled": {}})
        if asset in (None, ""):
            return web.json_response(await self._session.cancel_all())
        if asset not in (mine.up_token_id, mine.down_token_id):
            return web.json_response({"canceled": [], "not_canceled": {}})
        return web.json_response(await self._session.cancel_all(mine.outcome_of(asset)))

    # ---- own data ----

    async def orders(self, _: bytes, request: web.Request) -> web.Response:
        """Open orders; with `id` that order in any state."""
        query = request.query
        if "id" in query:
            found = self._find(query["id"])
            return self._page([found] if found is not None else [], request)
        entries = []
        for exchange in self._server.exchanges:
            for order in exchange.open_orders():
                entry = wire.open_order(order, exchange.market, self._server.who)
                if all(query.get(name) in (None, entry[name]) for name in ("market", "asset_id")):
                    entries.append(entry)
        return self._page(entries, request)

    async def order(self, _: bytes, request: web.Request) -> web.Response:
        """One order in any state; `null` when there is none."""
        return web.json_response(self._find(request.match_info["id"]))

    def _find(self, text: str) -> dict[str, Any] | None:
        order_id = _order_id(text)
        for exchange in self._server.exchanges:
            order = exchange.orders.get(order_id) if order_id is not None else None
            if order is not None:
                return wire.open_order(order, exchange.market, self._server.who)
        return None

    async def trades(self, _: bytes, request: web.Request) -> web.Response:
        """Own trades, newest first."""
        query = request.query
        markets = {exchange.market.condition_id: exchange.market for exchange in self._server.exchanges}
        try:
            after, before = int(query.get("after", -1)), int(query.get("before", 1 << 62))
        except ValueError:
            return _error(400, "invalid before or after")
        entries = []
        for trade in reversed(self._server.account.trades):
            entry = wire.trade_entry(trade, markets[trade.condition_id], self._server.who)
            if any(query.get(name) not in (None, entry[name]) for name in ("id", "market", "asset_id")):
                continue
            seconds = trade.time_ns // SECOND
            if not after < seconds < before:
                continue
            entries.append(entry)
        return self._page(entries, request)

    def _page(self, entries: list[dict[str, Any]], request: web.Request) -> web.Response:
        page = wire.page(entries, request.query.get("next_cursor", ""), self._server.page_limit)
        return _error(400, "invalid next_cursor") if page is None else web.json_response(page)

    async def balance(self, _: bytes, request: web.Request) -> web.Response:
        """Settled balance of the collateral or of a token, 6-decimal integers."""
        account, query = self._server.account, request.query
        value = account.settled_cash_micro
        if query.get("asset_type") != "COLLATERAL":
            token = self._token(request)
            if token is None:
                return _error(404, rules.NO_BOOK)
            value = account.settled_tokens_micro[token]
        spenders = {address: str((1 << 256) - 1) for address in signatures.EXCHANGES.values()}
        return web.json_response({"balance": str(value), "allowances": spenders})

    async def refresh_balance(self, _: bytes, __: web.Request) -> web.Response:
        """There is no cache to refresh; the answer is empty, as the venue's."""
        return web.Response()

    async def heartbeat(self, body: bytes, _: web.Request) -> web.Response:
        """Dead man's switch."""
        payload = _json(body)
        given = payload.get("heartbeat_id") if isinstance(payload, dict) else None
        following = self._server.beat(given or "")
        if following is None:
            told = {"error_msg": "Invalid Heartbeat ID", "heartbeat_id": self._server.heartbeat_id}
            return web.json_response(told, status=400)
        return web.json_response({"heartbeat_id": following})

    # ---- public ----

    def _token(self, request: web.Request) -> Outcome | None:
        market = self._session.market
        asset = request.query.get("token_id") or request.match_info.get("id")
        if asset not in (market.up_token_id, market.down_token_id):
            return None
        return market.outcome_of(asset)

    async def book(self, request: web.Request) -> web.Response:
        """The displayed book of a token."""
        token = self._token(request)
        return _error(404, rules.NO_BOOK) if token is None else web.json_response(self._session.book(token))

    async def tick_size(self, request: web.Request) -> web.Response:
        """Tick size as a number."""
        if self._token(request) is None:
            return _error(404, "market not found")
        return web.json_response({"minimum_tick_size": self._session.exchange.tick_e4 / 10_000})

    async def neg_risk(self, request: web.Request) -> web.Response:
        """Never, for these markets."""
        if self._token(request) is None:
            return _error(404, "market not found")
        return web.json_response({"neg_risk": False})

    async def fee_rate(self, request: web.Request) -> web.Response:
        """The legacy maximum."""
        if self._token(request) is None:
            return _error(404, "market not found")
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
        return _error(404, "market not found")


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _order_id(text: Any) -> bytes | None:
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except (AttributeError, ValueError):
        return None
    return raw if len(raw) == 32 else None


def add_routes(app: web.Application, server: VenueServer) -> None:
    """Puts the handlers under their paths; private ones behind the header check."""
    rest = Rest(server)

    def private(handler: Private) -> Callable[[web.Request], Awaitable[web.Response]]:
        @functools.wraps(handler)
        async def checked(request: web.Request) -> web.Response:
            body = await request.read()
            refusal = server.refusal_of_access(request, body)
            return refusal if refusal is not None else await handler(body, request)

        return checked

    router = app.router
    router.add_post("/order", private(rest.post_order))
    router.add_post("/orders", private(rest.post_orders))
    router.add_delete("/order", private(rest.delete_order))
    router.add_delete("/orders", private(rest.delete_orders))
    router.add_delete("/cancel-all", private(rest.cancel_all))
    router.add_delete("/cancel-market-orders", private(rest.cancel_market_orders))
    router.add_get("/data/orders", private(rest.orders))
    router.add_get("/data/order/{id}", private(rest.order))
    router.add_get("/data/trades", private(rest.trades))
    router.add_get("/balance-allowance", private(rest.balance))
    router.add_get("/balance-allowance/update", private(rest.refresh_balance))
    router.add_post("/v1/heartbeats", private(rest.heartbeat))
    router.add_get("/book", rest.book)
    router.add_get("/tick-size", rest.tick_size)
    router.add_get("/tick-size/{id}", rest.tick_size)
    router.add_get("/neg-risk", rest.neg_risk)
    router.add_get("/fee-rate", rest.fee_rate)
    router.add_get("/time", rest.clock)
    router.add_get("/version", rest.version)
    router.add_get("/clob-markets/{id}", rest.clob_market)
