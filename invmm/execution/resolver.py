"""Where a host is: looked up on a thread of its own, because the system's look-up has no deadline."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

PAUSE_S = 1.0  # between two look-ups

Address = tuple[int, Any]
"""Family and what `connect` takes."""


class Resolver:
    """Addresses of one host, shared by the connections to it. All methods belong to one thread.

    Parameters
    ----------
    host : str
        Name or numeric address.
    port : int
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.error = ""
        """Of the last look-up; "" when it went well."""
        self._found: list[Address] = []
        self._next = 0
        self._thread: threading.Thread | None = None
        self._not_before_s = 0.0
        self._is_numeric = True
        try:
            self._found = self._look_up(socket.AI_NUMERICHOST)
        except OSError:
            self._is_numeric = False
            self.refresh()

    def address(self) -> Address | None:
        """One to connect to; None while none is known, and then a look-up is under way."""
        if not self._found:
            self.refresh()
            return None
        return self._found[self._next % len(self._found)]

    def refresh(self) -> None:
        """The address failed: the next one is used, and all are looked up again meanwhile."""
        self._next += 1
        if self._is_numeric:
            return
        if (self._thread is None or not self._thread.is_alive()) and time.monotonic() >= self._not_before_s:
            self._not_before_s = time.monotonic() + PAUSE_S
            self._thread = threading.Thread(target=self._run, name=f"invmm look-up {self.host}", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        try:
            self._found = self._look_up(0)
            self.error = ""
        except (OSError, UnicodeError) as error:
            self.error = f"look-up of {self.host}: {error}"

    def _look_up(self, flags: int) -> list[Address]:
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=flags)
        return [(family, address) for family, _, _, _, address in found]
