"""Two nodes asked as one: what the account's chain looks like to the one that is further behind.

A node may stand still, lie on a side branch, or be another chain's. One that does not answer is left out
until the next look; the others carry on. Two that answer must agree before anything new is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from invmm.clock import NS
from invmm.errors import TransportError
from invmm.settings import SettlementSettings
from invmm.settlement.rpc import RpcError, number

# Answers to the "finalized" tag of nodes that do not know it, or have no such block yet.
_UNKNOWN_TAG_CODES: Final = frozenset({-32601, -32602, -39001})
_UNKNOWN_TAG_WORDS: Final = ("finalized", "unknown block", "block not found")


class Endpoint(Protocol):
    """What answers questions: `RpcEndpoint`, or a node of a test."""

    @property
    def name(self) -> str: ...

    def call(self, method: str, *params: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Head:
    """The latest block of one node, and how far below it blocks are final."""

    node: Endpoint
    number: int
    time_s: int
    base_fee_wei: int
    finalized: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """That a transaction is in a block. `logs` are as the node gave them."""

    transaction: str
    block: int
    block_hash: str
    is_success: bool
    gas_used: int
    fee_wei: int
    logs: list[dict[str, Any]]


class Nodes:
    """The nodes of one chain. Belongs to one thread.

    Parameters
    ----------
    endpoints : sequence of Endpoint
        One or more.
    chain_id : int
        A node of another chain is never used.
    settings : SettlementSettings

    Attributes
    ----------
    heads : tuple of Head
        Of the nodes that have answered since the last `look`.
    silent : dict
        Name to reason for each of the others.
    """

    def __init__(self, endpoints: Sequence[Endpoint], chain_id: int, settings: SettlementSettings) -> None:
        if not endpoints:
            raise ValueError("endpoints: expected at least one")
        self._endpoints = tuple(endpoints)
        self._chain_id = chain_id
        self._settings = settings
        self._checked: set[int] = set()
        self._foreign: dict[str, int] = {}
        self.heads: tuple[Head, ...] = ()
        self.silent: dict[str, str] = {}

    def look(self) -> bool:
        """Asks each node for its head; whether at least one answered."""
        heads = []
        self.silent = {}
        for index, node in enumerate(self._endpoints):
            try:
                self._check_chain(index, node)
                heads.append(self._head(node))
            except (RpcError, TransportError) as error:
                self._checked.discard(index)  # what answers next under this name may be another node
                self.silent[node.name] = str(error)
        self.heads = tuple(heads)
        return bool(heads)

    @property
    def are_all_here(self) -> bool:
        """Whether every node has answered all that it was asked since the last look."""
        return len(self.heads) == len(self._endpoints)

    @property
    def head(self) -> int:
        """Number of the lower of the latest blocks."""
        return min(head.number for head in self.heads)

    @property
    def finalized(self) -> int:
        """Number of the lower of the finalized blocks."""
        return min(head.finalized for head in self.heads)

    @property
    def base_fee_wei(self) -> int:
        """The higher of the base fees, per gas."""
        return max(head.base_fee_wei for head in self.heads)

    def doubt(self, now_ns: int) -> str:
        """Why nothing new may be sent, or "": a wrong chain, an old head, or nodes that disagree."""
        for name, chain_id in self._foreign.items():
            return f"{name}: expected chain {self._chain_id}, found {chain_id}"
        numbers = [head.number for head in self.heads]
        if max(numbers) - min(numbers) > self._settings.head_max_lag_blocks:
            return (
                f"the nodes' latest blocks are {max(numbers) - min(numbers)} apart, expected at most "
                f"{self._settings.head_max_lag_blocks}"
            )
        limit = self._settings.head_max_age_s
        for head in self.heads:
            age_s = now_ns / NS - head.time_s
            if limit and age_s > limit:
                return (
                    f"{head.node.name}: its latest block is {age_s:.0f} s old, expected at most {limit:g} s"
                )
        if len(self.heads) > 1:
            blocks = self.each("eth_getBlockByNumber", hex(self.finalized), False)
            if len({str(block.get("hash")) if isinstance(block, dict) else "" for block in blocks}) > 1:
                return f"the nodes disagree about block {self.finalized}, which both call final"
        return ""

    def each(self, method: str, *params: Any) -> list[Any]:
        """Answers of all nodes that are still here; one that fails is silent until the next look.

        Raises
        ------
        RpcError
            A contract refused (a revert).
        TransportError
            None is left.
        """
        answers = []
        kept = []
        for head in self.heads:
            try:
                answers.append(head.node.call(method, *params))
                kept.append(head)
            except RpcError as error:
                if error.is_revert:
                    raise
                self.silent[head.node.name] = str(error)
            except TransportError as error:
                self.silent[head.node.name] = str(error)
        self.heads = tuple(kept)
        if not kept:
            raise TransportError("; ".join(self.silent.values()))
        return answers

    def receipts(self, transactions: Sequence[str]) -> list[Receipt | None]:
        """For each node here the receipt of the first of these transactions that it has one of, or None."""
        found: list[Receipt | None] = [None] * len(self.heads)
        for transaction in transactions:
            here = self.heads
            answers = self.each("eth_getTransactionReceipt", transaction)
            if len(self.heads) < len(here):
                found = [one for one, head in zip(found, here, strict=True) if head in self.heads]
            for index, content in enumerate(answers):
                if found[index] is None and content is not None:
                    found[index] = _receipt(content, transaction)
        return found

    def nonces(self, account: str, tag: str) -> list[int]:
        """An account's transactions as each node counts them up to "latest", "pending" or a block."""
        return [number(answer, "nonce") for answer in self.each("eth_getTransactionCount", account, tag)]

    def final_nonce(self, account: str) -> int | None:
        """An account's transactions up to the finalized block, by the node that counts fewest.

        None if no node keeps what it needs to tell.
        """
        counts = self._willing("eth_getTransactionCount", account, hex(self.finalized))
        return min(counts, default=None)

    def suggested_tip_wei(self) -> int:
        """The highest tip per gas that a node suggests; 0 if none does."""
        return max(self._willing("eth_maxPriorityFeePerGas"), default=0)

    def _willing(self, method: str, *params: Any) -> list[int]:
        """Numbers of the nodes that answer a question which not every node can."""
        answers = []
        for head in self.heads:
            try:
                answers.append(number(head.node.call(method, *params), method))
            except (RpcError, TransportError):
                continue
        return answers

    def broadcast(self, raw: bytes) -> str:
        """Hands a signed transaction to every node here; what they said against it, "" if one took it.

        No answer is proof of anything: the transaction may take effect whatever is returned.
        """
        taken = False
        objections = []
        for head in self.heads:
            try:
                head.node.call("eth_sendRawTransaction", "0x" + raw.hex())
                taken = True
            except RpcError as error:
                taken = taken or "already known" in error.message.lower()
                objections.append(error.message)
            except TransportError as error:
                objections.append(str(error))
        return "" if taken else "; ".join(objections)

    def _check_chain(self, index: int, node: Endpoint) -> None:
        if index in self._checked:
            return
        found = number(node.call("eth_chainId"), "chain id")
        if found != self._chain_id:
            self._foreign[node.name] = found
            raise TransportError(f"{node.name}: expected chain {self._chain_id}, found {found}")
        self._foreign.pop(node.name, None)
        self._checked.add(index)

    def _head(self, node: Endpoint) -> Head:
        latest = _block(node.call("eth_getBlockByNumber", "latest", False), node)
        height = number(latest["number"], "block number")
        return Head(
            node,
            height,
            number(latest["timestamp"], "block time"),
            number(latest.get("baseFeePerGas", "0x0"), "base fee"),
            min(height, self._finalized(node, height)),
        )

    def _finalized(self, node: Endpoint, height: int) -> int:
        try:
            answer = node.call("eth_getBlockByNumber", "finalized", False)
        except RpcError as error:
            words = error.message.lower()
            if error.code not in _UNKNOWN_TAG_CODES and not any(w in words for w in _UNKNOWN_TAG_WORDS):
                raise
            answer = None
        if answer is None:
            return max(0, height - self._settings.final_depth_blocks)
        return number(_block(answer, node)["number"], "block number")


def _block(answer: Any, node: Endpoint) -> dict[str, Any]:
    if not isinstance(answer, dict) or not {"number", "timestamp"} <= answer.keys():
        raise TransportError(f"{node.name}: expected a block, found something else")
    return answer


def _receipt(content: Any, transaction: str) -> Receipt | None:
    """The receipt in an answer; None for one that is not in a block."""
    if (
        not isinstance(content, dict)
        or str(content.get("transactionHash", "")).lower() != transaction.lower()
    ):
        raise TransportError(f"receipt of {transaction}: expected one, found something else")
    if content.get("blockNumber") is None:
        return None
    gas_used = number(content.get("gasUsed"), "gas used")
    logs = content.get("logs")
    if not isinstance(logs, list):
        raise TransportError(f"receipt of {transaction}: expected logs, found none")
    return Receipt(
        transaction,
        number(content["blockNumber"], "block number"),
        str(content.get("blockHash")),
        number(content.get("status"), "status") == 1,
        gas_used,
        gas_used * number(content.get("effectiveGasPrice", "0x0"), "gas price"),
        logs,
    )
