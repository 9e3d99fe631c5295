"""The transaction lane on a chain in memory: what it does in each situation that the chain can be in."""

from __future__ import annotations

from typing import Any

import pytest

from invmm.errors import ConfigError
from invmm.settlement import lane_book
from invmm.settlement.chain import ChainLane
from invmm.settlement.lane import Job, JobReport, JobState
from invmm.venue.auth import OrderSigner
from tests.unit.fake_chain import (
    GWEI,
    PAIRS,
    STRANGER,
    MemoryJournal,
    Signer,
    hash_of,
    merge_job,
    merge_logs,
)
from tests.unit.lane_rig import SETTINGS, Rig


def test_a_job_goes_from_queued_to_final_and_says_what_it_cost() -> None:
    rig = Rig()
    rig.lane.submit(merge_job())
    assert rig.states() == [JobState.QUEUED, JobState.SENT]
    rig.chain.mine()
    assert rig.states() == [JobState.MINED]
    assert rig.states() == []
    rig.chain.finalize()
    (report,) = rig.advance()
    assert report == JobReport(
        "merge:1",
        JobState.FINAL,
        hash_of(rig.chain.seen[0]),
        gas_used=150_000,
        fee_wei=150_000 * 80 * GWEI,
        block=1,
    )
    assert rig.chain.effects() == ["merge:1 0"]
    assert rig.lane.open() == []
    assert rig.lane.report_of("merge:1") == report


def test_a_name_that_is_known_is_not_taken_again_even_after_its_end_and_a_restart() -> None:
    rig = Rig()
    rig.lane.submit(merge_job())
    with pytest.raises(ValueError, match="expected a new name"):
        rig.lane.submit(merge_job())
    rig.advance()
    rig.chain.mine()
    rig.chain.finalize()
    rig.advance()
    rig.start()
    with pytest.raises(ValueError, match="expected a new name"):
        rig.lane.submit(merge_job())
    assert rig.lane.report_of("merge:1").state is JobState.FINAL


def test_what_the_contracts_would_refuse_is_never_signed() -> None:
    rig = Rig()
    rig.chain.reverts = "SafeMath: subtraction overflow"
    rig.lane.submit(merge_job())
    report = rig.advance()[-1]
    assert (report.state, report.transaction) == (JobState.REFUSED, "")
    assert "SafeMath: subtraction overflow" in report.reason
    assert not rig.chain.seen
    assert [record["kind"] for record in rig.disk] == ["lane", "job", "end"]


def test_a_call_to_an_address_without_code_is_refused() -> None:
    rig = Rig()
    job = merge_job()
    call = job.calls[0].__class__("0x" + "cc" * 20, b"")
    rig.lane.submit(Job("x", (call,), ()))
    assert "no contract at 0xcccc" in rig.advance()[-1].reason
    assert not rig.chain.seen


def test_what_the_signer_does_not_sign_is_refused() -> None:
    class Careful(Signer):
        def sign_transaction(self, transaction: dict[str, Any]) -> bytes:
            raise ValueError("transaction: the signer does not sign this")

    rig = Rig()
    rig.lane = ChainLane(rig.nodes, Careful(), rig.journal, settings=SETTINGS, clock=rig.clock)
    rig.lane.submit(merge_job())
    report = rig.advance()[-1]
    assert (report.state, report.reason) == (
        JobState.REFUSED,
        "not signed: transaction: the signer does not sign this",
    )


def test_only_one_transaction_is_in_flight_and_the_next_waits_until_it_is_final() -> None:
    rig = Rig()
    rig.lane.submit(merge_job("merge:1"))
    rig.lane.submit(merge_job("merge:2"))
    rig.advance()
    rig.chain.mine()
    rig.advance()
    assert len(rig.sent()) == 1
    rig.chain.finalize()
    rig.advance()
    assert [one["nonce"] for one in rig.sent()] == [0, 1]


def test_the_calls_of_one_job_are_executed_in_order_each_final_before_the_next() -> None:
    rig = Rig()
    rig.lane.submit(merge_job(calls=3))
    reports: list[JobReport] = []
    for _ in range(12):
        reports += rig.advance()
        rig.chain.mine()
        reports += rig.advance()
        rig.chain.finalize()
    assert rig.chain.effects() == ["merge:1 0", "merge:1 1", "merge:1 2"]
    assert reports[-1].state is JobState.FINAL
    assert reports[-1].gas_used == 3 * 150_000


def test_a_later_call_that_would_fail_ends_the_job_and_the_reason_says_what_was_done() -> None:
    rig = Rig()
    rig.lane.submit(merge_job(calls=2))
    rig.advance()
    rig.chain.mine()
    rig.chain.finalize()
    rig.chain.reverts = "nothing left"
    report = rig.advance()[-1]
    assert report.state is JobState.FAILED
    assert "nothing left" in report.reason
    assert "1 of its calls were executed before" in report.reason


