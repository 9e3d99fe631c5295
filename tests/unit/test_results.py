"""The end of a run: exit code, page, and the words that a person reads."""

from __future__ import annotations

import argparse
import io
import json
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from invmm.ops.page import page
from invmm.ops.results import failed_checks, finish, next_command, show, write_page
from invmm.run import parser
from invmm.settings import Settings
from invmm.settlement.ledger import Ledger
from invmm.types import Outcome
from tests.unit.test_report import result, summary

HOLDS = {
    "step": {
        "frames": 1,
        "solves": 1,
        "suppressed": 0,
        "checkpoints": 1,
        "checkpoint_mismatches": 0,
        "reasons": {},
    }
}


def good(**rest: object):
    made = result(Ledger(), winner=Outcome.UP, cash=1000.0, **rest)
    made.step = HOLDS["step"]
    made.books = made.books | {"mirror_mismatches": 0}
    return made


def options(*arguments: str) -> argparse.Namespace:
    return parser().parse_args(arguments)


def test_a_run_whose_checks_hold_ends_with_zero_and_writes_json_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = options("--json", "--report", str(tmp_path / "report.html"))
    assert finish(given, Settings(), [good()], digest="abc", commands=3) == 0
    told = capsys.readouterr()
    assert told.out.count("\n") == 1
    assert json.loads(told.out)["digest"] == "abc"
    assert f"report: {tmp_path / 'report.html'}\n" in told.err
    assert "\x1b" not in told.err


def test_each_failed_check_is_named_and_makes_the_exit_code_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = result(Ledger(), cash=1000.5, failures={"json": 2})
    assert (
        finish(options("--report", str(tmp_path / "r.html")), Settings(), [bad], digest="", commands=0) == 1
    )
    told = capsys.readouterr().out
    for words in (
        "1 checkpoint mismatches",
        "2 mirror mismatches",
        "decode failures: {'json': 2}",
        "m: not resolved",
        "m: ledger says 1000.000000 dollars, venue says 1000.500000",
    ):
        assert f"FAILED CHECK: {words}\n" in told


def test_an_unresolved_market_is_no_failure_when_it_was_cut_short() -> None:
    made = good()
    made.winner = None
    assert failed_checks(summary(made), [made], complete=False) == []
    assert failed_checks(summary(made), [made], complete=True) == ["m: not resolved"]


def test_digest_and_paths_are_never_broken_or_shortened() -> None:
    written = io.StringIO()
    told = summary(good()) | {"digest": "f" * 64}
    show(Console(file=written, width=40), told)
    assert "f" * 64 in written.getvalue()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--seed", "5", "--day", "jumping"],
        ["--replay", "a b.jsonl.gz"],
        ["--replay", "x", "y", "--speed", "max", "--seed", "3"],
        ["--replay", "x", "--speed", "max", "--policy", "inventory_mm_compatible"],
    ],
)
def test_the_next_command_can_be_typed_and_differs_from_this_one(arguments: list[str]) -> None:
    given = options(*arguments)
    python, module, name, *following = shlex.split(next_command(given))
    assert (python, module, name) == ("python", "-m", "invmm.run")
    parsed = options(*following)
    assert parsed != given
    assert parsed.replay == given.replay


def test_page_is_one_file_that_names_what_failed_and_escapes_what_it_is_told(tmp_path: Path) -> None:
    made = result(Ledger(), slug="<m&m>", cash=1000.0, origin="GENERATED")
    told = summary(made) | {"failed_checks": ["a < b"], "latency_ns": {}}
    text = page(told, [made])
    assert "a &lt; b" in text
    assert "&lt;m&amp;m&gt;" in text
    assert "<m&m>" not in text
    assert "GENERATED" in text
    assert "http" not in text.replace("http-equiv", "")
    path = tmp_path / "a" / "b.html"
    assert write_page(path, told, [made]) == path
    assert path.read_text(encoding="utf-8") == text


def test_a_page_that_cannot_be_written_does_not_end_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert write_page(tmp_path / "file" / "r.html", summary(good()) | {"latency_ns": {}}, [good()]) is None
