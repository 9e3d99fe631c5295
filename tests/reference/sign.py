"""Order arithmetic, hashing and request authentication in plain Python: slow, obvious, from published rules.

Shares no code with `invmm._ext`; ECDSA is coincurve's own Python interface, HMAC the standard library's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, Decimal, localcontext

import coincurve

MASK = (1 << 64) - 1
ORDER = (
    "Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,uint256 takerAmount,"
    "uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,bytes32 builder)"
)
DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
WRAPPER = (
    "TypedDataSign(Order contents,string name,string version,uint256 chainId,"
    "address verifyingContract,bytes32 salt)"
)
AMOUNT_DECIMALS = {1000: 3, 100: 4, 50: 5, 25: 6, 10: 5, 1: 6}
MARKET_DECIMALS_CAP = 4
"""What the server accepts, whatever the table of the client says."""


def rotate(value: int, count: int) -> int:
    return ((value << count) | (value >> (64 - count))) & MASK if count else value


def permute(lanes: list[list[int]]) -> list[list[int]]:
    register = 1
    for _ in range(24):
        parity = [lanes[x][0] ^ lanes[x][1] ^ lanes[x][2] ^ lanes[x][3] ^ lanes[x][4] for x in range(5)]
        mixed = [parity[(x + 4) % 5] ^ rotate(parity[(x + 1) % 5], 1) for x in range(5)]
        lanes = [[lanes[x][y] ^ mixed[x] for y in range(5)] for x in range(5)]
        x, y, current = 1, 0, lanes[1][0]
        for step in range(24):
            x, y = y, (2 * x + 3 * y) % 5
            current, lanes[x][y] = lanes[x][y], rotate(current, (step + 1) * (step + 2) // 2 % 64)
        for y in range(5):
            row = [lanes[x][y] for x in range(5)]
            for x in range(5):
                lanes[x][y] = row[x] ^ (~row[(x + 1) % 5] & MASK & row[(x + 2) % 5])
        for bit in range(7):
            register = ((register << 1) ^ ((register >> 7) * 0x171)) & 0xFF
            if register & 2:
                lanes[0][0] ^= 1 << ((1 << bit) - 1)
    return lanes


def keccak(data: bytes) -> bytes:
    lanes = [[0] * 5 for _ in range(5)]
    padded = bytearray(data + b"\x01" + bytes(-(len(data) + 1) % 136))
    padded[-1] |= 0x80
    for start in range(0, len(padded), 136):
        for index in range(17):
            word = int.from_bytes(padded[start + 8 * index : start + 8 * index + 8], "little")
            lanes[index % 5][index // 5] ^= word
        lanes = permute(lanes)
    return b"".join(lanes[index % 5][index // 5].to_bytes(8, "little") for index in range(4))


def word(value: int | str) -> bytes:
    """A uint256, or an address or bytes32 in hex."""
    number = int(value, 16) if isinstance(value, str) else value
    return number.to_bytes(32, "big")


def text_hash(text: str) -> bytes:
    return keccak(text.encode())


@dataclass
class Order:
    salt: int
    maker: str
    signer: str
    token_id: int
    maker_amount: int
    taker_amount: int
    side: int
    signature_type: int
    timestamp_ms: int
    metadata: str = "0x" + "00" * 32
    builder: str = "0x" + "00" * 32


def struct_hash(order: Order) -> bytes:
    values: list[int | str] = [
        order.salt,
        order.maker,
        order.signer,
        order.token_id,
        order.maker_amount,
        order.taker_amount,
        order.side,
        order.signature_type,
        order.timestamp_ms,
        order.metadata,
        order.builder,
    ]
    return keccak(text_hash(ORDER) + b"".join(word(value) for value in values))


def separator(version: str, contract: str, chain_id: int = 137) -> bytes:
    return keccak(
        text_hash(DOMAIN)
        + text_hash("Polymarket CTF Exchange")
        + text_hash(version)
        + word(chain_id)
        + word(contract)
    )


def order_id(order: Order, domain: bytes) -> bytes:
    return keccak(b"\x19\x01" + domain + struct_hash(order))


def signature(order: Order, domain: bytes, private_key: bytes, chain_id: int = 137) -> bytes:
    def sign(digest: bytes) -> bytes:
        made = coincurve.PrivateKey(private_key).sign_recoverable(digest, hasher=None)
        return made[:64] + bytes([27 + made[64]])

    if order.signature_type != 3:
        return sign(order_id(order, domain))
    contents = struct_hash(order)
    wrapped = keccak(
        text_hash(WRAPPER + ORDER)
        + contents
        + text_hash("DepositWallet")
        + text_hash("1")
        + word(chain_id)
        + word(order.maker)
        + bytes(32)
    )
    inner = sign(keccak(b"\x19\x01" + domain + wrapped))
    return inner + domain + contents + ORDER.encode() + len(ORDER).to_bytes(2, "big")


def body(order: Order, signed: bytes, owner: str, order_type: str, expiration: int, post_only: bool) -> bytes:
    fields = {
        "salt": order.salt,
        "maker": order.maker,
        "signer": order.signer,
        "tokenId": str(order.token_id),
        "makerAmount": str(order.maker_amount),
        "takerAmount": str(order.taker_amount),
        "side": ("BUY", "SELL")[order.side],
        "expiration": str(expiration),
        "signatureType": order.signature_type,
        "timestamp": str(order.timestamp_ms),
        "metadata": order.metadata,
        "builder": order.builder,
        "signature": "0x" + signed.hex(),
    }
    whole = {
        "order": fields,
        "owner": owner,
        "orderType": order_type,
        "deferExec": False,
        "postOnly": post_only,
    }
    return json.dumps(whole, separators=(",", ":")).encode()


def places(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return max(0, -exponent)


def fit(value: Decimal, decimals: int) -> Decimal:
    """The official rule for an inexact amount: up to four more decimals, then down."""
    if places(value) > decimals:
        value = value.quantize(Decimal(1).scaleb(-decimals - 4), ROUND_CEILING)
        if places(value) > decimals:
            value = value.quantize(Decimal(1).scaleb(-decimals), ROUND_DOWN)
    return value


def down(value: Decimal, decimals: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-decimals), ROUND_DOWN)


def limit_amounts(side: str, price_e4: int, size_micro: int, tick_e4: int) -> tuple[int, int]:
    with localcontext() as context:
        context.prec = 60
        shares = down(Decimal(size_micro).scaleb(-6), 2)
        dollars = fit(shares * Decimal(price_e4).scaleb(-4), AMOUNT_DECIMALS[tick_e4])
        give, want = (dollars, shares) if side == "BUY" else (shares, dollars)
        return int(give.scaleb(6)), int(want.scaleb(6))


def market_amounts(side: str, amount_micro: int, price_e4: int, tick_e4: int) -> tuple[int, int]:
    decimals = min(AMOUNT_DECIMALS[tick_e4], MARKET_DECIMALS_CAP)
    with localcontext() as context:
        context.prec = 60
        price = Decimal(price_e4).scaleb(-4)
        give = down(Decimal(amount_micro).scaleb(-6), 2)
        want = fit(give / price if side == "BUY" else give * price, decimals)
        return int(give.scaleb(6)), int(want.scaleb(6))


def taker_amounts(side: str, price_e4: int, size_micro: int, tick_e4: int) -> tuple[int, int]:
    """FOK or FAK of so many shares: a buy is the market order that spends what they cost at the limit."""
    if side == "SELL":
        return market_amounts(side, size_micro, price_e4, tick_e4)
    return market_amounts(side, size_micro * price_e4 // 10_000, price_e4, tick_e4)


def l2_signature(secret: str, timestamp_s: int, method: str, path: str, content: bytes) -> str:
    key = base64.urlsafe_b64decode(secret)
    message = f"{timestamp_s}{method}{path}".encode() + content
    return base64.urlsafe_b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()
