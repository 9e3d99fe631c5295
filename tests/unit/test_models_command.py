"""`invmm models`: what there is, what is chosen, what cannot be used."""

from __future__ import annotations

import json

import pytest

from invmm.models import BaseInventoryModel, ModelFactory
from invmm.ops import cli


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INVENTORY_MODEL", raising=False)
    monkeypatch.setattr(ModelFactory, "_models", dict(ModelFactory._models))


class Failing(BaseInventoryModel):
    """Cannot be made."""

    def __init__(self, config):
        raise KeyError("a secret")

    def calculate_lp_ranges(self, *arguments):
        return None


def listed(capsys, *arguments):
    code = cli.main(["models", "--json", *arguments])
    told = json.loads(capsys.readouterr().out)
    return code, told["chosen"], {row["model"]: row for row in told["models"]}


def test_every_model_is_listed_with_its_policy_and_parameters(capsys, monkeypatch):
    monkeypatch.setenv("BASE_SPREAD", "0.02")
    code, chosen, rows = listed(capsys)
    assert (code, chosen) == (0, "AvellanedaStoikovModel")
    assert {name: row["policy"] for name, row in rows.items()} == {
        "AvellanedaStoikovModel": "avellaneda_stoikov",
        "SimpleModel": "simple",
        "GLFTModel": "glft",
        "MeanReversionModel": "model",
    }
    assert rows["GLFTModel"]["parameters"]["base_spread"] == 0.02
    assert [name for name, row in rows.items() if row["chosen"]] == ["AvellanedaStoikovModel"]
    assert all(row["compiled"] and row["error"] is None for row in rows.values())


def test_the_table_marks_what_is_chosen(capsys, tmp_path):
    (tmp_path / "my.toml").write_text('[model.params]\nINVENTORY_MODEL = "SimpleModel"\n')
    assert cli.main(["models", "--config", "my.toml"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[1] for line in out.splitlines() if line.startswith("→")] == ["SimpleModel"]
    assert "chosen: SimpleModel (base_range 0.05, " in out


def test_a_model_that_cannot_be_used_says_why_and_fails_the_command_only_when_chosen(capsys, monkeypatch):
    ModelFactory.register_model("Failing", Failing)
    code, _, rows = listed(capsys)
    assert (code, rows["Failing"]["name"]) == (0, None)
    assert rows["Failing"]["error"].startswith("KeyError at test_models_command.py:")
    monkeypatch.setenv("INVENTORY_MODEL", "Failing")
    assert listed(capsys)[:2] == (1, "Failing")


def test_a_choice_that_does_not_exist_and_a_wrong_number_are_errors_of_configuration(capsys, monkeypatch):
    monkeypatch.setenv("INVENTORY_MODEL", "Pears")
    assert cli.main(["models"]) == 2
    assert "INVENTORY_MODEL: expected one of Av" in capsys.readouterr().err
    monkeypatch.setenv("BASE_SPREAD", "wide")
    assert cli.main(["models"]) == 2
    assert "BASE_SPREAD: expected a number, found str" in capsys.readouterr().err
