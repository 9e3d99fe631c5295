"""What sets the stage on a chain with the venue's contracts: accounts, money, markets, results, matches.

A `Stage` says what to send and what to ask; a chain (`LocalChain`, or any node with the contracts placed)
says how.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode
from eth_account import Account as Keys
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from invmm.sim.chain.deployment import ADDRESSES, UNLIMITED
from invmm.sim.identity import ORACLE
from invmm.types import Outcome, Side
from invmm.venue.positions import position_ids_v2
from invmm.venue.profile import POLYGON, ExchangeName, exchange


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
class WalletCall:
    """One call of a smart wallet."""

    to: str
    data: bytes
    value_wei: int = 0


class Stage(ABC):
    """A chain with the venue's contracts, all owned by the account "owner" of a seed.

    What sets the stage (`fund`, `prepare`, `resolve`, `approve_all`, `approve_wallet`) is in effect when it
    returns; `settle` and `execute` give the hash of a transaction that waits for its block.
    """

    def __init__(self, seed: int, lock: AbstractContextManager[Any]) -> None:
        self._seed = seed
        self.lock = lock
        """Held around whatever must not be interleaved with another thread's."""
        self.owner = self.account("owner")
        self._questions: dict[str, bytes] = {}

    # ---- how: the chain

    @abstractmethod
    def call(self, to: str, data: bytes, *, sender: str | None = None) -> bytes:
        """What a contract would return on the head; changes nothing."""

    @abstractmethod
    def send(self, raw: bytes) -> str:
        """Hands a signed transaction to the node and gives its hash."""

    @abstractmethod
    def pending_nonce(self, address: str) -> int:
        """The next nonce of an account, waiting transactions counted."""

    @abstractmethod
    def fees_wei(self) -> tuple[int, int]:
        """What the stage pays per gas: at most in all, and as a tip."""

    @abstractmethod
    def finish(self, transactions: Sequence[str]) -> None:
        """Mines these transactions, whatever the block time. InvmmError if one was undone."""

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
                data = calldata("mint(address,uint256)", address, collateral_micro)
                sent.append(self._owner_sends(ADDRESSES.collateral, data))
            if wei:
                sent.append(self._owner_sends(address, b"", wei))
            self.finish(sent)

    def approve_all(self, private_key: bytes | str) -> None:
        """Lets every exchange, adapter and the router move what an account holds; it needs gas money."""
        account: LocalAccount = Keys.from_key(private_key)
        with self.lock:
            nonce = self.pending_nonce(account.address)
            self.finish(
                [
                    self._send(account, nonce + index, call.to, call.data, 0, 100_000)
                    for index, call in enumerate(approvals())
                ]
            )

    def approve_wallet(self, wallet: str) -> None:
        """`approve_all` for one of the `wallets`."""
        with self.lock:
            self.finish([self.execute(wallet, approvals())])

    def execute(self, wallet: str, calls: Sequence[WalletCall]) -> str:
        """Sends calls by one of the `wallets`, as a relayer does, all or none; gives the hash."""
        data = _selector("execute((address,uint256,bytes)[])") + encode(
            ["(address,uint256,bytes)[]"], [[(call.to, call.value_wei, call.data) for call in calls]]
        )
        with self.lock:
            return self._owner_sends(wallet, data)

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
                tokens, calldata("getConditionId(address,bytes32,uint256)", ORACLE, question_id, 2)
            )
            if not int.from_bytes(
                self.call(tokens, calldata("getOutcomeSlotCount(bytes32)", condition)), "big"
            ):
                data = calldata("prepareCondition(address,bytes32,uint256)", ORACLE, question_id, 2)
                self.finish([self._owner_sends(tokens, data)])
            ids = []
            for index_set in (1, 2):
                collection = self.call(
                    tokens,
                    calldata("getCollectionId(bytes32,bytes32,uint256)", bytes(32), condition, index_set),
                )
                position = self.call(
                    tokens,
                    calldata("getPositionId(address,bytes32)", ADDRESSES.bridged_collateral, collection),
                )
                ids.append(str(int.from_bytes(position, "big")))
            name = "0x" + condition.hex()
            self._questions[name] = question_id
            return Condition(name, ids[0], ids[1])

    def _prepare_newer(self, question_id: bytes) -> Condition:
        condition = b"\x01" + question_id[:16] + bytes(15)
        manager = ADDRESSES.position_manager
        if not any(self.call(manager, calldata("prepared(bytes31)", condition[:31]))):
            self.finish([self._owner_sends(manager, calldata("prepare(bytes31)", condition[:31]))])
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
                self.finish([self._owner_sends(ORACLE, data)])
                return
            condition = bytes.fromhex(condition_id[2:])[:31]
            if not any(self.call(ADDRESSES.position_manager, calldata("prepared(bytes31)", condition))):
                raise ValueError(f"resolve: expected a condition made by prepare, found {condition_id}")
            data = _selector("report(bytes31,uint256[2])") + encode(
                ["bytes31", "uint256[2]"], [condition, payouts]
            )
            self.finish([self._owner_sends(ADDRESSES.position_manager, data)])

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
            return self._owner_sends(to, data, gas=700_000 + 200_000 * len(parts))

    # ---- what is there

    def collateral_micro(self, address: str) -> int:
        """pUSD of an address, by `balanceOf`."""
        return _integer(self.call(ADDRESSES.collateral, calldata("balanceOf(address)", address)))

    def shares_micro(self, address: str, token_id: int | str) -> int:
        """Shares of an outcome, of either generation, by `balanceOf`."""
        number = int(token_id)
        newer = number & (((1 << 64) - 1) << 40) == 0
        ledger = ADDRESSES.position_manager if newer else ADDRESSES.conditional_tokens
        return _integer(self.call(ledger, calldata("balanceOf(address,uint256)", address, number)))

    # ---- transactions

    def _owner_sends(self, to: str, data: bytes, wei: int = 0, gas: int = 3_000_000) -> str:
        return self._send(self.owner, self.pending_nonce(self.owner.address), to, data, wei, gas)

    def _send(self, account: LocalAccount, nonce: int, to: str, data: bytes, wei: int, gas: int) -> str:
        most, tip = self.fees_wei()
        signed = account.sign_transaction(
            {
                "type": 2,
                "chainId": POLYGON,
                "nonce": nonce,
                "to": to_checksum_address(to),
                "data": data,
                "value": wei,
                "gas": gas,
                "maxFeePerGas": most,
                "maxPriorityFeePerGas": tip,
            }
        )
        return self.send(bytes(signed.raw_transaction))


