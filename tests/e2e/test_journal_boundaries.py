"""An engine is killed (SIGKILL) when its journal shows record n, for each n; it is started again on the same
folder; at rest nothing is lost, nothing is foreign, and no order is alive that it does not know.

The venue is a process of its own, on a fast clock. Whoever kills looks at the mapped journal from outside:
the engine that is killed is the one that ships. A kill needs some microseconds to arrive, so the journal may
show a few records more than n; how many is told. `python -m tests.e2e.test_journal_boundaries --all`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from invmm.feed.user_messages import trade_key
from invmm.testing import Series, TestVenue

ROOT = Path(__file__).resolve().parents[2]
SERIES = "btc-updown-4h"
SPEED = 60.0
START_S = 1_795_280_400  # where a window of the series begins, whatever the time of day here
RECORD_BYTES = 160
PATIENCE_S = 240.0
REACH_S = 60.0  # from an engine's start to the record at which it is killed
KILL_S = 90.0  # real seconds of a window that one kill may need
TRIES = 3
STREAMS = ("intents", "inputs")
OPEN = ("LIVE", "DELAYED")
BEGIN, END = "<!-- crash -->", "<!-- /crash -->"


@dataclass
class Outcome:
    """One kill."""

    stream: str
    wanted: int
    found: int  # records when it was dead
    orders: int  # at the venue, of all kills until then
    open_before: int  # when it was dead
    left: int  # ids without proof in the journal
    cancelled_s: float  # from the kill until everything was cancelled
    quoting_s: float  # … until quoting was possible
    cpu_s: float  # what the new process had used when everything was cancelled: a busy machine takes longer


class NotReached(Exception):
    """An engine has not written so many records: nothing was killed, nothing is proven."""


class Rig:
    """A venue, and one state folder over many lives of an engine, all in one window."""

    def __init__(self, venue: TestVenue, folder: Path) -> None:
        self.venue, self.folder = venue, folder
        self.market = venue.market()

    @property
    def left_s(self) -> float:
        """Real seconds until its window is over: then nobody places anything."""
        return (self.market.end_s - self.venue.clock().now_ns() / 1e9) / SPEED

    def engine(self, *, recover: bool, seed: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.boundary_engine"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(self.folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        clock, keys = self.venue.clock(), self.venue.credentials
        told = {
            "port": self.venue.port,
            "private_key": self.venue.private_key,
            "credentials": [keys.api_key, keys.secret, keys.passphrase],
            "account": self.venue.address,
            "clock": [clock.scale, clock.origin_ns, clock.mono_origin_ns],
            "state": str(self.folder / "state"),
            "market": asdict(self.market),
            "recover": recover,
            "seed": seed,
        }
        assert process.stdin is not None
        process.stdin.write(json.dumps(told) + "\n")
        process.stdin.flush()
        return process

    def kill_at(self, stream: str, number: int, seed: int) -> Outcome:
        """Kills a trading engine when the stream of its session shows `number` records; then recovers."""
        journals = self.folder / "state" / "journal"
        for name in ("kill", "risk.json"):  # somebody has looked, and the day is young
            (self.folder / "state" / name).unlink(missing_ok=True)
        before = set(journals.glob(f"{stream}-*"))
        engine = self.engine(recover=False, seed=seed)
        end = time.monotonic() + REACH_S
        try:
            while not (new := sorted(set(journals.glob(f"{stream}-*")) - before)):
                check(engine, end)
                time.sleep(0.001)
            path = new[0]
            while path.stat().st_size < (number + 2) * RECORD_BYTES:
                check(engine, end)
            with path.open("rb") as file:
                memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
            at = (number + 1) * RECORD_BYTES  # after the file's own record
            looks = 0
            while memory[at + 4] == 0:  # its kind; a record's first word is its checksum
                looks += 1
                if looks % 20_000 == 0:
                    check(engine, end)
                    time.sleep(0.0005)  # the one that is to be killed needs a core, too
            engine.kill()
            killed = time.monotonic()
        finally:
            engine.kill()
            engine.communicate()
        found = number
        while at + RECORD_BYTES < len(memory) and memory[at + RECORD_BYTES + 4]:
            found, at = found + 1, at + RECORD_BYTES
        memory.close()
        truth = self.venue.truth()
        open_before = sum(order["state"] in OPEN for order in truth["orders"])
        known = self.recovered(seed)
        return Outcome(
            stream,
            number,
            found,
            len(truth["orders"]),
            open_before,
            known["left"],
            known["cancelled_s"] - killed,
            known["quoting_s"] - killed,
            known["cpu_s"],
        )

    def recovered(self, seed: int) -> dict[str, Any]:
        """Has an engine recover and compares what it knows with the venue's truth."""
        engine = self.engine(recover=True, seed=seed)
        try:
            out, err = engine.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            engine.kill()
            raise
        assert out, err
        known: dict[str, Any] = json.loads(out.splitlines()[-1])
        told = "\n".join(known["messages"])
        truth = self.venue.truth()
        assert known["dated"] == 0, f"alive although their date has passed\n{told}"
        assert known["settled"], f"fills that the venue has not settled in time\n{told}"
        assert known["clean"] is (known["undated"] == 0), f"what the stop says is not so\n{told}"
        # A machine that is busy makes itself felt: what is slow is an alarm, and no matter here.
        assert [alarm for alarm in known["alarms"] if "ours" in alarm] == [], f"foreign\n{told}"
        assert [o for o in truth["orders"] if o["state"] in OPEN] == [], f"open at the venue\n{told}"
        journaled = set(known["journaled"])
        assert {o["order_id"] for o in truth["orders"]} <= journaled, "an order that no journal names"
        legs = {
            (leg["order_id"], trade_key(trade["id"])): (leg["size_micro"], trade["status"])
            for trade in truth["trades"]
            for leg in trade["legs"]
        }
        ours = {(leg["order_id"], leg["trade"]): (leg["size_micro"], leg["status"]) for leg in known["legs"]}
        differ = {
            leg: (ours.get(leg), legs.get(leg)) for leg in ours | legs if ours.get(leg) != legs.get(leg)
        }
        assert not differ, f"fills, ours and the venue's: {differ}\n{told}"
        assert known["positions"] in ([], [truth["tokens_micro"]]), f"positions\n{told}"
        return known


