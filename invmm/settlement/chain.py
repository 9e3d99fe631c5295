"""The transaction lane of a key's own account: each job's calls take effect once, whatever fails in between.

One job at a time, one transaction in flight, one nonce that is never stepped over:

    queued ─ dry run, fees, signature ─ journal ─ broadcast ─▶ sent ─▶ mined ─▶ in a finalized block: used up
               │ a contract refuses                              │ ▲      │ receipt gone: the same bytes again
               ▼                                                 ▼ │      ▼
            refused                                stuck: the same nonce, both fees ≥ 12.5 % higher

What makes a second effect impossible: all transactions of one call share one nonce, of which the chain takes
one; each is on disk before a node hears of it; and the next nonce is used only when a final block proves what
became of this one. No answer of a node to a broadcast is proof of anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from invmm._ext.eip712 import keccak256
from invmm.clock import Clock
from invmm.errors import ConfigError, DataError, TransportError
from invmm.settings import SettlementSettings
from invmm.settlement.fees import Fees, raised_fees
from invmm.settlement.lane import Job, JobReport, JobState
from invmm.settlement.lane_book import Attempt, LaneBook, Progress, RecordLog, executed_before
from invmm.settlement.movements import movements_of
from invmm.settlement.nodes import Endpoint, Nodes, Receipt
from invmm.settlement.preflight import POL, Clearance, Lasts, Preflight
from invmm.settlement.rpc import RpcError
from invmm.venue.profile import CONTRACTS, POLYGON

_MS: Final = 1_000_000
_S: Final = 1_000_000_000
_IDLE_PERIOD_NS: Final = 60 * _S


class TransactionSigner(Protocol):
    """Who sends: `invmm.venue.auth.OrderSigner`, or anything with these two."""

    @property
    def address(self) -> str: ...

    def sign_transaction(self, transaction: dict[str, Any]) -> bytes:
        """The signed bytes of an EIP-1559 transaction; ValueError for one that it does not sign."""


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """What a person wants to know of the lane.

    Attributes
    ----------
    head, finalized : int
        Blocks of the node that is further behind; 0 before the first look.
    base_fee_wei : int
        Per gas.
    balance_wei : int
        Of the account, for gas; -1: not known yet.
    is_balance_low : bool
        Below `min_balance_pol`.
    in_flight : str
        Hash of the transaction whose fate is open, or "".
    waits_for : str
        Why nothing moves, or "".
    halted : str
        Why nothing new is sent until a person has looked (`resume`), or "".
    silent : dict
        Node to reason for each node that does not answer.
    """

    head: int
    finalized: int
    base_fee_wei: int
    balance_wei: int
    is_balance_low: bool
    in_flight: str
    waits_for: str
    halted: str
    silent: dict[str, str]


class ChainLane:
    """Sends jobs as transactions of the signer's account; satisfies `Lane`. Belongs to one thread.

    Parameters
    ----------
    endpoints : sequence of Endpoint
        Nodes of the chain, see `invmm.settlement.rpc.endpoints_of`; the first look happens in `advance`.
    signer : TransactionSigner
        Its account pays, and owns what the calls move.
    journal : LaneJournal
        Closed with the lane.
    settings : SettlementSettings
    clock : Clock
        The one that `advance` gets its times from.
    chain_id : int
        137 (Polygon) or 80002.

    Raises
    ------
    ConfigError, DataError
        A wallet holds the signer's tokens; the journal is another account's, or does not fit together.

    Notes
    -----
    A job of several calls is several transactions, one after the other, each final before the next. If a
    later one fails, the job is FAILED and its reason says how many were executed.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        signer: TransactionSigner,
        journal: RecordLog,
        *,
        settings: SettlementSettings,
        clock: Clock,
        chain_id: int = POLYGON,
    ) -> None:
        if getattr(signer, "maker", signer.address) != signer.address:
            raise ConfigError(
                f"lane of account {signer.address}: expected the account itself to hold the tokens, found "
                "that a wallet does; its transactions go through the relayer"
            )
        self._nodes = Nodes(endpoints, chain_id, settings)
        self._preflight = Preflight(self._nodes, signer.address, settings)
        self._signer = signer
        self._account = signer.address
        self._settings = settings
        self._clock = clock
        self._chain_id = chain_id
        self._contracts = CONTRACTS[chain_id]
        self._book = LaneBook(journal, self._account, chain_id)
        self._reports: list[JobReport] = []
        self._waits: tuple[str, str] = ("", "")  # kind, and words for people
        self._next_ns = 0
        self._looked_ns = 0
        self._sent_ns = 0  # when this process last sent the bytes in flight
        self._balance_ns = 0

    def submit(self, job: Job) -> None:
        """Takes a job; journaled on return.

        Raises
        ------
        ValueError
            The name is known, or there is no call.
        OSError
            It could not be journaled, and is not taken.
        """
        self._book.add(job)
        self._report(job.name)
        self._next_ns = self._looked_ns + self._settings.poll_ms * _MS

    def advance(self, now_ns: int) -> list[JobReport]:
        """Does what is due, at most every `poll_ms`, and every minute without jobs; every change of state
        since the last call.

        Asks nodes, each question with its deadline; a node that failed is left alone until the next look. A
        journal that cannot be written stops everything that would send (`status().waits_for`).
        """
        if now_ns >= self._next_ns:
            self._looked_ns = now_ns
            try:
                self._pass(now_ns)
            except (TransportError, RpcError) as error:
                self._wait("nodes", str(error))
            except DataError as error:
                self._wait("logs", str(error))
            except OSError as error:
                self._wait("journal", f"the journal cannot be written: {error}")
            pause_ns = self._settings.poll_ms * _MS if self._book.open() else _IDLE_PERIOD_NS
            self._next_ns = now_ns + pause_ns
        reports, self._reports = self._reports, []
        return reports

    def open(self) -> list[Job]:
        """Jobs that have not ended, the oldest first."""
        return [progress.job for progress in self._book.open()]

    def report_of(self, name: str) -> JobReport | None:
        """How far a job is, also one that ended in an earlier session; None for a name that is not known."""
        progress = self._book.progress(name)
        return progress.report() if progress is not None else None

    def status(self) -> LaneStatus:
        """As of the last `advance`."""
        heads = bool(self._nodes.heads)
        balance_wei = self._preflight.balance_wei
        flight = self._flight()
        return LaneStatus(
            head=self._nodes.head if heads else 0,
            finalized=self._nodes.finalized if heads else 0,
            base_fee_wei=self._nodes.base_fee_wei if heads else 0,
            balance_wei=balance_wei,
            is_balance_low=0 <= balance_wei < self._settings.min_balance_pol * POL,
            in_flight=flight.attempts[-1].transaction if flight else "",
            waits_for=self._waits[1],
            halted=self._book.halted,
            silent=dict(self._nodes.silent),
        )

    def resume(self) -> None:
        """A person has looked at why the lane halted: new transactions are sent again."""
        self._book.resume()

    def close(self) -> None:
        """Closes the journal. A transaction in flight may still take effect; the next lane finds it."""
        self._book.close()

    # One pass

    def _flight(self) -> Progress | None:
        return next((one for one in self._book.open() if one.attempts), None)

    def _pass(self, now_ns: int) -> None:
        if not self._nodes.look():
            self._wait("nodes", "no node answers: " + "; ".join(self._nodes.silent.values()))
            return
        if now_ns >= self._balance_ns:
            self._preflight.ask_balance()
            self._balance_ns = now_ns + _IDLE_PERIOD_NS
        if flight := self._flight():
            self._follow(flight, now_ns)
        if self._flight() is None:
            self._begin(now_ns)

    def _follow(self, flight: Progress, now_ns: int) -> None:
        """Looks what became of the transaction in flight."""
        newest_first = [attempt.transaction for attempt in reversed(flight.attempts)]
        receipts = self._nodes.receipts(newest_first)
        found = next((receipt for receipt in receipts if receipt is not None), None)
        if found is None:
            self._follow_unmined(flight, now_ns)
            return
        agreed = all(
            one and (one.transaction, one.block_hash) == (found.transaction, found.block_hash)
            for one in receipts
        )
        if agreed and found.block <= self._nodes.finalized:
            self._settle(flight, [one for one in receipts if one is not None])
            return
        seen = (JobState.MINED, found.transaction, found.block)
        if (flight.state, flight.transaction, flight.block) != seen:
            flight.state, flight.transaction, flight.block = seen
            flight.reason = ""
            self._report(flight.job.name)
        self._wait("", "")
        if not agreed:
            self._repeat(flight, now_ns)

    def _settle(self, flight: Progress, receipts: list[Receipt]) -> None:
        """The transaction is in a final block, by these receipts, one of each node."""
        moved = [movements_of(one.logs, self._account, self._contracts) for one in receipts]
        if any(one != moved[0] for one in moved):
            self._wait("logs", f"the nodes disagree about what {receipts[0].transaction} moved")
            return
        self._book.used(flight, receipts[0], moved[0])
        self._wait("", "")
        self._report(flight.job.name)

    def _follow_unmined(self, flight: Progress, now_ns: int) -> None:
        """No node has a receipt: pending, dropped, reorganised away, or the nonce went to somebody else."""
        attempt = flight.attempts[-1]
        if flight.state is JobState.MINED:
            vanished = next(one for one in flight.attempts if one.transaction == flight.transaction)
            flight.state, flight.block = JobState.SENT, 0
            flight.reason = "its receipt vanished: the block was reorganised away"
            self._report(flight.job.name)
            self._nodes.broadcast(vanished.raw)
            self._sent_ns = 0
        nonces = self._nodes.nonces(self._account, "latest")
        if max(nonces) > attempt.nonce:
            self._follow_taken(flight, now_ns)
            return
        if min(nonces) < attempt.nonce:
            self._wait("gap", f"nonce {attempt.nonce} has to wait for nonce {min(nonces)}, which is not ours")
        elif now_ns - attempt.sent_ns >= self._settings.stuck_after_s * _S:
            fees = raised_fees(attempt.fees, self._nodes.base_fee_wei, self._settings)
            if fees is not None:
                self._send(flight, attempt.nonce, fees, attempt.gas_limit)
                return
            self._wait("stuck", f"stuck at nonce {attempt.nonce}: a higher bid would be above the fee caps")
        elif self._waits[0] != "objections":
            self._wait("", "")
        self._repeat(flight, now_ns)

    def _follow_taken(self, flight: Progress, now_ns: int) -> None:
        """The account's nonce has passed ours, and no node has a receipt of ours for it."""
        nonce = flight.attempts[-1].nonce
        self._wait("taken", f"nonce {nonce} is used, and no node has a receipt of ours for it yet")
        self._repeat(flight, now_ns)
        if not self._nodes.are_all_here or not self._is_final_elsewhere(flight):
            return
        self._book.end(
            flight,
            JobState.FAILED,
            f"nonce {nonce} of {self._account} was used by a transaction that is not ours: somebody else "
            f"sends from this account{executed_before(flight)}",
            halts=True,
        )
        self._report(flight.job.name)

    def _is_final_elsewhere(self, flight: Progress) -> bool:
        """Whether all nodes say that the nonce is used up in a final block, and none knows ours."""
        at = hex(self._nodes.finalized)
        if min(self._nodes.nonces(self._account, at)) <= flight.attempts[-1].nonce:
            return False
        for attempt in flight.attempts:
            # One that has lost its index of receipts may still know the transaction.
            known = self._nodes.each("eth_getTransactionByHash", attempt.transaction)
            if any(_block_of(one) for one in known):
                return False
        return self._nodes.are_all_here

    def _repeat(self, flight: Progress, now_ns: int) -> None:
        """The same bytes again, now and then: a node may have dropped them, or never got them."""
        if now_ns - self._sent_ns >= self._settings.repeat_after_s * _S:
            self._sent_ns = now_ns
            objections = self._nodes.broadcast(flight.attempts[-1].raw)
            if self._waits[0] in ("", "objections"):
                self._wait("objections" if objections else "", objections)

    # What comes next

    def _begin(self, now_ns: int) -> None:
        """Sends the next call of a job that has begun, or the first of the oldest that waits."""
        jobs = self._book.open()
        if not jobs:
            self._wait("", "")
            return
        job = next((one for one in jobs if one.has_begun), jobs[0])
        if self._book.halted:
            self._wait("halted", f"halted: {self._book.halted}", job)
            return
        verdict = self._preflight.check(job.job.calls[job.done], self._book.next_nonce, now_ns)
        if isinstance(verdict, Clearance):
            self._send(job, verdict.nonce, verdict.fees, verdict.gas_limit)
        elif verdict.lasts is Lasts.FOR_GOOD or (verdict.lasts is Lasts.FOR_NOW and not job.has_begun):
            self._refuse(job, verdict.words)
        else:
            self._wait(verdict.kind, verdict.words, job)

    def _send(self, job: Progress, nonce: int, fees: Fees, gas_limit: int) -> None:
        """Signs, journals, then hands out."""
        call = job.job.calls[job.done]
        bid = {
            "type": 2,
            "chainId": self._chain_id,
            "nonce": nonce,
            "to": call.to,
            "value": call.value,
            "data": call.data,
            "gas": gas_limit,
            "maxFeePerGas": fees.max_fee_wei,
            "maxPriorityFeePerGas": fees.tip_wei,
        }
        try:
            raw = self._signer.sign_transaction(bid)
        except ValueError as error:
            if job.attempts:
                self._wait("signer", f"no replacement is signed: {error}")
            else:
                self._refuse(job, f"not signed: {error}")
            return
        transaction = "0x" + keccak256(raw).hex()
        now_ns = self._clock.now_ns()
        self._book.sending(job, Attempt(nonce, transaction, raw, fees, gas_limit, now_ns))
        self._sent_ns = now_ns
        job.reason = self._nodes.broadcast(raw)
        self._wait("objections" if job.reason else "", job.reason)
        self._report(job.job.name)

    def _refuse(self, job: Progress, reason: str) -> None:
        state = JobState.FAILED if job.has_begun else JobState.REFUSED
        self._book.end(job, state, reason + executed_before(job))
        self._wait("", "")
        self._report(job.job.name)

    # What is told

    def _wait(self, kind: str, words: str, job: Progress | None = None) -> None:
        """Remembers why nothing moves; a job that waits is reported once for each kind of reason."""
        changed = kind != self._waits[0]
        self._waits = kind, words
        if changed and kind and (told := job or self._flight()):
            told.reason = words
            self._report(told.job.name)

    def _report(self, name: str) -> None:
        if (report := self.report_of(name)) is not None:
            self._reports.append(report)


def _block_of(transaction: Any) -> Any:
    """The block that a node says a transaction is in, or None."""
    return transaction.get("blockNumber") if isinstance(transaction, dict) else None
