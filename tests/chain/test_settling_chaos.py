"""From fills to dollars on a real EVM through crashes, lost answers, reorganisations, stuck transactions, and
a relayer that loses what it says, all from a seed: settler, lane and record against the contracts.

At the end the chain has the dollars that fills and resolutions make, the record of what was settled says the
same, and no share is left that pays. Many seeds: `python -m tests.chain.test_settling_chaos`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from polymarket import BuilderApiKey

from invmm.clock import ReplayClock
from invmm.errors import InvmmError, TransportError
from invmm.settings import SettlementSettings
from invmm.settlement.chain import ChainLane
from invmm.settlement.costs import Cost, GasCost, SubmitCost
from invmm.settlement.envelopes import RelayedWallet
from invmm.settlement.holdings import ChainHoldings
from invmm.settlement.lane import Lane
from invmm.settlement.lane_journal import LaneJournal, read_records
from invmm.settlement.messages import Ask, Grant, Holding, Purse
from invmm.settlement.policy import SettlePolicy
from invmm.settlement.record import SettlementRecord
from invmm.settlement.relay import Relay
from invmm.settlement.relayer import RelayerLane
from invmm.settlement.rpc import RpcError
from invmm.settlement.settler import Settler
from invmm.settlement.sightings import ChainView
from invmm.sim.chain import LocalChain, Match, Part
from invmm.sim.relayed import LocalExecutor
from invmm.sim.relayer import FakeRelayer, Mishap, serve
from invmm.types import Outcome, Side
from invmm.venue.auth import OrderSigner
from invmm.venue.profile import ExchangeName

DOLLAR = 1_000_000
GWEI = 10**9
NS = 10**9
WALLET = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
FINALITY_BLOCKS = 2
TURN_S = 5
START_S = 1_790_000_000
CHAOS_TURNS = 55
SETTINGS = SettlementSettings(
    head_max_age_s=0.0, stuck_after_s=20.0, repeat_after_s=3.0, tip_floor_gwei=1, poll_ms=1
)
MISHAPS = (
    Mishap.NONE,
    Mishap.LOST,
    Mishap.ERROR,
    Mishap.DROPPED,
    Mishap.REFUSED,
    Mishap.BUSY,
    Mishap.SILENT,
    Mishap.FAILED,
)


class Crash(BaseException):
    """The program ends here."""


@dataclass
class Window:
    """A market as the engine has it."""

    holding: Holding
    payouts: tuple[int, int]
    filled: list[int] = field(default_factory=lambda: [0, 0])
    spent_micro: int = 0
    is_over: bool = False

    @property
    def worth_micro(self) -> int:
        """What its fills come to."""
        paid = sum(shares * part for shares, part in zip(self.filled, self.payouts, strict=True))
        return paid // sum(self.payouts) - self.spent_micro


class World:
    """A chain whose blocks come when the seed says so, and a session that begins again after each crash."""

    name = "local"

    def __init__(self, seed: int, folder: Path, *, is_wallet: bool) -> None:
        self.random = random.Random(seed)
        self.folder = folder
        self.is_wallet = is_wallet
        self.is_calm = True
        self.crashes = 0
        self.clock = ReplayClock(START_S * NS)
        self.chain = LocalChain(
            block_time_ms=None,
            finality_blocks=FINALITY_BLOCKS,
            wallets=[WALLET],
            seconds=lambda: self.clock.now_ns() // NS,
        )
        self.key = self.chain.account("trader")
        self.flow = self.chain.account("flow").address
        self.holder = WALLET if is_wallet else self.key.address
        self.chain.fund(self.key.address, 0 if is_wallet else 500 * DOLLAR, 10**19)
        self.chain.fund(self.flow, 10_000 * DOLLAR, 10**19)
        self.chain.approve_all(self.chain.account("flow").key)
        if is_wallet:
            self.chain.fund(WALLET, 500 * DOLLAR)
            self.chain.approve_wallet(WALLET)
        else:
            self.chain.approve_all(self.key.key)
        self.windows = [self.window(number) for number in range(2)]
        self.settle_blocks()
        self.wei = self.balance_wei()
        self.relayer = FakeRelayer(
            LocalExecutor(self.chain),
            mishap=lambda _: Mishap.NONE if self.is_calm else self.random.choice(MISHAPS),
            delay_s=3.0,
        )

    def window(self, number: int) -> Window:
        exchange = self.random.choice(["v2", "v3"])
        question = b"?%d".ljust(33, b"?") % number
        made = self.chain.prepare(question, "v2" if exchange == "v3" else "v1")
        ids = (made.condition_id, f"m{number}", exchange, made.up_token, made.down_token)
        holding = Holding(*ids, START_S + 120.0 * (number + 1), (0, 0), (0, 0))
        return Window(holding, self.random.choice([(1, 0), (0, 1), (1, 1)]))

    def balance_wei(self) -> int:
        return self.chain.node.balance_wei(bytes.fromhex(self.key.address[2:]))

    def settle_blocks(self) -> None:
        """What is in the chain now no reorganisation takes away."""
        self.chain.mine(FINALITY_BLOCKS + 1)

    # ---- the program under test, and what goes wrong with it

    def begin(self) -> None:
        """A session; one that ends while it starts is started again."""
        while True:
            opened: list[Any] = []
            try:
                self.record_log = Journal(self.folder / "settled", self)
                opened.append(self.record_log)
                record = SettlementRecord(self.record_log)
                lane, cost = self.lane()
                opened.append(lane)
                holdings = ChainHoldings([self], self.holder)
                policy = SettlePolicy(return_ppm_day=10**6)
                self.told: list[Any] = []
                self.settler = Settler(lane, holdings, policy, record, tell=self.told.append, cost=cost)
                self.settler.hear(Purse(0, DOLLAR, False))
                for window in self.windows:
                    if not window.is_over or self.random.random() < 0.5:  # else the session leaves it alone
                        self.settler.hear(window.holding)
            except Crash:
                self.crashes += 1
                for one in opened:
                    one.close()
                continue
            self.record = record
            return

    def lane(self) -> tuple[Lane, Cost]:
        journal = Journal(self.folder / "lane", self)
        try:
            if not self.is_wallet:
                signer = OrderSigner(bytes(self.key.key))
                own = ChainLane([self], signer, journal, settings=SETTINGS, clock=self.clock)
                return own, GasCost(own, SETTINGS)
            told = {"key": self.relayer.key, "secret": self.relayer.secret}
            key = BuilderApiKey(**told, passphrase=self.relayer.passphrase)
            wallet = RelayedWallet(OrderSigner(bytes(self.key.key), 3, WALLET))
            view = ChainView([self], SETTINGS)
            relayed = RelayerLane(Relay(self.url, key), view, wallet, journal, settings=SETTINGS)
            return relayed, SubmitCost(relayed, SETTINGS)
        except BaseException:
            journal.close()
            raise

    def call(self, method: str, *params: Any) -> Any:
        """The node, seen through a bad line by a program that may end at any question."""
        self.trouble(0.03)
        try:
            answer = json.loads(json.dumps(self.chain.rpc.request(method, *params)))
        except InvmmError as error:
            data = getattr(error, "data", b"")
            raise RpcError("local", getattr(error, "code", 0), str(error), "0x" + data.hex()) from None
        self.trouble(0.03)
        return answer

    def trouble(self, lost: float = 0.0) -> None:
        draw = 1.0 if self.is_calm else self.random.random()
        if draw < 0.01:
            raise Crash
        if draw < 0.01 + lost:
            raise TransportError("no answer")

    # ---- the world

    def turn(self) -> None:
        """One turn of the settler, one whim of everything else."""
        self.clock.set(self.clock.now_ns() + TURN_S * NS)
        now_ns = self.clock.now_ns()
        for window in self.windows:
            if not window.is_over and now_ns >= window.holding.end_s * NS:
                window.is_over = True
                self.chain.resolve(window.holding.market, window.payouts)
                self.settle_blocks()
                self.hold(window, is_open=False)
        try:
            self.settler.turn(now_ns)
            for ask in [one for one in self.told if isinstance(one, Ask)]:
                self.settler.hear(Grant(ask.name, self.is_calm or self.random.random() < 0.8))
            self.told.clear()
        except Crash:
            self.crashes += 1
            self.settler.close()
            self.begin()
        if self.is_wallet:
            self.relayer.advance(now_ns / NS)
        self.whim()

    def whim(self) -> None:
        node, draw = self.chain.node, self.random.random()
        if self.is_calm:
            node.base_fee_wei = 25 * GWEI
            self.chain.mine()
        elif draw < 0.45:
            self.chain.mine()
        elif draw < 0.6:
            self.fill()
        elif draw < 0.75:  # what a relayer sent it would send again
            lose = not self.is_wallet and self.random.random() < 0.5
            node.reorganise(self.random.randint(1, FINALITY_BLOCKS), lose=lose)
            fee_wei = node.base_fee_wei
            if self.is_wallet:  # what the stage sent at a lower fee would be stuck, and it never pays more
                node.base_fee_wei = 25 * GWEI
            self.chain.mine(FINALITY_BLOCKS)
            node.base_fee_wei = fee_wei
        elif draw < 0.82 and not self.is_wallet:
            node.pool.clear()
        elif draw < 0.9:
            node.base_fee_wei = self.random.choice([25, 60, 200]) * GWEI

    def fill(self) -> None:
        """A confirmed buy in a window that runs."""
        running = [window for window in self.windows if not window.is_over]
        if not running:
            return
        window = self.random.choice(running)
        outcome, shares = self.random.choice(list(Outcome)), self.random.randint(5, 30) * DOLLAR
        cash = shares * self.random.randint(30, 60) // 100
        ours = Part(self.holder, outcome, Side.BUY, shares, cash)
        theirs = Part(self.flow, Outcome(1 - outcome), Side.BUY, shares, shares - cash)
        conditions = {one.condition_id: one for one in map(self.condition, self.windows)}
        match = Match(
            conditions[window.holding.market], (ours, theirs), ExchangeName(window.holding.exchange)
        )
        self.chain.settle(match)
        self.settle_blocks()
        window.filled[outcome] += shares
        window.spent_micro += cash
        self.hold(window)

    def condition(self, window: Window) -> Any:
        number = self.windows.index(window)
        version = "v2" if window.holding.exchange == "v3" else "v1"
        return self.chain.prepare(b"?%d".ljust(33, b"?") % number, version)

    def hold(self, window: Window, *, is_open: bool = True) -> None:
        gross = (window.filled[0], window.filled[1])
        window.holding = replace(window.holding, low_micro=gross, high_micro=gross, is_open=is_open)
        try:
            self.settler.hear(window.holding)
        except Crash:
            self.crashes += 1
            self.settler.close()
            self.begin()

    def run(self) -> None:
        with self.relayed():
            start = self.chain.collateral_micro(self.holder)
            self.is_calm = False
            self.begin()
            for _ in range(CHAOS_TURNS):
                self.turn()
            self.is_calm = True
            for _ in range(300):
                if not self.record.markets() and not self.record.open():
                    break
                self.turn()
            assert self.settler.broken == ""
            assert self.record.markets() == []
            self.settler.close()
        self.agrees(start)

    @contextmanager
    def relayed(self) -> Iterator[None]:
        """With a relayer, where one is needed."""
        self.url = ""
        if not self.is_wallet:
            yield
            return
        with serve(self.relayer, lambda: self.clock.now_ns() / NS) as self.url:
            yield

    def agrees(self, start_micro: int) -> None:
        """The chain, the engine's fills and the record, each by itself."""
        cash = self.chain.collateral_micro(self.holder)
        assert cash == start_micro + sum(window.worth_micro for window in self.windows)
        rows = read_records(self.folder / "settled")
        done = {row["name"]: row for row in rows if row["kind"] == "ended" and row["is_done"]}
        begun = [row for row in rows if row["kind"] == "begun" and row["name"] in done]
        assert len(begun) == len(done)
        spent = sum(window.spent_micro for window in self.windows)
        assert cash == start_micro - spent + sum(row["pays_micro"] for row in begun)
        assert len({row["transaction"] for row in done.values()}) <= len(done)
        if not self.is_wallet:
            ended = [row for row in rows if row["kind"] == "ended"]
            lane = [row for row in read_records(self.folder / "lane") if row["kind"] == "used"]
            assert self.wei - self.balance_wei() == sum(row["fee_wei"] for row in lane)
            assert sum(row["fee_wei"] for row in ended) <= sum(row["fee_wei"] for row in lane)


