"""Settings: strict, and clear about what is wrong where."""

import dataclasses

import pytest

from invmm.errors import ConfigError
from invmm.settings import Settings


def test_defaults_are_valid_and_frozen():
    settings = Settings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.engine.timer_ms = 5  # type: ignore[misc]


def test_every_setting_says_its_unit_range_and_purpose():
    for table in dataclasses.fields(Settings()):
        for key in dataclasses.fields(getattr(Settings(), table.name)):
            assert key.metadata["what"], f"{table.name}.{key.name}"
            says_range = {"options", "low", "longest"} & key.metadata.keys()
            assert says_range or isinstance(key.default, bool)


def test_file_overrides_what_it_names_only(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text("[strategy]\nnum_levels = 2\norder_size = 50\n[sim]\nspeed = 10\n")
    settings = Settings.load(path)
    assert (settings.strategy.num_levels, settings.strategy.order_size, settings.sim.speed) == (2, 50.0, 10.0)
    assert settings.engine == Settings().engine


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[engine]\nbook_max_age_ms = 1\n", ["f.toml:2", "book_max_age_ms", "100…600000 ms", "found 1"]),
        ("[motor]\n", ["f.toml:1", "'motor'", "[engine]"]),
        ("x = 1\n", ["f.toml:1", "'x'"]),
        ('[strategy]\n\nnum_levels = "3"\n', ["f.toml:3", "expected int", "'3'"]),
        ("[strategy]\nlevels = 3\n", ["f.toml:2", "unknown key", "num_levels"]),
        ('[strategy]\npolicy = "greedy"\n', ["f.toml:2", "inventory_mm", "'greedy'"]),
        ("[strategy]\norder_size = nan\n", ["f.toml:2", "found nan"]),
        ("[strategy]\nnum_levels = true\n", ["f.toml:2", "expected int", "True"]),
        ("[executor]\nring_capacity = 1000\n", ["ring_capacity", "power of two", "1000"]),
        ("[strategy\n", ["f.toml", "not TOML"]),
        ("[wallet]\nsignature_type = 4\n", ["f.toml:2", "-1…3", "found 4"]),
        ("[wallet]\nkeystore = 5\n", ["f.toml:2", "expected str", "found 5"]),
    ],
)
def test_mistakes_name_file_line_expected_and_found(text, words):
    with pytest.raises(ConfigError) as caught:
        Settings.parse(text, "f.toml")
    for word in words:
        assert word in str(caught.value)


def test_missing_and_unreadable_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        Settings.load(tmp_path / "nowhere.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.toml"):
        Settings.load(binary)


@pytest.mark.parametrize(
    "text",
    [
        '[wallet]\nprivate_key = "{}"\n',
        '[wallet]\nkeystore = "{}"\n',
        '[wallet]\nfunder = "0x{}"\n',
        '[wallet]\nsignature_type = "{}"\n',
        '[wallet]\nenvironment = "{}"\n',
        '[wallet]\napi_secret = "{}"\n',
        'private_key = "{}"\n',
        '[wallet]\npassphrase = ["{}"]\n',
        '[executor]\nwait = "{}"\n',
    ],
)
def test_a_secret_in_the_settings_is_refused_and_not_repeated(text):
    secret = "5e" * 32
    with pytest.raises(ConfigError) as caught:
        Settings.parse(text.format(secret), "f.toml")
    assert secret[:16] not in str(caught.value)
    if "environment" not in text and "_type" not in text and "wait" not in text:
        assert "secrets are not kept in settings" in str(caught.value)


def test_parameters_of_models_are_free_in_name_but_not_in_kind():
    text = '[model]\nsample_ms = 2000\n[model.params]\nMY_PARAM = 0.5\nON = true\nTEXT = "x"\n'
    assert Settings.parse(text).model.params == {"MY_PARAM": 0.5, "ON": True, "TEXT": "x"}
    assert Settings.parse("[model]\nparams = { A = 1 }\n").model.params == {"A": 1}
    assert Settings().model.params == {}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("my_param = 1", r"x.toml:3: \[model.params\] my_param: expected a name in capitals"),
        ("API_KEY = 1", r"x.toml:3: \[model.params\] API_KEY: secrets are not kept"),
        (f'A = "{"ab" * 32}"', r"x.toml:3: \[model.params\] A: secrets are not kept"),
        ("A = [1]", r"x.toml:3: \[model.params\] A: expected a number, .* found list"),
        ("A = nan", r"x.toml:3: \[model.params\] A: expected a finite number"),
    ],
)
def test_a_wrong_parameter_of_a_model_is_named_with_its_line(line, says):
    with pytest.raises(ConfigError, match=says):
        Settings.parse(f"[model]\n[model.params]\n{line}\n", "x.toml")
