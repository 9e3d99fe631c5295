"""Contract calls that turn collateral into pairs, pairs into collateral, and a resolved market into money.

A market's generation decides the route. First generation ("v1"): a collateral adapter, which takes and pays
pUSD while the conditional tokens inside hold USDC.e (neg-risk markets: wrapped collateral, by an adapter of
their own with the same functions). Second generation ("v2"): the Router, with explicit amounts per outcome.
Nothing here reads, signs or sends. The bytes equal those of the official client (`polymarket-client` 0.14).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from invmm._ext.eip712 import keccak256
from invmm.errors import DataError
from invmm.types import MICRO
from invmm.venue.positions import position_ids_v1, position_ids_v2
from invmm.venue.profile import CONTRACTS, POLYGON, Contracts

UNLIMITED: Final = (1 << 256) - 1
"""The allowance that contracts of this kind never count down."""

_INDEX_SETS: Final = (1, 2)
"""Outcome 0 (Up) and 1 (Down) as bit masks; together they partition a binary condition."""


def selector(signature: str) -> bytes:
    """First four bytes of the hash of a function's signature: `merge(bytes31,uint256)`."""
    return keccak256(signature.encode())[:4]


def word(value: int) -> bytes:
    """An unsigned number as an ABI word; ValueError outside 0 to 2^256 - 1."""
    if not 0 <= value <= UNLIMITED:
        raise ValueError(f"expected 0 to 2^256 - 1, found {value}")
    return value.to_bytes(32, "big")


def address_word(address: str) -> bytes:
    """An address as an ABI word; ValueError for anything but 0x and 40 hexadecimal digits."""
    if len(address) != 42 or address[:2] != "0x":
        raise ValueError(f"expected 0x and 40 hexadecimal digits, found {address!r}")
    return bytes(12) + bytes.fromhex(address[2:])


@dataclass(frozen=True, slots=True)
class Call:
    """One contract call, to be made by the wallet that owns what it moves.

    Attributes
    ----------
    to : str
        Contract, with its checksum.
    data : bytes
        Selector and ABI-encoded arguments.
    value : int
        wei sent along; always 0 here.
    what : str
        Words for people.
    """

    to: str
    data: bytes
    value: int = 0
    what: str = ""


class Standard(StrEnum):
    """What kind of right a contract can be given."""

    ERC20 = "ERC20"
    ERC1155 = "ERC1155"


@dataclass(frozen=True, slots=True)
class Approval:
    """A right that a wallet gives a contract: to take so much of an ERC-20, or all of an ERC-1155 contract.

    Attributes
    ----------
    standard : Standard
        ERC-20 rights have an amount, ERC-1155 rights have none: they cover every token there.
    token : str
        The contract whose tokens may be taken.
    spender : str
        Who may take them.
    what : str
        What it is for, in words.
    """

    standard: Standard
    token: str
    spender: str
    what: str

    def give(self, amount_micro: int = UNLIMITED) -> Call:
        """The call that gives it. `amount_micro` replaces what an ERC-20 allowance was; 0 takes it back."""
        if self.standard is Standard.ERC20:
            data = selector("approve(address,uint256)") + address_word(self.spender) + word(amount_micro)
            how_much = "unlimited" if amount_micro == UNLIMITED else f"{amount_micro / MICRO:.6f} dollars"
        else:
            data = selector("setApprovalForAll(address,bool)")
            data += address_word(self.spender) + word(bool(amount_micro))
            how_much = "every token" if amount_micro else "none"
        return Call(self.token, data, what=f"approve {self.what}: {how_much}")

    def question(self, owner: str) -> Call:
        """The read-only call whose answer, one word, is the allowance (ERC-20) or 0 or 1 (ERC-1155)."""
        name = "allowance" if self.standard is Standard.ERC20 else "isApprovedForAll"
        data = selector(f"{name}(address,address)") + address_word(owner) + address_word(self.spender)
        return Call(self.token, data, what=f"read {self.what}")


