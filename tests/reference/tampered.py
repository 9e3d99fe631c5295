"""What can be changed in a signed order, one thing at a time, and how the venue refuses it."""

from __future__ import annotations

from typing import Any

from invmm.sim.access import WRONG_MAKER, WRONG_SIGNATURE, WRONG_SIGNER
from invmm.sim.rules import Refusal

STRANGER = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"


def other_hex(text: str, at: int) -> str:
    """The same text with one hex digit replaced by another."""
    at %= len(text)
    return text[:at] + ("1" if text[at] != "1" else "2") + text[at + 1 :]


def other_token(token: str) -> str:
    """The other token of the market that tests trade: ids differ in every digit, or in the last one."""
    if set(token) <= {"1", "2"}:
        return token.translate({ord("1"): "2", ord("2"): "1"})
    return str(int(token) ^ 1)


TAMPERED: dict[str, tuple[str, Any]] = {
    "salt": ("salt", lambda value: value + 1),
    "maker": ("maker", lambda _: STRANGER),
    "signer": ("signer", lambda _: STRANGER),
    "tokenId": ("tokenId", other_token),
    "makerAmount": ("makerAmount", lambda value: str(int(value) - 10_000)),
    "takerAmount": ("takerAmount", lambda value: str(int(value) + 10_000)),
    "side": ("side", lambda _: "SELL"),
    "timestamp": ("timestamp", lambda value: str(int(value) + 1)),
    "metadata": ("metadata", lambda value: other_hex(value, -1)),
    "builder": ("builder", lambda value: other_hex(value, 2)),
    "r": ("signature", lambda value: other_hex(value, 20)),
    "s": ("signature", lambda value: other_hex(value, 100)),
    "v": ("signature", lambda value: value[:130] + ("1b" if value[130:132] == "1c" else "1c") + value[132:]),
    "v of another chain": ("signature", lambda value: value[:130] + "25" + value[132:]),
    "signature cut": ("signature", lambda value: value[:-2]),
    "signature prolonged": ("signature", lambda value: value + "00"),
    "signature without its prefix": ("signature", lambda value: value[2:]),
    "signature of nothing": ("signature", lambda _: "0x"),
    "signature missing": ("signature", lambda _: None),
    "end of the signature": ("signature", lambda value: other_hex(value, -1)),
}


def expected(what: str, kind: int) -> Refusal:
    """The refusal of an order with one field changed: names come before the signature."""
    if what == "signer":
        return WRONG_SIGNER
    if what == "maker" and kind == 0:
        return WRONG_MAKER
    if what == "maker" and kind == 3:  # maker and signer are the same wallet
        return WRONG_SIGNER
    return WRONG_SIGNATURE
