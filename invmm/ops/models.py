"""`invmm models`: the inventory models that can be chosen, with what each says about itself."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from invmm.errors import ConfigError, origin_of
from invmm.models.config import Config
from invmm.models.fast import COMPILED
from invmm.models.model_factory import ModelFactory
from invmm.settings import Settings
from invmm.strategy.policies import MODELS

EXIT_DONE, EXIT_FAILED_CHECK = 0, 1
INFO_KEYS: Final = ("name", "description", "version", "parameters", "features")


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = argparse.ArgumentParser(
        prog="invmm models",
        description="List the inventory models: those that ship and those of installed packages (entry "
        "points of the group invmm.models), with the parameters that the environment, .env and the "
        "settings give them. INVENTORY_MODEL chooses the one that --policy model asks.",
        epilog="Exit codes: 0 done, 1 the chosen model cannot be used, 2 usage or configuration.",
    )
    p.add_argument("--config", metavar="FILE", help="TOML settings; [model.params] is what counts")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    options = parser().parse_args(arguments)
    settings = Settings.load(options.config) if options.config else Settings()
    config = Config(settings.model.params)
    chosen = str(config.INVENTORY_MODEL)
    rows = [_row(name, config, chosen) for name in ModelFactory.get_available_models()]
    if options.json:
        print(json.dumps({"chosen": chosen, "models": rows}, default=str))
    else:
        _show(rows, chosen)
    if chosen not in (row["model"] for row in rows):
        raise ConfigError(
            f"INVENTORY_MODEL: expected one of {', '.join(row['model'] for row in rows)}, found {chosen!r}"
        )
    return EXIT_FAILED_CHECK if any(row["error"] for row in rows if row["chosen"]) else EXIT_DONE


def _row(name: str, config: Config, chosen: str) -> dict[str, Any]:
    """One model as plain data: its info, the policy that asks it, whether it is compiled, what is wrong."""
    row: dict[str, Any] = {
        "model": name,
        "chosen": name == chosen,
        "policy": next((policy for policy, model in MODELS.items() if model == name), "model"),
        "compiled": False,
        "error": None,
        **dict.fromkeys(INFO_KEYS),
    }
    try:
        model = ModelFactory.create_model(name, config)
        info = model.get_model_info()
    except Exception as error:
        return row | {"error": str(error) if isinstance(error, ConfigError) else _why(name, error)}
    return row | {"compiled": type(model) in COMPILED} | {key: info.get(key) for key in INFO_KEYS}


def _why(name: str, error: Exception) -> str:
    return ModelFactory.broken().get(name) or origin_of(error)


def _show(rows: Sequence[dict[str, Any]], chosen: str) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "model", "policy", "version", "compiled", "description"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(
            "→" if row["chosen"] else "",
            row["model"],
            row["policy"],
            str(row["version"] or ""),
            "yes" if row["compiled"] else "no",
            f"cannot be used: {row['error']}" if row["error"] else str(row["description"]),
        )
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120, markup=False).print(table)
    for row in rows:
        if row["chosen"] and row["parameters"]:
            told = ", ".join(f"{name} {value}" for name, value in row["parameters"].items())
            print(f"\nchosen: {chosen} ({told})")
