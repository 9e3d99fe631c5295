"""What a lane to the chain takes and says: one job after the other, each taking effect once or not at all.

A lane is where the engine's pairs leave for the chain: `ChainLane` sends transactions from the key's own
account, `RelayerLane` has the relayer execute calls from a wallet. Both keep a journal, belong to one thread,
and are driven by `advance`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from invmm.settlement.calls import Call


@dataclass(frozen=True, slots=True)
class Change:
    """By how much a balance differs when a job is done: micro-dollars of collateral, or micro-shares of a
    token (`token_id` 0 for collateral).
    """

    kind: Literal["collateral", "token"]
    token_id: int
    delta_micro: int


@dataclass(frozen=True, slots=True)
class Job:
    """Calls to be executed in this order, once.

    `name` is unique and stable, e.g. "merge:0x<condition>:3": a job whose fate is unknown after a crash is
    found by it. `changes` is everything that the calls together do to the account's collateral and tokens.
    """

    name: str
    calls: tuple[Call, ...]
    changes: tuple[Change, ...]


class JobState(StrEnum):
    """How far a job is. The last three are the end of it."""

    QUEUED = "queued"  # journaled, nothing sent
    SENT = "sent"  # may take effect at any time
    MINED = "mined"  # in a block that may still be reorganised away
    FINAL = "final"  # in a finalized block
    FAILED = "failed"  # finally without effect, or with that of its first calls only: the reason says
    REFUSED = "refused"  # never sent


ENDED = frozenset({JobState.FINAL, JobState.FAILED, JobState.REFUSED})


@dataclass(frozen=True, slots=True)
class JobReport:
    """One change of a job's state.

    Attributes
    ----------
    name : str
    state : JobState
    transaction : str
        Hash of the last transaction (relayer: once it is known), "" before.
    gas_used, fee_wei : int
        Of the transactions that are final, together; 0 where a relayer pays.
    block : int
        Of the last transaction, 0 before it is mined.
    reason : str
        Why it waits, was refused or failed. FINAL with a reason is an alarm: it was executed, and balances
        moved otherwise than the job said.
    """

    name: str
    state: JobState
    transaction: str = ""
    gas_used: int = 0
    fee_wei: int = 0
    block: int = 0
    reason: str = ""


class Lane(Protocol):
    """What both lanes promise. All methods belong to one thread."""

    def submit(self, job: Job) -> None:
        """Takes a job; it is journaled on return. ValueError for a name that is known, ended or not."""

    def advance(self, now_ns: int) -> list[JobReport]:
        """Does what is due, with deadlines, and tells every change of state since the last call."""

    def open(self) -> list[Job]:
        """Jobs that have not ended, the oldest first; after a restart those of the journal."""

    def report_of(self, name: str) -> JobReport | None:
        """How far a job is, also one that ended in an earlier session; None for a name that is not known."""

    def close(self) -> None:
        """Lets go of the journal. What is in flight stays so, and is found again by the next lane."""
