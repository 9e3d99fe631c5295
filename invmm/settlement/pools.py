"""Where every share and every dollar of settlement is: pairs → reserved → under way → cash.

    fills ──▶ free ──reserve──▶ reserved ──begin──▶ under way ──finish──▶ cash        (merge, redeem)
               ▲                   │                    │
               └──────release──────┴────────fail────────┘
    collateral ──reserve──▶ reserved ──begin──▶ under way ──finish──▶ free            (split)

Each job is one `Flow` with a name of its own; a name that is known changes nothing a second time. Amounts are
integers, micro-shares and micro-dollars. After every step everything is added up again from the flows; what
does not add up raises `ConservationError`, and whoever settles stops.

>>> pools = Pools()
>>> pools.filled("0xa", 70, 50)
>>> _ = pools.reserve("merge:0xa:1", "0xa", Action.MERGE, 50, 50)
>>> pools.of("0xa").free, pools.of("0xa").reserved
((20, 0), (50, 50))
>>> pools.begin("merge:0xa:1")
>>> pools.finish("merge:0xa:1", 50)
True
>>> pools.finish("merge:0xa:1", 50)
False
>>> pools.of("0xa").free, pools.collateral_micro
((20, 0), 50)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from invmm.errors import InvmmError
from invmm.settlement.policy import Action

Shares = tuple[int, int]


class ConservationError(InvmmError):
    """Shares or dollars do not add up: nothing may be settled until a person has looked."""


class Stage(IntEnum):
    """How far a flow is; it only grows, and the last two are final."""

    RESERVED = 0
    UNDER_WAY = 1
    DONE = 2
    VOID = 3


@dataclass(slots=True)
class Flow:
    """What one job takes and, once it is done, has brought."""

    name: str
    market: str
    action: Action
    up_micro: int
    down_micro: int
    stage: Stage = Stage.RESERVED
    paid_micro: int = 0

    @property
    def shares(self) -> Shares:
        """Up and Down that it takes (a split: brings)."""
        return self.up_micro, self.down_micro

    @property
    def is_final(self) -> bool:
        """Nothing more comes of it."""
        return self.stage >= Stage.DONE


@dataclass(slots=True)
class Pool:
    """The shares of one market, Up and Down each."""

    filled: Shares = (0, 0)
    """What fills have brought, less what they took."""
    free: Shares = (0, 0)
    reserved: Shares = (0, 0)
    """Promised to a job: nobody else's to sell, merge or count."""
    under_way: Shares = (0, 0)
    gone: Shares = (0, 0)
    """Merged or redeemed, less what splits brought."""
    flows: dict[str, Flow] = field(default_factory=dict)

    @property
    def held(self) -> Shares:
        """All that is still ours."""
        return _plus(_plus(self.free, self.reserved), self.under_way)

    @property
    def is_busy(self) -> bool:
        """A job is neither done nor void."""
        return any(not flow.is_final for flow in self.flows.values())

    def merged_micro(self) -> int:
        """Pairs that left by merges, less those that splits brought."""
        done = [flow for flow in self.flows.values() if flow.stage is Stage.DONE]
        merged = sum(flow.up_micro for flow in done if flow.action is Action.MERGE)
        return merged - sum(flow.up_micro for flow in done if flow.action is Action.SPLIT)


