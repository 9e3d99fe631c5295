"""The probes against the embedded venue: one that is as assumed, and one that violates each assumption."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from invmm.ops.probe import Report, probe_market
from invmm.sim.profile import VenueProfile
from invmm.testing import Series as ServedSeries
from invmm.testing import TestVenue
from invmm.venue.auth import OrderSigner
from invmm.venue.identity import Identity
from invmm.venue.probes import PROBES, Purse, PurseEmpty, Result, Verdict


def ask(
    *names: str,
    speed: float = 20.0,
    cap_dollars: float = 1.0,
    profile: VenueProfile | None = None,
    arrange: Callable[[TestVenue], Any] = lambda _: None,
) -> tuple[Report, dict[str, Result], dict[str, Any]]:
    served = ServedSeries("btc-updown-15m", tape="light")
    with TestVenue(served, speed=speed, profile=profile) as venue:
        info = venue.market(1)
        arrange(venue)
        signer = OrderSigner(venue.private_key)
        identity = Identity(signer, venue.credentials, signer.address, signer.address, 0, None, {})
        report = asyncio.run(
            probe_market(venue.profile, identity, info, venue.clock(), list(names), cap_dollars)
        )
        truth = venue.truth()
    return report, {result.name: result for result in report.results}, truth


def open_orders(truth: dict[str, Any]) -> list[Any]:
    return [order for order in truth["orders"] if order["state"] in ("LIVE", "DELAYED")]


def test_a_venue_that_is_as_assumed_is_confirmed_and_left_as_it_was() -> None:
    names = [name for name in PROBES if name != "clock"]  # the venue's clock runs faster than ours here
    report, results, truth = ask(*names)
    told = {name: result.verdict for name, result in results.items()}
    undetermined = {"refusals", "trades", "balance-gate"}
    assert {name for name, verdict in told.items() if verdict is Verdict.UNDETERMINED} == undetermined, (
        results
    )
    assert not [name for name, verdict in told.items() if verdict is Verdict.VIOLATED], results
    assert report.left == []
    assert open_orders(truth) == []
    assert truth["trades"] == []
    assert report.facts["spent_dollars"] == 0
    assert all(result.at.endswith("+00:00") for result in results.values())


def test_the_clock_is_confirmed_where_it_runs_as_ours() -> None:
    _, results, _ = ask("clock", speed=1.0)
    assert results["clock"].verdict is Verdict.CONFIRMED


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("duplicate", VenueProfile(refuses_duplicates=False)),
        ("duplicate-after-cancel", VenueProfile(refuses_duplicates=False)),
        ("gtd-lead", VenueProfile(gtd_min_ahead_s=60)),
        ("gtd-early", VenueProfile(gtd_early_s=0)),
        ("order-id", VenueProfile(renames_orders=True)),
        ("cancel-final", VenueProfile(forgets_cancels=True)),
        ("order-age", VenueProfile(order_age_limit_s=30)),
        ("heartbeat", VenueProfile(heartbeat_limit_s=60)),
    ],
)
def test_a_venue_that_violates_an_assumption_is_found_out(name: str, profile: VenueProfile) -> None:
    report, results, _ = ask(name, profile=profile)
    assert results[name].verdict is Verdict.VIOLATED, results[name]
    assert report.facts["spent_dollars"] == 0


def test_an_order_that_is_taken_although_the_answer_says_try_later_is_found_out() -> None:
    _, results, truth = ask(
        "refusals", arrange=lambda venue: venue.fault("http", status=425, done=True, path="/orders", count=1)
    )
    assert results["refusals"].verdict is Verdict.VIOLATED, results
    assert open_orders(truth) == []


def test_an_order_that_is_not_taken_when_the_answer_says_try_later_confirms() -> None:
    _, results, _ = ask(
        "refusals", arrange=lambda venue: venue.fault("http", status=425, path="/orders", count=1)
    )
    assert results["refusals"].verdict is Verdict.CONFIRMED, results


def test_a_clock_that_is_wrong_and_a_version_that_is_unknown_are_found_out() -> None:
    def arrange(venue: TestVenue) -> None:
        venue.fault("clock_offset", seconds=7, rate=1)
        venue.fault("version", rate=1)

    _, results, _ = ask("clock", "version", speed=1.0, arrange=arrange)
    assert results["clock"].verdict is Verdict.VIOLATED
    assert results["version"].verdict is not Verdict.CONFIRMED


def test_nothing_is_sent_beyond_the_cap() -> None:
    _, results, truth = ask("order-id", "duplicate", cap_dollars=0.04)
    assert {result.verdict for result in results.values()} == {Verdict.UNDETERMINED}
    assert {result.observed for result in results.values()} == {"the spending cap does not cover it"}
    assert truth["orders"] == []


def test_the_balance_gate_is_asked_for_where_the_cap_covers_it() -> None:
    _, results, _ = ask("balance-gate", cap_dollars=5.0, profile=VenueProfile(collateral_micro=2_000_000))
    assert results["balance-gate"].verdict is Verdict.CONFIRMED, results


def test_a_purse_counts_the_worst_case_of_everything_that_is_not_proven_dead() -> None:
    purse = Purse(100)
    purse.reserve("a", 60)
    with pytest.raises(PurseEmpty):
        purse.reserve("b", 41)
    purse.release("a", 50)
    purse.reserve("b", 50)
    with pytest.raises(PurseEmpty):
        purse.reserve("b", 1)
    assert purse.spent_micro == 50


def command(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "invmm.ops.cli", "probe", *arguments],
        capture_output=True, text=True, timeout=120, check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith("INVMM_LIVE")} | environ,
    )  # fmt: skip


def test_the_command_adds_dated_results_to_its_file(tmp_path: Path) -> None:
    out = tmp_path / "probe.json"
    with TestVenue(ServedSeries("btc-updown-15m", tape="light")) as venue:
        venue.market()
        key = venue.credentials
        environ = {
            "POLYMARKET_PRIVATE_KEY": venue.private_key,
            "CLOB_API_KEY": key.api_key,
            "CLOB_SECRET": key.secret,
            "CLOB_PASS_PHRASE": key.passphrase,
        }
        arguments = (
            *("--profile", "loopback", "--port", str(venue.port), "--series", "btc-updown-15m", "--env"),
            *("--only", "order-id,clock,version", "--out", str(out), "--yes", "--json"),
        )
        for runs in (1, 2):
            done = command(*arguments, **environ)
            assert done.returncode == 0, done.stderr
            kept = json.loads(out.read_text())["runs"]
            assert len(kept) == runs
            assert kept[-1] == json.loads(done.stdout)
        assert [result["verdict"] for result in kept[-1]["results"]] == ["confirmed"] * 3
        assert {each["verdict"] for each in kept[-1]["not_asked"]} == {"undetermined"}
        for secret in (venue.private_key, venue.private_key[2:], key.secret, key.passphrase):
            assert secret not in out.read_text() + done.stdout + done.stderr
        assert command(*(each for each in arguments if each != "--yes"), **environ).returncode == 3


def test_the_live_venue_is_not_asked_without_both_parts_of_the_arming() -> None:
    for arguments, says in ((("--yes",), "not armed"), ((), "expected --yes"), (("--only", "x"), "--only")):
        done = command(*arguments)
        assert done.returncode == (2 if says == "--only" else 3)
        assert says in done.stderr