def approvals() -> tuple[WalletCall, ...]:
    """Calls by which a trader lets every exchange, adapter and the router move what it holds, unlimited."""
    at = ADDRESSES
    exchanges = (at.exchange_v2, at.exchange_v2_neg_risk)
    adapters = (at.collateral_adapter, at.collateral_adapter_neg_risk)
    newer = (at.router, at.exchange_v3)
    return (
        *(
            WalletCall(at.collateral, calldata("approve(address,uint256)", spender, UNLIMITED))
            for spender in (*exchanges, *adapters, *newer)
        ),
        *(
            WalletCall(at.conditional_tokens, calldata("setApprovalForAll(address,bool)", operator, True))
            for operator in (*exchanges, *adapters)
        ),
        *(
            WalletCall(at.position_manager, calldata("setApprovalForAll(address,bool)", operator, True))
            for operator in newer
        ),
    )


def _selector(signature: str) -> bytes:
    return keccak(text=signature)[:4]


def calldata(signature: str, *values: object) -> bytes:
    """Calldata of a function whose arguments have plain types."""
    types = [one for one in signature[signature.index("(") + 1 : -1].split(",") if one]
    return _selector(signature) + encode(types, values)


def _integer(word: bytes) -> int:
    return int.from_bytes(word, "big")
