"""A small HTTP server on loopback that does to each request what a test says: real sockets and threads."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests import markers

SECRET = markers.API_SECRET


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    at: float = field(default_factory=time.monotonic)

    def json(self) -> Any:
        return orjson.loads(self.body)

    def is_signed(self) -> bool:
        """L2 authentication by the standard library."""
        text = self.headers["poly_timestamp"].encode() + self.method.encode() + self.path.encode() + self.body
        mac = hmac.new(base64.urlsafe_b64decode(SECRET), text, hashlib.sha256).digest()
        return base64.urlsafe_b64encode(mac).decode() == self.headers["poly_signature"]


@dataclass
class Reply:
    """What to do: `wait` for the event, `send` bytes, `stream` some more, then `close` if asked.

    Nothing to send: silence.
    """

    send: bytes = b""
    close: bool = False
    wait: threading.Event | None = None
    pieces: int = 1
    stream: Callable[[socket.socket], None] | None = None


def http(code: int, body: bytes, content_type: str = "application/json", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {code} X\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


class ScriptedVenue:
    """Serves until closed. `script(seen)` decides about every request; `seen` lists them."""

    def __init__(
        self, script: Callable[[Seen], Reply], tls: ssl.SSLContext | None = None, port: int = 0
    ) -> None:
        self.script = script
        self.seen: list[Seen] = []
        self.accepted = 0
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # closing alone would leave accept() waiting
        self._listener.close()
        self.drop()
        for thread in self._threads:
            thread.join(5)

    def drop(self) -> None:
        """Closes every connection."""
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._sockets.clear()

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._sockets.append(raw)
            thread = threading.Thread(target=self._serve, args=(raw, self.accepted), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, raw: socket.socket, number: int) -> None:
        try:
            stream = raw if self._tls is None else self._tls.wrap_socket(raw, server_side=True)
            if stream is not raw:
                self._sockets.append(stream)
            with stream, stream.makefile("rb") as lines:
                while (seen := read_request(lines, number)) is not None:
                    self.seen.append(seen)
                    reply = self.script(seen)
                    if reply.wait is not None:
                        reply.wait.wait(20)
                    size = -(-len(reply.send) // reply.pieces) if reply.send else 1
                    for start in range(0, len(reply.send), size):
                        stream.sendall(reply.send[start : start + size])
                    if reply.stream is not None:
                        reply.stream(stream)
                    if reply.close:
                        return
        except (OSError, ValueError):
            return


def read_request(lines: Any, number: int) -> Seen | None:
    first = lines.readline()
    if not first:
        return None
    method, path, _ = first.decode().split()
    headers = {}
    while (line := lines.readline().decode().strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Seen(method, path, headers, lines.read(int(headers.get("content-length", 0))), number)
