"""A lane, a chain and a disk under an adversary: what the chain does and what breaks is his to choose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from invmm.clock import ReplayClock
from invmm.errors import DataError, TransportError
from invmm.settings import SettlementSettings
from invmm.settlement.chain import ChainLane
from invmm.settlement.lane import ENDED, JobReport, JobState
from tests.unit.fake_chain import GWEI, FakeChain, FakeNode, MemoryJournal, Signer, hash_of, merge_job

SETTINGS = SettlementSettings(stuck_after_s=30.0, repeat_after_s=3.0, head_max_age_s=0.0)
EVENTS = ("mine", "finalize", "reorganise", "forget", "drop", "spike")
INTRUSION = "intrude"
TROUBLED_NODES = ("lag", "mute")
PATIENCE = 40
"""Rounds in which a chain that has become kind must bring every job to its end."""


class Crash(BaseException):
    """The program ends here; only disk and chain remain."""


@dataclass(frozen=True)
class Fault:
    """What breaks at the `place`-th step: the program ("crash"), or the step only ("fail"): a question does
    not arrive, its answer gets lost, a record cannot be written. Or its answer is `answer` ("garble").
    """

    place: int
    kind: str
    answer: Any = None


@dataclass
class Outcome:
    """What came of a run. `wrong` says what must not be; `steps` are the steps that faults can be put at."""

    steps: list[str]
    reports: list[JobReport]
    wrong: list[str] = field(default_factory=list)


class World:
    """One run: events of the chain between the lane's looks, then kind ones until all is at rest."""

    def __init__(
        self,
        events: tuple[str, ...],
        faults: tuple[Fault, ...] = (),
        *,
        calls: int = 1,
        nodes: int = 2,
        lane: type[ChainLane] = ChainLane,
        journal: type[MemoryJournal] = MemoryJournal,
    ) -> None:
        self.events = events
        self.faults = {fault.place: fault for fault in faults}
        self.garbled: Fault | None = None
        self.job = merge_job(calls=calls)
        self.lane_class, self.journal_class = lane, journal
        self.chain = FakeChain()
        self.nodes = [FakeNode(self.chain, str(number)) for number in range(nodes)]
        for node in self.nodes:
            node.visit, node.garble = self.visit, self.garble
        self.disk: list[dict[str, Any]] = []
        self.clock = ReplayClock(1_000 * 10**9)
        self.outcome = Outcome([], [])
        self.booked = 0

    def run(self) -> Outcome:
        self.restart()
        for event in self.schedule():
            self.attempt(self.submit)
            self.attempt(self.look)
            getattr(self, event)()
            if self.outcome.wrong or (self.ended and event == "finalize" and not self.chain.pool):
                break
        self.judge()
        return self.outcome

    def schedule(self) -> Iterator[str]:
        yield from self.events
        for _ in range(PATIENCE):
            yield "calm"
            yield "mine"
            yield "finalize"

    # The program

    def restart(self) -> None:
        journal = self.journal_class(self.disk, self.visit)
        try:
            self.lane = self.lane_class(self.nodes, Signer(), journal, settings=SETTINGS, clock=self.clock)
        except Crash:
            self.restart()
        except DataError as error:
            self.outcome.wrong.append(str(error))
        except OSError:  # its first record could not be written: somebody starts it again
            self.restart()

    def attempt(self, step: Any) -> None:
        try:
            step()
        except Crash:
            self.restart()

    def submit(self) -> None:
        """Whoever wants the job asks for it until the lane has it."""
        if self.lane.report_of(self.job.name) is None:
            try:
                self.lane.submit(self.job)
            except OSError:
                self.outcome.reports.append(JobReport(self.job.name, JobState.QUEUED, reason="no room"))

    def look(self) -> None:
        self.clock.set(self.clock.now_ns() + 5 * 10**9)
        for report in self.lane.advance(self.clock.now_ns()):
            self.outcome.reports.append(report)
            if report.state is JobState.FINAL:
                place = self.chain.place_of(report.transaction)
                if place is None or place[0].number > self.chain.finalized:
                    self.outcome.wrong.append(f"{report.transaction} called final, it is not")

    @property
    def ended(self) -> bool:
        report = self.lane.report_of(self.job.name)
        return report is not None and report.state in ENDED

    # The adversary

    def visit(self, step: str) -> None:
        """Every question, answer and record passes here."""
        if step == "eth_sendRawTransaction answered":
            known = {record.get("transaction") for record in self.disk}
            if hash_of(self.chain.seen[-1]) not in known:
                self.outcome.wrong.append("a transaction was sent that is not on disk")
        place = len(self.outcome.steps)
        self.outcome.steps.append(step)
        fault = self.faults.get(place)
        kind = fault.kind if fault is not None else ""
        if kind == "garble":
            self.garbled = fault
        if kind == "crash":
            raise Crash
        if kind == "fail" and "journal" in step:
            raise OSError(28, "no space left on device")
        if kind == "fail":
            raise TransportError("no answer")

    def garble(self, answer: Any) -> Any:
        """The answer that arrives in place of the true one."""
        fault, self.garbled = self.garbled, None
        return answer if fault is None else fault.answer

    def mine(self) -> None:
        self.chain.mine()

    def finalize(self) -> None:
        self.chain.finalize()

    def reorganise(self) -> None:
        self.chain.reorganise(3)

    def forget(self) -> None:
        self.chain.reorganise(3, forget=True)

    def drop(self) -> None:
        self.chain.drop()

    def spike(self) -> None:
        """The base fee leaves the bid behind, and so much time passes that it counts as stuck."""
        self.chain.base_fee_wei = 200 * GWEI
        self.chain.mine()
        self.clock.set(self.clock.now_ns() + 31 * 10**9)

    def intrude(self) -> None:
        """Somebody else sends from the same account, and bids more."""
        nonce = self.chain.nonce()
        bid = {"nonce": nonce, "data": INTRUSION.encode(), "maxFeePerGas": 10**15, "maxPriorityFeePerGas": 1}
        self.chain.pool[nonce] = Signer().sign_transaction(bid)

    def lag(self) -> None:
        """The last node stands still for two blocks."""
        self.nodes[-1].lag += 2

    def mute(self) -> None:
        """The first node does not answer."""
        self.nodes[0].is_down = True

    def calm(self) -> None:
        self.chain.base_fee_wei = 50 * GWEI
        for node in self.nodes:
            node.lag, node.is_down = 0, False

    # The judge

    def judge(self) -> None:
        """Each call took effect once; with a nonce taken by somebody else, not at all and not silently."""
        wrong = self.outcome.wrong
        report = self.lane.report_of(self.job.name)
        found = [effect for effect in self.chain.effects() if effect != INTRUSION]
        expected = [call.data.decode() for call in self.job.calls]
        if report is None or not self.ended:
            wrong.append(f"not at rest: {report}, {self.lane.status()}")
        elif report.state is JobState.FINAL:
            if report.reason:
                wrong.append(f"an alarm for nothing: {report.reason}")
        elif report.state is JobState.REFUSED and any(one.kind == "garble" for one in self.faults.values()):
            del expected[:]
        else:
            if INTRUSION not in self.chain.effects() or "somebody else" not in report.reason:
                wrong.append(f"ended without cause: {report}")
            if not self.lane.status().halted:
                wrong.append("somebody else sends from the account, and the lane goes on")
            del expected[report.reason.count("executed before") :]
        if not wrong and self.lane_class is ChainLane and self.journal_class is MemoryJournal:
            then = ChainLane(
                self.nodes, Signer(), MemoryJournal(self.disk), settings=SETTINGS, clock=self.clock
            )
            if then.report_of(self.job.name) != report or then.status().halted != self.lane.status().halted:
                wrong.append(f"a restart finds {then.report_of(self.job.name)}")
        if found != expected:
            wrong.append(f"effects: expected {expected}, found {found}")


def worth_a_crash(steps: list[str]) -> list[int]:
    """Places where a crash differs from one at an earlier place: before and after whatever changes disk or
    chain. Questions in between change neither, so of a run of them the first stands for all.
    """
    places = []
    changed = True
    for place, step in enumerate(steps):
        changes = "journal" in step or "eth_sendRawTransaction" in step
        if changes or changed:
            places.append(place)
        changed = changes
    return places


def worth_a_failure(steps: list[str]) -> list[int]:
    """Places where a failure of the step alone differs: for a question that changes nothing it is the same
    whether it or its answer got lost.
    """
    return [
        place
        for place, step in enumerate(steps)
        if "eth_sendRawTransaction" in step or step.endswith((" answered", "before the journal"))
    ]
