"""The best of each in Python: picows, msgspec, dict + sorted list, a hand-made signing template, one raw TLS
socket.

Everything runs inline in the event loop's thread, which is faster than a second thread behind a queue. The
template is proven on a known order before anything is timed.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import socket
import ssl
import time
from typing import Any

from coincurve import PrivateKey
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench.peers import MsgspecPeer
from bench.stacks import StackResult, StackSettings
from bench.wire import ADDRESS, API_KEY, API_PASSPHRASE, API_SECRET, DISTANCE_CENTS, DOWN, PRIVATE_KEY, UP

ORDER_TYPE_HASH = bytes.fromhex("bb86318a2138f5fa8ae32fbe8e659f8fcf13cc6ae4014a707893055433818589")
V2_DOMAIN = bytes.fromhex("3264e159346253e26a64e00b69032db0e7d32f94628de3e6eecb50304d7af3d2")
ZERO = "0x" + "0" * 64

# A known order: BUY 100 at 0.48, salt 479249096354, timestamp 1790767298635, signed by this key.
KNOWN_ID = "32d0b806c73f0b060e9e73bed58bd7171374e0e2eda223313f7d411e76f1682d"
KNOWN_SIGNATURE = (
    "a3b217ef8400e0d8f56f1824d7bdb7da606a432f2ed03d93907fad64ef4e3f25"
    "33251eea13533ce3f70e87b31f3503739caf695b93023bb0973617ba9d9118ee1c"
)


def _keccak() -> tuple[str, Any]:
    try:
        import sha3  # safe-pysha3: C, about 1.5 us

        return "safe-pysha3", lambda data: sha3.keccak_256(data).digest()
    except ImportError:
        from Crypto.Hash import keccak  # pycryptodome, about 5 us

        return "pycryptodome", lambda data: keccak.new(digest_bits=256, data=data).digest()


KECCAK_NAME, keccak256 = _keccak()


class OrderTemplate:
    """One token's BUY order with everything constant laid out; salt, amounts and time are patched in."""

    def __init__(self, token_id: str) -> None:
        address = bytes(12) + bytes.fromhex(ADDRESS[2:])
        self.head = ORDER_TYPE_HASH
        self.middle = address + address + int(token_id).to_bytes(32, "big")
        self.side_and_type = bytes(64)  # BUY, plain key
        self.tail = bytes(64)  # metadata, builder
        self.sign = PrivateKey(bytes.fromhex(PRIVATE_KEY[2:])).sign_recoverable
        constant = '"side":"BUY","expiration":"0","signatureType":0'
        flags = '"orderType":"GTC","deferExec":false,"postOnly":true'
        self.json = (
            f'{{"order":{{"salt":%d,"maker":"{ADDRESS}","signer":"{ADDRESS}","tokenId":"{token_id}",'
            f'"makerAmount":"%d","takerAmount":"%d",{constant},"timestamp":"%d","metadata":"{ZERO}",'
            f'"builder":"{ZERO}","signature":"0x%s"}},"owner":"{API_KEY}",{flags}}}'
        )

    def build(self, salt: int, maker: int, taker: int, timestamp_ms: int) -> str:
        """The signed order as an element of the request's array."""
        signature = self.signature(self.order_id(salt, maker, taker, timestamp_ms))
        return self.json % (salt, maker, taker, timestamp_ms, signature)

    def order_id(self, salt: int, maker: int, taker: int, timestamp_ms: int) -> bytes:
        struct = keccak256(
            b"".join(
                (
                    self.head,
                    salt.to_bytes(32, "big"),
                    self.middle,
                    maker.to_bytes(32, "big"),
                    taker.to_bytes(32, "big"),
                    self.side_and_type,
                    timestamp_ms.to_bytes(32, "big"),
                    self.tail,
                )
            )
        )
        digest: bytes = keccak256(b"\x19\x01" + V2_DOMAIN + struct)
        return digest

    def signature(self, digest: bytes) -> str:
        raw = self.sign(digest, hasher=None)
        return raw[:64].hex() + ("1b" if raw[64] == 0 else "1c")

    def prove(self) -> None:
        """ValueError unless the known order has its known id and signature."""
        digest = self.order_id(479249096354, 48_000_000, 100_000_000, 1790767298635)
        if digest.hex() != KNOWN_ID or self.signature(digest) != KNOWN_SIGNATURE:
            raise ValueError("the signing template does not reproduce the known order")


