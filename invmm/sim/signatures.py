"""The venue's own check of orders: EIP-712 order id, signature, L2 headers. Slow, plain, and independent of the signer.

Keccak is written out here on purpose: what the engine signs with its compiled hashing is verified by other code.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from coincurve import PublicKey

_MASK = (1 << 64) - 1
_ROTATION = (
    (0, 36, 3, 41, 18),
    (1, 44, 10, 45, 2),
    (62, 6, 43, 15, 61),
    (28, 55, 25, 21, 56),
    (27, 20, 39, 8, 14),
)


def _round_constants() -> list[int]:
    constants, register = [], 1
    for _ in range(24):
        value = 0
        for power in range(7):
            if register & 1:
                value |= 1 << ((1 << power) - 1)
            register = (register << 1) ^ (0x171 if register & 0x80 else 0)
        constants.append(value)
    return constants


_CONSTANTS = _round_constants()


def _permute(lanes: list[list[int]]) -> list[list[int]]:
    for constant in _CONSTANTS:
        parity = [row[0] ^ row[1] ^ row[2] ^ row[3] ^ row[4] for row in lanes]
        for x in range(5):
            right = parity[(x + 1) % 5]
            mixed = parity[x - 1] ^ ((right << 1 | right >> 63) & _MASK)
            lanes[x] = [lane ^ mixed for lane in lanes[x]]
        moved = [[0] * 5 for _ in range(5)]
        for x in range(5):
            for y in range(5):
                lane, by = lanes[x][y], _ROTATION[x][y]
                moved[y][(2 * x + 3 * y) % 5] = (lane << by | lane >> (64 - by)) & _MASK
        lanes = [[moved[x][y] ^ (~moved[(x + 1) % 5][y] & moved[(x + 2) % 5][y]) for y in range(5)] for x in range(5)]
        lanes[0][0] ^= constant
    return lanes


def keccak(data: bytes) -> bytes:
    """Keccak-256, as Ethereum uses it."""
    rate = 136
    padded = bytearray(data + b"\x01" + bytes(-(len(data) + 1) % rate))
    padded[-1] |= 0x80
    lanes = [[0] * 5 for _ in range(5)]
    for start in range(0, len(padded), rate):
        for index in range(rate // 8):
            word = int.from_bytes(padded[start + 8 * index : start + 8 * index + 8], "little")
            lanes[index % 5][index // 5] ^= word
        lanes = _permute(lanes)
    return b"".join(lanes[index % 5][index // 5].to_bytes(8, "little") for index in range(4))


ORDER_TYPE = (
    b"Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,uint256 takerAmount,"
    b"uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,bytes32 builder)"
)
_DOMAIN_TYPE = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_WRAPPED_TYPE = (
    b"TypedDataSign(Order contents,string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)"
) + ORDER_TYPE
EXCHANGES = {
    "2": "0xE111180000d2663C0091e4f400237545B87B996B",
    "3": "0xe3333700cA9d93003F00f0F71f8515005F6c00Aa",
}


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _address(text: str) -> bytes:
    raw = bytes.fromhex(text.removeprefix("0x"))
    if len(raw) != 20:
        raise ValueError(f"expected an address of 20 bytes, got {text!r}")
    return raw.rjust(32, b"\0")


@lru_cache(maxsize=8)
def _type_hash(text: bytes) -> bytes:
    return keccak(text)


@lru_cache(maxsize=8)
def domain_separator(version: str, chain_id: int = 137) -> bytes:
    """Separator of the exchange that settles markets of this domain version."""
    return keccak(
        _type_hash(_DOMAIN_TYPE)
        + keccak(b"Polymarket CTF Exchange")
        + keccak(version.encode())
        + _word(chain_id)
        + _address(EXCHANGES[version])
    )


def contents_hash(order: Mapping[str, Any]) -> bytes:
    """Struct hash of an order as it is in the JSON body; KeyError or ValueError when it is not one."""
    sides = {"BUY": 0, "SELL": 1}
    fields = (
        _word(int(order["salt"])),
        _address(order["maker"]),
        _address(order["signer"]),
        _word(int(order["tokenId"])),
        _word(int(order["makerAmount"])),
        _word(int(order["takerAmount"])),
        _word(sides[order["side"]]),
        _word(int(order["signatureType"])),
        _word(int(order["timestamp"])),
        bytes.fromhex(order["metadata"].removeprefix("0x")).rjust(32, b"\0"),
        bytes.fromhex(order["builder"].removeprefix("0x")).rjust(32, b"\0"),
    )
    return keccak(_type_hash(ORDER_TYPE) + b"".join(fields))


def order_digest(order: Mapping[str, Any], version: str = "2") -> bytes:
    """The order id: EIP-712 digest under the exchange of that domain version."""
    return keccak(b"\x19\x01" + domain_separator(version) + contents_hash(order))


def _wrapped_digest(order: Mapping[str, Any], version: str) -> bytes:
    """What the owner of a deposit wallet signs (ERC-7739, signature type 3)."""
    inner = keccak(
        _type_hash(_WRAPPED_TYPE)
        + contents_hash(order)
        + _type_hash(b"DepositWallet")
        + _type_hash(b"1")
        + _word(137)
        + _address(order["signer"])
        + bytes(32)
    )
    return keccak(b"\x19\x01" + domain_separator(version) + inner)


def signer_of(order: Mapping[str, Any], version: str = "2") -> str:
    """Lower-case address of the key that signed an order; ValueError when the signature is none."""
    signature = bytes.fromhex(str(order["signature"]).removeprefix("0x"))
    wrapped = int(order["signatureType"]) == 3
    if len(signature) != (317 if wrapped else 65):
        raise ValueError(f"expected a signature of {317 if wrapped else 65} bytes, got {len(signature)}")
    digest = order_digest(order, version)
    if wrapped:
        tail = domain_separator(version) + contents_hash(order) + ORDER_TYPE + len(ORDER_TYPE).to_bytes(2, "big")
        if signature[65:] != tail:
            raise ValueError("the wrapped signature does not carry this order")
        digest = _wrapped_digest(order, version)
    if signature[64] not in (27, 28):
        raise ValueError(f"expected v of 27 or 28, got {signature[64]}")
    try:
        key = PublicKey.from_signature_and_message(signature[:64] + bytes([signature[64] - 27]), digest, hasher=None)
    except Exception as error:  # coincurve raises plain Exception for an unrecoverable signature
        raise ValueError(str(error)) from error
    return "0x" + keccak(key.format(compressed=False)[1:])[12:].hex()


def l2_signature(secret: str, timestamp: str, method: str, path: str, body: bytes) -> str:
    """HMAC of a private REST call (polymarket.md 2.2)."""
    key = base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4))
    message = f"{timestamp}{method}{path}".encode() + body
    return base64.urlsafe_b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()
