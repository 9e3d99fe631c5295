"""`risk.json` in the state folder: limits that are used up, so that a restart does not give them back.

It is strict: a file that is not exactly what is written here is an error that names it, never a fresh start.
It is replaced as a whole (written beside, synced, renamed) on a thread of its own, the newest content wins.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from invmm.errors import ConfigError
from invmm.execution.losses import Kept

VERSION: Final = 1
LONGEST: Final = 16 * 2**20
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
CLOSE_S: Final = 5.0


@dataclass
class RiskRecord:
    """What is remembered. Days are counted from 1970-01-01 UTC."""

    day: int
    first_armed_day: int | None = None
    kill_level: int = 0
    recent_s: list[tuple[int, int]] = field(default_factory=list)
    """Placements of the last minute: unix second, how many."""
    markets: dict[str, Kept] = field(default_factory=dict)
    """By condition id: what counts towards the loss of the day."""
    parked: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By condition id: 1e-10 dollars in a closed market, unix second after which they are not counted."""

    def as_json(self) -> bytes:
        """The file's content."""
        return (
            json.dumps(
                {
                    "version": VERSION,
                    "day": day_name(self.day),
                    "first_armed_day": None
                    if self.first_armed_day is None
                    else day_name(self.first_armed_day),
                    "kill_level": self.kill_level,
                    "minute": [list(entry) for entry in self.recent_s],
                    "markets": {
                        name: {"worst_micro": k.worst_micro, "legs": k.legs, "last_day": day_name(k.last_day)}
                        for name, k in self.markets.items()
                    },
                    "parked": {
                        name: {"e10": amount, "until_s": until}
                        for name, (amount, until) in self.parked.items()
                    },
                }
            ).encode()
            + b"\n"
        )


def day_name(day: int) -> str:
    """A day as 2026-11-21."""
    return (EPOCH + timedelta(days=day)).date().isoformat()


def day_of(now_ns: int) -> int:
    """The UTC day of a unix time."""
    return now_ns // (86_400 * 10**9)


def load(path: Path) -> RiskRecord | None:
    """What the file says; None if there is none.

    Raises
    ------
    ConfigError
        It cannot be read, or is not what this program writes.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return parse(content)
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        said = str(error)[:200]
        raise ConfigError(
            f"{path}: expected the risk figures that an engine wrote, found something else ({said}). It is "
            "not begun anew by itself, since it says what was lost today: repair it, or move it away"
        ) from None


def parse(content: bytes) -> RiskRecord:
    """The record in a file's content; ValueError, KeyError or TypeError if it is none."""
    if len(content) > LONGEST:
        raise ValueError(f"more than {LONGEST} bytes")
    given = json.loads(content.decode(), parse_constant=_refuse, object_pairs_hook=_once)
    _keys(given, "version", "day", "first_armed_day", "kill_level", "minute", "markets", "parked")
    if _whole(given["version"], 0, 10**6) != VERSION:
        raise ValueError(f"version: expected {VERSION}, found {given['version']}")
    record = RiskRecord(_day(given["day"]))
    if given["first_armed_day"] is not None:
        record.first_armed_day = _day(given["first_armed_day"])
    record.kill_level = _whole(given["kill_level"], 0, 3)
    for second, count in given["minute"]:
        record.recent_s.append((_whole(second, 0, 2**40), _whole(count, 0, 10**6)))
    for name, kept in given["markets"].items():
        _keys(kept, "worst_micro", "legs", "last_day")
        worst = _whole(kept["worst_micro"], -(10**18), 10**18)
        record.markets[name] = Kept(worst, _whole(kept["legs"], 0, 10**9), _day(kept["last_day"]))
    for name, left in given["parked"].items():
        _keys(left, "e10", "until_s")
        record.parked[name] = (_whole(left["e10"], 0, 10**18), _whole(left["until_s"], 0, 2**40))
    return record


class LatestWriter:
    """Puts the newest content into a file, on a thread of its own.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.error: str | None = None
        """Why the last content did not get there."""
        self.written = 0
        self._path = path
        self._waiting: bytes | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="invmm risk file", daemon=True)
        self._thread.start()

    def put(self, content: bytes) -> None:
        """Replaces what waits. Never blocks for the disk."""
        with self._changed:
            self._waiting = content
            self._changed.notify()

    def close(self) -> None:
        """Writes what waits and ends the thread, within five seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._closing)
                content, self._waiting = self._waiting, None
            if content is None:
                return
            try:
                replace_file(self._path, content)
                self.error = None
                self.written += 1
            except OSError as error:
                self.error = f"{self._path} cannot be written: {error.strerror}"


def replace_file(path: Path, content: bytes) -> None:
    """Replaces a file as a whole: after a crash it is the old one or the new one. OSError."""
    temporary = path.with_name(f".{path.name}.new")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _keys(given: Any, *names: str) -> None:
    if not isinstance(given, dict) or set(given) != set(names):
        found = sorted(given) if isinstance(given, dict) else type(given).__name__
        raise ValueError(f"expected {', '.join(names)}, found {found}")


def _whole(value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"expected a whole number of {low} to {high}, found {str(value)[:40]}")
    return value


def _day(text: Any) -> int:
    if not isinstance(text, str) or len(text) != 10:
        raise ValueError(f"expected a day such as 2026-11-21, found {str(text)[:40]}")
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - EPOCH).days


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    given = dict(pairs)
    if len(given) != len(pairs):
        raise ValueError("a key comes twice")
    return given


def _refuse(text: str) -> Any:
    raise ValueError(f"expected a number, found {text}")
