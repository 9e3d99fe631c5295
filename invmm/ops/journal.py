"""`invmm journal`: what was decided, sent and heard, record by record; and whether all of it is there."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from invmm.errors import ConfigError, DataError
from invmm.execution.journaled import SUFFIX, JournalFile, payload, read_file, read_stream
from invmm.journal_types import ORDER_DTYPE, PAYLOAD_BYTES, EndReason, JournalKind, Records, Stream
from invmm.ops.record_words import Row, Speaker, time_words
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, EventKind

EXIT_DONE: Final = 0
EXIT_DIFFERENT: Final = 1
LOOK_S: Final = 0.2
ENDS: Final = {
    EndReason.CLOSED: "closed in order",
    EndReason.FULL: "full, goes on in the next file",
    EndReason.UNWRITTEN: "not closed: still being written, or its process died",
    EndReason.CHECKSUM: "TORN: a record is not whole",
    EndReason.SEQUENCE: "TORN: a record does not belong there",
    EndReason.SHORT: "TORN: the file is cut",
    EndReason.HEADER: "no journal file",
}


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = argparse.ArgumentParser(
        prog="invmm journal",
        description="Prints a journal: inputs of the engine ('in') and intents of the executor ('out') by "
        "time, then the state of each file. Times are UTC of the engine's clock; an order's key is "
        "market.serial.count, and #N the number of the command that both streams name.",
        epilog="Exit codes: 0 done, 1 --rerun gave other commands, 2 usage, or no journal there.",
    )
    p.add_argument(
        "path",
        nargs="?",
        type=Path,
        help="a state folder, its journal folder or one file (default: the state folder used last)",
    )
    p.add_argument("--stream", choices=("inputs", "intents"), help="only one of the two")
    p.add_argument(
        "--kind",
        metavar="KIND,…",
        help="only records of these kinds: " + ", ".join(kind.name for kind in JournalKind),
    )
    p.add_argument(
        "--order", metavar="ID", help="only what names this order: 0x… (or its beginning), or a key"
    )
    p.add_argument("--all", action="store_true", help="also timers and the boundaries of market messages")
    p.add_argument("--last", type=int, metavar="N", help="only the last N records")
    p.add_argument("--session", metavar="HEX", help="only this session; 'last' for the last one")
    p.add_argument("--follow", action="store_true", help="go on printing what is written, until interrupted")
    p.add_argument("--rerun", action="store_true", help="run the session again and compare every command")
    p.add_argument("--json", action="store_true", help="one JSON object per record; files at the end")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    options = parser().parse_args(arguments)
    folder = journal_folder(options.path)
    if options.rerun:
        return _rerun(folder, options)
    try:
        journal = ReadJournal(folder)
        if not journal.files:
            raise DataError(f"{folder}: expected journal files (*{SUFFIX}), found none")
        chosen = _chosen(journal, options)
        speaker = Speaker(journal.rows(kinds=[JournalKind.MARKET]))
        _print(speaker, chosen, options.json)
        if options.follow:
            _follow(folder, journal, options)
        else:
            _print_ends(journal, options.json)
    except KeyboardInterrupt:
        return 130
    return EXIT_DONE


def journal_folder(path: Path | None) -> Path:
    """Where the journal lies that a path stands for; the one used last for None."""
    if path is None:
        base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        found = sorted(Path(base).glob(f"invmm/*/journal/*{SUFFIX}"), key=lambda each: each.stat().st_mtime)
        if not found:
            raise ConfigError(f"expected a state folder in {base}/invmm, found none with a journal; name one")
        return found[-1].parent
    if not path.exists():
        raise ConfigError(f"{path}: expected a state folder, its journal or a file, it does not exist")
    return path / "journal" if (path / "journal").is_dir() else path


@dataclass
class ReadJournal:
    """A journal, read: files of both streams, and the records of each session as one."""

    path: Path
    files: list[tuple[Stream, JournalFile]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.path.is_file():
            file = read_file(self.path, salvage=True)
            self.files = [(Stream(int(file.header["stream"])), file)]
        else:
            self.files = [
                (stream, file) for stream in Stream for file in read_stream(self.path, stream, salvage=True)
            ]
        self._joined: dict[tuple[Stream, int], Records] = {}
        for stream, file in self.files:
            known = self._joined.get((stream, file.session))
            self._joined[stream, file.session] = (
                file.records if known is None else np.concatenate([known, file.records])
            )

    @property
    def sessions(self) -> list[int]:
        """Sessions, oldest first."""
        times = {file.session: int(file.header["started_ns"]) for _, file in self.files}
        return sorted(times, key=lambda each: times[each])

    def rows(
        self,
        *,
        kinds: Iterable[JournalKind] | None = None,
        session: int | None = None,
        stream: Stream | None = None,
        order: int | None = None,
        is_quiet: bool = False,
    ) -> list[Row]:
        """Records by session and time; within a stream always in their order.

        `order`: only what names its key. `is_quiet`: neither timers nor boundaries of market messages.
        """
        places: list[tuple[int, int, Stream, int, int]] = []
        ranks = {each: rank for rank, each in enumerate(self.sessions)}
        for (which, of), records in self._joined.items():
            if (session is not None and of != session) or (stream is not None and which is not stream):
                continue
            keep = np.ones(len(records), dtype=bool)
            if kinds is not None:
                keep &= np.isin(records["kind"], list(kinds))
            keep &= records["kind"] != JournalKind.BYTES
            if is_quiet:
                keep &= ~_is_noise(records)
            if order is not None:
                keep &= _naming(records, order)
            clock = np.maximum.accumulate(records["time_ns"]) if len(records) else records["time_ns"]
            places += [(ranks[of], int(clock[i]), which, int(i), of) for i in np.flatnonzero(keep)]
        places.sort()
        return [Row(which, of, self._joined[which, of], i, at_ns) for _, at_ns, which, i, of in places]

    def identities(self, text: str) -> tuple[int, int, bytes]:
        """Session, key and id (zeros if it was never signed) of the order that a text names.

        Raises
        ------
        DataError
            None or several do.
        """
        found: dict[tuple[int, int], bytes] = {}
        wanted = text.lower().removeprefix("0x") if text.lower().startswith("0x") else None
        key = None if wanted is not None else key_of(text)
        for row in self.rows(
            kinds=[JournalKind.INTENT, JournalKind.COMMAND, JournalKind.ORDER, JournalKind.ENDED]
        ):
            words = row.words(COMMAND_DTYPE if row.kind.name in ("INTENT", "COMMAND") else ORDER_DTYPE)
            is_signed = row.kind is not JournalKind.COMMAND
            order_id = words["order_id"].tobytes() if is_signed else bytes(32)
            if (wanted is not None and is_signed and order_id.hex().startswith(wanted)) or (
                key is not None and int(words["key"]) == key
            ):
                place = row.session, int(words["key"])
                if order_id.strip(b"\0") or place not in found:
                    found[place] = order_id
        if not found:
            raise DataError(f"order {text}: the journal in {self.path} does not name it")
        if wanted is not None and len(set(found.values())) > 1:
            ids = ", ".join(f"0x{each.hex()[:12]}…" for each in found.values())
            raise DataError(f"order {text}: expected one, found {ids}")
        (session, number), order_id = list(found.items())[
            -1
        ]  # a key comes again in each session: the last one
        return session, number, order_id


def key_of(text: str) -> int:
    """An order's key from its number or from market.serial.count; DataError if it is neither."""
    parts = text.split(".")
    if not all(part.isdecimal() for part in parts) or len(parts) not in (1, 3):
        raise DataError(f"order {text}: expected 0x and hex digits, a key's number or market.serial.count")
    if len(parts) == 1:
        return int(text)
    market, serial, count = map(int, parts)
    return (market + 1 << 40) + (serial << 24) + count