class Pools:
    """All markets' shares and the collateral that settlement has moved since the start."""

    def __init__(self) -> None:
        self.collateral_micro = 0
        """Dollars that jobs have brought less those that splits took or have a claim on."""
        self._pools: dict[str, Pool] = {}
        self._markets: dict[str, str] = {}  # of each flow

    def of(self, market: str) -> Pool:
        """A market's shares, none to begin with."""
        return self._pools.setdefault(market, Pool())

    def markets(self) -> list[str]:
        """Those with shares, flows or a past."""
        return list(self._pools)

    def flow(self, name: str) -> Flow:
        """A known flow; KeyError for another name."""
        return self._pools[self._markets[name]].flows[name]

    def open_flows(self) -> list[Flow]:
        """Neither done nor void, oldest first."""
        return [flow for pool in self._pools.values() for flow in pool.flows.values() if not flow.is_final]

    # ---- steps ---------------------------------------------------------------------------------------------

    def filled(self, market: str, up_micro: int, down_micro: int) -> None:
        """So many shares have been bought less sold in all, finally: the same twice changes nothing.

        Raises
        ------
        ConservationError
            More was sold than is free.
        """
        pool = self.of(market)
        free = _plus(pool.free, _minus((up_micro, down_micro), pool.filled))
        if min(free) < 0:
            raise ConservationError(
                f"{market}: fills say {up_micro} Up and {down_micro} Down micro-shares; {pool.reserved} are "
                f"reserved, {pool.under_way} under way and {pool.gone} gone: {free} would be free"
            )
        pool.filled, pool.free = (up_micro, down_micro), free
        self._check(market)

    def reserve(self, name: str, market: str, action: Action, up_micro: int, down_micro: int) -> Flow:
        """Sets shares apart for a job (of a split: dollars).

        Raises
        ------
        ConservationError
            The name is known, or not so many shares are free.
        ValueError
            Amounts that no such job can have.
        """
        if min(up_micro, down_micro) < 0 or not (up_micro or down_micro):
            raise ValueError(f"{name}: expected shares above 0, got {up_micro} and {down_micro}")
        if action is not Action.REDEEM and up_micro != down_micro:
            raise ValueError(f"{name}: expected as many Up as Down, got {up_micro} and {down_micro}")
        if action is Action.WAIT:
            raise ValueError(f"{name}: expected something to do")
        if name in self._markets:
            raise ConservationError(f"{name}: expected a new name, it was used before")
        pool = self.of(market)
        flow = Flow(name, market, action, up_micro, down_micro)
        if action is Action.SPLIT:
            self.collateral_micro -= up_micro
        else:
            pool.free = self._taken(pool.free, flow)
            pool.reserved = _plus(pool.reserved, flow.shares)
        pool.flows[name], self._markets[name] = flow, market
        self._check(market)
        return flow

    def begin(self, name: str) -> None:
        """The job is out of our hands: what it takes is under way."""
        flow = self.flow(name)
        if flow.stage is not Stage.RESERVED:
            return
        pool = self.of(flow.market)
        if flow.action is not Action.SPLIT:
            pool.reserved = _minus(pool.reserved, flow.shares)
            pool.under_way = _plus(pool.under_way, flow.shares)
        flow.stage = Stage.UNDER_WAY
        self._check(flow.market)

    def void(self, name: str) -> bool:
        """The job was not sent, or failed without moving anything; False if that was known.

        ConservationError for one that is done.
        """
        flow = self.flow(name)
        if flow.stage is Stage.VOID:
            return False
        if flow.stage is Stage.DONE:
            raise ConservationError(f"{name}: it was done, and is now said to have failed")
        pool = self.of(flow.market)
        if flow.action is Action.SPLIT:
            self.collateral_micro += flow.up_micro
        else:
            if flow.stage is Stage.RESERVED:
                pool.reserved = _minus(pool.reserved, flow.shares)
            else:
                pool.under_way = _minus(pool.under_way, flow.shares)
            pool.free = _plus(pool.free, flow.shares)
        flow.stage = Stage.VOID
        self._check(flow.market)
        return True

    def finish(self, name: str, paid_micro: int = 0) -> bool:
        """The job is done and has paid so much; False if that was known.

        Raises
        ------
        ConservationError
            It was void before, was done for another amount, or a merge paid another amount than its pairs.
        """
        flow = self.flow(name)
        if flow.stage is Stage.DONE and flow.paid_micro == paid_micro:
            return False
        if flow.is_final:
            raise ConservationError(
                f"{name}: it is {flow.stage.name} and is now said to have paid {paid_micro}"
            )
        least, most = self._payment(flow)
        if not least <= paid_micro <= most:
            raise ConservationError(f"{name}: expected {least} to {most} micro-dollars, it paid {paid_micro}")
        self.begin(name)
        pool = self.of(flow.market)
        if flow.action is Action.SPLIT:
            pool.free = _plus(pool.free, flow.shares)
            pool.gone = _minus(pool.gone, flow.shares)
        else:
            pool.under_way = _minus(pool.under_way, flow.shares)
            pool.gone = _plus(pool.gone, flow.shares)
        flow.stage, flow.paid_micro = Stage.DONE, paid_micro
        self.collateral_micro += paid_micro
        self._check(flow.market)
        return True

    # ---- conservation --------------------------------------------------------------------------------------

    @staticmethod
    def _payment(flow: Flow) -> tuple[int, int]:
        """Least and most micro-dollars that a job can pay."""
        if flow.action is Action.MERGE:
            return flow.up_micro, flow.up_micro
        return (0, 0) if flow.action is Action.SPLIT else (0, max(flow.shares))

    @staticmethod
    def _taken(free: Shares, flow: Flow) -> Shares:
        left = _minus(free, flow.shares)
        if min(left) < 0:
            raise ConservationError(
                f"{flow.name}: expected {flow.shares} free micro-shares, there are {free}"
            )
        return left

    def _check(self, market: str) -> None:
        """Adds up one market from its flows alone, and the collateral from all of them."""
        pool = self._pools[market]
        sums: dict[str, Shares] = dict.fromkeys(("reserved", "under_way", "gone"), (0, 0))
        for flow in pool.flows.values():
            if flow.action is Action.SPLIT:
                if flow.stage is Stage.DONE:
                    sums["gone"] = _minus(sums["gone"], flow.shares)
            elif flow.stage is not Stage.VOID:
                place = ("reserved", "under_way", "gone")[flow.stage]
                sums[place] = _plus(sums[place], flow.shares)
        told = {"reserved": pool.reserved, "under_way": pool.under_way, "gone": pool.gone}
        if sums != told:
            raise ConservationError(f"{market}: the flows say {sums}, the pool says {told}")
        if _plus(pool.held, pool.gone) != pool.filled or min(*pool.held, *pool.free) < 0:
            raise ConservationError(
                f"{market}: {pool.filled} filled, but free {pool.free}, reserved {pool.reserved}, "
                f"under way {pool.under_way} and gone {pool.gone}"
            )
        cash = sum(_cash(flow) for each in self._pools.values() for flow in each.flows.values())
        if cash != self.collateral_micro:
            raise ConservationError(f"the flows say {cash} micro-dollars, the pools {self.collateral_micro}")


def _cash(flow: Flow) -> int:
    """What a flow has done to the collateral."""
    if flow.action is Action.SPLIT:
        return 0 if flow.stage is Stage.VOID else -flow.up_micro
    return flow.paid_micro


def _plus(a: Shares, b: Shares) -> Shares:
    return a[0] + b[0], a[1] + b[1]


def _minus(a: Shares, b: Shares) -> Shares:
    return a[0] - b[0], a[1] - b[1]
