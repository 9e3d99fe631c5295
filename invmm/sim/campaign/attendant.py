"""Who looks after the engine of a world: judges from the plan and the venue's own figures whether a kill
level was raised rightly, and lifts what a person would lift.

A day's loss stays what it is, so its level stays. A slow venue and failing settlements pass: a minute later
the level is lifted, and what is still true raises it again. One that is not right is false: it stays, and
counts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from invmm.execution.kill import KillLevel, KillRecord
from invmm.sim.account import Leg
from invmm.sim.campaign.hazards import TABLE
from invmm.types import MICRO, OrderStatus, Outcome, Reason, Side

if TYPE_CHECKING:
    from invmm.sim.campaign.process import EngineProcess
    from invmm.sim.campaign.world import World

LOOKS_AFTER_S = 60.0
FAILED_WITHIN_S = 600.0  # two windows: what an engine may still have before it
LEAST = 12  # settled fills
PASSING = (Reason.SLOW_VENUE.name, Reason.SETTLEMENT_FAILURES.name)


class Attendant:
    """The person beside one world's engine.

    Attributes
    ----------
    kills : Counter
        How often each trigger has rightly raised the level, by name of its Reason.
    right : set of str
        Alarms that were no false ones, in the engine's words.
    """

    def __init__(self, world: World) -> None:
        self.kills: Counter[str] = Counter()
        self.right: set[str] = set()
        self._world = world
        self._seen: KillRecord | None = None

    def look(self) -> None:
        """Several times a second: what has been raised since the last look."""
        process = self._world.engine
        record = process.engine.risk.switch.record
        if record is self._seen or record.level != KillLevel.NO_NEW_RISK:
            return
        self._seen = record
        judge = {
            Reason.SLOW_VENUE.name: self._was_slow,
            Reason.SETTLEMENT_FAILURES.name: self._has_failed,
            Reason.LOSS_DAY.name: self._has_lost,
        }.get(record.by)
        if judge is None or not judge():
            return
        self.kills[record.by] += 1
        self.right.add(f"kill {record}")
        if record.by in PASSING:
            self._world.loop.call_in_ns(int(LOOKS_AFTER_S * 1e9), self._lift, process, record)

    def _lift(self, process: EngineProcess, record: KillRecord) -> None:
        world, risk = self._world, process.engine.risk
        if world.engine is not process or not process.is_alive or risk.switch.record is not record:
            return
        if process.is_stopped:  # nobody answers: again in a moment
            world.loop.call_in_ns(1_000_000_000, self._lift, process, record)
            return
        risk.switch.record = KillRecord(why=f"released; it was {record}", by="attendant", released=True)
        process.context.run(risk._apply, "the kill level was released")

    def _was_slow(self) -> bool:
        """Whether something held up answers while the orders were sent that an engine judges by."""
        world, sent_s = self._world, self._world.sends.sent_s
        return any(
            TABLE[fault.name].slows
            and fault.at_s <= world.now_s
            and fault.until_s >= min(sent_s, default=0.0)
            for fault in world.plan
        )

    def _own(self) -> dict[str, list[tuple[OrderStatus, int, Leg]]]:
        """Own legs by market, each with its trade's status and when that was reached."""
        legs = defaultdict(list)
        for trade in self._world.server.floor.purses.first.trades:
            for leg in trade.legs:
                if self._world.is_own_leg(leg):
                    legs[trade.condition_id].append((trade.status, trade.updated_ns, leg))
        return legs

    def _has_failed(self) -> bool:
        """Whether of any market's settled fills, or of all recent ones, too many have failed."""
        world = self._world
        since_ns = world.loop.now_ns() - FAILED_WITHIN_S * 1e9
        markets = list(self._own().values())
        recent = [row for rows in markets for row in rows if row[1] >= since_ns]
        for rows in (*markets, recent):
            failed = sum(status == OrderStatus.TRADE_FAILED for status, _, _ in rows)
            settled = failed + sum(status == OrderStatus.TRADE_CONFIRMED for status, _, _ in rows)
            most = world.settings.risk.max_failed_percent
            if settled >= LEAST and failed * 100 > most * settled:
                return True
        return False

    def _has_lost(self) -> bool:
        """Whether the account has lost the limit of a day, if everything that is open ends badly."""
        worst_micro = 0
        winners = {one.market.condition_id: one for one in self._world.server.floor.exchanges}
        for name, rows in self._own().items():
            winner = winners[name].settlement.winner if name in winners else None
            sure = [leg for status, _, leg in rows if status == OrderStatus.TRADE_CONFIRMED]
            open_ = [
                leg
                for status, _, leg in rows
                if status not in (OrderStatus.TRADE_CONFIRMED, OrderStatus.TRADE_FAILED)
            ]
            worst_micro += max(
                _loss_micro([*sure, *(leg for leg in open_ if leg.token in stand)], winner)
                for stand in ((), (Outcome.UP,), (Outcome.DOWN,), tuple(Outcome))
            )
        return worst_micro > self._world.settings.risk.max_loss_day_dollars * MICRO


def _loss_micro(legs: list[Leg], winner: Outcome | None) -> int:
    """Micro-dollars that fills have cost and will not bring."""
    held = [0, 0]
    for leg in legs:
        held[leg.token] += leg.size_micro if leg.side == Side.BUY else -leg.size_micro
    return -sum(leg.cash_micro for leg in legs) - (min(held) if winner is None else held[winner])
