"""Requests that are rare: written in Python, in the same form as those of the intake."""

from __future__ import annotations

from invmm._ext.l2 import L2Signer
from invmm.clock import LiveClock

NANO = 1_000_000_000


class RequestWriter:
    """Writes whole signed requests.

    Parameters
    ----------
    signer : L2Signer
        Of the API credentials.
    host : str
        Of the `Host` line.
    clock : LiveClock
        Tells the time that is signed.
    """

    def __init__(self, signer: L2Signer, host: str, clock: LiveClock) -> None:
        self._signer = signer
        self._host = host
        self._clock = clock

    def __reduce__(self) -> str:
        raise TypeError("RequestWriter holds credentials: it cannot be pickled or copied")

    def write(self, method: str, path: str, body: bytes) -> bytes:
        """Head and body; what is signed is what is sent."""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nUser-Agent: invmm\r\n"
            f"Accept: application/json\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        )
        signed = self._signer.headers(method, path, body, self._clock.now_ns() // NANO)
        return head.encode() + signed + b"\r\n" + body
