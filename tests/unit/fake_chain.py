"""A chain in memory that an adversary rules, and nodes that ask it: slow, obvious, no cryptography."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from invmm._ext.eip712 import keccak256
from invmm.errors import TransportError
from invmm.settlement.calls import Call
from invmm.settlement.lane import Change, Job
from invmm.settlement.rpc import RpcError
from invmm.venue.profile import CONTRACTS

ACCOUNT = "0x" + "a1" * 20
STRANGER = "0x" + "b2" * 20
ADAPTER = CONTRACTS[137].collateral_adapter
GWEI = 1_000_000_000
UP, DOWN = 7_001, 7_002
PAIRS = 25_000_000
MERGED = (Change("collateral", 0, PAIRS), Change("token", UP, -PAIRS), Change("token", DOWN, -PAIRS))


def merge_job(name: str = "merge:1", calls: int = 1) -> Job:
    """A job whose calls merge 25 pairs each."""
    changes = tuple(Change(one.kind, one.token_id, one.delta_micro * calls) for one in MERGED)
    return Job(name, tuple(Call(ADAPTER, b"%s %d" % (name.encode(), n)) for n in range(calls)), changes)


class Signer:
    """Signs by writing the transaction down."""

    def __init__(self, address: str = ACCOUNT) -> None:
        self.address = address

    def sign_transaction(self, transaction: dict[str, Any]) -> bytes:
        content = {**transaction, "data": transaction["data"].hex(), "from": self.address}
        return json.dumps(content, sort_keys=True).encode()


@functools.cache
def decoded(raw: bytes) -> dict[str, Any]:
    """What `Signer` wrote down."""
    content: dict[str, Any] = json.loads(raw)
    return content


@functools.cache
def hash_of(raw: bytes) -> str:
    return "0x" + keccak256(raw).hex()


def word(value: int) -> str:
    return f"{value:064x}"


def merge_logs(account: str = ACCOUNT, paid: int = PAIRS, burned: int = PAIRS) -> list[dict[str, Any]]:
    """What a merge by the collateral adapter leaves in the logs, as far as the account is concerned."""
    contracts = CONTRACTS[137]

    def topic(text: str) -> str:
        return "0x" + (keccak256(text.encode()).hex() if "(" in text else text[2:].rjust(64, "0"))

    batch = word(64) + word(160) + word(2) + word(UP) + word(DOWN) + word(2) + word(burned) * 2
    transfer = "TransferBatch(address,address,address,uint256[],uint256[])"
    return [
        {
            "address": contracts.conditional_tokens,
            "topics": [topic(transfer), topic(ADAPTER), topic(account), topic(ADAPTER)],
            "data": "0x" + batch,
        },
        {
            "address": contracts.bridged_collateral,  # inside the adapter, none of the account's
            "topics": [topic("Transfer(address,address,uint256)"), topic(ADAPTER), topic(account)],
            "data": "0x" + word(paid),
        },
        {
            "address": contracts.collateral,
            "topics": [topic("Transfer(address,address,uint256)"), topic("0x" + "00" * 20), topic(account)],
            "data": "0x" + word(paid),
        },
    ]


@dataclass
class Block:
    number: int
    hash: str
    time_s: int
    base_fee_wei: int
    included: list[bytes] = field(default_factory=list)


class FakeChain:
    """The truth. `finalized` is the number of the last block that no reorganisation takes away."""

    def __init__(self, base_fee_gwei: int = 50) -> None:
        self.salt = itertools.count()
        self.base_fee_wei = base_fee_gwei * GWEI
        self.time_s = 1_000
        self.blocks = [Block(0, "0xblock-genesis", self.time_s, self.base_fee_wei)]
        self.finalized = 0
        self.pool: dict[int, bytes] = {}
        self.seen: list[bytes] = []
        self.balance_wei = 100 * 10**18
        self.reverts = ""
        self.fails_when_mined = False
        self.logs: Callable[[dict[str, Any]], list[dict[str, Any]]] = lambda _: merge_logs()

    # What happens

    def mine(self, *, include: bool = True) -> None:
        """One block more, with everything in the pool that is next in line and bids enough."""
        self.time_s += 2
        number = len(self.blocks)
        block = Block(number, f"0xblock-{number}-{next(self.salt)}", self.time_s, self.base_fee_wei)
        self.blocks.append(block)
        while include and (raw := self.pool.get(self.nonce())) is not None:
            if decoded(raw)["maxFeePerGas"] < self.base_fee_wei:
                break
            block.included.append(raw)
        self._clean_pool()

    def reorganise(self, depth: int = 2, *, forget: bool = False) -> None:
        """The last blocks, those that are not final, give way to one more empty ones."""
        depth = min(depth, len(self.blocks) - 1 - self.finalized)
        gone = self.blocks[len(self.blocks) - depth :]
        del self.blocks[len(self.blocks) - depth :]
        if not forget:
            for raw in (raw for block in gone for raw in block.included):
                self.pool[decoded(raw)["nonce"]] = raw
        for _ in range(depth + 1):
            self.mine(include=False)

    def drop(self) -> None:
        self.pool.clear()

    def finalize(self) -> None:
        self.finalized = len(self.blocks) - 1

    def take(self, raw: bytes) -> str:
        """A broadcast arrives."""
        self.seen.append(raw)
        bid = decoded(raw)
        old = self.pool.get(bid["nonce"])
        if bid["nonce"] < self.nonce():
            raise RpcError("node", -32000, "nonce too low")
        if old == raw:
            raise RpcError("node", -32000, "already known")
        if old is not None:
            before = decoded(old)
            fees = ("maxFeePerGas", "maxPriorityFeePerGas")
            if any(8 * bid[fee] < 9 * before[fee] for fee in fees):
                raise RpcError("node", -32000, "replacement transaction underpriced")
        self.pool[bid["nonce"]] = raw
        return hash_of(raw)

    # What is asked

    def nonce(self, number: int | None = None) -> int:
        last = len(self.blocks) - 1 if number is None else number
        return sum(self._is_ours(raw) for block in self.blocks[: last + 1] for raw in block.included)

    def effects(self) -> list[str]:
        """What the account's calls did, in order, on this branch."""
        included = [raw for block in self.blocks for raw in block.included]
        return [bytes.fromhex(decoded(raw)["data"]).decode() for raw in included]

    def place_of(self, transaction: str) -> tuple[Block, bytes] | None:
        for block in self.blocks:
            for raw in block.included:
                if hash_of(raw) == transaction:
                    return block, raw
        return None

    def _is_ours(self, raw: bytes) -> bool:
        return bool(decoded(raw)["from"] == ACCOUNT)

    def _clean_pool(self) -> None:
        for nonce in [nonce for nonce in self.pool if nonce < self.nonce()]:
            del self.pool[nonce]


