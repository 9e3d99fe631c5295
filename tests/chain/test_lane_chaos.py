"""Merges on a real EVM through crashes, lost answers, reorganisations, drops and fee spikes from a seed.

At the end the sum of what the lane says it did is what the chain holds, gas included.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from invmm.clock import ReplayClock
from invmm.errors import InvmmError, TransportError
from invmm.settings import SettlementSettings
from invmm.settlement.calls import route_of
from invmm.settlement.chain import ChainLane
from invmm.settlement.lane import Change, Job, JobState
from invmm.settlement.lane_journal import LaneJournal
from invmm.settlement.rpc import RpcError
from invmm.sim.chain import LocalChain
from invmm.venue.auth import OrderSigner

DOLLAR = 1_000_000
GWEI = 10**9
FINALITY_BLOCKS = 2
SETTINGS = SettlementSettings(head_max_age_s=0.0, stuck_after_s=20.0, repeat_after_s=3.0, tip_floor_gwei=1)
JOBS = (("split", 30), ("merge", 11), ("merge", 7), ("split", 5))


class Crash(BaseException):
    """The program ends here."""


class World:
    """A chain whose blocks come when the seed says so, and a lane that is started again after each crash."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.random = random.Random(seed)
        self.folder = folder
        self.chain = LocalChain(block_time_ms=None, finality_blocks=FINALITY_BLOCKS)
        self.account = self.chain.account("trader")
        self.chain.fund(self.account.address, 100 * DOLLAR, 10**18)
        self.chain.approve_all(self.account.key)
        self.condition = self.chain.prepare(b"chaos".ljust(32, b"q"), "v2")
        self.chain.mine(FINALITY_BLOCKS + 1)
        self.wei = self.balance_wei()
        self.route = route_of("v2", False)
        self.signer = OrderSigner(bytes(self.account.key))
        self.clock = ReplayClock(10**18)
        self.is_calm = False
        self.crashes = 0
        self.name = "local"
        self.lane = self.start()

    def balance_wei(self) -> int:
        return self.chain.node.balance_wei(bytes.fromhex(self.account.address[2:]))

    def start(self) -> ChainLane:
        journal = LaneJournal(self.folder / "lane")
        return ChainLane([self], self.signer, journal, settings=SETTINGS, clock=self.clock)

    def call(self, method: str, *params: Any) -> Any:
        """The node, seen through a bad line by a program that may end at any question."""
        self.trouble()
        try:
            answer = json.loads(json.dumps(self.chain.rpc.request(method, *params)))
        except InvmmError as error:
            data = getattr(error, "data", b"")
            raise RpcError("local", getattr(error, "code", 0), str(error), "0x" + data.hex()) from None
        self.trouble()
        return answer

    def trouble(self) -> None:
        if self.is_calm:
            return
        draw = self.random.random()
        if draw < 0.02:
            raise Crash
        if draw < 0.06:
            raise TransportError("no answer")

    def turn(self) -> None:
        """One look of the lane, one whim of the chain."""
        self.clock.set(self.clock.now_ns() + 4 * 10**9)
        try:
            self.lane.advance(self.clock.now_ns())
        except Crash:
            self.crashes += 1
            self.lane.close()
            self.lane = self.start()
        node = self.chain.node
        if self.is_calm:
            node.base_fee_wei = 25 * GWEI
            self.chain.mine()
            return
        draw = self.random.random()
        if draw < 0.5:
            self.chain.mine()
        elif draw < 0.65:
            node.reorganise(self.random.randint(1, FINALITY_BLOCKS), lose=self.random.random() < 0.5)
            self.chain.mine(FINALITY_BLOCKS)
        elif draw < 0.75:
            node.pool.clear()
        elif draw < 0.85:
            node.base_fee_wei = self.random.choice([25, 60, 200]) * GWEI

    def job(self, number: int, what: str, pairs: int) -> Job:
        out = -1 if what == "split" else 1
        call = getattr(self.route, what)(self.condition.condition_id, pairs * DOLLAR)
        return Job(
            f"{what}:{number}",
            (call,),
            (
                Change("collateral", 0, out * pairs * DOLLAR),
                Change("token", int(self.condition.up_token), -out * pairs * DOLLAR),
                Change("token", int(self.condition.down_token), -out * pairs * DOLLAR),
            ),
        )

    def run(self) -> None:
        jobs = [self.job(number, *what) for number, what in enumerate(JOBS)]
        for job in jobs:
            self.lane.submit(job)
        for _ in range(60):
            self.turn()
        self.is_calm = True
        for _ in range(80):
            if not self.lane.open():
                break
            self.turn()
        reports = [self.lane.report_of(job.name) for job in jobs]
        cash, pairs, fees = 100 * DOLLAR, 0, 0
        for job, report in zip(jobs, reports, strict=True):
            assert report is not None
            assert (report.state, report.reason) == (JobState.FINAL, ""), self.lane.status()
            cash += job.changes[0].delta_micro
            pairs += job.changes[1].delta_micro
            fees += report.fee_wei
        assert self.chain.collateral_micro(self.account.address) == cash
        for token in (self.condition.up_token, self.condition.down_token):
            assert self.chain.shares_micro(self.account.address, token) == pairs
        assert self.wei - self.balance_wei() == fees
        self.lane.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_what_the_lane_says_it_did_is_what_the_chain_holds(seed: int, tmp_path: Path) -> None:
    World(seed, tmp_path).run()


@pytest.mark.slow
def test_a_hundred_seeds_end_with_lane_and_chain_equal(tmp_path: Path) -> None:
    crashes = 0
    for seed in range(100):
        folder = tmp_path / str(seed)
        folder.mkdir()
        world = World(seed, folder)
        world.run()
        crashes += world.crashes
    assert crashes > 100
