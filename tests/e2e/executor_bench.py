"""An executor, the scripted venue it talks to, and what a test asks of them."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator

import numpy as np
import orjson

from invmm._ext.l2 import L2Signer
from invmm._ext.sign import OrderSigner
from invmm._ext.template import OrderTemplate
from invmm.clock import LiveClock
from invmm.execution.connections import Endpoint
from invmm.execution.executor import Executor
from invmm.settings import ExecutorSettings
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, CommandFlag, CommandKind, OrderStatus, Reason, Side
from tests import markers
from tests.e2e.scripted_venue import SECRET, Reply, ScriptedVenue, Seen, http

SIGNER = OrderSigner("0x" + markers.PRIVATE_KEY)
TOKENS = ("1234567890123456789", "9876543210987654321")
FAST = ExecutorSettings(
    ring_capacity=256,
    connections=3,
    cancel_connections=1,
    wait="park",
    connect_timeout_ms=1000,
    unknown_after_ms=150,
    hard_deadline_ms=500,
)


class Bench:
    """An executor against a scripted venue, and the results it gave so far."""

    def __init__(
        self,
        script: Callable[[Seen], Reply],
        settings: ExecutorSettings = FAST,
        *,
        server_tls: ssl.SSLContext | None = None,
        client_tls: ssl.SSLContext | None = None,
        endpoint: Endpoint | None = None,
        **options: object,
    ) -> None:
        self.venue = ScriptedVenue(script, server_tls)
        self.clock = LiveClock()
        self.executor = Executor(
            endpoint or Endpoint("127.0.0.1", self.venue.port, client_tls),
            L2Signer("key", SECRET, markers.PASSPHRASE, SIGNER.address),
            self.clock,
            settings,
            **options,
        )
        for token, token_id in enumerate(TOKENS):
            self.executor.set_template(0, token, OrderTemplate(SIGNER, token_id, "v2", "key"))
        self.results: list[np.void] = []
        self.batch = 0

    def start(self) -> Bench:
        self.executor.start()
        assert self.executor.wait_warm()
        return self

    def close(self) -> None:
        self.executor.close(2.0)
        self.venue.close()

    def place(self, *keys: int, **fields: object) -> np.ndarray:
        """Commands of one batch, last leg marked."""
        self.batch += 1
        legs = np.zeros(len(keys), COMMAND_DTYPE)
        legs["kind"], legs["key"], legs["batch"] = CommandKind.PLACE, keys, self.batch
        legs["side"], legs["price_e4"], legs["size_micro"] = Side.BUY, 4800, 10_000_000
        legs["salt"] = np.array(keys) + 1000
        legs["flags"][-1] = CommandFlag.LAST
        for name, value in fields.items():
            legs[name] = value
        return legs

    def cancel(self, *keys: int) -> np.ndarray:
        legs = self.place(*keys)
        legs["kind"] = CommandKind.CANCEL
        return legs

    def submit(self, commands: np.ndarray) -> None:
        assert self.executor.submit(commands, self.clock.now_ns()) == len(commands)

    def expect(self, count: int, timeout_s: float = 5.0) -> list[np.void]:
        """The next `count` results."""
        end = time.monotonic() + timeout_s
        out = np.zeros(64, EVENT_DTYPE)
        while len(self.results) < count:
            got = self.executor.poll(0, out)
            self.results += [out[i].copy() for i in range(got)]
            assert time.monotonic() < end, f"{len(self.results)} of {count} results, {self.executor.error!r}"
            if not got:
                time.sleep(0.0005)
        taken, self.results = self.results[:count], self.results[count:]
        return taken

    def nothing_more(self, for_s: float = 0.05) -> None:
        time.sleep(for_s)
        out = np.zeros(64, EVENT_DTYPE)
        assert self.results == []
        assert self.executor.poll(0, out) == 0


Start = Callable[..., Bench]


def begin_benches() -> Iterator[Start]:
    """Body of a fixture: gives a function that starts benches, closes them at the end."""
    made: list[Bench] = []

    def begin(script: Callable[[Seen], Reply], settings: ExecutorSettings = FAST, **options: object) -> Bench:
        made.append(Bench(script, settings, **options))
        return made[-1].start()

    yield begin
    for bench in made:
        bench.close()
        assert bench.executor.error is None


def told(results: list[np.void]) -> list[tuple[int, OrderStatus, Reason]]:
    return [(int(r["key"]), OrderStatus(r["status"]), Reason(r["reason"])) for r in results]


def statuses(results: list[np.void]) -> list[OrderStatus]:
    return [OrderStatus(r["status"]) for r in results]


def ids_of(seen: Seen) -> list[str]:
    """Ids of the orders in a request, computed again from its body."""
    order_ids = []
    for entry in seen.json():
        order = entry["order"]
        is_buy = order["side"] == "BUY"
        shares = int(order["takerAmount"] if is_buy else order["makerAmount"])
        dollars = int(order["makerAmount"] if is_buy else order["takerAmount"])
        signed = SIGNER.sign(
            order["tokenId"],
            order["side"],
            dollars * 10_000 // shares,
            shares,
            tick_e4=100,
            order_type=entry["orderType"],
            post_only=entry["postOnly"],
            timestamp_ms=int(order["timestamp"]),
            salt=int(order["salt"]),
        )
        assert signed.signature == order["signature"]
        order_ids.append(signed.order_id)
    return order_ids


def answer(order_id: str, status: str = "live", error: str = "") -> dict[str, object]:
    return {
        "success": True,
        "errorMsg": error,
        "orderID": order_id,
        "status": status,
        "makingAmount": "",
        "takingAmount": "",
    }


def accept(seen: Seen) -> Reply:
    if seen.method == "POST":
        return Reply(http(200, orjson.dumps([answer(order_id) for order_id in ids_of(seen)])))
    gone = seen.json() if seen.body else []
    return Reply(http(200, orjson.dumps({"canceled": gone, "not_canceled": {}})))