def _is_noise(records: Records) -> npt.NDArray[np.bool_]:
    """Which records are ten a second and say little: timers, prices, boundaries of messages, frames."""
    if not len(records):
        return np.zeros(0, dtype=bool)
    first = np.ascontiguousarray(records["payload"]).view(np.uint8).reshape(-1, PAYLOAD_BYTES)[:, 0]
    events = (records["kind"] == JournalKind.EVENT) & np.isin(
        first, (EventKind.TIMER, EventKind.BUFFER_END, EventKind.FRAME, EventKind.PRICE)
    )
    return np.asarray(events | (records["kind"] == JournalKind.BUFFER))


def _naming(records: Records, order: int) -> npt.NDArray[np.bool_]:
    """Which records name an order's key."""
    found = np.zeros(len(records), dtype=bool)
    for kinds, dtype in (
        ((JournalKind.COMMAND, JournalKind.INTENT), COMMAND_DTYPE),
        ((JournalKind.EVENT, JournalKind.RESULT), EVENT_DTYPE),
        ((JournalKind.ENDED, JournalKind.REVIVED, JournalKind.ORDER), ORDER_DTYPE),
    ):
        places = np.flatnonzero(np.isin(records["kind"], kinds))
        words = payload(records[places], dtype)
        found[places[words["key"] == order]] = True
    return found


