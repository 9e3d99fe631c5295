"""From fills to dollars on a real EVM: engine, cashier, settling thread, lane, contracts; ledger = chain."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from polymarket import BuilderApiKey

from invmm.clock import LiveClock
from invmm.engine import Engine
from invmm.market import Market
from invmm.ops.settled import settlement_problems
from invmm.permission import AlarmKind
from invmm.replay.tape import MarketInfo
from invmm.settings import Settings, SettlementSettings
from invmm.settlement.handover import merger_of, residue_of
from invmm.settlement.holdings import ChainHoldings
from invmm.settlement.lane_journal import LaneJournal
from invmm.settlement.messages import Done
from invmm.settlement.policy import Action
from invmm.settlement.rpc import RpcEndpoint
from invmm.settlement.till import Till, account_till, own_account
from invmm.sim.chain import Condition, LocalChain, Match, Part
from invmm.sim.chain.stage import approvals
from invmm.sim.relayed import LocalExecutor
from invmm.sim.relayer import FakeRelayer, Mishap, serve
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, CommandKind, EventKind, OrderStatus, Outcome, Side
from invmm.venue.auth import OrderSigner
from invmm.venue.identity import Identity
from invmm.venue.profile import ExchangeName, loopback

DOLLAR = 1_000_000
WALLET = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
SETTINGS = Settings.parse(
    "[settlement]\npoll_ms = 1\nhead_max_age_s = 0.0\nmerge_return_percent = 100.0\ntip_floor_gwei = 1\n"
)


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain(wallets=[WALLET]) as chain:
        chain.serve()
        chain.fund(chain.account("flow").address, 10**9 * DOLLAR, 10**20)
        chain.approve_all(chain.account("flow").key)
        yield chain


class Desk:
    """An engine whose fills happen on the chain as well, and its till."""

    def __init__(self, chain: LocalChain, folder: Path, name: str) -> None:
        self.chain = chain
        self.account = chain.account(name)
        chain.fund(self.account.address, 1_000 * DOLLAR, 10**19)
        chain.approve_all(self.account.key)
        self.clock = LiveClock(20.0)
        self.engine = Engine(SETTINGS, clock=self.clock)
        self.folder = folder
        self.holder = self.account.address
        self.till = self.open_till()
        self.trades = 0
        self.conditions: dict[int, Condition] = {}

    def open_till(self, settings: SettlementSettings = SETTINGS.settlement) -> Till:
        """A till on the same files, as the next session opens it."""
        signer = OrderSigner(bytes(self.account.key))
        node = RpcEndpoint(self.chain.url, timeout_s=60.0)
        lane = partial(own_account, [node], signer, self.folder, settings, self.clock)
        holdings = partial(ChainHoldings, [node], self.account.address)
        return Till(self.engine, lane, holdings, self.folder, settings, self.clock)

    def market(self, exchange: str = "v2", ends_in_s: int = 300) -> Market:
        now_s = self.clock.now_ns() // 10**9
        about = f"{self.account.address} {len(self.conditions)}"
        question = hashlib.blake2b(about.encode(), digest_size=32).digest()
        condition = self.chain.prepare(question, "v2" if exchange == "v3" else "v1")
        ids = (condition.condition_id, condition.up_token, condition.down_token)
        info = MarketInfo(f"m{len(self.conditions)}", *ids, now_s - 10, now_s + ends_in_s, exchange=exchange)
        market = self.engine.add_market(info)
        self.conditions[market.number] = condition
        return market

    def buy(
        self, market: Market, outcome: Outcome, shares: int, price_e4: int, *, is_dropped: bool = False
    ) -> None:
        """A fill of an order of ours, confirmed, by the operator's transaction unless that is dropped."""
        self.trades += 1
        cash = shares * price_e4 * 100
        maker = (self.holder, outcome, Side.BUY, shares * DOLLAR, cash)
        taker = (self.chain.account("flow").address, Outcome(1 - outcome), Side.BUY)
        parts = (Part(*maker), Part(*taker, shares * DOLLAR, shares * DOLLAR - cash))
        exchange = ExchangeName(market.info.exchange)
        if not is_dropped:
            self.chain.settle(Match(self.conditions[market.number], parts, exchange))
        placed = np.zeros(1, COMMAND_DTYPE)
        placed["kind"], placed["key"] = CommandKind.PLACE, ((market.number + 1) << 40) + self.trades
        placed["token"], placed["price_e4"], placed["size_micro"] = outcome, price_e4, shares * DOLLAR
        market.step.registry.add(placed)
        event = np.zeros(1, EVENT_DTYPE)
        event["kind"], event["market"] = EventKind.USER_EVENT, market.number
        event["status"], event["key"] = OrderStatus.TRADE_CONFIRMED, placed["key"]
        event["trade"], event["size_micro"] = self.trades, shares * DOLLAR
        event["token"], event["price_e4"] = outcome, price_e4
        self.engine.step(event, self.clock.now_ns())

    def close(self, market: Market) -> None:
        """As the roller does when a window is done with."""
        residue = residue_of(market, merger_of(SETTINGS.strategy), self.clock.now_ns())
        del self.engine.markets[market.number]
        self.till.hand_over(residue)

    async def until(self, what: Callable[[], Any], deadline_s: float = 60.0) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        while not what():
            assert loop.time() < end, f"not in time: {self.engine.messages}, {self.till.cashier.load}"
            self.till.tick()
            await asyncio.sleep(0.01)

    @property
    def done(self) -> list[Done]:
        return [done for _, done in self.till.cashier.done]

    def cash(self) -> int:
        return self.chain.collateral_micro(self.holder)


