"""Ids of conditions and outcome tokens, computed as the contracts compute them.

A market names its two tokens; these functions say what the names must be, so that a listing that mixes up two
markets, or Up and Down, is found out before an order is signed for the wrong token.

First generation (CTF, an ERC-1155 whose ids are hashes): a collection id is a point of the curve alt_bn128,
`y² = x³ + 3` over the field of `FIELD` elements, found by counting x up from a hash until the right side is a
square; the position id hashes it with the collateral. Second generation (PositionManager): the id carries the
condition in its upper 31 bytes and the outcome in its last one.
"""

from __future__ import annotations

from typing import Final

from invmm._ext.eip712 import checksum_address, keccak256

FIELD: Final = 21888242871839275222246405745257275088696311157297823662689037894645226208583
"""Prime of alt_bn128's base field; p ≡ 3 (mod 4), so a square's root is its power (p + 1) / 4."""

_ODD_Y: Final = 1 << 254
_V2_RESERVED: Final = ((1 << 64) - 1) << 40
"""Bits 40 to 103 of a position id of the second generation are zero; of a hash they are not."""
_V2_OUTCOME: Final = 0xFF


def condition_id(oracle: str, question_id: str, outcomes: int = 2) -> str:
    """Condition id of the first generation: keccak(oracle ‖ question id ‖ number of outcomes).

    Parameters
    ----------
    oracle
        Address of the contract that reports the result.
    question_id
        32 bytes as 0x and 64 hexadecimal digits.
    outcomes
        Number of outcome slots, 2 for Up/Down.

    Returns
    -------
    str
        0x and 64 lower-case hexadecimal digits.
    """
    account = bytes.fromhex(checksum_address(oracle)[2:])
    return "0x" + keccak256(account + _word(question_id, "question id") + outcomes.to_bytes(32, "big")).hex()


def position_ids_v1(condition_id: str, collateral: str) -> tuple[str, str]:
    """Token ids of outcome 0 (Up) and 1 (Down) of a first-generation condition, as decimal text.

    `collateral` is the ERC-20 inside the CTF: USDC.e, also for markets that are paid in pUSD. ValueError for
    a condition id or an address that is none.
    """
    condition = _word(condition_id, "condition id")
    account = bytes.fromhex(checksum_address(collateral)[2:])
    up, down = (
        str(int.from_bytes(keccak256(account + _collection_id(condition, index_set)), "big"))
        for index_set in (1, 2)
    )
    return up, down


def position_ids_v2(condition_id: str) -> tuple[str, str]:
    """Position ids of outcome 0 (Up) and 1 (Down) of a second-generation condition, as decimal text.

    ValueError for a condition id that is not of this generation: 31 bytes, padded with a zero byte on the
    right as the CLOB spells it, its reserved bits zero.
    """
    base = int.from_bytes(_word(condition_id, "condition id"), "big")
    if base & (_V2_RESERVED | _V2_OUTCOME) or not base:
        raise ValueError(
            f"condition id: expected 31 bytes, reserved bits zero, padded on the right, found {condition_id}"
        )
    return str(base), str(base | 1)


def is_v2_id(token_id: str | int) -> bool:
    """Whether an outcome id belongs to the second generation, by its layout alone.

    ValueError if it is no unsigned 256-bit number.
    """
    number = int(token_id)
    if not 0 < number < 1 << 256:
        raise ValueError(f"token id: expected 1 to 2^256 - 1, found {token_id}")
    return not number & _V2_RESERVED


def _collection_id(condition: bytes, index_set: int) -> bytes:
    """The contract's `getCollectionId` without a parent collection."""
    seed = int.from_bytes(keccak256(condition + index_set.to_bytes(32, "big")), "big")
    x = seed % FIELD
    while True:
        x = (x + 1) % FIELD
        square = (x * x * x + 3) % FIELD
        y = pow(square, (FIELD + 1) // 4, FIELD)
        if y * y % FIELD == square:
            break
    if (seed >> 255) != (y & 1):  # the hash's top bit chooses which of the two roots
        y = FIELD - y
    return (x ^ _ODD_Y if y & 1 else x).to_bytes(32, "big")


def _word(text: str, what: str) -> bytes:
    if len(text) != 66 or text[:2] not in ("0x", "0X"):
        raise ValueError(f"{what}: expected 0x and 64 hexadecimal digits, found {text!r}")
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        raise ValueError(f"{what}: expected 0x and 64 hexadecimal digits, found {text!r}") from None