def check(engine: subprocess.Popen[str], end: float) -> None:
    if engine.poll() is not None or time.monotonic() > end:
        engine.terminate()  # it says what it knows
        raise NotReached("the engine did not come so far:\n" + "\n".join(engine.communicate()))


def rigged(seed: int) -> TestVenue:
    """A venue whose window has just begun."""
    return TestVenue(Series(SERIES, tape="light"), speed=SPEED, seed=seed, start_s=START_S)


@pytest.mark.parametrize(("stream", "number"), [("intents", 2)])
def test_killed_at_a_boundary_of_its_journal_nothing_is_lost_and_nothing_stays(
    stream: str, number: int, tmp_path: Path
) -> None:
    with rigged(5) as venue:
        outcome = Rig(venue, tmp_path).kill_at(stream, number, 1)
    assert outcome.found >= number


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_killed_at_every_boundary_nothing_is_lost_and_nothing_stays() -> None:
    assert main(["--all"]) == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Kills at many boundaries; a table of times, exit code 1 if anything was lost."""
    p = argparse.ArgumentParser(prog="python -m tests.e2e.test_journal_boundaries", description=__doc__)
    p.add_argument("--all", action="store_true", help="the first 40 records of each stream")
    p.add_argument("--first", type=int, default=1)
    p.add_argument("--last", type=int, default=6)
    p.add_argument("--step", type=int, default=1, help="every so manieth record")
    p.add_argument("--seed", type=int, default=5)
    p.add_argument("--minutes", type=float, default=0.0, help="begin no kill after that; 0: do all")
    p.add_argument("--jobs", type=int, default=1, help="kill so many engines at once: faster, worse times")
    p.add_argument("--json", action="store_true")
    p.add_argument("--write", metavar="FILE", help=f"put the table between {BEGIN} and {END} there")
    options = p.parse_args(arguments)
    first, last = (1, 40) if options.all else (options.first, options.last)
    numbers = range(first, last + 1, options.step)
    end_s = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    # Each job has a venue and a folder, which sees many lives; both streams are cut into as many parts.
    parts = [(stream, numbers[k :: options.jobs]) for stream in STREAMS for k in range(options.jobs)]
    begun_s = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        done = list(pool.map(lambda part: killed(part[0], part[1], options.seed, end_s), parts))
    report = report_of([each for one in done for each in one])
    report["wall_s"] = round(time.monotonic() - begun_s, 1)
    report["load_per_core"] = round(os.getloadavg()[1] / len(os.sched_getaffinity(0)), 1)
    if options.write:
        write_table(Path(options.write), report)
    print(json.dumps(report) if options.json else "\n".join(f"{k}: {v}" for k, v in report.items()))
    return 1 if report["failed"] else 0


def killed(stream: str, numbers: Sequence[int], seed: int, end_s: float) -> list[Outcome | None]:
    """What came of a kill at each of these records, one after another; None where something was lost, or
    where the record was not reached in `TRIES` windows.

    A venue and a state folder see as many lives of the engine as its window has room for.
    """
    outcomes: list[Outcome | None] = []
    left, tries = list(numbers), 0
    for window in itertools.count():
        if not left or time.monotonic() > end_s:
            break
        with tempfile.TemporaryDirectory() as place, rigged(seed + window) as venue:
            rig = Rig(venue, Path(place))
            assert rig.left_s > KILL_S
            while left and rig.left_s > KILL_S and time.monotonic() < end_s:
                try:
                    outcome = rig.kill_at(stream, left[0], left[0])
                except NotReached as error:
                    tries += 1
                    print(f"{stream} {left[0]}: try {tries}: {error}", file=sys.stderr, flush=True)
                    if tries < TRIES:
                        break  # in a new window
                    outcome = None
                except AssertionError as error:
                    print(f"{stream} {left[0]}: FAILED: {error}", file=sys.stderr, flush=True)
                    outcome = None
                outcomes.append(outcome)
                done = f"{len(outcomes)} of {len(numbers)}"
                print(f"{stream} {left[0]}, {done}: {outcome}", file=sys.stderr, flush=True)
                del left[0]
                tries = 0
    return outcomes


def report_of(outcomes: Sequence[Outcome | None]) -> dict[str, float]:
    """One flat row; times in seconds."""
    good = [one for one in outcomes if one is not None]
    report: dict[str, float] = {
        "kills": len(outcomes),
        "failed": len(outcomes) - len(good),
        "orders": sum(max((o.orders for o in good if o.stream == s), default=0) for s in STREAMS),
        "left_unproven": sum(o.left for o in good),
        "open_when_killed": sum(o.open_before for o in good),
    }
    for name in ("cancelled_s", "quoting_s", "cpu_s"):
        values = sorted(getattr(one, name) for one in good) or [0.0]
        for word, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
            report[f"{name}_{word}"] = round(values[min(int(share * len(values)), len(values) - 1)], 3)
    return report


def write_table(path: Path, report: dict[str, float]) -> None:
    """Replaces the table in a file; AssertionError if its marks are not there."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, f"{path}: expected {BEGIN}"
    assert end, f"{path}: expected {END}"
    rows = [
        ("kills", f"{report['kills']:g}"),
        ("anything lost, foreign or left alive", f"{report['failed']:g}"),
    ]
    rows += [("orders open at the venue at a kill, all told", f"{report['open_when_killed']:g}")]
    for name, words in (
        ("cancelled_s", "SIGKILL → everything cancelled, s"),
        ("quoting_s", "SIGKILL → quoting again, s"),
        ("cpu_s", "CPU of the new process until all was cancelled, s"),
    ):
        values = " / ".join(f"{report[f'{name}_{word}']:.2f}" for word in ("p50", "p99", "max"))
        rows.append((f"{words}: p50 / p99 / max", values))
    rows.append(("load of the machine, processes for each core", f"{report['load_per_core']:g}"))
    table = "\n".join(["", "| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows), ""])
    path.write_text(before + begin + table + end + after)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
