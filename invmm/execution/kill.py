"""The kill switch: a level that only goes up, latched in a file that outlives the process.

    1  no new risk        nothing is placed, quotes are pulled; cancels go on
    2  cancel everything  … and the venue is asked until it lists no open order
    3  end                … and heartbeats end and the session stops

Any of them may raise it: a trigger of the engine, `Engine.kill`, `invmm kill LEVEL`, SIGUSR1 (1) and SIGUSR2
(2), or whoever writes the file, by hand too: `2` is valid. What cannot be understood counts as 2. Only `invmm
kill --release` lowers it: a file that vanishes or says less is written again by the engine that runs.

The file is one JSON object, replaced as a whole: {"level": 2, "why": "…", "by": "command", "at": "…",
"verified": null}. `verified` is what the engine found out about level 2 and 3.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path

from invmm.errors import ConfigError

LONGEST = 4_096  # bytes of a file that can be understood
SIGNALS = {signal.SIGUSR1: 1, signal.SIGUSR2: 2}


class KillLevel(IntEnum):
    """How far trading is stopped."""

    NONE = 0
    NO_NEW_RISK = 1
    CANCEL_ALL = 2
    END = 3


@dataclass(frozen=True, slots=True)
class KillRecord:
    """What the file says. `released`: by the command, and so a reason to go down to `level`."""

    level: KillLevel = KillLevel.NONE
    why: str = ""
    by: str = ""
    at: str = ""
    verified: bool | None = None
    released: bool = False

    def __str__(self) -> str:
        said = f"level {self.level.value}" + (f": {self.why}" if self.why else "")
        return said + (f" ({self.by}, {self.at})" if self.at else "")


def parse(content: bytes) -> KillRecord:
    """A file's content. Whatever it is, there is an answer: what is not understood is level 2."""
    unclear = KillRecord(KillLevel.CANCEL_ALL, "the kill file cannot be understood", "file")
    try:
        given = json.loads(content.decode()) if len(content) <= LONGEST else None
    except (ValueError, RecursionError):
        return unclear
    if isinstance(given, int):
        given = {"level": given, "by": "file"}
    if not isinstance(given, dict) or not set(given) <= {field.name for field in fields(KillRecord)}:
        return unclear
    level = given.get("level")
    if isinstance(level, bool) or level not in (0, 1, 2, 3):
        return unclear
    why, by, at = (given.get(name, "") for name in ("why", "by", "at"))
    verified, released = given.get("verified"), given.get("released", False)
    if not all(isinstance(text, str) for text in (why, by, at)) or not isinstance(released, bool):
        return unclear
    if verified is not None and not isinstance(verified, bool):
        return unclear
    return KillRecord(KillLevel(level), why, by, at, verified, released)


def read(path: Path) -> KillRecord:
    """What the file says now; level 0 if there is none, level 2 if it cannot be read."""
    try:
        with path.open("rb") as file:
            return parse(file.read(LONGEST + 1))
    except FileNotFoundError:
        return KillRecord()
    except OSError as error:
        return KillRecord(KillLevel.CANCEL_ALL, f"the kill file cannot be read: {error.strerror}", "file")


def latch(path: Path, level: int, why: str, by: str) -> KillRecord:
    """Raises the file's level; what it says afterwards: a higher level stays, with its own reason.

    ConfigError if it cannot be written.
    """
    with _alone(path):
        there = read(path)
        if there.level >= level and there.at:  # without a time it was not written by a program: it is now
            return there
        record = KillRecord(KillLevel(max(level, there.level)), _text(why), by, _now())
        _write(path, record)
        return record


def release(path: Path, by: str) -> KillRecord:
    """Lowers the file's level to 0; what it said before. ConfigError if it cannot be written."""
    with _alone(path):
        there = read(path)
        _write(
            path, KillRecord(why=f"released; it was {there}"[: LONGEST // 4], by=by, at=_now(), released=True)
        )
        return there


class KillSwitch:
    """The switch of one engine: the highest level that it has heard of, from the file and by itself.

    Parameters
    ----------
    path : Path, optional
        The file; without one the level lives as long as the engine.
    say : callable
        Told, in words, what people should know.

    Examples
    --------
    >>> switch = KillSwitch(None, print)
    >>> switch.up(1, "loss", "engine"), switch.up(1, "again", "engine")
    (True, False)
    >>> switch.level
    <KillLevel.NO_NEW_RISK: 1>
    """

    def __init__(self, path: Path | None, say: Callable[[str], object]) -> None:
        self.record = KillRecord()
        self._path = path
        self._say = say
        self._seen: tuple[int, ...] | None = None
        self.poll()

    @property
    def level(self) -> KillLevel:
        """The present one."""
        return self.record.level

    def up(self, level: int, why: str, by: str) -> bool:
        """Raises it, in the file as well; whether it is higher now."""
        if level <= self.level:
            return False
        self.record = KillRecord(KillLevel(level), _text(why), by, _now())
        self._keep()
        return True

    def verify(self, verified: bool) -> None:
        """Writes down whether the venue proved that nothing is open."""
        self.record = replace(self.record, verified=verified)
        if self._path is not None:
            try:
                with _alone(self._path):
                    if read(self._path).level == self.level:
                        _write(self._path, self.record)
            except ConfigError as error:
                self._say(str(error))

    def poll(self) -> bool:
        """Looks at the file: one system call while it stays as it is. Whether the level changed."""
        if self._path is None:
            return False
        try:
            found = os.stat(self._path)
            seen = (found.st_mtime_ns, found.st_ino, found.st_size)
        except OSError:
            seen = (0, 0, 0)
        if seen == self._seen:
            return False
        self._seen = seen
        there, before = read(self._path), self.level
        if there.level > before or there.released:
            self.record = there
        elif there.level < before:
            self._say(f"the kill file was lowered by hand to {there.level.value}; it is {before.value} again")
            self._keep()
        return self.level != before

    def _keep(self) -> None:
        """Puts the level into the file; a switch that cannot be latched works all the same, and says so."""
        if self._path is None:
            return
        try:
            there = latch(self._path, self.level, self.record.why, self.record.by)
        except ConfigError as error:
            self._say(str(error))
            return
        if there.level > self.level:
            self.record = there
        self._seen = None


def listen(loop: asyncio.AbstractEventLoop, kill: Callable[[int, str, str], object]) -> None:
    """From now on SIGUSR1 and SIGUSR2 raise the level: `kill(level, why, by)`."""
    for number, level in SIGNALS.items():
        loop.add_signal_handler(number, kill, level, signal.Signals(number).name, "signal")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _text(why: str) -> str:
    return "".join(c if c.isprintable() else " " for c in why)[:400]


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One writer at a time: two that raise the level at once must not lower it."""
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"kill file {path}: its folder cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _write(path: Path, record: KillRecord) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    content = json.dumps({**asdict(record), "level": int(record.level)}, ensure_ascii=False) + "\n"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise ConfigError(f"kill file {path}: cannot be written: {error.strerror}") from error
