"""Reading journals: files in order, what a record says, and which orders may be alive."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from invmm._ext.journal import header_of, read_bytes, whole
from invmm.errors import DataError
from invmm.journal_types import (
    CHECKPOINT_DTYPE,
    JOURNAL_DTYPE,
    MARKET_DTYPE,
    ORDER_DTYPE,
    PAYLOAD_BYTES,
    RECORD_BYTES,
    JournalEnd,
    JournalFlag,
    JournalKind,
    Records,
    Stream,
)
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, CommandKind, OrderStatus, OrderType, Outcome, Side

SUFFIX = ".journal"
KEY_BITS = 24  # of an order key, below number and serial of its market
NO_ID = bytes(32)
LANDED = [
    OrderStatus.LIVE,
    OrderStatus.MATCHED,
    OrderStatus.DELAYED,
    OrderStatus.DUPLICATED,
    OrderStatus.FOUND,
]


@dataclass(frozen=True)
class JournalFile:
    """One file, read: `header` (FILE_DTYPE) and whole `records` (JOURNAL_DTYPE) up to the first that is not.

    With `is_salvaged`, those after such a place that are whole, too.
    """

    path: Path
    header: Any
    records: Records
    end: JournalEnd
    is_salvaged: bool = False

    @property
    def session(self) -> int:
        """Common to all files of one session."""
        return int(self.header["session"])

    @property
    def number(self) -> int:
        """Counts the files of a stream in their folder."""
        return int(self.header["number"])


def journal_files(folder: Path, stream: Stream) -> list[Path]:
    """The files of a stream, oldest first."""
    return sorted(folder.glob(f"{stream.name.lower()}-*{SUFFIX}"))


def read_file(path: Path, *, salvage: bool = False) -> JournalFile:
    """One file.

    Raises
    ------
    DataError
        It cannot be read, or does not begin as a journal file does.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    header = header_of(data)
    if header is None:
        raise DataError(f"{path}: expected a journal file, its first record is not whole or not one")
    records, end = read_bytes(data)
    if salvage and end.is_torn:
        sound = whole(data, int(header[0]["sequence"]))
        found = np.frombuffer(data, JOURNAL_DTYPE, len(sound), RECORD_BYTES)[sound]
        return JournalFile(path, header[1], found, end, is_salvaged=len(found) > len(records))
    return JournalFile(path, header[1], records, end)


def read_stream(folder: Path, stream: str | Stream, *, salvage: bool = False) -> Iterator[JournalFile]:
    """The files of a stream in order, over all sessions. One that is no journal file is passed over.

    Parameters
    ----------
    folder : Path
    stream : Stream or its name, "inputs" or "intents"
    salvage : bool
        Whether whole records after a torn one count, too.
    """
    for path in journal_files(folder, Stream[stream.upper()] if isinstance(stream, str) else stream):
        try:
            yield read_file(path, salvage=salvage)
        except DataError:
            continue  # made when the power went: nothing had been written to it


def payload(records: Records, dtype: np.dtype[np.void]) -> Records:
    """The payloads of records as what they are."""
    return np.ascontiguousarray(records["payload"]).view(dtype).reshape(-1)


def joined(records: Records, index: int) -> bytes:
    """The whole payload of record `index`: with the BYTES records that go on."""
    parts = [records["payload"][index].tobytes()]
    while int(records["flags"][index]) & JournalFlag.MORE:
        index += 1
        if index == len(records) or int(records["kind"][index]) != JournalKind.BYTES:
            break
        parts.append(records["payload"][index].tobytes())
    return b"".join(parts)


def text_of(records: Records, index: int, skip: int = 0) -> str:
    """The text of record `index`, after `skip` bytes."""
    return joined(records, index)[skip:].rstrip(b"\0").decode(errors="replace")


def last_checkpoint(files: Sequence[Path]) -> Path | None:
    """Of files of inputs the newest that holds a checkpoint."""
    for path in reversed(files):
        try:
            records = read_file(path).records
        except DataError:
            continue
        if (records["kind"] == JournalKind.CHECKPOINT).any():
            return path
    return None


@dataclass(frozen=True, slots=True)
class JournaledOrder:
    """An order whose id was journaled and whose end was not.

    `slug`, `condition_id` and `token_id` are empty when its market's record is gone. `last_evidence` names
    the last OrderStatus heard and `heard_ns` when; SENT and the time of its decision (`sent_ns`) at first.
    """

    order_id: str
    key: int
    market: int
    slug: str
    condition_id: str
    token_id: str
    outcome: Outcome
    side: Side
    order_type: OrderType
    price_e4: int
    size_micro: int
    filled_micro: int
    expiration_s: int
    sent_ns: int
    last_evidence: str
    heard_ns: int
    session: int
    file: str


