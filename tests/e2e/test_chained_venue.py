"""The embedded venue with its chain, over real sockets: what it confirms is there, to the micro-share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import aiohttp
import pytest
from eth_account import Account as Keys

from invmm.replay.tape import MarketInfo
from invmm.settlement.calls import Call, route_of
from invmm.settlement.holdings import ChainHoldings, version_of
from invmm.settlement.rpc import RpcEndpoint
from invmm.testing import Series, TestVenue
from invmm.types import Outcome
from tests.e2e.twin_bot import QUICK, START_S, Bot

SHARE = 1_000_000
SERIES = (
    Series("btc-updown-5m", tape="light"),
    Series("eth-updown-5m", tape="light", generation="v2"),
)


class Wallet:
    """The account on the chain: asks and sends like anybody."""

    def __init__(self, venue: TestVenue) -> None:
        self.node = RpcEndpoint(venue.rpc_url, timeout_s=60.0)
        self.holdings = ChainHoldings([self.node], venue.address)
        self.key = Keys.from_key(venue.private_key)

    def held(self, market: MarketInfo) -> list[int]:
        return [
            self.holdings.shares_micro(market.exchange, token)
            for token in (market.up_token_id, market.down_token_id)
        ]

    def cash(self) -> int:
        return self.holdings.collateral_micro()

    def send(self, call: Call) -> None:
        nonce = int(self.node.call("eth_getTransactionCount", self.key.address, "pending"), 16)
        told = {"type": 2, "chainId": 137, "nonce": nonce, "to": call.to, "data": call.data, "value": 0}
        fees = {"gas": 900_000, "maxFeePerGas": 10**11, "maxPriorityFeePerGas": 3 * 10**10}
        raw = self.key.sign_transaction(told | fees).raw_transaction
        assert self.success(self.node.call("eth_sendRawTransaction", "0x" + bytes(raw).hex()))

    def success(self, transaction: str) -> bool:
        receipt = self.node.call("eth_getTransactionReceipt", transaction)
        return bool(receipt["status"] == "0x1")


async def buy(bot: Bot, market: MarketInfo, token: Outcome, shares: int, side: str = "BUY") -> None:
    """Takes from the book, at whatever price."""
    price = 9_900 if side == "BUY" else 100
    await bot.place(market, price, shares, token=token, side=side)


async def refreshed(bot: Bot, query: str = "?asset_type=COLLATERAL") -> int:
    """The balance after the venue has looked at the chain."""
    status, _, _ = await bot.call("GET", "/balance-allowance/update", query=query)
    assert status == 200
    return await balance(bot, query)


async def balance(bot: Bot, query: str = "?asset_type=COLLATERAL") -> int:
    status, told, _ = await bot.call("GET", "/balance-allowance", query=query)
    assert status == 200
    return int(told["balance"])


def at_the_venue(venue: TestVenue, market: MarketInfo) -> dict[str, Any]:
    """What the venue has of one market."""
    return next(one for one in venue.truth()["markets"] if one["market"] == market.condition_id)


def statuses(venue: TestVenue, market: MarketInfo) -> list[str]:
    trades = [trade for trade in venue.truth()["trades"] if trade["market"] == market.condition_id]
    return [trade["status"].removeprefix("TRADE_") for trade in trades]


@pytest.fixture(scope="module")
def venue() -> Iterator[TestVenue]:
    with TestVenue(*SERIES, profile=QUICK, chain=True, start_s=START_S + 30) as venue:
        yield venue
        assert venue.child.errors == ""


@pytest.mark.parametrize("series", SERIES, ids=["v1", "v2"])
def test_fills_merges_and_redemptions_are_on_the_chain_as_the_venue_has_them(
    venue: TestVenue, series: Series
) -> None:
    async def scene(bot: Bot) -> None:
        market, wallet = venue.market(series=series.slug), Wallet(venue)
        route = route_of(*version_of(market.exchange))
        cash, paid = wallet.cash(), venue.truth()["payout_micro"]
        lost = venue.truth()["cash_micro"] - cash  # by the test below, if it came first
        assert wallet.held(market) == [0, 0]
        await buy(bot, market, Outcome.UP, 40)
        await buy(bot, market, Outcome.DOWN, 25)
        venue.fault("settlement", retry_rate=1.0)
        await buy(bot, market, Outcome.UP, 10)
        venue.fault("settlement", fail_rate=1.0)
        await buy(bot, market, Outcome.DOWN, 10)
        venue.clear("settlement")
        venue.advance(20)
        await buy(bot, market, Outcome.UP, 15, "SELL")
        venue.advance(20)
        assert sorted(set(statuses(venue, market))) == ["CONFIRMED", "FAILED"]
        held, truth = wallet.held(market), venue.truth()
        assert at_the_venue(venue, market)["settled_tokens_micro"] == held == [35 * SHARE, 25 * SHARE]
        assert truth["settled_cash_micro"] - lost == wallet.cash() < cash
        _, told, _ = await bot.call("GET", "/data/trades", query=f"?market={market.condition_id}")
        for entry in told["data"]:
            assert wallet.success(entry["transaction_hash"]) != entry["status"].endswith("FAILED")

        # What the wallet merges itself, the venue knows only when it is told to look.
        wallet.send(route.merge(market.condition_id, 20 * SHARE))
        assert wallet.held(market) == [15 * SHARE, 5 * SHARE]
        assert await balance(bot) == truth["settled_cash_micro"]
        assert await refreshed(bot) == truth["settled_cash_micro"] + 20 * SHARE
        assert await refreshed(bot) == wallet.cash() + lost
        body = bot.order(market, 100, 10, token=Outcome.DOWN, side="SELL")
        status, told, _ = await bot.call("POST", "/order", body)
        assert (status, "balance" in told["error"]) == (400, True)

        # Resolved on the chain and at the venue alike; winnings can be spent when they are redeemed.
        asked = (market.exchange, market.condition_id, (market.up_token_id, market.down_token_id))
        assert wallet.holdings.payouts(*asked) is None
        venue.advance(300)
        truth, winner = venue.truth(), at_the_venue(venue, market)["winner"]
        payouts = wallet.holdings.payouts(*asked)
        assert payouts is not None
        assert payouts[winner] > payouts[1 - winner] == 0
        won = [15 * SHARE, 5 * SHARE][winner]
        assert truth["unredeemed_micro"] == truth["payout_micro"] - paid == won
        before = wallet.cash()
        assert await balance(bot) == before + lost == truth["settled_cash_micro"] - won
        for call in route.redeem(market.condition_id, 15 * SHARE, 5 * SHARE):
            wallet.send(call)
        assert await refreshed(bot) == wallet.cash() + lost == before + won + lost
        after = venue.truth()
        assert (after["unredeemed_micro"], after["cash_micro"]) == (0, truth["cash_micro"])

    play(venue, scene)


def test_shares_that_were_moved_away_make_a_trade_fail_after_another_try(venue: TestVenue) -> None:
    async def scene(bot: Bot) -> None:
        market, wallet = venue.market(), Wallet(venue)
        lost = venue.truth()["cash_micro"] - wallet.cash()
        await buy(bot, market, Outcome.UP, 10)
        await buy(bot, market, Outcome.DOWN, 10)
        venue.advance(10)
        wallet.send(route_of("v1", False).merge(market.condition_id, 10 * SHARE))
        await buy(bot, market, Outcome.UP, 10, "SELL")
        venue.advance(20)
        assert statuses(venue, market)[-1] == "FAILED"
        assert await refreshed(bot) == wallet.cash() + lost
        assert at_the_venue(venue, market)["settled_tokens_micro"] == wallet.held(market) == [0, 0]
        venue.balance(collateral_micro=5_000 * SHARE)
        assert await refreshed(bot) == wallet.cash() + lost == 5_000 * SHARE

    play(venue, scene)


def test_a_settlement_that_never_happened_shows_as_a_difference(venue: TestVenue) -> None:
    async def scene(bot: Bot) -> None:
        market, wallet = venue.market(), Wallet(venue)
        await buy(bot, market, Outcome.UP, 10)
        venue.advance(10)
        cash, truth = wallet.cash(), venue.truth()
        had = at_the_venue(venue, market)["settled_tokens_micro"][0]
        assert wallet.held(market)[0] == had
        venue.fault("settlement", lose=1)
        await buy(bot, market, Outcome.UP, 7)
        venue.advance(10)
        assert statuses(venue, market)[-1] == "CONFIRMED"
        assert at_the_venue(venue, market)["settled_tokens_micro"][0] == had + 7 * SHARE
        assert wallet.held(market)[0] == had
        assert wallet.cash() == cash
        assert venue.truth()["settled_cash_micro"] < truth["settled_cash_micro"]

    play(venue, scene)


def play(venue: TestVenue, scene: Callable[[Bot], Awaitable[None]]) -> None:
    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            await scene(Bot(venue, session))

    asyncio.run(asyncio.wait_for(run(), 240))
