"""`python -m invmm.run --faults SEED`: whatever goes wrong, it ends clean, and its ledger is the venue's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_run import report_of, run
from tests.reference import recording


def faulty(folder: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    code, out, err = run(folder, "--headless", "--json", *arguments)
    assert out, err
    report = report_of(out)
    assert code == 0, err
    assert report["clean"] is True, report["messages"]
    assert report["failed_checks"] == [], report["messages"]
    told = sum(line.startswith("FAULT: ") for line in report["messages"])
    assert sum(report["faults"].values()) == told > 0
    return report, err


def test_a_short_market_ends_clean_whatever_goes_wrong(tmp_path: Path) -> None:
    market = recording.write_market(tmp_path)
    some = ("--speed", "15", "--duration", "45", "--replay", str(market))
    report, err = faulty(tmp_path, "--faults", "5", *some)
    assert report["reconciled"] is True
    assert "faults" in err


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_generated_market_ends_clean_whatever_goes_wrong(tmp_path: Path, seed: int) -> None:
    report, _ = faulty(tmp_path, "--faults", str(seed), "--seed", str(seed + 1), "--speed", "10")
    assert report["reconciled"] is True
    assert len(report["faults"]) > 8
    assert report["orders"] > 0


@pytest.mark.slow
def test_windows_of_a_series_end_clean_whatever_goes_wrong(tmp_path: Path) -> None:
    report, _ = faulty(
        tmp_path, "--faults", "9", "--speed", "15", "--series", "btc-updown-5m", "--windows", "2"
    )
    assert report["alive_at_the_end"] == 0
    assert len(report["windows"]) == 2
