"""Ids of generated markets: derived as the venue derives its own, so that a client can recompute them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from invmm.errors import InvmmError
from invmm.replay.tape import MarketInfo
from invmm.venue.positions import condition_id, position_ids_v1, position_ids_v2
from invmm.venue.profile import CONTRACTS, POLYGON

ORACLE: Final = "0x00000000000000000000000000000000000f10e1"
"""Who reports results of generated markets; nobody on any chain."""

GENERATIONS: Final = {"v2": "v1", "v2-neg-risk": "v1", "v3": "v2"}
"""Market version by the exchange that takes its orders (venue/profile.py)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Ids of one market: of its question, its condition and its two outcomes."""

    question_id: str
    condition_id: str
    up_token_id: str
    down_token_id: str


@lru_cache(maxsize=64)
def identify(name: str, generation: str = "v1") -> Identity:
    """The ids that follow from a name and a generation ("v1": CTF with USDC.e inside, "v2": position ids)."""
    digest = hashlib.sha256(f"invmm generated {name}".encode()).digest()
    if generation == "v1":
        condition = condition_id(ORACLE, "0x" + digest.hex())
        up, down = position_ids_v1(condition, CONTRACTS[POLYGON].bridged_collateral)
    elif generation == "v2":
        # Module 1 (binary), 128 bits of hash; arity, reserved bits, chain and index are zero.
        condition = "0x01" + digest[:16].hex() + "00" * 15
        up, down = position_ids_v2(condition)
    else:
        raise ValueError(f"generation: expected 'v1' or 'v2', got {generation!r}")
    return Identity("0x" + digest.hex(), condition, up, down)


def tokens_follow(market: MarketInfo) -> bool:
    """Whether a market's token ids are those that a chain computes of its condition: not of made-up ones."""
    try:
        if GENERATIONS[market.exchange] == "v1":
            ids = position_ids_v1(market.condition_id, CONTRACTS[POLYGON].bridged_collateral)
        else:
            ids = position_ids_v2(market.condition_id)
    except (InvmmError, ValueError):
        return False
    return ids == (market.up_token_id, market.down_token_id)
