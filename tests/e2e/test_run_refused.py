"""What `python -m invmm.run` refuses: every kind of bad input is named on one line, with exit code 2."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from invmm.run import main
from tests.e2e.test_run import run
from tests.reference import recording


def failed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `main` writes to standard error when it refuses its arguments with exit code 2: one line."""
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("invmm: ")
    assert told.err.count("\n") == 1
    return told.err


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recording.write_market(tmp_path_factory.mktemp("recorded"))


def test_unknown_flag_ends_with_code_two_and_usage(tmp_path: Path) -> None:
    code, out, err = run(tmp_path, "--sped", "3")
    assert (code, out) == (2, "")
    assert "--sped" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_missing_file_is_named_by_the_process_without_a_traceback(tmp_path: Path) -> None:
    code, out, err = run(tmp_path, "--replay", "nowhere.jsonl.gz", "--speed", "max")
    assert (code, out) == (2, "")
    assert err == "invmm: nowhere.jsonl.gz: no such file or folder\n"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--speed", "fast"], "--speed"),
        (["--speed", "0"], "speed"),
        (["--speed", "nan"], "speed"),
        (["--duration", "0"], "--duration"),
        (["--duration", "inf"], "--duration"),
        (["--duration", "nan"], "--duration"),
        (["--seed", "-1"], "--seed"),
        (["--policy", "luck"], "policy"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_wrong_values_are_named_on_one_line(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert named in failed(capsys, *arguments)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[engine]\ntimer_ms = 50\nbook_age = 3\n", ":3: [engine] book_age"),
        ("[risk]\n\nmax_cash_dollars = -1\n", ":3: [risk] max_cash_dollars"),
        ("[riks]\n", ":1: "),
        ("[sim\n", "line 1"),
        ("[executor]\nring_capacity = 1000\n", ":2: [executor] ring_capacity"),
        ("[engine]\ntimer_ms = 'often'\n", ":2: [engine] timer_ms"),
    ],
)
def test_wrong_settings_are_named_with_file_and_line(
    text: str, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my.toml"
    path.write_text(text)
    told = failed(capsys, "--config", str(path))
    assert str(path) in told
    assert named in told


def test_replay_without_a_path_or_variable_says_what_is_expected(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("INVMM_RECORDED", raising=False)
    assert "INVMM_RECORDED" in failed(capsys, "--speed", "max", "--replay")


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(b'{"recv":1,"src":"rec","frame":[]}\n' * 5000)[:60],
        b"not gzip at all",
        gzip.compress(b"garbage\n"),
        gzip.compress(b'{"recv":1e999,"src":"rec","frame":{}}\n'),
        gzip.compress(b'{"recv":"soon","src":"rec","frame":{}}\n'),
        gzip.compress(b'{"recv":1}\n'),
        gzip.compress(b"\xff\xfe\x00\n"),
        gzip.compress(b"[" * 100_000 + b"\n"),
        gzip.compress(b"\n\n"),
        gzip.compress(b""),
    ],
    ids=[
        "truncated",
        "no gzip",
        "garbage",
        "infinite time",
        "wrong time",
        "no frame",
        "no text",
        "deep",
        "blank",
        "empty",
    ],
)
@pytest.mark.parametrize("speed", ["max", "50"])
def test_damaged_recordings_are_named_on_one_line(
    content: bytes, speed: str, market: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / market.name
    path.write_bytes(content)
    (tmp_path / "markets.json").write_bytes((market.parent / "markets.json").read_bytes())
    assert str(path) in failed(capsys, "--speed", speed, "--replay", str(path))
