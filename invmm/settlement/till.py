"""Settlement as a session has it: the settling thread with its lane and files, and the cashier beside the
engine.

    FOLDER/lane       what the lane has sent (`lane_journal.py`)
    FOLDER/settled    what was begun and ended (`record.py`)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from invmm.settings import SettlementSettings
from invmm.settlement.cashier import Cashier
from invmm.settlement.chain import ChainLane, TransactionSigner
from invmm.settlement.costs import GasCost
from invmm.settlement.edge import SettlingThread, Tell
from invmm.settlement.handover import Residue
from invmm.settlement.holdings import ChainHoldings
from invmm.settlement.lane_journal import LaneJournal
from invmm.settlement.nodes import Endpoint
from invmm.settlement.policy import SettlePolicy
from invmm.settlement.record import SettlementRecord
from invmm.settlement.settler import Settler
from invmm.types import MICRO

if TYPE_CHECKING:
    from invmm.clock import Clock
    from invmm.engine import Engine

TURN_S: Final = 0.05


def policy_of(settings: SettlementSettings) -> SettlePolicy:
    """The policy that the settings describe."""
    return SettlePolicy(
        rule=settings.merge_rule,
        min_pairs_micro=round(settings.merge_least_pairs * MICRO),
        return_ppm_day=round(settings.merge_return_percent * 10_000),
        split_micro=round(settings.split_dollars * MICRO),
    )


class Till:
    """Settles what an engine holds, by transactions of the signer's own account.

    Parameters
    ----------
    engine : Engine
    endpoints : sequence of Endpoint
        Nodes of the chain; used by the settling thread alone.
    signer : TransactionSigner
        Its account trades and holds the shares.
    folder : Path
        For the two files of the module's head.
    settings : SettlementSettings
    clock : Clock
        The engine's.
    say : callable, optional
        Told what people should know.
    """

    def __init__(
        self,
        engine: Engine,
        endpoints: Sequence[Endpoint],
        signer: TransactionSigner,
        folder: Path,
        settings: SettlementSettings,
        clock: Clock,
        *,
        say: Callable[[str], object] | None = None,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._endpoints = tuple(endpoints)
        self._signer = signer
        self.thread = SettlingThread(self._settler, clock.now_ns, period_s=TURN_S)
        self.cashier = Cashier(engine, self.thread, say=say)

    def _settler(self, tell: Tell) -> Settler:
        """On the settling thread."""
        lane = ChainLane(
            self._endpoints,
            self._signer,
            LaneJournal(self._folder / "lane"),
            settings=self._settings,
            clock=self._clock,
        )
        return Settler(
            lane,
            ChainHoldings(self._endpoints, self._signer.address),
            policy_of(self._settings),
            SettlementRecord(LaneJournal(self._folder / "settled")),
            tell=tell,
            cost=GasCost(lane, self._settings),
        )

    def start(self) -> None:
        """Begins to settle."""
        self.thread.start()

    def tick(self) -> None:
        """Passes messages on; call it often, on the engine's thread."""
        self.cashier.tick(self._clock.now_ns())

    def hand_over(self, residue: Residue) -> None:
        """A market is closed."""
        self.cashier.hand_over(residue)

    async def finish(self, timeout_s: float) -> bool:
        """Waits until nothing is left to settle, at most so many real seconds; whether that is so."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while loop.time() < end and self.thread.is_alive:
            self.tick()
            if self.cashier.is_idle:
                return True
            await asyncio.sleep(TURN_S)
        return self.cashier.is_idle

    async def close(self) -> bool:
        """Ends the thread; what is in flight is found again by the next session."""
        ended = await asyncio.to_thread(self.thread.close)
        self.tick()
        return ended
