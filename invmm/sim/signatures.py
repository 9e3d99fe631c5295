"""The venue's own check of orders: EIP-712 order id, signature, L2 headers; independent of the signer.

Keccak is written out here on purpose: what the engine signs with its compiled hashing is verified by other
code. It costs 0.33 ms per block in plain Python, so pycryptodome's is used where that package is installed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib
import importlib.util
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from coincurve import PublicKey

_library: Any = importlib.import_module("Crypto.Hash.keccak") if importlib.util.find_spec("Crypto") else None

_MASK = (1 << 64) - 1
# Of lane x + 5y.
# fmt: off
_ROTATION = (
    0, 1, 62, 28, 27,
    36, 44, 6, 55, 20,
    3, 10, 43, 25, 39,
    41, 45, 15, 21, 8,
    18, 2, 61, 56, 14,
)
# fmt: on
_RATE = 136  # bytes absorbed between two permutations of Keccak-256


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
# Lane `to` of a round's rotated state comes from lane `at`, column `at % 5`, rotated left.
_MOVES = sorted(
    (y + 5 * ((2 * x + 3 * y) % 5), x + 5 * y, x, _ROTATION[x + 5 * y], 64 - _ROTATION[x + 5 * y])
    for x in range(5)
    for y in range(5)
)
_FROM = tuple((at, column, left, right) for _, at, column, left, right in _MOVES)
_MIX = tuple((x + 5 * y, (x + 1) % 5 + 5 * y, (x + 2) % 5 + 5 * y) for y in range(5) for x in range(5))


def _permute(a: list[int]) -> list[int]:
    """Keccak-f[1600] on 25 lanes: theta, rho and pi, chi, iota, 24 times."""
    for constant in _CONSTANTS:
        c = [a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20] for x in range(5)]
        d = [c[x - 1] ^ ((c[x - 4] << 1 | c[x - 4] >> 63) & _MASK) for x in range(5)]
        b = [((v := a[at] ^ d[x]) << left | v >> right) & _MASK for at, x, left, right in _FROM]
        a = [b[i] ^ (~b[j] & b[k]) for i, j, k in _MIX]
        a[0] ^= constant
    return a


def keccak(data: bytes) -> bytes:
    """Keccak-256, as Ethereum uses it."""
    if _library is not None:
        digest: bytes = _library.new(digest_bits=32 * 8, data=data).digest()
        return digest
    return plain_keccak(data)


def plain_keccak(data: bytes) -> bytes:
    """Keccak-256 without any library."""
    padded = bytearray(data + b"\x01" + bytes(-(len(data) + 1) % _RATE))
    padded[-1] |= 0x80
    lanes = [0] * 25
    for start in range(0, len(padded), _RATE):
        for index in range(_RATE // 8):
            at = start + 8 * index
            lanes[index] ^= int.from_bytes(padded[at : at + 8], "little")
        lanes = _permute(lanes)
    return b"".join(lane.to_bytes(8, "little") for lane in lanes[:4])


ORDER_TYPE = (
    b"Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,"
    b"uint256 takerAmount,"
    b"uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,bytes32 builder)"
)
_DOMAIN_TYPE = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_WRAPPED_TYPE = (
    b"TypedDataSign(Order contents,string name,string version,uint256 chainId,"
    b"address verifyingContract,bytes32 salt)"
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


@lru_cache(maxsize=16)
def _address_of(public_key: bytes) -> str:
    return "0x" + keccak(public_key[1:])[12:].hex()


def signer_of(order: Mapping[str, Any], version: str = "2", digest: bytes | None = None) -> str:
    """Lower-case address of the key that signed an order; ValueError when the signature is none.

    `digest` saves the second hashing when the order id is known already.
    """
    signature = bytes.fromhex(str(order["signature"]).removeprefix("0x"))
    wrapped = int(order["signatureType"]) == 3
    if len(signature) != (317 if wrapped else 65):
        raise ValueError(f"expected a signature of {317 if wrapped else 65} bytes, got {len(signature)}")
    digest = digest or order_digest(order, version)
    if wrapped:
        tail = (
            domain_separator(version) + contents_hash(order) + ORDER_TYPE + len(ORDER_TYPE).to_bytes(2, "big")
        )
        if signature[65:] != tail:
            raise ValueError("the wrapped signature does not carry this order")
        digest = _wrapped_digest(order, version)
    if signature[64] not in (27, 28):
        raise ValueError(f"expected v of 27 or 28, got {signature[64]}")
    try:
        key = PublicKey.from_signature_and_message(
            signature[:64] + bytes([signature[64] - 27]), digest, hasher=None
        )
    except Exception as error:  # coincurve raises plain Exception for an unrecoverable signature
        raise ValueError(str(error)) from error
    return _address_of(key.format(compressed=False))


def l2_signature(secret: str, timestamp: str, method: str, path: str, body: bytes) -> str:
    """HMAC of a private REST call."""
    key = base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4))
    message = f"{timestamp}{method}{path}".encode() + body
    return base64.urlsafe_b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()
