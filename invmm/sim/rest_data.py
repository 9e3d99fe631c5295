"""REST of the embedded venue as its data API: positions, resolutions, approvals; and where a client is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from invmm.sim import gamma, wire
from invmm.sim.account import Account
from invmm.sim.exchange import Exchange
from invmm.sim.profile import SECOND
from invmm.sim.rest_shapes import error
from invmm.types import PRICE_ONE_E4, OrderStatus, Outcome, Side
from invmm.venue.profile import CONTRACTS, POLYGON

if TYPE_CHECKING:
    from invmm.sim.server import VenueServer

_HERE = CONTRACTS[POLYGON]
_MODULES = ("0x1000008dD9001B968442c1000017eaE6E0dA00Ba", "0x200000900045e3B6259600682756002200028933")
_REDEEMER = "0xa1200000d0002264C9a1698e001292D00E1b00af"
_EXCHANGES = (_HERE.exchange_v2, _HERE.exchange_v2_neg_risk)
_ADAPTERS = (_HERE.collateral_adapter, _HERE.collateral_adapter_neg_risk)

# Takes deposits for perpetuals; nothing trades there here, but the official client counts it in.
_PERPS = "0xDCa4af75705dbB50f62437045afF9921947917d2"
APPROVALS: Final = (
    *(("ERC20", _HERE.collateral, one) for one in (*_EXCHANGES, *_ADAPTERS, _HERE.router, _HERE.exchange_v3)),
    ("ERC20", _HERE.collateral, _PERPS),
    *(("ERC1155", _HERE.conditional_tokens, one) for one in (*_EXCHANGES, *_ADAPTERS, _REDEEMER, *_MODULES)),
    *(("ERC1155", _HERE.position_manager, one) for one in (_HERE.router, _HERE.exchange_v3, _REDEEMER)),
)
"""What a trading wallet needs: standard, token, who may move it."""


class Data:
    """Handlers over a server's accounts and markets. Of whom is said by `user`, an owner or its wallet."""

    def __init__(self, server: VenueServer) -> None:
        self._server = server

    async def positions(self, request: web.Request) -> web.Response:
        """Settled tokens of the markets that are remembered, `status` OPEN, REDEEMABLE or MERGEABLE."""
        user, status = request.query.get("user", ""), request.query.get("status", "OPEN")
        conditions = request.query.getall("condition", []) + request.query.getall("condition_id", [])
        account, rows = self._server.floor.purses.at(user), []
        for exchange in self._server.floor.exchanges:
            if conditions and exchange.market.condition_id not in conditions:
                continue
            held = account.holding(exchange.market.condition_id).settled_micro
            is_won = exchange.settlement.winner is not None
            if (status.startswith("REDEEMABLE")) != is_won or (status == "MERGEABLE" and not min(held)):
                continue
            rows += [self._position(exchange, token, user, account) for token in Outcome if held[token]]
        return _page(rows)

    def _position(self, exchange: Exchange, token: Outcome, user: str, account: Account) -> dict[str, Any]:
        market = exchange.market
        held = account.holding(market.condition_id).settled_micro
        paid, bought = _paid(account, market.condition_id, token)
        size, average = held[token] / 1e6, paid / bought if bought else 0.0
        bid = exchange.book.best_bid() if token == Outcome.UP else exchange.book.best_ask()
        price = 0.5 if bid is None else bid[0] / PRICE_ONE_E4
        price = price if token == Outcome.UP else 1 - price
        other = Outcome(1 - token)
        return {
            "proxy_wallet": user or self._server.who.address,
            "token_id": wire.token_id(market, token),
            "condition_id": market.condition_id,
            "current_size": size,
            "avg_price": average,
            "entry_cost_usdc": paid / 1e6,
            "entry_fees_usdc": 0,
            "total_cost_usdc": paid / 1e6,
            "current_price": round(price, 4),
            "current_value": round(size * price, 6),
            "total_size": bought / 1e6,
            "realized_pnl": 0,
            "unrealized_pnl": round(size * (price - average), 6),
            "total_pnl": round(size * (price - average), 6),
            "percent_pnl": 0,
            "percent_realized_pnl": 0,
            "status": "REDEEMABLE" if exchange.settlement.winner is not None else "OPEN",
            "redeemable": exchange.settlement.winner is not None,
            "mergeable": min(held) > 0,
            "negative_risk": market.exchange == "v2-neg-risk",
            "archived": False,
            "verified": False,
            "title": market.slug,
            "slug": market.slug,
            "event_slug": market.slug,
            "outcome": token.name.capitalize(),
            "outcome_index": int(token),
            "opposite_outcome": other.name.capitalize(),
            "opposite_token_id": wire.token_id(market, other),
            "end_date": gamma.stamp(market.end_s * SECOND)[:10],
        }

    async def resolutions(self, request: web.Request) -> web.Response:
        """Payouts of conditions, at most twenty of them; nothing for one that is not resolved."""
        query = request.query
        asked = [
            one
            for name in ("condition", "condition_id")
            for value in query.getall(name, [])
            for one in value.split(",")
        ]
        if not 0 < len(asked) <= 20:
            return error(400, f"expected 1 to 20 conditions, got {len(asked)}")
        rows = []
        for condition in asked:
            window = self._server.windows.by_condition.get(condition)
            if window is None or not window.is_resolved or window.market.winner is None:
                continue
            winner = window.market.winner
            rows.append(
                {
                    "question_id": window.question_id,
                    "condition_id": condition,
                    "status": "resolved",
                    "extended_review": False,
                    "was_disputed": False,
                    "new_version_q": False,
                    "last_update_timestamp": (window.resolved_ns or self._server.floor.now_ns()) // SECOND,
                    "market_type": "BINARY",
                    "payouts": [1_000_000, 0] if winner == Outcome.UP else [0, 1_000_000],
                    "resolution_source": "reported",
                    "reporter": "CHAINLINK",
                }
            )
        return web.json_response({"data": rows})

    async def approvals(self, request: web.Request) -> web.Response:
        """What the wallet has approved: everything, except spenders whose allowance was set."""
        allowed = self._server.floor.purses.at(request.query.get("user", "")).allowances_micro
        rows = []
        for standard, token, spender in APPROVALS:
            amount = allowed.get(spender.lower())
            row: dict[str, Any] = {
                "token": token,
                "spender": spender,
                "standard": standard,
                "approved": amount is None or amount > 0,
            }
            if standard == "ERC20":
                row["amount"] = "max" if amount is None else str(amount)
            rows.append(row)
        address = request.query.get("user", self._server.who.address)
        return web.json_response({"data": {"address": address, "chain_id": POLYGON, "contracts": rows}})

    async def trades(self, request: web.Request) -> web.Response:
        """Fills of the account, newest first, as the data API lists them."""
        conditions = request.query.getall("condition", []) + request.query.getall("condition_id", [])
        markets = {one.market.condition_id: one.market for one in self._server.floor.exchanges}
        account, rows = self._server.floor.purses.at(request.query.get("user", "")), []
        for trade in reversed(account.trades):
            if conditions and trade.condition_id not in conditions:
                continue
            if trade.status == OrderStatus.TRADE_FAILED:
                continue
            market = markets[trade.condition_id]
            rows += [
                {
                    "proxy_wallet": part.who.address if part.who is not None else self._server.who.address,
                    "side": part.side.name,
                    "token_id": wire.token_id(market, part.token),
                    "condition_id": market.condition_id,
                    "size": part.size_micro / 1e6,
                    "price": part.price_e4 / PRICE_ONE_E4,
                    "timestamp": trade.time_ns // SECOND,
                    "slug": market.slug,
                    "outcome": part.token.name.capitalize(),
                    "outcome_index": int(part.token),
                    "transaction_hash": trade.hash_text,
                }
                for part in account.legs(trade)
            ]
        return _page(rows)

    async def geoblock(self, _: web.Request) -> web.Response:
        """Loopback is nowhere that is blocked, unless a fault says so."""
        fault = self._server.faults.armed("geoblock")
        figures = fault.figures if fault is not None else {}
        return web.json_response(
            {
                "blocked": fault is not None,
                "ip": "127.0.0.1",
                "country": str(figures.get("country", "IE")),
                "region": str(figures.get("region", "L")),
            }
        )


def _paid(account: Account, condition: str, token: Outcome) -> tuple[int, int]:
    """Micro-dollars times shares: what was paid for how many shares of a token."""
    paid = bought = 0
    for trade in account.trades:
        if trade.condition_id == condition and trade.status != OrderStatus.TRADE_FAILED:
            for part in account.legs(trade):
                if part.token == token and part.side == Side.BUY:
                    paid -= part.cash_micro
                    bought += part.size_micro
    return paid, bought


def _page(rows: list[dict[str, Any]]) -> web.Response:
    return web.json_response({"data": rows, "pagination": {"has_more": False, "next_cursor": None}})


def add_routes(app: web.Application, server: VenueServer) -> None:
    """Puts the handlers under their paths."""
    data, router = Data(server), app.router
    router.add_get("/v2/positions", data.positions)
    router.add_get("/v2/trades", data.trades)
    router.add_get("/v2/resolutions", data.resolutions)
    router.add_get("/v2/approvals", data.approvals)
    router.add_get("/api/geoblock", data.geoblock)
