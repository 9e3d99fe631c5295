"""An append-only file of records, each on disk before `append` returns.

One record is one line: the CRC-32 of the text that follows, and that text, a JSON object. What a lane is
about to send is written here first, so whatever a crash interrupts, the next lane knows every transaction
that may take effect.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from invmm.errors import DataError, InUseError

Record = dict[str, Any]

_CRC_DIGITS: Final = 8


class LaneJournal:
    """Records of one lane; made (0600) if the file does not exist, locked while it is open.

    Parameters
    ----------
    path : Path
        Its folder exists.

    Attributes
    ----------
    records : tuple of dict
        What was found on opening, the oldest first.

    Raises
    ------
    InUseError
        Another lane has it open.
    DataError
        A record in the middle is damaged: it may name a transaction that was sent, so nothing may be sent
        before a person has looked. A last record that was torn while it was written is removed: what it
        names was never sent.
    OSError
        The file cannot be opened, made or synced.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     journal = LaneJournal(Path(place) / "lane")
    ...     journal.append({"kind": "job"})
    ...     journal.close()
    ...     again = LaneJournal(Path(place) / "lane")
    ...     again.close()
    ...     again.records
    ({'kind': 'job'},)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._broken = ""
        is_new = not path.exists()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(self._file), os.stat(path)):
                raise BlockingIOError  # it was replaced between the two lines above
            if is_new:
                _sync_folder(path.parent)
            content = _read(self._file)
            found, self._size = _parse(content, path)
            self.records: tuple[Record, ...] = tuple(found)
            if self._size < len(content):
                os.ftruncate(self._file, self._size)
                os.fsync(self._file)
        except BlockingIOError:
            os.close(self._file)
            raise InUseError(f"{path}: expected no other lane to use it, one does") from None
        except BaseException:
            os.close(self._file)
            raise

    def append(self, record: Record) -> None:
        """Writes a record and waits until it is on disk.

        Raises
        ------
        OSError
            It could not be written; it is not in the file. Where even that is not sure, every later call
            raises as well.
        """
        if self._broken:
            raise OSError(self._broken)
        line = _line(record)
        try:
            written = os.pwrite(self._file, line, self._size)
            if written != len(line):
                raise OSError(f"{self.path}: {written} of {len(line)} bytes could be written")
            os.fsync(self._file)
        except OSError:
            try:
                os.ftruncate(self._file, self._size)
                os.fsync(self._file)
            except OSError as error:
                self._broken = f"{self.path}: a failed record could not be taken back: {error}"
            raise
        self._size += len(line)

    def replace(self, records: Iterable[Record]) -> None:
        """Puts other records into the place of all that are there, at once: whatever interrupts it leaves
        either the old ones or the new ones.

        Raises
        ------
        OSError
            It could not be done; the old ones are there.
        """
        content = b"".join(map(_line, records))
        beside = self.path.with_name(self.path.name + ".new")
        file = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            written = os.pwrite(file, content, 0)
            if written != len(content):
                raise OSError(f"{beside}: {written} of {len(content)} bytes could be written")
            os.fsync(file)
            os.rename(beside, self.path)
        except BaseException:
            os.close(file)
            raise
        os.close(self._file)
        self._file, self._size = file, len(content)
        _sync_folder(self.path.parent)

    def close(self) -> None:
        """Closes the file and gives the lock back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._broken = f"{self.path}: closed"


def read_records(path: Path) -> tuple[Record, ...]:
    """The records of a journal, also of one that is in use; a last one that is being written is left out.

    Raises
    ------
    DataError
        A record is damaged.
    OSError
        The file cannot be read.
    """
    return tuple(_parse(path.read_bytes(), path)[0])


def _line(record: Record) -> bytes:
    text = json.dumps(record, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _read(file: int) -> bytes:
    parts = []
    offset = 0
    while part := os.pread(file, 1 << 20, offset):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


def _parse(content: bytes, path: Path) -> tuple[list[Record], int]:
    """The records and where they end."""
    found: list[Record] = []
    end = 0
    while end < len(content):
        newline = content.find(b"\n", end)
        line = content[end:newline] if newline >= 0 else content[end:]
        record = _record(line) if newline >= 0 else None
        if record is None:
            # Each record is synced before the next is begun, so only the last can be torn: it has no end, or
            # holes where a page did not reach the disk.
            if newline < 0 or (newline == len(content) - 1 and b"\0" in line):
                break
            raise DataError(
                f"{path}: record {len(found) + 1} at byte {end}: expected its checksum to match, it does "
                "not; it may name a transaction that was sent: look the account up before the file is moved"
            )
        found.append(record)
        end += len(line) + 1
    return found, end


def _record(line: bytes) -> Record | None:
    text = line[_CRC_DIGITS + 1 :]
    if line[:_CRC_DIGITS] != b"%08x" % zlib.crc32(text) or line[_CRC_DIGITS : _CRC_DIGITS + 1] != b" ":
        return None
    try:
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
