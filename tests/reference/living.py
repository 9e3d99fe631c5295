"""Which orders may be alive, told from a journal record by record: slow, and in the words of the rules.

The twin of `invmm.execution.journaled.possibly_alive`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from invmm.execution.journaled import read_stream
from invmm.journal_types import CHECKPOINT_DTYPE, ORDER_DTYPE, JournalKind, Stream
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, CommandKind, OrderStatus

NO_ID = bytes(32)
LANDED = ("LIVE", "MATCHED", "DELAYED", "DUPLICATED", "FOUND")


def alive_by_rule(folder: Path) -> dict[bytes, tuple[str, int]]:
    """Id → what was heard last and when, of every journaled order that is not proven dead."""
    told: list[Any] = []
    checkpoint: dict[bytes, Any] = {}
    unnamed: set[int] = set()
    checkpoint_session, checkpoint_ns = 0, 0
    ended: dict[bytes, bool] = {}
    inputs = [
        (file.session, record)
        for file in read_stream(folder, Stream.INPUTS, salvage=True)
        for record in file.records
    ]
    for i, (session, record) in enumerate(inputs):
        kind, content = int(record["kind"]), record["payload"].tobytes()
        if kind == JournalKind.EVENT:
            told.append(_read(content, EVENT_DTYPE))
        elif kind in (JournalKind.ENDED, JournalKind.REVIVED):
            ended[_id(_read(content, ORDER_DTYPE))] = kind == JournalKind.ENDED
        elif kind == JournalKind.CHECKPOINT:
            count = int(_read(content, CHECKPOINT_DTYPE)["orders"])
            listed = [each for of, each in inputs[i + 1 : i + 1 + count] if of == session]
            if len(listed) < count or any(int(each["kind"]) != JournalKind.ORDER for each in listed):
                continue  # cut short: the one before it holds
            orders = [_read(each["payload"].tobytes(), ORDER_DTYPE) for each in listed]
            checkpoint = {_id(each): each for each in orders if _id(each) != NO_ID}
            unnamed = {int(each["key"]) for each in orders if _id(each) == NO_ID}
            checkpoint_session, checkpoint_ns, ended = session, int(record["time_ns"]), {}
    intents = list(read_stream(folder, Stream.INTENTS, salvage=True))
    begins = min((file.number for file in intents if file.session == checkpoint_session), default=0)
    known: dict[bytes, tuple[str, int]] = {}
    ends: set[bytes] = set()
    rejected: set[bytes] = set()
    seen: set[bytes] = set()
    copied: set[bytes] = set()
    copy_refused: set[bytes] = set()
    for file in intents:
        for record in file.records:
            kind, content = int(record["kind"]), record["payload"].tobytes()
            if kind == JournalKind.INTENT:
                command = _read(content, COMMAND_DTYPE)
                decided_ns = int(command["decided_ns"])
                is_covered = file.number < begins or (
                    file.session == checkpoint_session
                    and decided_ns < checkpoint_ns
                    and int(command["key"]) not in unnamed
                )
                if not is_covered or _id(command) in checkpoint:
                    known[_id(command)] = "SENT", decided_ns
            elif kind == JournalKind.COMMAND:
                command = _read(content, COMMAND_DTYPE)
                if int(command["kind"]) == CommandKind.RESEND:
                    copied.add(_id(command))
            elif kind == JournalKind.RESULT:
                result = _read(content, EVENT_DTYPE)
                told.append(result)
                status = OrderStatus(int(result["status"])).name
                if status in LANDED:
                    seen.add(_id(result))
                elif status == "REJECTED":
                    rejected.add(_id(result))
                elif status == "COPY_REFUSED":
                    copy_refused.add(_id(result))
                elif status in ("REFUSED", "CANCELED"):
                    ends.add(_id(result))
    for order_id, order in checkpoint.items():
        known.setdefault(order_id, ("SENT", max(int(order["sent_ns"]), int(order["seen_ns"]))))
    left = {}
    for order_id, heard in known.items():
        is_refused = order_id in rejected and (order_id not in copied or order_id in copy_refused)
        is_answered = order_id in ends or (is_refused and order_id not in seen)
        if order_id in ended:
            is_dead = ended[order_id]
        else:
            is_dead = is_answered and order_id not in checkpoint  # the engine knew better
        if not is_dead:
            left[order_id] = _last_of(order_id, heard, told)
    return left


def _last_of(order_id: bytes, heard: tuple[str, int], told: list[Any]) -> tuple[str, int]:
    best = ("", 0)
    for event in told:
        if _id(event) == order_id and int(event["status"]) and int(event["time_ns"]) >= best[1]:
            best = OrderStatus(int(event["status"])).name, int(event["time_ns"])
    return best if best[0] and best[1] >= heard[1] else heard


def _read(content: bytes, dtype: Any) -> Any:
    return np.frombuffer(content, dtype)[0]


def _id(words: Any) -> bytes:
    return bytes(words["order_id"].tobytes())
