"""What a relayer's lane remembers: jobs, the submit that is out, what was heard; all of it from its journal.

Every change is a record, written before it is acted on; `Submits` is what the records add up to, so that a
lane that starts again knows what the one before it knew.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from invmm.errors import ConfigError
from invmm.settlement.calls import Call
from invmm.settlement.envelopes import Envelope
from invmm.settlement.lane import ENDED, Change, Job, JobReport, JobState
from invmm.settlement.lane_book import RecordLog
from invmm.settlement.lane_journal import Record
from invmm.settlement.quota import Quota
from invmm.settlement.relay import TAKEN, Told


@dataclass
class Submit:
    """Jobs in one envelope. It stays until the chain has shown that it took effect, or never can.

    Attributes
    ----------
    jobs : tuple of Job
    envelope : Envelope
        Always the same bytes.
    since_block : int
        Finalized before it was signed: what it does is in a later block.
    tries, refused : int
        How often it was handed over, and how often the relayer answered that it had not taken it. Any try
        but a refused one may take effect.
    identifier, hash : str
        As the relayer told, "" before.
    state, error : str
        What the relayer said last.
    ended_s : float
        When it first said something final, 0 before.
    overtaken_s : float
        Time of the finalized block at which its nonce was first seen used; not journaled.
    looked_block : int
        Up to here the chain shows nothing of it; not journaled.
    """

    jobs: tuple[Job, ...]
    envelope: Envelope
    since_block: int
    tries: int = 0
    refused: int = 0
    identifier: str = ""
    hash: str = ""
    state: str = ""
    error: str = ""
    ended_s: float = 0.0
    overtaken_s: float = 0.0
    looked_block: int = 0

    @property
    def is_doubtful(self) -> bool:
        """Whether it may take effect."""
        return self.tries > self.refused


@dataclass
class Standing:
    """How a job stands.

    `since_s` is when it began to wait, 0 for now; `signings` counts envelopes that were handed over and are
    proven dead; `alone`: it may not share one.
    """

    job: Job
    since_s: float
    report: JobReport
    signings: int = 0
    alone: bool = False


@dataclass
class Submits:
    """Built from a journal's records; each method writes one and applies it. ConfigError for a journal of
    another wallet.

    Attributes
    ----------
    standing : dict
        Every job by name, in the order in which they were taken.
    current : Submit or None
        At most one envelope may take effect at a time.
    used : set of str
        Transactions that jobs ended with: no other job can have been done by them.
    """

    journal: RecordLog
    quota: Quota
    wallet: str
    standing: dict[str, Standing] = field(default_factory=dict)
    current: Submit | None = None
    used: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for record in self.journal.records:
            self._apply(record)
        if not self.journal.records:
            self._write({"is": "wallet", "address": self.wallet})

    def waiting(self) -> list[Standing]:
        """Jobs that are in no envelope, the oldest first."""
        out = {job.name for job in self.current.jobs} if self.current is not None else set()
        return [one for one in self.open() if one.job.name not in out]

    def open(self) -> list[Standing]:
        """Jobs that have not ended, the oldest first."""
        return [one for one in self.standing.values() if one.report.state not in ENDED]

    def take(self, job: Job, at_s: float) -> None:
        """A new job."""
        calls = [[call.to, call.data.hex(), call.value, call.what] for call in job.calls]
        changes = [[one.kind, str(one.token_id), one.delta_micro] for one in job.changes]
        self._write({"is": "job", "name": job.name, "calls": calls, "changes": changes, "at": at_s})

    def seal(self, jobs: list[Standing], envelope: Envelope, since_block: int) -> None:
        """An envelope, before it is handed over for the first time."""
        self._write(
            {
                "is": "envelope",
                "jobs": [one.job.name for one in jobs],
                "nonce": envelope.nonce,
                "deadline": envelope.deadline_s,
                "since": since_block,
                "body": envelope.body,
            }
        )

    def begin_try(self, at_s: float) -> None:
        """The envelope is about to be handed over."""
        self._write({"is": "try", "at": at_s})

    def end_try(self) -> None:
        """The relayer said that it had not taken it."""
        self._write({"is": "refused"})

    def hear(self, told: Told, at_s: float) -> None:
        """The relayer's word about the envelope; only what is new is written."""
        submit = self.current
        assert submit is not None
        known = (submit.identifier, submit.state, submit.hash)
        if known != (told.identifier, told.state, told.hash or submit.hash):
            self._write(
                {
                    "is": "told",
                    "id": told.identifier,
                    "state": told.state,
                    "hash": told.hash,
                    "error": told.error,
                    "at": at_s,
                }
            )

    def drop(self, *, alone: bool = False, counts: bool = True) -> None:
        """The envelope can never take effect; its jobs wait again, each in one of its own if `alone`."""
        self._write({"is": "dropped", "alone": alone, "counts": counts})

    def end(self, reports: list[JobReport]) -> None:
        """Jobs have ended, all of them in one record; with the last one of the envelope that is gone, too."""
        rows = [[one.name, one.state.value, one.transaction, one.block, one.reason] for one in reports]
        self._write({"is": "ended", "jobs": rows})

    def _write(self, record: Record) -> None:
        self.journal.append(record)
        self._apply(record)

    def _apply(self, record: Record) -> None:
        {
            "wallet": self._wallet,
            "job": self._job,
            "envelope": self._envelope,
            "try": self._try,
            "refused": self._refused,
            "told": self._told,
            "dropped": self._dropped,
            "ended": self._ended,
        }[record["is"]](record)

    def _wallet(self, record: Record) -> None:
        if record["address"] != self.wallet:
            raise ConfigError(f"journal: expected one of wallet {self.wallet}, is of {record['address']}")

    def _job(self, record: Record) -> None:
        job = Job(
            record["name"],
            tuple(Call(to, bytes.fromhex(data), value, what) for to, data, value, what in record["calls"]),
            tuple(Change(kind, int(token), delta) for kind, token, delta in record["changes"]),
        )
        self.standing[job.name] = Standing(job, record["at"], JobReport(job.name, JobState.QUEUED))

    def _envelope(self, record: Record) -> None:
        jobs = tuple(self.standing[name].job for name in record["jobs"])
        envelope = Envelope(record["nonce"], record["deadline"], record["body"])
        self.current = Submit(jobs, envelope, record["since"])

    def _try(self, record: Record) -> None:
        self._out.tries += 1
        self.quota.use(record["at"])
        self._move(JobState.SENT)

    def _refused(self, record: Record) -> None:
        self._out.refused += 1
        if not self._out.is_doubtful:
            self._move(JobState.QUEUED)

    def _told(self, record: Record) -> None:
        submit = self._out
        submit.identifier, submit.state, submit.error = record["id"], record["state"], record["error"]
        submit.hash = record["hash"] or submit.hash
        if not submit.ended_s and submit.state not in TAKEN:
            submit.ended_s = record["at"]

    def _dropped(self, record: Record) -> None:
        for job in self._out.jobs:
            one = self.standing[job.name]
            if record["counts"]:
                one.signings += 1
                one.since_s = 0.0  # its patience begins again
            one.alone = one.alone or record["alone"]
        self._move(JobState.QUEUED)
        self.current = None

    def _ended(self, record: Record) -> None:
        for name, state, transaction, block, reason in record["jobs"]:
            self.standing[name].report = JobReport(
                name, JobState(state), transaction, block=block, reason=reason
            )
            if transaction:
                self.used.add(transaction)
        out = self.current.jobs if self.current is not None else ()
        if all(self.standing[job.name].report.state in ENDED for job in out):
            self.current = None

    @property
    def _out(self) -> Submit:
        if self.current is None:
            raise ValueError("journal: expected an envelope before what happened to it")
        return self.current

    def _move(self, state: JobState) -> None:
        for job in self._out.jobs:
            if self.standing[job.name].report.state not in ENDED:
                self.standing[job.name].report = JobReport(job.name, state)
