"""`LocalChain`: Polygon in one process, with the venue's contracts at their production addresses.

Time and keys are the caller's: accounts follow from a seed, block times from a clock. What sets the stage
(`fund`, `prepare`, `resolve`, `approve_all`) is in effect when it returns; `settle` and what comes over
JSON-RPC waits for its block as on the real chain.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self

from eth_abi.abi import encode
from eth_account import Account as Keys
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from invmm.errors import InvmmError
from invmm.sim.chain import deployment
from invmm.sim.chain.deployment import ADDRESSES, UNLIMITED
from invmm.sim.chain.node import TIP_WEI, Account, Node
from invmm.sim.chain.published import build_file
from invmm.sim.chain.rpc import Rpc
from invmm.sim.chain.server import RpcServer
from invmm.sim.identity import ORACLE
from invmm.types import Outcome, Side
from invmm.venue.positions import position_ids_v2
from invmm.venue.profile import POLYGON, ExchangeName, exchange

PLENTY_WEI: Final = 10**27
"""Gas money of the chain's owner."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A prepared market: its condition id as the venue spells it, and both token ids as decimal text."""

    condition_id: str
    up_token: str
    down_token: str


@dataclass(frozen=True, slots=True)
class Part:
    """One trader's part of a match.

    `cash_micro` is the price of the shares without fee; the fee comes on top for a buyer, out of it for a
    seller.
    """

    trader: str
    outcome: Outcome
    side: Side
    shares_micro: int
    cash_micro: int
    fee_micro: int = 0


@dataclass(frozen=True, slots=True)
class Match:
    """What one operator transaction settles: takers and makers alike are parts.

    Shares bought and sold must differ by as much for Up as for Down, and the cash must pay for exactly that:
    pairs that are missing are minted at a dollar, pairs too many are merged.
    """

    condition: Condition
    parts: tuple[Part, ...]
    exchange: ExchangeName = ExchangeName.V2


@dataclass(frozen=True, slots=True)
class Mined:
    """How a transaction ended; `final` when its block is at or below the finalized one."""

    block: int
    success: bool
    gas_used: int
    fee_wei: int
    final: bool


@dataclass(frozen=True, slots=True)
class WalletCall:
    """One call of a smart wallet."""

    to: str
    data: bytes
    value_wei: int = 0


