"""Finished rows of a sweep or a campaign: a file of JSON lines, appended as they come, to be gone on with.

The first line says what the rows depend on beside their key (code, policy, settings, conditions); each other
line is one row. A key is (point, market by content, seed), so a sweep may be gone on with wider axes, more
trials, markets or seeds: what is there is not played again. Rows that failed are kept to be read, and played
again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from invmm.errors import ConfigError, DataError, InUseError
from invmm.research.space import Value
from invmm.research.work import Outcome

FORMAT: Final = 1


class KeptRows:
    """The file, held by this process alone. A kill at any moment costs at most the line being written.

    Parameters
    ----------
    path : Path
        Its folder must exist.
    identity : mapping
        What every row depends on; plain data.
    resume : bool
        Whether the file may have rows already.

    Raises
    ------
    ConfigError
        There is a file and `resume` is not given; its rows depend on something else than `identity`; it
        cannot be written.
    InUseError
        Another process holds it.
    DataError
        It is not such a file, or a line other than the last is damaged.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
        self.path = path
        self._rows: dict[str, Outcome] = {}
        try:
            self._file = path.open("a+b")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise InUseError(f"{path}: expected nobody else at it, another process holds it") from None
        try:
            self._begin(identity, resume)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> KeptRows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, point: Mapping[str, Value], market: str, seed: int) -> Outcome | None:
        """The row of that key if it is there and did not fail; `market` is the key of its content."""
        return self._rows.get(_key(point, market, seed))

    def add(self, point: Mapping[str, Value], market: str, seed: int, outcome: Outcome) -> None:
        """Appends a row."""
        self._append(
            {
                "point": dict(point),
                "market": market,
                "seed": seed,
                "error": outcome.error,
                "figures": outcome.figures,
            }
        )
        if outcome.figures is not None:
            # What a row is must not depend on whether it was played or read.
            read = json.loads(json.dumps(outcome.figures))
            self._rows[_key(point, market, seed)] = Outcome(read)

    def close(self) -> None:
        """Syncs to disk and lets go."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()

    def _begin(self, identity: Mapping[str, Any], resume: bool) -> None:
        self._file.seek(0)
        text = self._file.read()
        whole = text[: text.rfind(b"\n") + 1]
        lines = whole.splitlines()
        if lines and not resume:
            if len(lines) > 1 or not lines[0].startswith(b'{"sweep": '):
                raise ConfigError(
                    f"{self.path}: expected no such file, there is one; --resume goes on with it, removing "
                    "it begins anew"
                )
            lines, whole = [], b""  # of a sweep that ended before its first row
        if len(whole) < len(text):  # cut off by a kill, or begun anew
            self._file.truncate(len(whole))
        if not lines:
            self._append({"sweep": FORMAT, "identity": identity})
            return
        self._check(self._line(1, lines[0], {"sweep", "identity"}), identity)
        for number, line in enumerate(lines[1:], 2):
            row = self._line(number, line, {"point", "market", "seed", "error", "figures"})
            if row["figures"] is not None:
                self._rows[_key(row["point"], row["market"], row["seed"])] = Outcome(row["figures"])

    def _line(self, number: int, line: bytes, keys: set[str]) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict) or found.keys() != keys:
            raise DataError(
                f"{self.path}:{number}: expected JSON with {', '.join(sorted(keys))}, found {line[:80]!r}"
            )
        return found

    def _check(self, head: dict[str, Any], identity: Mapping[str, Any]) -> None:
        wanted = json.loads(json.dumps(identity))
        there = head["identity"] if head["sweep"] == FORMAT else {"format": head["sweep"]}
        for name in wanted:
            if there.get(name) != wanted[name]:
                was, now = _difference(there.get(name), wanted[name])
                raise ConfigError(
                    f"{self.path}: its rows were played with another {name} ({was}, now {now}); they cannot "
                    "be gone on with. Remove the file to begin anew, or go back to what it was played with"
                )

    def _append(self, row: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(row).encode() + b"\n")
        self._file.flush()


def _key(point: Mapping[str, Value], market: str, seed: int) -> str:
    return json.dumps([sorted(point.items()), market, seed])


def _difference(was: Any, now: Any, name: str = "") -> tuple[str, str]:
    """The first part of plain data that is not the same, in both."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted({*was, *now}):
            if was.get(key) != now.get(key):
                return _difference(was.get(key), now.get(key), f"{name}.{key}" if name else key)
    label = f"{name} = " if name else ""
    return f"{label}{was}", f"{label}{now}"
