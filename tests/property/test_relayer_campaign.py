"""A relayer's lane under everything at once: lost answers, delays, quota, reorgs, fills, a crash at any step.

However it goes, what the jobs did on the chain is exactly what the lane calls FINAL: each of those once, no
other ever. The long runs are marked slow; each has a short twin.
"""

from __future__ import annotations

import random

import pytest

from invmm.settings import SettlementSettings
from invmm.settlement.envelopes import WalletKind
from invmm.settlement.lane import JobState
from invmm.sim.relayer import Mishap
from tests.reference.relayer_rig import CONDITIONS, HELD, TOKENS, Rig, merge_job
from tests.reference.wallet_chain import COLLATERAL

PAIRS, FEW = 25_000_000, 3_000_000
SOFT = tuple(mishap for mishap in Mishap if mishap is not Mishap.REVIVED)


def check(rig: Rig, *, what: str) -> None:
    """Effects on the chain = jobs that are FINAL, and the money adds up."""
    assert not rig.lane.open(), f"{what}: still open: {rig.lane.open()}"
    ends = rig.last()
    assert len(ends) == len(rig.jobs), what
    gained = 0
    transactions = set()
    for job in rig.jobs:
        (amount,) = (change.delta_micro for change in job.changes if change.kind == "collateral")
        number = int(job.name.split(":")[1])
        twins = [other.name for other in rig.jobs if other.changes == job.changes]
        final = [name for name in twins if ends[name].state is JobState.FINAL]
        done = rig.chain.count("merge", CONDITIONS[number], amount)
        assert done == len(final), f"{what}: {job.name}: {done} effects, {len(final)} final"
        if ends[job.name].state is JobState.FINAL:
            gained += amount
            transactions.add((job.changes, ends[job.name].transaction))
    assert len(transactions) == sum(end.state is JobState.FINAL for end in ends.values()), what
    spent = rig.chain.spent
    assert rig.chain.balances[COLLATERAL] == HELD + gained - spent, what


def crashed(mishap: Mishap, kind: WalletKind, crash_at: int) -> Rig:
    """One run of two jobs with a crash at one step."""
    rig = Rig(kind, mishaps=(mishap,), crash_at=crash_at)
    rig.submit(merge_job(0, PAIRS), merge_job(1, FEW))
    rig.settle()
    check(rig, what=f"{mishap}, {kind}, killed at step {crash_at}")
    return rig


def steps_of(mishap: Mishap, kind: WalletKind) -> int:
    rig = Rig(kind, mishaps=(mishap,))
    rig.submit(merge_job(0, PAIRS), merge_job(1, FEW))
    rig.settle()
    return rig.steps


@pytest.mark.parametrize("mishap", [Mishap.NONE, Mishap.LOST, Mishap.ERROR])
def test_killed_at_any_step_each_job_still_takes_effect_once(mishap: Mishap) -> None:
    for crash_at in range(steps_of(mishap, WalletKind.DEPOSIT)):
        rig = crashed(mishap, WalletKind.DEPOSIT, crash_at)
        assert rig.crashes == 1
        assert {end.state for end in rig.last().values()} == {JobState.FINAL}


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(WalletKind))
@pytest.mark.parametrize("mishap", SOFT)
def test_killed_at_any_step_of_any_mishap(mishap: Mishap, kind: WalletKind) -> None:
    for crash_at in range(steps_of(mishap, kind)):
        crashed(mishap, kind, crash_at)


def wild(seed: int) -> Rig:
    """Many jobs, several mishaps, crashes, reorgs, silences and fills; then quiet until all is ended."""
    rng = random.Random(seed)
    kind = rng.choice(list(WalletKind))
    odds = rng.choice((0.2, 0.5, 0.8))
    kinds = SOFT if kind is not WalletKind.DEPOSIT else tuple(Mishap)
    mishaps = tuple(rng.choice(kinds) if rng.random() < odds else Mishap.NONE for _ in range(30))
    settings = SettlementSettings(
        poll_ms=rng.choice((2_000, 5_000, 20_000)),
        relayer_submits_per_minute=rng.choice((1, 3, 20)),
        relayer_submits_per_day=rng.choice((50, 1_000)),
        relayer_calls_per_submit=rng.choice((1, 2, 10)),
    )
    rig = Rig(kind, mishaps=mishaps, settings=settings, crash_at=rng.randrange(150))
    rig.chain.final_lag = rng.choice((0, 8, 60))
    rig.chain.log_lag = rng.choice((0, 0, 40))
    rig.relayer.late_s = rng.choice((100.0, 500.0, 1_500.0))
    rig.relayer.per_minute = rng.choice((2, 25))
    for index in range(rng.randint(1, 6)):
        number = rng.randrange(len(CONDITIONS))
        amount = rng.choice((PAIRS, FEW))
        rig.submit(merge_job(number, amount, f"merge:{number}:{amount}:{index}"))
        rig.run(rng.choice((0.0, 5.0, 60.0, 400.0)))
        disturb(rig, rng)
    rig.chain.silent = False
    rig.settle(40_000.0)
    check(rig, what=f"seed {seed}")
    return rig


def disturb(rig: Rig, rng: random.Random) -> None:
    rig.chain.silent = rng.random() < 0.2
    if rng.random() < 0.3:
        rig.chain.reorganise(min(rng.randint(1, 6), rig.chain.final_lag))
    if rng.random() < 0.5:
        token = rng.choice(rng.choice(list(TOKENS.values())))
        shares = rng.choice((PAIRS, -PAIRS, FEW, -FEW))
        rig.chain.fill(token, shares, shares // 2)
    if rig.crash_at < 0 and rng.random() < 0.5:
        rig.crash_at = rig.steps + rng.randrange(40)


def test_wild_runs_end_with_one_effect_per_final_job() -> None:
    rigs = [wild(seed) for seed in range(12)]
    ends = [end.state for rig in rigs for end in rig.last().values()]
    assert ends.count(JobState.FINAL) > 0.8 * len(ends)
    assert sum(rig.crashes for rig in rigs) >= 5


@pytest.mark.slow
def test_many_wild_runs() -> None:
    for seed in range(12, 1_000):
        wild(seed)
