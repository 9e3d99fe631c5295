"""Campaigns: the shipped engine on virtual time, with faults; the same seed gives the same bytes."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from invmm.errors import InvmmError
from invmm.sim.campaign import run_seed
from invmm.sim.campaign.command import main, names_of, plan_of, plan_text
from invmm.sim.campaign.hazards import ALL, Planned, draw_plan
from invmm.sim.campaign.report import MUST_BE_ZERO, SeedReport, summary_of
from invmm.sim.campaign.seeds import _played, play_seeds
from invmm.sim.campaign.shrink import shrink
from invmm.sim.campaign.world import World

ROUGH = [
    Planned("lost_answers", 15.0, 25.0, {"rate": 0.5}),
    Planned("user_gap", 30.0, 30.0, {"channel": "user", "refused": 3}),
    Planned("crash", 40.0, 40.0, {"down_s": 1.0}),
]


def test_a_seed_with_faults_and_a_crash_loses_nothing() -> None:
    report = run_seed(3, minutes=1, plan=ROUGH)
    assert not report.counts, report.failures
    assert report.orders > 20
    assert report.fills > 3
    assert report.faults == {"lost_answers": 1, "user_gap": 1, "crash": 1}
    assert report.crash_to_cancel_s


def test_after_a_crash_what_is_heard_of_an_old_order_reaches_its_own_market() -> None:
    crash = [Planned("crash", 25.0, 25.0, {"down_s": 0.2})]  # in the middle of a window, with fills under way
    reports = [run_seed(seed, minutes=0.6, plan=crash) for seed in (18, 3)]
    assert all(not report.counts for report in reports), [report.failures for report in reports]
    assert all(report.crash_to_quoting_s for report in reports)


def test_x3_several_own_orders_in_one_trade_are_so_many_fills() -> None:
    sweeps = Planned("swept_levels", 10.0, 50.0, {"until_s": 50.0, "rate": 0.05})
    world = World(3, [sweeps], 1.0)
    found = world.run()
    assert not found.failures, found.failures
    trades = [
        trade
        for trade in world.server.floor.purses.first.trades
        if sum(world.is_own_leg(leg) for leg in trade.legs) > 1
    ]
    assert len(trades) == world.strangers.swept > 3
    assert any(len({leg.price_e4 for leg in trade.legs}) > 1 for trade in trades)


def test_x3_is_drawn_only_where_it_is_named() -> None:
    assert "swept_levels" not in ALL
    assert names_of("swept_levels") == ("swept_levels",)
    assert draw_plan(4, 10, names_of("all")) == draw_plan(4, 10, ALL)


def test_a_slow_venue_stops_quotes_until_somebody_has_looked_and_that_is_no_false_kill() -> None:
    slow = Planned("slow_answers", 12.0, 70.0, {"rate": 0.3, "seconds": 5.0})
    found = World(3, [slow], 4.0).run()
    assert not found.failures, found.failures
    assert found.kills == {"SLOW_VENUE": 1}
    assert found.alarms == []
    said = " ".join(found.messages)
    assert (
        said.index("(SLOW_VENUE, ") < said.index("the kill level was released") < said.rindex("quoting again")
    )


def test_a_kill_level_that_nothing_explains_is_false() -> None:
    world = World(3, [], 1.5)
    world.loop.call_at(40.0, lambda: world.engine.engine.risk.kill(1, "no reason", "SLOW_VENUE"))
    found = world.run()
    assert found.kills == {}
    assert ["no reason" in text for text in found.alarms] == [True]


def test_equal_seeds_give_equal_bytes_in_every_process() -> None:
    here = run_seed(7, minutes=0.5, plan=ROUGH[:1])
    told = subprocess.run(
        [
            *(sys.executable, "-m", "invmm.sim.campaign", "--seeds", "1", "--first-seed", "7", "--json", "-"),
            *("--minutes", "0.5", "--plan", plan_text(ROUGH[:1])),
        ],
        env=os.environ | {"PYTHONHASHSEED": "99"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(told.stdout)["digest"] == summary_of([here])["digest"]
    assert run_seed(8, minutes=0.5, plan=ROUGH[:1]).digest != here.digest


def test_a_plan_follows_from_its_seed_and_every_tenth_has_none() -> None:
    assert draw_plan(4, 10, ALL) == draw_plan(4, 10, ALL) != draw_plan(5, 10, ALL)
    assert draw_plan(20, 10, ALL) == []
    plan = draw_plan(4, 10, ALL)
    assert plan_of(plan_text(plan)) == plan


def test_the_report_is_flat_and_says_what_must_be_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, kept = tmp_path / "report.json", tmp_path / "kept.jsonl"
    options = ["--seeds", "2", "--minutes", "0.2", "--jobs", "1", "--faults", "lost_answers", "--quiet"]
    assert main([*options, "--json", str(path), "--resume", str(kept)]) == 0
    row = json.loads(path.read_text())
    assert all(not isinstance(value, dict | list) for value in row.values())
    assert all(row[name] == 0 for name in MUST_BE_ZERO)
    assert row["seeds"] == 2
    lines = kept.read_bytes().splitlines(keepends=True)
    assert len(lines) == 3, "what the seeds depend on, and one line for each"
    kept.write_bytes(b"".join(lines[:2]) + lines[2][:40])  # killed while it wrote the second
    assert main([*options, "--json", "-", "--resume", str(kept)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["digest"] == row["digest"]
    assert main(["--faults", "gravity"]) == 2
    assert main([*options, "--faults", "none", "--resume", str(kept)]) == 2
    assert "another faults" in capsys.readouterr().err
    assert main([*options, "--write", str(tmp_path / "none.md")]) == 2
    assert main([*options, "--resume", str(kept), "--json", str(tmp_path / "no" / "folder.json")]) == 2
    assert main([*options, "--jobs", "-1"]) == 2
    readme = tmp_path / "README.md"
    readme.write_text("before <!-- campaign -->old<!-- /campaign --> after")
    assert main([*options, "--write", str(readme), "--resume", str(kept)]) == 0
    text = readme.read_text()
    assert text.startswith("before")
    assert "old" not in text
    assert "| lost fills | 0 |" in text


def test_an_interrupted_campaign_keeps_what_it_has_and_goes_on(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    command = [sys.executable, "-m", "invmm.sim.campaign", "--seeds", "40", "--minutes", "0.2", "--jobs", "2"]
    with subprocess.Popen(
        [*command, "--resume", str(kept)], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while not kept.exists() or kept.read_bytes().count(b"\n") < 3:
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert told == f"campaign: interrupted; the same command goes on from {kept}\n"
    seeds = [json.loads(line)["seed"] for line in kept.read_bytes().splitlines()[1:]]
    assert 2 <= len(seeds) < 40
    again = play_seeds(range(3), minutes=0.2, faults=ALL, kept=kept)
    assert [one.seed for one in again] == [0, 1, 2]
    assert again == play_seeds(range(3), minutes=0.2, faults=ALL, kept=kept), "read and played are the same"


def mask(seed: int) -> Any:
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_terminals_ctrl_c_is_the_commands_to_answer_not_its_processes() -> None:
    assert signal.SIGINT not in mask(0)
    assert all(signal.SIGINT in held for held in _played(mask, (1, 2), jobs=2))
    assert signal.SIGINT not in mask(0)


def test_a_process_that_is_killed_ends_the_campaign_with_a_word(tmp_path: Path) -> None:
    def killed(report: SeedReport, is_reused: bool) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(InvmmError, match="was killed"):
        play_seeds(range(30), minutes=0.2, faults=ALL, jobs=2, kept=tmp_path / "kept", tell=killed)
    assert len((tmp_path / "kept").read_bytes().splitlines()) >= 2


def test_a_seeded_bug_is_found_and_its_plan_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    from invmm.execution import answers, follow
    from invmm.types import OrderStatus

    def harmed(code: int, body: bytes, asked: list[answers.Asked]) -> list[answers.Verdict]:
        verdicts = placed(code, body, asked)
        dead = answers.Verdict(OrderStatus.REJECTED)
        return [dead if one.status == OrderStatus.UNKNOWN else one for one in verdicts]

    placed = answers.placed
    monkeypatch.setattr(follow.answers, "placed", harmed)
    lost = Planned("lost_answers", 8.0, 14.0, {"rate": 1.0})
    deaf = Planned("lost_events", 8.0, 14.0, {"rate": 1.0, "event": None})
    plan = [Planned("repeated_events", 3.0, 9.0, {"rate": 0.2, "seconds": 3}), lost, deaf]
    small = shrink(3, 0.3, plan=plan)
    assert small is not None
    assert small.counts.get("orphans")
    assert "repeated_events" not in [planned.name for planned in small.plan]


@pytest.mark.slow
def test_a_campaign_of_all_faults_finds_nothing() -> None:
    summary = summary_of([run_seed(seed, minutes=10) for seed in range(50)])
    assert not [name for name in MUST_BE_ZERO if summary[name]], summary
