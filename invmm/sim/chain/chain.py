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

from eth_utils.crypto import keccak

from invmm.errors import InvmmError
from invmm.sim.chain import deployment
from invmm.sim.chain.node import TIP_WEI, Account, Node
from invmm.sim.chain.published import build_file
from invmm.sim.chain.rpc import Rpc
from invmm.sim.chain.server import RpcServer
from invmm.sim.chain.stage import Stage, WalletCall

PLENTY_WEI: Final = 10**27
"""Gas money of the chain's owner."""


@dataclass(frozen=True, slots=True)
class Mined:
    """How a transaction ended; `final` when its block is at or below the finalized one."""

    block: int
    success: bool
    gas_used: int
    fee_wei: int
    final: bool


class LocalChain(Stage):
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
        super().__init__(seed, threading.RLock())
        self._block_time_ms = block_time_ms
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
        self.rpc = Rpc(self.node, self.lock)
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

    # ---- what no transaction could do

    def act(self, sender: str, calls: Iterable[WalletCall]) -> None:
        """Makes calls in an account's name whose key is not here, all or none; mined at once. `Reverted`."""
        with self.lock:
            self.node.act(bytes.fromhex(sender[2:]), [(bytes.fromhex(one.to[2:]), one.data) for one in calls])

    def decree(self, condition_id: str, payouts: tuple[int, int] | None = None) -> None:
        """A condition of our own conditional tokens whose question is not known: prepared, or with payouts
        resolved, by writing what the contract would have written.
        """
        made = deployment.artifact("conditional_tokens")
        key = bytes.fromhex(condition_id[2:])
        numerators, denominator = (
            int.from_bytes(keccak(made.slots[name].to_bytes(32, "big") + key), "big")
            for name in ("payoutNumerators", "payoutDenominator")
        )
        slots = {numerators: 2}  # a dynamic array: its length, then its items
        if payouts is not None:
            slots |= {numerators + 1: payouts[0], numerators + 2: payouts[1], denominator: sum(payouts)}
        with self.lock:
            self.node.write(bytes.fromhex(deployment.ADDRESSES.conditional_tokens[2:]), slots)

    # ---- transactions

    def call(self, to: str, data: bytes, *, sender: str | None = None) -> bytes:
        """What a contract would return on the head; changes nothing. `Reverted`, with its words."""
        caller = bytes.fromhex(sender[2:]) if sender else bytes(20)
        with self.lock:
            return self.node.call(bytes.fromhex(to[2:]), data, sender=caller)

    def send(self, raw: bytes) -> str:
        """Hands a signed transaction to the node and gives its hash. `NodeRefusal`."""
        with self.lock:
            return "0x" + self.node.send(raw).hex()

    def pending_nonce(self, address: str) -> int:
        """The next nonce of an account, waiting transactions counted."""
        with self.lock:
            return self.node.pending_nonce(bytes.fromhex(address[2:]))

    def fees_wei(self) -> tuple[int, int]:
        """What the stage pays per gas: at most in all, and as a tip."""
        return 4 * self.node.base_fee_wei + TIP_WEI, TIP_WEI

    def approve_all(self, private_key: bytes | str) -> None:
        """Lets every exchange, adapter and the router move what an account holds, in one block."""
        with self.lock:
            automine, self.node.automine = self.node.automine, False
            try:
                super().approve_all(private_key)
            finally:
                self.node.automine = automine

    def finish(self, transactions: Sequence[str]) -> None:
        """Mines these transactions, whatever the block time. InvmmError if one was undone."""
        with self.lock:
            if any(bytes.fromhex(one[2:]) in self.node.pool for one in transactions):
                self.node.mine()
            for one in transactions:
                ended = self.mined(one)
                if ended is None or not ended.success:
                    raise InvmmError(f"local chain: expected transaction {one} to succeed, found {ended}")

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
