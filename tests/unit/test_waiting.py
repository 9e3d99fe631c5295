"""What waits in the executor."""

from __future__ import annotations

import numpy as np

from invmm.execution.waiting import CANCELS_MAX, GROUPS_MAX, Waiting
from invmm.types import COMMAND_DTYPE, CommandKind

PLACE, CANCEL, CANCEL_ALL = CommandKind.PLACE, CommandKind.CANCEL, CommandKind.CANCEL_ALL


def legs(kind: int, *keys: int, **fields: object) -> np.ndarray:
    rows = np.zeros(len(keys), COMMAND_DTYPE)
    rows["kind"], rows["key"] = kind, keys
    for name, value in fields.items():
        rows[name] = value
    return rows


def keys(rows: np.ndarray) -> list[int]:
    return [int(key) for key in rows["key"]]


def test_a_repeated_cancel_takes_the_place_of_the_earlier_of_which_nothing_is_said():
    waiting = Waiting()
    assert not waiting
    assert keys(waiting.keep(CANCEL, legs(CANCEL, 1, 2))) == []
    assert keys(waiting.keep(CANCEL, legs(CANCEL, 2, 3))) == []
    assert waiting.cancels == 3
    assert keys(waiting.take_cancels(2)) == [1, 2]
    assert keys(waiting.take_cancels(9)) == [3]
    assert keys(waiting.take_cancels(9)) == []
    assert not waiting


def test_cancels_by_id_alone_are_told_apart():
    waiting = Waiting()
    for number in (1, 2):
        assert keys(waiting.keep(CANCEL, legs(CANCEL, 0, order_id=bytes([number]) * 32))) == []
    assert waiting.cancels == 2


def test_a_cancel_takes_back_placements_that_were_never_sent():
    waiting = Waiting()
    waiting.keep(PLACE, legs(PLACE, 1, 2, 3))
    waiting.keep(PLACE, legs(PLACE, 4))
    assert keys(waiting.withdraw(CANCEL, legs(CANCEL, 2, 4))) == [2, 4]
    assert [keys(group) for group in waiting.placements] == [[1, 3]]
    assert keys(waiting.withdraw(CANCEL_ALL, legs(CANCEL_ALL, 0))) == [1, 3]
    assert not waiting


def test_placements_wait_until_their_deadline():
    waiting = Waiting()
    waiting.keep(PLACE, legs(PLACE, 1, 2, 3, deadline_ns=[10, 20, 0]))
    assert keys(waiting.expire(10)) == []
    assert keys(waiting.expire(11)) == [1]
    assert keys(waiting.expire(21)) == [2]
    assert [keys(group) for group in waiting.placements] == [[3]]


def test_what_waits_is_bounded():
    waiting = Waiting()
    for key in range(GROUPS_MAX):
        assert keys(waiting.keep(PLACE, legs(PLACE, key))) == []
    assert keys(waiting.keep(PLACE, legs(PLACE, 7_000, 7_001))) == [7_000, 7_001]
    assert keys(waiting.keep(CANCEL, legs(CANCEL, *range(CANCELS_MAX + 1)))) == [CANCELS_MAX]
    assert len(waiting.take_cancels(CANCELS_MAX)) == 1_000, "one request carries a thousand"
