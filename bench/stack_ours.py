"""Ours from end to end, nothing replaced: compiled listener, `MarketStep` with the inventory_mm policy as the
frame sink, command ring, executor thread that signs and writes.

    picows ─▶ FeedListener ─▶ MarketStep (books, trigger, policy, limits) ─▶ ring ─▶ Executor ─▶ server

No Python runs from the frame callback to the ring. Each frame moves the best ask of Up, so each is solved.
The number of orders is that of the settings: as many levels as needed on both tokens, cut by its limit.

Only between ticks the bench plays the venue: it tells the step, where the engine drains its results, that the
orders just sent are cancelled, so that the next tick places its whole ladder again. The engine's timer is
left out, since it would place that ladder before the tick comes.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import ssl
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np

from bench.stacks import StackResult, StackSettings
from bench.wire import (
    ADDRESS,
    API_KEY,
    API_PASSPHRASE,
    API_SECRET,
    CONDITION,
    DISTANCE_CENTS,
    DOWN,
    PRIVATE_KEY,
    UP,
)
from invmm._ext.l2 import L2Signer
from invmm._ext.sign import OrderSigner
from invmm._ext.template import OrderTemplate
from invmm.clock import LiveClock
from invmm.engine import Engine
from invmm.execution.connections import Connection, Endpoint
from invmm.execution.executor import Executor
from invmm.feed.market import MarketFeed
from invmm.replay.tape import MarketInfo
from invmm.settings import ExecutorSettings, RiskSettings, Settings, StrategySettings
from invmm.types import EVENT_DTYPE, CommandKind, OrderStatus

RESULTS = 256
STAGES = (
    "callback entered → popped",
    "popped → signed and ready",
    "ready → GIL taken",
    "GIL taken → written",
)


class StampingExecutor(Executor):
    """The executor, which also keeps the stamps of each request, after it was written."""

    def __init__(self, *arguments: Any, cores: tuple[int, ...], **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.cores = cores
        self.entered: list[tuple[int, int]] = []
        self.written: list[tuple[int, int]] = []
        self.stages: dict[str, list[int]] = {name: [] for name in STAGES}

    def _run(self) -> None:
        if self.cores:
            os.sched_setaffinity(threading.get_native_id(), self.cores)
        super()._run()

    def _sent(self, kind: int, connection: Connection | None) -> None:
        super()._sent(kind, connection)
        if kind != CommandKind.PLACE or connection is None or (request := connection.request) is None:
            return
        intake, leg = self.intake, request.legs[0]
        tag = int(leg["price_e4"]) // 100 + DISTANCE_CENTS
        entered_ns = intake.popped_ns - ((intake.popped_ns - int(leg["entered_ns_low"])) & 0xFFFFFFFF)
        self.entered.append((tag, entered_ns))
        self.written.append((tag, request.written_ns))
        stamps = (entered_ns, intake.popped_ns, intake.ready_ns, intake.python_ns, request.written_ns)
        for name, begin, end in zip(STAGES, stamps[:-1], stamps[1:], strict=True):
            self.stages[name].append(end - begin)


class OurStack:
    """See the module; `run` trades until the feed's connection is closed."""

    def __init__(self, settings: StackSettings) -> None:
        self.settings = settings
        self.clock = LiveClock()
        wanted = Settings(
            strategy=StrategySettings(
                policy="inventory_mm", num_levels=-(-settings.orders // 2), base_offset=DISTANCE_CENTS / 100
            ),
            risk=RiskSettings(max_open_orders=settings.orders, orders_per_second=600, orders_burst=900),
        )
        wanted = replace(
            wanted,
            executor=ExecutorSettings(
                wait=settings.executor,
                rehearse_ms=settings.rehearse_ms,
                sign_ahead=settings.sign_ahead,
                sign_ahead_age_ms=60_000,
            ),
        )
        context = ssl.create_default_context(cafile=settings.ca_file) if settings.tls else None
        signer = OrderSigner(PRIVATE_KEY)
        self.executor = StampingExecutor(
            Endpoint("localhost" if context else "127.0.0.1", settings.http_port, context),
            L2Signer(API_KEY, API_SECRET, API_PASSPHRASE, ADDRESS),
            self.clock,
            wanted.executor,
            cores=settings.executor_cores,
        )
        now_s = self.clock.now_ns() // 1_000_000_000
        info = MarketInfo("bench", CONDITION, UP, DOWN, now_s - 60, now_s + 3600)
        market = Engine(wanted, venue=self.executor, clock=self.clock).add_market(info)
        for token, token_id in enumerate((UP, DOWN)):
            self.executor.set_template(market.number, token, OrderTemplate(signer, token_id, owner=API_KEY))
        self.step = market.step
        self.results = np.zeros(RESULTS, dtype=EVENT_DTYPE)
        # PyDLL keeps the GIL over the call: held for exactly so long.
        self.hold = ctypes.PyDLL(None).usleep
        self.loop = "asyncio"

    def run(self) -> StackResult:
        factory: Any = asyncio.new_event_loop
        try:
            import uvloop  # type: ignore[import-not-found,unused-ignore]

            self.loop, factory = f"uvloop {uvloop.__version__}", uvloop.new_event_loop
        except ImportError:
            pass
        self.executor.start()
        if not self.executor.wait_warm():
            raise ConnectionError("the executor's connections did not come up")
        try:
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(self._run())
        finally:
            self.executor.close()
        executor, statistics, counters = self.executor, self.executor.statistics(), self.step.stats()
        facts = {
            "executor": self.settings.executor,
            "loop": self.loop,
            "rehearsals": executor.intake.rehearsals,
            "signed_ahead": statistics.signed_ahead,
            "connects": statistics.connects,
            "frames": counters["frames"],
            "solves": counters["solves"],
            "commands": counters["commands"],
            "not_placed": {str(reason): count for reason, count in counters["reasons"].items()},
            "answers": {str(code): count for code, count in statistics.answers.items()},
        }
        return StackResult(executor.entered, executor.written, facts, executor.stages)

    async def _run(self) -> None:
        closed = asyncio.Event()

        def on_state(_feed: Any, _state: Any, cause: Any) -> None:
            if cause.name != "NONE":
                closed.set()

        loop = asyncio.get_running_loop()
        loop.add_reader(self.executor.results.eventfd, self._drain)
        self._drain()
        url = f"ws://127.0.0.1:{self.settings.feed_port}/ws/market"
        feed = MarketFeed(url, [UP, DOWN], self.step, self.clock, on_state=on_state)
        feed.start()
        while self.settings.busy_ms and not closed.is_set():
            self._work()
            await asyncio.sleep(0)
        await closed.wait()
        loop.remove_reader(self.executor.results.eventfd)
        await feed.close()

    def _work(self) -> None:
        """Other work of the engine's thread: in C without letting the GIL go, or in plain Python."""
        if self.settings.busy_in == "c":
            self.hold(round(self.settings.busy_ms * 1000))
            return
        end_ns = time.monotonic_ns() + round(self.settings.busy_ms * 1e6)
        while time.monotonic_ns() < end_ns:
            pass

    def _drain(self) -> None:
        """What the engine does with results, and the venue's part: every order that was sent is gone."""
        now_ns, out, executor = self.clock.now_ns(), self.results, self.executor
        while True:
            got = executor.poll(now_ns, out)
            for record in out[:got]:
                if record["status"] == OrderStatus.SENT:
                    self.step.step(record, now_ns)
                    record["status"] = OrderStatus.CANCELED
                    self.step.step(record, now_ns)
            if not got and executor.results.arm():
                return
