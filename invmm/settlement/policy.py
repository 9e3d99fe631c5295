"""Whether shares are to become dollars now: merge pairs, redeem what is resolved, split dollars into pairs.

A merge pays a dollar per pair whatever the pair cost, and so does the redemption of the same pair after the
resolution. So a merge gains nothing but time: its dollars are free until then, and free dollars earn.

    worth of a merge = pairs · return per day · time until the payout / day      against the cost of the job

Its cost is gas in dollars where the account pays for its own transactions, and a share of the relayer's
quota elsewhere (`quota_cost_micro`). A merge is forced, whatever it costs, while less cash is free than the
quotes need. A redemption pays what the chain's resolution says, and is made where that is more than it costs.

`decide` is pure: the facts come as arguments, the answer is one `Decision` with the reason for it.

>>> policy = SettlePolicy()
>>> held = Standing(up_micro=50_000_000, down_micro=80_000_000, seconds_left=300)
>>> policy.decide(held, Means(cost_micro=2_000, cash_micro=10**9, need_micro=10**8)).reason
<SettleReason.MERGE_WORTH: 'merge_worth'>
>>> policy.decide(held, Means(cost_micro=20_000, cash_micro=10**9, need_micro=10**8)).reason
<SettleReason.NOT_WORTH: 'not_worth'>
>>> policy.decide(held, Means(cost_micro=20_000, cash_micro=10**7, need_micro=10**8)).reason
<SettleReason.MERGE_CASH_SHORT: 'merge_cash_short'>
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from invmm.errors import ConfigError
from invmm.types import MICRO

DAY_S: Final = 86_400
PPM: Final = 1_000_000


class Action(StrEnum):
    """What is done with the shares of a market."""

    WAIT = "wait"
    MERGE = "merge"
    REDEEM = "redeem"
    SPLIT = "split"


class SettleReason(StrEnum):
    """Why something is done with a market's shares, or nothing (words: `ops/reason_words.py`)."""

    MERGE_WORTH = "merge_worth"
    MERGE_CASH_SHORT = "merge_cash_short"
    MERGE_RULE = "merge_rule"
    REDEEM_RESOLVED = "redeem_resolved"
    SPLIT_OPEN = "split_open"
    PAIRS = "pairs"
    BY_HAND = "by_hand"
    EMPTY = "empty"
    OFF = "off"
    STOPPED = "stopped"
    BUSY = "busy"
    NO_PAIRS = "no_pairs"
    PROVISIONAL = "provisional"
    TOO_FEW = "too_few"
    NOT_WORTH = "not_worth"
    RULE = "rule"
    QUOTA = "quota"
    UNRESOLVED = "unresolved"
    LOST = "lost"
    DUST = "dust"
    CHAIN_DIFFERS = "chain_differs"
    NO_CASH = "no_cash"
    UNKNOWN_COST = "unknown_cost"
    LANE = "lane"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Standing:
    """One market as the decision sees it.

    Attributes
    ----------
    up_micro, down_micro : int
        Shares of confirmed fills that the chain shows as well and nobody has a claim on.
    provisional_micro : int
        Pairs that are there only if fills which are not final become final.
    seconds_left : float
        Until the payout, as far as it can be told; at least 0.
    payouts : tuple of int, optional
        What the chain was told of the outcome: (1, 0) Up, (0, 1) Down, (1, 1) half each. None: unresolved.
    is_busy : bool
        A job of this market is under way.
    is_fresh : bool
        Nothing was ever held or split here, and it is still to be quoted.
    rule : str, optional
        With the rule "original": why its three criteria do not merge, "" if they do.
    """

    up_micro: int
    down_micro: int
    provisional_micro: int = 0
    seconds_left: float = 0.0
    payouts: tuple[int, int] | None = None
    is_busy: bool = False
    is_fresh: bool = False
    rule: str = ""

    @property
    def pairs_micro(self) -> int:
        """Pairs that could be merged at once."""
        return max(0, min(self.up_micro, self.down_micro))


