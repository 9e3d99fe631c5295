"""Settlement as a session has it: the settling thread with its lane and files, and the cashier beside the
engine.

    FOLDER/lane       what the lane has sent (`lane_journal.py`); of a wallet: FOLDER/relayed
    FOLDER/settled    what was begun and ended (`record.py`)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from invmm.errors import InvmmError
from invmm.settings import SettlementSettings
from invmm.settlement.cashier import Cashier, settlement_of
from invmm.settlement.chain import ChainLane, TransactionSigner
from invmm.settlement.costs import Cost, GasCost, SubmitCost
from invmm.settlement.edge import SettlingThread, Tell
from invmm.settlement.handover import Residue
from invmm.settlement.holdings import ChainHoldings, Holdings
from invmm.settlement.lane import Lane
from invmm.settlement.lane_journal import LaneJournal
from invmm.settlement.ledger import Ledger
from invmm.settlement.nodes import Endpoint
from invmm.settlement.opening import open_lane
from invmm.settlement.policy import SettlePolicy
from invmm.settlement.record import SETTLED_FILE, SettlementRecord
from invmm.settlement.rpc import RpcEndpoint, endpoints_of
from invmm.settlement.settler import Settler
from invmm.types import MICRO
from invmm.venue.profile import POLYGON

if TYPE_CHECKING:
    from polymarket import BuilderApiKey, RelayerApiKey

    from invmm.clock import Clock
    from invmm.engine import Engine
    from invmm.venue.identity import Identity
    from invmm.venue.profile import Profile

MakeTill = Callable[["Engine", Path, "Clock"], "Till"]
"""Makes a till of an engine, for files in a folder, on a clock."""

TURN_S: Final = 0.05
LAST_WORD_S: Final = 2.0
"""Real seconds that a job under way is given when a session ends early; the next one finds it."""
EMBEDDED_TIMEOUT_S: Final = 20.0
"""Real seconds; a chain in another process of a busy machine takes its time."""


def policy_of(settings: SettlementSettings) -> SettlePolicy:
    """The policy that the settings describe."""
    return SettlePolicy(
        rule=settings.merge_rule,
        min_pairs_micro=round(settings.merge_least_pairs * MICRO),
        return_ppm_day=round(settings.merge_return_percent * 10_000),
        split_micro=round(settings.split_dollars * MICRO),
    )


def own_account(
    endpoints: Sequence[Endpoint],
    signer: TransactionSigner,
    folder: Path,
    settings: SettlementSettings,
    clock: Clock,
    chain_id: int = POLYGON,
) -> tuple[ChainLane, GasCost]:
    """The lane of a key's own account, its journal in the folder, and what its jobs cost."""
    journal = LaneJournal(folder / "lane")
    lane = ChainLane(endpoints, signer, journal, settings=settings, clock=clock, chain_id=chain_id)
    return lane, GasCost(lane, settings)


def embedded_till(
    engine: Engine,
    url: str,
    signer: TransactionSigner,
    folder: Path,
    settings: SettlementSettings,
    clock: Clock,
) -> Till:
    """A till on the chain of an embedded venue, whose blocks have the machine's time and not the engine's."""
    settings = replace(settings, head_max_age_s=0.0)

    def holdings() -> ChainHoldings:
        return ChainHoldings([RpcEndpoint(url, timeout_s=EMBEDDED_TIMEOUT_S)], signer.address)

    node = RpcEndpoint(url, timeout_s=EMBEDDED_TIMEOUT_S)
    lane = partial(own_account, [node], signer, folder, settings, clock)
    return Till(engine, lane, holdings, folder, settings, clock)


def account_till(
    identity: Identity,
    profile: Profile,
    settings: SettlementSettings,
    relayer_key: BuilderApiKey | RelayerApiKey | None = None,
) -> MakeTill | None:
    """What makes a till for an identity, asked of the nodes of the settings or the profile.

    None where there is none: a wallet's calls need a relayer and its API key, and a venue on this machine may
    have no chain.

    Raises
    ------
    ConfigError
        A node's address is not one.
    """
    has_node = bool(profile.rpc_url or settings.rpc_urls or identity.rpc_url)
    has_relayer = bool(profile.relayer_url and relayer_key)
    if identity.signer is None or not has_node or (identity.signature_type and not has_relayer):
        return None
    endpoints_of(settings, profile, identity.rpc_url)  # a mistake is told now, not on another thread
    if profile.loopback:
        settings = replace(settings, head_max_age_s=0.0)

    def make(engine: Engine, folder: Path, clock: Clock) -> Till:
        def holdings() -> ChainHoldings:
            nodes = endpoints_of(settings, profile, identity.rpc_url)
            return ChainHoldings(nodes, identity.funder, profile.chain_id)

        nodes = endpoints_of(settings, profile, identity.rpc_url)
        lane = partial(_lane_of, identity, profile, nodes, folder, settings, clock, relayer_key)
        return Till(engine, lane, holdings, folder, settings, clock)

    return make


