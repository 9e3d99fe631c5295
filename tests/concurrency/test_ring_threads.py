"""Two threads on one ring: the compiled classes without the GIL, the header under the thread sanitizer."""

from __future__ import annotations

import importlib.util
import os
import select
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from invmm._ext.ring import CommandRing
from invmm.types import COMMAND_DTYPE

ROOT = Path(__file__).resolve().parents[2]
HARNESS = Path(__file__).with_name("ring_harness.c")
COMPILER = shutil.which(os.environ.get("CC", "cc"))

compiled = pytest.mark.skipif(
    importlib.util.find_spec("tests.concurrency.ring_threads") is None,
    reason="tests.concurrency.ring_threads exists in checked builds only (INVMM_BUILD=checked)",
)
TIMEOUT, RING, FD = 0, 1, 2


def run_both(ring: CommandRing, count: int, spin_ns: int, wake_every: int) -> tuple[int, int]:
    from tests.concurrency import ring_threads

    answers: dict[str, int] = {}

    def side(name: str, *args: int) -> None:
        answers[name] = getattr(ring_threads, name)(ring, count, *args)

    threads = [
        threading.Thread(target=side, args=("consume", spin_ns)),
        threading.Thread(target=side, args=("produce", wake_every)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers["produce"], answers["consume"]


@compiled
@pytest.mark.parametrize("spin_ns", [-1, 20_000, 0])
@pytest.mark.parametrize("capacity", [2, 64, 4096])
def test_two_threads_lose_repeat_and_tear_nothing(capacity: int, spin_ns: int):
    ring = CommandRing(capacity, first_cursor=2**64 - 1000)
    refused, wrong = run_both(ring, 30_000, spin_ns, wake_every=1 if capacity == 2 else 7)
    assert wrong == 0
    assert len(ring) == 0
    assert ring.refused == refused
    ring.check()


@compiled
def test_a_waiting_consumer_sees_a_descriptor_or_the_ring():
    from tests.concurrency import ring_threads

    ring = CommandRing(8)
    read_end, write_end = os.pipe()
    with select.epoll() as epoll:
        epoll.register(read_end, select.EPOLLIN)
        try:
            for spin_ns in (0, 1_000_000, -1):
                assert ring_threads.wait(ring, spin_ns, 3_000_000, epoll.fileno()) == TIMEOUT
                os.write(write_end, b"x")
                assert ring_threads.wait(ring, spin_ns, 5_000_000_000, epoll.fileno()) == FD
                assert epoll.poll(0) == [(read_end, select.EPOLLIN)], "looking took nothing away"
                ring.try_push(np.zeros(1, COMMAND_DTYPE))
                assert ring_threads.wait(ring, spin_ns, 5_000_000_000, epoll.fileno()) & RING
                ring.pop()
                os.read(read_end, 1)
        finally:
            os.close(read_end)
            os.close(write_end)


@compiled
def test_a_descriptor_wakes_a_parked_consumer():
    from tests.concurrency import ring_threads

    ring = CommandRing(8)
    read_end, write_end = os.pipe()
    try:
        timer = threading.Timer(0.02, os.write, (write_end, b"x"))
        timer.start()
        assert ring_threads.wait(ring, 0, 20_000_000_000, read_end) == FD
        timer.join()
    finally:
        os.close(read_end)
        os.close(write_end)


@compiled
def test_consumer_works_while_the_producer_keeps_the_interpreter_busy():
    from tests.concurrency import ring_threads

    ring = CommandRing(1024)
    count = 500
    wrong: list[int] = []
    consumer = threading.Thread(target=lambda: wrong.append(ring_threads.consume(ring, count, 0)))
    before = sys.getswitchinterval()
    records = np.zeros(count, COMMAND_DTYPE)
    for i in range(count):
        fields = records[i]
        fields["kind"], fields["sequence"], fields["key"] = 2 if i % 4 == 0 else 1, i, 2**64 - 1 - i
        fields["salt"], fields["order_id"] = i * 0x9E3779B97F4A7C15 % 2**64, bytes([i & 0xFF]) * 32
    consumer.start()
    deadline = time.monotonic() + 20
    sys.setswitchinterval(30)  # the producer will not be asked to give the interpreter up
    try:
        for record in records:
            while not ring.try_push(record):
                assert time.monotonic() < deadline
        while len(ring):
            assert time.monotonic() < deadline
    finally:
        sys.setswitchinterval(before)
    consumer.join(20)
    assert wrong == [0]


def build(folder: Path, *flags: str) -> Path:
    assert COMPILER is not None
    program = folder / "ring_harness"
    # Without -fno-builtin-memcpy the copies are expanded inline, where the sanitizer does not see them.
    command = [
        COMPILER,
        "-std=gnu11",
        "-O1",
        "-g",
        "-fno-builtin-memcpy",
        "-pthread",
        f"-I{ROOT / 'invmm' / '_ext'}",
    ]
    subprocess.run([*command, *flags, str(HARNESS), "-o", str(program)], check=True, capture_output=True)
    return program


def run(program: Path, *args: int) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TSAN_OPTIONS": "halt_on_error=0 exitcode=66"}
    return subprocess.run(
        [program, *map(str, args)], capture_output=True, text=True, timeout=120, env=environment
    )


@pytest.fixture(scope="module")
def sanitizer(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips when there is no compiler with a thread sanitizer that runs here."""
    if COMPILER is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe.c").write_text("int main(void) { return 0; }\n")
    made = subprocess.run(
        [COMPILER, "-fsanitize=thread", str(folder / "probe.c"), "-o", str(folder / "probe")],
        capture_output=True,
    )
    if made.returncode or subprocess.run([folder / "probe"], capture_output=True).returncode:
        pytest.skip("the compiler has no working thread sanitizer")


WAITS = [(16, 4, -1), (16, 4, 20_000), (16, 4, 0), (1, 0, 0)]


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
def test_native_threads_agree_on_every_record(tmp_path: Path):
    program = build(tmp_path, "-O2", "-Wall", "-Wextra", "-Werror")
    for capacity, reserve, spin_ns in WAITS:
        done = run(program, 200_000, capacity, reserve, spin_ns)
        assert done.returncode == 0, done.stdout


@pytest.mark.usefixtures("sanitizer")
def test_the_thread_sanitizer_finds_nothing_in_the_ring(tmp_path: Path):
    program = build(tmp_path, "-fsanitize=thread")
    for capacity, reserve, spin_ns in WAITS:
        done = run(program, 30_000, capacity, reserve, spin_ns)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "WARNING" not in done.stderr


@pytest.mark.usefixtures("sanitizer")
@pytest.mark.parametrize("weakened", [1, 2], ids=["publishing", "freeing"])
def test_the_thread_sanitizer_reports_a_weakened_order(tmp_path: Path, weakened: int):
    program = build(tmp_path, "-fsanitize=thread", f"-DRING_WEAKEN={weakened}")
    done = run(program, 30_000, 16, 4, -1)
    assert done.returncode == 66
    assert "data race" in done.stderr
