"""Any sequence of pushes and pops leaves the ring and its slow twin with the same answers."""

from __future__ import annotations

import numpy as np
from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from invmm._ext.ring import CommandRing
from invmm.types import COMMAND_DTYPE, CommandKind
from tests.reference.ring import RingTwin

KINDS = strategies.sampled_from(
    [CommandKind.PLACE] * 3 + [CommandKind.CANCEL, CommandKind.CANCEL_ALL, CommandKind.SHUTDOWN]
)


class RingAndTwin(RuleBasedStateMachine):
    @initialize(
        power=strategies.integers(0, 4),
        part=strategies.floats(0, 0.99),
        first=strategies.one_of(strategies.just(0), strategies.integers(2**64 - 20, 2**64 - 1)),
    )
    def start(self, power: int, part: float, first: int) -> None:
        capacity = 1 << power
        reserve = int(capacity * part)
        self.ring = CommandRing(capacity, reserve, first_cursor=first)
        self.twin = RingTwin(capacity, reserve)
        self.sequence = 0

    def records(self, kinds: list[CommandKind]) -> np.ndarray:
        records = np.zeros(len(kinds), COMMAND_DTYPE)
        for record, kind in zip(records, kinds, strict=True):
            self.sequence += 1
            record["kind"], record["sequence"], record["key"] = (
                kind,
                self.sequence,
                self.sequence * 0x9E3779B9,
            )
            record["order_id"] = self.sequence.to_bytes(4, "big") * 8
        return records

    @rule(kind=KINDS)
    def push(self, kind: CommandKind) -> None:
        record = self.records([kind])
        assert self.ring.try_push(record) == self.twin.try_push(record.tobytes(), kind != CommandKind.PLACE)

    @rule(kinds=strategies.lists(KINDS, min_size=1, max_size=15))
    def push_batch(self, kinds: list[CommandKind]) -> None:
        records = self.records(kinds)
        urgent = CommandKind.PLACE not in kinds
        expected = self.twin.try_push_batch([record.tobytes() for record in records], urgent)
        assert self.ring.try_push_batch(records) == expected

    @rule()
    def pop(self) -> None:
        record = self.ring.pop()
        assert (None if record is None else record.tobytes()) == self.twin.pop()

    @rule(size=strategies.integers(0, 20))
    def pop_into(self, size: int) -> None:
        out = np.zeros(size, COMMAND_DTYPE)
        count = self.ring.pop_into(out)
        assert count == min(size, len(self.twin))
        assert [record.tobytes() for record in out[:count]] == [self.twin.pop() for _ in range(count)]

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "ring"):
            self.ring.check()
            assert len(self.ring) == len(self.twin)
            assert self.ring.refused == self.twin.refused


TestRingAndTwin = RingAndTwin.TestCase
TestRingAndTwin.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
