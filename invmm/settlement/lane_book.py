"""The jobs of a lane and how far each is, kept in its journal.

Every change is one record: it is appended, then applied by the same code that replays the journal at the next
start, so what is in memory is what a restart would find. Only that a transaction was seen in a block that is
not final is not written down: the chain itself says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Protocol

from invmm.errors import ConfigError, DataError
from invmm.settlement.calls import Call
from invmm.settlement.fees import Fees
from invmm.settlement.lane import ENDED, Change, Job, JobReport, JobState
from invmm.settlement.movements import Movements, difference
from invmm.settlement.nodes import Receipt

Record = dict[str, Any]

SHORTEN_AFTER: Final = 1_000
"""Jobs that have ended, after which a journal is shortened when it is opened."""


class RecordLog(Protocol):
    """What the book is kept in: `LaneJournal`."""

    records: tuple[Record, ...]

    def append(self, record: Record) -> None: ...

    def replace(self, records: Iterable[Record]) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """A signed transaction: one of several of the same nonce, of which at most one can take effect."""

    nonce: int
    transaction: str
    raw: bytes
    fees: Fees
    gas_limit: int
    sent_ns: int


@dataclass(slots=True)
class Progress:
    """How far a job is. `attempts` are those of the call that is in flight, call number `done`."""

    job: Job
    state: JobState = JobState.QUEUED
    reason: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    done: int = 0
    transaction: str = ""
    gas_used: int = 0
    fee_wei: int = 0
    block: int = 0
    moved: Movements = field(default_factory=dict)

    @property
    def has_begun(self) -> bool:
        """Whether a transaction of it was, or may have been, sent."""
        return bool(self.done or self.attempts)

    def report(self) -> JobReport:
        """The job as it is now."""
        return JobReport(
            self.job.name,
            self.state,
            self.transaction,
            self.gas_used,
            self.fee_wei,
            self.block,
            self.reason,
        )


class LaneBook:
    """All jobs that a journal knows.

    Parameters
    ----------
    log : RecordLog
    account : str
        Whose transactions these are.
    chain_id : int

    Raises
    ------
    ConfigError
        The journal is another account's.
    DataError
        A record that does not fit those before it.
    """

    def __init__(self, log: RecordLog, account: str, chain_id: int) -> None:
        self._log = log
        self.account = account.lower()
        self.chain_id = chain_id
        self._jobs: dict[str, Progress] = {}
        self.next_nonce = 0
        """One above the highest that is known to be used up for good."""
        self.halted = ""
        """Why nothing new is sent until `resume`, or ""."""
        owner = {"kind": "lane", "account": account.lower(), "chain_id": chain_id}
        if not log.records:
            log.append(owner)
        elif log.records[0] != owner:
            raise ConfigError(
                f"journal of a lane: expected that of {account.lower()} on chain {chain_id}, found "
                f"{log.records[0].get('account')} on chain {log.records[0].get('chain_id')}"
            )
        for place, record in enumerate(log.records[1:], 2):
            try:
                self._apply(record)
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(f"journal of a lane: record {place} does not fit: {error!r}") from None
        self._shorten(owner)

    @classmethod
    def existing(cls, log: RecordLog) -> LaneBook:
        """The book of whatever account a journal is of; DataError for one that is no lane's."""
        owner = log.records[0] if log.records else {}
        if owner.get("kind") != "lane":
            raise DataError(
                "journal of a lane: expected it to begin with its account, found another beginning"
            )
        return cls(log, owner["account"], owner["chain_id"])

    def add(self, job: Job) -> None:
        """Takes a job; ValueError for a name that is known or a job without calls."""
        if job.name in self._jobs:
            raise ValueError(f"job {job.name}: expected a new name, this one is known")
        if not job.calls:
            raise ValueError(f"job {job.name}: expected at least one call")
        self._write(
            {
                "kind": "job",
                "name": job.name,
                "calls": [[call.to, call.data.hex(), call.value, call.what] for call in job.calls],
                "changes": [[one.kind, one.token_id, one.delta_micro] for one in job.changes],
            }
        )

    def sending(self, progress: Progress, attempt: Attempt) -> None:
        """A transaction is about to be handed out. Nothing is, before this returns."""
        self._write(
            {
                "kind": "sending",
                "name": progress.job.name,
                "call": progress.done,
                "nonce": attempt.nonce,
                "transaction": attempt.transaction,
                "raw": attempt.raw.hex(),
                "max_fee_wei": attempt.fees.max_fee_wei,
                "tip_wei": attempt.fees.tip_wei,
                "gas_limit": attempt.gas_limit,
                "sent_ns": attempt.sent_ns,
            }
        )

    def used(self, progress: Progress, receipt: Receipt, moved: Movements) -> None:
        """The transaction in flight is in a final block. With the last call, or a reverted one, the job ends:
        one record, so that no crash parts the two.
        """
        state, reason = "", ""
        if not receipt.is_success:
            state = str(JobState.FAILED)
            reason = (
                f"call {progress.done + 1} of {len(progress.job.calls)} reverted in block {receipt.block}"
            )
            reason += executed_before(progress)
        elif progress.done + 1 == len(progress.job.calls):
            state = str(JobState.FINAL)
            reason = difference(_sum(progress.moved, moved), progress.job.changes)
        self._write(
            {
                "kind": "used",
                "name": progress.job.name,
                "transaction": receipt.transaction,
                "gas_used": receipt.gas_used,
                "fee_wei": receipt.fee_wei,
                "block": receipt.block,
                "moved": [[*key, change] for key, change in moved.items()],
                "state": state,
                "reason": reason,
            }
        )

    def end(self, progress: Progress, state: JobState, reason: str, *, halts: bool = False) -> None:
        """The job is over for another reason; `halts`: and nothing new is sent until `resume`."""
        self._write(
            {
                "kind": "end",
                "name": progress.job.name,
                "state": str(state),
                "reason": reason,
                "halts": halts,
            }
        )

    def halt(self, reason: str) -> None:
        """Nothing new is sent from here on, also after a restart."""
        if not self.halted:
            self._write({"kind": "halt", "reason": reason})

    def resume(self) -> None:
        """A person has looked: new jobs are sent again."""
        if self.halted:
            self._write({"kind": "resume"})

    def progress(self, name: str) -> Progress | None:
        """How far a job is; None for a name that is not known."""
        return self._jobs.get(name)

    def all(self) -> list[Progress]:
        """Every job, the oldest first."""
        return list(self._jobs.values())

    def open(self) -> list[Progress]:
        """Jobs that have not ended, the oldest first."""
        return [one for one in self._jobs.values() if one.state not in ENDED]

    def close(self) -> None:
        """Closes the journal."""
        self._log.close()

    def _shorten(self, owner: Record) -> None:
        """Where many jobs of the journal have ended, keeps of each only that it did, and how."""
        whole = {record["name"] for record in self._log.records if record["kind"] == "job"}
        ended = {name for name in whole if self._jobs[name].state in ENDED}
        if len(ended) < SHORTEN_AFTER:
            return
        kept = [record for record in self._log.records[1:] if record.get("name") not in ended]
        kinds = ("job", "sending", "used")
        self._log.replace(
            [
                owner,
                *(
                    asdict(self._jobs[name].report()) | {"kind": "ended"}
                    for name in self._jobs
                    if name in ended
                ),
                *(record for record in kept if record["kind"] in (*kinds, "ended")),
                {"kind": "until", "next_nonce": self.next_nonce, "halted": self.halted},
            ]
        )
        for name in ended:
            self._jobs[name] = Progress(Job(name, (), ()), **_standing(self._jobs[name].report()))

    def _write(self, record: Record) -> None:
        if record["kind"] == "sending":
            self._check_sending(record)
        self._log.append(record)
        self._apply(record)

    def _apply(self, record: Record) -> None:
        kind = record["kind"]
        if kind == "halt":
            self.halted = record["reason"]
        elif kind == "resume":
            self.halted = ""
        elif kind == "until":
            self.next_nonce, self.halted = record["next_nonce"], record["halted"]
        elif kind == "ended":
            fields = {key: value for key, value in record.items() if key != "kind"}
            report = JobReport(**fields | {"state": JobState(record["state"])})
            self._jobs[report.name] = Progress(Job(report.name, (), ()), **_standing(report))
        elif kind == "job":
            self._jobs[record["name"]] = Progress(_job(record))
        elif kind == "sending":
            self._apply_sending(record)
        elif kind == "used":
            progress = self._jobs[record["name"]]
            self.next_nonce = max(self.next_nonce, progress.attempts[-1].nonce + 1)
            progress.attempts = []
            progress.done += 1
            progress.transaction, progress.block = record["transaction"], record["block"]
            progress.gas_used += record["gas_used"]
            progress.fee_wei += record["fee_wei"]
            moved = {(what, token): change for what, token, change in record["moved"]}
            progress.moved = _sum(progress.moved, moved)
            # In between calls it is as if queued, but for what `has_begun` says.
            progress.state = JobState(record["state"] or JobState.SENT)
            progress.reason = record["reason"]
            if progress.state is JobState.FINAL and progress.reason:
                self.halted = f"{progress.job.name}: {progress.reason}"
        elif kind == "end":
            progress = self._jobs[record["name"]]
            if progress.attempts:
                self.next_nonce = max(self.next_nonce, progress.attempts[-1].nonce + 1)
                progress.attempts = []
            progress.state, progress.reason = JobState(record["state"]), record["reason"]
            if record["halts"]:
                self.halted = f"{progress.job.name}: {progress.reason}"
        else:
            raise ValueError(f"unknown kind {kind!r}")

    def _check_sending(self, record: Record) -> None:
        """ValueError for a transaction that could be a call's second one."""
        progress = self._jobs[record["name"]]
        if record["call"] != progress.done or progress.state in ENDED:
            raise ValueError(f"call {record['call']} of {progress.job.name} is not the one in flight")
        if progress.attempts and progress.attempts[-1].nonce != record["nonce"]:
            raise ValueError(f"nonce {record['nonce']} beside {progress.attempts[-1].nonce} for one call")
        if record["nonce"] < self.next_nonce:
            raise ValueError(f"nonce {record['nonce']} is used up, the next one is {self.next_nonce}")
        others = [one.job.name for one in self.open() if one.attempts and one is not progress]
        if others:
            raise ValueError(f"{record['name']} beside {others[0]}, which is in flight")

    def _apply_sending(self, record: Record) -> None:
        self._check_sending(record)
        progress = self._jobs[record["name"]]
        progress.attempts.append(
            Attempt(
                record["nonce"],
                record["transaction"],
                bytes.fromhex(record["raw"]),
                Fees(record["max_fee_wei"], record["tip_wei"]),
                record["gas_limit"],
                record["sent_ns"],
            )
        )
        progress.state, progress.transaction = JobState.SENT, record["transaction"]


def _standing(report: JobReport) -> dict[str, Any]:
    """What a report says of a job, its name aside."""
    return {key: value for key, value in asdict(report).items() if key != "name"}


def executed_before(progress: Progress) -> str:
    """Words for the calls of a job that were executed before one that was not; "" if there are none."""
    return f"; {progress.done} of its calls were executed before" if progress.done else ""


def _sum(first: Movements, second: Movements) -> Movements:
    totals = {key: first.get(key, 0) + second.get(key, 0) for key in {**first, **second}}
    return {key: total for key, total in totals.items() if total}


def _job(record: Record) -> Job:
    return Job(
        record["name"],
        tuple(Call(to, bytes.fromhex(data), value, what) for to, data, value, what in record["calls"]),
        tuple(_changes(record["changes"])),
    )


def _changes(rows: Iterable[Any]) -> Iterable[Change]:
    for kind, token_id, delta_micro in rows:
        if kind not in ("collateral", "token"):
            raise ValueError(f"unknown change {kind!r}")
        yield Change(kind, token_id, delta_micro)
