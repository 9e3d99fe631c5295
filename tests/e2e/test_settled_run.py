"""Whole sessions over real sockets with the venue's chain in another process: what is bought becomes dollars,
and the dollars on the chain are those of the ledger.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from invmm.testing import TestVenue

ROOT = Path(__file__).resolve().parents[2]
START_MICRO = 10_000_000_000


def session(folder: Path, *arguments: str) -> dict[str, Any]:
    """The report of a run that ends well."""
    done = subprocess.run(
        [sys.executable, "-m", "invmm.run", "--headless", "--json", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.rstrip("\n").split("\n")[-1])
    return report


def agrees(settled: dict[str, Any]) -> None:
    """By `balanceOf` before and after, by the ledgers, and by the transactions."""
    assert settled["cash_before_micro"] == START_MICRO
    assert settled["cash_after_micro"] == settled["ledger_cash_micro"]
    assert settled["left"] == 0
    merges = [one for one in settled["transactions"] if one["action"] == "merge"]
    assert settled["merges"] == len(merges) > 0
    assert settled["merged_pairs_micro"] == sum(one["paid_micro"] for one in merges)
    assert settled["gas_used"] == sum(one["gas_used"] for one in settled["transactions"]) > 100_000


@pytest.mark.slow
def test_the_default_run_ends_with_the_dollars_that_its_ledger_says(tmp_path: Path) -> None:
    report = session(tmp_path)
    agrees(report["settlement"])
    assert report["failed_checks"] == []
    profit_micro = report["settlement"]["cash_after_micro"] - START_MICRO
    assert report["profit"]["total"] == pytest.approx(profit_micro / 1e6, abs=1e-3)
    assert "Transactions" in next(tmp_path.glob("reports/*.html")).read_text()


@pytest.mark.slow
def test_consecutive_windows_end_with_every_pair_turned_into_cash(tmp_path: Path) -> None:
    report = session(tmp_path, "--series", "btc-updown-5m", "--windows", "3", "--speed", "12")
    agrees(report["settlement"])
    assert (report["unresolved"], report["failed_checks"]) == (0, [])
    profit_micro = report["settlement"]["cash_after_micro"] - START_MICRO
    assert report["profit"] == pytest.approx(profit_micro / 1e6, abs=1e-3)


# ---- by hand -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def venue() -> Iterator[TestVenue]:
    with TestVenue("btc-updown-5m", light=True, seed=7, chain=True) as started:
        yield started


def test_pairs_are_made_and_merged_by_hand_at_the_embedded_venue(venue: TestVenue, tmp_path: Path) -> None:
    slug, key = venue.market().slug, venue.credentials
    clean = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LD_LIBRARY_PATH")}
    keys = {"CLOB_API_KEY": key.api_key, "CLOB_SECRET": key.secret, "CLOB_PASS_PHRASE": key.passphrase}
    who = ["--profile", "loopback", "--port", str(venue.port), "--env", "--state", str(tmp_path / "state")]

    def invmm(*arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "invmm.ops.cli", *arguments, "--json", *who],
            env={**clean, **keys, "PYTHONPATH": str(ROOT), "PK": venue.private_key},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    made = invmm("split", "--market", slug, "--dollars", "25", "--yes")
    assert made["collateral_after_micro"] == START_MICRO - 25_000_000
    merged = invmm("merge", "--yes")
    assert merged["planned"][0]["up_micro"] == 25_000_000, "the venue lists them since it was told to look"
    assert merged["collateral_after_micro"] == START_MICRO
    assert venue.private_key.removeprefix("0x") not in json.dumps([made, merged])
