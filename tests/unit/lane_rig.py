"""A lane on a chain in memory, two nodes and a clock, driven by hand."""

from __future__ import annotations

import json
from typing import Any

from invmm.clock import ReplayClock
from invmm.settings import SettlementSettings
from invmm.settlement.chain import ChainLane
from invmm.settlement.lane import JobReport, JobState
from tests.unit.fake_chain import FakeChain, FakeNode, MemoryJournal, Signer

SETTINGS = SettlementSettings(stuck_after_s=30.0, repeat_after_s=10.0, head_max_age_s=0.0)


class Rig:
    """A chain, two nodes of it and a lane; time passes when told."""

    def __init__(self, settings: SettlementSettings = SETTINGS, **chain: Any) -> None:
        self.chain = FakeChain(**chain)
        self.nodes = [FakeNode(self.chain, "one"), FakeNode(self.chain, "two")]
        self.disk: list[dict[str, Any]] = []
        self.clock = ReplayClock(1_000 * 10**9)
        self.settings = settings
        self.start()

    def start(self) -> None:
        """The program starts again: only chain and disk remain."""
        self.journal = MemoryJournal(self.disk)
        self.lane = ChainLane(self.nodes, Signer(), self.journal, settings=self.settings, clock=self.clock)

    def advance(self, seconds: float = 1.0) -> list[JobReport]:
        self.clock.set(self.clock.now_ns() + int(seconds * 1e9))
        return self.lane.advance(self.clock.now_ns())

    def states(self, seconds: float = 1.0) -> list[JobState]:
        return [report.state for report in self.advance(seconds)]

    def sent(self) -> list[dict[str, Any]]:
        """Different transactions that nodes were given, in order."""
        return [json.loads(raw) for raw in dict.fromkeys(self.chain.seen)]