class Route(ABC):
    """How pairs of one kind of market are split, merged and redeemed.

    Attributes
    ----------
    target : str
        The contract that is called.
    token_contract : str
        The ERC-1155 contract that holds the outcome tokens.
    approvals : tuple of Approval
        What the wallet must have approved: collateral for a split, outcome tokens for merge and redeem.
    """

    target: str
    token_contract: str
    approvals: tuple[Approval, ...]

    @abstractmethod
    def split(self, condition_id: str, amount_micro: int) -> Call:
        """`amount_micro` micro-dollars into as many micro-shares of each outcome."""

    @abstractmethod
    def merge(self, condition_id: str, amount_micro: int) -> Call:
        """`amount_micro` micro-shares of each outcome into as many micro-dollars."""

    @abstractmethod
    def redeem(self, condition_id: str, up_micro: int, down_micro: int) -> tuple[Call, ...]:
        """What is held of a resolved condition into what it pays; no call for nothing."""


class AdapterRoute(Route):
    """First generation, by a collateral adapter.

    Neg-risk markets have an adapter of their own; its functions are the same. The function that takes
    amounts per outcome, `redeemPositions(bytes32,uint256[])`, is that of the contract behind it, which the
    venue's relayer has refused since July 2026 and the official client does not call.
    """

    def __init__(self, contracts: Contracts, neg_risk: bool) -> None:
        name = "neg-risk collateral adapter" if neg_risk else "collateral adapter"
        self.target = contracts.collateral_adapter_neg_risk if neg_risk else contracts.collateral_adapter
        self.token_contract = contracts.conditional_tokens
        self._collateral = contracts.collateral
        self.approvals = (
            Approval(Standard.ERC20, contracts.collateral, self.target, f"pUSD for the {name} (split)"),
            Approval(
                Standard.ERC1155,
                contracts.conditional_tokens,
                self.target,
                f"conditional tokens for the {name} (merge, redeem)",
            ),
        )

    def split(self, condition_id: str, amount_micro: int) -> Call:
        """See `Route`; on the adapter it takes pUSD."""
        what = f"split {_shares(amount_micro)} dollars into pairs of {condition_id}"
        return self._call("splitPosition", condition_id, amount_micro, what)

    def merge(self, condition_id: str, amount_micro: int) -> Call:
        """See `Route`; the adapter pays pUSD."""
        what = f"merge {_shares(amount_micro)} pairs of {condition_id}"
        return self._call("mergePositions", condition_id, amount_micro, what)

    def redeem(self, condition_id: str, up_micro: int, down_micro: int) -> tuple[Call, ...]:
        """One call, which burns the wallet's whole balance of both outcomes, whatever the amounts say."""
        if not _held(up_micro, down_micro):
            return ()
        what = f"redeem {_shares(up_micro)} Up and {_shares(down_micro)} Down of {condition_id}"
        return (self._call("redeemPositions", condition_id, None, what),)

    def _call(self, name: str, condition_id: str, amount_micro: int | None, what: str) -> Call:
        """`name(collateral, no parent, condition, index sets[, amount])`, as the conditional tokens do."""
        amount = b"" if amount_micro is None else word(_positive(amount_micro))
        more = "" if amount_micro is None else ",uint256"
        index_sets = b"".join(map(word, _INDEX_SETS))
        data = (
            selector(f"{name}(address,bytes32,bytes32,uint256[]{more})")
            + address_word(self._collateral)
            + bytes(32)
            + _bytes_of(condition_id, 32)
            + word(4 * 32 + len(amount))  # where the array begins, after all that has a fixed place
            + amount
            + word(len(_INDEX_SETS))
            + index_sets
        )
        return Call(self.target, data, what=what)


class RouterRoute(Route):
    """Second generation, by the Router. Redeems one outcome per call, an amount each."""

    def __init__(self, contracts: Contracts) -> None:
        self.target = contracts.router
        self.token_contract = contracts.position_manager
        self.approvals = (
            Approval(Standard.ERC20, contracts.collateral, self.target, "pUSD for the Router (split)"),
            Approval(
                Standard.ERC1155,
                contracts.position_manager,
                self.target,
                "positions for the Router (merge, redeem)",
            ),
        )

    def split(self, condition_id: str, amount_micro: int) -> Call:
        """See `Route`."""
        data = (
            selector("split(bytes31,uint256)") + _condition_v2(condition_id) + word(_positive(amount_micro))
        )
        what = f"split {_shares(amount_micro)} dollars into pairs of {condition_id}"
        return Call(self.target, data, what=what)

    def merge(self, condition_id: str, amount_micro: int) -> Call:
        """See `Route`."""
        data = (
            selector("merge(bytes31,uint256)") + _condition_v2(condition_id) + word(_positive(amount_micro))
        )
        return Call(self.target, data, what=f"merge {_shares(amount_micro)} pairs of {condition_id}")

    def redeem(self, condition_id: str, up_micro: int, down_micro: int) -> tuple[Call, ...]:
        """A call per outcome that is held."""
        _held(up_micro, down_micro)
        head = selector("redeem(bytes31,uint256,uint256)") + _condition_v2(condition_id)
        return tuple(
            Call(
                self.target,
                head + word(outcome) + word(amount),
                what=f"redeem {_shares(amount)} {name} of {condition_id}",
            )
            for outcome, (name, amount) in enumerate((("Up", up_micro), ("Down", down_micro)))
            if amount
        )


