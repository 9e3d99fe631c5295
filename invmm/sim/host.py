"""A venue's server as those see it who started it: an address, and its control face over HTTP. Where it runs,
in a child process (`invmm.sim.child`) or in a thread (`invmm.sim.thread`), makes no difference to this.
"""

from __future__ import annotations

import http.client
import json
import secrets
import time
from abc import ABC, abstractmethod
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self
from uuid import UUID

from invmm.errors import TransportError, VenueError
from invmm.replay.tape import Tape
from invmm.sim.access import AccessRules
from invmm.sim.profile import VenueProfile
from invmm.sim.windows import Series


@dataclass(frozen=True)
class ChildCredentials:
    """What the started venue accepts: L2 key triple and the address of the signing key."""

    api_key: str
    secret: str = field(repr=False)
    passphrase: str = field(repr=False)
    address: str

    @classmethod
    def fresh(cls, address: str) -> ChildCredentials:
        """A new random triple for an address."""
        return cls(
            str(UUID(bytes=secrets.token_bytes(16), version=4)),
            urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            secrets.token_hex(32),
            address,
        )


class VenueHost(ABC):
    """A server that is started and stopped; a context manager.

    Parameters
    ----------
    tapes : sequence of Tape
        Markets, served one after another.
    credentials : ChildCredentials, optional
        What requests must prove; without them the venue checks no headers and no signatures.
    profile : VenueProfile, optional
        Latencies, delays, queue model.
    seed : int
        Seed of all of the venue's randomness.
    silent_s : float
        A WebSocket client that says nothing for so many real seconds is dropped.
    page_limit : int
        Entries per page of `/data/orders` and `/data/trades`.
    series : sequence of Series
        Rolling windows, which open and close by the clock from the start on.
    speed, start_ns
        With series: venue seconds per second, and the venue's first moment (unix nanoseconds, default now).
    remember : int, optional
        So many ended markets keep their orders and trades; by default all of them.
    port : int
        Port on 127.0.0.1, a free one by default.
    access : AccessRules, optional
        Accounts and what they must prove. Without it: the credentials' account alone, and no checks when
        there are no credentials either.
    chain : bool
        True: matches are settled on a chain of the venue's own (`rpc_url`), in a process of its own.
    """

    def __init__(
        self,
        tapes: Sequence[Tape],
        *,
        credentials: ChildCredentials | None = None,
        profile: VenueProfile | None = None,
        seed: int = 0,
        silent_s: float = 10.0,
        page_limit: int = 100,
        series: Sequence[Series] = (),
        speed: float = 1.0,
        start_ns: int | None = None,
        remember: int | None = None,
        port: int = 0,
        access: AccessRules | None = None,
        chain: bool = False,
    ) -> None:
        self.credentials = credentials
        self.profile = profile or VenueProfile()
        self.port = 0
        self.rpc_url = ""  # of its chain; empty: it has none
        self._tapes = list(tapes)
        self._told: dict[str, Any] = {
            "credentials": asdict(credentials) if credentials is not None else {},
            "seed": seed,
            "silent_s": silent_s,
            "page_limit": page_limit,
            "series": [asdict(one) for one in series],
            "speed": speed,
            "start_ns": start_ns,
            "remember": remember,
            "port": port,
            "access": asdict(access) if access is not None else None,
            "chain": chain,
        }
        self._errors: deque[str] = deque(maxlen=200)

    def _config(self) -> dict[str, Any]:
        """What `invmm.sim.server.made` reads, as plain data: it may have to go to another process."""
        return {**self._told, "profile": asdict(self.profile)}

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:  # interrupted, too: nothing is left
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abstractmethod
    def start(self, timeout_s: float = 30.0) -> None:
        """Starts it and waits until it listens; TransportError when it does not."""

    @abstractmethod
    def stop(self, timeout_s: float = 5.0) -> int | None:
        """Ends it, if it runs. Returns its exit code, 0 when it ended as it should."""

    @property
    @abstractmethod
    def pid(self) -> int | None:
        """Id of the process that it runs in, while it runs."""

    @property
    @abstractmethod
    def returncode(self) -> int | None:
        """Exit code when it has ended by itself, None while it runs."""

    @property
    def base_url(self) -> str:
        """REST."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def market_url(self) -> str:
        """Market WebSocket."""
        return f"ws://127.0.0.1:{self.port}/ws/market"

    @property
    def user_url(self) -> str:
        """User WebSocket."""
        return f"ws://127.0.0.1:{self.port}/ws/user"

    @property
    def errors(self) -> str:
        """What it has said about errors, its last 200 lines."""
        return "".join(self._errors)

    # ---- control ----

    def control(
        self, path: str, body: dict[str, Any] | None = None, timeout_s: float = 10.0
    ) -> dict[str, Any]:
        """One request to `/_control/<path>`: GET without a body, POST with one. VenueError when it is
        refused.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            payload = None if body is None else json.dumps(body)
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request("GET" if body is None else "POST", f"/_control/{path}", payload, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise TransportError(f"/_control/{path}: {error!r}; the venue said:\n{self.errors}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise VenueError(answer.status, text)
        told: dict[str, Any] = json.loads(text)
        return told

    def begin(
        self, market: int = 0, *, speed: float = 1.0, in_s: float = 0.0, tape_ns: int | None = None
    ) -> dict[str, Any]:
        """Starts a market `in_s` real seconds from now; returns the clock's mapping (see `TapeClock`)."""
        body: dict[str, Any] = {
            "market": market,
            "speed": speed,
            "monotonic_ns": time.monotonic_ns() + int(in_s * 1e9),
        }
        if tape_ns is not None:
            body["tape_ns"] = tape_ns
        return self.control("start", body)

    def truth(self) -> dict[str, Any]:
        """The venue's own figures, for reconciliation."""
        return self.control("truth")

    def fault(self, kind: str, **figures: Any) -> dict[str, Any]:
        """One fault, see `invmm.sim.control.Control.fault`."""
        return self.control("fault", {"kind": kind, **figures})
