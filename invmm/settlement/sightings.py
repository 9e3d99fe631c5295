"""Whether the chain shows that a wallet's jobs happened, where somebody else sends its transactions.

A relayer numbers, sends and replaces the transactions; its word, and a hash that it names, prove nothing.
What a transaction moved in and out of the wallet does, by the logs of the token contracts, once it is in a
finalized block. Balances alone would not: fills settle into the same wallet at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from invmm._ext.eip712 import keccak256
from invmm.errors import TransportError
from invmm.settings import SettlementSettings
from invmm.settlement.calls import Call, address_word, selector
from invmm.settlement.envelopes import WalletKind
from invmm.settlement.lane import Job
from invmm.settlement.movements import Movements, movements_of
from invmm.settlement.nodes import Endpoint, Nodes
from invmm.settlement.rpc import RpcError, number
from invmm.venue.profile import CONTRACTS, POLYGON

LOG_BLOCKS: Final = 1_000
"""Blocks per question for logs; nodes refuse long spans."""

_SINGLE: Final = "0x" + keccak256(b"TransferSingle(address,address,address,uint256,uint256)").hex()
_BATCH: Final = "0x" + keccak256(b"TransferBatch(address,address,address,uint256[],uint256[])").hex()


@dataclass(frozen=True, slots=True)
class Head:
    """The latest and the last finalized block of the node that is furthest behind; times in unix seconds.

    `doubt` is why nothing new should be sent, as an old head or nodes that disagree; "" for no reason.
    """

    block: int
    time_s: int
    final_block: int
    final_time_s: int
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A transaction that moved outcome tokens of the wallet, and how; its collateral is in its receipt."""

    transaction: str
    block: int
    moved: Movements


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a transaction whose hash somebody named."""

    block: int
    succeeded: bool
    moved: Movements


class Chain(Protocol):
    """What a lane must know of the chain. Each method raises TransportError when no node tells."""

    def head(self, now_ns: int) -> Head:
        """The chain's ends at this time; what is asked next is asked of the same node."""

    def sightings(self, wallet: str, first: int, last: int) -> list[Sighting]:
        """Transactions in these blocks that moved outcome tokens of the wallet, in the chain's order."""

    def receipt(self, transaction: str, wallet: str) -> Receipt | None:
        """Of a transaction that is in a block."""

    def refusal(self, wallet: str, call: Call) -> str:
        """Why the call would fail if the wallet made it now; "" if it would not."""

    def gas(self, account: str, call: Call) -> int | None:
        """What the call would use if the account made it now; None if the node cannot say."""

    def next_nonce(self, kind: WalletKind, account: str, wallet: str, block: int) -> int | None:
        """The nonce that a Safe or proxy expects next, at a block; None of a kind that does not tell."""


def is_job_of(job: Job, moved: Movements) -> bool:
    """Whether a transaction that moved this may be the job: each of its tokens by what it says, or by more.

    More, because a redemption of the first generation takes whatever the wallet holds by then. A job that
    moves no tokens is never recognised.
    """
    tokens = [change for change in job.changes if change.kind == "token" and change.delta_micro]
    return bool(tokens) and all(
        _reaches(moved.get(("token", change.token_id), 0), change.delta_micro) for change in tokens
    )


def _reaches(moved: int, stated: int) -> bool:
    return moved >= stated if stated > 0 else moved <= stated


