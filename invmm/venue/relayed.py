"""What an account signs so that a relayer may have its wallet make calls: digests, by kind of wallet. Pure.

As with transactions, the signer asks here before each signature, and only what settlement does is signed:
splits, merges, redemptions, and rights of the venue's own contracts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from invmm._ext.eip712 import checksum_address, keccak256
from invmm.venue.profile import CONTRACTS
from invmm.venue.transactions import check_call

PROXY, SAFE, DEPOSIT = 1, 2, 3
"""Kinds of wallet, by the signature type of their orders."""

WalletCall = tuple[str, int, bytes]
"""Target, wei, data."""

_DOMAIN: Final = keccak256(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_SAFE_DOMAIN: Final = keccak256(b"EIP712Domain(uint256 chainId,address verifyingContract)")
_CALL: Final = b"Call(address target,uint256 value,bytes data)"
_BATCH: Final = b"Batch(address wallet,uint256 nonce,uint256 deadline,Call[] calls)" + _CALL
_SAFE_TX: Final = keccak256(
    b"SafeTx(address to,uint256 value,bytes data,uint8 operation,uint256 safeTxGas,uint256 baseGas,"
    b"uint256 gasPrice,address gasToken,address refundReceiver,uint256 nonce)"
)
_SIGNED_WORD: Final = b"\x19Ethereum Signed Message:\n32"
_SAFE_MARK: Final = 4
"""Added to v, it tells a Safe that the digest was signed as a message."""


def signable(
    signature_type: int,
    account: str,
    wallet: str,
    calls: Sequence[WalletCall],
    *,
    nonce: int,
    deadline_s: int = 0,
    relay: str = "",
    gas: int = 0,
    chain_id: int = 137,
) -> tuple[bytes, int]:
    """The 32 bytes to sign and what to add to the signature's v, if this may be signed.

    Parameters
    ----------
    signature_type
        1 proxy, 2 Safe, 3 deposit wallet.
    account, wallet
        Who signs, and whose calls they are.
    calls
        To be made together, in order.
    nonce
        0 to 2^256 - 1.
    deadline_s
        Unix seconds; of a deposit wallet.
    relay, gas
        The relay's address and the gas limit; of a proxy.

    Raises
    ------
    ValueError
        No calls, one that settlement never makes or that sends POL, a number out of range, or a wallet of
        another type.
    """
    if not calls:
        raise ValueError("calls: expected one or more, found none")
    for target, wei, data in calls:
        if wei:
            raise ValueError(f"calls: expected to send no POL, found {wei} wei")
        check_call(checksum_address(target), data, chain_id)
    contracts = CONTRACTS[chain_id]
    if signature_type == DEPOSIT:
        rows = b"".join(
            keccak256(keccak256(_CALL) + _address(target) + _word(wei) + keccak256(data))
            for target, wei, data in calls
        )
        content = keccak256(
            keccak256(_BATCH) + _address(wallet) + _word(nonce) + _word(deadline_s) + keccak256(rows)
        )
        names = keccak256(b"DepositWallet") + keccak256(b"1")
        domain = keccak256(_DOMAIN + names + _word(chain_id) + _address(wallet))
        return keccak256(b"\x19\x01" + domain + content), 0
    if signature_type == SAFE:
        one = len(calls) == 1
        target, data = (calls[0][0], calls[0][2]) if one else (contracts.safe_multisend, multisend(calls))
        fields = (
            _address(target)
            + _word(0)
            + keccak256(data)
            + _word(0 if one else 1)
            + bytes(5 * 32)
            + _word(nonce)
        )
        domain = keccak256(_SAFE_DOMAIN + _word(chain_id) + _address(wallet))
        digest = keccak256(b"\x19\x01" + domain + keccak256(_SAFE_TX + fields))
        return keccak256(_SIGNED_WORD + digest), _SAFE_MARK
    if signature_type == PROXY:
        packed = (
            b"rlx:"
            + _address(account)[12:]
            + _address(contracts.proxy_factory)[12:]
            + proxied(calls)
            + bytes(2 * 32)  # the relayer's fee and the gas price
            + _word(gas)
            + _word(nonce)
            + _address(contracts.relay_hub)[12:]
            + _address(relay)[12:]
        )
        return keccak256(_SIGNED_WORD + keccak256(packed)), 0
    raise ValueError(f"signature type: expected 1, 2 or 3 for a relayer, found {signature_type}")


def multisend(calls: Sequence[WalletCall]) -> bytes:
    """`multiSend(bytes)` of calls: operation 0, target, wei, size and data of each, packed."""
    packed = b"".join(
        b"\0" + _address(target)[12:] + _word(wei) + _word(len(data)) + data for target, wei, data in calls
    )
    return keccak256(b"multiSend(bytes)")[:4] + _word(32) + _bytes(packed)


def proxied(calls: Sequence[WalletCall]) -> bytes:
    """`proxy((uint8,address,uint256,bytes)[])` of calls, each of type 1 (call)."""
    rows = [
        _word(1) + _address(target) + _word(wei) + _word(4 * 32) + _bytes(data) for target, wei, data in calls
    ]
    places, offset = b"", 32 * len(rows)
    for row in rows:
        places += _word(offset)
        offset += len(row)
    head = keccak256(b"proxy((uint8,address,uint256,bytes)[])")[:4]
    return head + _word(32) + _word(len(rows)) + places + b"".join(rows)


def _bytes(content: bytes) -> bytes:
    """Length and content, filled up to whole words."""
    return _word(len(content)) + content + bytes(-len(content) % 32)


def _address(address: str) -> bytes:
    return bytes(12) + bytes.fromhex(checksum_address(address)[2:])


def _word(value: int) -> bytes:
    if isinstance(value, bool) or not 0 <= value < 1 << 256:
        raise ValueError(f"expected 0 to 2^256 - 1, found {value!r}")
    return value.to_bytes(32, "big")
