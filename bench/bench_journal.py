"""What journaling costs: a record, its checksum, a reader's pass, a start, a market's step with and without.

    python -m bench.bench_journal [--json FILE]      INVMM_BENCH_SHORT=1 for a run that only proves it works
    pytest bench/bench_journal.py                    an append from Python, by pytest-benchmark

Appends in C are means of batches of 256 that share one call; `one append` are single calls from Python with
a reading of the clock. The file is mapped, pre-allocated and synced as in a session, on the disk of the
temporary folder.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness import SHORT, Distribution, distribution, report, require_release
from invmm._ext.journal import Journal, checksum, checksum_by_table, read_bytes
from invmm.clock import LiveClock
from invmm.engine import Engine
from invmm.execution.journal import SessionJournal, possibly_alive
from invmm.execution.left import read_left
from invmm.journal_types import ORDER_DTYPE, PAYLOAD_BYTES, RECORD_BYTES, JournalKind
from invmm.replay.player import frame_events
from invmm.replay.tape import Tape
from invmm.settings import Settings, StateSettings
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, OrderStatus

ROUNDS = 20 if SHORT else 1_500
BATCH = 256
STATE = StateSettings(journal_records=524_288 if not SHORT else 65_536)


def appends() -> list[Distribution]:
    """A record into memory, and into a file that is synced in the background."""
    rows = np.zeros(BATCH, COMMAND_DTYPE)
    one = rows[:1].tobytes()
    plain, synced, singles = np.empty(ROUNDS), np.empty(ROUNDS), np.empty(ROUNDS * 16)
    memory = Journal()
    memory.offer(bytearray((ROUNDS * BATCH + 1) * RECORD_BYTES), bytes(PAYLOAD_BYTES), 0)
    with (
        tempfile.TemporaryDirectory() as place,
        SessionJournal(Path(place), STATE, LiveClock()) as journal,
    ):
        for taken, into in ((plain, memory), (synced, journal.intents)):
            for i in range(ROUNDS):
                begun = time.perf_counter_ns()
                into.append_rows(JournalKind.COMMAND, rows, begun, i)
                taken[i] = (time.perf_counter_ns() - begun) / BATCH
            assert into.refused == 0
        for i in range(len(singles)):
            begun = time.perf_counter_ns()
            journal.intents.append(JournalKind.COMMAND, one, begun, i)
            singles[i] = time.perf_counter_ns() - begun
    return [
        distribution("append, in C, memory", plain, note=f"mean of {BATCH}"),
        distribution("append, in C, file", synced, note=f"mean of {BATCH}; synced every {STATE.sync_ms} ms"),
        distribution("one append", singles, note="from Python, clock included"),
    ]


def sums() -> list[Distribution]:
    """CRC-32C of what a record's checksum covers, and of a frame."""
    found = []
    for size in (156, 2_000):
        data = bytes(size)
        for name, function in (("instruction", checksum), ("table", checksum_by_table)):
            taken = np.empty(ROUNDS)
            for i in range(ROUNDS):
                begun = time.perf_counter_ns()
                function(data)
                taken[i] = time.perf_counter_ns() - begun
            found.append(distribution(f"CRC-32C of {size} bytes, {name}", taken, note="with call and clock"))
    return found


def reading() -> Distribution:
    """A pass over a full file, per record."""
    with tempfile.TemporaryDirectory() as place:
        state = StateSettings(journal_records=16_384)
        with SessionJournal(Path(place), state, LiveClock(), background=False) as journal:
            journal.inputs.append_rows(JournalKind.COMMAND, np.zeros(16_000, COMMAND_DTYPE))
        data = (Path(place) / "inputs-00000001.journal").read_bytes()
    taken = np.empty(20 if not SHORT else 3)
    for i in range(len(taken)):
        begun = time.perf_counter_ns()
        records, _ = read_bytes(data)
        taken[i] = (time.perf_counter_ns() - begun) / len(records)
    return distribution("read and check, per record", taken, note="16 000 records in memory")


