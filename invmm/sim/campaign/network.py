"""HTTP between an imagined process and the embedded venue: the bytes of requests and answers, no sockets.

Requests enter the venue's own handlers (`sim/rest*.py`) behind its own limits, modes and mishaps. What goes
out is hashed, so that two runs can be compared byte for byte.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from functools import partial
from random import Random
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
from aiohttp import web
from multidict import CIMultiDict, MultiDict

from invmm.errors import TransportError
from invmm.execution.connections import MS, Connection, State
from invmm.sim import rest, rest_prices
from invmm.sim.campaign.machine import Process, VirtualLoop
from invmm.sim.mishaps import on_the_way
from invmm.sim.server import VenueServer
from invmm.venue.rest import Answer, Transport, _seconds

Handler = Callable[[Any], Awaitable[web.StreamResponse]]
CONNECT_NS = MS
ONE_WAY_NS = 200_000


class _Cut:
    """Stands for the server's end of a connection."""

    def __init__(self) -> None:
        self.is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


class Incoming(dict[Any, Any]):
    """What a handler of the venue sees of a request."""

    def __init__(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__()
        parts = urlsplit(target)
        self.method = method
        self.path = parts.path
        self.query: MultiDict[str] = MultiDict(parse_qsl(parts.query, keep_blank_values=True))
        self.headers = headers
        self.match_info: dict[str, str] = {}
        self.transport = _Cut()
        self.can_read_body = bool(body)
        self._body = body

    async def read(self) -> bytes:
        """The body."""
        return self._body


class _Routes:
    """Takes the place of an application while the venue lists its routes."""

    def __init__(self) -> None:
        self.router = self
        self.known: dict[tuple[str, str], Handler] = {}

    def _add(self, method: str, path: str, handler: Handler) -> None:
        self.known[method, path] = handler

    def add_get(self, path: str, handler: Handler) -> None:
        self._add("GET", path, handler)

    def add_post(self, path: str, handler: Handler) -> None:
        self._add("POST", path, handler)

    def add_delete(self, path: str, handler: Handler) -> None:
        self._add("DELETE", path, handler)

    def find(self, request: Incoming) -> Handler | None:
        handler = self.known.get((request.method, request.path))
        if handler is None:
            head, _, tail = request.path.rpartition("/")
            handler = self.known.get((request.method, f"{head}/{{id}}"))
            request.match_info["id"] = tail
        return handler


class Network:
    """The way between processes and one venue, and what is wrong with it.

    Attributes
    ----------
    is_down : bool
        Nothing gets through: connections are refused, what is under way is lost.
    is_silent : bool
        Connections stand, nothing is answered.
    loss : float
        Share of the orders and cancels that are lost on the way; who sent them sees a reset.
    forgetting : float
        Share of the answers to orders and cancels that are lost, if they say that it was done.
    digest
        Of all bytes that processes sent.
    """

    def __init__(self, loop: VirtualLoop, server: VenueServer, seed: int) -> None:
        self.loop = loop
        self.server = server
        self.is_down = False
        self.is_silent = False
        self.loss = self.forgetting = 0.0
        self._random = Random(f"{seed}:network")
        self.requests = 0
        self.cancelled_ns = 0
        """When the last request left that cancels something."""
        self.digest = hashlib.sha256()
        self.watchers: list[Callable[[Incoming], object]] = []
        self.listeners: list[Callable[[Incoming, web.Response], object]] = []
        """Told of each answer that reaches who asked."""
        self._routes = _Routes()
        app: Any = self._routes
        rest.add_routes(app, server)
        rest_prices.add_routes(app, server)
        self._outside = Context()  # nobody's: what the venue does is not done by whoever asked
        self._tasks: set[asyncio.Task[None]] = set()

    def sent(self, what: bytes) -> None:
        """Bytes that left a process."""
        self.digest.update(b"%d\n" % self.loop.now_ns())
        self.digest.update(what)

    def ask(
        self, request: Incoming, answered: Callable[[web.Response | None], object], context: Context
    ) -> None:
        """Has the venue answer a request; `answered` is told in `context`, with None when the connection was
        cut. Never, when nothing gets through.
        """
        self.requests += 1
        if request.method == "DELETE":
            self.cancelled_ns = self.loop.now_ns()
        if self.is_down or self.is_silent:
            return
        if self.loss and request.path.startswith("/order") and self._random.random() < self.loss:
            self.loop.call_in_ns(ONE_WAY_NS, answered, None, context=context)
            return
        self.loop.call_in_ns(ONE_WAY_NS, self._arrive, request, answered, context, context=self._outside)

    def _forgets(self, request: Incoming, answer: web.Response) -> bool:
        if not self.forgetting or not request.path.startswith("/order") or not is_done(answer):
            return False
        return self._random.random() < self.forgetting

    def _arrive(self, request: Incoming, answered: Callable[..., object], context: Context) -> None:
        for watch in self.watchers:
            watch(request)
        task = self.loop.create_task(self._serve(request, answered, context), context=self._outside.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, request: Incoming, answered: Callable[..., object], context: Context) -> None:
        handler = self._routes.find(request)
        answer: Any
        if handler is None:
            answer = web.json_response({"error": "not found"}, status=404)
        else:
            http: Any = request
            answer = await on_the_way(self.server, http, handler)
        if self.is_silent:
            return
        lost = request.transport.is_aborted or self.is_down or self._forgets(request, answer)
        for listen in () if lost else self.listeners:
            listen(request, answer)
        self.loop.call_in_ns(ONE_WAY_NS, answered, None if lost else answer, context=context)


def is_done(answer: web.Response) -> bool:
    """Whether an answer refuses nothing, no order of a batch either."""
    if answer.status != 200 or not isinstance(answer.body, bytes):
        return False
    told = orjson.loads(answer.body)
    return not any(one.get("errorMsg") for one in (told if isinstance(told, list) else [told]))


def answer_bytes(answer: web.Response) -> bytes:
    """An answer as it goes over the wire."""
    body = answer.body if isinstance(answer.body, bytes) else b""
    lines = [f"HTTP/1.1 {answer.status} {answer.reason}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items() if name != "Content-Length"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def read_request(data: bytes) -> Incoming:
    """A whole request as the executor writes it."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers: CIMultiDict[str] = CIMultiDict()
    for line in lines:
        name, _, value = line.partition(": ")
        headers[name] = value
    return Incoming(method, target, headers, body)


class VirtualConnection(Connection):
    """A connection of the executor over an imagined network; parsing, deadlines and back-off are the real
    ones.
    """

    def __init__(self, *args: Any, network: Network, process: Process, wake: Callable[[], object]) -> None:
        super().__init__(*args)
        self._network = network
        self._process = process
        self._wake = wake
        self._life = 0  # grows with each connection: what comes for an earlier one is lost

    @property
    def is_plain(self) -> bool:
        """False: nothing can be written without this object."""
        return False

    @property
    def writer(self) -> None:
        """The executor hands every request to `begin`."""
        return None

    def connect(self, now_ns: int) -> None:
        """Opens after a moment, or fails."""
        self.deadline_ns = now_ns + self._connect_ns
        self.state = State.CONNECTING
        self._life += 1
        self._later(CONNECT_NS, self._connected_at, self._life)

    def _connected_at(self, life: int) -> None:
        if life != self._life or self.state is not State.CONNECTING or self._network.is_silent:
            return
        now_ns = self._network.loop.now_ns()
        if self._network.is_down:
            self.fail(now_ns, "connect: refused")
        else:
            self._open(now_ns)
        self._wake()

    def _write(self, now_ns: int) -> None:
        data, self._unsent = self._unsent, b""
        self._network.sent(data)
        if self._network.is_down:
            self._later(0, self._lose, self._life)
            return
        answered = partial(self._answered_by, self._life)
        self._network.ask(read_request(data), answered, self._process.context)

    def _answered_by(self, life: int, answer: web.Response | None) -> None:
        if life != self._life or self.state is not State.BUSY:
            return
        now_ns = self._network.loop.now_ns()
        if answer is None:
            self.fail(now_ns, "the venue closed the connection")
        else:
            self.receive(answer_bytes(answer), now_ns)
        self._wake()

    def cut(self) -> None:
        """The network ends the connection."""
        self._later(0, self._lose, self._life)

    def _lose(self, life: int) -> None:
        if life == self._life and self.state in (State.IDLE, State.BUSY):
            self.fail(self._network.loop.now_ns(), "the connection was reset")
            self._wake()

    def close(self, now_ns: int) -> None:
        """Closes; may be connected again at once."""
        self._life += 1
        super().close(now_ns)

    def _watch(self, mask: int) -> None:
        return None

    def _later(self, delay_ns: int, call: Callable[..., object], *args: Any) -> None:
        self._network.loop.call_in_ns(delay_ns, call, *args, context=self._process.context)


class VirtualTransport(Transport):
    """`Transport` of a REST client over an imagined network."""

    def __init__(self, base_url: str, network: Network, process: Process, *, timeout_s: float) -> None:
        super().__init__(base_url, timeout_s=timeout_s)
        self._network = network
        self._process = process

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Sends one request once; TransportError when no complete answer came in time."""
        network = self._network
        target = path + ("?" + "&".join(f"{k}={v}" for k, v in query.items()) if query else "")
        network.sent(f"{method} {target}\n".encode() + body)
        if network.is_down:
            await asyncio.sleep(CONNECT_NS / 1e9)
            raise TransportError(f"{method} {path}: ConnectionRefusedError")
        begun_ns = network.loop.now_ns()
        came: asyncio.Future[web.Response | None] = network.loop.create_future()
        request = Incoming(method, target, CIMultiDict(headers or {}), body)
        network.ask(request, partial(_settle, came), self._process.context)
        try:
            async with asyncio.timeout(self.timeout_s):
                answer = await came
        except TimeoutError:
            raise TransportError(f"{method} {path}: no answer within {self.timeout_s:g} s") from None
        if answer is None:
            raise TransportError(f"{method} {path}: ServerDisconnectedError")
        content = answer.body if isinstance(answer.body, bytes) else b""
        return Answer(answer.status, content, _seconds(answer.headers), network.loop.now_ns() - begun_ns)

    async def close(self) -> None:
        """Nothing is open."""


def _settle(came: asyncio.Future[Any], answer: Any) -> None:
    if not came.done():
        came.set_result(answer)
