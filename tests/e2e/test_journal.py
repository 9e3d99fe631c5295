"""The journal of a real executor over sockets, of a process that is killed, and on a disk that is full."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from invmm.clock import ReplayClock
from invmm.execution.journal import SessionJournal, possibly_alive, read_stream
from invmm.execution.journaled import payload
from invmm.journal_types import EndReason, JournalKind
from invmm.settings import StateSettings
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, CommandKind, OrderStatus, Reason
from tests.e2e.certificates import certificate as certificate
from tests.e2e.executor_bench import Bench, Start, accept, begin_benches, ids_of, told
from tests.e2e.scripted_venue import Reply, Seen, http

STATE = StateSettings(journal_records=1024)


@pytest.fixture
def start() -> Iterator[Start]:
    yield from begin_benches()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SessionJournal]:
    with SessionJournal(tmp_path / "journal", STATE, ReplayClock(1), background=False) as made:
        yield made


class Notary:
    """A venue that looks, as each order's bytes arrive, whether its id is in the file on disk."""

    def __init__(self, journal: SessionJournal) -> None:
        self.folder = journal.folder
        self.seen: list[tuple[str, bool]] = []

    def __call__(self, seen: Seen) -> Reply:
        if seen.method == "POST":
            written = b"".join(path.read_bytes() for path in self.folder.glob("intents-*"))
            self.seen += [(each, bytes.fromhex(each[2:]) in written) for each in ids_of(seen)]
        return accept(seen)


def journaled(bench: Bench, journal: SessionJournal) -> Bench:
    bench.executor.intake.outbox.journal = journal.intents
    return bench


def test_every_id_is_in_the_journal_before_a_byte_arrives(start: Start, journal: SessionJournal):
    notary = Notary(journal)
    bench = journaled(start(notary), journal)
    for first in range(1, 40, 3):
        bench.submit(bench.place(first, first + 1, first + 2))
        bench.expect(6)
    assert len(notary.seen) == 39
    assert all(known for _, known in notary.seen)


def test_over_tls_it_is_the_same(start: Start, journal: SessionJournal, certificate: tuple[Path, Path]):
    server, client = (
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        ssl.create_default_context(cafile=certificate[0]),
    )
    server.load_cert_chain(*certificate)
    notary = Notary(journal)
    bench = journaled(start(notary, server_tls=server, client_tls=client), journal)
    bench.submit(bench.place(1, 2, 3))
    bench.expect(6)
    assert [known for _, known in notary.seen] == [True] * 3


def test_what_was_sent_and_heard_is_read_back(start: Start, journal: SessionJournal):
    bench = journaled(start(accept), journal)
    bench.submit(bench.place(1, 2))
    placed = bench.expect(4)
    assert [order.key for order in possibly_alive(journal.folder)] == [1, 2]
    bench.submit(bench.cancel(1))
    bench.expect(1)
    records = next(read_stream(journal.folder, "intents")).records
    kinds = [JournalKind(k).name for k in records["kind"]]
    assert kinds == ["INTENT"] * 2 + ["RESULT"] * 4 + ["COMMAND", "RESULT"]
    intents = payload(records[records["kind"] == JournalKind.INTENT], COMMAND_DTYPE)
    assert [each.tobytes() for each in intents["order_id"]] == [r["order_id"].tobytes() for r in placed[:2]]
    results = payload(records[records["kind"] == JournalKind.RESULT], EVENT_DTYPE)
    assert results[:4].tobytes() == np.array(placed).tobytes()
    cancel = payload(records[records["kind"] == JournalKind.COMMAND], COMMAND_DTYPE)
    assert (int(cancel["kind"][0]), int(cancel["key"][0])) == (CommandKind.CANCEL, 1)
    assert [order.key for order in possibly_alive(journal.folder)] == [2]


def test_without_room_no_order_leaves_and_cancels_do(start: Start, journal: SessionJournal):
    bench = journaled(start(accept), journal)
    bench.submit(bench.place(1))
    bench.expect(2)
    while journal.intents.append(JournalKind.NOTE, b"full"):
        pass
    bench.submit(bench.place(2, 3))
    assert told(bench.expect(2)) == [(key, OrderStatus.REFUSED, Reason.JOURNAL) for key in (2, 3)]
    bench.submit(bench.cancel(1))
    assert told(bench.expect(1)) == [(1, OrderStatus.CANCELED, Reason.NONE)]
    assert [seen.method for seen in bench.venue.seen] == ["POST", "DELETE"]
    journal.tend()
    bench.submit(bench.place(4))
    assert told(bench.expect(2))[1] == (4, OrderStatus.LIVE, Reason.NONE)