def test_a_transaction_that_reverts_in_its_block_fails_only_when_that_is_final() -> None:
    rig = Rig()
    rig.lane.submit(merge_job())
    rig.advance()
    rig.chain.fails_when_mined = True
    rig.chain.mine()
    assert rig.states() == [JobState.MINED]
    rig.chain.finalize()
    (report,) = rig.advance()
    assert report.state is JobState.FAILED
    assert "reverted in block 1" in report.reason
    assert report.fee_wei > 0


def test_a_stuck_transaction_is_replaced_at_the_same_nonce_with_both_fees_an_eighth_higher() -> None:
    rig = Rig()
    rig.lane.submit(merge_job())
    rig.advance()
    rig.chain.base_fee_wei = 500 * GWEI
    rig.chain.mine()
    rig.advance(29)
    assert len(rig.sent()) == 1
    rig.advance(1)
    first, second = rig.sent()
    assert (first["nonce"], second["nonce"]) == (0, 0)
    assert (first["data"], first["gas"]) == (second["data"], second["gas"])
    for fee in ("maxFeePerGas", "maxPriorityFeePerGas"):
        assert 8 * second[fee] >= 9 * first[fee]
    rig.chain.mine()
    rig.chain.finalize()
    assert rig.advance()[-1].state is JobState.FINAL
    assert rig.chain.effects() == ["merge:1 0"]


def test_replacements_end_at_the_cap_and_the_lane_says_so() -> None:
    rig = Rig()
    rig.lane.submit(merge_job())
    rig.advance()
    reports: list[JobReport] = []
    for _ in range(40):
        rig.chain.mine(include=False)
        reports += rig.advance(31)
    fees = [(one["maxFeePerGas"], one["maxPriorityFeePerGas"]) for one in rig.sent()]
    assert len(fees) > 5
    assert all(fee <= 1_000 * GWEI and tip <= 300 * GWEI for fee, tip in fees)
    stuck = [report for report in reports if "above the fee caps" in report.reason]
    assert len(stuck) == 1
    assert "above the fee caps" in rig.lane.status().waits_for


def test_a_base_fee_above_the_cap_is_waited_out_with_a_word() -> None:
    rig = Rig(base_fee_gwei=5_000)
    rig.lane.submit(merge_job())
    reports = rig.advance()
    assert reports[-1].state is JobState.QUEUED
    assert "above 1000 gwei" in reports[-1].reason
    assert rig.advance() == []
    rig.chain.base_fee_wei = 50 * GWEI
    rig.chain.mine()
    assert rig.states() == [JobState.SENT]
    assert rig.lane.status().waits_for == ""


@pytest.mark.parametrize("forget", [False, True])
def test_a_receipt_that_vanishes_brings_the_same_bytes_again(forget: bool) -> None:
    rig = Rig()
    rig.lane.submit(merge_job())
    rig.advance()
    rig.chain.mine()
    rig.advance()
    rig.chain.reorganise(forget=forget)
    before = len(rig.chain.seen)
    report = rig.advance()[0]
    assert report.state is JobState.SENT
    assert "reorganised away" in report.reason
    assert set(rig.chain.seen[before:]) == set(rig.chain.seen[:1])
    rig.chain.mine()
    rig.chain.finalize()
    assert rig.states() == [JobState.FINAL]
    assert rig.chain.effects() == ["merge:1 0"]


def test_a_dropped_transaction_is_sent_again_with_the_same_bytes() -> None:
    rig = Rig()
    rig.lane.submit(merge_job())
    rig.advance()
    rig.chain.drop()
    rig.advance(5)
    assert not rig.chain.pool
    rig.advance(6)
    assert list(rig.chain.pool.values()) == [rig.chain.seen[0]]


def test_a_nonce_that_somebody_else_used_ends_the_job_and_halts_the_lane_for_good() -> None:
    rig = Rig()
    rig.lane.submit(merge_job())
    rig.lane.submit(merge_job("merge:2"))
    rig.advance()
    foreign = Signer().sign_transaction(
        {"nonce": 0, "data": b"theirs", "maxFeePerGas": 900 * GWEI, "maxPriorityFeePerGas": 90 * GWEI}
    )
    rig.chain.pool = {0: foreign}
    rig.chain.mine()
    report = rig.advance()[-1]
    assert report.state is JobState.SENT
    assert "is used" in report.reason
    rig.chain.finalize()
    reports = rig.advance()
    assert reports[0].state is JobState.FAILED
    assert "somebody else sends from this account" in reports[0].reason
    assert "somebody else sends" in rig.lane.status().halted
    rig.start()
    rig.advance()
    assert [job.name for job in rig.lane.open()] == ["merge:2"]
    assert len(rig.sent()) == 1
    rig.lane.resume()
    rig.advance()
    assert [one["nonce"] for one in rig.sent()] == [0, 1]


def test_a_foreign_transaction_on_its_way_is_waited_for_never_stepped_over() -> None:
    rig = Rig()
    rig.chain.pool = {0: Signer().sign_transaction({"nonce": 0, "data": b"theirs", "maxFeePerGas": 1})}
    rig.lane.submit(merge_job())
    report = rig.advance()[-1]
    assert report.state is JobState.QUEUED
    assert "not ours" in report.reason
    assert not rig.chain.seen


