"""Starts the embedded venue's server as a child process and stops it; from the parent's side it is an
address.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from invmm.errors import TransportError, VenueError
from invmm.replay.tape import Tape
from invmm.sim import spool
from invmm.sim.access import AccessRules
from invmm.sim.profile import VenueProfile
from invmm.sim.windows import Series


@dataclass(frozen=True)
class ChildCredentials:
    """What the child's venue accepts: L2 key triple and the address of the signing key."""

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


class VenueChild:
    """The server in a child process; a context manager.

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
    ) -> None:
        self._tapes = list(tapes)
        self._told = {
            "series": [asdict(one) for one in series],
            "speed": speed,
            "start_ns": start_ns,
            "remember": remember,
            "port": port,
        }
        self.credentials = credentials
        self.profile = profile or VenueProfile()
        self._seed = seed
        self._silent_s = silent_s
        self._page_limit = page_limit
        self._access = access
        self._process: subprocess.Popen[str] | None = None
        self._folder: Path | None = None
        self._errors: deque[str] = deque(maxlen=200)
        self._reader: threading.Thread | None = None
        self.port = 0

    def __enter__(self) -> VenueChild:
        try:
            self.start()
        except BaseException:  # interrupted, too: neither a process nor a folder is left
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process is not None else None

    @property
    def returncode(self) -> int | None:
        """Exit code when it has ended by itself, None while it runs."""
        return self._process.poll() if self._process is not None else None

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
        """What the child wrote to standard error, its last 200 lines."""
        return "".join(self._errors)

    def start(self, timeout_s: float = 30.0) -> None:
        """Starts the child and waits until it listens; TransportError with its standard error when it does
        not.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="invmm-venue-"))
        folders = [spool.write(tape, self._folder / str(index)) for index, tape in enumerate(self._tapes)]
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "invmm.sim.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            # A Ctrl-C in the terminal is the parent's to handle: it still has orders to cancel.
            start_new_session=True,
        )
        process = self._process
        self._reader = threading.Thread(
            target=self._read_errors, args=(process,), name="venue-stderr", daemon=True
        )
        self._reader.start()
        config = {
            "tapes": [str(folder) for folder in folders],
            "profile": asdict(self.profile),
            "credentials": asdict(self.credentials) if self.credentials is not None else {},
            "seed": self._seed,
            "silent_s": self._silent_s,
            "page_limit": self._page_limit,
            **self._told,
            "access": asdict(self._access) if self._access is not None else None,
        }
        assert process.stdin is not None
        assert process.stdout is not None
        killer = threading.Timer(timeout_s, process.kill)
        killer.start()
        try:
            process.stdin.write(json.dumps(config) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        finally:
            killer.cancel()
        if not line:
            self.stop()
            raise TransportError(f"the embedded venue did not start within {timeout_s} s:\n{self.errors}")
        self.port = int(json.loads(line)["port"])
        shutil.rmtree(self._folder, ignore_errors=True)  # the child has read it

    def _read_errors(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self._errors.append(line)

    def stop(self, timeout_s: float = 5.0) -> int | None:
        """Ends the child: closes its standard input, then insists. Returns its exit code."""
        process, self._process = self._process, None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        if process is None:
            return None
        assert process.stdin is not None
        try:
            process.stdin.close()
            process.wait(timeout_s)
        except (OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join(1.0)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        return process.returncode

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
            raise TransportError(f"/_control/{path}: {error!r}; the child said:\n{self.errors}") from error
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
