"""Who takes part in a comparison: from a text like `pairs:min_edge=0.003` to a policy and its settings.

    NAME                    a policy with the settings that everybody gets
    NAME:KEY=VALUE,…        with settings of its own
    inventory_mm            the original as it is, defects included (the engine's `inventory_mm_compatible`)
    inventory_mm:fixed      the original with its defects mended (the engine's `inventory_mm`)

A KEY in capitals is a parameter of an inventory model. Others are settings: `pairs.min_edge`, or `min_edge`
alone, looked for in the policy's own table first and then in `[strategy]`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from invmm.errors import ConfigError
from invmm.setting_rules import parameter_problem
from invmm.settings import POLICIES, Settings
from invmm.strategy.policies import MODELS

ORIGINAL: Final = "inventory_mm"
FIXED: Final = "inventory_mm:fixed"
BASE: Final = ORIGINAL
ALWAYS: Final = ("do_nothing", "join_touch")
"""Printed in every comparison."""
ENTRANTS: Final = (*ALWAYS, ORIGINAL, FIXED, "avellaneda_stoikov", "simple", "glft", "pairs")
ENGINE_NAMES: Final = {ORIGINAL: "inventory_mm_compatible", FIXED: "inventory_mm"}


@dataclass(frozen=True)
class Entrant:
    """A policy as it takes part."""

    text: str
    name: str
    """Without parameters: one of `ENTRANTS`, or another policy of the engine."""
    policy: str
    """What the engine calls it."""
    parameters: tuple[tuple[str, str], ...] = ()

    def settings(self, common: Settings) -> Settings:
        """`common` with the parameters of this entrant; complete, so that no environment is read.

        Raises
        ------
        ConfigError
            There is no such parameter, or its value is out of range.
        """
        params = {**common.model.params}
        if self.policy in MODELS:
            if MODELS[self.policy]:
                params["INVENTORY_MODEL"] = MODELS[self.policy]
            elif "INVENTORY_MODEL" not in {**params, **dict(self.parameters)}:
                raise ConfigError(f"{self.text}: expected a parameter INVENTORY_MODEL, which names the model")
        changed: dict[str, dict[str, Any]] = {}
        for key, text in self.parameters:
            if key.isupper():
                params[key] = value = _literal(text)
                if problem := parameter_problem(key, value):
                    raise ConfigError(f"{self.text}: {key}: {problem}")
                continue
            table, name = self._place(key, common)
            changed.setdefault(table, {})[name] = _typed(self.text, key, text, getattr(common, table), name)
        tables = {table: replace(getattr(common, table), **values) for table, values in changed.items()}
        strategy = replace(tables.get("strategy", common.strategy), policy=self.policy)
        model = replace(tables.get("model", common.model), params=params)
        try:
            return replace(common, **{**tables, "strategy": strategy, "model": model})
        except ConfigError as error:
            raise ConfigError(f"{self.text}: {error}") from None

    def _place(self, key: str, common: Settings) -> tuple[str, str]:
        table, dot, name = key.partition(".")
        tables = [table] if dot else ["pairs", "strategy"] if self.policy == "pairs" else ["strategy"]
        name = name if dot else key
        known = {each.name for each in dataclasses.fields(common)}
        for candidate in tables:
            if candidate in known and any(
                each.name == name for each in dataclasses.fields(getattr(common, candidate))
            ):
                return candidate, name
        raise ConfigError(
            f"{self.text}: {key}: expected the name of a setting (table.key, or a key of "
            f"{' or '.join(f'[{each}]' for each in tables)}), or of a model's parameter in capitals"
        )


def entrant(text: str) -> Entrant:
    """Who a text names; ConfigError says what is possible."""
    text = text.strip()
    name, _, rest = text.partition(":")
    parts = [part.strip() for part in rest.split(",") if part.strip()]
    if parts and "=" not in parts[0]:
        name = f"{name}:{parts.pop(0)}"
    parameters = []
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise ConfigError(f"{text}: expected key=value, found {part!r}")
        parameters.append((key.strip(), value.strip()))
    if name not in ENGINE_NAMES and name not in POLICIES:
        names = dict.fromkeys((*ENTRANTS, *POLICIES))
        raise ConfigError(f"policy: expected one of {', '.join(names)}, found {name!r}")
    return Entrant(text, name, ENGINE_NAMES.get(name, name), tuple(parameters))


def entrants(text: str, always: Iterable[str] = ALWAYS) -> list[Entrant]:
    """Everybody in a list separated by commas; those of `always` go first if they are missing.

    A part with `=` before any `:` goes on with the parameters of the one before it:
    `pairs:min_edge=0.003,max_lead_shares=200,simple` names two.
    """
    texts: list[str] = []
    for part in (each.strip() for each in text.split(",")):
        if not part:
            continue
        if "=" in part.partition(":")[0]:
            if not texts:
                raise ConfigError(f"policies: expected a name first, found {part!r}")
            texts[-1] += ("," if ":" in texts[-1] else ":") + part
        else:
            texts.append(part)
    if not texts:
        raise ConfigError("policies: expected at least one name, found none")
    found = [entrant(each) for each in texts]
    missing = [entrant(each) for each in always if all(each != one.name for one in found)]
    twice = _repeated([each.text for each in found])
    if twice:
        raise ConfigError(f"policies: expected each once, found {twice!r} twice")
    return missing + found


def _repeated(texts: Sequence[str]) -> str | None:
    return next((each for index, each in enumerate(texts) if each in texts[:index]), None)


def _literal(text: str) -> Any:
    lowered = text.lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _typed(entrant_text: str, key: str, text: str, table: Any, name: str) -> Any:
    kind = type(getattr(table, name))
    value = _literal(text)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ConfigError(f"{entrant_text}: {key}: expected {kind.__name__}, found {text!r}")
    return value
