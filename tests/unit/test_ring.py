"""The rings from Python, one thread at a time unless a test says otherwise."""

from __future__ import annotations

import pickle
import select
import signal
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from invmm._ext.ring import CommandRing, ResultRing, Ring
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, CommandKind, EventKind


def command(kind: CommandKind = CommandKind.PLACE, key: int = 0) -> np.ndarray:
    record = np.zeros(1, COMMAND_DTYPE)
    record["kind"], record["key"] = kind, key
    record["order_id"] = key.to_bytes(8, "big") * 4
    return record


def test_a_record_comes_out_as_it_went_in():
    ring = CommandRing(8)
    sent = np.frombuffer(bytes(range(128)), COMMAND_DTYPE).copy()
    assert ring.try_push(sent)
    taken = ring.pop()
    assert taken is not None
    assert taken.tobytes() == bytes(range(128))
    assert taken.dtype == COMMAND_DTYPE


def test_a_popped_record_is_a_copy_that_later_pushes_leave_alone():
    ring = CommandRing(2, reserve=0)
    ring.try_push(command(key=1))
    taken = ring.pop()
    for key in (2, 3, 4):
        ring.try_push(command(key=key))
        ring.pop()
    assert taken is not None
    assert taken["key"] == 1


def test_a_scalar_of_an_array_is_pushed_like_an_array_of_one():
    ring = CommandRing(8)
    records = np.zeros(3, COMMAND_DTYPE)
    records["kind"], records["key"] = CommandKind.CANCEL, [5, 6, 7]
    assert ring.try_push(records[1])
    assert ring.try_push(records[2:])
    assert ring.try_push(records[1].copy())
    assert [int(ring.pop()["key"]) for _ in range(3)] == [6, 7, 6]


def test_records_leave_in_the_order_they_came():
    ring = CommandRing(64, reserve=0)
    for key in range(64):
        assert ring.try_push(command(key=key))
    assert [int(ring.pop()["key"]) for _ in range(64)] == list(range(64))
    assert ring.pop() is None


def test_full_ring_refuses_and_keeps_order():
    ring = CommandRing(4, reserve=0)
    assert [ring.try_push(command(key=key)) for key in range(6)] == [True] * 4 + [False] * 2
    assert ring.refused == 2
    assert len(ring) == 4
    assert [int(ring.pop()["key"]) for _ in range(4)] == [0, 1, 2, 3]
    assert ring.try_push(command(key=9))
    ring.check()


def test_placements_leave_the_reserve_to_cancels():
    ring = CommandRing(8, reserve=3)
    assert [ring.try_push(command(CommandKind.PLACE)) for _ in range(6)] == [True] * 5 + [False]
    urgent = [CommandKind.CANCEL, CommandKind.CANCEL_ALL, CommandKind.SHUTDOWN, CommandKind.CANCEL]
    assert [ring.try_push(command(kind)) for kind in urgent] == [True, True, True, False]
    ring.pop()
    assert not ring.try_push(command(CommandKind.PLACE)), (
        "a slot of the reserve was freed, not one for placements"
    )
    assert ring.try_push(command(CommandKind.CANCEL))


def test_the_reserve_is_an_eighth_unless_given():
    assert CommandRing(64).reserve == 8
    assert CommandRing(2).reserve == 1
    assert CommandRing(1).reserve == 0
    assert ResultRing(64).reserve == 0


def test_a_batch_goes_in_whole_or_not_at_all():
    ring = CommandRing(8, reserve=2)
    batch = np.concatenate([command(key=key) for key in range(4)])
    assert ring.try_push_batch(batch)
    assert not ring.try_push_batch(batch)
    assert len(ring) == 4
    assert ring.try_push_batch(batch[:2])
    assert [int(ring.pop()["key"]) for _ in range(6)] == [0, 1, 2, 3, 0, 1]


def test_a_batch_with_one_placement_stays_out_of_the_reserve():
    ring = CommandRing(8, reserve=4)
    cancels = np.concatenate([command(CommandKind.CANCEL) for _ in range(5)])
    mixed = cancels.copy()
    mixed["kind"][3] = CommandKind.PLACE
    assert not ring.try_push_batch(mixed)
    assert ring.try_push_batch(cancels)


def test_push_many_stops_at_the_first_refusal_and_keeps_batches_whole():
    ring = CommandRing(8, reserve=2)
    records = np.concatenate([command(key=key) for key in range(9)])
    records["batch"] = [1, 1, 1, 2, 2, 3, 3, 4, 5]
    assert ring.push_many(records) == 5, "two of batch 3 do not fit beside the reserve"
    records["kind"][5:] = CommandKind.CANCEL
    assert ring.push_many(records[5:]) == 3
    assert [int(ring.pop()["key"]) for _ in range(8)] == list(range(8))
    assert ring.push_many(records[:0]) == 0


def test_cursors_may_wrap_around_64_bits():
    ring = CommandRing(4, reserve=0, first_cursor=2**64 - 3)
    for key in range(10):
        assert ring.try_push(command(key=key))
        assert ring.try_push(command(key=key + 100))
        ring.check()
        assert len(ring) == 2
        assert [int(ring.pop()["key"]) for _ in range(2)] == [key, key + 100]
        ring.check()
    assert ring.pop() is None


