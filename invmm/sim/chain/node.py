"""One node of a local chain: py-evm blocks on a pool of waiting transactions, and what can go wrong, by hand.

The EVM is eth-tester's (py-evm, Prague rules), used directly: eth-tester itself runs a transaction when it is
sent, so that nothing could wait, be replaced, be dropped or come back after a reorganisation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from eth.abc import (
    BlockHeaderAPI,
    ComputationAPI,
    ReceiptAPI,
    SignedTransactionAPI,
    StateAPI,
    VirtualMachineAPI,
)
from eth.chains.base import MiningChain
from eth.constants import POST_MERGE_NONCE
from eth.db import get_db_backend
from eth.vm.forks.prague import PragueVM
from eth_abi.abi import decode
from eth_typing import Address, BlockNumber
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from invmm.errors import InvmmError
from invmm.venue.profile import POLYGON

GAS_LIMIT: Final = 30_000_000
"""Of a block, and of a call that names none."""
TIP_WEI: Final = 30_000_000_000
"""Tip per gas that the node recommends; Polygon's usual minimum."""
REPLACEMENT_PERCENT: Final = 10
"""How much more both fees of a replacement must be; what Polygon's own client asks."""
EXTRA_DATA: Final = bytes(97)
"""A Polygon header has its producer's vanity and signature here, more than the 32 bytes of Ethereum."""
_NOBODY: Final = Address(bytes(20))

logging.getLogger("eth").setLevel(logging.WARNING)


class NodeRefusal(InvmmError):
    """The node did not take a transaction; the words are geth's. `code` is JSON-RPC's."""

    code = -32000


class Reverted(InvmmError):
    """A call was undone by the contract. `data`: what it returned; `reason`: its words, or ""."""

    code = 3

    def __init__(self, data: bytes, cause: str) -> None:
        self.data = data
        self.reason = _reason(data)
        super().__init__(
            "execution reverted" + (f": {self.reason}" if self.reason else "" if data else f" ({cause})")
        )


