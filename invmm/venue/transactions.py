"""Which transactions a key of ours may sign, and their bytes (EIP-1559, RLP). Pure.

The signer asks here before each signature, so that a program that goes wrong, or one that was talked into
something, can split, merge, redeem, and give the venue's own contracts the rights for that. It cannot send
collateral, tokens or POL to anybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from invmm._ext.eip712 import checksum_address, keccak256
from invmm.venue.profile import CONTRACTS, Contracts

TYPE: Final = b"\x02"
"""First byte of a transaction with a fee cap and a tip."""

_NUMBERS: Final = ("nonce", "gas", "maxFeePerGas", "maxPriorityFeePerGas")
_FIELDS: Final = frozenset({*_NUMBERS, "type", "chainId", "to", "value", "data", "accessList", "from"})
_ADAPTER: Final = (
    "splitPosition(address,bytes32,bytes32,uint256[],uint256)",
    "mergePositions(address,bytes32,bytes32,uint256[],uint256)",
    "redeemPositions(address,bytes32,bytes32,uint256[])",
)
_ROUTER: Final = ("split(bytes31,uint256)", "merge(bytes31,uint256)", "redeem(bytes31,uint256,uint256)")
_APPROVE: Final = "approve(address,uint256)"
_APPROVE_ALL: Final = "setApprovalForAll(address,bool)"

Rlp = bytes | Sequence["Rlp"]


def signable(transaction: Mapping[str, Any], chain_id: int) -> list[Rlp]:
    """The fields of a transaction in their order, if it may be signed.

    Parameters
    ----------
    transaction
        As web3 and eth-account spell it: `chainId`, `nonce`, `to`, `data` (bytes), `gas`, `maxFeePerGas`,
        `maxPriorityFeePerGas`, `value` (0).
    chain_id
        The only chain that the key signs for.

    Raises
    ------
    ValueError
        A field is missing, unknown or out of range; another chain; or a call that is not a split, merge,
        redemption or approval of the venue's contracts among themselves. The text says which.
    """
    unknown = sorted(set(transaction) - _FIELDS)
    if unknown:
        raise ValueError(f"transaction: expected fields of {sorted(_FIELDS)}, found {unknown}")
    if transaction.get("type", 2) not in (2, "0x2") or transaction.get("accessList"):
        raise ValueError("transaction: expected type 2 without an access list")
    if transaction.get("chainId") != chain_id:
        raise ValueError(f"transaction: expected chain {chain_id}, found {transaction.get('chainId')!r}")
    if transaction.get("value", 0) != 0:
        raise ValueError(f"transaction: expected to send no POL, found {transaction.get('value')!r} wei")
    numbers = {
        name: transaction.get(name) for name in ("nonce", "gas", "maxFeePerGas", "maxPriorityFeePerGas")
    }
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 256:
            raise ValueError(f"transaction: {name}: expected a number, found {value!r}")
    target, data = transaction.get("to"), transaction.get("data")
    if not isinstance(target, str) or not isinstance(data, bytes):
        raise ValueError("transaction: expected an address in `to` and bytes in `data`")
    check_call(checksum_address(target), data, chain_id)
    return [
        _number(chain_id),
        _number(transaction["nonce"]),
        _number(transaction["maxPriorityFeePerGas"]),
        _number(transaction["maxFeePerGas"]),
        _number(transaction["gas"]),
        bytes.fromhex(target[2:]),
        b"",
        data,
        [],
    ]


def encoded(fields: Rlp) -> bytes:
    """Recursive length prefix encoding (Ethereum yellow paper, appendix B)."""
    if isinstance(fields, bytes):
        if len(fields) == 1 and fields[0] < 0x80:
            return fields
        return _prefix(0x80, len(fields)) + fields
    content = b"".join(map(encoded, fields))
    return _prefix(0xC0, len(content)) + content


def signed(fields: Sequence[Rlp], signature: bytes) -> bytes:
    """A transaction's bytes with its signature: 65 bytes r, s, v with v 27 or 28."""
    parity = signature[64] - 27
    r, s = (signature[start : start + 32].lstrip(b"\0") for start in (0, 32))
    return TYPE + encoded([*fields, _number(parity), r, s])


def check_call(target: str, data: bytes, chain_id: int) -> None:
    """ValueError for a call that is none of those that settlement makes; `target` with its checksum."""
    contracts = CONTRACTS[chain_id]
    name = _allowed(contracts).get((target, data[:4]))
    if name is None:
        raise ValueError(f"transaction: the signer does not sign {data[:4].hex() or 'no call'} of {target}")
    if name in (_APPROVE, _APPROVE_ALL):
        spender = checksum_address("0x" + data[16:36].hex())
        if len(data) != 68 or any(data[4:16]) or spender not in _addresses(contracts):
            raise ValueError(
                f"transaction: the signer gives rights to the venue's contracts only, not {spender}"
            )


@cache
def _allowed(contracts: Contracts) -> dict[tuple[str, bytes], str]:
    """Target and selector to the function's signature."""
    by_target = {
        contracts.collateral: (_APPROVE,),
        contracts.conditional_tokens: (_APPROVE_ALL,),
        contracts.position_manager: (_APPROVE_ALL,),
        contracts.collateral_adapter: _ADAPTER,
        contracts.collateral_adapter_neg_risk: _ADAPTER,
        contracts.router: _ROUTER,
    }
    return {
        (target, keccak256(name.encode())[:4]): name
        for target, names in by_target.items()
        if target
        for name in names
    }


@cache
def _addresses(contracts: Contracts) -> frozenset[str]:
    """Contracts that settlement and trading give rights to."""
    return frozenset(
        {
            contracts.exchange_v2,
            contracts.exchange_v2_neg_risk,
            contracts.exchange_v3,
            contracts.collateral_adapter,
            contracts.collateral_adapter_neg_risk,
            contracts.router,
        }
        - {""}
    )


def _number(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _prefix(base: int, size: int) -> bytes:
    if size < 56:
        return bytes([base + size])
    length = _number(size)
    return bytes([base + 55 + len(length)]) + length
