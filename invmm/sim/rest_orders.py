"""REST of the embedded venue that changes orders: placing and cancelling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from invmm.sim import rules, wire
from invmm.sim.access import WRONG_VERSION, ApiKey
from invmm.sim.mishaps import unanswered
from invmm.sim.orders import Order
from invmm.sim.profile import SECOND
from invmm.sim.rest_shapes import KEY, account_of, error, json_of, order_id_of
from invmm.sim.rules import Refusal, Who

if TYPE_CHECKING:
    from invmm.sim.floor import Placing
    from invmm.sim.server import VenueServer


class Orders:
    """Handlers over a server's state."""

    def __init__(self, server: VenueServer) -> None:
        self._server = server

    def _read(self, payload: Any, key: ApiKey) -> Placing:
        """Market first, then owner and signature, then the order itself, with the market that it is for."""
        signed = payload.get("order") if isinstance(payload, dict) else None
        if not isinstance(signed, dict):
            return Refusal(400, rules.INVALID_PAYLOAD)
        server = self._server
        session = server.floor.by_token(signed.get("tokenId"))
        if session is None:
            return Refusal(404, rules.NO_BOOK)
        if server.faults.armed("version") is not None:
            return WRONG_VERSION
        order_id = server.access.admit(payload, server.exchange_name(session.market), key)
        if isinstance(order_id, Refusal):
            return order_id
        if self._is_too_old(signed):
            return Refusal(400, rules.TOO_OLD)
        request = wire.parse_order(payload, session.market, session.exchange.tick_e4, order_id)
        if isinstance(request, Refusal):
            return request
        if key.api_key:
            request.who = Who(key.api_key, signed["maker"], key.address)
        return session, request

    def _is_too_old(self, signed: dict[str, Any]) -> bool:
        """Whether the profile has an age limit and the order's timestamp is older."""
        limit_s = self._server.profile.order_age_limit_s
        if not limit_s:
            return False
        return int(signed["timestamp"]) // 1000 < self._server.floor.now_ns() // SECOND - limit_s

    def _accepted(self, order: Order) -> dict[str, Any]:
        """The answer for an order that was taken."""
        told = wire.order_answer(order)
        if self._server.profile.renames_orders or self._server.faults.strike("rename") is not None:
            told["orderID"] = "0x" + order.request.order_id[::-1].hex()
        return told

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

    async def post_order(self, body: bytes, http: web.Request) -> web.Response:
        """One order."""
        request = self._read(json_of(body), http[KEY])
        late = self._server.faults.strike_request("late", http)
        if late is not None:
            self._server.floor.place_late([request], int(late.number("seconds", 60.0) * SECOND))
            return await unanswered(late, http)
        answer = (await self._server.floor.place([request]))[0]
        refusal = self._killed(answer)
        if refusal is not None:
            return error(refusal.status, refusal.text)
        assert isinstance(answer, Order)
        return web.json_response(self._accepted(answer))

    async def post_orders(self, body: bytes, http: web.Request) -> web.Response:
        """Up to 15 orders; each leg answers for itself."""
        payload = json_of(body)
        if not isinstance(payload, list) or not payload:
            return error(400, rules.INVALID_PAYLOAD)
        if len(payload) > rules.MAX_BATCH:
            refusal = rules.too_many(len(payload))
            return error(refusal.status, refusal.text)
        placings = [self._read(entry, http[KEY]) for entry in payload]
        faults, floor = self._server.faults, self._server.floor
        late = faults.strike_request("late", http)
        if late is not None:
            floor.place_late(placings, int(late.number("seconds", 60.0) * SECOND))
            return await unanswered(late, http)
        partial = faults.strike_request("partial", http)
        if partial is not None:
            await floor.place(placings[: int(partial.number("legs", len(placings) // 2))])
            return error(500, rules.NOT_INSERTED)
        answers = await floor.place(placings)
        legs = []
        for answer in answers:
            refused = self._killed(answer)
            if refused is not None:
                legs.append(wire.refused_leg(refused.text))
            elif isinstance(answer, Order):
                legs.append(self._accepted(answer))
        return web.json_response(legs)

    async def delete_order(self, body: bytes, http: web.Request) -> web.Response:
        """One cancel."""
        payload = json_of(body)
        order_id = order_id_of(payload.get("orderID")) if isinstance(payload, dict) else None
        if order_id is None:
            return error(400, rules.INVALID_PAYLOAD)
        return web.json_response(await self._server.floor.cancel([order_id], account_of(http)))

    async def delete_orders(self, body: bytes, http: web.Request) -> web.Response:
        """Up to 1000 cancels."""
        payload = json_of(body)
        if not isinstance(payload, list) or not 0 < len(payload) <= rules.MAX_CANCELS:
            return error(400, rules.INVALID_PAYLOAD)
        ids = [order_id_of(entry) for entry in payload]
        known = [order_id for order_id in ids if order_id is not None]
        if len(known) != len(ids):
            return error(400, rules.INVALID_PAYLOAD)
        return web.json_response(await self._server.floor.cancel(known, account_of(http)))

    async def cancel_all(self, _: bytes, http: web.Request) -> web.Response:
        """Everything that is open."""
        return web.json_response(await self._server.floor.cancel_all(account=account_of(http)))

    async def cancel_market_orders(self, body: bytes, http: web.Request) -> web.Response:
        """Everything of a market, or of one of its tokens; without either everything."""
        payload = json_of(body) if body else {}
        if not isinstance(payload, dict):
            return error(400, rules.INVALID_PAYLOAD)
        market, asset = payload.get("market"), payload.get("asset_id")
        floor = self._server.floor
        if asset in (None, ""):
            return web.json_response(await floor.cancel_all(market or None, account=account_of(http)))
        session = floor.by_token(asset)
        if session is None or market not in (None, "", session.market.condition_id):
            return web.json_response({"canceled": [], "not_canceled": {}})
        mine = session.market
        told = await floor.cancel_all(mine.condition_id, mine.outcome_of(asset), account_of(http))
        return web.json_response(told)
