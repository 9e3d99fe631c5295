"""The comparison's runner: what is planned, kept, refused, tuned, opened and said."""

from __future__ import annotations

import json
import math
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from invmm.errors import ConfigError, DataError, InvmmError
from invmm.replay import compare, compare_markets, compare_plan, compare_text, tuning
from invmm.replay.compare_markets import generated, recorded
from invmm.replay.compare_options import parser
from invmm.replay.compare_plan import HEADLINE, VARIANTS, Plan, Planned, play
from invmm.replay.compare_report import rebates_paid, report, zero_at
from invmm.replay.entrants import entrant
from invmm.replay.trial import Conditions
from invmm.settings import Settings

PROFITS = {"do_nothing": 0.0, "join_touch": -3.0, "inventory_mm": -1.0, "pairs": 2.0}


def row(label: str, source: str, case: str = HEADLINE, **changed: Any) -> dict[str, Any]:
    """A trial's row as `play_trial` gives it, with profits that differ by policy and a little by market."""
    seed = int(source.partition(":")[2].partition("@")[0])
    fills = 0 if label == "do_nothing" else 10
    told: dict[str, Any] = {
        "label": label,
        "case": case,
        "source": source,
        "policy": label,
        "market": source,
        "origin": "GENERATED",
        "start_s": 0,
        "winner": "Up",
        "winner_inferred": False,
        "reconciled": True,
        "profit_dollars": PROFITS[label] + (math.sin(seed) if fills else 0.0),
        "pairs_dollars": 1.0,
        "orphans_dollars": -1.0,
        "fees_dollars": 0.0,
        "rebates_dollars": 0.25 if fills else 0.0,
        "fills": fills,
        "failed_fills": 0,
        "orders": 2 * fills,
        "messages": 3 * fills,
        "bought_shares": 10.0 * fills,
        "sold_shares": 0.0,
        "maker_shares": 8.0 * fills,
        "traded_shares": 1_000.0,
        "own_share": fills / 100,
        "pairs": 4.0 * fills,
        "pair_cost": 0.99 if fills else None,
        "pairs_at_or_above_one": 1.0,
        "pairs_at_or_above_one_dollars": -0.1,
        "final_imbalance_shares": -2.0 * fills,
        "max_committed_dollars": 50.0,
        "reasons": {"lead": 2},
    }
    for name in ("1s", "5s", "30s", "resolution"):
        told |= {
            f"markout_{name}_{unit}": value for unit, value in (("cents", -0.5), ("shares", 10.0 * fills))
        }
        told[f"markout_{name}_fills"] = fills
    return told | changed