def test_a_batch_that_finds_room_for_a_part_only_is_not_sent(start: Start, journal: SessionJournal):
    bench = journaled(start(accept), journal)
    while journal.intents.room > 1:
        journal.intents.append(JournalKind.NOTE, b"nearly full")
    bench.submit(bench.place(1, 2))
    assert [status for _, status, _ in told(bench.expect(2))] == [OrderStatus.REFUSED] * 2
    assert bench.venue.seen == []
    assert possibly_alive(journal.folder) == []


def test_an_answer_that_never_comes_leaves_the_order_possibly_alive(start: Start, journal: SessionJournal):
    bench = journaled(start(lambda _: Reply(http(500, b"oops"))), journal)
    bench.submit(bench.place(1))
    bench.expect(2)
    (order,) = possibly_alive(journal.folder)
    assert (order.key, order.last_evidence) == (1, "UNKNOWN")


WRITER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from invmm.clock import ReplayClock
    from invmm.execution.journal import SessionJournal
    from invmm.journal_types import JournalKind
    from invmm.settings import StateSettings

    settings = StateSettings(journal_records=4096, sync_ms=5)
    journal = SessionJournal(Path(sys.argv[1]), settings, ReplayClock(1))
    number = 0
    while True:
        number += journal.intents.append(JournalKind.NOTE, b"%d" % (number + 1))
        if number == 2000:
            print("begun", flush=True)
    """
)


@pytest.mark.parametrize("rounds", [1, pytest.param(30, marks=pytest.mark.slow)])
def test_a_kill_at_any_instruction_leaves_whole_records_without_a_gap(tmp_path: Path, rounds: int) -> None:
    for round_number in range(rounds):
        folder = tmp_path / str(round_number)
        with subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            time.sleep(0.003 * round_number)
            process.send_signal(signal.SIGKILL)
        files = list(read_stream(folder, "intents"))
        records = np.concatenate([file.records for file in files])
        assert len(records) >= 2000
        assert records["sequence"].tolist() == list(range(1, len(records) + 1))
        lines = [each.tobytes().rstrip(b"\0") for each in records["payload"]]
        assert lines == [b"%d" % (i + 1) for i in range(len(lines))]
        assert {file.end.reason for file in files} <= {EndReason.FULL, EndReason.UNWRITTEN}


FULL = textwrap.dedent(
    """
    import resource, sys
    from pathlib import Path
    from invmm.clock import ReplayClock
    from invmm.errors import ConfigError
    from invmm.execution.journal import SessionJournal
    from invmm.journal_types import JournalKind
    from invmm.settings import StateSettings

    folder = Path(sys.argv[1])
    journal = SessionJournal(folder, StateSettings(journal_records=1024), ReplayClock(1), background=False)
    fill = sys.argv[2]
    if fill == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    else:
        with open(folder / "junk", "wb", buffering=0) as junk:
            try:
                while junk.write(bytes(4096)):
                    pass
            except OSError:
                pass
    written = 0
    while journal.intents.room:
        while journal.intents.append(JournalKind.NOTE, b"x"):
            written += 1
        journal.tend()
    print(written, journal.failed)
    try:
        SessionJournal(folder / "other", StateSettings(), ReplayClock(1), background=False)
    except (ConfigError, OSError) as error:
        print(error)
    if fill != "limit":
        (folder / "junk").unlink()
        journal.tend()
        print(journal.failed or "well", journal.intents.append(JournalKind.NOTE, b"x"))
    journal.close()
    """
)


def run_full(folder: Path, fill: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(folder), fill],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_disk_that_takes_no_more_is_an_error_and_no_signal(tmp_path: Path) -> None:
    told, refused = run_full(tmp_path, "limit")
    assert told == "2048 journal: [Errno 27] File too large"
    assert "its first files cannot be made" in refused
    assert len(next(read_stream(tmp_path, "intents")).records) == 1024


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs to be root")
def test_a_full_disk_stops_orders_until_there_is_room(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this machine mounts no tmpfs")
    try:
        told, _, after = run_full(tmp_path, "disk")
        assert told == "2048 journal: [Errno 28] No space left on device"
        assert after == "well True"
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
