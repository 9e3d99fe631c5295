"""Requests to the venue's REST face, one at a time: sent with deadlines, read within bounds, checked.

An ordinary HTTP client for what is asked now and then; orders of the trading path go through
`execution/executor.py`. TLS certificates are always verified, redirects are never followed, proxies of the
environment are not used, and no message quotes a header or the content of an answer of unexpected shape.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import orjson

from invmm.errors import ConfigError, TransportError, VenueError
from invmm.venue.auth import ApiCredentials, OrderSigner, l1_headers, l2_headers
from invmm.venue.profile import Profile

MAX_ANSWER_BYTES: Final = 32 << 20
"""The largest documented answer, 500 books, has a few megabytes."""
CONNECT_S: Final = 3.0
READ_ATTEMPTS: Final = 3
RETRY_FIRST_S: Final = 0.2
RETRY_STATUSES: Final = frozenset({425, 429, 500, 502, 503, 504})
FIRST_CURSOR, LAST_CURSOR = "MA==", "LTE="
MAX_PAGES: Final = 1_000
MAX_TEXT: Final = 300
HIDDEN_HEADERS: Final = ("POLY_PASSPHRASE", "POLY_SIGNATURE", "POLY_API_KEY")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `body` is complete and not longer than the bound."""

    status: int
    body: bytes = field(repr=False)
    retry_after_s: float | None
    round_trip_ns: int


def shape_of(value: Any) -> str:
    """What a parsed answer is, for messages: its kind and the names of its keys, never what it contains."""
    if isinstance(value, dict):
        keys = ", ".join(str(key)[:40] for key in list(value)[:12]) or "none"
        return f"an object with keys {keys}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "nothing" if value is None else f"a {type(value).__name__}"


def unexpected(path: str, expected: str, value: Any) -> TransportError:
    """The error for an answer of the wrong shape: not a refusal, so nothing is known."""
    return TransportError(f"{path}: expected {expected}, found {shape_of(value)}")


def object_at(path: str, value: Any, *keys: str) -> dict[str, Any]:
    """`value` if it is an object with all of `keys`."""
    if not isinstance(value, dict) or any(key not in value for key in keys):
        raise unexpected(path, f"an object with {', '.join(keys) or 'any keys'}", value)
    return value


def rows_of(path: str, value: Any) -> list[dict[str, Any]]:
    """`value` if it is a list of objects; one entry of another kind spoils the whole list."""
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise unexpected(path, "a list of objects", value)
    return value


