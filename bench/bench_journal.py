"""What journaling costs: one record, its checksum, a reader's pass, and a market's step with and without.

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
from invmm.execution.journal import SessionJournal
from invmm.journal_types import PAYLOAD_BYTES, RECORD_BYTES, JournalKind
from invmm.replay.player import frame_events
from invmm.replay.tape import Tape
from invmm.settings import Settings, StateSettings
from invmm.types import COMMAND_DTYPE

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
                    engine = Engine(Settings(), seed=1, journal=None if name == "no journal" else journal)
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
        "a market's step": steps(a_tape()),
    }
    report("Journal", groups, json_path=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
