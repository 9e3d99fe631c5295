"""One solve of a market's step: guards, policy, merge with what rests, exposure, command records.

    python -m bench.bench_transaction [--json FILE]    INVMM_BENCH_SHORT=1 for a run that only proves it works
    pytest bench/bench_transaction.py

Four bids rest. "Unchanged" is a solve that sends nothing, timed in batches inside a C loop. "Moves" is one
that replaces bids after the book has moved two cents, timed one by one: the call from Python around it has
its own row, to be subtracted. Decision alone: `bench.bench_solver`.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness import SHORT, Distribution, distribution, report, require_release
from invmm.engine import Engine
from invmm.replay.tape import MarketInfo
from invmm.settings import Settings
from invmm.types import EVENT_DTYPE, CommandKind, EventKind, OrderStatus
from tests.reference import wire

NS, MS = 1_000_000_000, 1_000_000
START_S = 1_700_000_000
SOLVES = 1_000
BATCHES = 5 if SHORT else 300
MOVES = 20 if SHORT else 3_000
SETTINGS = """[engine]
book_max_age_ms = 600000
quote_lifetime_s = 0
[strategy]
update_interval_ms = 1
spread_per_level = 3.0
"""


class Quoted:
    """One market with six bids resting, driven by records."""

    def __init__(self) -> None:
        settings = Settings.parse(SETTINGS + "[risk]\norders_per_second = 600\norders_burst = 900\n")
        engine = Engine(settings, policy="inventory_mm")
        info = MarketInfo("m", wire.MARKET, wire.UP, wire.DOWN, START_S, START_S + 300_000)
        self.step = engine.add_market(info).step
        self.now_ns = START_S * NS
        self.frames = [
            wire.snapshot({low: 300}, {low + 400: 300}, START_S * 1000) for low in (4600, 4800)
        ]  # five cents wide, so that three levels fit below the ask
        self.settle(self.event(EventKind.FRAME, self.frames[0]), self.event(EventKind.BUFFER_END))

    def event(self, kind: EventKind, frame: bytes = b"", **fields: Any) -> Any:
        record = np.zeros(1, dtype=EVENT_DTYPE)
        self.now_ns += 10 * MS
        record["kind"], record["length"], record["time_ns"] = kind, len(frame), self.now_ns
        for name, value in fields.items():
            record[name] = value
        return self.step.step(record, self.now_ns, frame).copy()

    def settle(self, *batches: Any) -> None:
        """Answers every command, and what follows from that, with yes."""
        waiting = [command for batch in batches for command in batch]
        while waiting:
            command = waiting.pop(0)
            status = OrderStatus.LIVE if command["kind"] == CommandKind.PLACE else OrderStatus.CANCELED
            about = {name: command[name] for name in ("key", "token", "side", "price_e4", "size_micro")}
            waiting += list(self.event(EventKind.ORDER_RESULT, status=status, **about))
            if not waiting:
                waiting += list(self.event(EventKind.BUFFER_END))


def timers(first_ns: int) -> npt.NDArray[np.void]:
    records = np.zeros(SOLVES, dtype=EVENT_DTYPE)
    records["kind"] = EventKind.TIMER
    records["time_ns"] = first_ns + MS * np.arange(1, SOLVES + 1)
    return records


def unchanged() -> Distribution:
    market = Quoted()
    samples = np.empty(BATCHES)
    for index in range(BATCHES):
        records = timers(market.now_ns)
        raw = records.view(np.uint8)
        before = market.step.stats()["solves"]
        begin = time.perf_counter_ns()
        done, _ = market.step.run(raw, 0, SOLVES, b"")
        samples[index] = (time.perf_counter_ns() - begin) / SOLVES
        market.now_ns = int(records["time_ns"][-1])
        assert done == SOLVES
        assert market.step.stats()["solves"] == before + SOLVES
    return distribution("solve, unchanged", samples, note=f"means of {SOLVES}, {live(market)} bids resting")


def live(market: Quoted) -> int:
    return int(market.step.registry.counts()["live"])


def moves() -> list[Distribution]:
    """Both rows: solves that replace, and calls that change nothing."""
    market = Quoted()
    samples, idle, commands = np.empty(MOVES), np.empty(MOVES), 0
    for index in range(MOVES):
        frame = market.frames[(index + 1) % 2]
        market.event(EventKind.FRAME, frame)
        record = np.zeros(2, dtype=EVENT_DTYPE)
        market.now_ns += 10 * MS
        record["kind"], record["time_ns"] = EventKind.BUFFER_END, market.now_ns
        raw = record.view(np.uint8)
        begin = time.perf_counter_ns()
        _, sent = market.step.run(raw, 0, 1, b"")
        samples[index] = time.perf_counter_ns() - begin
        commands += len(sent)
        sent = sent.copy()
        begin = time.perf_counter_ns()
        market.step.run(raw, 1, 2, b"")
        idle[index] = time.perf_counter_ns() - begin
        market.settle(sent)
    return [
        distribution("solve, moves", samples, note=f"{commands / MOVES:.1f} commands each"),
        distribution("… the call alone", idle),
    ]


def test_a_solve_that_changes_nothing_can_be_timed() -> None:
    assert unchanged().p50 > 0


def main() -> int:
    parser = argparse.ArgumentParser(description="One solve: merge, exposure, commands.")
    parser.add_argument("--json", metavar="FILE", help="also write the rows there")
    options = parser.parse_args()
    require_release()
    report("Replace transaction", {"One solve": [unchanged(), *moves()]}, json_path=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
