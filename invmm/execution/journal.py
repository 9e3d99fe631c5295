"""The two journals of a session, and what they say about orders that may be alive.

    FOLDER/inputs-00000007.journal    what the engine was told and decided; the engine's thread writes
    FOLDER/intents-00000002.journal   what the executor was about to send, and heard; its thread writes

`SessionJournal` keeps their files: one background thread makes the next file before it is needed, syncs what
was written to disk and removes the oldest files. A file of intents stays as long as an order in it may be
alive; the inputs hold a checkpoint (`checkpoint`) of all such orders after every change of file, and nothing
from the last one on is removed.

What survives: the death of the process, whatever was appended; a loss of power, what was synced.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import secrets
import threading
from collections.abc import Callable, Container, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from invmm._ext.account import Account
from invmm._ext.inputs import InputLog
from invmm._ext.journal import Journal, header_of
from invmm.clock import Clock
from invmm.errors import ConfigError, origin_of
from invmm.execution.journaled import (
    KEY_BITS,
    SUFFIX,
    JournaledOrder,
    journal_files,
    last_checkpoint,
    possibly_alive,
    read_stream,
)
from invmm.journal_types import (
    CHECKPOINT_DTYPE,
    FILE_DTYPE,
    MAGIC,
    MARKET_DTYPE,
    ORDER_DTYPE,
    RECORD_BYTES,
    JournalKind,
    Records,
    Stream,
)
from invmm.permission import AlarmKind, Permission
from invmm.settings import Settings, StateSettings

if TYPE_CHECKING:
    from invmm.market import Market

WARM = 512  # records ahead of the writer whose pages it need not wait for: of two syncs, in a busy market

__all__ = ["JournaledOrder", "SessionJournal", "possibly_alive", "read_stream", "settings_digest"]


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """What became of one stream's records; `lag_ns` is engine time."""

    records: int  # written
    refused: int  # … that found no room
    room: int  # … that there is room for, the file that waits included
    unsynced: int  # … that a loss of power might lose
    lag_ns: int  # for how long some of these have waited; 0 if none does


