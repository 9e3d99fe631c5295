"""One Polygon node: JSON-RPC over HTTP, each question asked once and answered within a deadline.

No retries, no redirects, no proxies from the environment, TLS always verified. Whether a question took effect
is the asker's to find out; a library that asked again by itself would hide that a first copy arrived. A
node's address often holds its provider's key, so messages name the host only.
"""

from __future__ import annotations

import json
import re
import select
import socket
import ssl
import time
from typing import Any, Final
from urllib.parse import urlsplit

import httptools

from invmm.errors import ConfigError, TransportError, VenueError
from invmm.execution.resolver import Resolver
from invmm.settings import SettlementSettings
from invmm.venue.profile import Profile, is_local

_LONGEST_ANSWER: Final = 8 << 20
_LONGEST_WORDS: Final = 200
_SHORTEST_KEY: Final = 8
_KEPT_S: Final = 15.0  # a connection that was idle for longer may be forgotten on the way
_LOOK_UP_PAUSE_S: Final = 0.01

# Nodes have no common code for calls that the machine gave up.
_REVERT_WORDS: Final = ("revert", "out of gas", "gas required exceeds", "invalid opcode", "invalid jump")

_ERROR_SELECTOR: Final = "08c379a0"
_PANIC_SELECTOR: Final = "4e487b71"


class RpcError(VenueError):
    """The node answered that it will not. `code` is its number, `data` what a contract gave as reason (hex).

    Only a revert is an answer of the chain; anything else says something about the node.
    """

    def __init__(self, where: str, code: int, message: str, data: str = "") -> None:
        super().__init__(code, f"{where}: {message}")
        self.code = code
        self.message = message
        self.data = data

    @property
    def is_revert(self) -> bool:
        """Whether a contract refused, and not the node."""
        words = self.message.lower()
        return self.code == 3 or len(self.data) > 2 or any(word in words for word in _REVERT_WORDS)

    @property
    def reason(self) -> str:
        """The contract's words where it gave some, else the node's."""
        return reason_in(self.data) or self.message


