"""A lane and a chain in memory, for the settler: what is submitted takes effect when the test says so."""

from __future__ import annotations

from typing import Any

from invmm.errors import TransportError
from invmm.settlement.lane import ENDED, Job, JobReport, JobState
from invmm.settlement.messages import Holding
from invmm.venue.positions import position_ids_v1, position_ids_v2
from invmm.venue.profile import CONTRACTS

END_S = 1_800_000_300
SHARE = 10**6


def condition(number: int, exchange: str = "v2") -> str:
    """A condition id of the exchange's generation."""
    if exchange == "v3":
        return "0x01" + f"{number:032x}" + "0002" + "0" * 16 + "0089" + "0000" + "00"
    return "0x" + f"{number:064x}"


def holding(number: int = 1, low: tuple[int, int] = (0, 0), **about: Any) -> Holding:
    """A market with so many whole Up and Down shares from final fills."""
    exchange = about.get("exchange", "v2")
    name = condition(number, exchange)
    tokens = (
        position_ids_v2(name)
        if exchange == "v3"
        else position_ids_v1(name, CONTRACTS[137].bridged_collateral)
    )
    held = (low[0] * SHARE, low[1] * SHARE)
    facts = {"slug": f"m{number}", "exchange": exchange, "end_s": END_S, "high_micro": held, "is_open": True}
    return Holding(market=name, up_token=tokens[0], down_token=tokens[1], low_micro=held, **(facts | about))


class ListLog:
    """Records in memory; a crash keeps them."""

    def __init__(self, records: tuple[dict[str, Any], ...] = ()) -> None:
        self.records = records
        self.is_full = False

    def append(self, record: dict[str, Any], /) -> None:
        if self.is_full:
            raise OSError("no space left on device")
        self.records = (*self.records, record)

    def replace(self, records: Any, /) -> None:
        self.records = tuple(records)

    def close(self) -> None:
        """Nothing to close."""


class MemoryChain:
    """One account's balances, and the resolutions."""

    def __init__(self, cash_micro: int = 1_000 * SHARE) -> None:
        self.cash_micro = cash_micro
        self.shares: dict[int, int] = {}
        self.resolved: dict[str, tuple[int, int]] = {}
        self.is_silent = False
        self.questions = 0

    def bring(self, held: Holding, up: int, down: int) -> None:
        """Whole shares that a fill has brought."""
        for token, shares in ((held.up_token, up), (held.down_token, down)):
            self.shares[int(token)] = self.shares.get(int(token), 0) + shares * SHARE

    def collateral_micro(self) -> int:
        return self.cash_micro

    def shares_micro(self, exchange: str, token: str) -> int:
        self._ask()
        return self.shares.get(int(token), 0)

    def payouts(self, exchange: str, market: str, tokens: tuple[str, str]) -> tuple[int, int] | None:
        self._ask()
        return self.resolved.get(market)

    def _ask(self) -> None:
        self.questions += 1
        if self.is_silent:
            raise TransportError("no node tells")

    def execute(self, job: Job) -> None:
        """What the job says that it moves."""
        for change in job.changes:
            if change.kind == "collateral":
                self.cash_micro += change.delta_micro
            else:
                left = self.shares.get(change.token_id, 0) + change.delta_micro
                assert left >= 0, f"{job.name} moves shares that are not there"
                self.shares[change.token_id] = left


class MemoryLane:
    """Jobs in memory; each takes effect once, when it becomes final."""

    def __init__(self, chain: MemoryChain) -> None:
        self.chain = chain
        self.jobs: dict[str, Job] = {}
        self.reports: dict[str, JobReport] = {}
        self.untold: list[JobReport] = []
        self.effects: list[str] = []

    def submit(self, job: Job) -> None:
        if job.name in self.jobs:
            raise ValueError(f"{job.name}: expected a new name")
        self.jobs[job.name] = job
        self.end(job.name, JobState.QUEUED)

    def end(self, name: str, state: JobState, reason: str = "") -> None:
        """Says that a job got so far."""
        if state is JobState.FINAL:
            self.chain.execute(self.jobs[name])
            self.effects.append(name)
        gas = 90_000 if state is JobState.FINAL else 0
        self.reports[name] = JobReport(name, state, "0xabc", gas, gas * 30 * 10**9, reason=reason)
        self.untold.append(self.reports[name])

    def advance(self, now_ns: int) -> list[JobReport]:
        told, self.untold = self.untold, []
        return told

    def open(self) -> list[Job]:
        return [job for name, job in self.jobs.items() if self.reports[name].state not in ENDED]

    def report_of(self, name: str) -> JobReport | None:
        return self.reports.get(name)

    def close(self) -> None:
        """Nothing to close."""
