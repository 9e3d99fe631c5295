"""Opens one websocket: resolve, connect, TLS, upgrade. The only place of the feeds that knows sockets.

Whoever wants the feeds without sockets, on another clock, gives a supervisor another `Connect`: it returns
something with the face of `Connection` that hands messages to the sink.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from picows import WSError, WSInvalidStatusError, WSParsedURL, ws_connect

from invmm._ext.sink import FrameSink
from invmm.clock import LiveClock
from invmm.errors import TransportError
from invmm.feed.listener import FeedListener
from invmm.feed.states import EndCause

if TYPE_CHECKING:
    from invmm.feed.connection import FeedSettings

RETRY_AFTER_MAX_S = 300
NS = 1_000_000_000
Text = bytes  # `bytes` is a counter inside `Connection`


class Connection(Protocol):
    """An open connection as its supervisor sees it; `FeedListener` says what each member means."""

    awaiting_data: bool

    @property
    def is_open(self) -> bool: ...
    @property
    def end_cause(self) -> int: ...
    @property
    def last_error(self) -> BaseException | None: ...
    @property
    def ping_ns(self) -> int: ...
    @property
    def round_trip_ns(self) -> int: ...
    @property
    def last_message_ns(self) -> int: ...
    @property
    def frames(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def messages(self) -> int: ...
    @property
    def joined(self) -> int: ...
    @property
    def binary(self) -> int: ...
    @property
    def pings(self) -> int: ...
    @property
    def pongs(self) -> int: ...
    @property
    def late(self) -> int: ...
    def ping(self) -> None: ...
    def send_text(self, message: Text) -> bool: ...
    def end(self, cause: int = ...) -> None: ...
    def follow(self, token_ids: Sequence[str]) -> None: ...
    def heard(self, token_id: str) -> tuple[int, bool]: ...
    def gap_counts(self) -> list[int]: ...


@dataclass(frozen=True)
class Call:
    """What one attempt needs. `deadline_s`: real seconds for the connection, and again for the upgrade.

    `notify` is called without arguments when the supervisor should look.
    """

    url: str
    sink: FrameSink
    clock: LiveClock
    notify: Callable[[], object]
    settings: FeedSettings
    deadline_s: float
    ssl_context: ssl.SSLContext | None = None


Connect = Callable[[Call], Awaitable[Connection]]
"""Opens a connection, or raises: `UpgradeError`, `OSError` or `TimeoutError`. When cancelled it leaves
nothing behind and tells the sink nothing."""


class UpgradeError(TransportError):
    """The server answered the upgrade with `status` (0: with no answer at all that can be read)."""

    def __init__(self, status: int, text: str, retry_after_ns: int = 0) -> None:
        super().__init__(text)
        self.status = status
        self.retry_after_ns = retry_after_ns


async def dial(call: Call) -> Connection:
    """A `Connect` over a real socket."""
    listener = FeedListener(
        call.sink,
        call.clock,
        call.notify,
        join_bytes=call.settings.join_bytes,
        max_tokens=call.settings.max_tokens,
    )
    connected: list[socket.socket] = []

    async def connect(address: WSParsedURL) -> socket.socket:
        connected.append(await _connected(address, call.deadline_s))
        return connected[0]

    # Its own keep-alive stays off: the venue's is text, and a PING that
    # picows answered itself would hide the end of a buffer from the listener.
    upgrade = asyncio.ensure_future(
        ws_connect(
            lambda: listener,
            call.url,
            ssl_context=call.ssl_context,
            websocket_handshake_timeout=call.deadline_s,
            enable_auto_ping=False,
            enable_auto_pong=False,
            max_frame_size=call.settings.max_frame_bytes,
            max_redirects=0,
            socket_factory=connect,
            read_buffer_init_size=call.settings.read_buffer_bytes,
            logger_name="invmm",
        )
    )
    try:
        await asyncio.shield(upgrade)
    except asyncio.CancelledError:
        # Whoever owns the socket is to see its end and close it in order.
        listener.end(EndCause.CLOSED)
        if connected:
            with contextlib.suppress(OSError):
                connected[0].shutdown(socket.SHUT_RDWR)
        else:
            upgrade.cancel()
        await asyncio.wait([upgrade])
        if not upgrade.cancelled():
            upgrade.exception()
        raise
    except WSInvalidStatusError as error:
        status = int(error.response.status) if error.response is not None else 0
        raise UpgradeError(status, f"upgrade answered with {status}", _retry_after_ns(error)) from error
    except WSError as error:
        raise UpgradeError(0, f"{type(error).__name__}: {error}") from error
    return listener


async def _connected(address: WSParsedURL, deadline_s: float) -> socket.socket:
    """A connected socket: picows hides its own until the upgrade, and an attempt must be stoppable."""
    loop = asyncio.get_running_loop()
    failed: OSError | None = None
    async with asyncio.timeout(deadline_s):
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, target in found:
            connecting = socket.socket(family, kind, protocol)
            try:
                connecting.setblocking(False)
                connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.sock_connect(connecting, target)
            except OSError as error:
                connecting.close()
                failed = error
            except BaseException:
                connecting.close()
                raise
            else:
                return connecting
    raise failed or OSError(f"no address for {address.host}")


def _retry_after_ns(error: WSInvalidStatusError) -> int:
    """What a refusal asks to wait, in ns, at most RETRY_AFTER_MAX_S; 0 for nothing or a date."""
    text = error.response.headers.get("Retry-After", "") if error.response is not None else ""
    return min(int(text), RETRY_AFTER_MAX_S) * NS if text.isascii() and text.isdigit() else 0