class RpcEndpoint:
    """A node to ask. Belongs to one thread.

    Parameters
    ----------
    url : str
        https://, or http:// on this machine.
    timeout_s : float
        Deadline of one question: look-up, connection, TLS and answer together.

    Attributes
    ----------
    name : str
        Host and port, for messages.

    Raises
    ------
    ConfigError
        An address that is no such URL.
    """

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        parts = urlsplit(url)
        try:
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host, port = "", None
        is_secure = parts.scheme == "https"
        if not host or not (is_secure or (parts.scheme == "http" and is_local(url))):
            raise ConfigError(
                "address of a node: expected https://…, or http://… on this machine, found "
                f"{parts.scheme or 'no scheme'} to {host or 'no host'}"
            )
        if parts.username or parts.password:
            raise ConfigError(f"address of the node {host}: expected no user or password in it")
        self._port = port or (443 if is_secure else 80)
        self.name = f"{host}:{port}" if port else host
        self.is_local = is_local(url)
        self._timeout_s = timeout_s
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: {self.name}\r\nContent-Type: application/json\r\n"
            "Accept: application/json\r\n"
        ).encode()
        self._host = host
        self._is_secure = is_secure
        self._tls: ssl.SSLContext | None = None
        self._resolver: Resolver | None = None
        self._kept: socket.socket | None = None
        self._kept_until_s = 0.0
        self._asked = 0
        self._hidden = [part for part in re.split(r"[/?&=]", path) if len(part) >= _SHORTEST_KEY]

    def __repr__(self) -> str:
        return f"RpcEndpoint({self.name})"

    def call(self, method: str, *params: Any) -> Any:
        """Asks one question.

        Returns
        -------
        object
            The answer's `result`.

        Raises
        ------
        RpcError
            The node answered with an error.
        TransportError
            No usable answer came within the deadline: whether the question took effect is unknown.
        """
        self._asked += 1
        question = {"jsonrpc": "2.0", "id": self._asked, "method": method, "params": params}
        try:
            status, content = self._exchange(json.dumps(question).encode())
            answer = json.loads(content)
        except TimeoutError:
            raise TransportError(f"{self.name}: {method}: no answer in {self._timeout_s:g} s") from None
        except (OSError, ValueError, httptools.HttpParserError) as error:
            # The kind of error only: its text may quote the address.
            raise TransportError(f"{self.name}: {method}: {type(error).__name__}") from None
        if not isinstance(answer, dict) or answer.get("id") != self._asked:
            raise TransportError(f"{self.name}: {method}: HTTP {status}, expected a JSON-RPC answer")
        refusal = answer.get("error")
        if isinstance(refusal, dict):
            code, message, data = _error_parts(refusal)
            for part in self._hidden:  # providers quote the key that they do not like
                message = message.replace(part, "…")
            raise RpcError(f"{self.name}: {method}", code, message, data)
        if status != 200 or "result" not in answer:
            raise TransportError(f"{self.name}: {method}: HTTP {status}, expected a result")
        return answer["result"]

    def close(self) -> None:
        """Closes the connection that is kept for the next question; one that is asked opens another."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def __del__(self) -> None:
        if getattr(self, "_kept", None) is not None:
            self.close()

    def _exchange(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        until = time.monotonic() + self._timeout_s
        wire = self._take_kept() or self._connect(until)
        try:
            wire.settimeout(_left(until))
            wire.sendall(self._head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            status, content, stays = self._answer(wire, until)
        except BaseException:
            wire.close()
            raise
        if stays:
            self._kept, self._kept_until_s = wire, time.monotonic() + _KEPT_S
        else:
            wire.close()
        return status, content

    def _take_kept(self) -> socket.socket | None:
        """The connection of the last question, unless the node has ended it or said something unasked."""
        wire, self._kept = self._kept, None
        if wire is None:
            return None
        poll = select.poll()
        poll.register(wire, select.POLLIN)
        if time.monotonic() < self._kept_until_s and not poll.poll(0):
            return wire
        wire.close()
        return None

    def _connect(self, until: float) -> socket.socket:
        family, address = self._address(until)
        wire = socket.socket(family, socket.SOCK_STREAM)
        try:
            wire.settimeout(_left(until))
            wire.connect(address)
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._is_secure:
                self._tls = self._tls or ssl.create_default_context()
                wire.settimeout(_left(until))
                wire = self._tls.wrap_socket(wire, server_hostname=self._host)
        except OSError:
            wire.close()
            if self._resolver is not None:
                self._resolver.refresh()
            raise
        except BaseException:
            wire.close()
            raise
        return wire

    def _answer(self, wire: socket.socket, until: float) -> tuple[int, bytes, bool]:
        """Status, body, and whether the connection stays."""
        answer = _Answer()
        answer.parser = parser = httptools.HttpResponseParser(answer)
        while not answer.is_whole:
            # A new limit for each piece, so that no trickle of bytes outlasts the deadline.
            wire.settimeout(_left(until))
            piece = wire.recv(65_536)
            if not piece:
                raise ConnectionError("the connection ended within the answer")
            parser.feed_data(piece)
            if answer.size > _LONGEST_ANSWER:
                raise ConnectionError("the answer is too long")
        return parser.get_status_code(), b"".join(answer.pieces), answer.stays

    def _address(self, until: float) -> tuple[int, Any]:
        if self._resolver is None:
            self._resolver = Resolver(self._host, self._port)
        while (found := self._resolver.address()) is None:
            time.sleep(min(_LOOK_UP_PAUSE_S, _left(until)))
        return found


class _Answer:
    """What the parser found."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0
        self.is_whole = False
        self.stays = False
        self.parser: httptools.HttpResponseParser

    def on_body(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self.size += len(piece)

    def on_message_complete(self) -> None:
        self.is_whole = True
        self.stays = self.parser.should_keep_alive()  # it forgets with the message


def endpoints_of(
    settings: SettlementSettings, profile: Profile, secret_url: str | None = None
) -> tuple[RpcEndpoint, ...]:
    """The nodes that the settings name, or the profile's.

    Parameters
    ----------
    secret_url : str, optional
        `Identity.rpc_url`; goes before those of the settings.

    Raises
    ------
    ConfigError
        No node is named, one twice, or a public one for a venue on this machine (or the reverse).
    """
    urls = [*([secret_url] if secret_url else []), *settings.rpc_urls.split()]
    if not urls and profile.rpc_url:
        urls = [profile.rpc_url]
    found = tuple(RpcEndpoint(url, timeout_s=settings.rpc_timeout_ms / 1_000) for url in urls)
    if not found:
        raise ConfigError("[settlement] rpc_urls: expected the address of a node, found none")
    for one in found:
        if one.is_local is not profile.loopback:
            kind = "this machine" if profile.loopback else "a public host"
            raise ConfigError(f"[settlement] rpc_urls: expected a node on {kind}, found {one.name}")
    if len(set(urls)) < len(urls):
        raise ConfigError("[settlement] rpc_urls: expected different nodes, found one of them twice")
    return found


def reason_in(data: str) -> str:
    """What a contract said when it refused, from the bytes it returned; "" if it said nothing."""
    digits = data.removeprefix("0x")
    try:
        content = bytes.fromhex(digits)
    except ValueError:
        return ""
    if digits.startswith(_ERROR_SELECTOR) and len(content) >= 68:
        size = int.from_bytes(content[36:68], "big")
        return _printable(content[68 : 68 + size].decode(errors="replace"))
    if digits.startswith(_PANIC_SELECTOR) and len(content) == 36:
        return f"panic {int.from_bytes(content[4:], 'big'):#x}"
    return f"error {_printable(digits[:8])}" if digits else ""


def _error_parts(error: dict[str, Any]) -> tuple[int, str, str]:
    code, message, data = error.get("code"), error.get("message"), error.get("data")
    if isinstance(data, dict):  # some nodes wrap it
        data = data.get("data")
    return (
        code if isinstance(code, int) else 0,
        _printable(str(message)),
        data if isinstance(data, str) and data.startswith("0x") else "",
    )


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:_LONGEST_WORDS]


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def number(value: Any, what: str) -> int:
    """A quantity of a node's answer, "0x1b"; TransportError for anything else."""
    if isinstance(value, str) and value.startswith("0x"):
        try:
            return int(value, 16)
        except ValueError:
            pass
    raise TransportError(f"{what}: expected a hexadecimal number, found {_printable(repr(value))}")
