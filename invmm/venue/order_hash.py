"""The id of an order from its fields alone, whoever signed it: its EIP-712 digest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from invmm._ext.eip712 import keccak256
from invmm.venue.profile import DOMAIN_NAME, DOMAIN_TYPE, ORDER_TYPE, POLYGON, exchange

_SIDES = {"BUY": 0, "SELL": 1}


def order_hash(fields: Mapping[str, Any], exchange_name: str, chain_id: int = POLYGON) -> str:
    """The id under which the venue will know an order.

    Parameters
    ----------
    fields
        As in the `order` object of a request: salt, maker, signer, tokenId, makerAmount, takerAmount, side
        ("BUY", "SELL" or its number), signatureType, timestamp, metadata, builder; others are not signed.
    exchange_name
        "v2", "v2-neg-risk" or "v3".

    Returns
    -------
    str
        0x and 64 hex digits.

    Raises
    ------
    ValueError
        A field is missing or no number of its kind.
    """
    venue = exchange(exchange_name, chain_id)
    domain = keccak256(
        keccak256(DOMAIN_TYPE.encode())
        + keccak256(DOMAIN_NAME.encode())
        + keccak256(venue.domain_version.encode())
        + chain_id.to_bytes(32, "big")
        + _address(venue.contract)
    )
    try:
        side = fields["side"]
        words = [
            _number(fields["salt"]),
            _address(fields["maker"]),
            _address(fields["signer"]),
            *(_number(fields[name]) for name in ("tokenId", "makerAmount", "takerAmount")),
            _number(_SIDES[side] if isinstance(side, str) else side),
            *(_number(fields[name]) for name in ("signatureType", "timestamp")),
            *(
                bytes.fromhex(fields[name].removeprefix("0x")).rjust(32, b"\0")
                for name in ("metadata", "builder")
            ),
        ]
    except (KeyError, AttributeError, TypeError, OverflowError) as error:
        raise ValueError(f"order: expected the fields of {ORDER_TYPE}, found {error!r}") from None
    return (
        "0x"
        + keccak256(b"\x19\x01" + domain + keccak256(keccak256(ORDER_TYPE.encode()) + b"".join(words))).hex()
    )


def _number(value: Any) -> bytes:
    return int(value).to_bytes(32, "big")


def _address(text: str) -> bytes:
    return bytes(12) + bytes.fromhex(text.removeprefix("0x"))
