"""A TLS connection of the executor to itself, over which nothing but rehearsals travel.

Between two orders the processor forgets the way from a request's bytes to the wire: with 25 ms in between,
Python's `ssl`, the cipher and the kernel's TCP take about 100 µs instead of 30. Writing bytes alike every
few milliseconds, to a socket of our own, keeps it known. Public interfaces only; the venue sees none of it.

The connection needs no certificate: both ends are ours, so an anonymous key exchange will do. Without TLS in
the endpoint, and where the library refuses that exchange, bytes travel over such a pair in the clear, which
still keeps the kernel's part.
"""

from __future__ import annotations

import os
import socket
import ssl
import tempfile

CIPHER = "ADH-AES256-GCM-SHA384:@SECLEVEL=0"  # the bulk cipher that TLS 1.3 prefers
HANDSHAKE_TURNS = 20
RECEIVE_BYTES = 65_536
GROUP = """-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""
"""ffdhe2048 of RFC 7919, appendix A.1."""


class Rehearsal:
    """One end writes, the other end's bytes are thrown away. All methods belong to one thread.

    Parameters
    ----------
    tls : bool
        Whether to encrypt; `is_encrypted` tells what became of it.

    Raises
    ------
    OSError
        There is no loopback socket to be had.
    """

    def __init__(self, tls: bool) -> None:
        self._connect()
        self.is_encrypted = tls and self._encrypt()
        if tls and not self.is_encrypted:
            self.close()
            self._connect()

    def _connect(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._near: socket.socket = socket.create_connection(listener.getsockname())
            self._far, address = listener.accept()
        if address != self._near.getsockname():  # another process was faster
            self.close()
            raise OSError("the loopback connection is not our own")
        for end in (self._near, self._far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.setblocking(False)

    def _encrypt(self) -> bool:
        try:
            near, far = _anonymous(ssl.PROTOCOL_TLS_CLIENT), _anonymous(ssl.PROTOCOL_TLS_SERVER)
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as group:
                group.write(GROUP)
                group.flush()
                far.load_dh_params(group.name)
            self._near = near.wrap_socket(self._near, do_handshake_on_connect=False)
            self._far = far.wrap_socket(self._far, server_side=True, do_handshake_on_connect=False)
            left = [self._near, self._far]
            for _ in range(HANDSHAKE_TURNS):
                left = [end for end in left if not _shaken(end)]
                if not left:
                    return True
        except (OSError, ValueError):
            pass
        return False

    def __call__(self, data: bytes) -> None:
        """Writes `data` as a request is written; OSError or ValueError when the connection is broken."""
        if self.is_encrypted:
            assert isinstance(self._near, ssl.SSLSocket)
            self._near.write(data)
        else:
            self._near.send(data)
        os.read(self._far.fileno(), RECEIVE_BYTES)  # not decrypted

    def close(self) -> None:
        """Closes both ends. Idempotent."""
        self._near.close()
        self._far.close()


def _anonymous(protocol: ssl._SSLMethod) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # 1.3 has no anonymous exchange; records are alike
    context.set_ciphers(CIPHER)
    return context


def _shaken(end: socket.socket) -> bool:
    assert isinstance(end, ssl.SSLSocket)
    try:
        end.do_handshake()
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return False
    return True