@pytest.mark.parametrize(("exchange", "payouts"), [("v2", (1, 0)), ("v3", (1, 1))])
def test_pairs_are_merged_the_rest_is_redeemed_and_ledger_and_chain_agree_to_the_micro_dollar(
    chain: LocalChain, tmp_path: Path, exchange: str, payouts: tuple[int, int]
) -> None:
    desk = Desk(chain, tmp_path, f"{exchange} {payouts}")

    async def session() -> None:
        start = desk.cash()
        market = desk.market(exchange)
        await desk.till.start()
        desk.buy(market, Outcome.UP, 70, 4_321)
        desk.buy(market, Outcome.DOWN, 41, 5_077)
        await desk.until(lambda: desk.done)
        (merge,) = desk.done
        assert (merge.action, merge.up_micro, merge.paid_micro) == (Action.MERGE, 41 * DOLLAR, 41 * DOLLAR)
        assert market.step.registry.position() == (29 * DOLLAR, 0)
        assert desk.cash() == market.ledger.cash_micro(start)
        chain.resolve(market.info.condition_id, payouts)
        ledger = market.ledger
        object.__setattr__(market.info, "end_s", 0)
        desk.close(market)
        assert await desk.till.end(60.0), desk.engine.messages
        paid = 29 * DOLLAR * payouts[0] // sum(payouts)
        assert desk.done[-1].paid_micro == paid
        assert (
            desk.cash()
            == ledger.cash_micro(start)
            == start - 70 * 432_100 - 41 * 507_700 + 41 * DOLLAR + paid
        )
        assert ledger.held_micro(Outcome.UP) == 0
        assert ledger.settle(None).total == pytest.approx((desk.cash() - start) / DOLLAR, abs=1e-9)

    asyncio.run(session())