class ChainView:
    """`Chain` by one node or several.

    Parameters
    ----------
    endpoints : sequence of Endpoint
        All are asked for their head and for logs, and the one whose finalized block is lowest for everything
        else: what it has not seen yet is not concluded from.
    settings : SettlementSettings
    chain_id : int
        137 (Polygon); its contracts are those of the venue's profile.
    relay_hub : str
        Where the nonces of proxies are counted; "" if no proxy is asked about.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        settings: SettlementSettings,
        *,
        chain_id: int = POLYGON,
        relay_hub: str = "",
    ) -> None:
        self._nodes = Nodes(endpoints, chain_id, settings)
        self._asked = endpoints[0]
        self._contracts = CONTRACTS[chain_id]
        self._tokens = [self._contracts.conditional_tokens, self._contracts.position_manager]
        self._relay_hub = relay_hub

    def head(self, now_ns: int) -> Head:
        """See `Chain`."""
        if not self._nodes.look():
            raise TransportError(f"no node answers: {'; '.join(self._nodes.silent.values())}")
        doubt = self._nodes.doubt(now_ns)
        lowest = min(self._nodes.heads, key=lambda one: (one.finalized, one.number))
        self._asked = lowest.node
        final = self._asked.call("eth_getBlockByNumber", hex(lowest.finalized), False)
        if not isinstance(final, dict):
            raise TransportError(f"{self._asked.name}: expected block {lowest.finalized}, found none")
        return Head(
            lowest.number,
            lowest.time_s,
            lowest.finalized,
            number(final.get("timestamp"), "block time"),
            doubt,
        )

    def sightings(self, wallet: str, first: int, last: int) -> list[Sighting]:
        """See `Chain`."""
        own = "0x" + address_word(wallet).hex()
        logs: dict[tuple[int, int], dict[str, Any]] = {}  # both questions give a transfer to oneself
        for start in range(first, last + 1, LOG_BLOCKS):
            span = {"fromBlock": hex(start), "toBlock": hex(min(start + LOG_BLOCKS - 1, last))}
            for topics in ([[_SINGLE, _BATCH], None, own], [[_SINGLE, _BATCH], None, None, own]):
                question = {**span, "address": self._tokens, "topics": topics}
                for answer in self._nodes.each("eth_getLogs", question):  # what any of them has counts
                    if not isinstance(answer, list):
                        raise TransportError(f"{self._asked.name}: eth_getLogs: expected a list")
                    for log in answer:
                        place = number(log["blockNumber"], "block"), number(log["logIndex"], "log index")
                        logs[place] = log
        by_transaction: dict[tuple[int, str], list[dict[str, Any]]] = {}
        for (block, _), log in sorted(logs.items(), key=lambda item: item[0]):
            by_transaction.setdefault((block, str(log["transactionHash"])), []).append(log)
        return [
            Sighting(transaction, block, movements_of(own_logs, wallet, self._contracts))
            for (block, transaction), own_logs in by_transaction.items()
        ]

    def receipt(self, transaction: str, wallet: str) -> Receipt | None:
        """See `Chain`."""
        answer = self._asked.call("eth_getTransactionReceipt", transaction)
        if not answer or answer.get("blockNumber") is None:
            return None
        return Receipt(
            number(answer["blockNumber"], "block number"),
            number(answer["status"], "status") == 1,
            movements_of(answer["logs"], wallet, self._contracts),
        )

    def refusal(self, wallet: str, call: Call) -> str:
        """See `Chain`."""
        try:
            if self._asked.call("eth_getCode", call.to, "latest") in ("", "0x"):
                return f"no contract at {call.to}"
            self._asked.call("eth_call", _question(wallet, call), "latest")
        except RpcError as error:
            if error.is_revert:
                return error.reason
            raise TransportError(str(error)) from None
        return ""

    def gas(self, account: str, call: Call) -> int | None:
        """See `Chain`."""
        try:
            return number(self._asked.call("eth_estimateGas", _question(account, call)), "gas")
        except RpcError:
            return None

    def next_nonce(self, kind: WalletKind, account: str, wallet: str, block: int) -> int | None:
        """See `Chain`. A Safe counts by itself, a proxy's nonces are counted in the relay hub."""
        if kind is WalletKind.SAFE:
            target, data = wallet, selector("nonce()")
        elif kind is WalletKind.PROXY and self._relay_hub:
            target, data = self._relay_hub, selector("getNonce(address)") + address_word(account)
        else:
            return None
        question = {"to": target, "data": "0x" + data.hex()}
        return number(self._asked.call("eth_call", question, hex(block)), "nonce")


def _question(sender: str, call: Call) -> dict[str, str]:
    return {"from": sender, "to": call.to, "data": "0x" + call.data.hex(), "value": hex(call.value)}
