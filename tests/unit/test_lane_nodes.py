"""The lane and its two nodes: whom it believes, and what it does without them."""

from __future__ import annotations

from typing import Any

from invmm.settings import SettlementSettings
from invmm.settlement.lane import JobState
from tests.unit.fake_chain import FakeChain, merge_job
from tests.unit.lane_rig import Rig


def test_final_is_what_the_node_further_behind_calls_final() -> None:
    rig = Rig()
    rig.lane.submit(merge_job())
    rig.advance()
    rig.chain.mine()
    rig.chain.finalize()
    rig.nodes[1].lag = 1
    assert rig.states() == [JobState.MINED]
    rig.nodes[1].lag = 0
    assert rig.states() == [JobState.FINAL]


def test_without_a_finalized_tag_a_stated_depth_is_final() -> None:
    rig = Rig(SettlementSettings(final_depth_blocks=5, head_max_age_s=0.0))
    for node in rig.nodes:
        node.knows_finalized = False
    rig.lane.submit(merge_job())
    rig.advance()
    for _ in range(5):
        rig.chain.mine()
        rig.advance()
    assert rig.lane.report_of("merge:1").state is JobState.MINED
    rig.chain.mine()
    assert rig.states() == [JobState.FINAL]


def test_nodes_far_apart_or_of_another_branch_stop_new_jobs() -> None:
    rig = Rig()
    for _ in range(20):
        rig.chain.mine()
    rig.nodes[1].lag = 18
    rig.lane.submit(merge_job("far"))
    assert "18 apart" in rig.advance()[-1].reason
    rig.nodes[1].lag = 0
    rig.chain.finalize()
    other = FakeChain()
    for _ in range(20):
        other.mine()
    other.blocks[20].hash = "0xelsewhere"
    other.finalize()
    rig.nodes[1].chain = other
    rig.lane.submit(merge_job("branch"))
    report = rig.advance()[-1]
    assert report.state is JobState.REFUSED
    assert "disagree about block 20" in report.reason
    assert not rig.chain.seen


def test_an_old_head_refuses_new_jobs_and_still_follows_the_one_in_flight() -> None:
    rig = Rig(SettlementSettings(head_max_age_s=30.0))
    rig.lane.submit(merge_job("a"))
    assert JobState.SENT in rig.states()
    rig.chain.mine()
    rig.chain.finalize()
    rig.lane.submit(merge_job("b"))
    reports = {report.name: report for report in rig.advance(100)}
    assert reports["a"].state is JobState.FINAL
    assert reports["b"].state is JobState.REFUSED
    assert "s old" in reports["b"].reason


def test_a_node_of_another_chain_stops_new_jobs() -> None:
    rig = Rig()
    rig.nodes[1].chain_id = 1
    rig.lane.submit(merge_job())
    assert "expected chain 137, found 1" in rig.advance()[-1].reason
    assert not rig.chain.seen


def test_one_silent_node_is_done_without_and_two_lose_nothing() -> None:
    rig = Rig()
    rig.nodes[0].is_down = True
    rig.lane.submit(merge_job())
    rig.advance()
    rig.nodes[1].is_down = True
    rig.chain.mine()
    rig.chain.finalize()
    for _ in range(3):
        rig.advance(100)
    assert [job.name for job in rig.lane.open()] == ["merge:1"]
    assert "no node answers" in rig.lane.status().waits_for
    rig.nodes[0].is_down = rig.nodes[1].is_down = False
    assert rig.states() == [JobState.FINAL]
    assert rig.chain.effects() == ["merge:1 0"]


def test_the_nodes_are_asked_no_more_often_than_set_and_seldom_without_jobs() -> None:
    rig = Rig()
    rig.advance()
    asked = len(rig.nodes[0].asked)
    rig.advance(59)
    assert len(rig.nodes[0].asked) == asked
    rig.lane.submit(merge_job())
    rig.advance(0.5)
    assert len(rig.sent()) == 1
    asked = len(rig.nodes[0].asked)
    rig.advance(0.5)
    assert len(rig.nodes[0].asked) == asked
    rig.advance(0.5)
    assert len(rig.nodes[0].asked) > asked


def test_nodes_that_disagree_about_what_was_moved_leave_the_job_open() -> None:
    rig = Rig()
    rig.lane.submit(merge_job())
    rig.advance()
    rig.chain.mine()
    rig.chain.finalize()
    true = rig.nodes[1].eth_getTransactionReceipt

    def without_logs(transaction: str) -> Any:
        return {**(true(transaction) or {}), "logs": []}

    rig.nodes[1].eth_getTransactionReceipt = without_logs  # type: ignore[method-assign]
    assert rig.states() == [JobState.SENT]
    assert "disagree about what" in rig.lane.status().waits_for
    rig.nodes[1].eth_getTransactionReceipt = true  # type: ignore[method-assign]
    assert [(one.state, one.reason) for one in rig.advance()] == [(JobState.FINAL, "")]
