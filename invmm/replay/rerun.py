"""A session once more, from its journal of inputs: the same events into new steps give the same commands.

Needs the frames (`[state] journal_frames`) and the whole session, from its first record on. A command's stamp
of the frame that caused it (`entered_ns_low`) is real time and is not compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from invmm._ext.words import SharedWords
from invmm.engine import Engine
from invmm.errors import DataError
from invmm.execution.journaled import JournalFile, joined, payload, read_stream, text_of
from invmm.journal_types import ACCOUNT_DTYPE, PAYLOAD_BYTES, JournalFlag, JournalKind, Records, Stream
from invmm.replay.tape import MarketInfo
from invmm.settings import Settings
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, CommandArray, EventArray, EventKind, Outcome

ACCOUNT_CALLS = {"set_cash": 2, "bar": 2, "bar_all": 1, "park": 1, "park_e10": 1, "release": 1}
"""Methods of the account that are journaled, and how many arguments they take."""


@dataclass(frozen=True)
class Rerun:
    """What came of it: the engine at the end, and how its commands compare with those of the journal."""

    engine: Engine
    events: int
    commands: int
    journaled: int
    differing: int | None
    """Index of the first command that is not the same, None if all are."""

    @property
    def is_equal(self) -> bool:
        """Whether every command was the same."""
        return self.differing is None


def rerun(folder: Path, session: int | None = None) -> Rerun:
    """Runs a session of a journal again.

    Parameters
    ----------
    folder : Path
        Of the journal.
    session : int, optional
        Which one (`JournalFile.session`); the last if omitted.

    Raises
    ------
    DataError
        There is no such session, its beginning or its frames are not there, or something was lost.
    """
    files = list(read_stream(folder, Stream.INPUTS))
    if session is None and files:
        session = files[-1].session
    chosen = [file for file in files if file.session == session]
    if not chosen:
        raise DataError(f"{folder}: expected a journal of inputs of {session or 'a session'}, found none")
    _check(chosen)
    records = np.concatenate([file.records for file in chosen])
    return _Again(records).run()


def _check(files: Iterable[JournalFile]) -> None:
    sequence = 1
    for file in files:
        if file.end.is_torn:
            raise DataError(
                f"{file.path}: expected whole records, it ends at {file.end.offset}: {file.end.reason}"
            )
        first = int(file.records["sequence"][0]) if len(file.records) else sequence
        if first != sequence:
            raise DataError(f"{file.path}: expected record {sequence} first, found {first}")
        if (file.records["flags"] & JournalFlag.LOST).any():
            raise DataError(f"{file.path}: expected every record, some had found no room")
        sequence += len(file.records)


class _Again:
    def __init__(self, records: Records) -> None:
        self.records = records
        self.engine: Engine | None = None
        self.made: list[Records] = []
        self.events = 0
        self.words = SharedWords()  # as the executor published them

    def run(self) -> Rerun:
        records = self.records
        for i in range(len(records)):
            kind = int(records["kind"][i])
            if kind == JournalKind.SESSION:
                self.engine = _engine_of(json.loads(text_of(records, i)))
                self.engine.venue = _Published(self.words)
            elif kind == JournalKind.MARKET:
                self._open(json.loads(text_of(records, i, PAYLOAD_BYTES)), i)
            elif kind == JournalKind.ACCOUNT:
                self._tell_account(payload(records[i : i + 1], ACCOUNT_DTYPE)[0])
            elif kind == JournalKind.VENUE:
                event = payload(records[i : i + 1], EVENT_DTYPE)[0]
                self.words.venue_mode, self.words.venue_stop = int(event["status"]), int(event["reason"])
                self.words.missed_heartbeats = int(event["batch"])
            elif kind in (JournalKind.EVENT, JournalKind.BUFFER):
                self._step(i, kind)
        if self.engine is None:
            raise DataError("expected a SESSION record, found none")
        told = payload(records[records["kind"] == JournalKind.COMMAND], COMMAND_DTYPE)
        made = np.concatenate(self.made) if self.made else np.zeros(0, COMMAND_DTYPE)
        return Rerun(self.engine, self.events, len(made), len(told), _first_difference(made, told))

    def _open(self, content: dict[str, Any], i: int) -> None:
        if self.engine is None or "condition_id" not in content:
            return
        number = int(self.records["link"][i] >> np.uint64(40)) - 1
        known = self.engine.markets.get(number)
        if known is not None and known.info.condition_id == content["condition_id"]:
            return  # told again with a checkpoint
        if known is not None:
            del self.engine.markets[number]
        names = {each.name for each in fields(MarketInfo)}
        words = {name: value for name, value in content.items() if name in names}
        if words.get("winner") is not None:
            words["winner"] = Outcome(words["winner"])
        self.engine.add_market(MarketInfo(**words), number=number)

    def _tell_account(self, words: Any) -> None:
        call = words["call"].decode()
        if self.engine is not None and call in ACCOUNT_CALLS:
            arguments = (int(words["first"]), int(words["second"]))[: ACCOUNT_CALLS[call]]
            getattr(self.engine.risk.account, call)(*arguments)

    def _step(self, i: int, kind: int) -> None:
        event = payload(self.records[i : i + 1], EVENT_DTYPE).copy()
        if self.engine is None or int(event["market"][0]) not in self.engine.markets:
            return
        frame = b""
        if int(event["kind"][0]) == EventKind.FRAME:
            frame = joined(self.records, i)[PAYLOAD_BYTES:][: int(event["length"][0])]
            if len(frame) < int(event["length"][0]):
                raise DataError(f"record {int(self.records['sequence'][i])}: expected the bytes of its frame")
            event["offset"] = 0
        elif kind == JournalKind.BUFFER and int(event["offset"][0]) and not self._has_frames(i):
            raise DataError("expected the bytes of market messages ([state] journal_frames), found none")
        self.events += 1
        commands = self.engine.step(event, int(self.records["time_ns"][i]), frame)
        if len(commands):
            self.made.append(commands.copy())

    def _has_frames(self, i: int) -> bool:
        return i > 0 and int(self.records["kind"][i - 1]) in (JournalKind.BYTES, JournalKind.EVENT)


class _Published:
    """Stands for the venue: nothing is sent, its words are those of the journal."""

    def __init__(self, words: SharedWords) -> None:
        self.words = words
        self.commands = None

    def start(self) -> None:
        """Nothing."""

    def submit(self, commands: CommandArray, now_ns: int) -> int:
        """Takes all."""
        return len(commands)

    def poll(self, now_ns: int, out: EventArray) -> int:
        """Nothing comes: all that came is in the journal."""
        return 0

    def close(self) -> None:
        """Nothing."""


def _engine_of(content: dict[str, Any]) -> Engine:
    default = Settings()
    tables = {name: type(getattr(default, name))(**table) for name, table in content["settings"].items()}
    return Engine(Settings(**tables), policy=content["policy"], seed=content["seed"])


def _first_difference(made: Records, told: Records) -> int | None:
    made, told = made.copy(), told.copy()
    made["entered_ns_low"] = told["entered_ns_low"] = 0
    count = min(len(made), len(told))
    rows = np.ascontiguousarray(made[:count]).view(np.uint8).reshape(count, -1)
    others = np.ascontiguousarray(told[:count]).view(np.uint8).reshape(count, -1)
    differing = np.flatnonzero((rows != others).any(axis=1))
    if len(differing):
        return int(differing[0])
    return None if len(made) == len(told) else count