def possibly_alive(folder: Path) -> list[JournaledOrder]:
    """Every order whose id was journaled and that is not proven dead in the journal, oldest first.

    Proof is: refused before a byte left; refused by the venue, never sent twice and never seen alive; the
    venue's answer that it is cancelled; the engine's ENDED; absence from a later checkpoint. What is whole
    counts, also after a place that is not: an id is never missed because another record was.
    """
    inputs, intents = (list(read_stream(folder, s, salvage=True)) for s in (Stream.INPUTS, Stream.INTENTS))
    return living_of(inputs, intents)


def living_of(inputs: Sequence[JournalFile], intents: Sequence[JournalFile]) -> list[JournaledOrder]:
    """`possibly_alive`, of files that have been read, with what is whole after a torn place."""
    living = _Living()
    sessions: dict[int, list[Records]] = {}
    for file in inputs:
        sessions.setdefault(file.session, []).append(file.records)
    for session, parts in sessions.items():
        living.read_inputs(session, np.concatenate(parts) if len(parts) > 1 else parts[0])
    # A session's files of intents have numbers above those of all sessions before it.
    begins = min((file.number for file in intents if file.session == living.checkpoint_session), default=0)
    for file in intents:
        living.read_intents(file, is_before=file.number < begins)
    return sorted(living.conclude(), key=lambda order: order.sent_ns)


