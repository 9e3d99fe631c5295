"""`python -m invmm.run` as its users have it: real processes, real files, real signals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from invmm.execution.journal import read_stream
from invmm.session import NOT_COMPARED
from tests import markers
from tests.reference import recording

RECORDED = os.environ.get("INVMM_RECORDED")
ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 120
CHECKS = [
    "frames",
    "decode_failures",
    "checkpoints",
    "checkpoint_mismatches",
    "best_checks",
    "best_mismatches",
    "mirror_checks",
    "mirror_mismatches",
]
KEYS = [
    *CHECKS,
    *("digest", "markets", "commands", "solves", "suppressed", "orders", "fills", "pairs", "pair_cost"),
    *("profit", "latency_ns"),
]


@contextmanager
def job(folder: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The main job in a process of its own, in `folder`; killed if it outlives the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "invmm.run", *arguments],
        cwd=folder,
        env={**os.environ, **markers.ENVIRONMENT, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def run(folder: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    with job(folder, *arguments, **environment) as process:
        out, err = process.communicate(timeout=DEADLINE_S)
        return process.returncode, out, err


def cpu_s(pid: int) -> float:
    """Processor time that a process has used, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report_of(out: str) -> dict[str, Any]:
    """The last line of standard output as JSON."""
    made: dict[str, Any] = json.loads(out.rstrip("\n").split("\n")[-1])
    return made


