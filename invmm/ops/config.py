"""`invmm config check | schema | init`: the settings file, checked, described, begun."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from invmm.errors import ConfigError
from invmm.settings import Settings

EXIT_DONE: Final = 0
WIDTH: Final = 110
JSON_TYPES: Final = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object"}


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = argparse.ArgumentParser(
        prog="invmm config",
        description="Checks a settings file, prints what one may hold, or writes one to begin with.",
        epilog="Exit codes: 0 done, 2 the file is wrong (its line is named) or cannot be read or written.",
    )
    actions = p.add_subparsers(dest="action", required=True, metavar="check | schema | init")
    check = actions.add_parser(
        "check", help="read files as a run would and say what differs from the defaults"
    )
    check.add_argument("files", nargs="+", metavar="FILE")
    check.add_argument("--json", action="store_true", help="print one JSON object with every value in force")
    described = actions.add_parser("schema", help="print the JSON Schema of a settings file")
    described.add_argument("--json", action="store_true", help="as without: it is JSON in any case")
    init = actions.add_parser("init", help="write a file with every setting, its default, unit and range")
    init.add_argument("file", nargs="?", metavar="FILE", help="is not overwritten; none: standard output")
    init.add_argument("--json", action="store_true", help="print one JSON object: file, or text without one")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    options = parser().parse_args(arguments)
    if options.action == "schema":
        print(json.dumps(schema(), indent=1, ensure_ascii=False))
    elif options.action == "init":
        _init(options.file, options.json)
    else:
        _check(options.files, options.json)
    return EXIT_DONE


def _check(names: Sequence[str], as_json: bool) -> None:
    told = {name: Settings.load(name) for name in names}
    if as_json:
        print(json.dumps({name: dataclasses.asdict(settings) for name, settings in told.items()}))
        return
    for name, settings in told.items():
        changes = list(differences(settings))
        print(f"{name}: valid, {len(changes)} settings differ from the defaults")
        for table, key, value, default in changes:
            print(f"  [{table}] {key} = {_toml(value)}  (default {_toml(default)})")


def differences(settings: Settings) -> Iterator[tuple[str, str, Any, Any]]:
    """(table, key, value, default) of every setting that is not at its default."""
    for table, key, default in _keys():
        value = getattr(getattr(settings, table), key.name)
        if value != default:
            yield table, key.name, value, default


def schema() -> dict[str, Any]:
    """The settings as a JSON Schema (draft 2020-12), for editors that check TOML by one."""
    tables: dict[str, Any] = {}
    for table in dataclasses.fields(Settings):
        kind = type(getattr(Settings(), table.name))
        tables[table.name] = {
            "type": "object",
            "description": (kind.__doc__ or "").strip(),
            "additionalProperties": False,
            "properties": {},
        }
    for table_name, key, default in _keys():
        limits = key.metadata
        described: dict[str, Any] = {
            "type": JSON_TYPES[type(default)],
            "default": default,
            "description": limits["what"] + (f" ({limits['unit']})" if limits.get("unit") else ""),
        }
        if "options" in limits:
            described["enum"] = list(limits["options"])
        elif "low" in limits:
            described |= {"minimum": limits["low"], "maximum": limits["high"]}
        elif "longest" in limits:
            described["maxProperties" if isinstance(default, dict) else "maxLength"] = limits["longest"]
        tables[table_name]["properties"][key.name] = described
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "invmm settings",
        "type": "object",
        "additionalProperties": False,
        "properties": tables,
    }


def template() -> str:
    """A settings file with everything at its default, explained."""
    lines = [
        "# invmm settings: every value is the default. Secrets have no place here (`invmm keys import`)."
    ]
    shown = ""
    for table, key, default in _keys():
        if table != shown:
            about = (type(getattr(Settings(), table)).__doc__ or "").strip()
            lines += ["", *_comment(about), f"[{table}]"]
            shown = table
        limits = key.metadata
        bounds = ""
        if "options" in limits:
            bounds = "; one of " + ", ".join(limits["options"])
        elif "low" in limits:
            bounds = f"; {limits['low']:g}…{limits['high']:g} {limits['unit']}".rstrip()
        lines += [*_comment(limits["what"] + bounds), f"{key.name} = {_toml(default)}"]
    return "\n".join(lines) + "\n"


def _init(name: str | None, as_json: bool) -> None:
    if name is None:
        sys.stdout.write(json.dumps({"text": template()}) + "\n" if as_json else template())
        return
    try:
        with Path(name).open("x", encoding="utf-8") as file:
            file.write(template())
    except FileExistsError:
        raise ConfigError(f"{name}: expected no file of this name, it exists") from None
    except OSError as error:
        raise ConfigError(f"{name}: cannot be written: {error}") from error
    told = f"{name}: written; check it with `invmm config check {name}`"
    print(json.dumps({"file": name}) if as_json else told)


def _keys() -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    """Table, key and default of every setting."""
    for table in dataclasses.fields(Settings):
        values = getattr(Settings(), table.name)
        for key in dataclasses.fields(values):
            yield table.name, key, getattr(values, key.name)


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ")


def _toml(value: Any) -> str:
    """A number, truth value, text or table of these as TOML; a JSON string is a TOML basic string."""
    if isinstance(value, dict):
        inner = ", ".join(f"{name} = {_toml(each)}" for name, each in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


if __name__ == "__main__":
    sys.exit(main())