def fill(folder: Path, orders: int) -> int:
    """A journal of so many orders, each placed, acknowledged, cancelled and ended; how many records."""
    state = StateSettings(journal_records=65_536, journal_files=64)
    with SessionJournal(folder, state, LiveClock(), background=False) as journal:
        command, event = np.zeros(1, COMMAND_DTYPE), np.zeros(1, EVENT_DTYPE)
        words = np.zeros(1, ORDER_DTYPE)
        rng = np.random.default_rng(1)
        for number in range(1, orders + 1):
            if number % 4_096 == 1:
                journal.tend()
            the_id = np.void(rng.bytes(32))
            for each in (command, event, words):
                each["key"], each["order_id"] = number, the_id
            command["decided_ns"] = event["time_ns"] = number
            journal.inputs.append(JournalKind.COMMAND, command.tobytes(), number, number)
            journal.intents.append(JournalKind.INTENT, command.tobytes(), number, number)
            for status in (OrderStatus.SENT, OrderStatus.LIVE, OrderStatus.CANCELED):
                event["status"] = status
                journal.intents.append(JournalKind.RESULT, event.tobytes(), number, number)
                journal.inputs.append(JournalKind.EVENT, event.tobytes(), number, number)
            journal.inputs.append(JournalKind.ENDED, words.tobytes(), number, number)
        assert journal.inputs.refused == journal.intents.refused == 0
        return journal.inputs.sequence + journal.intents.sequence


def living() -> list[Distribution]:
    """How long a start takes to know what may be alive, from eight full files and from one."""
    found = []
    for orders in (1_000,) if SHORT else (13_000, 100_000):
        with tempfile.TemporaryDirectory() as place:
            records = fill(Path(place), orders)
            for name, read in (("possibly_alive", possibly_alive), ("read_left", read_left)):
                taken = np.empty(3 if SHORT else 7)
                for i in range(len(taken)):
                    begun = time.perf_counter_ns()
                    read(Path(place))
                    taken[i] = time.perf_counter_ns() - begun
                found.append(distribution(f"{name}, {orders} orders", taken, note=f"{records} records"))
    return found


def a_tape() -> Tape:
    """A generated market."""
    from invmm.sim.market import generate

    return generate(1, window_s=90)


def steps(tape: Tape) -> list[Distribution]:
    """Frames through a market's step, in turns: without a journal, with one, with frames kept as well."""
    events = frame_events(tape, 0)
    raw = events.view(np.uint8).reshape(-1)
    turns: dict[str, list[float]] = {"no journal": [], "journal": [], "journal with frames": []}
    for _ in range(2 if SHORT else 7):
        for name in turns:
            with tempfile.TemporaryDirectory() as place:
                state = StateSettings(journal_records=131_072, journal_frames=name.endswith("frames"))
                with SessionJournal(Path(place), state, LiveClock(), background=False) as journal:
                    engine = Engine(
                        Settings(),
                        policy="inventory_mm",
                        seed=1,
                        journal=None if name == "no journal" else journal,
                    )
                    step = engine.add_market(tape.market, number=0).step
                    index, count, begun = 0, len(events), time.perf_counter_ns()
                    while index < count:
                        index, _ = step.run(raw, index, count, tape.data)
                    turns[name].append((time.perf_counter_ns() - begun) / len(tape))
    return [distribution(f"step per frame, {name}", taken) for name, taken in turns.items()]


def test_an_append(benchmark: Any, tmp_path: Path) -> None:
    """One COMMAND record from Python."""
    payload = np.zeros(1, COMMAND_DTYPE).tobytes()
    with SessionJournal(tmp_path, STATE, LiveClock()) as journal:
        benchmark(journal.intents.append, JournalKind.COMMAND, payload, 1, 2)


def main() -> int:
    """Prints the table; the exit code."""
    parser = argparse.ArgumentParser(description="What journaling costs.")
    parser.add_argument("--json", metavar="FILE", help="also write the rows there")
    options = parser.parse_args()
    require_release()
    groups = {
        "one record": [*appends(), reading()],
        "checksum": sums(),
        "a start": living(),
        "a market's step": steps(a_tape()),
    }
    report("Journal", groups, json_path=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
