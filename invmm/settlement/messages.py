"""What the engine's thread and the settling thread say to each other: these records, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from invmm.permission import AlarmKind
from invmm.settlement.policy import Action, SettleReason


@dataclass(frozen=True, slots=True)
class Holding:
    """A market as the engine's ledger has it. What settlement did is not in the figures: so they only change
    by fills, and saying them twice changes nothing.

    Attributes
    ----------
    market : str
        Condition id.
    slug, exchange, up_token, down_token, end_s
        As in `MarketInfo`.
    low_micro, high_micro : tuple of int
        Least and most Up and Down shares that fills have brought, once every one of them is final.
    offered_micro : tuple of int
        Of them, offered for sale.
    is_open : bool
        The engine has it open: it must agree before shares are promised to a job.
    rule : str
        Why the original's three criteria do not merge, "" if they do.
    """

    market: str
    slug: str
    exchange: str
    up_token: str
    down_token: str
    end_s: float
    low_micro: tuple[int, int]
    high_micro: tuple[int, int]
    offered_micro: tuple[int, int] = (0, 0)
    is_open: bool = False
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Purse:
    """What holds for all markets: cash that nobody has a claim on (None: not known), what the quotes need of
    it, whether no new risk is taken, and whether everything is being cancelled.
    """

    cash_micro: int | None
    need_micro: int
    is_stopped: bool
    is_killed: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """The engine's answer to an `Ask`."""

    name: str
    is_granted: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """The settler wants to take pairs of an open market (of a split: dollars)."""

    name: str
    market: str
    action: Action
    pairs_micro: int


@dataclass(frozen=True, slots=True)
class Told:
    """How a market stands after something happened to a job: totals, so that a repeat changes nothing.

    Attributes
    ----------
    market, name : str
        Condition id; the job, "" where it is about none.
    reserved_micro : int
        Pairs promised to a merge or being merged.
    left_micro : int
        Pairs that left by merges, less those that splits brought.
    done : Done, optional
        What the job did; None while it has done nothing.
    """

    market: str
    name: str
    reserved_micro: int
    left_micro: int
    done: Done | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """A job that is final: shares taken (of a split: brought), dollars paid, and what it cost."""

    action: Action
    up_micro: int
    down_micro: int
    paid_micro: int
    transaction: str
    gas_used: int
    fee_wei: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided about a market, when it is something else than last time."""

    market: str
    slug: str
    action: Action
    reason: SettleReason
    up_micro: int
    down_micro: int


@dataclass(frozen=True, slots=True)
class Notice:
    """What people should know; an alarm: what a person must look at, and what it is about."""

    text: str
    is_alarm: bool = False
    kind: AlarmKind = AlarmKind.SETTLEMENT


@dataclass(frozen=True, slots=True)
class Load:
    """Jobs that have not ended, markets whose shares still wait for something, and how many messages of the
    engine were heard until then.
    """

    jobs: int
    markets: int
    heard: int


ToSettler = Holding | Purse | Grant
FromSettler = Ask | Told | Verdict | Notice | Load