def _lane_of(
    identity: Identity,
    profile: Profile,
    nodes: Sequence[Endpoint],
    folder: Path,
    settings: SettlementSettings,
    clock: Clock,
    relayer_key: BuilderApiKey | RelayerApiKey | None,
) -> tuple[Lane, Cost]:
    """The lane of an identity, and what its jobs cost."""
    lane = open_lane(
        identity, profile, nodes, folder, settings=settings, clock=clock, relayer_key=relayer_key
    )
    return lane, GasCost(lane, settings) if isinstance(lane, ChainLane) else SubmitCost(lane, settings)


class Till:
    """Settles what an engine holds.

    Parameters
    ----------
    engine : Engine
    open_lane : callable
        Called on the settling thread: the lane, and what its jobs cost (`own_account`).
    holdings : callable
        Gives holdings of the account that trades, one for each thread.
    folder : Path
        For the files of the module's head.
    settings : SettlementSettings
    clock : Clock
        The engine's.
    """

    def __init__(
        self,
        engine: Engine,
        open_lane: Callable[[], tuple[Lane, Cost]],
        holdings: Callable[[], Holdings],
        folder: Path,
        settings: SettlementSettings,
        clock: Clock,
    ) -> None:
        self._open_lane = open_lane
        self._holdings = holdings
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self.thread = SettlingThread(self._settler, clock.now_ns)
        self.cashier = Cashier(engine, self.thread)
        self.cash_micro: list[int] = []
        """By the chain's `balanceOf`: at the start, at the end."""

    def _settler(self, tell: Tell) -> Settler:
        """On the settling thread."""
        log = LaneJournal(self._folder / SETTLED_FILE)
        try:
            record = SettlementRecord(log)
            lane, cost = self._open_lane()
        except BaseException:
            log.close()
            raise
        holdings = self._holdings()
        return Settler(lane, holdings, policy_of(self._settings), record, tell=tell, cost=cost)

    def now_ns(self) -> int:
        """Engine time."""
        return self._clock.now_ns()

    async def start(self) -> None:
        """Asks what the account has, and begins to settle."""
        await self._count()
        self.thread.start()

    def tick(self) -> None:
        """Passes messages on; call it often, on the engine's thread."""
        self.cashier.tick(self._clock.now_ns())

    def hand_over(self, residue: Residue) -> None:
        """A market is closed."""
        self.cashier.hand_over(residue)

    async def end(self, wait_s: float) -> bool:
        """Ends the thread, after so many real seconds at most in which the rest is settled; whether nothing
        is left. What is in flight is found again by the next session.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_s
        while loop.time() < end and self.thread.is_alive and not self.cashier.is_idle:
            self.tick()
            await asyncio.sleep(TURN_S)
        self.cashier.begin_nothing()
        end = max(end, loop.time() + LAST_WORD_S)
        while loop.time() < end and self.thread.is_alive and self.cashier.has_jobs:
            self.tick()
            await asyncio.sleep(TURN_S)
        await asyncio.to_thread(self.thread.close)
        self.tick()
        await self._count()
        return self.cashier.is_idle

    def summary(self, ledgers: Iterable[Ledger]) -> dict[str, Any]:
        """The report's `settlement` (`settlement_of`); the ledgers are those of all markets traded."""
        return settlement_of([self.cashier], ledgers, self.cash_micro[0], self.cash_micro[-1])

    async def _count(self) -> None:
        """What the account has by the chain's own word, unless that cannot be asked now."""
        try:
            self.cash_micro.append(await asyncio.to_thread(self._holdings().collateral_micro))
        except InvmmError as error:
            self.cashier.say(f"the balance on the chain could not be asked: {error}")
