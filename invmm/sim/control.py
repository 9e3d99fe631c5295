"""The control face of the embedded venue, under `/_control`: clock, markets, truth, modes, faults. Loopback
only, not the venue's protocol.

Faults (`POST /_control/fault`, JSON with `kind` and figures). Those of the first part happen at once; the
others are armed: they strike a share `rate` of their occasions (default: all), `count` times (default 1,
without end when a rate is given), drawn from the server's seed. Arming one again replaces it; `{"kind":
"clear", "of": kind}` disarms one, without `of` all. Times are seconds of the venue. Faults on requests may
be narrowed by `method` and by a `path` prefix. `struck` in the truth counts what has struck.

| kind         | figures (defaults)                 | what happens
|--------------|------------------------------------|---
| kill         | channel (market), count (all)      | sockets are cut without a closing handshake
| garbage      | channel, text (no JSON)            | `text` is sent as a message
| split        | channel, parts (3), count (1)      | the next messages go out in so many WebSocket frames
| stall        | channel                            | no data any more, PONG goes on, what is missed is lost
| resume       | channel                            | ends a stall
| settlement   | fail_rate, retry_rate, delay_s (0) | matches from now on: share FAILED, share RETRYING,
|              | lose (0)                           | seconds before the first stage; so many are confirmed
|              |                                    | and never reach the chain; until cleared
| http         | status (503), body, retry_after,   | the answer to a REST request is this instead; `done`:
|              | done (false)                       | what was asked is done all the same
| lose         |                                    | an order or cancel is done, but never answered
| slow         | seconds (1), before (false)        | the answer waits, or what was asked waits
| late         | seconds (60), answer ("cut")       | orders of a request arrive that much later; the client
|              |                                    | sees a cut, "silence", or an answer as of `http`
| partial      | legs (half)                        | a batch: the first legs are placed, the answer is 500
| revoke       | seconds (1)                        | the venue ends an accepted order as INVALID
| undead       |                                    | a cancel is acknowledged, the order lives on
| rename       |                                    | an order's answer bears another id than its hash
| drop         | event ("order", "trade"; both)     | a user event is never sent
| duplicate    | event, seconds (1)                 | a user event is sent again within so long
| reorder      | event, seconds (1)                 | a user event is held back for up to so long
| hide         | listing ("orders", "order",        | an order or trade is missing from listings while it is
|              | "trades"; all), seconds, id        | younger than that; drawn once for each
| lag          | listing ("orders", "trades"),      | a listing is that old; strikes always while armed
|              | seconds (5)                        |
| clock_offset | seconds (0)                        | the venue's clock is wrong; while armed
| version      | version (3)                        | `/version` says so, orders: order_version_mismatch;
|              |                                    | while armed
| hydration    | seconds (60)                       | windows listed from now on: so long 404 at the CLOB
| mute         | token, beyond                      | no data of one token; none at all for a connection
|              |                                    | with more than `beyond` tokens; while armed
| ghost        | form ("hollow", "old"), seconds    | a dump after subscribing is not the book: a cent and
|              | (30)                               | 99, or older by its stamp and without its best
| wrong_hash   |                                    | a market message bears wrong checksums
| echo         |                                    | a market message is sent twice
| swap         |                                    | level changes go out after the next message
| hold         | seconds (10)                       | nothing for so long, then everything at once
| omit         | event                              | market messages of this type are never sent
| cross        |                                    | a bid at the ask is told that the venue never had
| geoblock     | country, region                    | `/api/geoblock` says blocked; while armed
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aiohttp import web
from eth_utils.address import to_checksum_address

from invmm.errors import ConfigError
from invmm.sim.account import Account
from invmm.sim.clock import TapeClock
from invmm.sim.faults import KINDS
from invmm.sim.modes import POST_ONLY_S, RESTART_S
from invmm.sim.profile import SECOND
from invmm.sim.windows import Series, Window
from invmm.types import Outcome, VenueMode

if TYPE_CHECKING:
    from invmm.sim.server import VenueServer


class Control:
    """Handlers over a server's state."""

    def __init__(self, server: VenueServer) -> None:
        self._server = server

    async def start(self, request: web.Request) -> web.Response:
        """Starts a market's clock.

        JSON: `market` (number of the tape, default the next one), `speed` (default 1), `monotonic_ns` (the
        instant on CLOCK_MONOTONIC at which the tape begins, default now), `tape_ns` (tape time of that
        instant, default the receive time of the first frame), `beside` (true: markets that run go on, and the
        new one follows their clock; otherwise they are settled and resolved at once). Answers with the first
        four, which is the mapping of the clock.
        """
        told = await request.json() if request.can_read_body else {}
        server = self._server
        running = server.session is not None and server.session.clock is not None
        index = int(told.get("market", server.index + 1 if running else server.index))
        if not 0 <= index < len(server.tapes):
            return web.json_response(
                {"error": f"market: expected 0 to {len(server.tapes) - 1}, got {index}"}, status=400
            )
        speed = float(told.get("speed", 1.0))
        if not 0.001 <= speed <= 1000:
            return web.json_response({"error": f"speed: expected 0.001 to 1000, got {speed}"}, status=400)
        beside = bool(told.get("beside", False))
        first_ns = int(server.tapes[index].rows["recv_ns"][0])
        clock = TapeClock(
            int(told.get("monotonic_ns", time.monotonic_ns())), int(told.get("tape_ns", first_ns)), speed
        )
        server.start(clock, index, beside=beside)
        assert server.floor.clock is not None
        clock = server.floor.clock
        return web.json_response({"market": index, **mapping(clock)})

    async def clock(self, request: web.Request) -> web.Response:
        """The clock's mapping and the venue's time; POST with `advance_s` jumps ahead first.

        What lies between happens at once; clients that made the same clock from the mapping have to make it
        anew.
        """
        floor = self._server.floor
        if request.method == "POST":
            told = await request.json()
            ahead_s = float(told["advance_s"])
            if floor.clock is None or not ahead_s >= 0:
                return web.json_response(
                    {"error": f"advance_s: expected seconds ahead on a running clock, got {ahead_s}"},
                    status=400,
                )
            floor.advance(int(ahead_s * SECOND))
            await self._server.windows.step()
        known = mapping(floor.clock) if floor.clock is not None else {}
        return web.json_response({"now_ns": floor.now_ns(), **known})

    async def series(self, request: web.Request) -> web.Response:
        """Adds a rolling series (`Series`' attributes); starts the clock at real time when none runs yet, at
        `speed` (default 1).
        """
        told = dict(await request.json())
        speed = float(told.pop("speed", 1.0))
        try:
            self._server.windows.add(Series(**told))
        except ConfigError as error:
            return web.json_response({"error": str(error)}, status=400)
        if self._server.floor.clock is None:
            self._server.run_clock(speed)
        await self._server.windows.step()
        return await self.markets(request)

    async def markets(self, _: web.Request) -> web.Response:
        """Every market that discovery shows, by start: its parameters and where in its life it is."""
        windows = sorted(self._server.windows.by_condition.values(), key=lambda one: one.market.start_s)
        now_ns = self._server.floor.now_ns()
        return web.json_response({"now_ns": now_ns, "markets": [_window(one) for one in windows]})

    async def finish(self, _: web.Request) -> web.Response:
        """Settles and resolves the running market at once, whatever its clock says."""
        if self._server.session is not None:
            self._server.session.finish()
        return await self.truth(_)

    async def truth(self, _: web.Request) -> web.Response:
        """What the venue knows: balances, trades, orders with their true queue places. Trades and orders are
        everybody's, balances the first account's; `accounts` has everybody's, by the address of the key.
        """
        return web.json_response(self._truth())

    def _truth(self) -> dict[str, Any]:
        server, account = self._server, self._server.floor.purses.first
        orders, rebate, owner = [], 0, server.floor.purses.owner
        for exchange in server.floor.exchanges:
            rebate = account.rebate_micro(exchange.market.rebate_share)
            for order in exchange.orders.values():
                request = order.request
                orders.append(
                    {
                        "order_id": request.id_text,
                        "account": request.who.account if request.who is not None else owner,
                        "market": exchange.market.condition_id,
                        "token": int(request.token),
                        "side": int(request.side),
                        "price_e4": request.price_e4,
                        "size_micro": request.size_micro,
                        "filled_micro": order.filled_micro,
                        "state": order.state,
                        "arrived_ns": order.arrived_ns,
                        "ahead_micro": exchange.overlay.ahead_micro(order),
                        "truth": order.truth,
                    }
                )
        trades = [
            {
                "id": trade.id_text,
                "market": trade.condition_id,
                "status": trade.status.name,
                "time_ns": trade.time_ns,
                "legs": [
                    {
                        "order_id": "0x" + leg.order_id.hex(),
                        "account": leg.who.account if leg.who is not None else owner,
                        "token": int(leg.token),
                        "side": int(leg.side),
                        "price_e4": leg.price_e4,
                        "size_micro": leg.size_micro,
                        "is_taker": leg.is_taker,
                        "cash_micro": leg.cash_micro,
                        "fee_micro": leg.fee_micro,
                    }
                    for leg in trade.legs
                ],
            }
            for trade in server.floor.purses.trades()
        ]
        session = server.session
        for one in server.floor.purses:
            one.check()
        markets = [
            {
                "market": exchange.market.condition_id,
                "slug": exchange.market.slug,
                "tokens_micro": [
                    account.tokens_micro(token, exchange.market.condition_id) for token in Outcome
                ],
                "settled_tokens_micro": list(account.holding(exchange.market.condition_id).settled_micro),
                "is_closed": exchange.is_closed,
                "winner": None if exchange.settlement.winner is None else int(exchange.settlement.winner),
            }
            for exchange in server.floor.exchanges
        ]
        return {
            "market": server.index,
            "markets": markets,
            "forgotten_markets": server.floor.forgotten,
            "rolled": server.windows.rolled,
            "struck": dict(server.faults.struck),
            "paid_in_micro": account.paid_in_micro,
            "now_ns": session.now_ns() if session is not None else 0,
            "is_running": session is not None and session.is_running,
            "books_beside": session.books_beside if session is not None else 0,
            "sent_frames": session.sent_rows if session is not None else 0,
            "winner": None
            if session is None or session.exchange.settlement.winner is None
            else int(session.exchange.settlement.winner),
            "start_micro": account.start_micro,
            "cash_micro": account.cash_micro,
            "settled_cash_micro": account.settled_cash_micro,
            "tokens_micro": [account.tokens_micro(token) for token in Outcome],
            "settled_tokens_micro": list(account.settled_tokens_micro),
            "fees_micro": account.fees_micro,
            "rebate_estimate_micro": rebate,
            "payout_micro": account.payout_micro,
            "merged_micro": account.merged_micro,
            "unredeemed_micro": account.unredeemed_micro,
            "chain": _chain(server),
            "voided_trades": account.voided,
            "heartbeat_ended": list(server.switch.ended),
            "dropped_silent": server.market_channel.dropped_silent + server.user_channel.dropped_silent,
            "accounts": {name: _purse(one) for name, one in server.floor.purses.items()},
            "trades": trades,
            "orders": orders,
        }

    async def merge(self, request: web.Request) -> web.Response:
        """Burns settled pairs for a dollar each, unless the venue has a chain: then who holds them does it.
        JSON: `size_micro`, `market` (condition id), `account` (the first one by default).
        """
        told = await request.json()
        if self._server.operator is not None:
            raise ValueError("merge: expected a venue without a chain; there, merge on the chain")
        session = self._server.session
        if "market" in told:
            session = self._server.floor.sessions.get(told["market"])
        merged = 0
        if session is not None:
            merged = session.exchange.merge(int(told["size_micro"]), _owner(told))
        return web.json_response({"merged_micro": merged})

    async def mode(self, request: web.Request) -> web.Response:
        """Sets the venue's mode: `mode` is a name of `VenueMode`, for `seconds` of the venue (default: for
        good) and then RUNNING. RESTART is the walk of an engine restart: RESTARTING for `restart_s` (default
        90), POST_ONLY for `post_only_s` (default 120), RUNNING. `walk`: a list of [mode, seconds] instead.
        `wipe`: true ends all open orders first.
        """
        told = await request.json()
        try:
            if told.get("mode") == "RESTART":
                steps = [
                    (VenueMode.RESTARTING, float(told.get("restart_s", RESTART_S))),
                    (VenueMode.POST_ONLY, float(told.get("post_only_s", POST_ONLY_S))),
                ]
            elif "walk" in told:
                steps = [(VenueMode[name], float(seconds)) for name, seconds in told["walk"]]
            else:
                steps = [(VenueMode[told["mode"]], float(told.get("seconds", 0)))]
        except (KeyError, TypeError, ValueError) as error:
            names = ", ".join(mode.name for mode in VenueMode)
            return web.json_response(
                {"error": f"mode: expected RESTART or one of {names}: {error!r}"}, status=400
            )
        if told.get("wipe"):
            for exchange in self._server.floor.exchanges:
                for order in exchange.open_orders():
                    exchange.cancel(order.request.order_id)
        self._server.mode.walk(steps)
        return web.json_response({"mode": self._server.mode.now().name, "left_s": self._server.mode.left_s()})

    async def balance(self, request: web.Request) -> web.Response:
        """Sets what an account has: `account` (address of its key, the first one by default),
        `collateral_micro` (settled), `allowances` (micro-dollars by spender; null: unlimited), `leaked_micro`
        (collateral that the venue wrongly counts as spent). Orders that are not covered any more are
        cancelled by the venue.
        """
        told = await request.json()
        account = self._server.floor.purses.named(_owner(told))
        if "collateral_micro" in told:
            before = account.settled_cash_micro
            account.pay_in(int(told["collateral_micro"]) + account.unredeemed_micro - before)
            if (operator := self._server.operator) is not None and account.wallet:
                operator.pay(account.wallet, account.settled_cash_micro - before)
        account.leaked_micro = int(told.get("leaked_micro", account.leaked_micro))
        for spender, amount in dict(told.get("allowances", {})).items():
            if amount is None:
                account.allowances_micro.pop(spender.lower(), None)
            else:
                account.allowances_micro[spender.lower()] = int(amount)
        self._server.floor.check_balances()
        return web.json_response(
            {"settled_cash_micro": account.settled_cash_micro, "allowances": account.allowances_micro}
        )

    async def fault(self, request: web.Request) -> web.Response:
        """Does or arms one fault: JSON with `kind` and its figures, as the table of this module says."""
        told = await request.json()
        kind, which = told.get("kind"), told.get("channel", "market")
        server = self._server
        named = {"market": [server.market_channel], "user": [server.user_channel]}
        named["price"] = [server.prices.polybolt, server.prices.rtds]
        channels = named.get(which, [server.market_channel, server.user_channel])
        done = 0
        for channel in channels:
            if kind == "kill":
                done += channel.kill(told.get("count"))
            elif kind == "garbage":
                channel.garbage(
                    str(told.get("text", '{"event_type":"price_change","price_changes":[')).encode()
                )
            elif kind == "split":
                channel.split_parts, channel.split_left = int(told.get("parts", 3)), int(told.get("count", 1))
            elif kind in ("stall", "resume"):
                channel.is_stalled = kind == "stall"
        if kind == "settlement":
            faults = server.floor.settlement_faults
            faults.failure_rate, faults.retry_rate = told.get("fail_rate"), told.get("retry_rate")
            faults.delay_ns = int(float(told.get("delay_s", 0)) * SECOND)
            faults.lost = int(told.get("lose", 0))
        elif kind in KINDS:
            server.faults.arm(kind, {k: v for k, v in told.items() if k not in ("kind", "channel")})
        elif kind == "clear":
            server.faults.clear(told.get("of"))
            if told.get("of") in (None, "settlement"):
                server.floor.settlement_faults.__init__()  # type: ignore[misc]
        elif kind not in ("kill", "garbage", "split", "stall", "resume"):
            return web.json_response({"error": f"kind: unknown fault {kind!r}"}, status=400)
        return web.json_response({"kind": kind, "done": done})