class BestPythonStack:
    """See the module; `run` trades inline until the feed closes."""

    def __init__(self, settings: StackSettings) -> None:
        self.settings = settings
        self.template = OrderTemplate(UP)
        self.template.prove()
        self.peer = MsgspecPeer(UP, DOWN)
        self.asks = self.peer.up[1]
        self.result = StackResult(facts={"keccak": KECCAK_NAME})
        self.salt = 1
        self.hmac_key = hmac.new(base64.urlsafe_b64decode(API_SECRET), digestmod=hashlib.sha256)
        self.sock = self._connect()
        self.head = (
            "POST /orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"POLY_ADDRESS: {ADDRESS}\r\nPOLY_API_KEY: {API_KEY}\r\nPOLY_PASSPHRASE: {API_PASSPHRASE}\r\n"
            "POLY_TIMESTAMP: %d\r\nPOLY_SIGNATURE: %s\r\nContent-Length: %d\r\n\r\n"
        )

    def _connect(self) -> socket.socket:
        sock: socket.socket = socket.create_connection(("127.0.0.1", self.settings.http_port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.settings.tls:
            context = ssl.create_default_context(cafile=self.settings.ca_file)
            sock = context.wrap_socket(sock, server_hostname="localhost")
        sock.sendall(b"GET /ok HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        sock.recv(65536)
        return sock

    def run(self) -> StackResult:
        try:
            import uvloop

            self.result.facts["loop"] = f"uvloop {uvloop.__version__}"
            factory: Any = uvloop.new_event_loop
        except ImportError:
            self.result.facts["loop"] = "asyncio"
            factory = asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(self._run())
        return self.result

    async def _run(self) -> None:
        stack = self

        class Listener(WSListener):
            def on_ws_connected(self, transport: WSTransport) -> None:
                transport.send(
                    WSMsgType.TEXT,
                    b'{"assets_ids":["' + UP.encode() + b'","' + DOWN.encode() + b'"],"type":"market"}',
                )

            def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
                if frame.msg_type == WSMsgType.TEXT:
                    stack.on_frame(frame.get_payload_as_bytes())
                elif frame.msg_type == WSMsgType.CLOSE:
                    transport.disconnect()

        loop = asyncio.get_running_loop()
        loop.add_reader(self.sock.fileno(), self._answers)
        self.sock.setblocking(False)
        transport, _ = await ws_connect(Listener, f"ws://127.0.0.1:{self.settings.feed_port}/ws/market")
        await transport.wait_disconnected()

    def _answers(self) -> None:
        try:
            while self.sock.recv(65536):
                pass
        except (BlockingIOError, ssl.SSLWantReadError):
            return

    def on_frame(self, frame: bytes) -> None:
        """Book, decision, signing and the write of the request, inline."""
        entered_ns = time.monotonic_ns()
        _bid, ask = self.peer.apply(frame)
        if frame[0] == 91:
            return
        centishares = round(self.asks.sizes[ask] * 100)
        cents = round(ask * 100) - DISTANCE_CENTS
        now = time.time()
        build, timestamp_ms = self.template.build, int(now * 1000)
        orders = []
        for level in range(self.settings.orders):
            orders.append(
                build(self.salt, centishares * (cents - level) * 100, centishares * 10_000, timestamp_ms)
            )
            self.salt += 1
        body = "[" + ",".join(orders) + "]"
        mac = self.hmac_key.copy()
        mac.update(f"{int(now)}POST/orders{body}".encode())
        signature = base64.urlsafe_b64encode(mac.digest()).decode()
        self.sock.send((self.head % (int(now), signature, len(body)) + body).encode())
        self.result.entered.append((centishares, entered_ns))
        self.result.written.append((centishares, time.monotonic_ns()))