@dataclass(frozen=True, slots=True)
class Means:
    """What is the same for all markets.

    Attributes
    ----------
    cost_micro : int, optional
        What one more job costs, micro-dollars; None: not known, so only what is forced is done.
    cash_micro : int, optional
        Collateral that no order and no job has a claim on; None: not known, so nothing is forced.
    need_micro : int
        Of that, what the quotes need.
    is_stopped : bool
        No new risk: pairs are left as they are; what is resolved is still redeemed.
    is_killed : bool
        Everything is being cancelled: nothing new is begun at all.
    has_quota : bool
        The lane takes another job.
    """

    cost_micro: int | None
    cash_micro: int | None
    need_micro: int = 0
    is_stopped: bool = False
    is_killed: bool = False
    has_quota: bool = True

    @property
    def is_short(self) -> bool:
        """Whether the quotes lack cash."""
        return self.cash_micro is not None and self.cash_micro < self.need_micro


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a market now, and why; sizes in micro-shares, `pays_micro` what it brings."""

    action: Action
    reason: SettleReason
    up_micro: int = 0
    down_micro: int = 0
    pays_micro: int = 0

    @property
    def pairs_micro(self) -> int:
        """Of a merge or split."""
        return min(self.up_micro, self.down_micro)


def redeemed_micro(up_micro: int, down_micro: int, payouts: tuple[int, int]) -> int:
    """What a redemption pays, micro-dollars: each outcome's share of the payout, rounded down by itself, as
    ConditionalTokens' `redeemPositions` does.

    >>> [redeemed_micro(5, 8, payouts) for payouts in ((1, 0), (0, 1), (1, 1))]
    [5, 8, 6]
    """
    whole = sum(payouts)
    if whole <= 0 or min(payouts) < 0:
        raise ValueError(f"payouts: expected two of at least 0, not both 0, got {payouts}")
    return up_micro * payouts[0] // whole + down_micro * payouts[1] // whole


def quota_cost_micro(price_micro: int, left: int, limit: int) -> int | None:
    """What one of a relayer's submissions is worth: `price_micro` while all are left, the more the fewer are;
    None when there are none.

    >>> quota_cost_micro(1_000, 100, 100), quota_cost_micro(1_000, 10, 100), quota_cost_micro(1_000, 0, 100)
    (1000, 10000, None)
    """
    return None if left <= 0 else -(-price_micro * limit // left)


def gas_cost_micro(gas: int, wei_per_gas: int, coin_micro: int) -> int:
    """Gas in micro-dollars, rounded up, `coin_micro` being the chain's coin (10^18 wei) in micro-dollars.

    >>> gas_cost_micro(200_000, 50 * 10**9, 250_000)
    2500
    """
    return -(-gas * wei_per_gas * coin_micro // 10**18)


@dataclass(frozen=True, slots=True)
class SettlePolicy:
    """The decision of the module's head.

    Parameters
    ----------
    rule : str
        "worth": as above; "original": pairs merge when the original's three criteria say so; "off": no pairs
        are merged. What is resolved is redeemed in each case.
    min_pairs_micro : int
        Fewer pairs are never merged.
    return_ppm_day : int
        What a free dollar earns in a day, parts per million.
    split_micro : int
        Dollars split into pairs when a market is opened, micro-dollars; 0: none.
    """

    rule: str = "worth"
    min_pairs_micro: int = MICRO
    return_ppm_day: int = 50_000
    split_micro: int = 0

    def __post_init__(self) -> None:
        if self.rule not in ("worth", "original", "off"):
            raise ConfigError(f"rule: expected worth, original or off, found {self.rule!r}")
        for name in ("min_pairs_micro", "return_ppm_day", "split_micro"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}: expected at least 0, found {getattr(self, name)}")

    def worth_micro(self, pairs_micro: int, seconds: float) -> int:
        """What the dollars of so many pairs earn until they would be paid anyway, micro-dollars."""
        return pairs_micro * self.return_ppm_day * max(0, int(seconds)) // (DAY_S * PPM)

    def decide(self, held: Standing, means: Means) -> Decision:
        """What to do with a market, and why."""
        if held.is_busy:
            return _wait(SettleReason.BUSY)
        if held.payouts is not None:
            return self._redeem(held, held.payouts, means)
        if held.is_fresh and self.split_micro and not (held.up_micro or held.down_micro):
            return self._split(means)
        if not held.pairs_micro:
            return _wait(_why_no_pairs(held))
        if means.is_stopped or means.is_killed:
            return _wait(SettleReason.STOPPED)
        if held.pairs_micro < self.min_pairs_micro:
            return _wait(SettleReason.TOO_FEW)
        if not means.has_quota:
            return _wait(SettleReason.QUOTA)
        reason = self._why_merge(held, means)
        if reason not in (SettleReason.MERGE_WORTH, SettleReason.MERGE_CASH_SHORT, SettleReason.MERGE_RULE):
            return _wait(reason)
        pairs = held.pairs_micro
        return Decision(Action.MERGE, reason, pairs, pairs, pairs)

    def _why_merge(self, held: Standing, means: Means) -> SettleReason:
        if self.rule == "off":
            return SettleReason.OFF
        if self.rule == "original":
            return SettleReason.RULE if held.rule else SettleReason.MERGE_RULE
        if means.is_short:
            return SettleReason.MERGE_CASH_SHORT
        if means.cost_micro is None:
            return SettleReason.UNKNOWN_COST
        worth = self.worth_micro(held.pairs_micro, held.seconds_left)
        return SettleReason.MERGE_WORTH if worth > means.cost_micro else SettleReason.NOT_WORTH

    def _redeem(self, held: Standing, payouts: tuple[int, int], means: Means) -> Decision:
        if held.up_micro <= 0 and held.down_micro <= 0:
            return _wait(SettleReason.PROVISIONAL if held.provisional_micro else SettleReason.EMPTY)
        pays = redeemed_micro(max(0, held.up_micro), max(0, held.down_micro), payouts)
        if not pays:
            return _wait(SettleReason.LOST)
        if means.is_killed:
            return _wait(SettleReason.STOPPED)
        if not means.has_quota:
            return _wait(SettleReason.QUOTA)
        if means.cost_micro is not None and pays <= means.cost_micro:
            return _wait(SettleReason.DUST)
        return Decision(
            Action.REDEEM, SettleReason.REDEEM_RESOLVED, max(0, held.up_micro), max(0, held.down_micro), pays
        )

    def _split(self, means: Means) -> Decision:
        if means.is_stopped or means.is_killed:
            return _wait(SettleReason.STOPPED)
        if not means.has_quota:
            return _wait(SettleReason.QUOTA)
        if means.cash_micro is None or means.cash_micro - self.split_micro < means.need_micro:
            return _wait(SettleReason.NO_CASH)
        return Decision(Action.SPLIT, SettleReason.SPLIT_OPEN, self.split_micro, self.split_micro)


def _wait(reason: SettleReason) -> Decision:
    return Decision(Action.WAIT, reason)


def _why_no_pairs(held: Standing) -> SettleReason:
    if held.provisional_micro:
        return SettleReason.PROVISIONAL
    return SettleReason.NO_PAIRS if held.up_micro > 0 or held.down_micro > 0 else SettleReason.EMPTY