class SessionJournal:
    """Both journals of one session; a context manager.

    Parameters
    ----------
    folder : Path
        Where the files lie; made if it does not exist. Nobody else may write there (`StateFolder` locks).
    settings : StateSettings
    clock : Clock
        Engine time, for the first record of each file.
    account : str
        Public address, `0x` and 40 hex digits.
    digest : bytes
        SHA-256 of the settings (`settings_digest`), 32 bytes.
    background : bool
        False: no thread; whoever owns the journal calls `tend` (tests, a virtual clock).

    Raises
    ------
    ConfigError
        The first files cannot be made.

    Examples
    --------
    >>> import tempfile
    >>> from invmm.clock import ReplayClock
    >>> from invmm.settings import StateSettings
    >>> with tempfile.TemporaryDirectory() as place:
    ...     with SessionJournal(Path(place), StateSettings(), ReplayClock(), background=False) as journal:
    ...         journal.inputs.append(JournalKind.NOTE, b"hello")
    ...     [(f.end.reason.value, f.records["kind"].tolist()) for f in read_stream(Path(place), "inputs")]
    True
    [('closed', [15, 16])]
    """

    def __init__(
        self,
        folder: Path,
        settings: StateSettings,
        clock: Clock,
        *,
        account: str = "0x" + "00" * 20,
        digest: bytes = bytes(32),
        background: bool = True,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.session = secrets.randbits(64)
        self._clock = clock
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.inherited = possibly_alive(folder)
        """Orders of earlier sessions that may be alive; those that the engine has not adopted are in each
        checkpoint until `ended`."""
        header = np.zeros(1, FILE_DTYPE)
        header["magic"], header["record_bytes"] = MAGIC, RECORD_BYTES
        header["session"], header["pid"], header["started_ns"] = self.session, os.getpid(), clock.now_ns()
        header["account"] = np.frombuffer(bytes.fromhex(account.removeprefix("0x")), "V20")
        header["digest"], header["boot"] = np.frombuffer(digest, "V32"), np.frombuffer(_boot_id(), "V16")
        self._inputs = _Files(folder, Stream.INPUTS, header, settings, clock)
        self._intents = _Files(folder, Stream.INTENTS, header, settings, clock)
        self._problem = ""
        self._checked = -1  # changes of the inputs' file that a checkpoint has followed
        self._closed = False
        self._tending = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        try:
            self._inputs.tend()
            self._intents.tend()
        except OSError as error:
            self._discard()
            raise ConfigError(f"journal in {folder}: its first files cannot be made: {error}") from error
        if background:
            self._thread = threading.Thread(target=self._keep, name="invmm journal", daemon=True)
            self._thread.start()

    @property
    def inputs(self) -> Journal:
        """Written by the engine's thread."""
        return self._inputs.journal

    @property
    def intents(self) -> Journal:
        """Written by the executor's thread, from its start on."""
        return self._intents.journal

    @property
    def failed(self) -> str:
        """Why something cannot be written, or soon will not be; empty while all is well."""
        if self._problem:
            return self._problem
        for files in (self._inputs, self._intents):
            if not self._closed and files.journal.room == 0:
                return f"{files.stream.name.lower()}: no room, the next file is not ready"
        return ""

    def figures(self) -> dict[Stream, StreamFigures]:
        """How it stands. From any thread; figures may be a moment apart."""
        now_ns = self._clock.now_ns()
        return {files.stream: files.figures(now_ns) for files in (self._inputs, self._intents)}

    @property
    def needs_checkpoint(self) -> bool:
        """Whether there is none yet in this session, or another file of inputs was begun since."""
        return self._inputs.turns != self._checked

    # On the engine's thread.

    def begin(self, policy: str, seed: int, settings: Settings, account: Account) -> None:
        """Says how the engine was made, so that it can be made again; what its account is told is kept."""
        account.journal = self.inputs
        content = {"policy": policy, "seed": seed, "settings": asdict(settings)}
        self.inputs.append(JournalKind.SESSION, _json(content), self._clock.now_ns(), self.session)

    def open_market(self, market: Market) -> InputLog:
        """Says which market a number stands for; what its step writes with."""
        self._write_market(_market_words(market), _market_json(market))
        info = market.info
        up, down = _token_bytes(info.up_token_id), _token_bytes(info.down_token_id)
        return InputLog(self.inputs, market.number, up, down, self.settings.journal_frames)

    def note(self, text: str) -> None:
        """A line for people."""
        self.inputs.append(JournalKind.NOTE, text.encode(errors="replace"), self._clock.now_ns())

    def ended(self, order_id: str) -> None:
        """An order of an earlier session (`inherited`) is proven dead or filled."""
        for order in [each for each in self.inherited if each.order_id == order_id]:
            self.inherited.remove(order)
            words = _inherited_order(order)
            self.inputs.append(JournalKind.ENDED, words.tobytes(), self._clock.now_ns(), order.key)

    def tick(self, markets: Iterable[Market], adopted: Container[bytes], permission: Permission) -> None:
        """A checkpoint when it is time for one; what cannot be written is an alarm, once."""
        if self.needs_checkpoint:
            self.checkpoint(markets, adopted)
        if self.failed and self.failed not in permission.alarms:
            permission.alarm(self.failed, AlarmKind.JOURNAL)

    def checkpoint(self, markets: Iterable[Market], adopted: Container[bytes] = ()) -> bool:
        """Writes every order that may be alive: those of open markets and the inherited ones.

        Parameters
        ----------
        markets : iterable of Market
            All that are open.
        adopted : container of bytes
            Ids of the orders that these markets have had; inherited ones among them are theirs now.

        Returns
        -------
        bool
            False: there was no room for all of it; it does not count.
        """
        turns, now_ns = self._inputs.turns, self._clock.now_ns()
        open_markets = [market for market in markets if market.step.log.journal is self.inputs]
        for market in open_markets:
            self._write_market(_market_words(market), _market_json(market))
        self.inherited = [each for each in self.inherited if _id_bytes(each.order_id) not in adopted]
        for order in self.inherited:
            self._write_market(_inherited_market(order), _json({"slug": order.slug}))
        head = np.zeros(1, CHECKPOINT_DTYPE)
        head["orders"] = len(self.inherited) + sum(
            market.step.registry.counts()["live"] for market in open_markets
        )
        written = self.inputs.append(JournalKind.CHECKPOINT, head.tobytes(), now_ns)
        for market in open_markets:
            written = written and market.step.log.write_orders(market.step.registry, now_ns)
        for order in self.inherited:
            words = _inherited_order(order).tobytes()
            written = written and self.inputs.append(JournalKind.ORDER, words, now_ns, order.key)
        if written:
            self._checked = turns
        return written

    def _write_market(self, words: Records, text: bytes) -> None:
        first_key = (int(words["market"][0]) + 1 << 40) + (int(words["serial"][0]) << KEY_BITS)
        self.inputs.append(JournalKind.MARKET, words.tobytes() + text, self._clock.now_ns(), first_key)

    # The background.

    def tend(self) -> None:
        """One round: the next files, syncing, removing. Never raises; `failed` says what went wrong."""
        with self._tending:
            if self._closed:
                return
            try:
                for files in (self._inputs, self._intents):
                    files.tend()
                self._inputs.prune(lambda paths: _before_checkpoint(paths, self.folder))
                self._intents.prune(lambda paths: _without_living(paths, self.folder))
                self._problem = ""
            except Exception as error:
                self._problem = f"journal: {error if isinstance(error, OSError) else origin_of(error)}"

    def _keep(self) -> None:
        while not self._stop.wait(self.settings.sync_ms / 1000):
            self.tend()

    def close(self) -> None:
        """Ends both in order and syncs them. Their writers must have ended: what comes later is refused.

        Idempotent.
        """
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5.0)
        with self._tending:
            if self._closed:
                return
            self._closed = True
            for files in (self._inputs, self._intents):
                try:
                    files.close(self.session)
                except OSError as error:
                    self._problem = f"journal: {error}"

    def _discard(self) -> None:
        self._closed = True
        for files in (self._inputs, self._intents):
            files.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class _Mapped:
    path: Path
    descriptor: int
    memory: mmap.mmap


