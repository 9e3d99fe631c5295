"""The lane on a node that is made to misbehave: one merge takes effect, or none and somebody is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from invmm.clock import LiveClock, ReplayClock
from invmm.settings import SettlementSettings
from invmm.settlement.calls import route_of
from invmm.settlement.chain import ChainLane
from invmm.settlement.lane import Change, Job, JobReport, JobState
from invmm.settlement.lane_journal import LaneJournal
from invmm.settlement.rpc import RpcEndpoint
from invmm.venue.auth import OrderSigner
from invmm.venue.profile import POLYGON
from tests.chain.anvil import FINALITY_BLOCKS, Anvil

DOLLAR = 1_000_000
GWEI = 10**9
SETTINGS = SettlementSettings(
    poll_ms=1, head_max_age_s=0.0, stuck_after_s=30.0, repeat_after_s=10.0, max_fee_gwei=500
)


@pytest.fixture(scope="module")
def node() -> Iterator[Anvil]:
    with Anvil() as node:
        yield node


class Bench:
    """A trader with 40 pairs on the node, and his lane on a clock that stands until it is told."""

    def __init__(self, node: Anvil, folder: Path, name: str) -> None:
        self.node = node
        self.folder = folder
        self.account = node.account(name)
        node.automine(True)
        node.base_fee(25 * GWEI)
        node.fund(self.account.address, 100 * DOLLAR, 10**18)
        node.approve_all(self.account.key)
        self.condition = node.prepare(name.encode().ljust(32, b"q"))
        self.route = route_of("v1", False)
        self.clock = ReplayClock(time.time_ns())
        node.mine(FINALITY_BLOCKS)
        self.start()
        self.lane.submit(self.job("split", 40))
        for _ in range(4):
            self.advance()
            node.mine()
        assert self.state("split") is JobState.FINAL
        node.automine(False)
        node.base_fee(25 * GWEI)

    def start(self) -> None:
        """The program starts again."""
        self.lane = ChainLane(
            [RpcEndpoint(self.node.url, timeout_s=60.0), RpcEndpoint(self.node.url + "/", timeout_s=60.0)],
            OrderSigner(bytes(self.account.key)),
            LaneJournal(self.folder / "lane"),
            settings=SETTINGS,
            clock=self.clock,
        )

    def job(self, what: str, pairs: int) -> Job:
        sign = -1 if what == "split" else 1
        make = self.route.split if what == "split" else self.route.merge
        return Job(
            what,
            (make(self.condition.condition_id, pairs * DOLLAR),),
            (
                Change("collateral", 0, sign * pairs * DOLLAR),
                Change("token", int(self.condition.up_token), -sign * pairs * DOLLAR),
                Change("token", int(self.condition.down_token), -sign * pairs * DOLLAR),
            ),
        )

    def advance(self, seconds: float = 1.0) -> list[JobReport]:
        self.clock.set(self.clock.now_ns() + int(seconds * 1e9))
        return self.lane.advance(self.clock.now_ns())

    def state(self, name: str = "merge") -> JobState:
        report = self.lane.report_of(name)
        assert report is not None
        return report.state

    def begin(self) -> str:
        """A merge of 25 pairs is sent; the transaction's hash."""
        self.lane.submit(self.job("merge", 25))
        self.advance()
        assert self.state() is JobState.SENT
        return self.lane.status().in_flight

    def finish(self) -> None:
        """Blocks come until the merge is final."""
        for _ in range(FINALITY_BLOCKS + 2):
            self.node.mine()
            self.advance()
        self.check()

    def check(self) -> None:
        """The merge has happened once, and the lane says so."""
        report = self.lane.report_of("merge")
        assert report is not None
        assert (report.state, report.reason) == (JobState.FINAL, "")
        assert self.pairs() == 15
        assert self.node.collateral_micro(self.account.address) == 85 * DOLLAR
        self.lane.close()

    def pairs(self) -> int:
        held = {
            self.node.shares_micro(self.account.address, token)
            for token in (self.condition.up_token, self.condition.down_token)
        }
        (shares,) = held
        return shares // DOLLAR


def test_a_merge_is_mined_and_then_final(node: Anvil, tmp_path: Path) -> None:
    bench = Bench(node, tmp_path, "plain")
    bench.begin()
    node.mine()
    assert [report.state for report in bench.advance()] == [JobState.MINED]
    node.mine(FINALITY_BLOCKS - 1)
    assert bench.advance() == []
    bench.finish()


def test_a_crash_with_a_transaction_on_its_way_sends_no_second_one(node: Anvil, tmp_path: Path) -> None:
    bench = Bench(node, tmp_path, "crash")
    name = bench.begin()
    bench.lane.close()
    bench.start()
    bench.advance()
    assert bench.lane.status().in_flight == name
    bench.finish()


