"""Whatever a journal holds, the fast reading of which orders may be alive and the slow one agree."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from invmm._ext.journal import Journal
from invmm.execution.journal import possibly_alive
from invmm.journal_types import (
    CHECKPOINT_DTYPE,
    FILE_DTYPE,
    MAGIC,
    ORDER_DTYPE,
    RECORD_BYTES,
    JournalKind,
    Stream,
)
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, CommandKind, OrderStatus
from tests.reference.living import alive_by_rule

ROOM = 200
STATUSES = (
    "SENT",
    "LIVE",
    "REJECTED",
    "COPY_REFUSED",
    "UNKNOWN",
    "CANCELED",
    "REFUSED",
    "FOUND",
    "NOT_FOUND",
    "DUPLICATED",
)
ids = st.integers(1, 5)
times = st.integers(1, 6)
listed = st.lists(st.tuples(ids, st.booleans()), max_size=3)
happenings = st.one_of(
    st.tuples(st.just("intent"), ids, times),
    st.tuples(st.just("resend"), ids, times),
    st.tuples(st.just("result"), ids, times, st.sampled_from(STATUSES)),
    st.tuples(st.just("event"), ids, times, st.sampled_from(STATUSES)),
    st.tuples(st.just("ended"), ids, times),
    st.tuples(st.just("revived"), ids, times),
    st.tuples(st.just("checkpoint"), listed, times, st.booleans()),
)
sessions = st.lists(st.lists(happenings, max_size=25), min_size=1, max_size=3)


def an_id(number: int) -> np.void:
    return np.void(number.to_bytes(1) * 32)


def command(number: int, at_ns: int, kind: CommandKind) -> bytes:
    words = np.zeros(1, COMMAND_DTYPE)
    words["kind"], words["key"], words["order_id"], words["decided_ns"] = kind, number, an_id(number), at_ns
    return words.tobytes()


def event(number: int, at_ns: int, status: str) -> bytes:
    words = np.zeros(1, EVENT_DTYPE)
    words["status"], words["order_id"], words["time_ns"] = OrderStatus[status], an_id(number), at_ns
    return words.tobytes()


def order(number: int, at_ns: int, named: bool = True) -> bytes:
    words = np.zeros(1, ORDER_DTYPE)
    words["key"], words["sent_ns"] = number, at_ns
    if named:
        words["order_id"] = an_id(number)
    return words.tobytes()


class Files:
    """One file of each stream, of one session."""

    def __init__(self, session: int) -> None:
        self.session = session
        self.memory = {stream: bytearray((ROOM + 1) * RECORD_BYTES) for stream in Stream}
        self.inputs, self.intents = (self._journal(stream) for stream in (Stream.INPUTS, Stream.INTENTS))

    def _journal(self, stream: Stream) -> Journal:
        header = np.zeros(1, FILE_DTYPE)
        header["magic"], header["record_bytes"], header["stream"] = MAGIC, RECORD_BYTES, stream
        header["session"], header["number"] = self.session, self.session
        journal = Journal()
        journal.offer(self.memory[stream], header.tobytes(), 0)
        return journal

    def save(self, folder: Path) -> None:
        """As a session leaves them that was killed."""
        for stream, memory in self.memory.items():
            (folder / f"{stream.name.lower()}-{self.session:08}.journal").write_bytes(memory)


def write(journal: Files, happening: Any) -> None:
    what, first, at_ns, *more = happening
    if what == "intent":
        journal.intents.append(JournalKind.INTENT, command(first, at_ns, CommandKind.PLACE), at_ns)
    elif what == "resend":
        journal.intents.append(JournalKind.COMMAND, command(first, at_ns, CommandKind.RESEND), at_ns)
    elif what == "result":
        journal.intents.append(JournalKind.RESULT, event(first, at_ns, more[0]), at_ns)
    elif what == "event":
        journal.inputs.append(JournalKind.EVENT, event(first, at_ns, more[0]), at_ns)
    elif what in ("ended", "revived"):
        journal.inputs.append(JournalKind[what.upper()], order(first, at_ns), at_ns)
    else:
        head = np.zeros(1, CHECKPOINT_DTYPE)
        head["orders"] = len(first) + more[0]  # one more than there are: it was cut short
        journal.inputs.append(JournalKind.CHECKPOINT, head.tobytes(), at_ns)
        for number, named in first:
            journal.inputs.append(JournalKind.ORDER, order(number, at_ns, named), at_ns)


@settings(max_examples=100, deadline=None)
@given(sessions)
def test_what_may_be_alive_is_what_the_rules_say_record_by_record(told: list[list[Any]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        for number, session in enumerate(told, 1):
            files = Files(number)
            for happening in session:
                write(files, happening)
            files.save(Path(place))
        found = {
            bytes.fromhex(order.order_id[2:]): (order.last_evidence, order.heard_ns)
            for order in possibly_alive(Path(place))
        }
        assert found == alive_by_rule(Path(place))
