"""`invmm config`: checks, describes and begins a settings file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from invmm.ops import cli, config
from invmm.settings import Settings


def test_what_init_writes_is_valid_complete_and_all_defaults(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    assert cli.main(["config", "init", str(path)]) == 0
    assert Settings.load(path) == Settings()
    text = path.read_text()
    for table in dataclasses.fields(Settings):
        assert f"\n[{table.name}]\n" in text
        for key in dataclasses.fields(getattr(Settings(), table.name)):
            assert f"\n{key.name} = " in text
    assert max(map(len, text.splitlines())) <= 110


def test_init_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[risk]\n")
    assert cli.main(["config", "init", str(path)]) == 2
    assert "expected no file of this name" in capsys.readouterr().err
    assert path.read_text() == "[risk]\n"


def test_every_action_answers_in_json_when_asked_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "my.toml")
    assert config.main(["init", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": path}
    assert config.main(["init", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"text": Path(path).read_text()}
    assert config.main(["schema", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "invmm settings"
    assert config.main(["check", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[path]["risk"]["max_order_shares"] > 0


def test_check_lists_what_differs_from_the_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my.toml"
    path.write_text('[risk]\nmax_open_orders = 6\n[market]\nseries = "eth-updown-15m"\n')
    assert cli.main(["config", "check", str(path)]) == 0
    out = capsys.readouterr().out
    assert f"{path}: valid, 2 settings differ" in out
    assert "[risk] max_open_orders = 6  (default 24)" in out
    assert '[market] series = "eth-updown-15m"' in out
    assert cli.main(["config", "check", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told[str(path)]["risk"]["max_open_orders"] == 6
    assert told[str(path)]["engine"]["timer_ms"] == Settings().engine.timer_ms


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("[risk]\n\nmax_open_orders = 600\n", 3, "expected 1…64 orders, found 600"),
        ("[risk]\nmax_oders = 6\n", 2, "unknown key"),
        ("[engine]\ntimer_ms = 5\n[riks]\n", 3, "expected one of the tables"),
        ('[wallet]\nprivate_key = "x"\n', 2, "secrets are not kept in settings"),
    ],
)
def test_check_names_file_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, line: int, says: str
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    assert cli.main(["config", "check", str(path)]) == 2
    err = capsys.readouterr().err
    assert f"{path}:{line}: " in err
    assert says in err


def test_the_schema_agrees_with_what_the_settings_accept() -> None:
    tables = config.schema()["properties"]
    for table in dataclasses.fields(Settings):
        properties = tables[table.name]["properties"]
        for key in dataclasses.fields(getattr(Settings(), table.name)):
            described = properties[key.name]
            assert described["default"] == getattr(getattr(Settings(), table.name), key.name)
            for bound in ("minimum", "maximum"):
                if bound in described:
                    Settings.parse(f"[{table.name}]\n{key.name} = {type(key.default)(described[bound])!r}\n")