class Journal(LaneJournal):
    """On disk; the program may end before and after each record."""

    def __init__(self, path: Path, world: World) -> None:
        self._world = world
        super().__init__(path)

    def append(self, record: dict[str, Any], /) -> None:
        self._world.trouble()
        super().append(record)
        self._world.trouble()


@pytest.mark.parametrize(("seed", "is_wallet"), [(1, False), (2, True)], ids=["account", "wallet"])
def test_fills_record_and_chain_agree_after_everything_went_wrong(
    seed: int, is_wallet: bool, tmp_path: Path
) -> None:
    World(seed, tmp_path, is_wallet=is_wallet).run()


@pytest.mark.slow
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("is_wallet", [False, True], ids=["account", "wallet"])
def test_fifty_seeds_end_with_ledger_and_chain_equal(is_wallet: bool) -> None:
    failed, crashes = play(range(100, 150), is_wallet)
    assert failed == []
    assert crashes > 50


def play(seeds: Sequence[int], is_wallet: bool) -> tuple[list[int], int]:
    """Plays each seed and tells of it on standard error; which of them fail, and crashes in all."""
    failed, crashes = [], 0
    name = "wallet" if is_wallet else "account"
    for count, seed in enumerate(seeds, 1):
        begun_s = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            world = World(seed, Path(folder), is_wallet=is_wallet)
            try:
                world.run()
            except Exception:
                failed.append(seed)
                traceback.print_exc()
        crashes += world.crashes
        took_s = time.monotonic() - begun_s
        said = f"{name}, seed {seed}, {count} of {len(seeds)}: {world.crashes} crashes, {took_s:.1f} s"
        print(said + (", FAILED" if seed in failed else ""), file=sys.stderr, flush=True)
    return failed, crashes


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays seeds with an account of its own and with a wallet; exit code 1 if any fails."""
    p = argparse.ArgumentParser(prog="python -m tests.chain.test_settling_chaos", description=__doc__)
    p.add_argument("--seeds", type=int, default=50, help="how many (default 50)")
    p.add_argument("--first-seed", type=int, default=100, help="the first one (default 100)")
    options = p.parse_args(arguments)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    all_failed = 0
    for is_wallet in (False, True):
        failed, crashes = play(seeds, is_wallet)
        all_failed += len(failed)
        names = ", ".join(map(str, failed)) or "none"
        print(
            f"{'wallet' if is_wallet else 'account'}: {len(seeds)} seeds, {crashes} crashes, failed: {names}"
        )
    return int(all_failed > 0)


if __name__ == "__main__":
    sys.exit(main())
