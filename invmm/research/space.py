"""Which values a sweep tries: axes over settings, checked by the settings' own rules before anything runs.

An axis is written `name=a,b,c` (these values), `name=low:high[:log]` (a range, to search in) or
`name=low:high:N[:log]` (N values of it, ends included). Its name is that of a setting
(`strategy.order_size`), of a parameter of the policy's inventory model (`model.params.BASE_SPREAD`, or
`BASE_SPREAD` for short), or of a condition of the replay (`conditions.latency_ms`). One value alone sets what
it names for the whole sweep.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from invmm._ext.model_policy import MarketClient
from invmm.errors import ConfigError
from invmm.models.config import Config, parsed
from invmm.models.model_factory import ModelFactory
from invmm.replay.entrants import Entrant
from invmm.replay.trial import Conditions
from invmm.setting_rules import PARAMETER_NAME, parameter_problem, shown, value_problem
from invmm.settings import Settings
from invmm.strategy.policies import LONG, MODELS, PairsTerms, make_policy
from invmm.types import MICRO

Value = bool | int | float | str
Point = Mapping[str, Value]
"""One value for each axis, by its name."""

MODEL: Final = "model.params."
CONDITION: Final = "conditions."
REPLAYED: Final = ("engine", "risk", "strategy", "model", "pairs", "sim")
"""Tables of the settings that a replayed market depends on."""
OF_CONDITIONS: Final = {
    "sim.queue_model": "conditions.queue_model",
    "sim.order_latency_ms": "conditions.latency_ms",
    "sim.ack_latency_ms": "conditions.latency_ms",
    "sim.taker_delay_ms": "conditions.taker_delay_ms",
}
"""Settings that a trial does not read, and the conditions that stand in their place."""
OF_SOCKETS: Final = frozenset({"sim.speed", "sim.chain"})
POLICY_OF: Final = {"pairs": ("pairs",), "model": tuple(MODELS)}
"""Tables that only some policies read."""
MAX_POINTS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Axis:
    """One setting that is varied: over `choices`, or from `low` to `high` (both included) if there are none.

    `kind` is the type of its values. A range of kind `int` has whole numbers only; `log` means that factors,
    not differences, are equally likely.
    """

    name: str
    kind: type
    choices: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    @property
    def ends(self) -> tuple[Value, ...]:
        """Values that must be allowed for all of them to be."""
        return self.choices or (self.kind(self.low), self.kind(self.high))

    def described(self) -> dict[str, Any]:
        """As plain data, for what is kept with the rows."""
        if self.choices:
            return {"name": self.name, "choices": list(self.choices)}
        return {
            "name": self.name,
            "low": self.kind(self.low),
            "high": self.kind(self.high),
            "log": self.log,
        }


def parse_axis(text: str, base: Settings, who: Entrant) -> Axis:
    """The axis that `--param` names.

    Raises
    ------
    ConfigError
        There is no such setting, the policy or a replay does not read it, or a value is not allowed.
    """
    name, equals, values = text.partition("=")
    name = name.strip()
    if not equals or not name or not values.strip():
        raise ConfigError(f"--param: expected name=a,b,c or name=low:high[:log], found {shown(text)}")
    if PARAMETER_NAME.fullmatch(name):
        name = MODEL + name
    kind = _kind(name, base, who)
    where = f"--param {name}"
    if ":" in values and kind is not str:
        axis = _range(where, name, kind, [part.strip() for part in values.split(":")])
    else:
        parts = [part.strip() for part in values.split(",")]
        axis = Axis(name, kind or object, tuple(_value(where, kind, part) for part in parts))
        if kind is None:  # a parameter of a model: numbers of one kind, if they are numbers
            kinds = {type(value) for value in axis.choices}
            common = float if kinds == {int, float} else kinds.pop() if len(kinds) == 1 else None
            if common is None:
                raise ConfigError(f"{where}: expected values of one kind, found {shown(values)}")
            axis = replace(axis, kind=common, choices=tuple(map(common, axis.choices)))
        if len(set(axis.choices)) < len(axis.choices):
            raise ConfigError(f"{where}: expected each value once, found {shown(values)}")
    for value in axis.ends:
        if problem := _problem(name, value, base):
            raise ConfigError(f"{where}: {problem}")
    return axis


def parse_space(texts: Sequence[str], base: Settings, who: Entrant) -> tuple[Axis, ...]:
    """All axes, in the order given; ConfigError as `parse_axis`, and for a name that comes twice."""
    if not texts:
        raise ConfigError("--param: expected at least one, as name=a,b,c or name=low:high[:log]")
    axes = tuple(parse_axis(text, base, who) for text in texts)
    names = [axis.name for axis in axes]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"--param {twice}: expected once, found {names.count(twice)} times")
    return axes


def grid(axes: Sequence[Axis]) -> list[dict[str, Value]]:
    """Every combination, the last axis varying fastest; ConfigError for a range to search in."""
    for axis in axes:
        if not axis.choices:
            raise ConfigError(
                f"--param {axis.name}: expected values (a,b,c or low:high:N) for --grid, found a range"
            )
    count = math.prod(len(axis.choices) for axis in axes)
    if count > MAX_POINTS:
        raise ConfigError(f"--grid: expected at most {MAX_POINTS:,} combinations, found {count:,}")
    names = [axis.name for axis in axes]
    return [
        dict(zip(names, values, strict=True))
        for values in itertools.product(*(axis.choices for axis in axes))
    ]


def corners(axes: Sequence[Axis]) -> Iterator[dict[str, Value]]:
    """Each end of each axis alone, the others as the settings have them."""
    for axis in axes:
        for value in axis.ends:
            yield {axis.name: value}


def settings_at(base: Settings, point: Point) -> Settings:
    """The settings with the values of a point; ConfigError when one is out of range."""
    tables: dict[str, dict[str, Any]] = {}
    params: dict[str, Value] = {}
    for name, value in point.items():
        if name.startswith(CONDITION):
            continue
        if name.startswith(MODEL):
            params[name.removeprefix(MODEL)] = value
        else:
            table, _, key = name.partition(".")
            tables.setdefault(table, {})[key] = value
    if params:
        tables.setdefault("model", {})["params"] = base.model.params | params
    return replace(base, **{name: replace(getattr(base, name), **keys) for name, keys in tables.items()})


def conditions_at(point: Point) -> Conditions:
    """The conditions of a point, the headline's where it says nothing; ConfigError as `Conditions`."""
    given: dict[str, Any] = {
        name.removeprefix(CONDITION): value for name, value in point.items() if name.startswith(CONDITION)
    }
    return Conditions(**given)


