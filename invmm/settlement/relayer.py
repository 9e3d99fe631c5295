"""`RelayerLane`: jobs of a wallet, executed by the venue's relayer, each once or not at all.

One envelope is out at a time; what comes meanwhile shares the next. It is journaled before it is handed over
and stays until the chain decides:

- a transaction that moved the jobs' tokens is in a finalized block: **FINAL**. Nothing else is success, the
  relayer's word included;
- it can never take effect: its deadline lies before a finalized block (deposit wallet), or another
  transaction used its nonce by then (Safe, proxy), or the relayer called it failed a while before; and up to
  that block nothing moved. Only then are its jobs signed anew, or FAILED.

Until then an answer that was lost leads to one thing only: after a look at the chain the same bytes are
handed over again, which cannot take effect twice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from invmm.clock import NS
from invmm.errors import TransportError, VenueError
from invmm.settings import SettlementSettings
from invmm.settlement.envelopes import DEADLINE_S, PROXY_GAS, RelayedWallet
from invmm.settlement.lane import Job, JobReport, JobState
from invmm.settlement.lane_book import RecordLog
from invmm.settlement.movements import difference
from invmm.settlement.quota import Quota
from invmm.settlement.relay import CONFIRMED, ENDED_WITHOUT, NotTakenError, Relay, UnansweredError
from invmm.settlement.sightings import Chain, Head, Receipt, Sighting, is_job_of
from invmm.settlement.submits import Standing, Submit, Submits

RESEND_AFTER_S: Final = 20.0
"""From a try that was lost or not taken to the next; doubled each time up to `RESEND_MAX_S`."""
RESEND_MAX_S: Final = 320.0
DEATH_MARGIN_S: Final = 120.0
"""How far the finalized block is past the proof that an envelope can do nothing any more, before that is
concluded: nodes behind one address differ in age, and one that lags tells too few logs.
"""
RELOOK_BLOCKS: Final = 100
"""Finalized blocks that are looked at again, for the same reason."""
DEADLINE_MARGIN_S: Final = 60.0
"""With less left before its deadline an envelope is not handed over again."""
MOST_SIGNINGS: Final = 3
"""Envelopes that a job gets before it counts as failed."""


class RelayerLane:
    """See `Lane`; a job without changes, as an approval, must do no harm when it is done twice.

    Parameters
    ----------
    relay : Relay
    chain : Chain
    wallet : RelayedWallet
    journal : RecordLog
        Of this wallet alone.
    settings : SettlementSettings
        `relayer_…` and `poll_ms`.
    """

    def __init__(
        self,
        relay: Relay,
        chain: Chain,
        wallet: RelayedWallet,
        journal: RecordLog,
        *,
        settings: SettlementSettings | None = None,
    ) -> None:
        self._relay = relay
        self._chain = chain
        self._wallet = wallet
        self._settings = settings or SettlementSettings()
        self._journal = journal
        quota = Quota(self._settings.relayer_submits_per_minute, self._settings.relayer_submits_per_day)
        self._submits = Submits(journal, quota, wallet.address)
        self._reported = {name: one.report for name, one in self._submits.standing.items()}
        self._due_s = 0.0
        self._send_s = 0.0
        self._pause_s = RESEND_AFTER_S
        self._nonce_wanted: int | None = None
        self._why = ""

    def submit(self, job: Job) -> None:
        """See `Lane`."""
        if job.name in self._submits.standing:
            raise ValueError(f"job: expected a name that is new, found {job.name}")
        if not job.calls:
            raise ValueError(f"job {job.name}: expected one call or more, found none")
        self._submits.take(job, 0.0)  # its patience counts from the first `advance`

    def open(self) -> list[Job]:
        """See `Lane`."""
        return [one.job for one in self._submits.open()]

    def report_of(self, name: str) -> JobReport | None:
        """See `Lane`."""
        known = self._submits.standing.get(name)
        return None if known is None else known.report

    def submits_left(self, now_ns: int) -> int:
        """What is left of the day's submits."""
        used = self._submits.quota.used(now_ns / NS)
        return max(0, self._settings.relayer_submits_per_day - used)

    def close(self) -> None:
        """See `Lane`; closes the relay's connection as well."""
        self._journal.close()
        self._relay.close()

    def advance(self, now_ns: int) -> list[JobReport]:
        """See `Lane`. What the relayer or the chain do not tell is asked again the next time."""
        now_s = now_ns / NS
        for one in self._submits.open():
            one.since_s = one.since_s or now_s
        if now_s >= self._due_s and self._submits.open():
            self._due_s = now_s + self._settings.poll_ms / 1e3
            try:
                if self._submits.current is not None:
                    self._follow(self._submits.current, now_s)
                if self._submits.current is None and self._submits.open():
                    self._begin(now_s)
            except (TransportError, VenueError) as error:
                self._wait(str(error))
            self._lose_patience(now_s)
        return self._changes()

    # Beginning

    def _begin(self, now_s: float) -> None:
        """Seals what waits into one envelope and hands it over."""
        if wait_s := max(self._submits.quota.wait_s(now_s), self._send_s - now_s, 0.0):
            self._due_s = max(self._due_s, now_s + min(wait_s, 60.0))
            self._wait("the relayer's quota is used up" if self._send_s <= now_s else self._why)
            return
        head = self._chain.head(int(now_s * NS))
        if head.doubt:
            self._wait(head.doubt)
            return
        chosen = self._executable(self._choice())
        if not chosen:
            return
        calls = [call for one in chosen for call in one.job.calls]
        params = self._relay.params(self._wallet.account, self._wallet.kind)
        nonce = max(params.nonce, self._nonce_wanted or 0)
        self._nonce_wanted = None
        question = self._wallet.gas_question(calls)
        gas = self._chain.gas(self._wallet.account, question) if question is not None else None
        try:
            envelope = self._wallet.seal(
                calls,
                nonce=nonce,
                deadline_s=int(max(now_s, head.time_s)) + DEADLINE_S,
                note="; ".join(call.what for call in calls),
                relay=params.relay,
                gas=gas or PROXY_GAS * len(calls),
            )
        except ValueError as error:
            self._not_signed(chosen, str(error))
            return
        self._submits.seal(chosen, envelope, head.final_block)
        self._pause_s = RESEND_AFTER_S
        submit = self._submits.current
        assert submit is not None
        self._hand_over(submit, now_s)

    def _choice(self) -> list[Standing]:
        """The oldest jobs that may share an envelope: no token twice, and not too many calls."""
        chosen: list[Standing] = []
        tokens: set[int] = set()
        calls = 0
        for one in self._submits.waiting():
            own = {change.token_id for change in one.job.changes if change.kind == "token"}
            calls += len(one.job.calls)
            if chosen and (
                one.alone
                or chosen[0].alone
                or own & tokens
                or calls > self._settings.relayer_calls_per_submit
            ):
                break
            chosen.append(one)
            tokens |= own
        return chosen

    def _executable(self, chosen: list[Standing]) -> list[Standing]:
        """Those of which no call would fail now; the others are refused."""
        fit = []
        for one in chosen:
            whys = (self._chain.refusal(self._wallet.address, call) for call in one.job.calls)
            why = next(filter(None, whys), "")
            if why:
                self._end([one.job], JobState.REFUSED, reason=f"would fail: {why}")
            else:
                fit.append(one)
        return fit

    def _not_signed(self, chosen: list[Standing], why: str) -> None:
        """The signer refused one of these: alone it ends, among others each is tried by itself."""
        if len(chosen) == 1:
            self._end([chosen[0].job], JobState.REFUSED, reason=f"not signed: {why}")
        for one in chosen:
            one.alone = True

    # Handing over

    def _hand_over(self, submit: Submit, now_s: float) -> None:
        """One try of the same bytes; what its answer proves is journaled."""
        if self._submits.quota.wait_s(now_s):
            self._wait("the relayer's quota is used up")
            return
        self._submits.begin_try(now_s)
        try:
            told = self._relay.submit(submit.envelope.body)
        except NotTakenError as answer:
            self._submits.end_try()
            self._not_taken(submit, answer, now_s)
        except UnansweredError as answer:
            self._pause(now_s, answer.pause_s)
            self._wait(str(answer))
        else:
            self._submits.hear(told, now_s)

    def _not_taken(self, submit: Submit, answer: NotTakenError, now_s: float) -> None:
        """This try had no effect. If none before it can have had one either, the envelope is dead."""
        self._pause(now_s)
        if answer.is_busy:
            self._wait("the wallet has something else in flight")
        elif submit.is_doubtful and (answer.nonce is None or any(job.changes for job in submit.jobs)):
            # Perhaps because the copy before was executed: the chain will show. Jobs without changes leave
            # no trace there that is theirs alone; they may be done twice.
            self._wait(str(answer))
        elif answer.nonce is not None:
            if answer.nonce > submit.envelope.nonce:
                self._nonce_wanted = answer.nonce
            self._submits.drop(counts=False)
            self._wait("another transaction of the wallet came first")
        else:
            self._give_up(submit, JobState.REFUSED, answer.words)

    def _pause(self, now_s: float, least_s: float = 0.0) -> None:
        """Keeps away from the relayer for a while, the next time for longer."""
        self._send_s = now_s + max(self._pause_s, least_s)
        self._pause_s = min(2 * self._pause_s, RESEND_MAX_S)

    # Following

    def _follow(self, submit: Submit, now_s: float) -> None:
        """Asks the chain, then the relayer, and hands the same bytes over again when neither knows them."""
        if not submit.is_doubtful:
            if self._is_stale(submit, now_s):
                self._submits.drop(counts=False)
            elif now_s >= self._send_s:
                self._hand_over(submit, now_s)
            return
        head = self._chain.head(int(now_s * NS))
        if self._seen(submit, head):
            return
        if submit.identifier and submit.state not in ENDED_WITHOUT:
            self._ask(submit, now_s)
        if submit.hash and self._seen_by_hash(submit, head):
            return
        if self._is_dead(submit, head):
            self._bury(submit)
        elif not submit.identifier and now_s >= self._send_s and not self._is_stale(submit, now_s):
            self._hand_over(submit, now_s)

    def _ask(self, submit: Submit, now_s: float) -> None:
        """What the relayer says; the chain can tell what matters without it."""
        try:
            self._submits.hear(self._relay.transaction(submit.identifier), now_s)
        except UnansweredError as answer:
            self._wait(str(answer))

    def _seen(self, submit: Submit, head: Head) -> bool:
        """Whether a transaction moved what every job of the envelope says; ends them once it is final."""
        first = max(submit.since_block, submit.looked_block) + 1
        for sighting in self._chain.sightings(self._wallet.address, first, head.block):
            if sighting.transaction in self._submits.used or not self._is_of(submit, sighting):
                continue
            receipt = self._chain.receipt(sighting.transaction, self._wallet.address)
            if receipt is None or receipt.block != sighting.block:
                raise TransportError("the chain changed while it was read")
            self._show(submit, sighting.transaction, receipt, head)
            return True
        submit.looked_block = head.final_block - RELOOK_BLOCKS
        for job in submit.jobs:  # a block that showed it may be gone again
            one = self._submits.standing[job.name]
            if one.report.state is JobState.MINED:
                one.report = JobReport(job.name, JobState.SENT, reason="no longer in a block")
        return False

    def _is_of(self, submit: Submit, sighting: Sighting) -> bool:
        movers = [job for job in submit.jobs if any(c.kind == "token" for c in job.changes)]
        return bool(movers) and all(is_job_of(job, sighting.moved) for job in movers)

    def _seen_by_hash(self, submit: Submit, head: Head) -> bool:
        """Whether the transaction that the relayer names did it, though it moved otherwise than expected.

        Of jobs that move nothing, as approvals, there is no other trace.
        """
        receipt = self._chain.receipt(submit.hash, self._wallet.address)
        if receipt is None or not receipt.succeeded or submit.hash in self._submits.used:
            return False
        expects = any(job.changes for job in submit.jobs)
        if receipt.block <= submit.since_block or (expects and not receipt.moved):
            return False
        if not expects and submit.state != CONFIRMED:
            return False
        self._show(submit, submit.hash, receipt, head)
        return True

    def _show(self, submit: Submit, transaction: str, receipt: Receipt, head: Head) -> None:
        """Jobs are mined, or final with what is odd about them."""
        if receipt.block > head.final_block:
            for job in submit.jobs:
                self._submits.standing[job.name].report = JobReport(
                    job.name, JobState.MINED, transaction, block=receipt.block
                )
            return
        changes = [change for job in submit.jobs for change in job.changes]
        odd = difference(receipt.moved, changes)
        self._end(list(submit.jobs), JobState.FINAL, transaction, receipt.block, odd)

    def _is_dead(self, submit: Submit, head: Head) -> bool:
        """Whether it can never take effect, given that it has not up to the finalized block."""
        now_s = head.final_time_s
        if submit.envelope.deadline_s:
            return now_s > submit.envelope.deadline_s + DEATH_MARGIN_S
        if submit.state in ENDED_WITHOUT and now_s > submit.ended_s + DEATH_MARGIN_S:
            return True
        wallet = self._wallet
        nonce = self._chain.next_nonce(wallet.kind, wallet.account, wallet.address, head.final_block)
        if nonce is None or nonce <= submit.envelope.nonce:
            submit.overtaken_s = 0.0
            return False
        submit.overtaken_s = submit.overtaken_s or now_s
        return now_s > submit.overtaken_s + DEATH_MARGIN_S

    def _bury(self, submit: Submit) -> None:
        """The envelope is dead, and nothing moved."""
        if submit.state in ENDED_WITHOUT or submit.state == CONFIRMED:
            said = "failed" if submit.state in ENDED_WITHOUT else "confirmed, the chain shows nothing"
            self._give_up(submit, JobState.FAILED, f"the relayer says {said}: {submit.error or submit.hash}")
        elif all(self._submits.standing[job.name].signings + 1 >= MOST_SIGNINGS for job in submit.jobs):
            self._end(list(submit.jobs), JobState.FAILED, reason=f"lost {MOST_SIGNINGS} times, nothing moved")
        else:
            self._submits.drop()

    def _give_up(self, submit: Submit, state: JobState, why: str) -> None:
        """One job is at fault: alone it ends, among others each gets an envelope of its own."""
        if len(submit.jobs) > 1:
            self._submits.drop(alone=True)
        else:
            self._end(list(submit.jobs), state, reason=why)

    def _is_stale(self, submit: Submit, now_s: float) -> bool:
        deadline_s = submit.envelope.deadline_s
        return bool(deadline_s) and now_s > deadline_s - DEADLINE_MARGIN_S

    # Telling

    def _end(
        self, jobs: list[Job], state: JobState, transaction: str = "", block: int = 0, reason: str = ""
    ) -> None:
        self._submits.end(
            [JobReport(job.name, state, transaction, block=block, reason=reason) for job in jobs]
        )

    def _wait(self, why: str) -> None:
        """Why nothing moves, with every job that it holds up."""
        self._why = why
        for one in self._submits.open():
            if one.report.state in (JobState.QUEUED, JobState.SENT):
                one.report = replace(one.report, reason=why)

    def _lose_patience(self, now_s: float) -> None:
        """Ends what has waited too long unsent: by now another job may be the better one."""
        oldest_s = now_s - self._settings.relayer_patience_s
        late = [one for one in self._submits.waiting() if 0 < one.since_s < oldest_s]
        if late:
            self._end([one.job for one in late], JobState.REFUSED, reason=f"waited too long: {self._why}")

    def _changes(self) -> list[JobReport]:
        """What differs from what was told last."""
        found = []
        for name, one in self._submits.standing.items():
            if one.report != self._reported.get(name, JobReport(name, JobState.QUEUED)):
                found.append(one.report)
            self._reported[name] = one.report
        return found
