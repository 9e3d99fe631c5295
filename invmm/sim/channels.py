"""The two WebSocket channels of the embedded venue, with the faults that can be asked of them.

Text frames are written as raw bytes: the venue's messages go out byte for byte, those of one moment in one
write, and a message can be split over several WebSocket frames, which a library would not do on its own.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import WSMsgType, web

_MOST_UNREAD = 64 << 20  # bytes
_TEXT, _CONTINUATION, _FIN = 0x1, 0x0, 0x80


def text_frame(payload: bytes, parts: int = 1) -> bytes:
    """A server's (unmasked) text message in `parts` WebSocket frames (RFC 6455, 5.2)."""
    step = max(1, -(-len(payload) // max(1, parts)))
    pieces = [payload[at : at + step] for at in range(0, len(payload), step)] or [b""]
    out = bytearray()
    for index, piece in enumerate(pieces):
        first = (_TEXT if index == 0 else _CONTINUATION) | (_FIN if index == len(pieces) - 1 else 0)
        if len(piece) < 126:
            out += bytes((first, len(piece)))
        elif len(piece) < 65_536:
            out += bytes((first, 126)) + len(piece).to_bytes(2, "big")
        else:
            out += bytes((first, 127)) + len(piece).to_bytes(8, "big")
        out += piece
    return bytes(out)


class Connection:
    """One client of a channel."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.WriteTransport) -> None:
        self.socket = socket
        self.transport = transport
        self.is_subscribed = False
        self.assets: set[str] = set()  # market channel
        self.wants_custom = False  # market channel: `custom_feature_enabled`
        self.account = ""  # user channel: whose events; empty: everybody's
        self.markets: set[str] | None = None  # user channel; None: every market of the account
        self.heard_s = time.monotonic()

    def write(self, data: bytes) -> None:
        """Raw bytes onto the socket; a client that does not read is cut off."""
        if self.transport.get_write_buffer_size() > _MOST_UNREAD:
            self.transport.abort()
        elif not self.transport.is_closing():
            self.transport.write(data)


class Channel:
    """Connections of one kind, and their faults.

    `subscribe(connection, message)` handles a JSON frame of a client and returns False to have it dropped.
    """

    def __init__(self, subscribe: Callable[[Connection, dict[str, Any]], bool], silent_s: float) -> None:
        self._subscribe = subscribe
        self._silent_s = silent_s
        self.connections: list[Connection] = []
        self.split_parts = 1
        self.split_left = 0
        self.is_stalled = False
        self.bend: Callable[[Connection, list[bytes]], list[bytes]] | None = None  # the faults of content
        self.dropped_silent = 0

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """One client from handshake to end."""
        socket = web.WebSocketResponse(compress=False, autoping=True)
        await socket.prepare(request)
        transport = request.transport
        if not isinstance(transport, asyncio.WriteTransport):
            return socket
        connection = Connection(socket, transport)
        self.connections.append(connection)
        watch = asyncio.create_task(self._watch(connection))
        try:
            async for message in socket:
                connection.heard_s = time.monotonic()
                if message.type != WSMsgType.TEXT:
                    continue
                if message.data == "PING":
                    connection.write(text_frame(b"PONG"))
                elif not self._handle(connection, message.data):
                    break
        finally:
            watch.cancel()
            self.connections.remove(connection)
        if not transport.is_closing():
            await socket.close()
        return socket

    def _handle(self, connection: Connection, text: str) -> bool:
        try:
            message = json.loads(text)
        except ValueError:
            return False
        return isinstance(message, dict) and self._subscribe(connection, message)

    async def _watch(self, connection: Connection) -> None:
        """Drops a client that neither subscribes nor sends PING."""
        while True:
            quiet = time.monotonic() - connection.heard_s
            if quiet >= self._silent_s:
                self.dropped_silent += 1
                connection.transport.abort()
                return
            await asyncio.sleep(self._silent_s - quiet)

    def send(self, connection: Connection, payloads: Iterable[bytes]) -> None:
        """Messages of one moment, in one write. Nothing goes out while the channel is stalled."""
        if self.is_stalled:
            return
        if self.bend is not None:
            payloads = self.bend(connection, list(payloads))
        out = bytearray()
        for payload in payloads:
            parts = 1
            if self.split_left:
                self.split_left -= 1
                parts = self.split_parts
            out += text_frame(payload, parts)
        if out:
            connection.write(bytes(out))

    def kill(self, most: int | None = None) -> int:
        """Cuts every connection without a closing handshake, or the `most` oldest; returns how many."""
        killed = self.connections[:most]
        for connection in killed:
            connection.transport.abort()
        return len(killed)

    def garbage(self, payload: bytes) -> None:
        """Sends something that is not a message of the venue."""
        for connection in self.connections:
            connection.write(text_frame(payload))