def check_point(base: Settings, who: Entrant, point: Point) -> None:
    """Makes the settings, conditions and policy of a point; ConfigError when one of them cannot be, or when
    the policy's own text says otherwise.
    """
    conditions_at(point)
    settings = who.settings(settings_at(base, point))
    for name, value in point.items():
        if name.startswith(CONDITION):
            continue
        if name.startswith(MODEL):
            found = settings.model.params[name.removeprefix(MODEL)]
        else:
            table, _, key = name.partition(".")
            found = getattr(getattr(settings, table), key)
        if found != value:
            raise ConfigError(f"--param {name}: expected it in one place, --policy {who.text} sets it, too")
    try:
        make_policy(who.policy, settings.strategy, settings.model, PairsTerms.new(settings.pairs))
    except ConfigError as error:
        raise ConfigError(f"{told(point)}: {error}") from None


def told(point: Point) -> str:
    """A point for people: `strategy.order_size=50, pairs.min_edge=0.002`."""
    return ", ".join(f"{name}={value}" for name, value in point.items())


def _kind(name: str, base: Settings, who: Entrant) -> type | None:
    """Type of the values of a setting; None for a number of a model."""
    if name.startswith(MODEL):
        return _model_kind(name.removeprefix(MODEL), base, who)
    table, _, key = name.partition(".")
    if table == "conditions":
        types = {field.name: {"bool": bool, "str": str}.get(str(field.type), float) for field in _CONDITIONS}
        if key not in types:
            raise ConfigError(f"--param {name}: unknown condition, expected one of {', '.join(types)}")
        return types[key]
    if table not in REPLAYED:
        known = ", ".join(REPLAYED)
        raise ConfigError(
            f"--param {name}: expected a setting of the tables {known}, a parameter of the policy's model, "
            "or one of the conditions"
            + (f"; [{table}] does not reach a replayed market" if hasattr(base, table) else "")
        )
    keys = {field.name: field for field in dataclasses.fields(getattr(base, table)) if field.name != "params"}
    if key not in keys:
        raise ConfigError(f"--param {name}: unknown key, expected one of {', '.join(keys)}")
    if instead := OF_CONDITIONS.get(name):
        raise ConfigError(f"--param {name}: expected {instead}, which stands in its place here")
    if name in OF_SOCKETS:
        raise ConfigError(f"--param {name}: expected a setting that reaches a replayed market")
    if name == "strategy.policy":
        raise ConfigError("--param strategy.policy: expected --policy; one sweep has one policy")
    readers = POLICY_OF.get(table)
    if readers is not None and who.policy not in readers:
        raise ConfigError(f"--param {name}: read by {', '.join(readers)} only, found --policy {who.text}")
    return type(getattr(getattr(base, table), key))