def route_of(version: str, neg_risk: bool, chain_id: int = POLYGON) -> Route:
    """The route of a market, from the venue's own market data.

    Parameters
    ----------
    version
        The market's `version`: "v1" or "v2".
    neg_risk
        The market's neg-risk flag; the second generation has one route for both.
    chain_id
        137 (Polygon).

    Raises
    ------
    ValueError
        A version that is missing or unknown, or a chain on which the contracts are not known: nothing may be
        sent to a guessed address.
    """
    contracts = CONTRACTS.get(chain_id)
    if contracts is None or not contracts.collateral:
        raise ValueError(f"chain id: expected one with known settlement contracts, found {chain_id!r}")
    if version == "v1":
        return AdapterRoute(contracts, neg_risk)
    if version == "v2":
        return RouterRoute(contracts)
    raise ValueError(f"market version: expected 'v1' or 'v2', found {version!r}; nothing can be settled")


def check_tokens(
    condition_id: str,
    version: str,
    up_token: str,
    down_token: str,
    chain_id: int = POLYGON,
    *,
    neg_risk: bool = False,
) -> None:
    """Computes both outcomes' ids from the condition and compares; nothing is asked.

    Parameters
    ----------
    condition_id
        0x and 64 hexadecimal digits ("v2": the last two are zero).
    version
        "v1" or "v2".
    up_token, down_token
        Decimal ids as the venue lists them, Up first.
    chain_id
        137 (Polygon).
    neg_risk
        The market's flag: ids of the first generation derive from wrapped collateral then, else from USDC.e.

    Raises
    ------
    DataError
        An id is not the one computed, or nothing can be computed from what is given.
    """
    try:
        route_of(version, neg_risk, chain_id)
        if version == "v2":
            expected = position_ids_v2(condition_id)
        else:
            contracts = CONTRACTS[chain_id]
            inner = contracts.wrapped_collateral if neg_risk else contracts.bridged_collateral
            expected = position_ids_v1(condition_id, inner)
    except ValueError as error:
        raise DataError(f"tokens of condition {condition_id!r}: {error}") from None
    for name, listed, computed in zip(("Up", "Down"), (up_token, down_token), expected, strict=True):
        if listed != computed:
            raise DataError(
                f"condition {condition_id} ({version}): expected {name} token {computed}, found {listed}"
            )


def _condition_v2(condition_id: str) -> bytes:
    """The 31 bytes of a second-generation condition, padded to a word on the right.

    Taken as the contracts have it (31 bytes) and as the CLOB spells it (one zero byte more).
    """
    if len(condition_id) == 66 and condition_id.endswith("00"):
        condition_id = condition_id[:-2]
    return _bytes_of(condition_id, 31) + b"\0"


def _bytes_of(text: str, size: int) -> bytes:
    if len(text) == 2 + 2 * size and text[:2] in ("0x", "0X"):
        try:
            return bytes.fromhex(text[2:])
        except ValueError:
            pass
    raise ValueError(f"condition id: expected 0x and {2 * size} hexadecimal digits, found {text!r}")


def _positive(amount_micro: int) -> int:
    if amount_micro <= 0:
        raise ValueError(f"amount: expected more than 0 micro-shares, found {amount_micro}")
    return amount_micro


def _held(up_micro: int, down_micro: int) -> bool:
    if up_micro < 0 or down_micro < 0:
        raise ValueError(f"held: expected 0 micro-shares or more, found {up_micro} Up, {down_micro} Down")
    return bool(up_micro or down_micro)


def _shares(amount_micro: int) -> str:
    """Whole and micro parts, as exact as the number: "25", "0.000001"."""
    whole, part = divmod(amount_micro, MICRO)
    return f"{whole}.{part:06d}".rstrip("0").rstrip(".")
