"""Tells people: every alarm goes to one command and one webhook, off the trading threads.

    anything ─ raise_ ─▶ bounded queue ─▶ one thread ─┬─▶ [alarms] command, JSON on its standard input
                                                      └─▶ [alarms] webhook, JSON by POST

Neither can hold up trading: `raise_` never blocks, a full queue counts what it drops, and each delivery has a
deadline. A failed delivery is tried twice more, then said. The command is started without a shell. The
webhook follows no redirects and no proxy settings.
"""

from __future__ import annotations

import http.client
import json
import queue
import shlex
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from urllib.parse import SplitResult, urlsplit

from invmm.errors import ConfigError

QUEUE_MAX = 256
ATTEMPTS = 3
PAUSE_S = 0.5
CLOSE = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something a person must know. `kind` is a stable word, `text` is for people and names no secret."""

    kind: str
    text: str
    time_ns: int
    source: str = "engine"

    def as_json(self) -> bytes:
        """What the command and the webhook get, one line."""
        return json.dumps({**asdict(self), "host": socket.gethostname()}).encode() + b"\n"


class AlarmHooks:
    """Delivers alarms.

    Parameters
    ----------
    command : str
        Program and arguments as a shell would split them; empty: none.
    webhook : str
        `https://…`, or `http://` on loopback; empty: none.
    say : callable
        Told of deliveries that failed. On the delivering thread.
    timeout_s : float
        Deadline of one delivery, real seconds.

    Raises
    ------
    ConfigError
        The command cannot be split, or the webhook is no such address.
    """

    def __init__(
        self, command: str, webhook: str, say: Callable[[str], object], *, timeout_s: float = 10.0
    ) -> None:
        try:
            self._command = shlex.split(command)
        except ValueError as error:
            raise ConfigError(f"[alarms] command: expected words as a shell splits them: {error}") from error
        self._webhook = _webhook(webhook) if webhook else None
        self._say = say
        self._timeout_s = timeout_s
        self._queue: queue.Queue[Alarm | None] = queue.Queue(QUEUE_MAX)
        self.delivered = 0
        self.failed = 0
        self.dropped = 0
        self._abandoned = False
        self._thread: threading.Thread | None = None
        if self._command or self._webhook:
            self._thread = threading.Thread(target=self._run, name="invmm alarms", daemon=True)
            self._thread.start()

    def raise_(self, kind: str, text: str, source: str = "engine") -> None:
        """Takes an alarm; never blocks, never raises."""
        if self._thread is None:
            return
        try:
            self._queue.put_nowait(Alarm(kind, text, time.time_ns(), source))
        except queue.Full:
            self.dropped += 1

    def close(self, timeout_s: float = 5.0) -> None:
        """Delivers what waits, within the deadline; what is left then is given up."""
        if self._thread is None:
            return
        end_s = time.monotonic() + timeout_s
        try:
            self._queue.put(CLOSE, timeout=timeout_s)
            self._thread.join(max(0.0, end_s - time.monotonic()))
        except queue.Full:
            pass
        self._abandoned = True

    def _run(self) -> None:
        while (alarm := self._queue.get()) is not CLOSE and not self._abandoned:
            if self._command:
                self._deliver("command", self._run_command, alarm)
            if self._webhook is not None:
                self._deliver("webhook", self._post, alarm)

    def _deliver(self, name: str, send: Callable[[bytes], None], alarm: Alarm) -> None:
        problem = ""
        for attempt in range(ATTEMPTS):
            if self._abandoned:
                return
            try:
                send(alarm.as_json())
                self.delivered += 1
                return
            except (OSError, subprocess.SubprocessError, http.client.HTTPException) as error:
                # A command line may hold a token, and these errors quote it.
                shown = "" if isinstance(error, subprocess.SubprocessError) else f": {error}"
                problem = type(error).__name__ + shown
                time.sleep(PAUSE_S * attempt)
        self.failed += 1
        self._say(f"the alarm {alarm.kind!r} did not get through to the {name}: {problem}")

    def _run_command(self, content: bytes) -> None:
        subprocess.run(
            self._command,
            input=content,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=self._timeout_s,
            check=True,
        )

    def _post(self, content: bytes) -> None:
        assert self._webhook is not None
        where = self._webhook
        connection: http.client.HTTPConnection
        if where.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(where.netloc, timeout=self._timeout_s, context=context)
        else:
            connection = http.client.HTTPConnection(where.netloc, timeout=self._timeout_s)
        try:
            path = (where.path or "/") + (f"?{where.query}" if where.query else "")
            connection.request("POST", path, content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if not 200 <= answer.status < 300:
                raise http.client.HTTPException(f"answered {answer.status}")
        finally:
            connection.close()


def _webhook(text: str) -> SplitResult:
    """The address, if it is one that alarms may go to."""
    try:
        where = urlsplit(text)
        local = where.hostname in ("127.0.0.1", "localhost", "::1")
        good = where.scheme == "https" or (where.scheme == "http" and local)
        if good and where.hostname and where.username is None and where.port != 0:
            return where
    except ValueError:
        pass
    # The address itself may hold a token.
    raise ConfigError(
        "[alarms] webhook: expected https://HOST/…, or http:// on loopback, without a user name"
    )
