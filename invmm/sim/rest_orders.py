"""REST of the embedded venue that changes orders: placing and cancelling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from invmm.sim import rules, signatures, wire
from invmm.sim.orders import Order
from invmm.sim.rest_shapes import error, json_of, order_id_of
from invmm.sim.rules import OrderRequest, Refusal

if TYPE_CHECKING:
    from invmm.sim.server import VenueServer
    from invmm.sim.session import Session


class Orders:
    """Handlers over a server's state."""

    def __init__(self, server: VenueServer) -> None:
        self._server = server

    @property
    def _session(self) -> Session:
        session = self._server.session
        assert session is not None
        return session

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
        except (KeyError, ValueError, OverflowError, AttributeError, TypeError) as wrong:
            text = "invalid signature" if "signature" in str(wrong) else rules.INVALID_PAYLOAD
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
        payload = json_of(body)
        request = self._read(payload)
        answer = (await self._session.place([request]))[0]
        refusal = self._killed(answer)
        if refusal is not None:
            return error(refusal.status, refusal.text)
        assert isinstance(answer, Order)
        return web.json_response(wire.order_answer(answer))

    async def post_orders(self, body: bytes, _: web.Request) -> web.Response:
        """Up to 15 orders; each leg answers for itself."""
        payload = json_of(body)
        if not isinstance(payload, list) or not payload:
            return error(400, rules.INVALID_PAYLOAD)
        if len(payload) > rules.MAX_BATCH:
            refusal = rules.too_many(len(payload))
            return error(refusal.status, refusal.text)
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
        payload = json_of(body)
        order_id = order_id_of(payload.get("orderID")) if isinstance(payload, dict) else None
        if order_id is None:
            return error(400, rules.INVALID_PAYLOAD)
        return web.json_response(await self._session.cancel([order_id]))

    async def delete_orders(self, body: bytes, _: web.Request) -> web.Response:
        """Up to 1000 cancels."""
        payload = json_of(body)
        if not isinstance(payload, list) or not 0 < len(payload) <= rules.MAX_CANCELS:
            return error(400, rules.INVALID_PAYLOAD)
        ids = [order_id_of(entry) for entry in payload]
        known = [order_id for order_id in ids if order_id is not None]
        if len(known) != len(ids):
            return error(400, rules.INVALID_PAYLOAD)
        return web.json_response(await self._session.cancel(known))

    async def cancel_all(self, _: bytes, __: web.Request) -> web.Response:
        """Everything that is open."""
        return web.json_response(await self._session.cancel_all())

    async def cancel_market_orders(self, body: bytes, _: web.Request) -> web.Response:
        """Everything of a market, or of one of its tokens; without either everything."""
        payload = json_of(body) if body else {}
        if not isinstance(payload, dict):
            return error(400, rules.INVALID_PAYLOAD)
        market, asset = payload.get("market"), payload.get("asset_id")
        mine = self._session.market
        if market not in (None, "", mine.condition_id):
            return web.json_response({"canceled": [], "not_canceled": {}})
        if asset in (None, ""):
            return web.json_response(await self._session.cancel_all())
        if asset not in (mine.up_token_id, mine.down_token_id):
            return web.json_response({"canceled": [], "not_canceled": {}})
        return web.json_response(await self._session.cancel_all(mine.outcome_of(asset)))
