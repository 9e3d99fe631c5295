"""Warm HTTP/1.1 connections on one thread: non-blocking sockets, prebuilt requests, one in flight on each.

    DOWN ─ connect ─▶ CONNECTING ─▶ (TLS) HANDSHAKE ─▶ IDLE ◀─▶ BUSY
      ▲───────────────── any failure, end of stream, deadline ◀──┘

A lane is what a connection may be used for: some carry cancels only, so that a cancel never waits behind
placements. Nothing is ever sent twice: a connection that breaks ends its request without an answer, and only
the caller knows what that means. Deadlines are CLOCK_MONOTONIC.
"""

from __future__ import annotations

import enum
import errno
import os
import random
import select
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

import httptools
import numpy as np
import numpy.typing as npt

from invmm.execution.resolver import Resolver

MS = 1_000_000
RECEIVE_BYTES = 65_536
ANSWER_MAX = 4 * 1024 * 1024  # bytes with head; a longer one is not one of the venue's
LOOK_UP_PAUSE_NS = 5 * MS
KEPT_HEADERS = frozenset((b"retry-after",))
KEPT_PREFIX = b"poly-ratelimit-"
HEADER_MAX = 200
FAILURES_BEFORE_LOOKUP = 3
STABLE_NS = 5_000 * MS  # a connection that lived as long was a good one
BACKOFF_FIRST_NS = 20 * MS


class Lane(enum.Enum):
    """What a connection may carry."""

    PLACE = "place"
    CANCEL = "cancel"
    HEARTBEAT = "heartbeat"


BACKOFF_MAX_NS = {Lane.PLACE: 5_000 * MS, Lane.CANCEL: 1_000 * MS, Lane.HEARTBEAT: 1_000 * MS}


class State(enum.Enum):
    """Where a connection is in its life."""

    DOWN = "down"
    CONNECTING = "connecting"
    HANDSHAKE = "handshake"
    IDLE = "idle"
    BUSY = "busy"


@dataclass(frozen=True)
class Endpoint:
    """Where the venue is. `tls` is None for plain HTTP, which is for loopback only."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        if self.tls is None and self.host not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError(f"endpoint: plain HTTP is for loopback only, got host {self.host!r}")

    @property
    def header(self) -> str:
        """Of the `Host` line."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.tls is not None and self.port == 443 else f"{host}:{self.port}"