def test_consecutive_windows_end_with_every_pair_in_cash_and_a_profit_split_that_adds_up(
    chain: LocalChain, tmp_path: Path
) -> None:
    desk = Desk(chain, tmp_path, "two windows")
    fills = [(60, 4_300, 35, 5_100, Outcome.UP), (30, 4_700, 52, 4_900, Outcome.DOWN)]

    async def session() -> None:
        start, ledgers = desk.cash(), []
        await desk.till.start()
        for number, (up, up_e4, down, down_e4, winner) in enumerate(fills, 1):
            market = desk.market()
            ledgers.append(market.ledger)
            desk.buy(market, Outcome.UP, up, up_e4)
            desk.buy(market, Outcome.DOWN, down, down_e4)
            await desk.until(lambda n=number: sum(d.action is Action.MERGE for d in desk.done) == n)
            chain.resolve(market.info.condition_id, (1, 0) if winner is Outcome.UP else (0, 1))
            object.__setattr__(market.info, "end_s", 0)
            desk.close(market)
        assert await desk.till.end(60.0), desk.engine.messages
        told = desk.till.summary(ledgers)
        assert (told["merges"], told["merged_pairs_micro"]) == (2, (35 + 30) * DOLLAR)
        assert (told["redemptions"], told["redeemed_micro"]) == (2, (25 + 22) * DOLLAR)
        assert told["left"] == 0
        assert told["cash_before_micro"] == start
        assert told["cash_after_micro"] == desk.cash() == told["ledger_cash_micro"]
        split = [ledger.settle(None) for ledger in ledgers]
        made = sum(part.pair_edge + part.orphans + part.fees for part in split)
        assert made == pytest.approx(sum(part.total for part in split), abs=1e-9)
        assert round(made * DOLLAR) == desk.cash() - start

    asyncio.run(session())


def test_a_match_that_was_never_settled_on_the_chain_is_seen_in_the_report(
    chain: LocalChain, tmp_path: Path
) -> None:
    desk = Desk(chain, tmp_path, "dropped")

    async def session() -> None:
        market = desk.market()
        await desk.till.start()
        desk.buy(market, Outcome.UP, 20, 4_000)
        desk.buy(market, Outcome.DOWN, 20, 5_000, is_dropped=True)
        chain.resolve(market.info.condition_id, (1, 0))
        ledger = market.ledger
        object.__setattr__(market.info, "end_s", 0)
        desk.close(market)
        assert not await desk.till.end(1.0), "what the chain does not show cannot be redeemed"
        assert not desk.done
        told = desk.till.summary([ledger])
        assert told["cash_after_micro"] == desk.cash() == told["ledger_cash_micro"] + 10 * DOLLAR
        problem, left = settlement_problems(told, complete=True)
        assert "1 markets and jobs are left" in left
        assert "the chain has 992.000000 dollars, the ledger says 982.000000" in problem

    asyncio.run(session())


def test_a_session_that_ends_in_the_middle_is_carried_on_by_the_next(
    chain: LocalChain, tmp_path: Path
) -> None:
    desk = Desk(chain, tmp_path, "restart")

    async def first() -> None:
        market = desk.market()
        await desk.till.start()
        desk.buy(market, Outcome.UP, 30, 4_000)
        desk.buy(market, Outcome.DOWN, 50, 5_000)
        await desk.until(lambda: desk.done)
        await desk.till.end(0.0)

    async def second() -> None:
        (market,) = desk.engine.markets.values()
        desk.till = desk.open_till()
        await desk.till.start()
        fresh = Engine(SETTINGS, clock=desk.clock)
        again = fresh.add_market(market.info)
        again.ledger = market.ledger
        again.ledger.merges.clear()  # its fills are listed again, what was settled is not
        desk.engine = desk.till.cashier._engine = fresh
        await desk.until(lambda: again.ledger.merged_micro == 30 * DOLLAR)
        chain.resolve(market.info.condition_id, (0, 1))
        object.__setattr__(market.info, "end_s", 0)
        desk.close(again)
        assert await desk.till.end(60.0), fresh.messages
        assert [done.action for done in desk.done] == [Action.REDEEM]
        assert desk.cash() == again.ledger.cash_micro(1_000 * DOLLAR)

    asyncio.run(first())
    asyncio.run(second())