class LocalChain:
    """An EVM in this process, id 137.

    Parameters
    ----------
    contracts
        "own": our conditional tokens. "published": the published ones, from their npm package (`published`).
    block_time_ms
        0: each transaction is mined when it is sent. Otherwise a thread mines what waits, and empty blocks,
        at this pace from `start` on. None: nothing is mined but by `mine`.
    finality_blocks
        How far the finalized block lags behind the head. With `block_time_ms` 0 the head stands still between
        transactions, and so does finality.
    seed
        Of the accounts' keys.
    wallets
        Addresses where stand-ins for smart wallets lie; `execute` drives them.
    seconds
        Clock of the block headers, unix seconds; by default this machine's.

    Errors: `Reverted` when a call is undone by a contract, with its words; `NodeRefusal` for a transaction
    that is not taken; `ValueError` for what makes no sense.
    """

    def __init__(
        self,
        *,
        contracts: Literal["own", "published"] = "own",
        block_time_ms: int | None = 0,
        finality_blocks: int = 0,
        seed: int = 0,
        wallets: Iterable[str] = (),
        seconds: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        if block_time_ms is not None and block_time_ms < 0:
            raise ValueError(f"block_time_ms: expected 0 or more, or None, found {block_time_ms}")
        self._seed = seed
        self._block_time_ms = block_time_ms
        self.owner = self.account("owner")
        tokens = None
        if contracts == "published":
            tokens = deployment.published_tokens(json.loads(build_file().read_text()))
        genesis = {
            bytes.fromhex(place.address[2:]): Account(code=place.artifact.runtime, storage=place.storage)
            for place in deployment.placed(self.owner.address, tokens=tokens, wallets=wallets)
        }
        genesis[bytes.fromhex(self.owner.address[2:])] = Account(balance_wei=PLENTY_WEI)
        self.node = Node(genesis, seconds=seconds, finality_blocks=finality_blocks)
        self.node.automine = block_time_ms == 0
        self.lock = threading.RLock()
        """Held around every use of `node`."""
        self.rpc = Rpc(self.node, self.lock)
        self._questions: dict[str, bytes] = {}
        self._server: RpcServer | None = None
        self._stop = threading.Event()
        self._miner: threading.Thread | None = None

    # ---- life

    def start(self) -> Self:
        """Starts mining at the block time, where there is one."""
        if self._block_time_ms and self._miner is None:
            self._miner = threading.Thread(target=self._mine_on, name="chain-miner", daemon=True)
            self._miner.start()
        return self

    def serve(self, port: int = 0) -> str:
        """Starts JSON-RPC on 127.0.0.1 and gives its URL."""
        if self._server is None:
            self._server = RpcServer(self.rpc, port)
        return self._server.url

    @property
    def url(self) -> str:
        """Where JSON-RPC is served. ValueError before `serve`."""
        if self._server is None:
            raise ValueError("chain.url: nothing is served before serve()")
        return self._server.url

    def close(self) -> None:
        """Stops mining and serving. The chain itself can still be asked."""
        self._stop.set()
        if self._miner is not None:
            self._miner.join()
            self._miner = None
        if self._server is not None:
            self._server.close()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _mine_on(self) -> None:
        pause_s = (self._block_time_ms or 0) / 1000
        due = time.monotonic() + pause_s
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            self.mine()
            due = max(due + pause_s, time.monotonic())

    def mine(self, blocks: int = 1) -> None:
        """Mines what waits, then empty blocks."""
        with self.lock:
            for _ in range(blocks):
                self.node.mine()

    # ---- accounts

    def account(self, name: str) -> LocalAccount:
        """The account of a name: the same key for the same seed and name, worth nothing anywhere."""
        account: LocalAccount = Keys.from_key(keccak(text=f"invmm local chain {self._seed} {name}"))
        return account

    def fund(self, address: str, collateral_micro: int = 0, wei: int = 0) -> None:
        """Gives an address pUSD out of nothing, and gas money."""
        with self.lock:
            sent = []
            if collateral_micro:
                data = _call("mint(address,uint256)", address, collateral_micro)
                sent.append(self._owner_sends(ADDRESSES.collateral, data))
            if wei:
                sent.append(self._owner_sends(address, b"", wei))
            self._done(sent)

    def approve_all(self, private_key: bytes | str) -> None:
        """Lets every exchange, adapter and the router move what an account holds; it needs gas money."""
        account: LocalAccount = Keys.from_key(private_key)
        with self.lock:
            nonce = self.node.nonce(bytes.fromhex(account.address[2:]))
            self._done(
                [
                    self._send(account, nonce + index, call.to, call.data, 0, 100_000)
                    for index, call in enumerate(approvals())
                ]
            )

    def approve_wallet(self, wallet: str) -> None:
        """`approve_all` for one of the `wallets`."""
        with self.lock:
            self._done([bytes.fromhex(self.execute(wallet, approvals())[2:])])

    def execute(self, wallet: str, calls: Sequence[WalletCall]) -> str:
        """Sends calls by one of the `wallets`, as a relayer does, all or none; gives the hash."""
        data = _selector("execute((address,uint256,bytes)[])") + encode(
            ["(address,uint256,bytes)[]"], [[(call.to, call.value_wei, call.data) for call in calls]]
        )
        with self.lock:
            return "0x" + self._owner_sends(wallet, data).hex()

    # ---- markets

    def prepare(self, question_id: bytes, version: str = "v1") -> Condition:
        """Makes a market of a question (32 bytes), or finds it again.

        "v1": conditional tokens with USDC.e inside, reported by `identity.ORACLE`; the contract computes the
        ids. "v2": a binary condition of the PositionManager whose hash is the question's first 16 bytes.
        """
        if len(question_id) != 32 or version not in ("v1", "v2"):
            raise ValueError(
                f"prepare: expected 32 bytes and 'v1' or 'v2', found {len(question_id)} and {version!r}"
            )
        with self.lock:
            if version == "v2":
                return self._prepare_newer(question_id)
            tokens = ADDRESSES.conditional_tokens
            condition = self.call(
                tokens, _call("getConditionId(address,bytes32,uint256)", ORACLE, question_id, 2)
            )
            if not int.from_bytes(self.call(tokens, _call("getOutcomeSlotCount(bytes32)", condition)), "big"):
                data = _call("prepareCondition(address,bytes32,uint256)", ORACLE, question_id, 2)
                self._done([self._owner_sends(tokens, data)])
            ids = []
            for index_set in (1, 2):
                collection = self.call(
                    tokens, _call("getCollectionId(bytes32,bytes32,uint256)", bytes(32), condition, index_set)
                )
                position = self.call(
                    tokens, _call("getPositionId(address,bytes32)", ADDRESSES.bridged_collateral, collection)
                )
                ids.append(str(int.from_bytes(position, "big")))
            name = "0x" + condition.hex()
            self._questions[name] = question_id
            return Condition(name, ids[0], ids[1])

    def _prepare_newer(self, question_id: bytes) -> Condition:
        condition = b"\x01" + question_id[:16] + bytes(15)
        manager = ADDRESSES.position_manager
        if not any(self.call(manager, _call("prepared(bytes31)", condition[:31]))):
            self._done([self._owner_sends(manager, _call("prepare(bytes31)", condition[:31]))])
        name = "0x" + condition.hex()
        return Condition(name, *position_ids_v2(name))

    def resolve(self, condition_id: str, payouts: tuple[int, int]) -> None:
        """Reports a result: (1, 0) Up, (0, 1) Down, (1, 1) half each. ValueError for another market."""
        with self.lock:
            question = self._questions.get(condition_id.lower())
            if question is not None:
                data = _selector("report(bytes32,uint256[])") + encode(
                    ["bytes32", "uint256[]"], [question, payouts]
                )
                self._done([self._owner_sends(ORACLE, data)])
                return
            condition = bytes.fromhex(condition_id[2:])[:31]
            if not any(self.call(ADDRESSES.position_manager, _call("prepared(bytes31)", condition))):
                raise ValueError(f"resolve: expected a condition made by prepare, found {condition_id}")
            data = _selector("report(bytes31,uint256[2])") + encode(
                ["bytes31", "uint256[2]"], [condition, payouts]
            )
            self._done([self._owner_sends(ADDRESSES.position_manager, data)])

    def settle(self, match: Match) -> str:
        """Sends the operator's transaction for a match and gives its hash; `mined` tells how it ended.

        It fails on the chain, and moves nothing, when a trader lacks the balance or has not approved the
        exchange, or when shares or cash do not add up.
        """
        parts = [
            (
                part.trader,
                int(part.outcome),
                part.side == Side.BUY,
                part.shares_micro,
                part.cash_micro,
                part.fee_micro,
            )
            for part in match.parts
        ]
        condition = match.condition
        data = _selector(
            "settle(bytes32,uint256[2],(address,uint256,bool,uint256,uint256,uint256)[])"
        ) + encode(
            ["bytes32", "uint256[2]", "(address,uint256,bool,uint256,uint256,uint256)[]"],
            [
                bytes.fromhex(condition.condition_id[2:]),
                [int(condition.up_token), int(condition.down_token)],
                parts,
            ],
        )
        with self.lock:
            to = exchange(match.exchange).contract
            return "0x" + self._owner_sends(to, data, gas=700_000 + 200_000 * len(parts)).hex()

    # ---- what is there

    def collateral_micro(self, address: str) -> int:
        """pUSD of an address, by `balanceOf`."""
        return _integer(self.call(ADDRESSES.collateral, _call("balanceOf(address)", address)))

    def shares_micro(self, address: str, token_id: int | str) -> int:
        """Shares of an outcome, of either generation, by `balanceOf`."""
        number = int(token_id)
        newer = number & (((1 << 64) - 1) << 40) == 0
        ledger = ADDRESSES.position_manager if newer else ADDRESSES.conditional_tokens
        return _integer(self.call(ledger, _call("balanceOf(address,uint256)", address, number)))

    def mined(self, transaction: str) -> Mined | None:
        """How a transaction ended, or None while it waits (or was dropped, or went with a block)."""
        with self.lock:
            place = self.node.found(bytes.fromhex(transaction[2:]))
            if place is None:
                return None
            number, index = place
            block = self.node.blocks[number]
            used = block.gas_used[index]
            return Mined(
                block=number,
                success=any(block.receipts[index].state_root),
                gas_used=used,
                fee_wei=used * self.node.price_wei(block.sent[index], block),
                final=number <= self.node.finalized,
            )

    def call(self, to: str, data: bytes, *, sender: str | None = None) -> bytes:
        """What a contract would return on the head; changes nothing."""
        caller = bytes.fromhex(sender[2:]) if sender else bytes(20)
        with self.lock:
            return self.node.call(bytes.fromhex(to[2:]), data, sender=caller)

    # ---- the owner's transactions

    def _owner_sends(self, to: str, data: bytes, wei: int = 0, gas: int = 3_000_000) -> bytes:
        nonce = self.node.pending_nonce(bytes.fromhex(self.owner.address[2:]))
        return self._send(self.owner, nonce, to, data, wei, gas)

    def _send(self, account: LocalAccount, nonce: int, to: str, data: bytes, wei: int, gas: int) -> bytes:
        signed = account.sign_transaction(
            {
                "type": 2,
                "chainId": POLYGON,
                "nonce": nonce,
                "to": to_checksum_address(to),
                "data": data,
                "value": wei,
                "gas": gas,
                "maxFeePerGas": 4 * self.node.base_fee_wei + TIP_WEI,
                "maxPriorityFeePerGas": TIP_WEI,
            }
        )
        return self.node.send(bytes(signed.raw_transaction))

    def _done(self, transactions: Sequence[bytes]) -> None:
        """Mines what sets the stage, at once whatever the block time, and sees that it was not undone."""
        if any(one in self.node.pool for one in transactions):
            self.node.mine()
        for one in transactions:
            ended = self.mined("0x" + one.hex())
            if ended is None or not ended.success:
                raise InvmmError(f"local chain: expected transaction 0x{one.hex()} to succeed, found {ended}")


def approvals() -> tuple[WalletCall, ...]:
    """Calls by which a trader lets every exchange, adapter and the router move what it holds, unlimited."""
    at = ADDRESSES
    exchanges = (at.exchange_v2, at.exchange_v2_neg_risk)
    adapters = (at.collateral_adapter, at.collateral_adapter_neg_risk)
    newer = (at.router, at.exchange_v3)
    return (
        *(
            WalletCall(at.collateral, _call("approve(address,uint256)", spender, UNLIMITED))
            for spender in (*exchanges, *adapters, *newer)
        ),
        *(
            WalletCall(at.conditional_tokens, _call("setApprovalForAll(address,bool)", operator, True))
            for operator in (*exchanges, *adapters)
        ),
        *(
            WalletCall(at.position_manager, _call("setApprovalForAll(address,bool)", operator, True))
            for operator in newer
        ),
    )


def _selector(signature: str) -> bytes:
    return keccak(text=signature)[:4]


def _call(signature: str, *values: object) -> bytes:
    """Calldata of a function whose arguments have plain types."""
    types = signature[signature.index("(") + 1 : -1].split(",")
    return _selector(signature) + encode(types, values)


def _integer(word: bytes) -> int:
    return int.from_bytes(word, "big")