@dataclass
class Request:
    """One request in flight. `legs` are the commands it carries, with order ids."""

    kind: int
    legs: npt.NDArray[np.void]
    popped_ns: int
    written_ns: int = 0
    told_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request: status 0, and nothing else, when no whole answer did.

    `headers` are those that say how fast to go, by lower-case name: `retry-after`, `poly-ratelimit-…`.
    """

    code: int = 0
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


NOTHING = Answer()
Finished = Callable[["Connection", Request, Answer], None]
"""Called once per request."""


class Connection:
    """One socket to the venue. All methods belong to the executor thread."""

    def __init__(
        self,
        endpoint: Endpoint,
        lane: Lane,
        epoll: select.epoll,
        finished: Finished,
        connect_ns: int,
        resolver: Resolver,
    ) -> None:
        self.endpoint = endpoint
        self.lane = lane
        self.state = State.DOWN
        self.request: Request | None = None
        self.deadline_ns = 0  # of the state: connect, handshake or answer
        self.retry_ns = 0  # DOWN: not before
        self.failures = 0
        self.connects = 0
        self.last_error = ""
        self._epoll = epoll
        self._finished = finished
        self._connect_ns = connect_ns
        self._socket: socket.socket | None = None
        self._unsent = b""
        self._mask = 0
        self._resolver = resolver
        self._opened_ns = 0
        self._served = False  # an answer came over this socket
        self._parser: httptools.HttpResponseParser | None = None
        self._body: list[bytes] = []
        self._headers: dict[str, str] = {}
        self._received = 0  # bytes of the answer so far
        self._answered = False
        self._reusable = False  # the answer leaves the connection open
        self._overrun = False  # bytes after the end of the answer

    @property
    def fd(self) -> int:
        """Of the socket; -1 without one."""
        return -1 if self._socket is None else self._socket.fileno()

    @property
    def is_plain(self) -> bool:
        return self.endpoint.tls is None

    @property
    def writer(self) -> Callable[[bytes], int] | None:
        """Takes bytes at once as far as the kernel does, over TLS; None without an open TLS connection.

        The bytes are of the request that `begin` is called with next. It raises as `SSLSocket.write` does.
        """
        return (
            self._socket.write
            if isinstance(self._socket, ssl.SSLSocket) and self.state is State.IDLE
            else None
        )

    # ── opening ─────────────────────────────────────────────────────────────────────────────────────────────

    def connect(self, now_ns: int) -> None:
        """Begins to connect; the rest comes through `on_ready`."""
        assert self.state is State.DOWN
        if self.failures and self.failures % FAILURES_BEFORE_LOOKUP == 0:
            self._resolver.refresh()
        found = self._resolver.address()
        if found is None:
            self.last_error = self._resolver.error or "the address is being looked up"
            self.retry_ns = now_ns + LOOK_UP_PAUSE_NS
            return
        self.deadline_ns = now_ns + self._connect_ns
        try:
            family, address = found
            raw = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = raw
            self.state = State.CONNECTING
            code = raw.connect_ex(address)
        except OSError as error:
            self.fail(now_ns, f"connect: {error}")
            return
        if code not in (0, errno.EINPROGRESS):
            self.fail(now_ns, f"connect: {os.strerror(code)}")
            return
        self._watch(select.EPOLLOUT)

    def _connected(self, now_ns: int) -> None:
        assert self._socket is not None
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.fail(now_ns, f"connect: {os.strerror(code)}")
            return
        if self.endpoint.tls is None:
            self._open(now_ns)
            return
        self._epoll.unregister(self._socket.fileno())
        self._mask = 0
        try:
            self._socket = self.endpoint.tls.wrap_socket(
                self._socket, server_hostname=self.endpoint.host, do_handshake_on_connect=False
            )
        except (OSError, ValueError) as error:
            self.fail(now_ns, f"TLS: {error}")
            return
        self.state = State.HANDSHAKE
        self._handshake(now_ns)

    def _handshake(self, now_ns: int) -> None:
        assert isinstance(self._socket, ssl.SSLSocket)
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            self._watch(select.EPOLLIN)
        except ssl.SSLWantWriteError:
            self._watch(select.EPOLLOUT)
        except (OSError, ValueError) as error:
            self.fail(now_ns, f"TLS: {error}")
        else:
            self._open(now_ns)

    def _open(self, now_ns: int) -> None:
        self.state = State.IDLE
        self.deadline_ns = 0
        self._opened_ns = now_ns
        self._served = False
        self.connects += 1
        self._parser = httptools.HttpResponseParser(self)
        self._watch(select.EPOLLIN)

    # ── one exchange ────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, request: Request, unsent: bytes, deadline_ns: int, now_ns: int) -> None:
        """Takes over a request of which `unsent` is left to write (nothing, if all of it is out)."""
        assert self.state is State.IDLE
        self.state = State.BUSY
        self.request = request
        self.deadline_ns = deadline_ns
        self._unsent = unsent
        self._body = []
        self._headers = {}
        self._received = 0
        self._answered = self._overrun = False
        if unsent:
            self._write(now_ns)

    def _write(self, now_ns: int) -> None:
        assert self._socket is not None
        try:
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            self._watch(select.EPOLLIN | select.EPOLLOUT)
            return
        except OSError as error:
            self.fail(now_ns, f"write: {error}")
            return
        self._watch(select.EPOLLIN)

    def on_ready(self, mask: int, now_ns: int) -> None:
        """The epoll set reported `mask` for this socket."""
        if self.state is State.CONNECTING:
            self._connected(now_ns)
        elif self.state is State.HANDSHAKE:
            self._handshake(now_ns)
        elif self.state in (State.IDLE, State.BUSY):
            if self._unsent and mask & (select.EPOLLOUT | select.EPOLLIN):
                self._write(now_ns)
            if mask & ~select.EPOLLOUT and self.state in (State.IDLE, State.BUSY):
                self._read(now_ns)

    def _read(self, now_ns: int) -> None:
        assert self._socket is not None
        while True:
            try:
                data = self._socket.recv(RECEIVE_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError as error:
                self.fail(now_ns, f"read: {error}")
                return
            if not data:
                self.fail(now_ns, "the venue closed the connection")
                return
            # One call where one will do: each lets the interpreter lock go, and a busy engine keeps it for
            # long. What is left in the kernel is reported again; only TLS may hold bytes that nobody reports.
            if not self.receive(data, now_ns) or (self.is_plain and len(data) < RECEIVE_BYTES):
                return

    def receive(self, data: bytes, now_ns: int) -> bool:
        """Bytes of an answer have come; whether more of it is awaited."""
        assert self._parser is not None
        if self.request is None:
            self.fail(now_ns, "an answer that nobody asked for")
            return False
        self._received += len(data)
        if self._received > ANSWER_MAX:
            self.fail(now_ns, f"an answer longer than {ANSWER_MAX} bytes")
            return False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, ValueError) as error:
            self.fail(now_ns, f"not HTTP: {error}")
            return False
        if self._overrun:
            self.fail(now_ns, "bytes after the end of an answer: which one is ours?")
            return False
        if self._answered:
            self._complete(now_ns)
            return False
        return True

    # Called by the parser.
    def on_message_begin(self) -> None:
        self._overrun = self._answered
        self._body = []
        self._headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if (name in KEPT_HEADERS or name.startswith(KEPT_PREFIX)) and len(value) <= HEADER_MAX:
            self._headers[name.decode("latin-1")] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        # An interim answer (1xx) is not the answer.
        if self._parser is not None and self._parser.get_status_code() >= 200:
            self._answered = True
            self._reusable = self._parser.should_keep_alive()  # after this call the parser no longer knows

    def _complete(self, now_ns: int) -> None:
        assert self._parser is not None
        answer = Answer(self._parser.get_status_code(), b"".join(self._body), self._headers)
        self._served = True
        self.failures = 0
        reusable = self._reusable and not self._unsent
        request, self.request = self.request, None
        self._answered = False
        self.deadline_ns = 0
        self.state = State.IDLE
        if not reusable:
            self.close(now_ns)
        assert request is not None
        self._finished(self, request, answer)

    # ── ending ──────────────────────────────────────────────────────────────────────────────────────────────

    def fail(self, now_ns: int, why: str) -> None:
        """Closes at once; the request in flight ends without an answer.

        A connection that was of use is replaced at once; attempts that are not wait, ever longer.
        """
        self.last_error = why
        opened = self.state in (State.IDLE, State.BUSY)
        good = opened and (self._served or now_ns - self._opened_ns >= STABLE_NS)
        request, self.request = self.request, None
        self.close(now_ns)
        if good:
            self.failures = 0
        else:
            ceiling = min(BACKOFF_MAX_NS[self.lane], BACKOFF_FIRST_NS << min(self.failures, 20))
            self.failures += 1
            self.retry_ns = now_ns + int(ceiling * random.uniform(0.5, 1.0))
        if request is not None:
            self._finished(self, request, NOTHING)

    def close(self, now_ns: int) -> None:
        """Closes; may be connected again at once."""
        if self._socket is not None:
            if self._mask:
                self._epoll.unregister(self._socket.fileno())
            self._socket.close()
        self._socket = None
        self._mask = 0
        self._unsent = b""
        self._parser = None
        self.state = State.DOWN
        self.deadline_ns = 0
        self.retry_ns = now_ns

    def _watch(self, mask: int) -> None:
        assert self._socket is not None
        if mask == self._mask:
            return
        if self._mask:
            self._epoll.modify(self._socket.fileno(), mask)
        else:
            self._epoll.register(self._socket.fileno(), mask)
        self._mask = mask