def test_a_dropped_transaction_is_sent_again_with_the_same_bytes(node: Anvil, tmp_path: Path) -> None:
    bench = Bench(node, tmp_path, "dropped")
    name = bench.begin()
    node.drop(name)
    node.mine()
    bench.advance(11)
    assert bench.lane.status().in_flight == name
    assert node.rpc("eth_getTransactionByHash", name) is not None
    bench.finish()


def test_a_base_fee_that_leaves_the_bid_behind_is_followed_under_the_same_nonce(
    node: Anvil, tmp_path: Path
) -> None:
    bench = Bench(node, tmp_path, "spike")
    first = bench.begin()
    node.base_fee(200 * GWEI)
    node.mine()
    bench.advance(31)
    second = bench.lane.status().in_flight
    assert second != first
    shown = node.rpc("eth_getTransactionByHash", second)
    assert int(shown["maxFeePerGas"], 16) > 200 * GWEI
    bench.finish()


def test_a_base_fee_above_the_cap_is_waited_out(node: Anvil, tmp_path: Path) -> None:
    bench = Bench(node, tmp_path, "cap")
    node.base_fee(600 * GWEI)
    node.mine()
    bench.lane.submit(bench.job("merge", 25))
    reports = bench.advance()
    assert (reports[-1].state, "above 500 gwei" in reports[-1].reason) == (JobState.QUEUED, True)
    node.base_fee(25 * GWEI)
    node.mine()
    bench.advance()
    bench.finish()


def test_a_receipt_that_a_reorganisation_takes_away_comes_back_by_the_same_bytes(
    node: Anvil, tmp_path: Path
) -> None:
    bench = Bench(node, tmp_path, "reorganised")
    name = bench.begin()
    node.mine()
    bench.advance()
    assert bench.state() is JobState.MINED
    node.reorganise(1)
    assert bench.pairs() == 40
    reports = bench.advance()
    assert "reorganised away" in reports[0].reason
    assert bench.lane.status().in_flight == name
    bench.finish()


def test_a_foreign_transaction_that_takes_the_nonce_halts_the_lane(node: Anvil, tmp_path: Path) -> None:
    bench = Bench(node, tmp_path, "foreign")
    name = bench.begin()
    ours = node.rpc("eth_getTransactionByHash", name)
    node.drop(name)
    fields = {
        "type": 2,
        "chainId": POLYGON,
        "nonce": int(ours["nonce"], 16),
        "to": node.owner.address,
        "value": 1,
        "gas": 21_000,
        "maxFeePerGas": 400 * GWEI,
        "maxPriorityFeePerGas": 100 * GWEI,
    }
    node.send(bytes(bench.account.sign_transaction(fields).raw_transaction))
    node.mine()
    bench.advance()
    assert bench.state() is JobState.SENT
    node.mine(FINALITY_BLOCKS)
    reports = bench.advance()
    assert reports[-1].state is JobState.FAILED
    assert "somebody else sends from this account" in bench.lane.status().halted
    assert bench.pairs() == 40
    bench.lane.submit(bench.job("again", 5))
    bench.advance()
    assert bench.state("again") is JobState.QUEUED
    bench.lane.close()


def test_a_foreign_transaction_on_its_way_is_never_stepped_over(node: Anvil, tmp_path: Path) -> None:
    bench = Bench(node, tmp_path, "gap")
    nonce = node.pending_nonce(bench.account.address)
    fields = {
        "type": 2,
        "chainId": POLYGON,
        "nonce": nonce,
        "to": node.owner.address,
        "value": 1,
        "gas": 21_000,
        "maxFeePerGas": 100 * GWEI,
        "maxPriorityFeePerGas": 1 * GWEI,
    }
    node.send(bytes(bench.account.sign_transaction(fields).raw_transaction))
    bench.lane.submit(bench.job("merge", 25))
    assert "not ours" in bench.advance()[-1].reason
    node.mine()
    assert bench.lane.status().waits_for != ""
    node.mine(FINALITY_BLOCKS)
    bench.advance()
    assert int(node.rpc("eth_getTransactionByHash", bench.lane.status().in_flight)["nonce"], 16) == nonce + 1
    bench.finish()


def test_blocks_that_come_by_themselves_bring_a_merge_to_its_end(node: Anvil, tmp_path: Path) -> None:
    bench = Bench(node, tmp_path, "interval")
    clock = LiveClock()
    node.every(1)
    try:
        bench.lane.submit(bench.job("merge", 25))
        until = time.monotonic() + 60
        while bench.lane.open() and time.monotonic() < until:
            bench.lane.advance(clock.now_ns())
            time.sleep(0.05)
    finally:
        node.every(0)
    bench.check()
