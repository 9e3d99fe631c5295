"""Which state folder a command means that stands beside an engine."""

from __future__ import annotations

import argparse
from pathlib import Path

from invmm.errors import ConfigError
from invmm.execution.state import default_folder
from invmm.settings import Settings


def add_folder_options(p: argparse.ArgumentParser) -> None:
    """`--state` and `--config`, for `folder_of`."""
    p.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="state folder (default: that of --config, or the only one in the user's state directory)",
    )
    p.add_argument("--config", metavar="FILE", help="TOML settings, for [state] folder")


def folder_of(state: Path | None, config: str | None) -> Path:
    """The state folder that is meant.

    Raises
    ------
    ConfigError
        It does not exist, or none is named and there is not just one.
    """
    if state is None and config is not None and (named := Settings.load(config).state.folder):
        state = Path(named)
    if state is None:
        base = default_folder("")
        found = sorted(path for path in base.iterdir() if path.is_dir()) if base.is_dir() else []
        if len(found) != 1:
            names = ", ".join(path.name for path in found) or "none"
            raise ConfigError(f"--state: expected one state folder in {base}, found {names}; name it")
        state = found[0]
    if not state.is_dir():
        raise ConfigError(f"--state: expected a folder that an engine has used, found none at {state}")
    return state