class _Living:
    """Collects what proves and disproves; only of orders that are left at the end more than the id is looked
    at. Loops run over ids as C makes them (`tolist`), never over records.
    """

    def __init__(self) -> None:
        self.checkpoint_session = 0
        self._checkpoint_ns = 0
        self._checkpoint: dict[bytes, Any] = {}  # by id
        self._unnamed: list[int] = []  # keys in it of orders whose id the engine did not know yet
        self._orders: dict[bytes, tuple[JournalFile, Any]] = {}  # intents, not covered by the checkpoint
        self._ended: dict[bytes, bool] = {}  # after the checkpoint: ended, or revived
        self._refused: set[bytes] = set()
        self._rejected: set[bytes] = set()
        self._alive_after_all: set[bytes] = set()  # seen alive: a refusal is no proof
        self._resent: set[bytes] = set()  # one refusal is no proof …
        self._copy_refused: set[bytes] = set()  # … and the copy's is the other one
        self._told: list[Records] = []  # events and results, in the order of reading
        self._markets: dict[tuple[int, int], Any] = {}  # by session and what its keys begin with
        self._conditions: dict[bytes, bytes] = {}  # by token
        self._slugs: dict[bytes, str] = {}

    def read_inputs(self, session: int, records: Records) -> None:
        """All inputs of one session, in order."""
        kinds = records["kind"]
        for i in np.flatnonzero(kinds == JournalKind.MARKET):
            words = payload(records[i : i + 1], MARKET_DTYPE)[0]
            self._markets[session, int(records["link"][i]) >> KEY_BITS] = words
            for name in ("up_token_id", "down_token_id"):
                self._conditions[words[name].tobytes()] = words["condition_id"].tobytes()
                self._slugs[words[name].tobytes()] = _slug(records, int(i))
        self._told.append(payload(records[kinds == JournalKind.EVENT], EVENT_DTYPE))
        first = 0
        for i in np.flatnonzero(kinds == JournalKind.CHECKPOINT)[::-1]:
            if self._read_checkpoint(session, records, int(i)):
                first = int(i)
                break  # whatever came before it, it says
        fates = np.flatnonzero(np.isin(kinds[first:], (JournalKind.ENDED, JournalKind.REVIVED))) + first
        ids = payload(records[fates], ORDER_DTYPE)["order_id"].tolist()
        self._ended.update(zip(ids, (kinds[fates] == JournalKind.ENDED).tolist(), strict=True))

    def _read_checkpoint(self, session: int, records: Records, i: int) -> bool:
        """Takes over the one that begins at record `i`, unless it was cut short."""
        count = int(payload(records[i : i + 1], CHECKPOINT_DTYPE)["orders"][0])
        listed = records[i + 1 : i + 1 + count]
        if len(listed) < count or (listed["kind"] != JournalKind.ORDER).any():
            return False
        orders = payload(listed, ORDER_DTYPE)
        self._checkpoint = dict(zip(orders["order_id"].tolist(), orders, strict=True))
        self._checkpoint.pop(NO_ID, None)
        self._unnamed = orders["key"][orders["order_id"] == np.void(NO_ID)].tolist()
        self.checkpoint_session, self._checkpoint_ns = session, int(records["time_ns"][i])
        self._ended.clear()
        return True

    def read_intents(self, file: JournalFile, *, is_before: bool) -> None:
        """One file of intents; `is_before`: of a session before that of the last checkpoint."""
        kinds = file.records["kind"]
        intents = payload(file.records[kinds == JournalKind.INTENT], COMMAND_DTYPE)
        covered = np.full(len(intents), is_before)
        if file.session == self.checkpoint_session:
            is_older = intents["decided_ns"] < self._checkpoint_ns
            covered |= is_older & ~np.isin(intents["key"], np.array(self._unnamed, dtype=np.uint64))
        ids = intents["order_id"].tolist()
        for order_id, is_covered, i in zip(ids, covered.tolist(), range(len(ids)), strict=True):
            if not is_covered or order_id in self._checkpoint:
                self._orders[order_id] = file, intents[i]
        commands = payload(file.records[kinds == JournalKind.COMMAND], COMMAND_DTYPE)
        results = payload(file.records[kinds == JournalKind.RESULT], EVENT_DTYPE)
        self._told.append(results)
        self._resent |= _ids(commands[commands["kind"] == CommandKind.RESEND])
        self._alive_after_all |= _ids(results[np.isin(results["status"], LANDED)])
        self._rejected |= _ids(results[results["status"] == OrderStatus.REJECTED])
        self._copy_refused |= _ids(results[results["status"] == OrderStatus.COPY_REFUSED])
        ends = (OrderStatus.REFUSED, OrderStatus.CANCELED)
        self._refused |= _ids(results[np.isin(results["status"], ends)])

    def conclude(self) -> list[JournaledOrder]:
        """What is left."""
        revived = {order_id for order_id, ended in self._ended.items() if not ended}
        dead = {order_id for order_id, ended in self._ended.items() if ended}
        open_copies = self._resent - self._copy_refused
        answered = self._refused | (self._rejected - self._alive_after_all - open_copies)
        dead |= answered - revived - self._checkpoint.keys()  # of those listed there, the engine knew better
        left = {
            order_id: self._order_of_intent(order_id, words, file)
            for order_id, (file, words) in self._orders.items()
            if order_id not in dead
        }
        for order_id, words in self._checkpoint.items():
            if order_id not in self._orders and order_id not in dead:  # its intent is in no file any more
                left[order_id] = self._order_of_checkpoint(order_id, words)
        self._hear(left)
        return list(left.values())

    def _hear(self, left: dict[bytes, JournaledOrder]) -> None:
        """What was told last of the orders that are left."""
        heard: dict[bytes, tuple[int, int]] = {}
        for events in self._told if left else ():
            events = events[events["status"] != 0]
            for i, order_id in enumerate(events["order_id"].tolist()):
                if order_id in left:
                    status, at_ns = int(events["status"][i]), int(events["time_ns"][i])
                    if at_ns >= heard.get(order_id, (0, 0))[1]:
                        heard[order_id] = status, at_ns
        for order_id, (status, at_ns) in heard.items():
            if at_ns >= left[order_id].heard_ns:
                left[order_id] = replace(
                    left[order_id], last_evidence=OrderStatus(status).name, heard_ns=at_ns
                )

    def _order_of_intent(self, order_id: bytes, words: Any, file: JournalFile) -> JournaledOrder:
        market = self._markets.get((file.session, int(words["key"]) >> KEY_BITS))
        name = "down_token_id" if int(words["token"]) else "up_token_id"
        token = NO_ID if market is None else market[name].tobytes()
        sent_ns = int(words["decided_ns"])
        return self._order(order_id, words, token, 0, sent_ns, sent_ns, file.session, file.path.name)

    def _order_of_checkpoint(self, order_id: bytes, words: Any) -> JournaledOrder:
        token, filled = words["token_id"].tobytes(), int(words["filled_micro"])
        sent_ns, seen_ns = int(words["sent_ns"]), int(words["seen_ns"])
        return self._order(order_id, words, token, filled, sent_ns, max(sent_ns, seen_ns), 0, "")

    def _order(
        self,
        order_id: bytes,
        words: Any,
        token: bytes,
        filled_micro: int,
        sent_ns: int,
        heard_ns: int,
        session: int,
        file: str,
    ) -> JournaledOrder:
        condition = self._conditions.get(token, NO_ID)
        return JournaledOrder(
            order_id="0x" + order_id.hex(),
            key=int(words["key"]),
            market=int(words["market"]),
            slug=self._slugs.get(token, ""),
            condition_id="" if condition == NO_ID else "0x" + condition.hex(),
            token_id="" if token == NO_ID else str(int.from_bytes(token)),
            outcome=Outcome(int(words["token"])),
            side=Side(int(words["side"])),
            order_type=OrderType(int(words["order_type"])),
            price_e4=int(words["price_e4"]),
            size_micro=int(words["size_micro"]),
            filled_micro=filled_micro,
            expiration_s=int(words["expiration_s"]),
            sent_ns=sent_ns,
            last_evidence=OrderStatus.SENT.name,
            heard_ns=heard_ns,
            session=session,
            file=file,
        )


def _slug(records: Records, index: int) -> str:
    try:
        return str(json.loads(text_of(records, index, PAYLOAD_BYTES))["slug"])
    except (ValueError, TypeError, KeyError):
        return ""


def _ids(rows: Records) -> set[bytes]:
    return set(rows["order_id"].tolist()) - {NO_ID}
