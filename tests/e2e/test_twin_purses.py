"""Two bots on one embedded venue: each trades on its own money and sees only its own."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from invmm.replay.tape import MarketInfo
from invmm.sim.access import AccessRules, ApiKey
from invmm.testing import TestVenue
from invmm.types import Outcome
from invmm.venue.auth import ApiCredentials, OrderSigner
from tests.e2e.sim_client import until
from tests.e2e.twin_bot import LIGHT, QUICK, START_S, Bot

SECOND_KEY = "0x" + "5e" * 32
SECRET = base64.urlsafe_b64encode(b"5" * 32).decode()
SECOND = ApiCredentials("5e5e5e5e-0000-4000-8000-000000000001", SECRET, "second")
ADDRESS = OrderSigner(SECOND_KEY).address
RULES = AccessRules(keys=(ApiKey(SECOND.api_key, SECOND.secret, SECOND.passphrase, ADDRESS),))
START_MICRO = 10_000_000_000


def play(scene: Callable[[Bot, Bot], Awaitable[None]]) -> None:
    """A venue's own bot and a second one, on a market that has just begun."""

    async def run(venue: TestVenue) -> None:
        async with aiohttp.ClientSession() as session:
            await scene(Bot(venue, session), Bot(venue, session, SECOND_KEY, SECOND))

    with TestVenue(LIGHT, profile=QUICK, access=RULES, start_s=START_S + 30, in_process=True) as venue:
        asyncio.run(asyncio.wait_for(run(venue), 60))
        assert venue.child.errors == ""


async def collateral(bot: Bot) -> int:
    """Settled collateral as the venue tells it to a bot, micro-dollars."""
    status, told, _ = await bot.call("GET", "/balance-allowance", query="?asset_type=COLLATERAL")
    assert status == 200, told
    return int(told["balance"])


async def positions(bot: Bot, user: str) -> list[tuple[str, float]]:
    """What the data API shows of an address."""
    _, told = await bot.get(f"/v2/positions?user={user}")
    return [(row["outcome"], row["current_size"]) for row in told["data"]]


async def inside(bot: Bot, market: MarketInfo) -> int:
    """A price (1e-4 dollars) between best bid and best ask."""
    while True:
        _, book = await bot.get(f"/book?token_id={market.up_token_id}")
        bid, ask = (round(float(book[side][-1]["price"]) * 10_000) for side in ("bids", "asks"))
        if ask - bid > 100:
            return bid + 100
        bot.venue.advance(5)


def test_two_bots_trade_with_each_other_and_each_pays_its_own_side() -> None:
    async def scene(first: Bot, second: Bot) -> None:
        venue, market = first.venue, first.venue.market()
        price = await inside(first, market)
        resting = await first.place(market, price, 10)
        taking = await second.place(market, 10_000 - price, 10, token=Outcome.DOWN)
        await until(lambda: [one["status"] for one in venue.truth()["trades"]] == ["TRADE_CONFIRMED"])
        truth = venue.truth()
        (trade,) = truth["trades"]
        legs = {leg["order_id"]: (leg["account"], leg["token"]) for leg in trade["legs"]}
        assert legs == {resting: (venue.address, 0), taking: (ADDRESS, 1)}
        fee = next(leg["fee_micro"] for leg in trade["legs"] if leg["is_taker"])
        paid = (10 * price * 100, 10 * (10_000 - price) * 100 + fee)
        assert fee > 0
        assert await collateral(first) == START_MICRO - paid[0] == truth["cash_micro"]
        assert await collateral(second) == START_MICRO - paid[1] == truth["accounts"][ADDRESS]["cash_micro"]
        assert await positions(first, venue.address) == [("Up", 10.0)]
        assert await positions(first, ADDRESS) == [("Down", 10.0)]
        assert await positions(first, "0x" + "77" * 20) == []
        listed = [(await bot.call("GET", "/data/trades"))[1]["data"] for bot in (first, second)]
        assert [[one["trader_side"] for one in entries] for entries in listed] == [["MAKER"], ["TAKER"]]
        venue.advance(600)
        after: dict[str, dict[str, Any]] = venue.truth()["accounts"]
        payouts = [after[name]["payout_micro"] for name in (venue.address, ADDRESS)]
        assert sorted(payouts) == [0, 10_000_000]
        assert [await collateral(first), await collateral(second)] == [
            START_MICRO - spent + payout for spent, payout in zip(paid, payouts, strict=True)
        ]

    play(scene)


def test_one_bots_poverty_and_open_orders_are_not_the_others() -> None:
    async def scene(first: Bot, second: Bot) -> None:
        venue, market = first.venue, first.venue.market()
        venue.balance(collateral_micro=5_000_000)
        kept = await first.place(market, 300, 100)  # three of five dollars are reserved
        status, told, _ = await first.call("POST", "/order", first.order(market, 300, 101))
        assert (status, "not enough balance" in told["error"]) == (400, True)
        spent = [await second.place(market, 300, shares) for shares in (101, 200)]
        assert (await first.open_ids(), sorted(await second.open_ids())) == ([kept], sorted(spent))
        assert [await collateral(first), await collateral(second)] == [5_000_000, START_MICRO]
        venue.balance(account=ADDRESS.lower(), collateral_micro=4_000_000)
        assert (await first.open_ids(), await second.open_ids()) == ([kept], spent[:1])
        status, told, _ = await second.call("POST", "/order", second.order(market, 300, 50, side="SELL"))
        assert (status, "not enough balance" in told["error"]) == (400, True)
        accounts = venue.truth()["accounts"]
        assert {name: one["settled_cash_micro"] for name, one in accounts.items()} == {
            venue.address: 5_000_000,
            ADDRESS: 4_000_000,
        }

    play(scene)
