"""The other end of the wire, in a process of its own: sends market frames on schedule, stamps the orders they
cause.

One thread, one epoll. The WebSocket feed sends the opening snapshot, then one price_change frame per gap,
whatever the client does (an open loop: a stall counts for every frame it delayed). Each frame carries its
number twice, as the size of the best ask and, modulo sixteen, in its price: size or price of the first order
of a POST name the frame that caused it. The HTTP(S) end stamps the arrival of a POST's last byte and answers
what the venue would. All stamps are CLOCK_MONOTONIC, one clock for the machine.

Run by `bench.tick_to_order`: prints its ports as one JSON line, and all stamps as another when it is done.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import select
import socket
import ssl
import sys
import time
from dataclasses import dataclass, field

from bench.wire import Market, answer_to, first_order, sent_frame

WS_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
SPIN_BEFORE_NS = 500_000
SPIN_AFTER_NS = 2_000_000


@dataclass
class Plan:
    """What one run sends."""

    frames: int
    warmup: int
    gap_ns: int
    spin: bool
    cores: tuple[int, ...]
    certificate: str | None
    key: str | None


@dataclass
class Connection:
    """One accepted socket and what has come in on it."""

    sock: socket.socket
    is_feed: bool
    data: bytearray = field(default_factory=bytearray)
    upgraded: bool = False


class TimingServer:
    """Feed and order entry of one run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.market = Market()
        self.sent_ns: list[int] = []
        self.received: list[tuple[int, int, int]] = []  # centishares, cents, ns
        self.epoll = select.epoll()
        self.connections: dict[int, Connection] = {}
        self.feed: Connection | None = None
        self.subscribed = False
        self.context: ssl.SSLContext | None = None
        if plan.certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(plan.certificate, plan.key)
            self.context.set_alpn_protocols(["http/1.1"])
        self.feed_listener = self._listen()
        self.http_listener = self._listen()

    def _listen(self) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.epoll.register(listener.fileno(), select.EPOLLIN)
        return listener

    def run(self) -> None:
        """Serves until every frame is answered, or two seconds (ten gaps, if longer) after the last."""
        plan = self.plan
        total = plan.warmup + plan.frames
        give_up = time.monotonic_ns() + 60_000_000_000
        while not self.subscribed:
            self._poll(0.05)
            if time.monotonic_ns() > give_up:
                raise TimeoutError("no client subscribed within 60 s")
        assert self.feed is not None
        self._send_text(self.feed, self.market.opening())
        due = time.monotonic_ns() + 500_000_000
        while len(self.sent_ns) < total:
            now = time.monotonic_ns()
            if now >= due:
                frame = sent_frame(self.market, len(self.sent_ns))
                stamp = time.monotonic_ns()
                self._send_bytes(self.feed, frame)
                self.sent_ns.append(stamp)
                due += plan.gap_ns
                continue
            self._poll(self._timeout(now, due))
        last = time.monotonic_ns()
        patience = max(2_000_000_000, 10 * plan.gap_ns)
        while time.monotonic_ns() < last + patience and len(self.received) < total:
            self._poll(0.01)
        self._send_bytes(self.feed, b"\x88\x02\x03\xe8")  # close, 1000
        self._poll(0.05)

    def _timeout(self, now: int, due: int) -> float:
        """Seconds to sleep in epoll: none shortly before a frame is due and while its order is on the way."""
        if not self.plan.spin:
            return max(0.0, (due - now) / 1e9)
        since = now - self.sent_ns[-1] if self.sent_ns else SPIN_AFTER_NS
        waiting = self.sent_ns and since < SPIN_AFTER_NS and len(self.received) < len(self.sent_ns)
        if waiting or due - now < SPIN_BEFORE_NS:
            return 0.0
        return (due - now - SPIN_BEFORE_NS) / 1e9

    def _poll(self, timeout: float) -> None:
        for fd, _ in self.epoll.poll(timeout):
            if fd == self.feed_listener.fileno():
                self._accept(self.feed_listener, True)
            elif fd == self.http_listener.fileno():
                self._accept(self.http_listener, False)
            elif (connection := self.connections.get(fd)) is not None:
                self._read(connection)

    def _accept(self, listener: socket.socket, is_feed: bool) -> None:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not is_feed and self.context:
            sock.settimeout(5)
            try:
                sock = self.context.wrap_socket(sock, server_side=True)
            except OSError as error:  # a client that went away; it is not what is measured
                print(f"handshake: {error}", file=sys.stderr)
                sock.close()
                return
        sock.setblocking(False)
        self.connections[sock.fileno()] = Connection(sock, is_feed)
        self.epoll.register(sock.fileno(), select.EPOLLIN)

    def _read(self, connection: Connection) -> None:
        while True:
            try:
                chunk = connection.sock.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            except OSError:
                chunk = b""
            if not chunk:
                self._drop(connection)
                return
            connection.data += chunk
            if connection.is_feed:
                self._feed_input(connection)
            else:
                self._requests(connection)

    def _drop(self, connection: Connection) -> None:
        self.epoll.unregister(connection.sock.fileno())
        del self.connections[connection.sock.fileno()]
        connection.sock.close()

    def _requests(self, connection: Connection) -> None:
        data = connection.data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = bytes(data[:end]).lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(data) < end + 4 + length:
                return
            stamp = time.monotonic_ns()
            line = bytes(data[: data.index(b"\r\n")]).decode()
            body = bytes(data[end + 4 : end + 4 + length])
            del data[: end + 4 + length]
            # What was sent before the first frame answers the opening.
            if self.sent_ns and line.startswith("POST /order") and (order := first_order(body)) is not None:
                self.received.append((*order, stamp))
            connection.sock.send(answer_to(line, body))

    def _feed_input(self, connection: Connection) -> None:
        data = connection.data
        if not connection.upgraded:
            if (end := data.find(b"\r\n\r\n")) < 0:
                return
            self._upgrade(connection, bytes(data[:end]))
            del data[: end + 4]
        while (message := _take_message(data)) is not None:
            opcode, payload = message
            if opcode == 9:
                self._send_bytes(connection, bytes([0x8A, len(payload)]) + payload)
            elif opcode == 1 and payload == b"PING":
                self._send_text(connection, b"PONG")
            elif opcode == 1:
                self.feed = connection
                self.subscribed = True

    def _upgrade(self, connection: Connection, head: bytes) -> None:
        key = next(
            line.split(b":", 1)[1].strip()
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key:")
        )
        accept = base64.b64encode(hashlib.sha1(key + WS_MAGIC).digest())
        self._send_bytes(
            connection,
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n",
        )
        connection.upgraded = True

    def _send_text(self, connection: Connection, payload: bytes) -> None:
        size = len(payload)
        head = bytes([0x81, size]) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")
        self._send_bytes(connection, head + payload)

    @staticmethod
    def _send_bytes(connection: Connection, data: bytes) -> None:
        # A frame is far smaller than the socket's buffer: a client that lets it fill up is not measurable.
        if connection.sock.send(data) != len(data):
            raise BufferError("the client does not read its feed")


def _take_message(data: bytearray) -> tuple[int, bytes] | None:
    """The first whole masked WebSocket message of `data`, removed from it; None if there is none yet."""
    if len(data) < 6:
        return None
    size = data[1] & 0x7F
    start = 2
    if size == 126:
        size, start = int.from_bytes(data[2:4], "big"), 4
    elif size == 127:
        size, start = int.from_bytes(data[2:10], "big"), 10
    if len(data) < start + 4 + size:
        return None
    mask = data[start : start + 4]
    payload = bytes(b ^ mask[i & 3] for i, b in enumerate(data[start + 4 : start + 4 + size]))
    opcode = data[0] & 0x0F
    del data[: start + 4 + size]
    return opcode, payload


def main() -> int:
    plan = Plan(**json.loads(sys.argv[1]))
    if plan.cores:
        os.sched_setaffinity(0, plan.cores)
    server = TimingServer(plan)
    ports = {
        "feed_port": server.feed_listener.getsockname()[1],
        "http_port": server.http_listener.getsockname()[1],
    }
    print(json.dumps(ports), flush=True)
    server.run()
    print(json.dumps({"sent_ns": server.sent_ns, "received": server.received}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