def test_the_engine_keeps_its_shares_while_the_kill_switch_is_set_or_they_are_offered(
    chain: LocalChain, tmp_path: Path
) -> None:
    desk = Desk(chain, tmp_path, "kill")

    async def session() -> None:
        market = desk.market()
        desk.buy(market, Outcome.UP, 30, 4_000)
        desk.buy(market, Outcome.DOWN, 50, 5_000)
        desk.engine.permission.alarm("somebody has to look", AlarmKind.SETTLEMENT)
        await desk.till.start()
        await desk.until(lambda: desk.till.cashier.load.heard >= 2)
        for _ in range(20):
            desk.till.tick()
            await asyncio.sleep(0.01)
        assert not desk.done
        assert desk.till.cashier.load.jobs == 0
        await desk.till.end(0.0)

    asyncio.run(session())


def test_a_wallets_pairs_and_residue_become_dollars_by_a_relayer_that_loses_answers(
    chain: LocalChain, tmp_path: Path
) -> None:
    desk = Desk(chain, tmp_path, "owner of a wallet")
    chain.fund(WALLET, 1_000 * DOLLAR)
    chain.act(WALLET, approvals())
    desk.holder = WALLET
    mishaps = [Mishap.LOST, Mishap.NONE, Mishap.ERROR]
    relayer = FakeRelayer(LocalExecutor(chain), mishap=lambda n: mishaps[n % len(mishaps)], delay_s=0.0)
    signer = OrderSigner(bytes(desk.account.key), 3, WALLET)
    who = Identity(signer, None, signer.address, WALLET, 3, None, {})
    key = BuilderApiKey(key=relayer.key, secret=relayer.secret, passphrase=relayer.passphrase)

    async def session(url: str) -> None:
        profile = replace(loopback(9), relayer_url=url, rpc_url=chain.url)
        settings = replace(SETTINGS.settlement, relayer_submits_per_day=1_000)
        make = account_till(who, profile, settings, key)
        assert make is not None
        desk.till = make(desk.engine, tmp_path, desk.clock)
        start = desk.cash()
        market = desk.market()
        await desk.till.start()
        desk.buy(market, Outcome.UP, 70, 4_321)
        desk.buy(market, Outcome.DOWN, 41, 5_077)
        await desk.until(lambda: desk.done)
        assert (desk.done[0].action, desk.done[0].gas_used) == (Action.MERGE, 0)
        chain.resolve(market.info.condition_id, (1, 0))
        ledger = market.ledger
        object.__setattr__(market.info, "end_s", 0)
        desk.close(market)
        assert await desk.till.end(60.0), desk.engine.messages
        assert [done.action for done in desk.done] == [Action.MERGE, Action.REDEEM]
        assert desk.cash() == ledger.cash_micro(start)
        assert ledger.settle(None).total == pytest.approx((desk.cash() - start) / DOLLAR, abs=1e-9)

    with serve(relayer, lambda: desk.clock.now_ns() / 1e9) as url:
        asyncio.run(session(url))
    assert len(relayer.actions) == 2, "each job took effect once"
    assert not desk.engine.permission.alarms


def test_an_account_that_is_short_of_gas_money_is_an_alarm_and_goes_on_settling(
    chain: LocalChain, tmp_path: Path
) -> None:
    desk = Desk(chain, tmp_path, "short of gas")
    least = replace(SETTINGS.settlement, min_balance_pol=100.0)

    async def session() -> None:
        market = desk.market()
        desk.till = desk.open_till(least)
        await desk.till.start()
        desk.buy(market, Outcome.UP, 20, 4_000)
        desk.buy(market, Outcome.DOWN, 20, 5_000)
        await desk.until(lambda: desk.done)
        assert desk.engine.permission.kinds[AlarmKind.GAS] == 1
        assert "expected 100 POL for gas or more, found less" in desk.engine.permission.alarms
        assert not desk.engine.permission.latched
        await desk.till.end(0.0)

    asyncio.run(session())


def test_a_till_whose_files_are_in_use_says_so_and_stops_quoting(chain: LocalChain, tmp_path: Path) -> None:
    desk = Desk(chain, tmp_path, "locked")
    held = LaneJournal(tmp_path / "lane")

    async def session() -> None:
        await desk.till.start()
        await desk.until(lambda: desk.engine.permission.kinds[AlarmKind.SETTLEMENT] == 1)
        await desk.till.end(0.0)

    asyncio.run(session())
    held.close()