class Transport:
    """One host. Connections are kept open; made on first use, on the loop that uses it.

    Parameters
    ----------
    base_url
        "https://host" or "http://127.0.0.1:port".
    timeout_s
        For a whole request, from the wait for a connection to the last byte of the answer.
    """

    def __init__(self, base_url: str, *, timeout_s: float = 5.0) -> None:
        if not timeout_s > 0:
            raise ConfigError(f"timeout_s: expected more than 0 seconds, found {timeout_s!r}")
        self.base_url = base_url.rstrip("/")
        self.timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

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
        sent = dict(headers or {})
        if body:
            sent["Content-Type"] = "application/json"
        start_ns = time.perf_counter_ns()
        try:
            async with self._open().request(
                method,
                self.base_url + path,
                params=dict(query or {}),
                headers=sent,
                data=body or None,
                allow_redirects=False,
            ) as answer:
                content = bytearray()
                async for part in answer.content.iter_any():
                    content += part
                    if len(content) > MAX_ANSWER_BYTES:
                        raise TransportError(f"{method} {path}: more than {MAX_ANSWER_BYTES} bytes came back")
                taken_ns = time.perf_counter_ns() - start_ns
                return Answer(answer.status, bytes(content), _seconds(answer.headers), taken_ns)
        except TimeoutError:
            raise TransportError(f"{method} {path}: no answer within {self.timeout_s:g} s") from None
        # Not chained: some of aiohttp's errors carry the request's headers.
        except (aiohttp.ClientError, OSError, ValueError) as error:
            words = _without(str(error), sent)
            raise TransportError(f"{method} {path}: {type(error).__name__}: {words}") from None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            tls = ssl.create_default_context() if self.base_url.startswith("https:") else True
            limits = aiohttp.ClientTimeout(
                total=self.timeout_s,
                sock_connect=min(CONNECT_S, self.timeout_s),
                sock_read=self.timeout_s,
            )
            self._session = aiohttp.ClientSession(
                timeout=limits,
                connector=aiohttp.TCPConnector(ssl=tls, limit=16),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                headers={"User-Agent": "invmm", "Accept": "application/json"},
            )
        return self._session

    async def close(self) -> None:
        """Closes the connections; using it again opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None


class RestClient:
    """Public, private and login requests to a venue, each answer parsed or turned into a typed error.

    VenueError: the venue said no, in its own words. TransportError: no usable answer (silence, a cut
    connection, HTML, JSON of another shape), so whether the request took effect is unknown. Reads are made
    up to `read_attempts` times, with growing, random pauses or as Retry-After asks; nothing else is repeated.
    """

    def __init__(
        self,
        profile: Profile,
        signer: OrderSigner | None = None,
        credentials: ApiCredentials | None = None,
        *,
        address: str = "",
        timeout_s: float = 5.0,
        read_attempts: int = READ_ATTEMPTS,
    ) -> None:
        if signer is not None and address and address.lower() != signer.address.lower():
            raise ConfigError(f"address: expected the signer's {signer.address}, found {address}")
        if signer is not None and signer.chain_id != profile.chain_id:
            raise ConfigError(
                f"chain id: expected {profile.chain_id} of profile {profile.name}, found {signer.chain_id}"
            )
        self.profile = profile
        self.signer = signer
        self.credentials = credentials
        self.address = signer.address if signer is not None else address
        self.read_attempts = read_attempts
        self.transport = Transport(profile.rest_url, timeout_s=timeout_s)

    async def close(self) -> None:
        """Closes the connections."""
        await self.transport.close()

    async def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: bytes = b"",
        private: bool = True,
    ) -> Any:
        """One request, signed with the API credentials unless it is public; the parsed answer."""

        def headers() -> dict[str, str]:  # anew for each attempt: they carry the time
            return self._private_headers(method, path, body) if private else {}

        attempts = self.read_attempts if method == "GET" else 1
        give_up_s = time.monotonic() + self.transport.timeout_s
        for attempt in range(1, attempts + 1):
            pause_s: float | None = None
            try:
                sent = headers()
                answer = await self.transport.send(method, path, query=query, headers=sent, body=body)
                pause_s = answer.retry_after_s
                return _parsed(method, path, answer, sent)
            except (TransportError, VenueError) as error:
                if isinstance(error, VenueError) and error.status not in RETRY_STATUSES:
                    raise
                pause_s = max(pause_s or 0.0, RETRY_FIRST_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))
                if attempt == attempts or time.monotonic() + pause_s > give_up_s:
                    raise
            await asyncio.sleep(pause_s)
        raise AssertionError("unreachable")

    async def login(self, method: str, path: str, nonce: int) -> Any:
        """One request signed with the private key (L1), as only the API-key endpoints take."""
        if self.signer is None:
            raise ConfigError(f"{method} {path}: expected a signer with the private key, found none")
        sent = l1_headers(self.signer, int(time.time()), nonce)
        return _parsed(method, path, await self.transport.send(method, path, headers=sent), sent)

    async def post_raw(self, method: str, path: str, body: bytes) -> tuple[Answer, dict[str, str]]:
        """One private request sent once; the answer as it came, and the headers that must not be quoted."""
        sent = self._private_headers(method, path, body)
        return await self.transport.send(method, path, headers=sent, body=body), sent

    async def pages(self, path: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Every entry of a private paged listing.

        A page without cursor or entries, a cursor that comes twice and more than 1000 pages are
        TransportErrors: half a listing is never returned.
        """
        entries: list[dict[str, Any]] = []
        cursor, seen = FIRST_CURSOR, set[str]()
        while cursor != LAST_CURSOR:
            if cursor in seen or len(seen) >= MAX_PAGES:
                raise TransportError(
                    f"{path}: expected at most {MAX_PAGES} pages, each with a cursor of its own; "
                    f"page {len(seen) + 1} repeats or exceeds"
                )
            seen.add(cursor)
            page = object_at(
                path, await self.ask("GET", path, {**query, "next_cursor": cursor}), "data", "next_cursor"
            )
            entries += rows_of(path, page["data"])
            if not isinstance(page["next_cursor"], str) or not page["next_cursor"]:
                raise unexpected(path, "a cursor", page["next_cursor"])
            cursor = page["next_cursor"]
        return entries

    def _private_headers(self, method: str, path: str, body: bytes) -> dict[str, str]:
        if self.credentials is None:
            raise ConfigError(f"{method} {path}: expected API credentials, found none")
        if not self.address:
            raise ConfigError(f"{method} {path}: expected a signer or an address, found neither")
        return l2_headers(self.credentials, self.address, method, path, body, int(time.time()))


def words_of(answer: Answer, sent: Mapping[str, str]) -> str:
    """The venue's own words about a refusal; "" where it used none (HTML, binary, other JSON)."""
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        text = answer.body.decode("utf-8", "replace").strip()
        plain = text.isprintable() and "<" not in text and len(text) <= MAX_TEXT
        return _without(text, sent) if plain else ""
    if isinstance(document, dict):
        document = document.get("error") or document.get("error_msg") or document.get("errorMsg")
    return _without(document, sent)[:MAX_TEXT] if isinstance(document, str) else ""


def _parsed(method: str, path: str, answer: Answer, sent: Mapping[str, str]) -> Any:
    if answer.status not in (200, 201):
        words = words_of(answer, sent)
        if words and answer.status >= 400:
            raise VenueError(answer.status, words)
        raise TransportError(
            f"{method} {path}: expected an answer in JSON, found status {answer.status} "
            f"with {len(answer.body)} bytes of something else"
        )
    if not answer.body:
        return None
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        raise TransportError(
            f"{method} {path}: expected JSON, found {len(answer.body)} bytes of something else"
        ) from None


def _without(text: str, sent: Mapping[str, str]) -> str:
    """`text` without the values of secret headers, in case a server or a library repeats them."""
    for name in HIDDEN_HEADERS:
        if sent.get(name):
            text = text.replace(sent[name], f"[{name}]")
    return text


def _seconds(headers: Mapping[str, str]) -> float | None:
    """Retry-After in its form of seconds; the venue does not use the other."""
    text = headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 8 else None
