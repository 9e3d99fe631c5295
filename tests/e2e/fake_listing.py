"""A tiny server of listings: Gamma and the CLOB's public pages, with windows whose ids can be recomputed."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from aiohttp import web

from invmm.venue.positions import condition_id, position_ids_v1, position_ids_v2
from invmm.venue.profile import CONTRACTS, POLYGON, Profile, loopback
from invmm.venue.series import Window

USDC_E = CONTRACTS[POLYGON].bridged_collateral
ORACLE = "0x6A9D222616C90FcA5754cd1333cFD9b7fb6a4F74"


def listing(window: Window, version: str = "v1") -> tuple[dict[str, Any], dict[str, Any]]:
    """Gamma's and the CLOB's object of a window."""
    from datetime import UTC, datetime

    if version == "v1":
        condition = condition_id(ORACLE, "0x" + window.slug.encode().ljust(32, b"\0")[:32].hex())
        ids = position_ids_v1(condition, USDC_E)
    else:
        condition = "0x01" + window.start_s.to_bytes(16, "big").hex() + "00" * 15
        ids = position_ids_v2(condition)
    gamma = {
        "slug": window.slug,
        "conditionId": condition,
        "outcomes": '["Up", "Down"]',
        "clobTokenIds": json.dumps(ids) if version == "v1" else None,
        "positionIds": list(ids),
        "outcomePrices": '["0.5", "0.5"]',
        "eventStartTime": datetime.fromtimestamp(window.start_s, UTC).isoformat(),
        "endDate": datetime.fromtimestamp(window.end_s, UTC).isoformat(),
        "active": True,
        "closed": False,
        "enableOrderBook": True,
        "acceptingOrders": True,
        "negRisk": False,
        "feesEnabled": True,
        "feeSchedule": {"exponent": 1, "rate": 0.07, "takerOnly": True, "rebateRate": 0.2},
        "version": version,
    }
    clob = {
        "t": [{"t": ids[0], "o": "Up"}, {"t": ids[1], "o": "Down"}],
        "c": condition,
        "mos": 5,
        "mts": 0.01,
        "ao": True,
        "fd": {"r": 0.07, "e": 1, "to": True},
        "v": version,
    }
    return gamma, clob


class FakeListing:
    """Serves what was put into `gamma` (by slug) and `clob` (by condition) on a free port."""

    def __init__(self) -> None:
        self.gamma: dict[str, Any] = {}
        self.clob: dict[str, Any] = {}
        self.failures: list[int] = []  # statuses to answer with before anything else
        self.asked: Counter[str] = Counter()
        self.profile: Profile | None = None
        self._runner: web.AppRunner | None = None

    def put(self, window: Window, version: str = "v1") -> None:
        gamma, clob = listing(window, version)
        self.gamma[window.slug] = gamma
        self.clob[clob["c"]] = clob

    async def __aenter__(self) -> FakeListing:
        app = web.Application()
        app.router.add_get("/markets/slug/{key}", self._answer(self.gamma))
        app.router.add_get("/clob-markets/{key}", self._answer(self.clob))
        app.router.add_get("/markets/{key}", self._by_condition)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.profile = loopback(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def _answer(self, pages: dict[str, Any]) -> Any:
        async def handle(request: web.Request) -> web.Response:
            key = request.match_info["key"]
            self.asked[key] += 1
            if self.failures:
                return web.Response(status=self.failures.pop(0), text="<html>no</html>")
            if key not in pages:
                return web.json_response({"error": "not found"}, status=404)
            return web.json_response(pages[key])

        return handle

    async def _by_condition(self, request: web.Request) -> web.Response:
        for gamma in self.gamma.values():
            if gamma["conditionId"] == request.match_info["key"]:
                return web.json_response({"market_slug": gamma["slug"], "condition_id": gamma["conditionId"]})
        return web.json_response({"error": "market not found"}, status=404)