class _Files:
    """The files of one stream: the present one, the one that waits, the old ones."""

    def __init__(
        self, folder: Path, stream: Stream, header: Records, settings: StateSettings, clock: Clock
    ) -> None:
        self.stream = stream
        self.journal = Journal()
        self.turns = 0  # how often the writer went on to another file
        self._folder = folder
        self._header = header.copy()
        self._header["stream"] = stream
        self._settings = settings
        self._clock = clock
        old = journal_files(folder, stream)
        self._number = int(old[-1].stem.rpartition("-")[2]) if old else 0
        self._open: list[_Mapped] = []  # the present one first
        self._warmed = -1  # sequence at which the pages to come were made writable
        self._looked = 0  # turns at which old files were last looked at
        self._synced = (0, clock.now_ns())  # records on disk, and when they had been written

    def tend(self) -> None:
        """Syncs; lets go of a full file; makes the next one. OSError when that is not possible."""
        until = self.journal.sequence, self._clock.now_ns()
        if self.journal.collect():
            self.turns += 1
            self._let_go(self._open.pop(0))
        if self._open:
            os.fdatasync(self._open[0].descriptor)
            self._synced = until
            if self.journal.sequence != self._warmed:
                self._warmed = self.journal.sequence
                self.journal.warm(WARM)
        while len(self._open) < 2:
            self._make()

    def _let_go(self, file: _Mapped) -> None:
        os.fdatasync(file.descriptor)
        file.memory.close()
        os.close(file.descriptor)

    def _make(self) -> None:
        size = (self._settings.journal_records + 1) * RECORD_BYTES
        path = self._folder / f"{self.stream.name.lower()}-{self._number + 1:08d}{SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Real blocks, not a promise: a full disk is an error here and not a signal at the writer's store.
            os.posix_fallocate(descriptor, 0, size)
            memory = mmap.mmap(descriptor, size)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        self._number += 1
        self._header["number"] = self._number
        self.journal.offer(memory, self._header.tobytes(), self._clock.now_ns())
        self._open.append(_Mapped(path, descriptor, memory))
        _sync_folder(self._folder)

    def figures(self, now_ns: int) -> StreamFigures:
        journal, (synced, at_ns) = self.journal, self._synced
        written = journal.sequence
        lag_ns = max(0, now_ns - at_ns) if written > synced else 0
        return StreamFigures(written, journal.refused, journal.room, written - synced, lag_ns)

    def prune(self, removable: Callable[[list[Path]], list[Path]]) -> None:
        """Removes the oldest files beyond those to keep, where `removable` agrees; after a change of file."""
        if self._looked == self.turns:
            return
        files = journal_files(self._folder, self.stream)
        too_many = files[: max(0, len(files) - 1 - self._settings.journal_files)]
        if too_many:
            for path in removable(too_many):
                path.unlink()
        self._looked = self.turns

    def close(self, session: int) -> None:
        journal = self.journal
        journal.append(JournalKind.CLOSE, b"", self._clock.now_ns(), session)
        used = journal.sequence
        journal.close()
        for file in self._open:
            head = header_of(file.memory[:RECORD_BYTES])
            first = int(head[0]["sequence"]) if head else used + 1
            os.fdatasync(file.descriptor)
            if first > used and file is not self._open[0]:
                file.path.unlink()  # it waited, and was not needed
            os.close(file.descriptor)  # its memory stays mapped as long as somebody may append
        self._open.clear()

    def discard(self) -> None:
        """It never began: leaves no file."""
        self.journal.close()
        for file in self._open:
            file.path.unlink(missing_ok=True)
            os.close(file.descriptor)
        self._open.clear()