def _owner(told: dict[str, Any]) -> str:
    """Whose balances a control request is about, as an address; empty: the first account's."""
    owner = told.get("account", "")
    return str(to_checksum_address(owner)) if owner else ""


def _chain(server: VenueServer) -> dict[str, str]:
    """Where the chain is, and whose the accounts on the venue's side are; empty without one."""
    operator = server.operator
    return {} if operator is None else {"url": operator.url, **operator.accounts}


def _purse(account: Account) -> dict[str, Any]:
    return {
        "start_micro": account.start_micro,
        "paid_in_micro": account.paid_in_micro,
        "cash_micro": account.cash_micro,
        "settled_cash_micro": account.settled_cash_micro,
        "fees_micro": account.fees_micro,
        "payout_micro": account.payout_micro,
        "merged_micro": account.merged_micro,
        "tokens_micro": {
            market: [account.tokens_micro(token, market) for token in Outcome] for market in account.holdings
        },
    }


def _window(window: Window) -> dict[str, Any]:
    market = {**asdict(window.market), "winner": None}
    if window.is_resolved and window.market.winner is not None:
        market["winner"] = window.market.winner.name
    return {
        **market,
        "series": window.series.slug if window.series is not None else "",
        "version": window.series.generation if window.series is not None else "v1",
        "is_ready": window.session is not None,
        "is_closed": window.is_closed,
        "is_resolved": window.is_resolved,
    }


def mapping(clock: TapeClock) -> dict[str, Any]:
    """A clock's mapping, from which another process of this machine makes the same clock."""
    return {"speed": clock.speed, "monotonic_ns": clock.monotonic_ns, "tape_ns": clock.tape_ns}


def add_routes(app: web.Application, server: VenueServer) -> None:
    """Puts the handlers under `/_control`."""
    control = Control(server)
    app.router.add_post("/_control/start", control.start)
    app.router.add_get("/_control/clock", control.clock)
    app.router.add_post("/_control/clock", control.clock)
    app.router.add_post("/_control/series", control.series)
    app.router.add_get("/_control/markets", control.markets)
    app.router.add_post("/_control/finish", control.finish)
    app.router.add_get("/_control/truth", control.truth)
    app.router.add_post("/_control/merge", control.merge)
    app.router.add_post("/_control/mode", control.mode)
    app.router.add_post("/_control/balance", control.balance)
    app.router.add_post("/_control/fault", control.fault)
