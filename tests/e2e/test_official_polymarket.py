"""`polymarket-client`, the venue's own, through its whole life on the embedded venue, unchanged: the blocking
face, the asyncio face and its streams.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import pytest
from polymarket import AsyncSecureClient, SecureClient
from polymarket.errors import RequestRejectedError
from polymarket.models.clob import PriceRequest
from polymarket.streams import MarketSpec, UserSpec

from invmm.errors import ConfigError
from invmm.venue.official import official_environment
from invmm.venue.profile import LIVE, Profile, loopback
from tests.e2e.official_venue import ADDRESS, KEY, POSITION_UP, venue
from tests.reference.frames import CONDITION, UP


def client(profile: Profile, wallet: str | None = ADDRESS, **more: Any) -> SecureClient:
    return SecureClient.create(
        private_key=KEY, wallet=wallet, environment=official_environment(profile), **more
    )


@pytest.mark.parametrize("exchange", ["v2-neg-risk", "v3"])
def test_its_whole_life(exchange: str) -> None:
    up = POSITION_UP if exchange == "v3" else UP
    with (
        venue(exchange, page_limit=2, confirmed_delay_ns=200_000_000) as (_, profile),
        client(profile) as bot,
    ):
        key = bot.credentials.key
        assert bot.fetch_api_keys() == (key,)
        assert bot.get_closed_only_mode() is False

        book = bot.get_order_book(asset_id=up)
        assert (book.bids[-1].price, book.asks[-1].price) == (Decimal("0.5"), Decimal("0.53"))
        assert book.neg_risk is (exchange == "v2-neg-risk")
        assert [one.asset_id for one in bot.get_order_books(asset_ids=[up])] == [up]
        assert bot.get_midpoint(asset_id=up) == Decimal("0.515")
        assert bot.get_midpoints(asset_ids=[up]) == {up: Decimal("0.515")}
        both = bot.get_prices(requests=[PriceRequest(up, "BUY"), PriceRequest(up, "SELL")])
        assert both == {up: {"BUY": Decimal("0.5"), "SELL": Decimal("0.53")}}
        assert bot.get_price(asset_id=up, side="SELL") == Decimal("0.53")
        assert bot.get_spread(asset_id=up) == bot.get_spreads(asset_ids=[up])[up] == Decimal("0.03")
        assert bot.get_last_trade_price(asset_id=up) is None
        assert bot.get_last_trade_prices(asset_ids=[up]) == ()
        assert bot.estimate_market_price(asset_id=up, side="BUY", amount=10) == Decimal("0.53")

        rested = bot.place_limit_order(asset_id=up, price="0.45", size=10, side="BUY", post_only=True)
        dated = bot.place_limit_order(
            asset_id=up, price="0.44", size=10, side="BUY", expiration=int(time.time()) + 400
        )
        assert (rested.ok, rested.status, dated.status) == (True, "live", "live")
        bought = bot.place_market_order(
            asset_id=up, side="BUY", amount=10, max_price="0.53", order_type="FOK"
        )
        assert (bought.status, bought.taking_amount) == ("matched", Decimal("18.8679"))
        more = bot.place_market_order(asset_id=up, side="BUY", amount=5, order_type="FAK")
        assert more.status == "matched"
        with pytest.raises(RequestRejectedError, match="order crosses book"):
            bot.place_limit_order(asset_id=up, price="0.6", size=10, side="BUY", post_only=True)
        signed = [
            bot.create_limit_order(asset_id=up, price=price, size=size, side="BUY")
            for price, size in (("0.41", 10), ("0.42", 10), ("0.43", 1))
        ]
        first, second, small = bot.post_orders(signed)
        assert (first.ok, second.ok, small.ok) == (True, True, False)
        assert "lower than the minimum: 5" in small.message
        ours = [rested.order_id, dated.order_id, first.order_id, second.order_id]

        assert [order.id for order in bot.list_open_orders().iter_items()] == ours
        assert [len(page.items) for page in bot.list_open_orders(market=CONDITION)] == [2, 2]
        told = bot.get_order(order_id=ours[0])
        assert (told.owner, told.maker_address, told.price) == (key, ADDRESS, Decimal("0.45"))
        trades = list(bot.list_account_trades(asset_id=up).iter_items())
        assert [trade.id for trade in trades] == [*more.trade_ids, *bought.trade_ids]
        settled = bot.wait_for_order_fill_settlement(bought)
        assert settled == (trades[1].transaction_hash,)
        money = bot.get_balance_allowance(asset_type="COLLATERAL")
        assert (len(money.allowances), money.balance < 10_000_000_000) == (3, True)
        shares = bot.get_balance_allowance(
            asset_type="CONDITIONAL-V2" if exchange == "v3" else "CONDITIONAL", asset_id=up
        )
        assert shares.balance >= 18_867_900
        assert bot.get_order_scoring(order_id=ours[0]) is False
        assert bot.get_orders_scoring(order_ids=ours[:1]) == {ours[0]: False}
        assert bot.get_notifications() == ()
        beat = bot.send_order_heartbeat().heartbeat_id
        assert bot.send_order_heartbeat(heartbeat_id=beat).heartbeat_id != beat

        assert list(bot.cancel_order(order_id=ours[0]).canceled) == ours[:1]
        again = bot.cancel_orders(order_ids=ours[:2])
        assert (list(again.canceled), list(again.not_canceled)) == (ours[1:2], ours[:1])
        assert list(bot.cancel_market_orders(market=CONDITION, asset_id=up).canceled) == ours[2:]
        assert bot.cancel_all().canceled == ()
        bot.end_authentication().close()


def test_asyncio_and_its_streams() -> None:
    async def play(profile: Profile) -> None:
        environment = official_environment(profile)
        bot = await AsyncSecureClient.create(private_key=KEY, wallet=ADDRESS, environment=environment)
        async with bot:
            own = await bot.subscribe(UserSpec(markets=[CONDITION]))
            public = await bot.subscribe(MarketSpec(asset_ids=[UP]))
            rested = await bot.place_limit_order(asset_id=UP, price="0.45", size=10, side="BUY")
            bought = await bot.place_market_order(asset_id=UP, side="BUY", amount=10, order_type="FOK")
            assert [order.id async for order in bot.list_open_orders().iter_items()] == [rested.order_id]
            trades = [trade.id async for trade in bot.list_account_trades().iter_items()]
            assert trades == list(bought.trade_ids)
            assert list((await bot.cancel_all()).canceled) == [rested.order_id]

            seen: list[tuple[str, str]] = []
            async with asyncio.timeout(20):
                async for event in own:
                    told = event.payload
                    kind = told.order_event_type if event.type == "order" else told.status
                    seen.append((told.id, kind))
                    if kind == "CONFIRMED":
                        break
                book = await anext(aiter(public))
            assert [kind for name, kind in seen if name == rested.order_id] == ["PLACEMENT", "CANCELLATION"]
            assert [kind for name, kind in seen if name == bought.order_id] == ["PLACEMENT", "UPDATE"]
            stages = [kind for name, kind in seen if name == bought.trade_ids[0]]
            assert stages == ["MATCHED", "MINED", "CONFIRMED"]
            assert (book.topic, book.payload.asset_id) == ("market", UP)

    with venue(confirmed_delay_ns=200_000_000) as (_, profile):
        asyncio.run(play(profile))


def test_its_deposit_wallet_and_a_second_set_of_keys() -> None:
    with venue() as (_, profile):
        with client(profile, None) as wallet:
            assert wallet.wallet_type == "DEPOSIT_WALLET"
            order = wallet.place_limit_order(asset_id=UP, price="0.4", size=10, side="BUY")
            assert wallet.get_order(order_id=order.order_id).maker_address == wallet.wallet
            kept = wallet.credentials
        with client(profile, nonce=3) as other, client(profile, credentials=kept) as same:
            assert other.credentials.key != kept.key
            assert same.credentials.key == kept.key
            assert other.fetch_api_keys() == (kept.key, other.credentials.key)


def test_no_host_of_a_loopback_environment_is_elsewhere() -> None:
    config = official_environment(loopback(1234))._config
    hosts = [getattr(config, item.name) for item in fields(config) if item.name.endswith("_url")]
    assert len(hosts) >= 14
    assert all("://127.0.0.1:1234" in host for host in hosts)
    assert config.exchange_v3 == loopback(1234).contracts.exchange_v3


def test_the_environment_of_the_live_profile_is_the_packages_own() -> None:
    from polymarket.environments import PRODUCTION

    assert official_environment(LIVE)._config == PRODUCTION._config


def test_the_test_chain_has_no_environment() -> None:
    with pytest.raises(ConfigError, match="expected a profile on chain 137, got 80002"):
        official_environment(replace(loopback(1234), chain_id=80002))