def settings_digest(settings: Settings) -> bytes:
    """SHA-256 of the settings, 32 bytes."""
    return hashlib.sha256(_json(asdict(settings))).digest()


def _before_checkpoint(paths: list[Path], folder: Path) -> list[Path]:
    """Of these files of inputs those that nothing needs: a checkpoint's markets may be in the file before."""
    files = journal_files(folder, Stream.INPUTS)
    found = last_checkpoint(files)
    needed = set() if found is None else set(files[max(0, files.index(found) - 1) :])
    return [] if found is None else [path for path in paths if path not in needed]


def _without_living(paths: list[Path], folder: Path) -> list[Path]:
    """Of these files of intents those in which no order may be alive."""
    needed = {order.file for order in possibly_alive(folder)}
    return [path for path in paths if path.name not in needed]


def _market_words(market: Market) -> Records:
    info, words = market.info, np.zeros(1, MARKET_DTYPE)
    words["condition_id"] = np.frombuffer(_id_bytes(info.condition_id), "V32")
    words["up_token_id"] = np.frombuffer(_token_bytes(info.up_token_id), "V32")
    words["down_token_id"] = np.frombuffer(_token_bytes(info.down_token_id), "V32")
    words["market"], words["serial"] = market.number, market.serial
    words["end_ms"], words["tick_e4"] = info.end_s * 1000, info.tick_e4
    words["min_size_micro"] = info.min_size_micro
    return words


def _market_json(market: Market) -> bytes:
    return _json(asdict(market.info))


def _inherited_market(order: JournaledOrder) -> Records:
    words = np.zeros(1, MARKET_DTYPE)
    words["condition_id"] = np.frombuffer(_id_bytes(order.condition_id), "V32")
    name = "down_token_id" if order.outcome else "up_token_id"
    words[name] = np.frombuffer(_token_bytes(order.token_id), "V32")
    words["market"] = order.market
    return words


def _inherited_order(order: JournaledOrder) -> Records:
    words = np.zeros(1, ORDER_DTYPE)
    words["key"], words["market"] = order.key, order.market
    words["order_id"] = np.frombuffer(_id_bytes(order.order_id), "V32")
    words["token_id"] = np.frombuffer(_token_bytes(order.token_id), "V32")
    words["token"], words["side"], words["order_type"] = order.outcome, order.side, order.order_type
    words["price_e4"], words["size_micro"] = order.price_e4, order.size_micro
    words["filled_micro"], words["expiration_s"] = order.filled_micro, order.expiration_s
    words["sent_ns"], words["seen_ns"] = order.sent_ns, order.heard_ns
    return words


def _token_bytes(token_id: str) -> bytes:
    """A token id, a decimal number, in 32 bytes; zeros for anything else (names in tests and tapes)."""
    return int(token_id).to_bytes(32) if token_id.isdecimal() and len(token_id) < 78 else bytes(32)


def _id_bytes(text: str) -> bytes:
    """An id of 0x and 64 hex digits in 32 bytes; zeros for anything else."""
    try:
        return bytes.fromhex(text.removeprefix("0x")).rjust(32, b"\0")[-32:]
    except ValueError:
        return bytes(32)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _boot_id() -> bytes:
    try:
        return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)


def _json(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":"), sort_keys=True).encode()
