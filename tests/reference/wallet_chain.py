"""A chain with one wallet's balances on it, in memory: blocks by virtual time, finality that lags, reorgs.

It executes what a relayer hands over as the wallet's contract would (a nonce once, nothing after the
deadline, all calls or none), and answers what a lane asks of the chain. Calls are decoded by eth-abi.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from eth_abi.abi import decode
from eth_utils.crypto import keccak

from invmm.errors import TransportError
from invmm.settlement.calls import Call
from invmm.settlement.envelopes import WalletKind
from invmm.settlement.sightings import Head, Receipt, Sighting
from invmm.sim.envelopes import Opened
from invmm.sim.relayer import RevertedError

BLOCK_S = 2
COLLATERAL = ("collateral", 0)


@dataclass
class Transaction:
    """What is in a block. `label` is (function, condition, amount) of each call."""

    hash: str
    block: int
    moved: dict[tuple[str, int], int]
    label: tuple[tuple[Any, ...], ...] = ()


@dataclass
class WalletChain:
    """`Chain` and `Executor` for a wallet that holds `balances`.

    `tokens` maps a condition to its Up and Down ids, `payouts` to what a share of each pays, in millionths.
    A node that is asked for logs may be `log_lag` blocks behind the one that tells the head.
    """

    tokens: dict[bytes, tuple[int, int]]
    balances: dict[tuple[str, int], int]
    payouts: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    final_lag: int = 8
    log_lag: int = 0
    counts_nonces: bool = True
    now_s: float = 1_790_000_000.0
    begun_s: float = 1_790_000_000.0
    nonce: int = 7
    silent: bool = False
    doubt: str = ""
    transactions: list[Transaction] = field(default_factory=list)
    asked: int = 0
    spent: int = 0

    # The chain's side of a lane

    def head(self, now_ns: int) -> Head:
        self._hear()
        block = self._block()
        final = max(block - self.final_lag, 0)
        return Head(block, self._time(block), final, self._time(final), self.doubt)

    def sightings(self, wallet: str, first: int, last: int) -> list[Sighting]:
        self._hear()
        return [
            Sighting(one.hash, one.block, {key: n for key, n in one.moved.items() if key[0] == "token"})
            for one in self.transactions
            if first <= one.block <= min(last, self._block() - self.log_lag)
            and any(key[0] == "token" for key in one.moved)
        ]

    def receipt(self, transaction: str, wallet: str) -> Receipt | None:
        self._hear()
        for one in self.transactions:
            if one.hash == transaction and one.block <= self._block():
                return Receipt(one.block, True, dict(one.moved))
        return None

    def refusal(self, wallet: str, call: Call) -> str:
        self._hear()
        try:
            self._run(((call.to, call.value, call.data),))
        except RevertedError as error:
            return str(error)
        return ""

    def gas(self, account: str, call: Call) -> int | None:
        return None

    def next_nonce(self, kind: Any, account: str, wallet: str, block: int = 0) -> int:
        """Both sides ask; what a lane asks of a finalized block is the nonce then."""
        if block:
            self._hear()
            later = sum(one.block > block and bool(one.label) for one in self.transactions)
            return self.nonce - later if kind is not WalletKind.DEPOSIT else None  # type: ignore[return-value]
        return self.nonce

    # The relayer's side

    def execute(self, opened: Opened, now_s: float) -> str:
        if self.counts_nonces and opened.nonce != self.nonce:
            raise RevertedError(f"nonce {opened.nonce}, expected {self.nonce}")
        if opened.deadline_s and now_s > opened.deadline_s:
            raise RevertedError("deadline has passed")
        moved, label = self._run(opened.calls)
        return self._include(moved, label)

    def overtake(self, opened: Opened, now_s: float) -> None:
        self._include({}, (("foreign",),))

    def block_of(self, transaction: str) -> int | None:
        return next((one.block for one in self.transactions if one.hash == transaction), None)

    def final_block(self) -> int:
        return max(self._block() - self.final_lag, 0)

    # The world

    def fill(self, token: int, shares: int, cost: int) -> None:
        """A trade of the wallet settles: its tokens and collateral change in a transaction of the venue."""
        moved = {("token", token): shares, COLLATERAL: -cost}
        self.spent += cost
        self._apply(moved)
        self._add(moved, ())

    def reorganise(self, depth: int) -> None:
        """The last blocks are replaced: what was in them comes again, a little later."""
        for one in self.transactions:
            if one.block > self._block() - depth:
                one.block = self._block() + 2

    def count(self, *label: Any) -> int:
        """How often a call (function, condition, amount) took effect."""
        return sum(one.label.count(label) for one in self.transactions)

    def _include(self, moved: dict[tuple[str, int], int], label: tuple[tuple[Any, ...], ...]) -> str:
        self._apply(moved)
        self.nonce += 1
        return self._add(moved, label)

    def _add(self, moved: dict[tuple[str, int], int], label: tuple[tuple[Any, ...], ...]) -> str:
        name = "0x" + keccak(text=f"transaction {len(self.transactions)}").hex()
        kept = {key: change for key, change in moved.items() if change}
        self.transactions.append(Transaction(name, self._block() + 1, kept, label))
        return name

    def _apply(self, moved: dict[tuple[str, int], int]) -> None:
        for key, change in moved.items():
            self.balances[key] = self.balances.get(key, 0) + change

    def _run(self, calls: Any) -> tuple[dict[tuple[str, int], int], tuple[tuple[Any, ...], ...]]:
        """What the calls move together; RevertedError if the wallet has not got it."""
        moved: dict[tuple[str, int], int] = {}
        labels = []
        for _, _, data in calls:
            name, condition, amount = _read(data)
            labels.append((name, condition, amount))
            if name == "approve":
                continue
            up, down = (("token", token) for token in self.tokens[condition])
            if name == "redeem":
                if condition not in self.payouts:
                    raise RevertedError("result for condition not received yet")
                held = [self.balances.get(key, 0) + moved.get(key, 0) for key in (up, down)]
                gain = sum(n * p // 1_000_000 for n, p in zip(held, self.payouts[condition], strict=True))
                changes = {up: -held[0], down: -held[1], COLLATERAL: gain}
            else:
                sign = 1 if name == "split" else -1
                changes = {up: sign * amount, down: sign * amount, COLLATERAL: -sign * amount}
            for key, change in changes.items():
                moved[key] = moved.get(key, 0) + change
                if self.balances.get(key, 0) + moved[key] < 0:
                    raise RevertedError("ERC1155: insufficient balance for transfer")
        return moved, tuple(labels)

    def _block(self) -> int:
        return int((self.now_s - self.begun_s) // BLOCK_S) + 100

    def _time(self, block: int) -> int:
        return int(self.begun_s) + (block - 100) * BLOCK_S

    def _hear(self) -> None:
        self.asked += 1
        if self.silent:
            raise TransportError("node: no answer")


def _read(data: bytes) -> tuple[str, bytes, int]:
    head, rest = data[:4], data[4:]
    array = "(address,bytes32,bytes32,uint256[]"
    if head == keccak(text=f"mergePositions{array},uint256)")[:4]:
        _, _, condition, _, amount = decode(["address", "bytes32", "bytes32", "uint256[]", "uint256"], rest)
        return "merge", condition, amount
    if head == keccak(text=f"splitPosition{array},uint256)")[:4]:
        _, _, condition, _, amount = decode(["address", "bytes32", "bytes32", "uint256[]", "uint256"], rest)
        return "split", condition, amount
    if head == keccak(text=f"redeemPositions{array})")[:4]:
        _, _, condition, _ = decode(["address", "bytes32", "bytes32", "uint256[]"], rest)
        return "redeem", condition, 0
    if head == keccak(text="approve(address,uint256)")[:4]:
        return "approve", b"", int.from_bytes(rest[32:64], "big")
    raise RevertedError("no such function")
