"""The embedded venue behind real loopback sockets: REST, market and user WebSocket, and a control face.

Run as a child process: `python -m invmm.sim.server` reads one JSON line of configuration from standard input,
answers with one line `{"port": …, "rpc_url": …}` on standard output, and ends when its standard input ends,
so that it never outlives its parent. With `--recorded PATH` it serves recorded markets for a look by hand.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp import web

from invmm.replay.tape import MarketInfo, Tape, find, load
from invmm.sim import control, gamma, rest, rest_data, rest_discovery, rest_prices, spool, wire
from invmm.sim.access import Access, AccessRules, ApiKey
from invmm.sim.channels import Channel, Connection
from invmm.sim.clock import TapeClock
from invmm.sim.faults import Faults
from invmm.sim.floor import Floor
from invmm.sim.heartbeat import DeadMansSwitch
from invmm.sim.limits import Limits
from invmm.sim.mishaps import on_the_way
from invmm.sim.modes import Mode
from invmm.sim.operator import Operator
from invmm.sim.price import rule_of
from invmm.sim.price_server import PriceDesk
from invmm.sim.profile import SECOND, VenueProfile
from invmm.sim.rules import Who
from invmm.sim.session import Session
from invmm.sim.stream import StreamFaults
from invmm.sim.windows import Series, Window, Windows


@dataclass(frozen=True)
class Credentials:
    """The account that the venue knows from the start. An empty `api_key` switches the checks of headers and
    signatures off, unless rules of access are given.
    """

    api_key: str = ""
    secret: str = field(default="", repr=False)
    passphrase: str = field(default="", repr=False)
    address: str = "0x0000000000000000000000000000000000000000"

    def rules(self, given: AccessRules | None) -> AccessRules:
        """The rules of access with this account's key among the keys."""
        if not self.api_key:
            return given or AccessRules(is_checked=False)
        known = ApiKey(self.api_key, self.secret, self.passphrase, self.address)
        rules = given or AccessRules()
        return replace(rules, keys=(known, *rules.keys))


