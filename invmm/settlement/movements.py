"""What a transaction moved, from the logs of its receipt: the account's collateral and tokens.

Balances cannot tell: fills of the same account settle in the same blocks. The transfers that a receipt lists
are those of its own transaction, and only those that the venue's own contracts wrote are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from invmm._ext.eip712 import keccak256
from invmm.errors import DataError
from invmm.settlement.lane import Change
from invmm.venue.profile import Contracts

Movements = dict[tuple[str, int], int]
"""("collateral", 0) or ("token", token id) to the net change in micro-dollars or micro-shares, never 0."""

_TRANSFER: Final = "0x" + keccak256(b"Transfer(address,address,uint256)").hex()
_SINGLE: Final = "0x" + keccak256(b"TransferSingle(address,address,address,uint256,uint256)").hex()
_BATCH: Final = "0x" + keccak256(b"TransferBatch(address,address,address,uint256[],uint256[])").hex()


def movements_of(logs: Iterable[Mapping[str, Any]], account: str, contracts: Contracts) -> Movements:
    """Net changes of an account by the logs of one receipt.

    Raises
    ------
    DataError
        A log that is none, or a transfer that is not encoded as its event says.
    """
    own = account.lower().removeprefix("0x").rjust(64, "0")
    collateral = contracts.collateral.lower()
    tokens = {contracts.conditional_tokens.lower(), contracts.position_manager.lower()}
    found: Movements = {}

    def move(key: tuple[str, int], source: str, target: str, amount: int) -> None:
        change = (amount if target == own else 0) - (amount if source == own else 0)
        found[key] = found.get(key, 0) + change

    for log in logs:
        try:
            emitter = str(log["address"]).lower()
            topics = [str(topic).lower() for topic in log["topics"]]
            if emitter == collateral and topics[:1] == [_TRANSFER]:
                (amount,) = _words(log["data"], 1)
                move(("collateral", 0), topics[1][2:], topics[2][2:], amount)
            elif emitter in tokens and topics[:1] == [_SINGLE]:
                token, amount = _words(log["data"], 2)
                move(("token", token), topics[2][2:], topics[3][2:], amount)
            elif emitter in tokens and topics[:1] == [_BATCH]:
                for token, amount in _pairs(log["data"]):
                    move(("token", token), topics[2][2:], topics[3][2:], amount)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"log of a receipt: expected an encoded transfer: {error!r}") from None
    return {key: change for key, change in found.items() if change}


def difference(moved: Movements, stated: Iterable[Change]) -> str:
    """How what was moved differs from what a job stated, in words; "" if it does not."""
    expected: Movements = {}
    for change in stated:
        key = (change.kind, change.token_id)
        expected[key] = expected.get(key, 0) + change.delta_micro
    keys = sorted({*moved, *expected}, key=str)
    return "; ".join(
        f"{kind}{f' {token}' if token else ''}: expected a change of {expected.get((kind, token), 0)}, "
        f"found {moved.get((kind, token), 0)} (millionths)"
        for kind, token in keys
        if moved.get((kind, token), 0) != expected.get((kind, token), 0)
    )


def _words(data: str, count: int) -> list[int]:
    """Numbers of 32 bytes, exactly so many (any number if `count` is 0)."""
    content = bytes.fromhex(data[2:])
    if len(content) % 32 or (count and len(content) != 32 * count):
        raise ValueError(f"{len(content)} bytes of data")
    return [int.from_bytes(content[i : i + 32], "big") for i in range(0, len(content), 32)]


def _pairs(data: str) -> list[tuple[int, int]]:
    """Token ids and amounts of an encoded (uint256[], uint256[])."""
    words = _words(data, 0)
    arrays = []
    for offset in words[:2]:
        if offset % 32:
            raise ValueError(f"an offset of {offset}")
        start = offset // 32
        values = words[start + 1 : start + 1 + words[start]]
        if len(values) != words[start]:
            raise ValueError("an array that is cut off")
        arrays.append(values)
    return list(zip(*arrays, strict=True))
