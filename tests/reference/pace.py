"""The twin of `_ext/pace`: buckets that hold tokens and are refilled, in whole nanoseconds of rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class Bucket:
    """`level` and `depth` are in ns at the sustained rate: a unit is worth `interval`. May be in debt."""

    by_leg: int
    by_request: int
    interval: int
    depth: int
    kept: int
    level: int
    seen: int = 0

    def refill(self, now: int) -> None:
        self.level = min(self.depth, self.level + now - self.seen)
        self.seen = now


class Pace:
    def __init__(self, rules: Sequence[tuple[int, int, int, int, int]]) -> None:
        self.buckets = [
            Bucket(legs, requests, interval, burst * interval, kept * interval, burst * interval)
            for legs, requests, interval, burst, kept in rules
        ]

    def room(self, lane: int, legs: int, now: int) -> int:
        room = legs
        for bucket in self.buckets:
            bucket.refill(now)
            bit = 1 << lane
            if not (bucket.by_leg | bucket.by_request) & bit:
                continue
            units = max(0, bucket.level - (bucket.kept if lane == 0 else 0)) // bucket.interval
            room = min(room, units if bucket.by_leg & bit else legs if units else 0)
        return room

    def charge(self, lane: int, legs: int, now: int) -> None:
        for bucket in self.buckets:
            bucket.refill(now)
            if bucket.by_leg & 1 << lane:
                bucket.level -= legs * bucket.interval
            elif bucket.by_request & 1 << lane:
                bucket.level -= bucket.interval