@dataclass(frozen=True, slots=True)
class Account:
    """What genesis has at an address."""

    balance_wei: int = 0
    code: bytes = b""
    storage: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction as it was sent."""

    hash: bytes
    raw: bytes
    sender: Address
    transaction: SignedTransactionAPI
    order: int  # of arrival


@dataclass(frozen=True, slots=True)
class Block:
    """One mined block with its transactions, their receipts and the gas each used."""

    header: BlockHeaderAPI
    sent: tuple[Sent, ...]
    receipts: tuple[ReceiptAPI, ...]
    gas_used: tuple[int, ...]
    base_fee_wei: int


class _Vm(PragueVM):
    """Prague without the checks of headers: all are made here, the base fee by hand, several in a second."""

    @classmethod
    def validate_header(cls, header: BlockHeaderAPI, parent_header: BlockHeaderAPI) -> None:
        """Takes any header."""


class _Chain(MiningChain):
    chain_id = POLYGON
    vm_configuration = ((BlockNumber(0), _Vm),)


class Node:
    """A chain of blocks and a pool. Not locked: whoever shares it between threads locks around it.

    Parameters
    ----------
    genesis
        Accounts by address (20 bytes).
    seconds
        Unix time for block headers.
    base_fee_wei
        Of every block, until `base_fee_wei` is set to something else.
    finality_blocks
        How far the finalized block lags behind the head.

    While `automine` is set, a transaction that can be mined is mined when it is sent, in a block of its own.
    """

    def __init__(
        self,
        genesis: Mapping[bytes, Account],
        *,
        seconds: Callable[[], int],
        base_fee_wei: int = 25_000_000_000,
        finality_blocks: int = 0,
    ) -> None:
        self.base_fee_wei = base_fee_wei
        self.automine = True
        self.finality_blocks = finality_blocks
        self._seconds = seconds
        self._arrived = 0
        self._made = 0
        chain = _Chain.from_genesis(
            get_db_backend(),
            {
                "coinbase": _NOBODY,
                "difficulty": 0,
                "extra_data": b"",
                "gas_limit": GAS_LIMIT,
                "mix_hash": bytes(32),
                "nonce": POST_MERGE_NONCE,
                "timestamp": seconds(),
            },
            {
                Address(address): {
                    "balance": account.balance_wei,
                    "nonce": 1 if account.code else 0,
                    "code": account.code,
                    "storage": dict(account.storage),
                }
                for address, account in genesis.items()
            },
        )
        assert isinstance(chain, MiningChain)
        self._chain = chain
        self._genesis = chain.get_canonical_block_header_by_number(BlockNumber(0))
        self.blocks: list[Block] = [Block(self._genesis, (), (), (), base_fee_wei)]
        self.pool: dict[bytes, Sent] = {}
        self._mined: dict[bytes, tuple[int, int]] = {}
        self._head_state: StateAPI | None = None

    # ---- what is there

    @property
    def head(self) -> int:
        """Number of the newest block."""
        return len(self.blocks) - 1

    @property
    def finalized(self) -> int:
        """Number of the newest block that is final."""
        return max(0, self.head - self.finality_blocks)

    def number(self, tag: str) -> int | None:
        """The block that a JSON-RPC tag or hexadecimal number names; None: not there. Else ValueError."""
        if tag in ("latest", "pending"):
            return self.head
        if tag in ("finalized", "safe"):
            return self.finalized
        if tag == "earliest":
            return 0
        number = int(tag, 16)
        return number if 0 <= number <= self.head else None

    def found(self, transaction: bytes) -> tuple[int, int] | None:
        """Block number and place of a mined transaction."""
        return self._mined.get(transaction)

    def nonce(self, owner: bytes, block: int | None = None) -> int:
        """Transactions of an account that were mined up to a block, by default the head."""
        return self._state(block).get_nonce(Address(owner))

    def pending_nonce(self, owner: bytes) -> int:
        """The next nonce that neither a mined nor a waiting transaction has; a gap ends the count."""
        waiting = {sent.transaction.nonce for sent in self.pool.values() if sent.sender == owner}
        nonce = self.nonce(owner)
        while nonce in waiting:
            nonce += 1
        return nonce

    def balance_wei(self, owner: bytes, block: int | None = None) -> int:
        """Gas money of an account."""
        return self._state(block).get_balance(Address(owner))

    def code(self, owner: bytes, block: int | None = None) -> bytes:
        """Code at an address."""
        return self._state(block).get_code(Address(owner))

    def storage(self, owner: bytes, slot: int, block: int | None = None) -> int:
        """One storage word of a contract."""
        return self._state(block).get_storage(Address(owner), slot)

    # ---- sending

    def send(self, raw: bytes) -> bytes:
        """Takes a signed transaction into the pool and gives its hash. NodeRefusal, in geth's words."""
        try:
            transaction = _Vm.get_transaction_builder().decode(raw)
            transaction.validate()
            sender = transaction.sender
        except Exception as error:  # whatever bytes make a decoder say
            raise NodeRefusal(f"rlp: {type(error).__name__}: {error}") from None
        sent = Sent(transaction.hash, bytes(raw), sender, transaction, self._arrived)
        if transaction.chain_id != POLYGON:
            raise NodeRefusal(f"invalid chain id for signer: have {transaction.chain_id} want {POLYGON}")
        if sent.hash in self.pool or sent.hash in self._mined:
            raise NodeRefusal("already known")
        nonce = self.nonce(sender)
        if transaction.nonce < nonce:
            raise NodeRefusal(f"nonce too low: next nonce {nonce}, tx nonce {transaction.nonce}")
        if transaction.gas > GAS_LIMIT:
            raise NodeRefusal("exceeds block gas limit")
        if transaction.gas < transaction.intrinsic_gas:
            want = transaction.intrinsic_gas
            raise NodeRefusal(f"intrinsic gas too low: have {transaction.gas}, want {want}")
        cost = transaction.gas * transaction.max_fee_per_gas + transaction.value
        balance = self.balance_wei(sender)
        if balance < cost:
            raise NodeRefusal(
                f"insufficient funds for gas * price + value: balance {balance}, tx cost {cost}"
            )
        for other in [one for one in self.pool.values() if one.sender == sender]:
            if other.transaction.nonce == transaction.nonce:
                self._replace(other.transaction, transaction)
                del self.pool[other.hash]
        self._arrived += 1
        self.pool[sent.hash] = sent
        if self.automine and self._next(GAS_LIMIT, {}) is not None:
            self.mine()
        return sent.hash

    def _replace(self, old: SignedTransactionAPI, new: SignedTransactionAPI) -> None:
        for fee in ("max_fee_per_gas", "max_priority_fee_per_gas"):
            if getattr(new, fee) * 100 < getattr(old, fee) * (100 + REPLACEMENT_PERCENT):
                raise NodeRefusal("replacement transaction underpriced")

    def drop(self, transaction: bytes) -> None:
        """Forgets a waiting transaction, as a node with a full pool does. KeyError for one that is not."""
        del self.pool[transaction]

    # ---- blocks

    def mine(self, change: Callable[[VirtualMachineAPI], None] | None = None) -> Block:
        """One block of whatever waits and can be paid: best fee first, each sender in order of nonce.

        `change` happens before them, in the same block, without a transaction; if it raises, there is no
        block.
        """
        parent = self.blocks[-1].header
        chain = self._chain
        self._made += 1
        chain.header = chain.create_header_from_parent(parent).copy(
            timestamp=max(parent.timestamp, self._seconds()),
            base_fee_per_gas=self.base_fee_wei,
            gas_limit=GAS_LIMIT,
            extra_data=EXTRA_DATA,
            mix_hash=keccak(b"invmm block %d" % self._made),
        )
        if change is not None:
            vm = chain.get_vm(chain.header)
            change(vm)
            vm.state.lock_changes()
            vm.state.persist()
            chain.header = chain.header.copy(state_root=vm.state.state_root)
        sent: list[Sent] = []
        receipts: list[ReceiptAPI] = []
        used: list[int] = []
        nonces: dict[Address, int] = {}
        while (one := self._next(GAS_LIMIT - sum(used), nonces)) is not None:
            del self.pool[one.hash]
            before = chain.header.gas_used
            try:
                _, receipt, _ = chain.apply_transaction(one.transaction)
            except ValidationError:  # it cannot be paid any more
                continue
            nonces[one.sender] = one.transaction.nonce + 1
            sent.append(one)
            receipts.append(receipt)
            used.append(chain.header.gas_used - before)
        mined = chain.mine_block(blob_gas_used=0)
        block = Block(mined.header, tuple(sent), tuple(receipts), tuple(used), self.base_fee_wei)
        self.blocks.append(block)
        self._head_state = None
        for place, one in enumerate(sent):
            self._mined[one.hash] = (self.head, place)
        for stale in [one for one in self.pool.values() if one.transaction.nonce < self.nonce(one.sender)]:
            del self.pool[stale.hash]
        return block

    def _next(self, room: int, nonces: dict[Address, int]) -> Sent | None:
        """The waiting transaction to mine next, by tip and arrival. `nonces`: after those in this block."""
        ready = [
            one
            for one in self.pool.values()
            if one.transaction.gas <= room
            and one.transaction.max_fee_per_gas >= self.base_fee_wei
            and one.transaction.nonce == nonces.get(one.sender, self.nonce(one.sender))
        ]
        return min(ready, key=lambda one: (-self._tip_wei(one), one.order), default=None)

    def _tip_wei(self, one: Sent) -> int:
        fees = one.transaction
        return min(fees.max_priority_fee_per_gas, fees.max_fee_per_gas - self.base_fee_wei)

    def price_wei(self, one: Sent, block: Block) -> int:
        """What a mined transaction paid per gas."""
        base = block.base_fee_wei
        return base + min(one.transaction.max_priority_fee_per_gas, one.transaction.max_fee_per_gas - base)

    def act(self, sender: bytes, calls: Sequence[tuple[bytes, bytes]]) -> None:
        """Makes calls (contract, data) in an account's name that it has not signed, in a block of their own:
        all, or none and Reverted.
        """

        def change(vm: VirtualMachineAPI) -> None:
            for to, data in calls:
                self._execute(vm, to, data, sender, 0, GAS_LIMIT)
                vm.state.lock_changes()

        self.mine(change)

    def write(self, place: bytes, slots: Mapping[int, int]) -> None:
        """Writes words into a contract's storage, in a block of their own."""

        def change(vm: VirtualMachineAPI) -> None:
            for slot, value in slots.items():
                vm.state.set_storage(Address(place), slot, value)

        self.mine(change)

    def reorganise(self, depth: int, *, lose: bool = False) -> None:
        """Takes the newest `depth` blocks away; their transactions wait again, or with `lose` are gone.

        The blocks mined next have the numbers of those that were taken away, and other hashes. ValueError for
        more blocks than there are above genesis. Finality does not stop it: the caller asks for what he wants
        to see.
        """
        if not 0 < depth <= self.head:
            raise ValueError(f"depth: expected 1 to {self.head}, found {depth}")
        taken = self.blocks[-depth:]
        del self.blocks[-depth:]
        self._head_state = None
        for block in taken:
            for one in block.sent:
                del self._mined[one.hash]
                if not lose:
                    self.pool[one.hash] = one

    # ---- calls

    def call(
        self,
        to: bytes,
        data: bytes,
        *,
        sender: bytes = _NOBODY,
        value_wei: int = 0,
        gas: int = GAS_LIMIT,
        block: int | None = None,
    ) -> bytes:
        """What a contract would return after a block, by default the head; changes nothing. Reverted."""
        return self._run(to, data, sender, value_wei, gas, block).output

    def estimate(self, to: bytes, data: bytes, *, sender: bytes = _NOBODY, value_wei: int = 0) -> int:
        """Gas that a transaction would need on the head; tried, and enough. Reverted."""
        zeros = data.count(0)
        tokens = zeros + 4 * (len(data) - zeros)
        intrinsic, floor = 21_000 + 4 * tokens, 21_000 + 10 * tokens
        done = self._run(to, data, sender, value_wei, GAS_LIMIT, None)
        room = done.get_gas_used() + 5_000
        while True:  # a call hands on all but a 64th of its gas, so what was used may not be enough
            try:
                self._run(to, data, sender, value_wei, room, None)
            except Reverted:
                room += room // 8
                if room > GAS_LIMIT:
                    raise
            else:
                return max(intrinsic + room, floor)

    def _run(
        self, to: bytes, data: bytes, sender: bytes, value_wei: int, gas: int, block: int | None
    ) -> ComputationAPI:
        return self._execute(self._vm(block), to, data, sender, value_wei, gas)

    def _execute(
        self, vm: VirtualMachineAPI, to: bytes, data: bytes, sender: bytes, value_wei: int, gas: int
    ) -> ComputationAPI:
        target, caller = Address(to), Address(sender)
        if value_wei:
            if vm.state.get_balance(caller) < value_wei:
                raise NodeRefusal("insufficient funds for transfer")
            vm.state.delta_balance(caller, -value_wei)
            vm.state.delta_balance(target, value_wei)
        for address in (target, caller):
            vm.state.mark_address_warm(address)
        done = vm.execute_bytecode(
            origin=caller,
            gas_price=0,
            gas=gas,
            to=target,
            sender=caller,
            value=value_wei,
            data=data,
            code=vm.state.get_code(target),
        )
        if done.is_error:
            raise Reverted(done.output, type(done.error).__name__)
        return done

    def _vm(self, block: int | None) -> VirtualMachineAPI:
        """A machine of its own, to run something on what a block left."""
        number = self.head if block is None else block
        return self._chain.get_vm(self.blocks[number].header)

    def _state(self, block: int | None) -> StateAPI:
        """What a block left, to be read only; the head's is kept, since reading it anew is slow."""
        if block is not None and block != self.head:
            return self._vm(block).state
        if self._head_state is None:
            self._head_state = self._vm(None).state
        return self._head_state


def _reason(data: bytes) -> str:
    """The words of a revert: `Error(string)`, else nothing."""
    if data[:4] != b"\x08\xc3\x79\xa0":
        return ""
    try:
        return str(decode(["string"], data[4:])[0])
    except Exception:  # a contract may return anything
        return ""
