"""No merge ever takes effect twice, nor gets lost: every place of a crash or failure is tried, in every order
of what the chain can do meanwhile. Lanes with a shortcut must fail the same trial.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from invmm.errors import TransportError
from invmm.settlement import lane_book
from invmm.settlement.chain import ChainLane
from invmm.settlement.fees import Fees
from invmm.settlement.lane import JobState
from invmm.settlement.lane_book import Attempt, Progress
from invmm.settlement.nodes import Nodes
from tests.unit.fake_chain import MemoryJournal, hash_of
from tests.unit.lane_world import (
    EVENTS,
    INTRUSION,
    TROUBLED_NODES,
    Fault,
    Outcome,
    World,
    worth_a_crash,
    worth_a_failure,
)

Trial = tuple[tuple[str, ...], tuple[Fault, ...]]


GARBAGE = (
    None,
    5,
    "",
    "0x",
    "0xzz",
    "0x7fffffffffffffff",
    [],
    {},
    [{}],
    {"number": "0x1", "timestamp": None},
    {"number": "0x99", "timestamp": "0x0", "hash": 5},
)


def changes_something(step: str) -> bool:
    return "journal" in step or "eth_sendRawTransaction" in step


def trials(events: tuple[str, ...], *, reads: bool = False, **world: Any) -> Iterator[tuple[Trial, Outcome]]:
    """A run without fault, then one for each place of one fault; `reads`: also for failing questions."""
    whole = World(events, **world).run()
    yield (events, ()), whole
    faults = [Fault(place, "crash") for place in worth_a_crash(whole.steps)]
    faults += [
        Fault(place, "fail")
        for place in worth_a_failure(whole.steps)
        if reads or changes_something(whole.steps[place])
    ]
    for fault in faults:
        yield (events, (fault,)), World(events, (fault,), **world).run()


def pairs(events: tuple[str, ...]) -> Iterator[tuple[Trial, Outcome]]:
    """Every crash, followed by every crash of what comes after it."""
    for first in worth_a_crash(World(events, nodes=1).run().steps):
        faults = (Fault(first, "crash"),)
        then = World(events, faults, nodes=1).run()
        for second in worth_a_crash(then.steps):
            if second > first:
                both = (*faults, Fault(second, "crash"))
                yield (events, both), World(events, both, nodes=1).run()


def wrong(found: Iterator[tuple[Trial, Outcome]]) -> tuple[list[Any], int]:
    """The first trial with something wrong, if any, and how many there were."""
    failed = []
    count = 0
    for trial, outcome in found:
        count += 1
        if outcome.wrong:
            failed.append((trial, outcome.wrong))
            break
    return failed, count


def test_one_effect_whatever_breaks_once_while_the_chain_does_two_things() -> None:
    total = 0
    for events in product(EVENTS, repeat=2):
        failed, count = wrong(trials(events, nodes=1))
        assert not failed
        total += count
    assert total > 500


@pytest.mark.parametrize("event", EVENTS)
def test_one_effect_whatever_question_gets_lost(event: str) -> None:
    failed, count = wrong(trials((event,), reads=True))
    assert not failed
    assert count > 50


@pytest.mark.parametrize("event", EVENTS)
def test_each_call_of_a_job_has_one_effect_in_their_order(event: str) -> None:
    failed, _ = wrong(trials(("mine", event), calls=2, nodes=1))
    assert not failed


@pytest.mark.parametrize("event", EVENTS)
def test_a_nonce_that_somebody_else_takes_is_noticed_and_the_job_has_no_effect_or_one(event: str) -> None:
    for events in ((INTRUSION, event), (event, INTRUSION)):
        failed, _ = wrong(trials(events, nodes=1))
        assert not failed


@pytest.mark.parametrize("event", EVENTS)
def test_one_effect_with_a_journal_that_is_shortened_at_every_start(
    event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_book, "SHORTEN_AFTER", 0)
    failed, _ = wrong(trials(("mine", event), calls=2, nodes=1))
    assert not failed


@pytest.mark.parametrize("answer", GARBAGE, ids=repr)
def test_one_effect_or_none_whatever_nonsense_one_of_two_nodes_answers_once(answer: Any) -> None:
    steps = World(("mine", "calm")).run().steps
    for place, step in enumerate(steps):
        if step.endswith(" answered"):
            outcome = World(("mine", "calm"), (Fault(place, "garble", answer),)).run()
            assert not outcome.wrong, (place, step)


@pytest.mark.parametrize("trouble", TROUBLED_NODES)
def test_one_effect_while_one_of_two_nodes_stands_still_or_is_silent(trouble: str) -> None:
    for event in EVENTS:
        failed, _ = wrong(trials((trouble, event, "mine")))
        assert not failed


@pytest.mark.slow
@pytest.mark.parametrize("first", [*EVENTS, INTRUSION])
def test_one_effect_whatever_breaks_once_while_the_chain_does_three_things(first: str) -> None:
    for events in product([first], [*EVENTS, INTRUSION], [*EVENTS, INTRUSION]):
        failed, _ = wrong(trials(events, nodes=1))
        assert not failed


@pytest.mark.slow
@pytest.mark.parametrize("first", [*EVENTS, INTRUSION, *TROUBLED_NODES])
def test_one_effect_whatever_question_to_one_of_two_nodes_gets_lost(first: str) -> None:
    for second in (*EVENTS, INTRUSION, *TROUBLED_NODES):
        failed, _ = wrong(trials((first, second), reads=True))
        assert not failed


@pytest.mark.slow
@pytest.mark.parametrize("first", [*EVENTS, INTRUSION])
def test_one_effect_through_any_two_crashes(first: str) -> None:
    for second in (*EVENTS, INTRUSION):
        failed, _ = wrong(pairs((first, second)))
        assert not failed


class SendsFirst(ChainLane):
    """Broadcasts, then writes it down."""

    def _send(self, job: Progress, nonce: int, fees: Fees, gas_limit: int) -> None:
        call = job.job.calls[job.done]
        bid = {"nonce": nonce, "to": call.to, "data": call.data, "maxFeePerGas": fees.max_fee_wei}
        raw = self._signer.sign_transaction({**bid, "maxPriorityFeePerGas": fees.tip_wei})
        self._nodes.broadcast(raw)
        self._book.sending(job, Attempt(nonce, hash_of(raw), raw, fees, gas_limit, self._clock.now_ns()))


class TakesSilenceForFailure(ChainLane):
    """No answer to a broadcast: the job waits to be sent as if it had not been."""

    def _send(self, job: Progress, nonce: int, fees: Fees, gas_limit: int) -> None:
        super()._send(job, nonce, fees, gas_limit)
        if job.reason:
            job.attempts.clear()
            job.state = JobState.QUEUED


class GivesUpOnReorganisation(ChainLane):
    """A receipt that vanished: sent anew, under the next nonce that is free."""

    def _follow_unmined(self, flight: Progress, now_ns: int) -> None:
        if flight.state is JobState.MINED:
            flight.attempts.clear()
            flight.state = JobState.QUEUED
            raise TransportError("a pause")
        super()._follow_unmined(flight, now_ns)


class CallsMinedFinal(ChainLane):
    """Takes the latest block for final."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)

        class Hasty(Nodes):
            finalized = Nodes.head

        self._nodes.__class__ = Hasty


class Forgetful(MemoryJournal):
    """Does not keep what was sent."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.records = tuple(one for one in self.records if one["kind"] not in ("sending", "used"))


@pytest.mark.parametrize(
    "shortcut",
    [
        {"lane": SendsFirst},
        {"lane": TakesSilenceForFailure},
        {"lane": GivesUpOnReorganisation},
        {"lane": CallsMinedFinal},
        {"journal": Forgetful},
    ],
    ids=lambda shortcut: next(iter(shortcut.values())).__name__,
)
def test_a_lane_with_a_shortcut_fails_the_trial(shortcut: dict[str, Any]) -> None:
    for events in product(EVENTS, repeat=2):
        failed, _ = wrong(trials(events, nodes=1, **shortcut))
        if failed:
            return
    pytest.fail("nothing was found")