def replay(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """A headless replay at full speed: exit code and report."""
    code, out, err = run(folder, "--speed", "max", "--headless", "--json", "--replay", *arguments)
    assert out, err
    return code, report_of(out)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recording.write_market(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def plain(market: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of the unchanged market."""
    code, report = replay(tmp_path_factory.mktemp("plain"), str(market))
    assert code == 0
    return report


# ---- the default --------------------------------------------------------------------------------------


def test_default_run_reports_all_figures_on_the_last_line_and_no_escape_codes(tmp_path: Path) -> None:
    code, out, err = run(tmp_path, "--headless", "--json", "--speed", "50", "--duration", "100")
    assert code == 0, err
    report = report_of(out)
    assert [key for key in KEYS if key not in report] == []
    assert report["origin"] == "GENERATED"
    assert (report["clean"], report["failed_checks"]) == (True, [])
    assert report["orders"] > 0
    assert report["best_checks"] > 1000
    assert report["mirror_checks"] > 1000
    assert set(report["profit"]) == {"pair_edge", "orphans", "fees", "rebates", "total"}
    assert report["settlement"]["cash_before_micro"] == 10_000_000_000
    assert report["latency_ns"]["pop_to_write"]["count"] > 0
    assert "\x1b" not in out + err
    assert "GENERATED" in err
    page = next(tmp_path.glob("reports/*.html"))
    assert page.name in err
    assert "<svg" in page.read_text()


def test_without_json_the_report_is_on_standard_output_with_the_file_and_a_next_command(
    tmp_path: Path,
) -> None:
    code, out, err = run(tmp_path, "--speed", "50", "--duration", "30", "--report", "deep/er/report.html")
    assert code == 0, err
    assert "\x1b" not in out + err
    lines = out.splitlines()
    assert "report: deep/er/report.html" in lines
    assert (tmp_path / "deep/er/report.html").is_file()
    assert any(line.startswith("next:   python -m invmm.run ") for line in lines)


# ---- replay at full speed -----------------------------------------------------------------------------


def test_equal_seeds_give_one_digest_and_another_seed_another(
    market: Path, plain: dict[str, Any], tmp_path: Path
) -> None:
    code, again = replay(tmp_path, str(market))
    assert (code, again["digest"]) == (0, plain["digest"])
    assert again["commands"] == plain["commands"] > 0
    _, other = replay(tmp_path, str(market), "--seed", "2")
    assert other["digest"] != plain["digest"]


def test_synthetic_recording_is_checked_traded_and_resolved(plain: dict[str, Any]) -> None:
    assert plain["checkpoints"] > 50
    assert plain["orders"] > 0
    assert plain["fills"] > 0
    assert plain["reconciled"] is True
    assert plain["winners"] == {recording.SLUG: "Up"}
    assert [plain[key] for key in CHECKS if key.endswith("mismatches")] == [0, 0, 0]


def test_folder_and_several_files_are_played_one_after_another(market: Path, tmp_path: Path) -> None:
    code, folder = replay(tmp_path, str(market.parent))
    assert (code, folder["markets"]) == (0, 1)
    code, both = replay(tmp_path, str(market), str(market.parent))
    assert (code, both["markets"]) == (0, 2)
    assert both["frames"] == 2 * folder["frames"]


def test_replay_without_a_path_takes_the_folder_of_the_variable(market: Path, tmp_path: Path) -> None:
    home = tmp_path / "data" / "day" / "replay"
    home.mkdir(parents=True)
    (home / market.name).symlink_to(market)
    (home / "markets.json").symlink_to(market.parent / "markets.json")
    code, out, err = run(
        tmp_path, "--speed", "max", "--json", "--replay", INVMM_RECORDED=str(tmp_path / "data")
    )
    assert code == 0, err
    assert report_of(out)["markets"] == 1


def test_one_flipped_level_is_counted_as_a_checkpoint_mismatch(
    market: Path, plain: dict[str, Any], tmp_path: Path
) -> None:
    lines = recording.read_lines(market)
    number = recording.change_before_checkpoint(lines)
    copy = recording.copy_with(
        market, tmp_path / "copy", number, recording.with_sizes(lines[number], "1234", entries=(0, 1))
    )
    code, report = replay(tmp_path, str(copy))
    assert code == 1
    assert report["checkpoint_mismatches"] == 1
    assert report["best_mismatches"] == 0
    assert report["checkpoints"] == plain["checkpoints"]
    assert any("checkpoint" in problem for problem in report["failed_checks"])


def test_one_flipped_best_is_counted_as_a_best_mismatch(market: Path, tmp_path: Path) -> None:
    lines = recording.read_lines(market)
    number = recording.change_before_checkpoint(lines)
    copy = recording.copy_with(
        market, tmp_path / "copy", number, recording.with_best_bid(lines[number], "0.48", entry=0)
    )
    code, report = replay(tmp_path, str(copy))
    assert code == 1
    assert report["best_mismatches"] == 1
    assert (report["checkpoint_mismatches"], report["mirror_mismatches"]) == (0, 0)


def test_one_flipped_mirror_size_is_counted_as_a_mirror_mismatch(market: Path, tmp_path: Path) -> None:
    lines = recording.read_lines(market)
    number = recording.change_before_checkpoint(lines)
    copy = recording.copy_with(
        market, tmp_path / "copy", number, recording.with_sizes(lines[number], "1234", entries=(0,))
    )
    code, report = replay(tmp_path, str(copy))
    assert code == 1
    assert report["mirror_mismatches"] >= 1
    assert (report["checkpoint_mismatches"], report["best_mismatches"]) == (0, 0)


def test_one_changed_size_changes_the_digest(market: Path, plain: dict[str, Any], tmp_path: Path) -> None:
    lines = recording.read_lines(market)
    number = next(n for n in range(40, len(lines)) if recording.is_change(lines[n]))
    copy = recording.copy_with(
        market, tmp_path / "copy", number, recording.with_sizes(lines[number], "77", entries=(0, 1))
    )
    _, report = replay(tmp_path, str(copy))
    assert report["digest"] != plain["digest"]


def test_decode_failures_are_counted_by_kind_and_fail_the_run(market: Path, tmp_path: Path) -> None:
    lines = recording.read_lines(market)
    number = recording.change_before_checkpoint(lines) + 3
    copy = recording.copy_with(
        market, tmp_path / "copy", number, recording.with_sizes(lines[number], "many", entries=(0,))
    )
    code, report = replay(tmp_path, str(copy))
    assert code == 1
    assert sum(report["decode_failures"].values()) == 1


# ---- the same over sockets ----------------------------------------------------------------------------


def test_over_sockets_books_and_checks_are_those_of_full_speed(
    market: Path, plain: dict[str, Any], tmp_path: Path
) -> None:
    code, out, err = run(tmp_path, "--headless", "--json", "--speed", "40", "--replay", str(market))
    assert code == 0, err
    report = report_of(out)
    # A quiet or slow moment may replace the connection: its snapshot and what was missed make other counts.
    assert report["clean"] is True
    assert report["orders"] > 0
    assert report["winners"] == plain["winners"]
    if report["reconnects"] == 0 and NOT_COMPARED not in out + err:
        # The venue's word that the market is resolved is a message more, if it comes before the end.
        assert report["frames"] - plain["frames"] in (0, 1)
        assert {key: report[key] for key in CHECKS[1:]} == {key: plain[key] for key in CHECKS[1:]}


def has_sent(state: Path) -> bool:
    """Whether the journal in a state folder names an order."""
    return any(len(file.records) for file in read_stream(state / "journal", "intents"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_in_the_middle_cancels_verifies_and_reports(
    number: signal.Signals, market: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    options = ("--headless", "--json", "--speed", "5", "--state", str(state))
    with job(tmp_path, *options, "--replay", str(market)) as process:
        until = time.monotonic() + DEADLINE_S
        while not has_sent(state) and time.monotonic() < until:
            time.sleep(0.05)
        assert process.poll() is None
        process.send_signal(number)
        out, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 130, err
    report = report_of(out)
    assert report["clean"] is True
    assert report["orders"] > 0
    assert "Traceback" not in err


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16) >> (number - 1) & 1)  # type: ignore[index]


def test_signal_before_trading_ends_without_a_traceback(tmp_path: Path) -> None:
    with job(tmp_path, "--headless") as process:
        until = time.monotonic() + DEADLINE_S
        while not catches(process.pid, signal.SIGTERM) and time.monotonic() < until:
            time.sleep(0.02)  # its imports are the interpreter's, not ours to catch a signal in
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE_S)
    assert "Traceback" not in err
    assert process.returncode in (130, -signal.SIGINT)


def test_signal_at_full_speed_pulls_the_orders_and_reports_what_there_is(
    market: Path, tmp_path: Path
) -> None:
    many = [str(market)] * 150
    for enough_s in (5, 10, 20):  # of processor time, to be past the reading and well inside the playing
        with job(tmp_path, "--headless", "--json", "--speed", "max", "--replay", *many) as process:
            end = time.monotonic() + DEADLINE_S
            while cpu_s(process.pid) < enough_s:
                assert time.monotonic() < end
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=DEADLINE_S)
            assert process.returncode == 130, err
            assert "Traceback" not in err
        if out:  # else it was interrupted while it read
            break
    assert report_of(out)["frames"] > 0


# ---- recorded markets ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded() -> Path:
    if not RECORDED:
        pytest.skip("INVMM_RECORDED is not set")
    return sorted(Path(RECORDED).rglob("replay/*.jsonl.gz"))[0]


@pytest.fixture(scope="module")
def recorded_plain(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    code, report = replay(tmp_path_factory.mktemp("plain"), str(recorded))
    assert code == 0
    return report


@pytest.mark.recorded
def test_flips_in_a_copy_of_a_recorded_market_are_each_counted(
    recorded: Path, recorded_plain: dict[str, Any], tmp_path: Path
) -> None:
    lines = recording.read_lines(recorded)
    number = recording.change_before_checkpoint(lines)
    last = recording.change_at_end_of_batch(lines)
    flips = {
        "checkpoint_mismatches": (number, recording.with_sizes(lines[number], "1234", entries=(0, 1))),
        "best_mismatches": (last, recording.with_best_bid(lines[last], "0.001", entry=0)),
        "mirror_mismatches": (last, recording.with_sizes(lines[last], "1234", entries=(0,))),
    }
    assert [recorded_plain[name] for name in flips] == [0, 0, 0]
    assert recorded_plain["decode_failures"] == {}
    for name, (where, line) in flips.items():
        copy = recording.copy_with(recorded, tmp_path / name, where, line)
        code, report = replay(tmp_path, str(copy))
        assert code == 1, name
        assert report[name] >= 1, name


@pytest.mark.recorded
def test_one_changed_size_in_a_copy_of_a_recorded_market_changes_the_digest(
    recorded: Path, recorded_plain: dict[str, Any], tmp_path: Path
) -> None:
    lines = recording.read_lines(recorded)
    number = recording.change_before_checkpoint(lines)
    copy = recording.copy_with(
        recorded, tmp_path / "copy", number, recording.with_sizes(lines[number], "1234", entries=(0, 1))
    )
    _, report = replay(tmp_path, str(copy))
    assert report["digest"] != recorded_plain["digest"]


@pytest.mark.recorded
def test_a_recorded_market_over_sockets_has_the_books_of_full_speed(
    recorded: Path, recorded_plain: dict[str, Any], tmp_path: Path
) -> None:
    # At twenty times the speed five seconds without a first book are a quarter of a second: a busy machine
    # would subscribe again and get one book more.
    config = tmp_path / "patient.toml"
    config.write_text("[feed]\nfirst_event_ms = 60_000\n")
    arguments = ("--config", str(config), "--headless", "--json", "--speed", "20")
    code, out, err = run(tmp_path, *arguments, "--replay", str(recorded))
    assert code == 0, err
    report = report_of(out)
    assert report["orders"] > 0
    if report["reconnects"] == 0 and NOT_COMPARED not in out + err:
        assert {key: report[key] for key in CHECKS} == {key: recorded_plain[key] for key in CHECKS}