@dataclass
class VenueServer:
    """State behind the handlers: the floor with its markets, two channels, faults, a dead man's switch.

    `tapes` are markets that are started by their number (`/_control/start`).
    """

    tapes: list[Tape]
    profile: VenueProfile
    credentials: Credentials
    seed: int = 0
    silent_s: float = 10.0
    page_limit: int = 100
    remember: int | None = None  # ended markets whose orders and trades are kept; None: all
    series: list[Series] = field(default_factory=list)
    index: int = -1  # number of the last tape that was opened
    background: list[asyncio.Task[None]] = field(default_factory=list)
    operator: Operator | None = None  # settles on a chain
    access_rules: AccessRules | None = None  # None: the credentials' account, and checks only if there is one

    def __post_init__(self) -> None:
        self.tapes = [replace(tape, market=rule_of(tape)) for tape in self.tapes]
        known = self.credentials
        self.who = Who(known.api_key, known.address, known.address if known.api_key else "")
        self.access = Access(known.rules(self.access_rules), seed=self.seed, venue_s=self.time_s)
        self.market_channel = Channel(self._subscribe_market, self.silent_s)
        self.user_channel = Channel(self._subscribe_user, self.silent_s)
        self.faults = Faults(self.seed)
        self.floor = Floor(
            self.profile,
            self.seed,
            self.who,
            self.market_channel,
            self.user_channel,
            self.faults,
            self.remember,
            self.operator,
        )
        self.market_channel.bend = StreamFaults(self.faults, self.floor.now_ns).bend
        self.switch = DeadMansSwitch(self.floor, self.seed)
        self.mode = Mode(self.floor)
        self.limits = Limits(self.profile)
        self.windows = Windows(self.floor, self.series, self.seed, self._announce)
        self.prices = PriceDesk(self.floor, self.access, self.seed)
        self.floor.on_open = self.prices.take
        for tape in self.tapes:
            self.windows.add_tape(tape)
        self._session: Session | None = None
        if self.tapes:
            self.open(0)

    @property
    def session(self) -> Session | None:
        """The tape's market that was opened last; without tapes the open window that ends first."""
        if self._session is not None:
            return self._session
        return min(self.floor.sessions.values(), key=lambda one: one.market.end_s, default=None)

    def run_clock(self, speed: float, tape_ns: int | None = None) -> TapeClock:
        """Starts the clock of the series, at real time by default."""
        clock = TapeClock(time.monotonic_ns(), time.time_ns() if tape_ns is None else tape_ns, speed)
        self.floor.run_on(clock)
        return clock

    def time_s(self) -> float:
        """What the venue's clock says, unix seconds: right unless a fault has set it wrong."""
        fault = self.faults.armed("clock_offset")
        offset_s = fault.number("seconds", 0.0) if fault is not None else 0.0
        return self.floor.now_ns() / SECOND + offset_s

    def _announce(self, window: Window) -> None:
        """`new_market`, to every connection that asked for custom features."""
        payload = wire.compact(gamma.new_market_event(window, self.floor.now_ns() // 1_000_000))
        for connection in self.market_channel.connections:
            if connection.is_subscribed and connection.wants_custom:
                self.market_channel.send(connection, [payload])

    def open(self, index: int, *, beside: bool = False) -> Session:
        """Opens a tape's market; those before are settled and resolved at once, unless it opens beside
        them.
        """
        if not beside:
            for session in list(self.floor.sessions.values()):
                self.floor.close(session)
            for account in self.floor.purses:
                account.leave_market()
        self._session = self.floor.open(self.tapes[index])
        self.index = index
        self.windows.by_condition[self._session.market.condition_id].session = self._session
        return self._session

    def start(self, clock: TapeClock, index: int, *, beside: bool = False) -> None:
        """Starts a tape on a clock; beside running ones it follows theirs."""
        if index != self.index or (self._session is not None and self._session.clock is not None):
            self.open(index, beside=beside)
        assert self._session is not None
        if beside and self.floor.clock is not None:
            clock = self.floor.clock
        self.floor.clock = clock
        self._session.start(clock)

    # ---- channels ----

    def _subscribe_market(self, connection: Connection, message: dict[str, Any]) -> bool:
        assets = message.get("assets_ids")
        if not isinstance(assets, list):
            return False
        wanted = {str(asset) for asset in assets}
        if message.get("operation") == "unsubscribe":
            connection.assets -= wanted
            return True
        if not (message.get("type") == "market" or message.get("operation") == "subscribe"):
            return False
        connection.wants_custom = bool(message.get("custom_feature_enabled", connection.wants_custom))
        fresh = wanted - connection.assets  # duplicates are refused, only the flag is taken
        connection.assets |= fresh
        connection.is_subscribed = True
        if message.get("initial_dump", True):
            for session in self.floor.sessions.values():
                session.subscribe(connection, fresh)
        return True

    def _subscribe_user(self, connection: Connection, message: dict[str, Any]) -> bool:
        markets = message.get("markets")
        if message.get("operation") in ("subscribe", "unsubscribe") and connection.is_subscribed:
            named = {str(market) for market in markets or ()}
            if message["operation"] == "subscribe":
                connection.markets = (connection.markets or set()) | named
            elif connection.markets is not None:
                connection.markets -= named
            return True
        auth = message.get("auth")
        if message.get("type") != "user" or not isinstance(auth, dict):
            return False
        key = self.access.prove_triple(auth)
        if key is None:
            return False
        connection.account = key.address if key.api_key else ""
        connection.markets = {str(market) for market in markets} if markets else None
        connection.is_subscribed = True
        return True

    # ---- access ----

    def exchange_name(self, market: MarketInfo) -> str:
        """The exchange that an order on a market is signed for (`signatures.EXCHANGES`)."""
        if self.profile.domain == "1":
            return "v1-neg-risk" if market.exchange == "v2-neg-risk" else "v1"
        return market.exchange


SERVER = web.AppKey("server", VenueServer)


@web.middleware
async def _guarded(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """REST goes through the faults; control and sockets are spared."""
    server = request.app[SERVER]
    if request.path.startswith("/ws"):
        return await handler(request)
    if request.path.startswith("/_control"):
        try:
            return await handler(request)
        except (ValueError, KeyError, TypeError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
    return await on_the_way(server, request, handler)


def application(server: VenueServer) -> web.Application:
    """The routes of all faces."""
    app = web.Application(middlewares=[_guarded])
    app[SERVER] = server
    app.router.add_get("/ws/market", server.market_channel.serve)
    app.router.add_get("/ws/user", server.user_channel.serve)
    app.router.add_get("/ws/price", server.prices.polybolt.serve)
    app.router.add_get("/ws/rtds", server.prices.rtds.serve)
    rest.add_routes(app, server)
    rest_prices.add_routes(app, server)
    rest_discovery.add_routes(app, server)
    rest_data.add_routes(app, server)
    control.add_routes(app, server)

    async def background(_: web.Application) -> Any:
        watch = server.switch.watch(limit_s=server.profile.heartbeat_limit_s or math.inf)
        tasks = [asyncio.create_task(work) for work in (watch, server.windows.run(), server.prices.run())]
        yield
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    app.cleanup_ctx.append(background)
    return app


def made(told: dict[str, Any], tapes: list[Tape], operator: Operator | None = None) -> VenueServer:
    """A server from plain data (see `invmm.sim.host`); with series its clock runs from now on."""
    server = VenueServer(
        tapes,
        VenueProfile(**told["profile"]),
        Credentials(**told["credentials"]),
        told["seed"],
        told["silent_s"],
        told["page_limit"],
        told["remember"],
        [Series(**series) for series in told["series"]],
        operator=operator,
        access_rules=AccessRules.read(told["access"]) if told["access"] else None,
    )
    if told["series"]:
        server.run_clock(told["speed"], told["start_ns"])
    return server


async def serve(
    server: VenueServer, port: int, *, until: asyncio.Event, ready: Callable[[int], None]
) -> None:
    """Serves on loopback until told to stop; `ready` gets the port. The chain, if any, ends with it."""
    runner = web.AppRunner(application(server), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        if server.operator is not None:
            await server.operator.ready()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await server.windows.step()
        ready(runner.addresses[0][1])
        await until.wait()
    finally:
        server.market_channel.kill()
        server.user_channel.kill()
        server.prices.polybolt.kill()
        server.prices.rtds.kill()
        await runner.cleanup()
        if server.operator is not None:
            await asyncio.to_thread(server.operator.close)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m invmm.sim.server", description=__doc__)
    parser.add_argument(
        "--recorded", nargs="+", metavar="PATH", help="serve recorded markets, started at once"
    )
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--speed", type=float, default=1.0, help="with --recorded: tape seconds per second")
    parser.add_argument("--seed", type=int, default=0, help="with --recorded: seed of all randomness")
    return parser.parse_args(argv)


async def _main(options: argparse.Namespace) -> None:
    until = asyncio.Event()
    told: dict[str, Any] = {}
    if options.recorded:
        tapes = [load(path) for path in find(options.recorded)]
        server = VenueServer(tapes, VenueProfile(), Credentials(), options.seed)
    else:
        told = json.loads(await asyncio.to_thread(sys.stdin.readline))
        operator = Operator() if told["chain"] else None
        server = made(told, [spool.read(Path(folder)) for folder in told["tapes"]], operator)

        async def orphaned() -> None:
            reader = asyncio.StreamReader()
            await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
            )
            while await reader.read(4096):
                pass
            until.set()

        server.background.append(asyncio.create_task(orphaned()))

    def ready(port: int) -> None:
        url = server.operator.url if server.operator is not None else ""
        print(json.dumps({"port": port, "rpc_url": url}), flush=True)
        if options.recorded:
            first_ns = int(server.tapes[0].rows["recv_ns"][0])
            server.start(TapeClock(time.monotonic_ns(), first_ns, options.speed), 0)

    await serve(server, told.get("port", options.port), until=until, ready=ready)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(_parse(sys.argv[1:])))
