"""The lane on a real EVM over JSON-RPC: the key's own transactions make, merge and redeem pairs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from invmm.clock import LiveClock
from invmm.settings import SettlementSettings
from invmm.settlement.calls import Call, route_of
from invmm.settlement.chain import ChainLane
from invmm.settlement.lane import Change, Job, JobReport, JobState
from invmm.settlement.lane_journal import LaneJournal
from invmm.settlement.rpc import RpcEndpoint
from invmm.sim.chain import Condition, LocalChain
from invmm.venue.auth import OrderSigner

DOLLAR = 1_000_000
SETTINGS = SettlementSettings(poll_ms=1, head_max_age_s=0.0, tip_floor_gwei=1)
CLOCK = LiveClock()


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain() as chain:
        chain.serve()
        yield chain


def lane_of(chain: LocalChain, journal: Path, name: str) -> ChainLane:
    account = chain.account(name)
    signer = OrderSigner(bytes(account.key))
    assert signer.address == account.address
    endpoints = [RpcEndpoint(chain.url, timeout_s=30.0)]
    return ChainLane(endpoints, signer, LaneJournal(journal), settings=SETTINGS, clock=CLOCK)


def done(lane: ChainLane, job: Job) -> JobReport:
    """The job's last report; on this chain a block is final when it is made."""
    lane.submit(job)
    for _ in range(10 * len(job.calls)):
        lane.advance(CLOCK.now_ns())
        report = lane.report_of(job.name)
        assert report is not None
        if not lane.open():
            return report
    raise AssertionError(f"{report}, {lane.status()}")


def changes(condition: Condition, cash: int, up: int, down: int) -> tuple[Change, ...]:
    """In dollars and shares."""
    return (
        Change("collateral", 0, cash * DOLLAR),
        Change("token", int(condition.up_token), up * DOLLAR),
        Change("token", int(condition.down_token), down * DOLLAR),
    )


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_collateral_becomes_pairs_and_pairs_become_collateral(
    chain: LocalChain, tmp_path: Path, version: str
) -> None:
    account = chain.account(f"trader {version}")
    chain.fund(account.address, 100 * DOLLAR, 10**18)
    chain.approve_all(account.key)
    condition = chain.prepare(version.encode().ljust(32, b"q"), version)
    route = route_of(version, False)
    name = condition.condition_id
    lane = lane_of(chain, tmp_path / "lane", f"trader {version}")

    split = Job("split", (route.split(name, 40 * DOLLAR),), changes(condition, -40, 40, 40))
    report = done(lane, split)
    assert (report.state, report.reason) == (JobState.FINAL, "")
    assert report.gas_used > 50_000
    assert report.fee_wei > 0

    merge = Job("merge", (route.merge(name, 25 * DOLLAR),), changes(condition, 25, -25, -25))
    assert (done(lane, merge).state, lane.report_of("merge").reason) == (JobState.FINAL, "")
    assert chain.collateral_micro(account.address) == 85 * DOLLAR
    assert chain.shares_micro(account.address, condition.up_token) == 15 * DOLLAR

    too_much = Job("more", (route.merge(name, 16 * DOLLAR),), ())
    assert done(lane, too_much).state is JobState.REFUSED
    assert "dry run refused" in lane.report_of("more").reason

    chain.resolve(name, (1, 0))
    calls: tuple[Call, ...] = route.redeem(name, 15 * DOLLAR, 15 * DOLLAR)
    redeem = Job("redeem", calls, changes(condition, 15, -15, -15))
    assert (done(lane, redeem).state, lane.report_of("redeem").reason) == (JobState.FINAL, "")
    assert chain.collateral_micro(account.address) == 100 * DOLLAR
    assert chain.shares_micro(account.address, condition.down_token) == 0
    lane.close()


def test_what_a_job_does_not_say_it_moves_is_an_alarm(chain: LocalChain, tmp_path: Path) -> None:
    account = chain.account("careless")
    chain.fund(account.address, 10 * DOLLAR, 10**18)
    chain.approve_all(account.key)
    condition = chain.prepare(b"careless".ljust(32, b"q"), "v1")
    route = route_of("v1", False)
    lane = lane_of(chain, tmp_path / "lane", "careless")
    call = route.split(condition.condition_id, 4 * DOLLAR)
    report = done(lane, Job("split", (call,), changes(condition, -4, 4, 5)))
    assert report.state is JobState.FINAL
    assert "expected a change of 5000000, found 4000000" in report.reason
    assert lane.status().halted
    lane.close()
