"""What the venue checks cryptographically: orders, logins and private requests.

Nothing here is shared with the engine's signer: what is no plain number is encoded by eth-abi, domains and
logins hashed and signatures recovered by eth-account, and the contracts' addresses are spelled a second time,
so that an error on either side shows as a refused order.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data
from eth_utils.crypto import keccak

CHAIN_ID: Final = 137
ORDER_TYPE: Final = (
    "Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,uint256 takerAmount,"
    "uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,bytes32 builder)"
)
OLD_ORDER_TYPE: Final = (
    "Order(uint256 salt,address maker,address signer,address taker,uint256 tokenId,uint256 makerAmount,"
    "uint256 takerAmount,uint256 expiration,uint256 nonce,uint256 feeRateBps,uint8 side,uint8 signatureType)"
)
_WRAPPED_TYPE: Final = (
    "TypedDataSign(Order contents,string name,string version,uint256 chainId,"
    "address verifyingContract,bytes32 salt)" + ORDER_TYPE
)
_WRAPPED_HASH: Final = keccak(text=_WRAPPED_TYPE)
_WALLET_DOMAIN: Final = (keccak(text="DepositWallet"), keccak(text="1"))
_AUTH_TYPES: Final = {
    "ClobAuth": [
        {"name": "address", "type": "address"},
        {"name": "timestamp", "type": "string"},
        {"name": "nonce", "type": "uint256"},
        {"name": "message", "type": "string"},
    ]
}
_AUTH_MESSAGE: Final = "This message attests that I control the given wallet"
EXCHANGES: Final = {
    "v2": "0xE111180000d2663C0091e4f400237545B87B996B",
    "v2-neg-risk": "0xe2222d279d744050d28e00520010520000310F59",
    "v3": "0xe3333700cA9d93003F00f0F71f8515005F6c00Aa",
}
"""Contracts that settle live markets, by the name of the generation."""
OLD_EXCHANGES: Final = {
    "v1": "0x4bFb41d5B3570DeFd03C39a9A4D8dE6Bd8B8982E",
    "v1-neg-risk": "0xC5d563A36AE78145C45a50134d48A1215220f80a",
}
"""The first generation's, which take no orders any more."""
_DOMAIN_VERSIONS: Final = {"v1": "1", "v2": "2", "v3": "3"}
_SIDES: Final = {"BUY": 0, "SELL": 1}
_WALLET_TYPE: Final = 3  # a deposit wallet, whose signature is wrapped (ERC-7739)
# s of a signature beyond this has a twin below it; contracts take the lower one only (EIP-2).
_HALF_ORDER: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


class MalformedError(ValueError):
    """A field of an order is missing or not what its type asks for."""


class SignatureError(ValueError):
    """A signature is none, or not over what it came with."""


@dataclass(frozen=True, slots=True)
class _Struct:
    """A signed struct: hash of its type and its fields in order."""

    type_hash: bytes
    names: tuple[str, ...]
    kinds: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> _Struct:
        """From the type's text, such as `Order(uint256 salt,…)`."""
        fields = [field.split(" ") for field in text[text.index("(") + 1 : text.index(")")].split(",")]
        return cls(keccak(text=text), tuple(name for _, name in fields), tuple(kind for kind, _ in fields))

    def hash(self, values: Mapping[str, Any]) -> bytes:
        """The struct hash of values as they stand in JSON; MalformedError names the field that is wrong."""
        plain = [_value(name, kind, values) for name, kind in zip(self.names, self.kinds, strict=True)]
        try:
            return keccak(self.type_hash + b"".join(map(_word, self.kinds, plain)))
        except Exception as error:  # a number of too many bits, or eth-abi names the value and its type
            raise MalformedError(str(error)) from error


def _word(kind: str, value: Any) -> bytes:
    """A field, 32 bytes as all types above take."""
    return value.to_bytes(32) if kind == "uint256" else _encoded(kind, value)


@lru_cache(maxsize=1 << 8)  # addresses, flags: few are new
def _encoded(kind: str, value: Any) -> bytes:
    return encode((kind,), (value,))


_ORDER: Final = _Struct.of(ORDER_TYPE)
_OLD_ORDER: Final = _Struct.of(OLD_ORDER_TYPE)
# These two travel as JSON numbers, the other integers as decimal text.
_NUMBERS: Final = ("salt", "signatureType")


def _value(name: str, kind: str, values: Mapping[str, Any]) -> Any:
    raw = values.get(name)
    if name == "side":
        if raw not in _SIDES:
            raise MalformedError(f"side: expected BUY or SELL, got {raw!r}")
        return _SIDES[raw]
    if name in _NUMBERS:
        if type(raw) is not int or not 0 <= raw < 1 << 53:
            raise MalformedError(f"{name}: expected a JSON integer below 2^53, got {raw!r}")
        return raw
    if not isinstance(raw, str):
        raise MalformedError(f"{name}: expected text, got {raw!r}")
    if kind.startswith("uint"):
        if not (raw.isascii() and raw.isdecimal()):
            raise MalformedError(f"{name}: expected decimal digits, got {raw!r}")
        return int(raw)
    if kind == "bytes32":
        try:
            if len(raw) != 66 or not raw.startswith("0x"):
                raise ValueError
            return bytes.fromhex(raw[2:])
        except ValueError:
            raise MalformedError(f"{name}: expected 32 bytes in hex, got {raw!r}") from None
    return raw


