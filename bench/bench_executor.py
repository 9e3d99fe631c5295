"""From a pushed command to a signed request in the kernel: the executor's part of tick to order.

    python -m bench.bench_executor [--json FILE]       INVMM_BENCH_SHORT=1 for a run that only proves it works
    pytest bench/bench_executor.py                     one round trip, to keep it from rotting

The server is a child process on loopback that answers at once. Rows: executor spinning and parked, engine
thread resting or, from each push on, in Python for 5 ms without a pause, with and without signing ahead, 1, 6
and 15 orders.

    push → signed    command pushed to order announced: hand-off, gate, EIP-712, ECDSA, JSON, L2 headers
    pop → written    taken off the ring to the last byte accepted by the kernel
"""

from __future__ import annotations

import argparse
import multiprocessing
import socket
import sys
import threading
import time
from typing import Any

import numpy as np

from bench.harness import SHORT, Distribution, distribution, report, require_release
from invmm._ext.l2 import L2Signer
from invmm._ext.sign import OrderSigner
from invmm._ext.template import OrderTemplate
from invmm.clock import LiveClock
from invmm.execution.connections import Endpoint
from invmm.execution.executor import Executor
from invmm.settings import ExecutorSettings
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, CommandFlag, CommandKind, OrderStatus

COUNT = 20 if SHORT else 400
GAP_S = 0.010
BUSY_S = 0.005
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"


def serve(listener: socket.socket) -> None:
    """Answers every request with an empty array, one thread per connection."""

    def one(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = b""
        while True:
            head, found, body = data.partition(b"\r\n\r\n")
            if found:
                size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                if len(body) >= size:
                    data = body[size:]
                    connection.sendall(ANSWER)
                    continue
            more = connection.recv(65_536)
            if not more:
                return
            data += more

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=one, args=(connection,), daemon=True).start()


class Samples:
    """Stands in for a histogram: keeps every duration."""

    def __init__(self) -> None:
        self.ns: list[int] = []

    def add(self, ns: int) -> None:
        self.ns.append(ns)

    def summary(self) -> dict[str, int | None]:
        return {"count": len(self.ns)}


class Run:
    """One executor and its server."""

    def __init__(self, wait: str, sign_ahead: int = 0) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        context = multiprocessing.get_context("fork")
        self.server = context.Process(target=serve, args=(listener,), daemon=True)
        self.server.start()
        signer = OrderSigner("0x" + "44" * 32)
        self.clock = LiveClock()
        self.executor = Executor(
            Endpoint("127.0.0.1", listener.getsockname()[1]),
            L2Signer("key", "c2VjcmV0IHNlY3JldCBzZWNyZXQ=", "pass", signer.address),
            self.clock,
            ExecutorSettings(connections=5, wait=wait, sign_ahead=sign_ahead, sign_ahead_age_ms=60_000),
        )
        listener.close()
        for name in ("pop_to_ready", "pop_to_write"):
            setattr(self.executor, name, Samples())
        self.executor.set_template(0, 0, OrderTemplate(signer, "1" * 77, "v2", "key"))
        self.executor.start()
        if not self.executor.wait_warm():
            raise RuntimeError("the server cannot be reached")

    def close(self) -> None:
        self.executor.close()
        self.server.kill()
        self.server.join()

    def trade(self, orders: int, count: int, is_busy: bool) -> list[int]:
        """Pushes `count` batches; ns from each push to the SENT of its last leg."""
        legs = np.zeros(orders, COMMAND_DTYPE)
        legs["kind"], legs["size_micro"] = CommandKind.PLACE, 100_000_000
        legs["price_e4"] = 4800 - 100 * np.arange(orders)
        legs["flags"][-1] = CommandFlag.LAST
        out = np.zeros(256, EVENT_DTYPE)
        pushed: dict[int, int] = {}
        signed: list[int] = []
        due = time.monotonic() + GAP_S
        for batch in range(1, count + 1):
            busy_until = due - GAP_S + BUSY_S if is_busy else 0.0
            while time.monotonic() < busy_until:
                pass
            time.sleep(max(0.0, due - time.monotonic()))
            due += GAP_S
            keys = batch * 100 + np.arange(orders)
            legs["key"], legs["salt"], legs["batch"] = keys, keys, batch
            pushed[int(keys[-1])] = self.clock.now_ns()
            self.executor.submit(legs, 0)
            self._drain(out, pushed, signed)
        end = time.monotonic() + 5
        while len(signed) < count and time.monotonic() < end:
            time.sleep(0.001)
            self._drain(out, pushed, signed)
        return signed

    def _drain(self, out: Any, pushed: dict[int, int], signed: list[int]) -> None:
        for record in out[: self.executor.poll(0, out)]:
            if record["status"] == OrderStatus.SENT and int(record["key"]) in pushed:
                signed.append(int(record["time_ns"]) - pushed[int(record["key"])])


def rows(wait: str, orders: int, is_busy: bool, sign_ahead: int) -> list[Distribution]:
    run = Run(wait, sign_ahead)
    try:
        signed = run.trade(orders, COUNT, is_busy)
        words = f"{orders} order(s), executor {wait}, engine {'busy' if is_busy else 'idle'}"
        words += ", signed ahead" if sign_ahead else ""
        first = len(signed) // 10
        ready, written = run.executor.pop_to_ready, run.executor.pop_to_write
        return [
            distribution(f"push → signed: {words}", signed[first:], f"p10 {np.percentile(signed, 10):.0f}"),
            distribution(f"pop → signed: {words}", ready.ns[first:]),  # type: ignore[attr-defined]
            distribution(f"pop → written: {words}", written.ns[first:]),  # type: ignore[attr-defined]
        ]
    finally:
        run.close()


def test_a_batch_from_push_to_signed(benchmark: Any) -> None:
    run = Run("spin-park")
    try:
        signed = benchmark.pedantic(run.trade, args=(1, 5, False), rounds=1)
        assert len(signed) == 5
    finally:
        run.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="Command ring to request bytes.")
    parser.add_argument("--json", metavar="FILE", help="also write the rows there")
    options = parser.parse_args()
    require_release()
    groups = {
        f"{orders} order(s)": [
            row
            for wait in ("spin", "park")
            for busy in (False, True)
            for sign_ahead in (0, 64)
            for row in rows(wait, orders, busy, sign_ahead)
        ]
        for orders in (1, 6, 15)
    }
    report("Executor: command ring to request bytes", groups, json_path=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
