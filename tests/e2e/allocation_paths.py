"""The warm paths whose allocations are counted, and the program that counts them (run by
test_allocations.py).

`python -m tests.e2e.allocation_paths PATH [--frames N] [--allocate malloc|object]` feeds N frames through one
path under the preloaded counter and prints one JSON object: frames, calls of the allocator, growth of the
interpreter's blocks.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import sys
from array import array
from collections.abc import Callable
from typing import ClassVar, Protocol

import numpy as np

from bench import recorded
from invmm._ext.decode import MarketBooks
from invmm._ext.ring import CommandRing
from invmm.engine import Engine
from invmm.feed.merge import FrameMerge
from invmm.replay.tape import MarketInfo
from invmm.settings import Settings
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, CommandKind, EventKind, OrderStatus

Arrival = tuple[bytes, int]
"""A frame and its time of arrival in engine ns, made beforehand: a new integer would be an allocation."""


class Path(Protocol):
    """A warm path. Only `take` is counted; `answer` runs between frames, uncounted."""

    def take(self, frame: bytes, now_ns: int) -> None: ...

    def answer(self, now_ns: int) -> None: ...


class BooksPath:
    """Frames through both books as Python calls them."""

    def __init__(self, market: MarketInfo) -> None:
        self.books = MarketBooks(market.up_token_id, market.down_token_id)

    def take(self, frame: bytes, now_ns: int) -> None:
        if self.books.apply_frame(frame, now_ns) < 0:
            raise ValueError(self.books.last_error)

    def answer(self, now_ns: int) -> None:
        return


class StepPath:
    """From the frame callback's entry through book, trigger, policy and transaction to the command ring.

    Every order is accepted and every cancel granted between frames, so that the step keeps replacing quotes.
    """

    ANSWERS: ClassVar = {
        CommandKind.PLACE: OrderStatus.LIVE,
        CommandKind.CANCEL: OrderStatus.CANCELED,
    }

    POLICY: ClassVar = "inventory_mm"

    def __init__(self, market: MarketInfo) -> None:
        self.ring = CommandRing(1024)
        self.step = Engine(Settings(), policy=self.POLICY).add_market(market, ring=self.ring).step
        self.on_frame = self.step.on_frame
        self.popped = np.zeros(64, dtype=COMMAND_DTYPE)
        self.event = np.zeros(1, dtype=EVENT_DTYPE)
        self.commands = 0

    def take(self, frame: bytes, now_ns: int) -> None:
        self.on_frame(frame, now_ns, True)

    def answer(self, now_ns: int) -> None:
        while count := self.ring.pop_into(self.popped):
            self.commands += count
            for command in self.popped[:count]:
                event = self.event
                event["kind"] = EventKind.ORDER_RESULT
                event["sequence"] += 1
                event["status"] = self.ANSWERS[CommandKind(command["kind"])]
                event["time_ns"] = now_ns
                for name in ("key", "market", "token", "side", "price_e4", "size_micro", "batch"):
                    event[name] = command[name]
                self.step.step(event, now_ns)


class MergedPath(StepPath):
    """The same over two sockets: every frame comes twice, and the second copy is passed over."""

    def __init__(self, market: MarketInfo) -> None:
        super().__init__(market)
        self.lanes = FrameMerge(self.step).lanes

    def take(self, frame: bytes, now_ns: int) -> None:
        self.lanes[0].on_frame(frame, now_ns, True)
        self.lanes[1].on_frame(frame, now_ns, True)


class ModelPath(StepPath):
    """The same with quotes as a compiled inventory model says."""

    POLICY: ClassVar = "avellaneda_stoikov"


PATHS: dict[str, Callable[[MarketInfo], Path]] = {
    "market_books": BooksPath,
    "step": StepPath,
    "merged": MergedPath,
    "model": ModelPath,
}


def counted(path: Path, arrivals: list[Arrival], allocate: str | None) -> tuple[int, int]:
    """Calls of the allocator and growth of the interpreter's live blocks, over all of `path.take`."""
    library = ctypes.CDLL(None)
    armed = ctypes.c_int.in_dll(library, "malloc_counter_armed")
    calls = ctypes.c_uint64.in_dll(library, "malloc_counter_calls")
    blocks = array("q", [0, 0, 0])  # not names: an integer kept in a variable would be a block more
    kept: list[object] = [None]
    take, answer, live_blocks = path.take, path.answer, sys.getallocatedblocks
    last = len(arrivals) - 1
    calls.value = 0
    gc.collect()
    gc.disable()
    for number, (frame, now_ns) in enumerate(arrivals):
        blocks[0] = live_blocks()
        armed.value = 1
        take(frame, now_ns)
        if number == last and allocate is not None:
            kept[0] = bytearray(4096) if allocate == "malloc" else object()
        armed.value = 0
        blocks[1] = live_blocks()
        blocks[2] += blocks[1] - blocks[0]
        answer(now_ns)
    gc.enable()
    return calls.value, blocks[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", choices=PATHS)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument(
        "--allocate", choices=("malloc", "object"), help="allocate once on purpose, inside the count"
    )
    options = parser.parse_args()

    warm_up = 2_000
    [(up, down, opening, frames)] = recorded.many_markets(1, warm_up + options.frames)
    start_s = recorded.FIRST_MS // 1000
    market = MarketInfo("m", "0x" + "0" * 64, up, down, start_s, start_s + 1_000_000)
    arrivals = [
        (frame, recorded.FIRST_MS * 1_000_000 + number * recorded.STEP_MS * 1_000_000)
        for number, frame in enumerate([opening, *frames])
    ]
    path = PATHS[options.path](market)
    counted(path, arrivals[:warm_up], None)  # warms the path, and what the counting itself needs at first
    calls, growth = counted(path, arrivals[warm_up:], options.allocate)
    answer = {"path": options.path, "frames": len(arrivals) - warm_up, "calls": calls, "block_growth": growth}
    if isinstance(path, StepPath):
        answer["commands"] = path.commands
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