def test_a_foreign_transaction_that_may_still_be_reorganised_away_is_waited_for() -> None:
    rig = Rig()
    rig.chain.pool = {0: Signer().sign_transaction({"nonce": 0, "data": b"", "maxFeePerGas": 900 * GWEI})}
    rig.chain.mine()
    rig.lane.submit(merge_job())
    assert "not final yet" in rig.advance()[-1].reason
    rig.chain.finalize()
    assert rig.states() == [JobState.SENT]
    assert [one["nonce"] for one in rig.sent()] == [1]


def test_a_gap_below_our_nonce_is_never_bid_for() -> None:
    rig = Rig()
    foreign = Signer().sign_transaction(
        {"nonce": 0, "data": b"theirs", "maxFeePerGas": 900 * GWEI, "maxPriorityFeePerGas": 1}
    )
    rig.chain.pool = {0: foreign}
    rig.chain.mine()
    rig.chain.finalize()
    rig.lane.submit(merge_job())
    rig.advance()
    rig.chain.finalized = 0  # against all promises
    rig.chain.reorganise(forget=True)
    rig.advance(60)
    assert "has to wait for nonce 0" in rig.lane.status().waits_for
    assert [one["nonce"] for one in rig.sent()] == [1]


def test_what_cannot_be_journaled_is_not_sent() -> None:
    rig = Rig()
    rig.lane.submit(merge_job())
    rig.journal.fails = True
    rig.advance()
    assert not rig.chain.seen
    assert "no space left" in rig.lane.status().waits_for
    with pytest.raises(OSError, match="no space"):
        rig.lane.submit(merge_job("merge:2"))
    rig.journal.fails = False
    assert rig.states() == [JobState.SENT]
    assert [job.name for job in rig.lane.open()] == ["merge:1"]


def test_too_little_for_gas_refuses_the_job_and_shows_in_the_status() -> None:
    rig = Rig()
    rig.chain.balance_wei = 10**15
    rig.lane.submit(merge_job())
    assert "POL for gas" in rig.advance()[-1].reason
    assert rig.lane.status().is_balance_low


@pytest.mark.parametrize(
    ("logs", "words"),
    [
        (merge_logs(paid=PAIRS - 1), "collateral: expected a change of 25000000, found 24999999"),
        (merge_logs(burned=PAIRS + 1), "token 7001: expected a change of -25000000, found -25000001"),
        ([], "collateral: expected a change of 25000000, found 0"),
    ],
)
def test_a_final_job_that_moved_something_else_raises_an_alarm_and_halts(logs: Any, words: str) -> None:
    rig = Rig()
    rig.chain.logs = lambda _: logs
    rig.lane.submit(merge_job())
    rig.advance()
    rig.chain.mine()
    rig.chain.finalize()
    (report,) = rig.advance()
    assert report.state is JobState.FINAL
    assert words in report.reason
    assert words in rig.lane.status().halted


def test_fills_of_the_account_in_the_same_block_do_not_count() -> None:
    rig = Rig()
    rig.chain.logs = lambda _: [*merge_logs(), *merge_logs(account=STRANGER, paid=3, burned=3)]
    rig.lane.submit(merge_job())
    rig.advance()
    rig.chain.mine()
    rig.chain.finalize()
    assert [(report.state, report.reason) for report in rig.advance()] == [(JobState.FINAL, "")]


def test_a_shortened_journal_knows_what_the_long_one_knew(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    names = ["a", "b", "c", "d"]
    for name in names[:3]:
        rig.lane.submit(merge_job(name))
        rig.advance()
        rig.chain.fails_when_mined = name == "b"
        rig.chain.mine()
        rig.chain.finalize()
        rig.advance()
    rig.chain.fails_when_mined = False
    rig.lane.submit(merge_job("d"))
    rig.advance()
    before = [rig.lane.report_of(name) for name in names]
    assert len(rig.disk) == 12
    monkeypatch.setattr(lane_book, "SHORTEN_AFTER", 3)
    for _ in range(2):
        rig.start()
        assert [rig.lane.report_of(name) for name in names] == before
        assert [job.name for job in rig.lane.open()] == ["d"]
        assert len(rig.disk) == 7
    with pytest.raises(ValueError, match="this one is known"):
        rig.lane.submit(merge_job("a"))
    rig.chain.mine()
    rig.chain.finalize()
    rig.lane.submit(merge_job("e"))
    rig.advance()
    assert [one["nonce"] for one in rig.sent()] == [0, 1, 2, 3, 4]


def test_a_journal_of_another_account_is_refused() -> None:
    rig = Rig()
    journal = MemoryJournal(rig.disk)
    with pytest.raises(ConfigError, match="expected that of 0xb2b2"):
        ChainLane(rig.nodes, Signer(STRANGER), journal, settings=SETTINGS, clock=rig.clock)


def test_an_account_whose_tokens_a_wallet_holds_has_no_lane_here() -> None:
    rig = Rig()
    signer = OrderSigner(b"\x4c" * 32, 2, STRANGER)
    with pytest.raises(ConfigError, match="through the relayer"):
        ChainLane(rig.nodes, signer, rig.journal, settings=SETTINGS, clock=rig.clock)
