"""Where parameters of models come from, and what never becomes one."""

from __future__ import annotations

import copy
import pickle

import pytest

from invmm.errors import ConfigError
from invmm.models import Config
from invmm.models.config import DEFAULTS, parsed, read_env_file


def config(params=None, env=None, environment=None):
    return Config(params, env_file=env, environment=environment or {})


def test_without_anything_said_the_parameters_are_those_of_the_original():
    assert config().params == DEFAULTS


def test_the_environment_goes_before_the_file_and_the_file_before_the_settings(tmp_path):
    env = tmp_path / ".env"
    env.write_text("BASE_SPREAD=0.02\nMAX_VOLATILITY=3\nMINE=of the file\n")
    got = config(
        {"BASE_SPREAD": 0.03, "MAX_VOLATILITY": 4, "MIN_VOLATILITY": 0.5}, env, {"BASE_SPREAD": "0.01"}
    )
    assert (got.BASE_SPREAD, got.MAX_VOLATILITY, got.MIN_VOLATILITY) == (0.01, 3, 0.5)
    assert "MINE" not in got.params
    assert got.MINE == "of the file"


def test_a_parameter_that_nobody_knew_is_taken_from_the_environment_when_it_is_asked_for():
    got = config(environment={"MY_PARAM": "3", "my_param": "4"})
    assert "MY_PARAM" not in got.params
    assert getattr(got, "MY_PARAM", 7) == 3
    assert got.params["MY_PARAM"] == 3
    assert getattr(got, "OTHER", 7) == 7
    assert getattr(got, "my_param", 7) == 7


def test_the_process_environment_and_the_file_in_this_folder_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("INVENTORY_MODEL=SimpleModel\n")
    assert Config().INVENTORY_MODEL == "SimpleModel"
    monkeypatch.setenv("INVENTORY_MODEL", "GLFTModel")
    assert Config().INVENTORY_MODEL == "GLFTModel"


def test_what_looks_like_a_secret_never_becomes_a_parameter(tmp_path):
    key = "ab" * 32
    env = tmp_path / ".env"
    env.write_text(f"PRIVATE_KEY=x\nAPI_KEY=y\nOTHER={key}\n")
    got = config(None, env, {"MY_SECRET": "1", "HEX": f"0x{key}"})
    for name in ("PRIVATE_KEY", "API_KEY", "OTHER", "MY_SECRET", "HEX"):
        assert getattr(got, name, None) is None
    assert got.params == DEFAULTS


def test_a_copy_knows_the_parameters_and_nothing_of_the_environment():
    got = pickle.loads(pickle.dumps(config({"MINE": 1}, None, {"MY_PARAM": "3", "OTHER": "4"})))
    assert (got.MINE, got.BASE_SPREAD, getattr(got, "MY_PARAM", None)) == (1, 0.01, None)
    assert copy.copy(got).params == got.params


def test_a_number_that_is_text_is_refused_by_its_name():
    with pytest.raises(ConfigError, match="BASE_SPREAD: expected a number, found str"):
        config(environment={"BASE_SPREAD": "wide"})


def test_an_env_file_is_read_as_people_write_it(tmp_path):
    env = tmp_path / ".env"
    env.write_text(
        "# models\n\nexport A=1\nB = two words # said\nC='x # y'\nD=\"z\"\nnot a line\nE=\nF=a#b\n"
    )
    assert read_env_file(env) == {"A": "1", "B": "two words", "C": "x # y", "D": "z", "F": "a#b"}
    assert read_env_file(tmp_path / "none") == {}


def test_an_env_file_that_cannot_be_read_is_an_error_without_its_text(tmp_path):
    env = tmp_path / ".env"
    env.write_bytes(b"A=\xff\xfe")
    with pytest.raises(ConfigError, match=r"\.env: cannot be read: UnicodeDecodeError"):
        read_env_file(env)


@pytest.mark.parametrize(
    ("text", "value"),
    [("20", 20), ("-1.5", -1.5), ("1e-3", 0.001), ("TRUE", True), ("false", False), ("x", "x")],
)
def test_texts_become_what_they_say(text, value):
    got = parsed(text)
    assert (got, type(got)) == (value, type(value))