def test_pop_into_moves_what_is_there():
    ring = ResultRing(8)
    event = np.zeros(1, EVENT_DTYPE)
    for key in range(5):
        event["kind"], event["key"] = EventKind.ORDER_RESULT, key
        assert ring.try_push(event)
    out = np.zeros(3, EVENT_DTYPE)
    assert ring.pop_into(out) == 3
    assert out["key"].tolist() == [0, 1, 2]
    assert ring.pop_into(out) == 2
    assert ring.pop_into(out) == 0
    assert out["key"].tolist() == [3, 4, 2]


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (b"x" * 128, TypeError),
        (np.zeros(1, EVENT_DTYPE), TypeError),
        (np.zeros(1, EVENT_DTYPE)[0], TypeError),
        (np.zeros(128, "u1"), ValueError),
        (np.zeros(2, COMMAND_DTYPE), ValueError),
        (np.zeros(0, COMMAND_DTYPE), ValueError),
        (None, TypeError),
    ],
)
def test_anything_but_one_command_is_refused_with_a_reason(bad: object, error: type[Exception]):
    ring = CommandRing(8)
    with pytest.raises(error, match="record: expected"):
        ring.try_push(bad)
    assert len(ring) == 0


def test_pop_into_refuses_an_array_it_cannot_fill():
    ring = ResultRing(8)
    frozen = np.zeros(2, EVENT_DTYPE)
    frozen.flags.writeable = False
    for bad in (np.zeros(2, COMMAND_DTYPE), frozen, np.zeros(4, EVENT_DTYPE)[::2], [1]):
        with pytest.raises(TypeError, match="out: expected"):
            ring.pop_into(bad)


@pytest.mark.parametrize("capacity", [0, 3, -8, 2**25, 12])
def test_capacity_is_a_power_of_two(capacity: int):
    with pytest.raises(ValueError, match="power of two"):
        CommandRing(capacity)


@pytest.mark.parametrize("capacity", [8.0, True, "8", None])
def test_capacity_is_an_int(capacity: object):
    with pytest.raises(TypeError, match="capacity: expected an int"):
        CommandRing(capacity)


@pytest.mark.parametrize("reserve", [-1, 8, 9])
def test_reserve_stays_below_the_capacity(reserve: int):
    with pytest.raises(ValueError, match="reserve: expected 0 to 7"):
        CommandRing(8, reserve)


def test_the_base_class_is_not_a_ring_of_anything():
    with pytest.raises(TypeError, match="use CommandRing or ResultRing"):
        Ring(8)


def test_memory_starts_on_a_cache_line_and_is_for_readers():
    for _ in range(20):
        ring = CommandRing(2)
        assert ring.memory.ctypes.data % 64 == 0
        assert not ring.memory.flags.writeable


def test_a_ring_is_not_pickled():
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(CommandRing(8))


def test_pop_waits_no_longer_than_told():
    ring = CommandRing(8)
    for spin_ns in (0, 1_000_000, -1):
        start = time.monotonic_ns()
        assert ring.pop(timeout_ns=5_000_000, spin_ns=spin_ns) is None
        assert time.monotonic_ns() - start >= 5_000_000


@pytest.mark.parametrize("spin_ns", [0, 50_000, -1])
def test_a_waiting_consumer_gets_what_another_thread_pushes(spin_ns: int):
    ring = CommandRing(8)
    taken: list[int] = []

    def consume() -> None:
        for _ in range(3):
            record = ring.pop(timeout_ns=20_000_000_000, spin_ns=spin_ns)
            assert record is not None
            taken.append(int(record["key"]))

    consumer = threading.Thread(target=consume)
    consumer.start()
    for key in range(3):
        assert ring.try_push(command(key=key))
        while len(ring):
            time.sleep(0.001)
    consumer.join(20)
    assert taken == [0, 1, 2]


def test_pop_without_timeout_waits_until_something_comes():
    ring = CommandRing(8)
    timer = threading.Timer(0.02, ring.try_push, [command(key=4)])
    timer.start()
    record = ring.pop(timeout_ns=None)
    timer.join()
    assert record is not None
    assert record["key"] == 4


def test_waiting_leaves_the_interpreter_to_others():
    ring = CommandRing(8)
    waiter = threading.Thread(target=ring.pop, args=(10_000_000_000, -1))
    before = sys.getswitchinterval()
    sys.setswitchinterval(10)  # were the lock held, nobody would take it away
    try:
        waiter.start()
        assert ring.try_push(command())
        waiter.join(5)
        assert not waiter.is_alive()
    finally:
        sys.setswitchinterval(before)


def test_a_signal_handler_runs_while_the_main_thread_waits():
    ring = CommandRing(8)
    seen: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: seen.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        start = time.monotonic_ns()
        assert ring.pop(timeout_ns=100_000_000) is None
        assert seen == [signal.SIGALRM]
        assert time.monotonic_ns() - start >= 100_000_000
    finally:
        signal.signal(signal.SIGALRM, before)


def readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def test_an_armed_consumer_is_signalled_once_per_sleep():
    ring = ResultRing(8)
    event = np.zeros(1, EVENT_DTYPE)
    ring.try_push(event)
    assert not readable(ring.eventfd), "nobody asked"
    assert not ring.arm(), "there is already something"
    ring.pop()
    assert ring.arm()
    assert not readable(ring.eventfd)
    ring.try_push(event)
    assert readable(ring.eventfd)
    ring.pop()
    assert ring.arm()
    assert not readable(ring.eventfd), "arming clears the old signal"


def test_wake_without_a_push_wakes_nobody():
    ring = ResultRing(8)
    assert ring.arm()
    ring.wake()
    assert not readable(ring.eventfd)


@pytest.mark.parametrize("make", [CommandRing, ResultRing])
def test_the_descriptor_is_closed_with_the_ring(make: Callable[[int], Ring]):
    first = make(8).eventfd
    for _ in range(50):
        assert make(8).eventfd <= first + 2
