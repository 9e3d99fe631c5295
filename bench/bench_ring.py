"""The hand-off between the threads: hop latency, throughput, the price of a push, beside the standard queues.

    python -m bench.bench_ring [--json FILE]      INVMM_BENCH_SHORT=1 for a run that only proves it works
    pytest bench/bench_ring.py                    the price of a push and of a pop from Python

Latencies are taken at a fixed arrival rate from the moment a record was due, so that a stall counts for
everyone it delayed ("since pushed" rows and rows with a resting Python producer, whose sleep is late by
itself, count from the push). Both threads are pinned, on two cores where there are two. On a machine that
others use as well, p10 in the note tells the ring from the neighbours. The consumer of the ring is native
code of tests/concurrency/ring_harness.c, as the executor's wait is: it never touches the interpreter lock.
Consumers of the standard queues are Python threads, as they must be.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bench.harness import SHORT, Distribution, distribution, report, require_release
from invmm._ext.ring import CommandRing
from invmm.types import COMMAND_DTYPE, CommandKind

ROOT = Path(__file__).resolve().parent.parent
COUNT = 300 if SHORT else 10_000
GAP_NS = 100_000  # ten thousand commands a second, far from saturation


def native(folder: Path) -> ctypes.CDLL:
    """The native sides of a ring; FileNotFoundError without a C compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise FileNotFoundError("no C compiler")
    library = folder / "ring_harness.so"
    command = [compiler, "-std=gnu11", "-O3", "-shared", "-fPIC", "-pthread", f"-I{ROOT / 'invmm' / '_ext'}"]
    command += [str(ROOT / "tests" / "concurrency" / "ring_harness.c"), "-o", str(library)]
    subprocess.run(command, check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.ring_harness_send.restype = ctypes.c_int64
    return loaded


CORES = sorted(os.sched_getaffinity(0))


def pin(core: int) -> None:
    """Keeps the calling thread on one core: both on one would measure the scheduler."""
    os.sched_setaffinity(0, {CORES[core]})


class Hop:
    """One native consumer on a fresh ring; `latencies` after the producer is done."""

    def __init__(self, library: ctypes.CDLL, count: int, spin_ns: int) -> None:
        self.library = library
        self.count = count
        self.ring = CommandRing(1024)
        self.ns = np.zeros((2, count), np.int64)
        self.mark = ctypes.c_int64(0)
        self.thread = threading.Thread(target=self._measure, args=(spin_ns,))
        self.thread.start()
        while not self.mark.value:
            time.sleep(0.001)

    @property
    def address(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.ring.memory.ctypes.data)

    def _measure(self, spin_ns: int) -> None:
        pin(-1)
        self.library.ring_harness_measure(
            self.address,
            self.ring.eventfd,
            ctypes.c_int64(spin_ns),
            ctypes.c_uint64(self.count),
            self.ns.ctypes.data_as(ctypes.c_void_p),
            ctypes.byref(self.mark),
        )

    def send_native(self, gap_ns: int) -> int:
        return int(
            self.library.ring_harness_send(
                self.address, self.ring.eventfd, ctypes.c_uint64(self.count), ctypes.c_int64(gap_ns)
            )
        )

    def latencies(self) -> npt.NDArray[np.int64]:
        """Since due and, where the producer said it, since pushed; the first tenth is warm-up."""
        self.thread.join(30)
        return self.ns[:, self.count // 10 :]


def paced(count: int, gap_ns: int, send: Callable[[int], object], work: Callable[[int], object]) -> None:
    """Calls `send(due)` at the pace, doing `work(until)` in between; both get `time.monotonic_ns`."""
    due = time.monotonic_ns() + gap_ns
    for _ in range(count):
        work(due)
        send(due if work is busy else time.monotonic_ns())
        due += gap_ns


def busy(until: int) -> None:
    """Runs Python until then and never gives the interpreter up."""
    while time.monotonic_ns() < until:
        pass


def idle(until: int) -> None:
    """Sleeps most of the way."""
    left = until - time.monotonic_ns()
    if left > 0:
        time.sleep(left / 1e9)


def row(name: str, ns: npt.NDArray[np.int64]) -> Distribution:
    return distribution(name, ns, f"p10 {np.percentile(ns, 10):.0f}")


def hop_rows(library: ctypes.CDLL) -> list[Distribution]:
    """Native producer and native consumer."""
    rows = []
    for name, spin_ns in (("spinning", -1), ("spin 20 us, then park", 20_000), ("parked", 0)):
        hop = Hop(library, COUNT, spin_ns)
        hop.send_native(GAP_NS)
        due, pushed = hop.latencies()
        rows.append(row(f"ring hop, consumer {name}, since due", due))
        rows.append(row(f"ring hop, consumer {name}, since pushed", pushed))
    return rows


def python_rows(library: ctypes.CDLL) -> list[Distribution]:
    """Python producer, resting or busy in Python between commands: the ring and the standard queues."""
    rows = []
    record = np.zeros(1, COMMAND_DTYPE)
    record["kind"] = CommandKind.PLACE
    for words, work in (("idle", idle), ("busy in Python", busy)):
        for name, spin_ns in (("spinning", -1), ("parked", 0)):
            hop = Hop(library, COUNT, spin_ns)

            def push(due: int, ring: CommandRing = hop.ring) -> None:
                record["decided_ns"] = due
                ring.try_push(record)

            paced(COUNT, GAP_NS, push, work)
            rows.append(row(f"ring, consumer {name}, producer {words}", hop.latencies()[0]))
        for name, put, get in standard_queues():
            rows.append(queue_row(f"{name}, consumer blocked, producer {words}", put, get, work))
    return rows


def standard_queues() -> list[tuple[str, Callable[[int], object], Callable[[], int]]]:
    simple: queue.SimpleQueue[int] = queue.SimpleQueue()
    items: deque[int] = deque()
    event = threading.Event()

    def put(due: int) -> None:
        items.append(due)
        event.set()

    def get() -> int:
        while not items:
            event.wait()
            event.clear()
        return items.popleft()

    return [("SimpleQueue", simple.put, simple.get), ("deque + Event", put, get)]


def queue_row(
    name: str, put: Callable[[int], object], get: Callable[[], int], work: Callable[[int], object]
) -> Distribution:
    # A busy producer starves the consumer for a switch interval (5 ms) at a time: fewer samples, same truth.
    count = COUNT // 5 if work is busy else COUNT
    ns = np.zeros(count, np.int64)

    def consume() -> None:
        pin(-1)
        for i in range(count):
            ns[i] = -get()
            ns[i] += time.monotonic_ns()

    thread = threading.Thread(target=consume)
    thread.start()
    paced(count, GAP_NS, put, work)
    thread.join(60)
    return row(name, ns[count // 10 :])


def swallow(library: ctypes.CDLL, address: ctypes.c_void_p, count: int) -> None:
    pin(-1)
    library.ring_harness_swallow(address, ctypes.c_uint64(count))


def throughput_rows(library: ctypes.CDLL) -> list[Distribution]:
    """ns per record, producer and consumer native and flat out; 1000 / ns = million records a second."""
    count = 100_000 if SHORT else 2_000_000
    samples = []
    for _ in range(3 if SHORT else 15):
        ring = CommandRing(4096)
        address = ctypes.c_void_p(ring.memory.ctypes.data)
        thread = threading.Thread(target=swallow, args=(library, address, count))
        thread.start()
        total = library.ring_harness_send(address, ring.eventfd, ctypes.c_uint64(count), ctypes.c_int64(0))
        thread.join(30)
        samples.append(total / count)
    return [distribution("ring, one record, flat out", samples)]


def push_rows() -> list[Distribution]:
    """ns per call from Python, loop included; nobody listens."""
    count, turns = 1000, 5 if SHORT else 200
    ring = CommandRing(2048)
    simple: queue.SimpleQueue[Any] = queue.SimpleQueue()
    array = np.zeros(1, COMMAND_DTYPE)
    array["kind"] = CommandKind.CANCEL
    scalar = array[0]
    out = np.zeros(2048, COMMAND_DTYPE)
    cases: list[tuple[str, Callable[[Any], object], Any, Callable[[], object]]] = [
        ("CommandRing.try_push(numpy.void)", ring.try_push, scalar, lambda: ring.pop_into(out)),
        ("CommandRing.try_push(array of one)", ring.try_push, array, lambda: ring.pop_into(out)),
        ("SimpleQueue.put(record)", simple.put, scalar, lambda: [simple.get() for _ in range(count)]),
        ("nothing (the loop)", id, scalar, lambda: None),
    ]
    rows = []
    for name, call, argument, empty in cases:
        samples = []
        for _ in range(turns):
            start = time.perf_counter_ns()
            for _ in range(count):
                call(argument)
            samples.append((time.perf_counter_ns() - start) / count)
            empty()
        rows.append(distribution(name, samples))
    return rows


def test_push_and_pop_from_python(benchmark: Any) -> None:
    ring = CommandRing(8)
    record = np.zeros(1, COMMAND_DTYPE)[0]

    def both() -> None:
        ring.try_push(record)
        ring.pop()

    benchmark(both)
    assert len(ring) == 0


@pytest.mark.skipif(shutil.which(os.environ.get("CC", "cc")) is None, reason="no C compiler")
def test_native_hop_while_spinning(benchmark: Any, tmp_path: Path) -> None:
    library = native(tmp_path)

    def round_of_hops() -> float:
        hop = Hop(library, 200, -1)
        hop.send_native(5_000)
        return float(np.median(hop.latencies()[1]))

    assert benchmark.pedantic(round_of_hops, rounds=5) > 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Ring against the standard queues.")
    parser.add_argument("--json", metavar="FILE", help="also write the rows there")
    options = parser.parse_args()
    require_release()
    pin(0)
    with tempfile.TemporaryDirectory() as folder:
        library = native(Path(folder))
        groups = {
            "Hop, native producer": hop_rows(library),
            "Hop, Python producer": python_rows(library),
            "Throughput": throughput_rows(library),
            "Cost of a push from Python": push_rows(),
        }
    report("Hand-off between threads", groups, json_path=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
