"""A market on its way through settlement, and the job that a decision about it becomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from invmm.settlement.calls import Call, route_of
from invmm.settlement.holdings import version_of
from invmm.settlement.lane import Change, Job
from invmm.settlement.messages import Holding
from invmm.settlement.policy import Action, Decision, SettleReason
from invmm.settlement.record import Begun

FIRST_PAUSE_S: Final = 5.0
NOTHING_LEFT: Final = frozenset({SettleReason.LOST, SettleReason.EMPTY, SettleReason.DUST})
"""Of a resolved market: no job will follow."""


@dataclass(slots=True)
class MarketState:
    """What is known of one market besides its pool; times are engine time.

    Attributes
    ----------
    holding : Holding
        As the engine told it last.
    past : list of Begun
        What earlier sessions began in it.
    is_adopted : bool
        The pools have it, past included.
    is_left : bool
        An earlier session left it, and no ledger of this one has it.
    look_ns, wait_ns : int
        When it is looked at again; not before the second, after something was refused.
    pause_s : float
        How long that is next time.
    differs_ns : int
        Since when the chain shows other shares than the fills brought; 0: it does not.
    is_barred : bool
        Its ids are not what they must be.
    said : tuple, optional
        The last decision that was told.
    is_done : bool
        Nothing is left to settle.
    """

    holding: Holding
    past: list[Begun] = field(default_factory=list)
    is_adopted: bool = False
    is_left: bool = False
    look_ns: int = 0
    wait_ns: int = 0
    pause_s: float = FIRST_PAUSE_S
    differs_ns: int = 0
    is_barred: bool = False
    said: tuple[Action, SettleReason] | None = None
    is_done: bool = False


def job_of(begun: Begun, holding: Holding, chain_id: int) -> Job:
    """The calls that make it, and everything that they move."""
    route = route_of(*version_of(holding.exchange), chain_id)
    calls: tuple[Call, ...]
    cash_micro, sign = begun.pays_micro, -1
    if begun.action is Action.SPLIT:
        calls, cash_micro, sign = (route.split(begun.market, begun.up_micro),), -begun.up_micro, 1
    elif begun.action is Action.MERGE:
        calls = (route.merge(begun.market, begun.up_micro),)
    else:
        calls = route.redeem(begun.market, begun.up_micro, begun.down_micro)
    moved = zip((holding.up_token, holding.down_token), (begun.up_micro, begun.down_micro), strict=True)
    changes = [Change("token", int(token), sign * shares) for token, shares in moved if shares]
    return Job(begun.name, calls, (*changes, Change("collateral", 0, cash_micro)))


def one_outcome(decision: Decision, payouts: tuple[int, int] | None) -> Decision:
    """Positions of the second generation are redeemed one outcome per call, and one that pays nothing is not
    redeemed at all: of two that pay, Up goes first.
    """
    if decision.action is not Action.REDEEM or payouts is None:
        return decision
    pays = [
        s * p // sum(payouts) for s, p in zip((decision.up_micro, decision.down_micro), payouts, strict=True)
    ]
    if pays[0]:
        return Decision(decision.action, decision.reason, decision.up_micro, 0, pays[0])
    return Decision(decision.action, decision.reason, 0, decision.down_micro, pays[1])
