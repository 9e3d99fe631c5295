"""The settler: what it decides, asks, sends and tells, and what it makes of a restart at any point."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

import invmm.settlement.record as record_module
from invmm.permission import AlarmKind
from invmm.settings import SettlementSettings
from invmm.settlement.chain import LaneStatus
from invmm.settlement.costs import GasCost
from invmm.settlement.lane import JobState
from invmm.settlement.messages import Ask, Grant, Holding, Notice, Purse, Told, Verdict
from invmm.settlement.policy import Action, SettlePolicy, SettleReason
from invmm.settlement.record import SettlementRecord
from invmm.settlement.settler import DIFFERENCE_S, LEFT_S, Settler
from tests.reference.settling import END_S, SHARE, ListLog, MemoryChain, MemoryLane, holding

S = 10**9
START_NS = (END_S - 300) * S


class Rig:
    """A settler with its lane, chain and file, on a clock that the test turns."""

    def __init__(self, policy: SettlePolicy | None = None) -> None:
        self.chain = MemoryChain()
        self.lane = MemoryLane(self.chain)
        self.log = ListLog()
        self.policy = policy or SettlePolicy(return_ppm_day=10**6)
        self.now_ns = START_NS
        self.told: list[Any] = []
        self.begin()

    def begin(self) -> None:
        """A new session: file and lane are as the last one left them."""
        self.log = ListLog(self.log.records)
        self.settler = Settler(
            self.lane, self.chain, self.policy, SettlementRecord(self.log), tell=self.told.append
        )

    def hold(self, held: Holding, *, brings: bool = True) -> Holding:
        if brings:
            self.chain.bring(held, held.low_micro[0] // SHARE, held.low_micro[1] // SHARE)
        self.settler.hear(held)
        return held

    def turn(self, seconds: float = 10.0) -> None:
        self.now_ns += int(seconds * S)
        self.settler.turn(self.now_ns)

    def over(self, after_s: float = 90.0) -> None:
        self.now_ns = max(self.now_ns, int((END_S + after_s) * S))
        self.turn()

    def heard(self, kind: type) -> list[Any]:
        return [message for message in self.told if isinstance(message, kind)]

    def grant(self, is_granted: bool = True) -> str:
        ask: Ask = self.heard(Ask)[-1]
        self.settler.hear(Grant(ask.name, is_granted))
        return ask.name

    def merging(self) -> str:
        """Up to a merge of 40 pairs that the lane has."""
        self.hold(holding(low=(40, 60)))
        self.turn()
        return self.grant()

    @property
    def reason(self) -> SettleReason:
        return self.heard(Verdict)[-1].reason


def test_pairs_become_dollars_after_the_engine_has_set_them_apart():
    rig = Rig()
    name = rig.merging()
    (ask,) = rig.heard(Ask)
    assert (ask.action, ask.pairs_micro) == (Action.MERGE, 40 * SHARE)
    (job,) = rig.lane.jobs.values()
    assert job.name == name == f"merge:{holding().market}:1"
    assert [(c.kind, c.delta_micro) for c in job.changes] == [
        ("token", -40 * SHARE),
        ("token", -40 * SHARE),
        ("collateral", 40 * SHARE),
    ]
    told: Told = rig.heard(Told)[-1]
    assert (told.reserved_micro, told.left_micro, told.done) == (40 * SHARE, 0, None)
    rig.lane.end(name, JobState.FINAL)
    rig.turn()
    told = next(told for told in rig.heard(Told) if told.done)
    assert (told.reserved_micro, told.left_micro) == (0, 40 * SHARE)
    assert told.done is not None
    assert (told.done.paid_micro, told.done.gas_used) == (40 * SHARE, 90_000)
    assert rig.settler.pools.of(told.market).free == (0, 20 * SHARE)
    assert rig.chain.cash_micro == 1_040 * SHARE


def test_nothing_is_sent_when_the_engine_says_no():
    rig = Rig()
    rig.hold(holding(low=(40, 60)))
    rig.turn()
    rig.grant(False)
    assert not rig.lane.jobs
    assert rig.reason is SettleReason.DENIED
    assert rig.settler.pools.of(holding().market).free == (40 * SHARE, 60 * SHARE)
    rig.turn(2)
    assert len(rig.heard(Ask)) == 1, "not asked again at once"
    rig.turn(60)
    assert len(rig.heard(Ask)) == 2


def test_a_question_that_nobody_can_answer_any_more_is_taken_back():
    rig = Rig()
    rig.hold(holding(low=(40, 60)))
    rig.turn()
    (ask,) = rig.heard(Ask)
    rig.hold(holding(low=(40, 60), is_open=False), brings=False)
    rig.settler.hear(Grant(ask.name, True))
    assert not rig.lane.jobs
    rig.turn(60)  # of a closed market nobody has to be asked
    assert len(rig.lane.jobs) == 1


@pytest.mark.parametrize("shown", [(40, 60), (25, 60), (0, 60)])
def test_only_what_the_chain_shows_is_merged(shown: tuple[int, int]):
    rig = Rig()
    held = holding(low=(40, 60))
    rig.chain.bring(held, *shown)
    rig.hold(held, brings=False)
    rig.turn()
    assert [ask.pairs_micro for ask in rig.heard(Ask)] == ([min(shown) * SHARE] if min(shown) else [])


def test_shares_that_are_offered_or_not_final_are_not_touched():
    rig = Rig()
    rig.hold(holding(low=(40, 60), offered_micro=(30 * SHARE, 0)))
    rig.turn()
    assert rig.heard(Ask)[-1].pairs_micro == 10 * SHARE
    rig = Rig()
    rig.hold(holding(low=(0, 0), high_micro=(50 * SHARE, 50 * SHARE)))
    rig.turn()
    assert not rig.heard(Ask)
    assert rig.reason is SettleReason.PROVISIONAL


def test_nothing_new_begins_on_the_safety_path_and_what_is_under_way_is_followed():
    rig = Rig()
    name = rig.merging()
    rig.settler.hear(Purse(0, 10**9, True))
    rig.hold(holding(2, low=(50, 50)))
    rig.turn()
    assert rig.reason is SettleReason.STOPPED
    rig.lane.end(name, JobState.FINAL)
    rig.turn()
    assert next(told for told in rig.heard(Told) if told.done)
    assert len(rig.heard(Ask)) == 1


@pytest.mark.parametrize(("payouts", "paid"), [((1, 0), 40), ((0, 1), 60), ((1, 1), 50)])
def test_what_is_left_is_redeemed_for_what_the_resolution_pays(payouts: tuple[int, int], paid: int):
    rig = Rig(SettlePolicy(rule="off"))
    held = rig.hold(holding(low=(40, 60), is_open=False))
    rig.over()
    assert rig.reason is SettleReason.UNRESOLVED
    rig.chain.resolved[held.market] = payouts
    rig.turn()
    (job,) = rig.lane.jobs.values()
    rig.lane.end(job.name, JobState.FINAL)
    rig.turn()
    assert rig.chain.cash_micro == (1_000 + paid) * SHARE
    assert rig.reason is SettleReason.EMPTY
    assert rig.log.records[-1] == {"kind": "closed", "market": held.market}


def test_of_the_second_generation_each_outcome_that_pays_is_redeemed_by_itself():
    rig = Rig(SettlePolicy(rule="off"))
    held = rig.hold(holding(low=(41, 60), is_open=False, exchange="v3"))
    rig.chain.resolved[held.market] = (500_000, 500_000)
    for _ in range(2):
        rig.over()
        rig.lane.end(list(rig.lane.jobs)[-1], JobState.FINAL)
    rig.turn()
    rig.turn()
    assert [len(job.calls) for job in rig.lane.jobs.values()] == [1, 1]
    assert rig.chain.cash_micro == 1_050 * SHARE + 500_000
    assert not any(rig.chain.shares.values())


def test_a_loser_is_left_where_it_is():
    rig = Rig()
    held = rig.hold(holding(low=(0, 60), is_open=False))
    rig.chain.resolved[held.market] = (1, 0)
    rig.over()
    assert not rig.lane.jobs
    assert rig.reason is SettleReason.LOST


def test_a_closed_market_whose_last_fills_were_not_final_is_what_the_chain_says():
    rig = Rig(SettlePolicy(rule="off"))
    held = holding(low=(40, 0), high_micro=(40 * SHARE, 60 * SHARE), is_open=False)
    rig.chain.bring(held, 40, 25)
    rig.hold(held, brings=False)
    rig.chain.resolved[held.market] = (0, 1)
    rig.over()
    (job,) = rig.lane.jobs.values()
    rig.lane.end(job.name, JobState.FINAL)
    rig.turn()
    assert rig.chain.cash_micro == 1_025 * SHARE


def test_a_chain_that_shows_other_shares_than_the_fills_is_an_alarm_and_nothing_is_redeemed():
    rig = Rig(SettlePolicy(rule="off"))
    held = holding(low=(40, 0), is_open=False)
    rig.chain.bring(held, 39, 0)
    rig.hold(held, brings=False)
    rig.chain.resolved[held.market] = (1, 0)
    rig.over()
    assert rig.reason is SettleReason.CHAIN_DIFFERS
    rig.turn(DIFFERENCE_S + 1)
    alarms = [notice for notice in rig.heard(Notice) if notice.is_alarm]
    assert "the chain shows 39000000 and 0" in alarms[0].text
    assert not rig.lane.jobs


def test_a_market_whose_ids_are_not_those_of_its_condition_is_never_settled():
    rig = Rig()
    wrong = holding(1, low=(40, 60))
    other = holding(2)
    rig.hold(Holding(**{**_fields(wrong), "down_token": other.down_token}))
    rig.turn()
    assert [notice.is_alarm for notice in rig.heard(Notice)] == [True]
    assert not rig.heard(Ask)


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.REFUSED])
def test_a_job_that_had_no_effect_gives_its_shares_back_and_is_tried_again_later(state: JobState):
    rig = Rig()
    name = rig.merging()
    rig.lane.end(name, state, "execution reverted: SafeMath")
    rig.turn(1)
    assert rig.heard(Told)[-1].reserved_micro == 0
    assert rig.settler.pools.of(holding().market).free == (40 * SHARE, 60 * SHARE)
    assert "SafeMath" in rig.heard(Notice)[-1].text
    rig.turn(60)
    assert rig.grant() == f"merge:{holding().market}:2"


def test_a_job_that_moved_something_else_stops_everything():
    rig = Rig()
    name = rig.merging()
    rig.lane.end(name, JobState.FINAL, "expected -40, found -39")
    rig.turn()
    assert "moved something else" in rig.settler.broken
    rig.hold(holding(2, low=(50, 50)))
    rig.turn()
    assert len(rig.heard(Ask)) == 1
    assert rig.heard(Notice)[-1].is_alarm


def test_after_a_mismatch_nothing_begins_before_a_person_has_looked_and_then_everything_does():
    rig = Rig()
    name = rig.merging()
    rig.lane.end(name, JobState.FINAL, "expected a change of 40, found 39")
    rig.turn()
    for _ in range(2):
        rig.told.clear()
        rig.begin()
        rig.hold(holding(2, low=(50, 50)), brings=False)
        rig.turn()
        assert "moved something else" in rig.settler.broken
        assert not rig.heard(Ask)
        assert [notice.is_alarm for notice in rig.heard(Notice)] == [True]
    SettlementRecord(rig.log).resume()
    rig.begin()
    assert rig.settler.broken == ""
    rig.hold(holding(low=(40, 60)), brings=False)
    rig.hold(holding(2, low=(50, 50)))
    rig.turn()
    assert [ask.market for ask in rig.heard(Ask)] == [holding(2).market]
    assert rig.settler.pools.of(holding().market).free == (0, 20 * SHARE), "the job counts as done"


def test_a_lane_that_is_about_to_do_what_the_record_calls_void_is_waited_for():
    rig = Rig()
    name = rig.merging()
    lane, rig.lane = rig.lane, MemoryLane(rig.chain)
    rig.begin()  # another lane, as of a wallet in place of the account, does not know the job
    assert SettlementRecord(rig.log).open() == []
    rig.lane = lane
    rig.told.clear()
    rig.begin()
    rig.hold(holding(low=(40, 60)), brings=False)
    rig.turn()
    assert not rig.heard(Ask)
    assert rig.reason is SettleReason.BUSY
    lane.end(name, JobState.FINAL)
    rig.turn()
    assert rig.heard(Told)[-1].left_micro == 40 * SHARE
    assert rig.chain.cash_micro == 1_040 * SHARE


def test_a_lane_that_is_about_to_do_what_nobody_wrote_down_stops_everything_until_it_has_ended():
    rig = Rig()
    name = rig.merging()
    rig.log = ListLog()  # the file is lost
    rig.begin()
    rig.hold(holding(low=(40, 60)), brings=False)
    rig.turn()
    assert f"{name}: the lane is about to do it" in rig.settler.broken
    rig.lane.end(name, JobState.REFUSED)
    rig.begin()
    rig.hold(holding(low=(40, 60)), brings=False)
    rig.turn()
    assert rig.grant() == f"merge:{holding().market}:2", "a name is used once"
    assert rig.settler.broken == ""


def test_what_a_person_has_to_see_to_is_an_alarm_once_while_it_lasts():
    rig = Rig()
    status = LaneStatus(9, 9, 0, 10**15, True, "", "", "", {})
    lane = SimpleNamespace(status=lambda: status)
    rig.settler._cost = GasCost(lane, SettlementSettings())
    rig.turn()
    rig.turn()
    assert [(notice.kind, notice.is_alarm) for notice in rig.heard(Notice)] == [(AlarmKind.GAS, True)]
    status = replace(status, halted="somebody else sends from this account")
    rig.turn()
    assert rig.heard(Notice)[-1].kind is AlarmKind.SETTLEMENT
    assert "invmm lane --resume" in rig.heard(Notice)[-1].text
    status = replace(status, halted="", is_balance_low=False)
    rig.turn()
    status = replace(status, is_balance_low=True)
    rig.turn()
    kinds = [notice.kind for notice in rig.heard(Notice)]
    assert kinds == [AlarmKind.GAS, AlarmKind.SETTLEMENT, AlarmKind.GAS]


def test_markets_that_are_done_leave_the_file_and_all_that_matters_stays(monkeypatch: pytest.MonkeyPatch):
    rig = Rig()
    for number in (1, 2):
        rig.hold(holding(number, low=(40, 60)))
    rig.turn()
    for ask in rig.heard(Ask):
        rig.settler.hear(Grant(ask.name, True))
    names = list(rig.lane.jobs)
    rig.lane.end(names[0], JobState.FINAL)
    rig.turn()
    rig.chain.resolved[holding(1).market] = (1, 0)
    rig.hold(holding(1, low=(40, 60), is_open=False), brings=False)
    rig.over()
    record = SettlementRecord(rig.log)
    record.stop("somebody has to look")
    before = rig.log.records
    assert {"kind": "closed", "market": holding(1).market} in before
    monkeypatch.setattr(record_module, "SHORTEN_AFTER", 1)
    shortened = SettlementRecord(rig.log)
    assert len(rig.log.records) == 3 < len(before)
    assert shortened.open() == [names[1]]
    monkeypatch.undo()
    again = SettlementRecord(rig.log)
    assert [(held.market, past) for held, past in again.markets()] == [
        (held.market, past) for held, past in record.markets()
    ]
    assert (again.stopped, again.past(holding(1).market)) == ("somebody has to look", [])


def test_fills_that_take_back_what_was_promised_stop_everything():
    rig = Rig()
    rig.merging()
    rig.hold(holding(low=(10, 60)), brings=False)
    assert "would be free" in rig.settler.broken


def test_what_cannot_be_written_down_is_not_sent():
    rig = Rig()
    rig.hold(holding(low=(40, 60)))
    rig.turn()
    rig.log.is_full = True
    rig.grant()
    assert not rig.lane.jobs
    assert rig.settler.pools.of(holding().market).free == (40 * SHARE, 60 * SHARE)
    assert rig.heard(Notice)[-1].is_alarm


def test_a_silent_chain_is_asked_again_after_growing_pauses():
    rig = Rig()
    rig.hold(holding(low=(40, 60)))
    rig.chain.is_silent = True
    for _ in range(60):
        rig.turn(1)
    assert rig.reason is SettleReason.LANE
    assert rig.chain.questions <= 5
    rig.chain.is_silent = False
    rig.turn(100)
    assert rig.heard(Ask)


def test_dollars_are_split_at_the_open_once_and_only_when_told_to():
    rig = Rig(SettlePolicy(split_micro=50 * SHARE, rule="off"))
    rig.settler.hear(Purse(1_000 * SHARE, 300 * SHARE, False))
    rig.hold(holding())
    rig.turn()
    name = rig.grant()
    rig.lane.end(name, JobState.FINAL)
    rig.turn()
    rig.turn()
    assert rig.heard(Told)[-1].left_micro == -50 * SHARE
    assert rig.settler.pools.of(holding().market).free == (50 * SHARE, 50 * SHARE)
    assert rig.chain.cash_micro == 950 * SHARE
    assert len(rig.heard(Ask)) == 1


# ---- restarts ----------------------------------------------------------------------------------------------

CRASHES = ("before the lane", "queued", "sent", "mined", "final", "final and booked", "failed", "refused")


@pytest.mark.parametrize("crash", CRASHES)
@pytest.mark.parametrize("reopens", [True, False], ids=["reopened", "left"])
def test_after_a_crash_at_any_point_every_pair_becomes_a_dollar_once(crash: str, reopens: bool):
    rig = Rig()
    rig.hold(holding(low=(40, 60)))
    rig.turn()
    if crash == "before the lane":
        rig.lane.submit = lambda job: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            rig.grant()
        del rig.lane.submit
    else:
        name = rig.grant()
        state = {"final and booked": "final"}.get(crash, crash)
        rig.lane.end(name, JobState(state))
        if crash == "final and booked":
            rig.turn()
    rig.lane.untold = []
    rig.told.clear()
    rig.begin()
    if reopens:
        rig.hold(holding(low=(20, 60)), brings=False)  # its fills are still being listed
        rig.turn()
        rig.hold(holding(low=(40, 60)), brings=False)
    for _ in range(8):
        rig.turn(LEFT_S)
        for ask in rig.heard(Ask):
            rig.settler.hear(Grant(ask.name, True))
        rig.chain.resolved[holding().market] = (0, 1)
        for job in rig.lane.open():
            rig.lane.end(job.name, JobState.FINAL)
        if reopens and rig.now_ns > END_S * S:
            rig.hold(holding(low=(40, 60), is_open=False), brings=False)
    rig.over()
    rig.turn()
    assert not rig.settler.broken
    assert rig.chain.cash_micro == 1_060 * SHARE
    assert not any(rig.chain.shares.values())
    assert rig.log.records[-1] == {"kind": "closed", "market": holding().market}
    if reopens:
        merges = [rig.lane.jobs[name] for name in rig.lane.effects if name.startswith("merge")]
        merged_micro = sum(job.changes[-1].delta_micro for job in merges)
        assert rig.heard(Told)[-1].left_micro == merged_micro, "the engine is told of both sessions"


def _fields(held: Holding) -> dict[str, Any]:
    return {name: getattr(held, name) for name in held.__slots__}