_CONDITIONS: Final = dataclasses.fields(Conditions)


def _model_kind(parameter: str, base: Settings, who: Entrant) -> type | None:
    where = f"--param {MODEL}{parameter}"
    if who.policy not in MODELS:
        raise ConfigError(f"{where}: read by {', '.join(MODELS)} only, found --policy {who.text}")
    if parameter == "INVENTORY_MODEL":
        raise ConfigError(f"{where}: one sweep has one model; expected --policy model:INVENTORY_MODEL=NAME")
    asked = _asked(who.settings(base), who.policy)
    if parameter not in asked:
        raise ConfigError(
            f"{where}: expected a parameter that the model of {who.text} asks for: "
            f"{', '.join(sorted(asked)) or 'it asks for none'}"
        )
    default = asked[parameter]
    return type(default) if isinstance(default, bool | str) else None


class _Asked(Config):
    """Parameters that remember which of them were asked for."""

    def __getattribute__(self, name: str) -> Any:
        if PARAMETER_NAME.fullmatch(name):
            object.__getattribute__(self, "_names").add(name)
        return object.__getattribute__(self, name)

    def __init__(self, params: Mapping[str, Value]) -> None:
        self._names: set[str] = set()
        super().__init__(params, env_file=None, environment={})

    @property
    def names(self) -> set[str]:
        """Those."""
        return self._names


def _asked(settings: Settings, policy: str) -> dict[str, Any]:
    """Parameters that the policy's model asks for, with their present values (None: its own default)."""
    config = _Asked(settings.model.params)
    try:
        model = ModelFactory.create_model(MODELS[policy] or None, config)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    sample = dict.fromkeys(("price", "high", "low", "open", "close"), 0.5)
    for length in (0, LONG):
        with suppress(Exception):  # told with the reason when it happens in earnest
            model.calculate_lp_ranges(MICRO, MICRO, 0.5, [sample] * length, "UP", "DOWN", MarketClient())
    return {name: config.params.get(name) for name in config.names if name != "INVENTORY_MODEL"}


def _range(where: str, name: str, kind: type | None, parts: list[str]) -> Axis:
    log = parts[-1] == "log"
    numbers = parts[:-1] if log else parts
    if len(numbers) not in (2, 3) or kind is bool:
        raise ConfigError(f"{where}: expected low:high[:log] or low:high:N[:log], found {':'.join(parts)}")
    low, high = (_value(where, kind, part) for part in numbers[:2])
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        raise ConfigError(f"{where}: expected numbers, found {':'.join(parts)}")
    kind = kind or (int if isinstance(low, int) and isinstance(high, int) else float)
    if not low < high or (log and not low > 0):
        raise ConfigError(
            f"{where}: expected low below high{' and above 0' if log else ''}, found {low} and {high}"
        )
    if len(numbers) == 2:
        return Axis(name, kind, (), low, high, log)
    try:
        count = int(numbers[2])
    except ValueError:
        count = 0
    if not 2 <= count <= MAX_POINTS:
        raise ConfigError(f"{where}: expected a number of values of at least 2, found {numbers[2]!r}")
    shares = [i / (count - 1) for i in range(1, count - 1)]
    inside = [low * (high / low) ** share if log else low + (high - low) * share for share in shares]
    values = [low, *((round(value) if kind is int else value) for value in inside), high]
    return Axis(name, kind, tuple(dict.fromkeys(map(kind, values))))


def _value(where: str, kind: type | None, text: str) -> Value:
    """A value from its text."""
    if kind is None:
        return parsed(text)
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        value: Value = kind(text)
        return value
    except (ValueError, KeyError):
        name = {int: "a whole number", float: "a number", bool: "true or false"}[kind]
        raise ConfigError(f"{where}: expected {name}, found {shown(text)}") from None


def _problem(name: str, value: Value, base: Settings) -> str | None:
    if name.startswith(CONDITION):
        try:
            conditions_at({name: value})
        except ConfigError as error:
            return str(error)
        return None
    if name.startswith(MODEL):
        return parameter_problem(name.removeprefix(MODEL), value)
    table, _, key = name.partition(".")
    fields = {field.name: field for field in dataclasses.fields(getattr(base, table))}
    return value_problem(fields[key], value)
