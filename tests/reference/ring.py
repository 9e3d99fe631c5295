"""The rings in plain Python: a bounded queue with slots that only urgent records may take."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class RingTwin:
    """What `CommandRing` does, for any kind of record; `urgent` stands for "is not a placement"."""

    def __init__(self, capacity: int, reserve: int) -> None:
        self.capacity = capacity
        self.reserve = reserve
        self.records: deque[bytes] = deque()
        self.refused = 0

    def try_push_batch(self, records: Sequence[bytes], urgent: bool) -> bool:
        """All or none."""
        limit = self.capacity if urgent else self.capacity - self.reserve
        if len(self.records) + len(records) > limit:
            self.refused += 1
            return False
        self.records.extend(records)
        return True

    def try_push(self, record: bytes, urgent: bool) -> bool:
        return self.try_push_batch([record], urgent)

    def pop(self) -> bytes | None:
        return self.records.popleft() if self.records else None

    def __len__(self) -> int:
        return len(self.records)