class FakeNode:
    """Answers from a chain, `lag` blocks behind, unless `is_down`; `visit` is told each question twice."""

    def __init__(self, chain: FakeChain, name: str = "one", *, chain_id: int = 137) -> None:
        self.chain = chain
        self.name = name
        self.chain_id = chain_id
        self.lag = 0
        self.is_down = False
        self.knows_finalized = True
        self.asked: list[str] = []
        self.visit: Callable[[str], None] = lambda _: None
        self.garble: Callable[[Any], Any] = lambda answer: answer

    def call(self, method: str, *params: Any) -> Any:
        self.asked.append(method)
        self.visit(f"{method} asked")
        if self.is_down:
            raise TransportError(f"{self.name}: down")
        answer = getattr(self, method)(*params)
        self.visit(f"{method} answered")
        return self.garble(answer)

    @property
    def height(self) -> int:
        return max(0, len(self.chain.blocks) - 1 - self.lag)

    def eth_chainId(self) -> str:  # noqa: N802
        return hex(self.chain_id)

    def eth_getBlockByNumber(self, tag: str, full: bool) -> dict[str, Any] | None:  # noqa: N802
        if tag == "finalized" and not self.knows_finalized:
            raise RpcError(self.name, -39001, "unknown block")
        numbers = {"latest": self.height, "finalized": min(self.height, self.chain.finalized)}
        number = numbers[tag] if tag in numbers else int(tag, 16)
        if number > self.height:
            return None
        block = self.chain.blocks[number]
        return {
            "number": hex(block.number),
            "hash": block.hash,
            "timestamp": hex(block.time_s),
            "baseFeePerGas": hex(block.base_fee_wei),
        }

    def eth_getTransactionCount(self, account: str, tag: str) -> str:  # noqa: N802
        assert account == ACCOUNT
        nonce = self.chain.nonce(int(tag, 16) if tag.startswith("0x") else self.height)
        while tag == "pending" and nonce in self.chain.pool:
            nonce += 1
        return hex(nonce)

    def eth_getBalance(self, account: str, tag: str) -> str:  # noqa: N802
        return hex(self.chain.balance_wei)

    def eth_getCode(self, address: str, tag: str) -> str:  # noqa: N802
        return "0x60" if address in vars_of_contracts() else "0x"

    def eth_maxPriorityFeePerGas(self) -> str:  # noqa: N802
        return hex(31 * GWEI)

    def eth_call(self, question: dict[str, Any], tag: str) -> str:
        if self.chain.reverts:
            text = self.chain.reverts.encode()
            data = "0x08c379a0" + word(32) + word(len(text)) + text.hex().ljust(64, "0")
            raise RpcError(self.name, 3, "execution reverted", data)
        return "0x"

    def eth_estimateGas(self, question: dict[str, Any]) -> str:  # noqa: N802
        return hex(200_000)

    def eth_sendRawTransaction(self, raw: str) -> str:  # noqa: N802
        return self.chain.take(bytes.fromhex(raw[2:]))

    def eth_getTransactionByHash(self, transaction: str) -> dict[str, Any] | None:  # noqa: N802
        found = self.chain.place_of(transaction)
        if found is not None and found[0].number <= self.height:
            return {"blockNumber": hex(found[0].number)}
        return (
            {"blockNumber": None}
            if any(hash_of(r) == transaction for r in self.chain.pool.values())
            else None
        )

    def eth_getTransactionReceipt(self, transaction: str) -> dict[str, Any] | None:  # noqa: N802
        found = self.chain.place_of(transaction)
        if found is None or found[0].number > self.height:
            return None
        block, raw = found
        return {
            "transactionHash": transaction,
            "blockNumber": hex(block.number),
            "blockHash": block.hash,
            "status": hex(not self.chain.fails_when_mined),
            "gasUsed": hex(150_000),
            "effectiveGasPrice": hex(80 * GWEI),
            "logs": [] if self.chain.fails_when_mined else self.chain.logs(decoded(raw)),
        }


def vars_of_contracts() -> set[str]:
    """Addresses that have code."""
    contracts = CONTRACTS[137]
    return {getattr(contracts, name) for name in contracts.__slots__}


class MemoryJournal:
    """What is on a disk that outlives the lane; `visit` is told of each record before and after."""

    def __init__(self, disk: list[dict[str, Any]], visit: Callable[[str], None] = lambda _: None) -> None:
        self.disk = disk
        self.records = tuple(disk)
        self.visit = visit
        self.fails = False

    def append(self, record: dict[str, Any]) -> None:
        self.visit(f"{record['kind']} before the journal")
        if self.fails:
            raise OSError("no space left on device")
        self.disk.append(json.loads(json.dumps(record)))
        self.visit(f"{record['kind']} after the journal")

    def replace(self, records: Iterable[dict[str, Any]]) -> None:
        self.visit("all before the journal")
        self.disk[:] = [json.loads(json.dumps(record)) for record in records]
        self.visit("all after the journal")

    def close(self) -> None:
        pass
