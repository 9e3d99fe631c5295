"""The embedded venue behind real loopback sockets: REST, market and user WebSocket, and a control face.

Run as a child process: `python -m invmm.sim.server` reads one JSON line of configuration from standard input,
answers with one line `{"port": …}` on standard output, and ends when its standard input ends, so that it
never outlives its parent. With `--recorded PATH` it serves recorded markets for a look by hand.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp import web

from invmm.replay.tape import MarketInfo, Tape, find, load
from invmm.sim import control, rest, spool
from invmm.sim.access import Access, AccessRules, ApiKey
from invmm.sim.account import Account
from invmm.sim.channels import Channel, Connection
from invmm.sim.clock import TapeClock
from invmm.sim.exchange import Exchange
from invmm.sim.profile import SECOND, VenueProfile
from invmm.sim.rules import Who
from invmm.sim.session import Session


@dataclass(frozen=True)
class Credentials:
    """The account that the venue knows from the start. An empty `api_key` switches the checks of headers and
    signatures off, unless the rules of access ask for them.
    """

    api_key: str = ""
    secret: str = ""
    passphrase: str = ""
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
    """State behind the handlers: tapes one after another, one account, two channels."""

    tapes: list[Tape]
    profile: VenueProfile
    credentials: Credentials
    seed: int = 0
    silent_s: float = 10.0
    page_limit: int = 100
    past: list[Exchange] = field(default_factory=list)
    session: Session | None = None
    index: int = -1
    # What the next REST requests answer instead: (status, body) and how many of them.
    broken: tuple[int, dict[str, Any]] | None = None
    broken_left: int = 0
    broken_method: str = ""  # only requests of this method; all by default
    lose_left: int = 0  # so many orders and cancels are done, and their connections cut before the answer
    background: list[asyncio.Task[None]] = field(default_factory=list)
    access_rules: AccessRules | None = None

    def __post_init__(self) -> None:
        self.access = Access(
            self.credentials.rules(self.access_rules), seed=self.seed, venue_s=self._venue_s
        )
        self.account = Account(self.profile.collateral_micro)
        self.who = Who(self.credentials.api_key, self.credentials.address, self.credentials.address)
        self.market_channel = Channel(self._subscribe_market, self.silent_s)
        self.user_channel = Channel(self._subscribe_user, self.silent_s)
        self.heartbeat_id = ""
        self.heartbeat_s = 0.0
        self.open(0)

    def open(self, index: int) -> Session:
        """Makes a tape the running market; the one before is settled and resolved at once."""
        if self.session is not None:
            self.session.finish()
            self.past.append(self.session.exchange)
            self.account.leave_market()
        self.session = Session(
            self.tapes[index],
            self.profile,
            self.seed,
            self.account,
            self.who,
            self.market_channel,
            self.user_channel,
        )
        self.index = index
        for connection in self.market_channel.connections:
            connection.next_row = 0
        return self.session

    def start(self, clock: TapeClock, index: int) -> None:
        """Starts a tape on a clock."""
        if index != self.index or (self.session is not None and self.session.clock is not None):
            self.open(index)
        assert self.session is not None
        self.session.start(clock)

    @property
    def exchanges(self) -> list[Exchange]:
        """All markets traded so far, the running one last."""
        return [*self.past, *([self.session.exchange] if self.session is not None else [])]

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
        if self.session is not None and message.get("initial_dump", True):
            self.session.subscribe(connection, fresh)
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

    # ---- heartbeat ----

    def beat(self, given: str) -> str | None:
        """The next id, or None when `given` is not the last one."""
        if given != self.heartbeat_id:
            return None
        self.heartbeat_id = f"{self.seed:08x}-{time.monotonic_ns():016x}"
        self.heartbeat_s = time.monotonic()
        return self.heartbeat_id

    async def watch_heartbeat(self, check_s: float = 5.0, limit_s: float = 10.0) -> None:
        """Cancels everything when an armed heartbeat stops; looks every 5 s, as the venue does."""
        while True:
            await asyncio.sleep(check_s)
            if (
                self.heartbeat_id
                and time.monotonic() - self.heartbeat_s > limit_s
                and self.session is not None
            ):
                self.heartbeat_id = ""
                await self.session.cancel_all()

    def exchange_name(self, market: MarketInfo) -> str:
        """The exchange that an order on a market is signed for (`signatures.EXCHANGES`)."""
        if self.profile.domain == "1":
            return market.exchange.replace("v2", "v1", 1) if market.exchange[:2] == "v2" else "v1"
        return market.exchange

    def _venue_s(self) -> float:
        """The venue's time in unix seconds."""
        return self.session.now_ns() / SECOND if self.session is not None else 0.0


SERVER = web.AppKey("server", VenueServer)


@web.middleware
async def _broken(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """REST faults: an error instead of the answer, or the deed without the answer. Control and sockets are
    spared.
    """
    server = request.app[SERVER]
    if request.path.startswith("/ws"):
        return await handler(request)
    if request.path.startswith("/_control"):
        try:
            return await handler(request)
        except (ValueError, KeyError, TypeError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
    if server.broken_left and server.broken_method in ("", request.method):
        server.broken_left -= 1
        assert server.broken is not None
        status, body = server.broken
        return web.json_response(body, status=status)
    if server.lose_left and request.method in ("POST", "DELETE"):
        server.lose_left -= 1
        answer = await handler(request)
        if request.transport is not None:
            request.transport.abort()
        return answer
    return await handler(request)


def application(server: VenueServer) -> web.Application:
    """The routes of all faces."""
    app = web.Application(middlewares=[_broken])
    app[SERVER] = server
    app.router.add_get("/ws/market", server.market_channel.serve)
    app.router.add_get("/ws/user", server.user_channel.serve)
    rest.add_routes(app, server)
    control.add_routes(app, server)

    async def background(_: web.Application) -> Any:
        task = asyncio.create_task(server.watch_heartbeat())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    app.cleanup_ctx.append(background)
    return app


async def serve(
    server: VenueServer, port: int, *, until: asyncio.Event, ready: Callable[[int], None]
) -> None:
    """Serves on loopback until told to stop; `ready` gets the port."""
    runner = web.AppRunner(application(server), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    ready(runner.addresses[0][1])
    try:
        await until.wait()
    finally:
        server.market_channel.kill()
        server.user_channel.kill()
        await runner.cleanup()


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
    if options.recorded:
        tapes = [load(path) for path in find(options.recorded)]
        server = VenueServer(tapes, VenueProfile(), Credentials(), options.seed)
    else:
        told = json.loads(await asyncio.to_thread(sys.stdin.readline))
        server = VenueServer(
            [spool.read(Path(folder)) for folder in told["tapes"]],
            VenueProfile(**told["profile"]),
            Credentials(**told["credentials"]),
            told["seed"],
            told["silent_s"],
            told["page_limit"],
            access_rules=AccessRules.read(told["access"]) if told.get("access") else None,
        )

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
        print(json.dumps({"port": port}), flush=True)
        if options.recorded:
            first_ns = int(server.tapes[0].rows["recv_ns"][0])
            server.start(TapeClock(time.monotonic_ns(), first_ns, options.speed), 0)

    await serve(server, options.port, until=until, ready=ready)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(_parse(sys.argv[1:])))
