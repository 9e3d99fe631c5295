"""Ours from end to end: compiled listener, compiled books, command ring, executor thread that signs and
writes.

The policy is the bench's own, the same as the peers': `orders` bids from the best level down, each of the
best level's size. It stands where the engine's step stands, on the event loop's thread, and is plain Python
over the public parts, as a bot author would put them together; `Assembly.on_frame` is the one place to
replace by the compiled step.
"""

from __future__ import annotations

import asyncio
import ctypes
import ssl
import time
from typing import Any

import numpy as np

from bench.stacks import StackResult, StackSettings
from bench.wire import ADDRESS, API_KEY, API_PASSPHRASE, API_SECRET, DOWN, PRIVATE_KEY, UP
from invmm._ext.decode import MarketBooks
from invmm._ext.l2 import L2Signer
from invmm._ext.sign import OrderSigner, OrderTemplate
from invmm._ext.sink import CallbackSink
from invmm.clock import LiveClock
from invmm.execution.connections import Connection, Endpoint
from invmm.execution.executor import Executor
from invmm.feed.market import MarketFeed
from invmm.settings import ExecutorSettings
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, CommandFlag, CommandKind, OrderType, Reason, Side

RESULTS = 256


class StampingExecutor(Executor):
    """The executor, which also keeps when each request had been written and when it was ready to be."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.written: list[tuple[int, int]] = []
        self.ready_ns: list[int] = []

    def _sent(self, kind: int, connection: Connection | None) -> None:
        super()._sent(kind, connection)
        if (
            kind == CommandKind.PLACE
            and connection is not None
            and (request := connection.request) is not None
        ):
            self.written.append((int(request.legs["size_micro"][0]) // 10_000, request.written_ns))
            self.ready_ns.append(self.intake.ready_ns - self.intake.popped_ns)


class Assembly:
    """Books, decision and commands of one market, on the event loop's thread."""

    def __init__(self, executor: Executor, clock: LiveClock, orders: int, busy_ms: float) -> None:
        self.books = MarketBooks(UP, DOWN)
        self.executor = executor
        self.clock = clock
        self.sink = CallbackSink(self.on_frame, copy=False)
        self.entered: list[tuple[int, int]] = []
        self.pushed_ns: list[int] = []
        self.refused = 0
        self.busy_us = round(busy_ms * 1000)
        self.hold = ctypes.PyDLL(None).usleep  # PyDLL keeps the GIL over the call: held for exactly so long
        self.last: tuple[int, int] | None = None
        self.sequence = 0
        self.batch = np.zeros(orders, dtype=COMMAND_DTYPE)
        self.batch["kind"] = CommandKind.PLACE
        self.batch["side"] = Side.BUY
        self.batch["order_type"] = OrderType.GTC
        self.batch["reason"] = Reason.QUOTE
        self.batch["flags"] = CommandFlag.POST_ONLY
        self.batch["flags"][-1] |= CommandFlag.LAST
        self.steps_down = 100 * np.arange(orders)
        self.numbers = np.arange(1, orders + 1)

    def on_frame(self, data: Any, now_ns: int, last: bool) -> None:
        """A frame to commands: the place of the engine's step."""
        if self.books.apply_frame(data, now_ns) < 0:
            raise ValueError(self.books.last_error)
        best = self.books.up.best_bid()
        if not last or best is None or best == self.last:
            return
        self.last, first = best, self.last is None
        if first:
            return  # the snapshot opens the market, it is no tick
        batch, numbers = self.batch, self.numbers + self.sequence
        self.sequence += len(batch)
        batch["key"] = numbers
        batch["sequence"] = numbers
        batch["salt"] = numbers
        batch["batch"] = self.sequence
        batch["price_e4"] = best[0] - self.steps_down
        batch["size_micro"] = best[1]
        batch["decided_ns"] = now_ns
        batch["deadline_ns"] = now_ns + 5_000_000_000
        if self.executor.submit(batch, now_ns) != len(batch):
            self.refused += 1
        pushed_ns, entered_ns = time.monotonic_ns(), self.sink.entered_ns
        self.entered.append((best[1] // 10_000, entered_ns))
        self.pushed_ns.append(pushed_ns - entered_ns)
        if self.busy_us:  # as a careless task in the engine's loop would, right after the frame
            asyncio.get_running_loop().call_soon(self.hold, self.busy_us)


class OurStack:
    """See the module; `run` trades until the feed's connection is closed."""

    def __init__(self, settings: StackSettings) -> None:
        self.settings = settings
        self.clock = LiveClock()
        context = ssl.create_default_context(cafile=settings.ca_file) if settings.tls else None
        signer = OrderSigner(PRIVATE_KEY)
        self.executor = StampingExecutor(
            Endpoint("localhost" if context else "127.0.0.1", settings.http_port, context),
            L2Signer(API_KEY, API_SECRET, API_PASSPHRASE, ADDRESS),
            self.clock,
            ExecutorSettings(wait=settings.executor),
        )
        for token, token_id in enumerate((UP, DOWN)):
            self.executor.set_template(0, token, OrderTemplate(signer, token_id, owner=API_KEY))
        self.assembly = Assembly(self.executor, self.clock, settings.orders, settings.busy_ms)

    def run(self) -> StackResult:
        self.executor.start()
        if not self.executor.wait_warm():
            raise ConnectionError("the executor's connections did not come up")
        try:
            asyncio.run(self._run())
        finally:
            self.executor.close()
        statistics = self.executor.statistics()
        facts = {
            "executor": self.settings.executor,
            "frames": self.assembly.books.stats["frames"],
            "refused": self.assembly.refused,
            "unknown": statistics.unknown,
            "answers": {str(code): count for code, count in statistics.answers.items()},
        }
        stages = {
            "callback entered → in the ring": self.assembly.pushed_ns,
            "popped → signed and ready": self.executor.ready_ns,
        }
        return StackResult(self.assembly.entered, self.executor.written, facts, stages)

    async def _run(self) -> None:
        closed = asyncio.Event()

        def on_state(_feed: Any, _state: Any, cause: Any) -> None:
            if cause.name != "NONE":
                closed.set()

        url = f"ws://127.0.0.1:{self.settings.feed_port}/ws/market"
        feed = MarketFeed(url, [UP, DOWN], self.assembly.sink, self.clock, on_state=on_state)
        feed.start()
        results = np.zeros(RESULTS, dtype=EVENT_DTYPE)
        while not closed.is_set():
            self.executor.poll(self.clock.now_ns(), results)
            await asyncio.sleep(0.002)
        await feed.close()