def is_old(order: Mapping[str, Any]) -> bool:
    """Whether an order has the struct of the first generation, which no live exchange knows."""
    return "timestamp" not in order and {"taker", "nonce", "feeRateBps"} <= order.keys()


@lru_cache(maxsize=16)
def domain_separator(exchange: str = "v2", chain_id: int = CHAIN_ID) -> bytes:
    """Domain separator of an exchange; KeyError when there is no exchange of that name."""
    contract = (EXCHANGES | OLD_EXCHANGES)[exchange]
    domain = {
        "name": "Polymarket CTF Exchange",
        "version": _DOMAIN_VERSIONS[exchange[:2]],
        "chainId": chain_id,
        "verifyingContract": contract,
    }
    # The separator does not depend on the message, which must merely be one.
    return bytes(encode_typed_data(domain, {"Empty": []}, {}).header)


def contents_hash(order: Mapping[str, Any]) -> bytes:
    """Struct hash of an order as it is in the JSON body, of either struct; MalformedError when it is none."""
    return (_OLD_ORDER if is_old(order) else _ORDER).hash(order)


def order_digest(order: Mapping[str, Any], exchange: str = "v2", contents: bytes | None = None) -> bytes:
    """The order id: EIP-712 digest under an exchange's domain. `contents` is the struct hash if known."""
    return keccak(b"\x19\x01" + domain_separator(exchange) + (contents or contents_hash(order)))


def _wrapped(order: Mapping[str, Any], contents: bytes) -> bytes:
    """Struct hash of what the owner of a deposit wallet signs around an order (ERC-7739)."""
    return keccak(
        encode(
            ("bytes32", "bytes32", "bytes32", "bytes32", "uint256", "address", "bytes32"),
            (
                _WRAPPED_HASH,
                contents,
                *_WALLET_DOMAIN,
                CHAIN_ID,
                order["signer"],
                bytes(32),
            ),
        )
    )


def signer_of(order: Mapping[str, Any], exchange: str = "v2", contents: bytes | None = None) -> str:
    """Checksummed address of the key that signed an order for an exchange.

    A deposit wallet's signature carries the domain, the contents hash and the type's text behind the key's
    65 bytes; all three must be those of this order. MalformedError, or SignatureError for what is no
    signature or not this order's.
    """
    contents = contents or contents_hash(order)
    body = contents
    raw = _bytes_of(order.get("signature"))
    if order["signatureType"] == _WALLET_TYPE:
        text = ORDER_TYPE.encode()
        tail = domain_separator(exchange) + contents + text + len(text).to_bytes(2, "big")
        if raw[65:] != tail:
            raise SignatureError("the wrapped signature does not carry this order")
        raw, body = raw[:65], _wrapped(order, contents)
    return _recover(SignableMessage(b"\x01", domain_separator(exchange), body), raw)


def login_signer(address: str, timestamp: str, nonce: int, signature: str, chain_id: int = CHAIN_ID) -> str:
    """Checksummed address of the key that signed a login (ClobAuth) for `address`; SignatureError."""
    domain = {"name": "ClobAuthDomain", "version": "1", "chainId": chain_id}
    message = {"address": address, "timestamp": timestamp, "nonce": nonce, "message": _AUTH_MESSAGE}
    try:
        signable = encode_typed_data(domain, _AUTH_TYPES, message)
    except Exception as error:  # eth-abi names the value and its type
        raise SignatureError(str(error)) from error
    return _recover(signable, _bytes_of(signature))


def _bytes_of(signature: Any) -> bytes:
    if not isinstance(signature, str) or not signature.startswith("0x"):
        raise SignatureError("expected a signature in hex")
    try:
        return bytes.fromhex(signature[2:])
    except ValueError:
        raise SignatureError("expected a signature in hex") from None


def _recover(message: SignableMessage, signature: bytes) -> str:
    if len(signature) != 65:
        raise SignatureError(f"expected a signature of 65 bytes, got {len(signature)}")
    if signature[64] not in (27, 28):
        raise SignatureError(f"expected v of 27 or 28, got {signature[64]}")
    if int.from_bytes(signature[32:64], "big") > _HALF_ORDER:
        raise SignatureError("expected the lower s of a signature")
    try:
        return str(Account.recover_message(message, signature=signature))
    except Exception as error:  # eth-keys' own kinds, for a point that is none
        raise SignatureError(str(error)) from error


def l2_signature(secret: str, timestamp: str, method: str, path: str, body: bytes) -> str:
    """HMAC of a private REST call."""
    key = base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4))
    message = f"{timestamp}{method}{path}".encode() + body
    return base64.urlsafe_b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()
