"""What the value of a setting may be, what looks like a secret, and where in a TOML text a key stands."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import field
from typing import Any

SECRET_NAME = re.compile(r"private|secret|pass|mnemonic|seed|api_?key|^pk$", re.IGNORECASE)
PRIVATE_KEY = re.compile(r"(?<![0-9a-fA-F])(0[xX])?[0-9a-fA-F]{64}(?![0-9a-fA-F])")
PARAMETER_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
SECRETS_BELONG = (
    "secrets are not kept in settings; put them into a keystore file or the OS keyring "
    "(`invmm keys import`), or into environment variables and set [wallet] environment = true"
)


def number(default: float, low: float, high: float, unit: str, what: str) -> Any:
    """A field that is a number within limits."""
    return field(default=default, metadata={"low": low, "high": high, "unit": unit, "what": what})


def choice(default: str, options: tuple[str, ...], what: str) -> Any:
    """A field that is one of some words."""
    return field(default=default, metadata={"options": options, "what": what})


def flag(default: bool, what: str) -> Any:
    """A field that is true or false."""
    return field(default=default, metadata={"what": what})


def text(default: str, what: str) -> Any:
    """A field that is a text."""
    return field(default=default, metadata={"longest": 1_000, "what": what})


def parameter_problem(name: str, value: Any) -> str | None:
    """What is wrong with a parameter of a model, None if nothing is."""
    if not PARAMETER_NAME.fullmatch(name):
        return "expected a name in capitals"
    if SECRET_NAME.search(name) or (isinstance(value, str) and PRIVATE_KEY.search(value)):
        return SECRETS_BELONG
    if not isinstance(value, bool | int | float | str):
        return f"expected a number, a text or a truth value, found {type(value).__name__}"
    return "expected a finite number" if isinstance(value, float) and not math.isfinite(value) else None


def value_problem(key: dataclasses.Field[Any], value: Any) -> str | None:
    """What is wrong with the value of a setting, by what its field says of it; None if nothing is."""
    limits = key.metadata
    if isinstance(value, dict):
        if len(value) > limits["longest"]:
            return f"expected at most {limits['longest']} entries, found {len(value)}"
        problems = (f"{name}: {p}" for name, given in value.items() if (p := parameter_problem(name, given)))
        return next(problems, None)
    if "options" in limits:
        return (
            None
            if value in limits["options"]
            else f"expected one of {', '.join(limits['options'])}, found {shown(value)}"
        )
    if "low" in limits:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not limits["low"] <= value <= limits["high"]
        ):
            return (
                f"expected {limits['low']:g}…{limits['high']:g} {limits['unit']}".rstrip()
                + f", found {shown(value)}"
            )
    elif "longest" in limits:
        if not isinstance(value, str) or len(value) > limits["longest"] or not value.isprintable():
            return f"expected text of at most {limits['longest']} printable characters"
        if PRIVATE_KEY.search(value):
            return f"this looks like a private key; {SECRETS_BELONG}"
    elif not isinstance(value, bool):
        return f"expected true or false, found {shown(value)}"
    return None


def shown(value: Any) -> str:
    """A value for a message; a long text may be a secret that got into the wrong place."""
    text = repr(value)
    return text if len(text) <= 24 else f"{len(text)} characters"


def line_of(text: str, table: str | None, key: str) -> int:
    """The line that holds a key, for messages; 1 when the spelling hides it (dotted or quoted keys)."""
    inside = table is None
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\s*([^\]]+?)\s*\]", line)
        if header:
            if table is None and header.group(1).split(".")[0].strip("\"' ") == key:
                return number
            inside = header.group(1).strip("\"' ") == table
        elif inside and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
            return number
    return 1