def _session_of(journal: ReadJournal, text: str | None) -> int | None:
    if text is None:
        return None
    if text == "last":
        return journal.sessions[-1]
    found = [each for each in journal.sessions if f"{each:016x}".startswith(text.lower())]
    if len(found) != 1:
        raise DataError(
            f"--session {text}: expected one of {', '.join(f'{s:016x}' for s in journal.sessions)}"
        )
    return found[0]


def _chosen(journal: ReadJournal, options: argparse.Namespace) -> list[Row]:
    session = _session_of(journal, options.session)
    kinds = None
    if options.kind:
        try:
            kinds = [JournalKind[each.strip().upper()] for each in options.kind.split(",")]
        except KeyError as error:
            raise ConfigError(
                f"--kind: expected one of {', '.join(k.name for k in JournalKind)}, found {error}"
            ) from None
    stream = Stream[options.stream.upper()] if options.stream else None
    order: int | None = None
    if options.order:
        session, order, _ = journal.identities(options.order)
    is_quiet = kinds is None and not options.all
    rows = journal.rows(kinds=kinds, session=session, stream=stream, order=order, is_quiet=is_quiet)
    return rows if options.last is None else rows[-options.last :] if options.last else []


def _print(speaker: Speaker, rows: Iterable[Row], as_json: bool) -> None:
    session: int | None = None
    for row in rows:
        if as_json:
            print(json.dumps(speaker.fact(row)))
            continue
        if row.session != session:
            session = row.session
            print(f"── session {session:016x} " + "─" * 60)
        print(speaker.line(row))


def _print_ends(journal: ReadJournal, as_json: bool) -> None:
    for stream, file in journal.files:
        facts = {
            "file": file.path.name,
            "stream": stream.name.lower(),
            "session": f"{file.session:016x}",
            "account": "0x" + file.header["account"].tobytes().hex(),
            "started": time_words(int(file.header["started_ns"])),
            "records": len(file.records),
            "room": int(file.header["records"]),
            "end": file.end.reason.value,
            "offset": file.end.offset,
            "salvaged": file.is_salvaged,
        }
        if as_json:
            print(json.dumps(facts))
            continue
        note = ", whole records after it were read" if file.is_salvaged else ""
        is_spare = not len(file.records) and file.end.reason is EndReason.UNWRITTEN
        state = "waits to be used" if is_spare else ENDS[file.end.reason]
        print(
            f"{facts['file']}: {facts['records']} of {facts['room']} records, account {facts['account']}: "
            f"{state} (byte {file.end.offset}){note}",
        )


def _follow(folder: Path, journal: ReadJournal, options: argparse.Namespace) -> None:
    """Prints what comes, until interrupted."""
    seen = {(stream, file.session): 0 for stream, file in journal.files}
    for (stream, session), records in journal._joined.items():
        seen[stream, session] = int(records["sequence"][-1]) if len(records) else 0
    while True:
        time.sleep(LOOK_S)
        journal = ReadJournal(folder)
        options.last = None
        fresh = [
            row for row in _chosen(journal, options) if row.sequence > seen.get((row.stream, row.session), 0)
        ]
        _print(Speaker(journal.rows(kinds=[JournalKind.MARKET])), fresh, options.json)
        sys.stdout.flush()
        for (stream, session), records in journal._joined.items():
            seen[stream, session] = int(records["sequence"][-1]) if len(records) else 0


def _rerun(folder: Path, options: argparse.Namespace) -> int:
    from invmm.replay.rerun import rerun

    again = rerun(folder, _session_of(ReadJournal(folder), options.session))
    facts = {
        "events": again.events,
        "commands": again.commands,
        "journaled": again.journaled,
        "differing": again.differing,
    }
    if options.json:
        print(json.dumps(facts))
    elif again.is_equal:
        print(f"{again.events} events gave {again.commands} commands, all as in the journal")
    else:
        print(
            f"{again.events} events gave {again.commands} commands, the journal has {again.journaled}: the "
            f"first that differs is number {again.differing}"
        )
    return EXIT_DONE if again.is_equal else EXIT_DIFFERENT