def fake_trial(
    tape: Any, text: str, settings: Any, conditions: Conditions, seed: int, **_: Any
) -> dict[str, Any]:
    told = row(entrant(text).name, f"generated:{seed}")
    return {key: value for key, value in told.items() if key not in ("label", "case", "source")}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Trials that take no time, in this process; the markets that were played."""
    played: list[str] = []

    def fetch(source: str) -> str:
        played.append(source)
        return source

    monkeypatch.setattr(compare_plan, "play_trial", fake_trial)
    monkeypatch.setattr(compare_plan, "tape_of", fetch)
    return played


COMMAND = ["--generated", "12", "--jobs", "1", "--policies", "inventory_mm,pairs", "--quiet"]


def test_a_comparison_says_who_is_better_and_by_how_much(quick: list[str], tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    assert compare.main([*COMMAND, "--json", str(out), "--html", str(tmp_path / "page.html")]) == 0
    told = json.loads(out.read_text())
    pairs = told["policies"]["pairs"]
    assert list(told["policies"]) == ["do_nothing", "join_touch", "inventory_mm", "pairs"]
    assert pairs["difference"]["mean"] == pytest.approx(3.0)
    assert (pairs["difference"]["verdict"], pairs["difference"]["n"]) == ("better", 12)
    assert told["policies"]["join_touch"]["difference"]["verdict"] == "worse"
    assert told["against"]["pairs"]["join_touch"]["mean"] == pytest.approx(5.0)
    assert pairs["figures"]["messages_per_fill"] == pytest.approx(3.0)
    assert pairs["figures"]["own_share_flagged"] == 12
    assert pairs["figures"]["one_sided_share"] == pytest.approx(0.2)
    assert pairs["markouts"]["resolution"]["mean"] == pytest.approx(-0.5)
    assert told["policies"]["do_nothing"]["markouts"]["1s"]["mean"] is None
    assert len(told["markets"]) == 12
    assert told["generator"] == compare_markets.generator_fingerprint()
    assert any("impact" in each for each in told["caveats"])
    assert "pairs" in (tmp_path / "page.html").read_text()


def test_variants_change_one_condition_each_and_say_on_how_many_markets(
    quick: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "report.json"
    options = ["--variants", "all", "--variant-markets", "5", "--toxicity-markets", "3", "--json", str(out)]
    assert compare.main([*COMMAND, *options]) == 0
    told = json.loads(out.read_text())
    assert [each["n"] for each in told["variants"]] == [5] * (2 + len(VARIANTS))
    names = " ".join(each["name"] for each in told["variants"])
    for words in ("with rebates", "proportional", "0 ms", "150 ms", "500 ms", "5 %", "30 %", "× 5"):
        assert words in names
    rebates = told["variants"][1]["policies"]["pairs"]["profit"]["mean"]
    headline = told["variants"][0]["policies"]["pairs"]["profit"]["mean"]
    assert rebates - headline == pytest.approx(0.25)  # 5 markets of 0.25 are more than the minimum of a day
    assert told["toxicity"]["n"] == 3
    assert told["toxicity"]["policies"]["pairs"]["zero_words"] == "profit at all"
    text = compare_text.text(told)
    assert "latency 500 ms" in text
    assert "informed flow" in text


def test_less_than_a_dollar_of_rebates_a_day_is_not_paid() -> None:
    rows = [row("pairs", f"generated:{seed}") for seed in range(3)]
    assert rebates_paid(rows) == [0.0, 0.0, 0.0]
    rows = [
        {**each, "origin": "RECORDED", "start_s": day * 86_400}
        for each, day in zip(rows * 2, "001111", strict=True)
        for day in [int(day)]
    ]
    assert rebates_paid(rows) == [0.0, 0.0, 0.25, 0.25, 0.25, 0.25]


def test_profit_is_zero_where_its_line_falls_through_it() -> None:
    assert zero_at([0, 1, 2], [-1.0, -2.0, -3.0]) is None
    assert zero_at([0, 1, 2], [1.0, 2.0, 3.0]) is None
    assert zero_at([0.0, 0.5, 1.0], [2.0, 1.0, -1.0]) == pytest.approx(0.75)


def test_finished_trials_are_gone_on_with_and_others_refused(
    quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "trials.jsonl"
    command = [*COMMAND, "--resume", str(kept), "--json", str(tmp_path / "a.json")]
    assert compare.main(command) == 0
    whole = kept.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 1 + 12 * 4
    kept.write_bytes(b"".join(lines[:30]) + lines[30][:20])  # killed while it wrote
    quick.clear()
    assert compare.main([*command[:-1], str(tmp_path / "b.json")]) == 0
    assert len(quick) < 12
    a, b = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert a["policies"] == b["policies"]
    assert sorted(kept.read_bytes().splitlines()) == sorted(whole.splitlines())
    assert compare.main([*command, "--base", "pairs", "--policies", "pairs"]) == 2
    assert "other policies, markets or conditions" in capsys.readouterr().err
    kept.write_bytes(b"{}\n")
    assert compare.main(command) == 2
    assert "not a file of finished trials" in capsys.readouterr().err


def test_a_trial_that_fails_is_named_and_the_others_are_kept(
    quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(tape: Any, text: str, settings: Any, conditions: Any, seed: int, **_: Any) -> dict[str, Any]:
        if text == "pairs" and seed == 1_000_003:
            raise DataError("no such luck")
        return fake_trial(tape, text, settings, conditions, seed)

    monkeypatch.setattr(compare_plan, "play_trial", failing)
    kept = tmp_path / "trials.jsonl"
    assert compare.main([*COMMAND, "--resume", str(kept)]) == 1
    said = capsys.readouterr().err
    assert "1 of 48 trials failed" in said
    assert "pairs on generated:1000003" in said
    assert "no such luck" in said
    assert len(kept.read_bytes().splitlines()) == 48  # the head, and all but one


def test_ctrl_c_says_how_to_go_on(
    quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(compare_plan, "play_trial", interrupted)
    kept = tmp_path / "trials.jsonl"
    assert compare.main([*COMMAND, "--resume", str(kept)]) == 130
    assert f"goes on from {kept}" in capsys.readouterr().err


def test_every_policy_gets_the_same_number_of_tries_and_the_first_is_as_it_ships() -> None:
    for name in tuning.SPACES:
        points = tuning.tries(name, 5, seed=1)
        assert len(points) == 5
        assert points[0] == {}
        assert points == tuning.tries(name, 5, seed=1)
        who = entrant(name)
        for point in points:
            text = tuning.with_parameters(who, point)
            settings = entrant(text).settings(Settings())
            assert entrant(text).name == name
            assert settings.strategy.order_size == Settings().strategy.order_size


def test_tuning_writes_what_a_comparison_reads(
    quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def better(
        tape: Any, text: str, settings: Settings, conditions: Any, seed: int, **_: Any
    ) -> dict[str, Any]:
        told = fake_trial(tape, text, settings, conditions, seed)
        return told | {"profit_dollars": -abs(settings_of(text).pairs.min_edge - 0.025)}

    def settings_of(text: str) -> Settings:
        return entrant(text).settings(Settings())

    monkeypatch.setattr(compare_plan, "play_trial", better)
    file = tmp_path / "tuned.json"
    tune = ["--tune", "6", "--tuned", str(file), "--generated", "2", "--jobs", "1", "--quiet"]
    assert compare.main([*tune, "--policies", "pairs"]) == 0
    told = json.loads(file.read_text())
    pairs = told["policies"]["pairs"]
    assert told["trials"] == 6
    assert [len(each["tried"]) for each in told["policies"].values()] == [6] * 4
    texts = [tuning.with_parameters(entrant("pairs"), each["parameters"]) for each in pairs["tried"]]
    away = [abs(settings_of(each).pairs.min_edge - 0.025) for each in texts]
    assert -pairs["profit"] == pytest.approx(min(away))
    assert abs(settings_of(pairs["text"]).pairs.min_edge - 0.025) == pytest.approx(min(away))
    assert all(source.removeprefix("generated:").isdecimal() for source in quick)
    assert max(int(source.removeprefix("generated:")) for source in quick) < compare_markets.FRESH_SEED
    out = tmp_path / "report.json"
    monkeypatch.setattr(compare_plan, "play_trial", fake_trial)
    assert compare.main([*COMMAND, "--tuned", str(file), "--json", str(out)]) == 0
    report_told = json.loads(out.read_text())
    assert report_told["tuning"]["trials"] == 6
    assert report_told["tuning"]["chosen"]["pairs"] == pairs["text"]
    assert compare.main([*tune, "--first-seed", "1000000"]) == 2
    assert "expected seeds below 1000000" in capsys.readouterr().err
    file.write_text('{"tuned": 9}')
    assert compare.main([*COMMAND, "--tuned", str(file)]) == 2


def test_seeds_are_either_for_tuning_or_decide() -> None:
    assert generated(3, 5).part == "tuning"
    assert generated(3).part == "deciding"
    with pytest.raises(ConfigError, match="all below"):
        generated(3, 999_999)
    assert generated(2, 7).seed_of("generated:8@1.5") == 8


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    """A folder of five recorded markets, not in the order of their names."""
    starts = {"e": 100, "d": 200, "c": 300, "b": 400, "a": 500}
    for slug in starts:
        (tmp_path / f"{slug}.jsonl").write_text("")
    markets = [{"slug": slug, "start": start} for slug, start in starts.items()]
    (tmp_path / "markets.json").write_text(json.dumps({"markets": markets}))
    return tmp_path


def test_recorded_markets_are_split_by_time(listing: Path) -> None:
    first, last = recorded([listing], held_back=False), recorded([listing], held_back=True)
    assert [Path(each).stem for each in first.sources] == ["e", "d"]
    assert [Path(each).stem for each in last.sources] == ["c", "b", "a"]
    assert (first.part, last.part) == ("tuning", "held back")


def _git(folder: Path, *words: str) -> None:
    name = ["-c", "user.name=x", "-c", "user.email=x@x.example"]
    subprocess.run(["git", *name, *words], cwd=folder, check=True, capture_output=True)


def test_an_opening_needs_a_clean_commit_and_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "invmm"
    package.mkdir()
    (package / "__init__.py").write_text("")
    _git(tmp_path, "init", "-q")
    ledger = tmp_path / "docs" / "openings.jsonl"
    opened = partial(
        compare_markets.open_held_back, ledger, policies=["pairs"], tuned="d1", trials=8, markets=9
    )
    monkeypatch.setattr("invmm.research.provenance.invmm.__file__", str(package / "__init__.py"))
    with pytest.raises(ConfigError, match="git checkout"):
        opened()
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-qm", "x")
    opened()
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-qm", "y")
    opened()  # the ledger itself has changed since: that is no change of the code
    opened()
    (package / "__init__.py").write_text("#")
    with pytest.raises(ConfigError, match="clean checkout"):
        opened()
    found = compare_markets.openings(ledger)
    assert [each["trials"] for each in found] == [8, 8, 8]
    assert found[0]["policies"] == ["pairs"]
    ledger.write_text("nonsense\n")
    with pytest.raises(DataError, match="expected an opening"):
        compare_markets.openings(ledger)


def test_tables_go_between_the_marks_of_a_markdown_file(quick: list[str], tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text("# Before\n")
    assert compare.main([*COMMAND, "--write", str(file)]) == 2
    assert not quick  # said before anything was played
    first, last = compare_text.marks("generated")
    file.write_text(f"# Before\n{first}\nold\n{last}\n# After\n")
    assert compare.main([*COMMAND, "--write", str(file)]) == 0
    told = file.read_text()
    assert told.startswith(f"# Before\n{first}\n")
    assert told.endswith(f"{last}\n# After\n")
    assert "old" not in told.split()
    assert "| pairs |" in told
    assert "Our own impact is not in it" in told
    assert compare.main([*COMMAND, "--write", str(file)]) == 0  # and again
    assert file.read_text() == told


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--generated", "0"], "1 or more"),
        (["--generated", "2", "--jobs", "0"], "--jobs: expected at least 1"),
        (["--generated", "2", "--tune", "3"], "--tuned FILE"),
        (["--generated", "2", "--open-held-back"], "expected with --data"),
        (["--data", "/nowhere", "--first-seed", "3"], "expected with --generated"),
        (["--data", "/nowhere"], "no such file"),
        (["--generated", "2", "--policies", "nobody"], "expected one of"),
        (["--generated", "2", "--policies", "pairs:min_edge=7"], "min_edge"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_played(
    quick: list[str], wrong: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main(wrong) == 2
    assert said in capsys.readouterr().err
    assert not quick


def test_the_help_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--help"])
    text = capsys.readouterr().out
    for action in parser()._actions:
        assert action.help
        assert action.option_strings[-1] in text


@pytest.mark.slow
def test_processes_and_one_process_give_equal_rows() -> None:
    trials = tuple(
        Planned("generated:1", name, name, HEADLINE, Conditions(), 1) for name in ("pairs", "glft")
    )
    assert play(Plan(trials), Settings(), jobs=2) == play(Plan(trials), Settings(), jobs=1)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_trial_that_cannot_be_played_is_named_by_any_number_of_processes(jobs: int) -> None:
    trials = (Planned("generated:x", "pairs", "pairs", HEADLINE, Conditions(), 1),)
    with pytest.raises(InvmmError, match="1 of 1 trials failed; the first: pairs on generated:x"):
        play(Plan(trials), Settings(), jobs=jobs)


def test_recorded_winners_that_were_inferred_are_marked() -> None:
    rows = [
        row(label, "generated:1", origin="RECORDED", market="btc-1", winner_inferred=True)
        for label in ("inventory_mm", "pairs")
    ]
    about = {
        "source": {"kind": "recorded", "part": "tuning", "words": "1 recorded market"},
        "rules": compare_text.RULES_RECORDED,
        "caveats": list(compare_text.CAVEATS),
        "commit": "c",
        "dirty": False,
        "generator": "g",
        "tuning": None,
        "openings": [],
        "bootstrap": {"block": 1, "draws": 1, "seed": 1},
    }
    told = report(rows, "inventory_mm", about)
    assert told["inferred_winners"] == ["btc-1"]
    text = compare_text.text(told)
    assert "inferred" in text
    assert "April 2026" in text
