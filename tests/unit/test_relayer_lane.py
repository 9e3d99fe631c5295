"""A relayer's lane: every job takes effect once or not at all, whatever the relayer does or says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from invmm import OrderSigner
from invmm.clock import NS
from invmm.settings import SettlementSettings
from invmm.settlement.calls import Approval, Standard
from invmm.settlement.envelopes import WalletKind
from invmm.settlement.lane import Change, Job, JobState
from invmm.settlement.quota import DAY_S, Quota
from invmm.sim.relayer import Mishap
from tests import markers
from tests.reference import relayer_rig
from tests.reference.relayer_rig import CONDITIONS, HELD, ROUTE, TOKENS, Rig, merge_job
from tests.reference.wallet_chain import COLLATERAL

PAIRS = 25_000_000
FEW = 3_000_000


def states(rig: Rig) -> list[str]:
    return [report.state.value for report in rig.reports]


def merged(rig: Rig) -> list[int]:
    return [rig.chain.count("merge", CONDITIONS[0], PAIRS), rig.chain.count("merge", CONDITIONS[1], FEW)]


def redeem_job(number: int, up: int, down: int, gain: int) -> Job:
    condition = CONDITIONS[number]
    changes = zip(TOKENS[condition], (up, down), strict=True)
    return Job(
        f"redeem:{number}",
        ROUTE.redeem("0x" + condition.hex(), up, down),
        (*(Change("token", token, -held) for token, held in changes), Change("collateral", 0, gain)),
    )


def test_jobs_that_wait_share_a_submit_and_end_at_the_finalized_block() -> None:
    rig = Rig()
    rig.submit(merge_job(0, PAIRS), merge_job(1, FEW))
    rig.settle()
    assert states(rig) == ["sent", "sent", "mined", "mined", "final", "final"]
    assert merged(rig) == [1, 1]
    assert len(rig.relayer.submits) == 1
    last = rig.last()["merge:0:25000000"]
    assert last.transaction == rig.chain.transactions[0].hash
    assert (last.block, last.reason) == (rig.chain.transactions[0].block, "")
    assert last.block <= rig.chain.final_block()


@pytest.mark.parametrize(
    ("mishap", "kind"),
    [
        (mishap, kind)
        for mishap in Mishap
        for kind in WalletKind
        # Without a deadline the relayer's word that something failed is believed.
        if mishap is not Mishap.REVIVED or kind is WalletKind.DEPOSIT
    ],
)
def test_whatever_goes_wrong_each_job_takes_effect_once(mishap: Mishap, kind: WalletKind) -> None:
    rig = Rig(kind, mishaps=(mishap,))
    rig.submit(merge_job(0, PAIRS), merge_job(1, FEW))
    rig.settle()
    assert {report.state for report in rig.last().values()} == {JobState.FINAL}
    assert merged(rig) == [1, 1]
    assert rig.chain.balances[COLLATERAL] == HELD + PAIRS + FEW


def test_a_job_that_the_relayer_fails_is_failed_only_when_it_can_never_happen() -> None:
    rig = Rig(mishaps=(Mishap.FAILED,))
    rig.submit(merge_job(0, PAIRS))
    rig.run(500.0)
    assert states(rig) == ["sent"]
    rig.settle()
    assert states(rig) == ["sent", "failed"]
    assert rig.last()["merge:0:25000000"].reason == "the relayer says failed: execution reverted"
    assert merged(rig) == [0, 0]


def test_a_relayer_that_says_failed_and_executes_later_is_not_believed() -> None:
    rig = Rig(mishaps=(Mishap.REVIVED,))
    rig.submit(merge_job(0, PAIRS))
    rig.settle()
    assert states(rig) == ["sent", "mined", "final"]
    assert merged(rig) == [1, 0]


def test_a_relayer_that_says_confirmed_is_not_believed_either() -> None:
    rig = Rig(mishaps=(Mishap.LATE,))
    rig.relayer.late_s = 10_000.0
    rig.submit(merge_job(0, PAIRS))
    rig.run(10.0)
    (action,) = rig.relayer.actions.values()
    action.state, action.hash = "STATE_CONFIRMED", "0x" + "ab" * 32
    rig.run(300.0)
    assert states(rig) == ["sent"]
    rig.settle()
    assert states(rig)[-1] == "failed"
    assert "the chain shows nothing" in rig.reports[-1].reason


def test_a_lost_answer_is_followed_by_the_same_bytes_only() -> None:
    rig = Rig(mishaps=(Mishap.DROPPED, Mishap.REFUSED, Mishap.DROPPED))
    rig.submit(merge_job(0, PAIRS))
    rig.settle()
    sealed = [record for record in rig._records if record["is"] == "envelope"]
    assert len(sealed) == 1
    assert len(rig.relayer.submits) == 4
    assert merged(rig) == [1, 0]


def test_a_submit_that_never_arrives_is_signed_anew_after_its_deadline() -> None:
    rig = Rig(mishaps=(Mishap.DROPPED,) * 6)
    rig.submit(merge_job(0, PAIRS))
    rig.settle()
    first, second = (record for record in rig._records if record["is"] == "envelope")
    assert second["deadline"] > first["deadline"]
    assert rig.last()["merge:0:25000000"].state is JobState.FINAL
    assert merged(rig) == [1, 0]


def test_a_job_that_is_lost_again_and_again_is_given_up() -> None:
    rig = Rig(mishaps=(Mishap.DROPPED,) * 100)
    rig.submit(merge_job(0, PAIRS))
    rig.settle()
    assert rig.last()["merge:0:25000000"].state is JobState.FAILED
    assert rig.last()["merge:0:25000000"].reason == "lost 3 times, nothing moved"


def test_a_safe_whose_submits_never_arrive_waits_until_its_nonce_is_used() -> None:
    rig = Rig(WalletKind.SAFE, mishaps=(Mishap.DROPPED,) * 1_000)
    rig.submit(merge_job(0, PAIRS))
    rig.run(5_000.0)
    assert set(states(rig)) == {"sent"}
    rig.chain.overtake(None, 0.0)  # type: ignore[arg-type]
    rig.relayer.mishap = lambda number: Mishap.NONE
    rig.settle()
    assert states(rig)[-1] == "final"
    assert merged(rig) == [1, 0]


def test_a_reorganisation_takes_a_job_back_to_sent() -> None:
    rig = Rig(settings=SettlementSettings(poll_ms=1_000))
    rig.submit(merge_job(0, PAIRS))
    while "mined" not in states(rig):
        rig.run(1.0, 1.0)
    rig.chain.reorganise(4)
    rig.run(2.0, 1.0)
    assert states(rig)[-1] == "sent"
    assert rig.reports[-1].reason == "no longer in a block"
    rig.settle()
    assert states(rig)[-2:] == ["mined", "final"]
    assert merged(rig) == [1, 0]


def test_a_block_before_the_old_head_is_looked_at_too() -> None:
    rig = Rig(mishaps=(Mishap.LOST,))
    rig.submit(merge_job(0, PAIRS))
    rig.run(10.0)
    rig.chain.transactions[0].block = 95  # the chain was reorganised to below where it was submitted
    rig.settle()
    assert states(rig)[-1] == "final"
    assert merged(rig) == [1, 0]


def test_a_node_that_lags_with_its_logs_does_not_make_a_job_dead() -> None:
    rig = Rig(mishaps=(Mishap.LOST_LATE,))
    rig.relayer.late_s = 590.0  # just before the deadline
    rig.chain.final_lag, rig.chain.log_lag = 0, 40
    rig.submit(merge_job(0, PAIRS))
    rig.settle()
    assert states(rig)[-1] == "final"
    assert merged(rig) == [1, 0]


def test_nothing_that_is_kept_or_told_holds_a_secret() -> None:
    rig = Rig(mishaps=(Mishap.LIMITED, Mishap.ERROR))
    rig.submit(merge_job(0, PAIRS))
    rig.settle()
    finder = markers.SecretFinder()
    assert finder.find(repr(rig._records) + repr(rig.reports) + repr(vars(rig.lane))) == []
    assert finder.find(relayer_rig.KEY)


def test_fills_that_settle_meanwhile_are_not_taken_for_the_job() -> None:
    rig = Rig(mishaps=(Mishap.LOST_LATE,))
    up, down = TOKENS[CONDITIONS[0]]
    rig.submit(merge_job(0, PAIRS))
    for token in (up, down):  # sold, as many of each
        rig.run(20.0)
        rig.chain.fill(token, -PAIRS, -PAIRS // 2)
    rig.run(100.0)
    assert states(rig)[-1] == "sent"
    rig.settle()
    assert states(rig)[-1] == "final"
    assert rig.reports[-1].transaction == rig.chain.transactions[-1].hash
    assert merged(rig) == [1, 0]


def test_equal_jobs_of_one_market_each_have_a_transaction_of_their_own() -> None:
    rig = Rig(mishaps=(Mishap.LOST, Mishap.LOST))
    rig.submit(merge_job(0, PAIRS, "first"), merge_job(0, PAIRS, "second"))
    rig.settle()
    assert merged(rig) == [2, 0]
    assert len({report.transaction for report in rig.last().values()}) == 2


def test_a_redemption_may_move_more_than_it_said_and_says_so() -> None:
    rig = Rig(mishaps=(Mishap.LOST,))
    rig.chain.payouts[CONDITIONS[0]] = (1_000_000, 0)
    rig.submit(redeem_job(0, HELD - 5, HELD, HELD - 5))
    rig.settle()
    last = rig.last()["redeem:0"]
    assert last.state is JobState.FINAL
    assert f"collateral: expected a change of {HELD - 5}, found {HELD}" in last.reason


def test_a_job_that_would_fail_is_refused_and_the_others_go() -> None:
    rig = Rig()
    rig.submit(merge_job(0, 2 * HELD), redeem_job(2, 1, 1, 1), merge_job(1, FEW))
    rig.settle()
    ends = [(report.state.value, report.reason) for report in rig.last().values()]
    assert ends == [
        ("refused", "would fail: ERC1155: insufficient balance for transfer"),
        ("refused", "would fail: result for condition not received yet"),
        ("final", ""),
    ]
    assert len(rig.relayer.submits) == 1


def test_one_bad_job_does_not_take_the_others_with_it() -> None:
    rig = Rig(mishaps=(Mishap.LATE,))
    rig.submit(merge_job(0, PAIRS), merge_job(1, FEW))
    rig.run(10.0)
    up, _ = TOKENS[CONDITIONS[0]]
    rig.chain.fill(up, PAIRS - 1 - HELD, 0)  # by the time they are executed, too little is left for one
    rig.settle()
    ends = {name: report.state.value for name, report in rig.last().items()}
    assert ends == {"merge:0:25000000": "refused", "merge:1:3000000": "final"}
    assert merged(rig) == [0, 1]


def test_an_approval_is_final_by_its_receipt() -> None:
    rig = Rig(mishaps=(Mishap.LOST,))
    right = ROUTE.approvals[0]
    rig.submit(Job("approve", (right.give(PAIRS),), ()))
    rig.settle()
    assert rig.last()["approve"].state is JobState.FINAL
    assert rig.chain.count("approve", b"", PAIRS) >= 1
    assert rig.chain.now_s - rig.chain.begun_s < 200.0  # it need not wait for its deadline


def test_what_the_signer_does_not_sign_is_refused_alone() -> None:
    rig = Rig()
    stranger = Approval(Standard.ERC20, ROUTE.approvals[0].token, relayer_rig.WALLET, "a stranger")
    rig.submit(merge_job(0, PAIRS), Job("give away", (stranger.give(),), ()), merge_job(1, FEW))
    rig.settle()
    assert merged(rig) == [1, 1]
    assert rig.last()["give away"].state is JobState.REFUSED
    assert rig.last()["give away"].reason.startswith("not signed: ")


def test_a_signature_that_is_not_the_owners_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = OrderSigner("0x" + "4c" * 32, 3, relayer_rig.WALLET)
    rig = Rig()
    monkeypatch.setattr(rig.lane._wallet, "_signer", stranger)
    rig.submit(merge_job(0, PAIRS))
    rig.settle()
    assert rig.last()["merge:0:25000000"].reason == "invalid signature"
    assert rig.last()["merge:0:25000000"].state is JobState.REFUSED


def test_a_wrong_api_key_sends_nothing_and_says_why() -> None:
    rig = Rig(settings=SettlementSettings(poll_ms=5_000, relayer_patience_s=120.0))
    rig.relayer.passphrase = "another"
    rig.submit(merge_job(0, PAIRS))
    rig.run(60.0)
    assert states(rig) == ["queued"]
    assert "HTTP 401" in rig.reports[0].reason
    assert rig.lane.open() == [merge_job(0, PAIRS)]
    rig.settle()
    assert rig.last()["merge:0:25000000"].state is JobState.REFUSED
    assert rig.reports[-1].reason.startswith("waited too long: relayer: HTTP 401")
    assert not rig.relayer.submits


@pytest.mark.parametrize("trouble", ["doubt", "silence"])
def test_nothing_new_is_sent_while_the_chain_cannot_be_trusted(trouble: str) -> None:
    rig = Rig()
    if trouble == "doubt":
        rig.chain.doubt = "its latest block is 90 s old"
    else:
        rig.chain.silent = True
    rig.submit(merge_job(0, PAIRS))
    rig.run(100.0)
    assert states(rig) == ["queued"]
    assert not rig.relayer.submits
    rig.chain.doubt, rig.chain.silent = "", False
    rig.settle()
    assert states(rig)[-1] == "final"


def test_a_name_is_taken_once_for_ever() -> None:
    rig = Rig()
    rig.submit(merge_job(0, PAIRS, "it"))
    rig.settle()
    rig.lane = rig.start()
    with pytest.raises(ValueError, match="found it"):
        rig.lane.submit(merge_job(1, FEW, "it"))
    with pytest.raises(ValueError, match="one call or more"):
        rig.lane.submit(Job("other", (), ()))


def test_a_restarted_lane_tells_what_changed_since() -> None:
    rig = Rig(mishaps=(Mishap.LATE,))
    rig.submit(merge_job(0, PAIRS))
    rig.run(20.0)
    rig.lane = rig.start()
    assert rig.lane.open() == [merge_job(0, PAIRS)]
    rig.settle()
    assert states(rig) == ["sent", "mined", "final"]
    assert len(rig.relayer.submits) == 1


def test_quota_is_kept_over_a_restart() -> None:
    rig = Rig(settings=SettlementSettings(poll_ms=1_000, relayer_submits_per_minute=2))
    rig.chain.final_lag = 0
    for number in range(3):
        rig.submit(merge_job(number, PAIRS))
        rig.run(10.0, 1.0)
        rig.lane = rig.start()
    assert len(rig.relayer.submits) == 2
    assert rig.reports[-1].reason == "the relayer's quota is used up"
    rig.settle()
    first, second, third = rig.relayer.submits
    assert second - first < 15.0
    assert third - first >= 60.0


def test_jobs_gather_while_the_days_quota_is_short() -> None:
    settings = replace(SettlementSettings(poll_ms=60_000), relayer_submits_per_day=4)
    rig = Rig(settings=replace(settings, relayer_patience_s=86_400.0))
    for number in range(8):
        rig.submit(merge_job(number, PAIRS))
        rig.run(3_600.0, 60.0)
    rig.run(DAY_S, 60.0)
    assert {report.state for report in rig.last().values()} == {JobState.FINAL}
    assert len(rig.relayer.submits) < 6
    for at_s in rig.relayer.submits:
        assert sum(at_s - DAY_S < other <= at_s for other in rig.relayer.submits) <= 4


def test_the_quota_says_when_the_next_may_go() -> None:
    quota = Quota(per_minute=3, per_day=10)
    assert quota.wait_s(0.0) == 0.0
    for at_s in (0.0, 10.0, 20.0):
        quota.use(at_s)
    assert quota.wait_s(30.0) == 30.0
    assert quota.wait_s(60.0) == 0.0
    for at_s in (100.0, 101.0, 102.0):
        quota.use(at_s)
    assert quota.wait_s(200.0) == 102.0 + DAY_S / 10 - 200.0  # past half of the day's
    for at_s in (300.0, 301.0, 302.0, 303.0):
        quota.use(at_s)
    assert quota.wait_s(400.0) == DAY_S - 400.0
    assert quota.used(DAY_S + 1.0) == 9


def test_a_deposit_wallets_deadline_follows_the_later_clock() -> None:
    rig = Rig()
    rig.submit(merge_job(0, PAIRS))
    rig.lane.advance(int((rig.chain.now_s - 3_000.0) * NS))  # our clock is behind the chain's
    (sealed,) = (record for record in rig._records if record["is"] == "envelope")
    assert sealed["deadline"] >= rig.chain.now_s + 600 - 2
    assert sealed["body"]["depositWalletParams"]["depositWallet"] == relayer_rig.WALLET
