"""What models read their parameters from: the environment, a `.env` file, `[model.params]`, defaults.

Names are those of the original system, in capitals. What looks like a secret is never taken over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from invmm.errors import ConfigError
from invmm.setting_rules import PARAMETER_NAME, PRIVATE_KEY, SECRET_NAME

DEFAULTS: Final[Mapping[str, int | float | str]] = {
    "INVENTORY_MODEL": "AvellanedaStoikovModel",
    "INVENTORY_RISK_AVERSION": 0.1,
    "TARGET_INVENTORY_RATIO": 0.5,
    "MAX_INVENTORY_DEVIATION": 0.3,
    "BASE_SPREAD": 0.01,
    "VOLATILITY_WINDOW_SIZE": 20,
    "DEFAULT_VOLATILITY": 0.02,
    "MIN_VOLATILITY": 0.01,
    "MAX_VOLATILITY": 2.0,
    "MIN_RANGE_PERCENTAGE": 2.0,
    "MAX_RANGE_PERCENTAGE": 20.0,
}

LINE: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*")

Value = int | float | str | bool


class Config:
    """Parameters of inventory models, as attributes.

    A name is looked for in the environment, then in `.env`, then in `params`, then among `DEFAULTS`. What
    only the first two know is taken over when it is asked for (`MY_PARAM=3` → `config.MY_PARAM`), and not
    before: they hold much that is none of a model's business, so a copy has none of it either. Numbers and
    `true`/`false` become what they say.

    Parameters
    ----------
    params : mapping, optional
        Those of `[model.params]`.
    env_file : path or None
        None: no file is read. One that does not exist is none.
    environment : mapping, optional
        In place of the process's own.

    Raises
    ------
    ConfigError
        A number is expected, text came.

    Examples
    --------
    >>> config = Config({"MY_PARAM": 2}, env_file=None, environment={"BASE_SPREAD": "0.02"})
    >>> config.BASE_SPREAD, config.MY_PARAM, getattr(config, "OTHER", 7)
    (0.02, 2, 7)
    """

    def __init__(
        self,
        params: Mapping[str, Value] | None = None,
        *,
        env_file: str | Path | None = ".env",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._environment = os.environ if environment is None else environment
        self._file = read_env_file(env_file) if env_file is not None else {}
        for name, given in {**DEFAULTS, **(params or {})}.items():
            value = parsed(text) if (text := self._told(name)) else given
            expected = DEFAULTS.get(name)
            if isinstance(expected, int | float) and (isinstance(value, bool | str)):
                raise ConfigError(f"{name}: expected a number, found {type(value).__name__}")
            setattr(self, name, value)

    def _told(self, name: str) -> str:
        text = self._environment.get(name) or self._file.get(name, "")
        return "" if looks_secret(name, text) else text

    def __getattr__(self, name: str) -> Any:
        if PARAMETER_NAME.fullmatch(name) and (text := self._told(name)):
            setattr(self, name, value := parsed(text))
            return value
        raise AttributeError(f"model parameter {name}: neither in the environment nor in [model.params]")

    def __getstate__(self) -> dict[str, Value]:
        return self.params

    def __setstate__(self, params: dict[str, Value]) -> None:
        vars(self).update(params, _environment={}, _file={})

    @property
    def params(self) -> dict[str, Value]:
        """The defaults, those that were given, and those that were asked for."""
        return {name: value for name, value in vars(self).items() if PARAMETER_NAME.fullmatch(name)}


def looks_secret(name: str, text: str) -> bool:
    """Whether a parameter is more likely a key or a password."""
    return bool(SECRET_NAME.search(name) or PRIVATE_KEY.search(text))


def read_env_file(path: str | Path) -> dict[str, str]:
    """`NAME=value` lines of a file, without quotes and comments, without what looks like a secret; {} if
    there is no such file.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {type(error).__name__}") from error
    values = {}
    for line in text.splitlines():
        if found := LINE.fullmatch(line):
            name, value = found.groups()
            if value[:1] in ("'", '"') and (end := value.find(value[0], 1)) > 0:
                value = value[1:end]
            else:
                value = re.split(r"\s#|^#", value)[0].strip()
            if value and not looks_secret(name, value):
                values[name] = value
    return values


def parsed(text: str) -> Value:
    """A text as the integer, number or truth value that it is, else as itself.

    >>> parsed("20"), parsed("1e-3"), parsed("True"), parsed("x")
    (20, 0.001, True, 'x')
    """
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)
