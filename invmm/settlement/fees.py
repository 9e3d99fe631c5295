"""What to bid for a transaction's place in a block (EIP-1559), under caps. Pure; wei throughout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from invmm.settings import SettlementSettings

GWEI: Final = 1_000_000_000

# A node takes a second transaction of the same nonce only if both of its fees are 10 % higher (geth's
# `--txpool.pricebump`); other nodes ask for 12.5 %.
_BUMP_NUMERATOR: Final = 9
_BUMP_DENOMINATOR: Final = 8


@dataclass(frozen=True, slots=True)
class Fees:
    """Per gas: the most that is paid, tip included, and what of it goes to the block's maker."""

    max_fee_wei: int
    tip_wei: int


def first_fees(base_fee_wei: int, tip_wei: int, settings: SettlementSettings) -> Fees | None:
    """Fees of a new transaction: twice the base fee, so that it survives six full blocks, and the tip.

    Two replacements fit under the caps wherever the base fee allows that: a transaction that starts at a cap
    could not be replaced at all.

    Parameters
    ----------
    base_fee_wei : int
        Of the latest block.
    tip_wei : int
        What the node suggests; brought between `tip_floor_gwei` and `tip_cap_gwei` (the cap wins).

    Returns
    -------
    Fees or None
        None: the base fee and the tip together are above `max_fee_gwei`.
    """
    cap, tip_cap = settings.max_fee_gwei * GWEI, settings.tip_cap_gwei * GWEI
    tip = min(tip_cap, max(settings.tip_floor_gwei * GWEI, min(tip_wei, _roomy(tip_cap))))
    least = base_fee_wei + tip
    if least > cap:
        return None
    return Fees(max(least, min(2 * base_fee_wei + tip, _roomy(cap))), tip)


def raised_fees(old: Fees, base_fee_wei: int, settings: SettlementSettings) -> Fees | None:
    """Fees of a replacement: both at least 12.5 % above `old`, more where the base fee has risen.

    Returns
    -------
    Fees or None
        None: one of them would be above its cap, or would not reach the present base fee below it.
    """
    cap, tip_cap = settings.max_fee_gwei * GWEI, settings.tip_cap_gwei * GWEI
    tip = _bumped(old.tip_wei)
    least = max(_bumped(old.max_fee_wei), base_fee_wei + tip)
    if tip > tip_cap or least > cap:
        return None
    return Fees(max(least, min(2 * base_fee_wei + tip, _roomy(cap))), tip)


def _bumped(fee_wei: int) -> int:
    return -(-fee_wei * _BUMP_NUMERATOR // _BUMP_DENOMINATOR)


def _roomy(cap_wei: int) -> int:
    """The fee that two replacements bring to the cap."""
    return cap_wei * _BUMP_DENOMINATOR**2 // _BUMP_NUMERATOR**2
