"""`py-clob-client`, made for the first generation: it still logs in, reads and cancels, but its orders are of
a domain that is dead; and its whole life where the embedded venue is told to serve that domain.
"""

from __future__ import annotations

import pytest
from py_clob_client.client import ClobClient
from py_clob_client.clob_types import (
    AssetType,
    BalanceAllowanceParams,
    BookParams,
    MarketOrderArgs,
    OpenOrderParams,
    OrderArgs,
    OrderType,
    PostOrdersArgs,
)
from py_clob_client.exceptions import PolyApiException
from py_clob_client_v2.client import ClobClient as LiveClient
from py_clob_client_v2.clob_types import OrderArgsV2

from tests.e2e.official_venue import ADDRESS, KEY, WALLET, venue
from tests.reference.frames import CONDITION, START_S, UP


def client(url: str, kind: int = 0) -> ClobClient:
    made = ClobClient(url, 137, KEY, signature_type=kind, funder=WALLET if kind else None)
    made.set_api_creds(made.create_or_derive_api_creds())
    return made


def test_it_reads_and_cancels_but_its_orders_are_of_another_version() -> None:
    with venue() as (_, profile):
        bot, live = client(profile.rest_url), LiveClient(profile.rest_url, 137, KEY)
        live.set_api_creds(live.create_or_derive_api_key())
        assert (live.creds.api_key, live.creds.api_secret) == (bot.creds.api_key, bot.creds.api_secret)
        ids = [
            live.create_and_post_order(OrderArgsV2(UP, price, 10, "BUY"))["orderID"]
            for price in (0.4, 0.41, 0.42, 0.43)
        ]
        with pytest.raises(PolyApiException, match="order_version_mismatch") as refused:
            bot.create_and_post_order(OrderArgs(UP, 0.4, 10, "BUY"))
        assert refused.value.status_code == 400
        legs = bot.post_orders([PostOrdersArgs(bot.create_order(OrderArgs(UP, 0.4, 10, "BUY")))])
        assert [(leg["orderID"], leg["errorMsg"]) for leg in legs] == [("", "order_version_mismatch")]

        assert bot.get_api_keys() == {"apiKeys": [bot.creds.api_key]}
        assert bot.get_closed_only_mode() == {"closed_only": False}
        assert [order["id"] for order in bot.get_orders()] == ids
        assert bot.cancel(ids[0])["canceled"] == ids[:1]
        assert bot.cancel_orders(ids[1:2])["canceled"] == ids[1:2]
        assert bot.cancel_market_orders(asset_id=UP)["canceled"] == ids[2:]
        assert bot.delete_api_key() == "OK"


@pytest.mark.parametrize("exchange", ["v2", "v2-neg-risk"])
def test_its_whole_life_on_the_old_domain(exchange: str) -> None:
    with venue(exchange, domain="1") as (_, profile):
        bot = client(profile.rest_url)
        assert bot.get_ok() == "OK"
        assert bot.get_tick_size(UP) == "0.01"
        assert bot.get_neg_risk(UP) is (exchange == "v2-neg-risk")
        assert bot.get_fee_rate_bps(UP) == 1000
        book = bot.get_order_book(UP)
        told = book.hash
        assert bot.get_order_book_hash(book) == told
        assert bot.get_midpoints([BookParams(UP)]) == {UP: "0.515"}
        assert bot.get_price(UP, "SELL") == {"price": "0.53"}
        assert bot.get_last_trade_price(UP) == {"price": "0.5", "side": ""}

        rested = bot.create_and_post_order(OrderArgs(UP, 0.45, 10, "BUY"))
        assert rested["status"] == "live"
        dated = bot.create_order(OrderArgs(UP, 0.44, 10, "BUY", expiration=START_S + 1000))
        dated = bot.post_order(dated, OrderType.GTD)
        assert dated["status"] == "live"
        batch = bot.post_orders(
            [
                PostOrdersArgs(bot.create_order(OrderArgs(UP, price, 10, "BUY")), postOnly=True)
                for price in (0.42, 0.6)
            ]
        )
        assert [(leg["status"], leg["errorMsg"]) for leg in batch] == [
            ("live", ""),
            ("", "invalid post-only order: order crosses book"),
        ]
        bought = bot.post_order(bot.create_market_order(MarketOrderArgs(UP, 10, "BUY")), OrderType.FOK)
        assert (bought["status"], bought["takingAmount"]) == ("matched", "18.8679")
        ours = [rested["orderID"], dated["orderID"], batch[0]["orderID"]]

        assert [order["id"] for order in bot.get_orders(OpenOrderParams(market=CONDITION))] == ours
        assert bot.get_order(ours[0])["maker_address"] == ADDRESS
        assert [trade["id"] for trade in bot.get_trades()] == bought["tradeIDs"]
        money = BalanceAllowanceParams(asset_type=AssetType.COLLATERAL)
        bot.update_balance_allowance(money)
        assert int(bot.get_balance_allowance(money)["balance"]) <= 10_000_000_000
        assert bot.post_heartbeat(None)["heartbeat_id"]
        assert bot.cancel(ours[0])["canceled"] == ours[:1]
        assert bot.cancel_all()["canceled"] == ours[1:]

        for kind in (1, 2):
            wallet = client(profile.rest_url, kind)
            order_id = wallet.create_and_post_order(OrderArgs(UP, 0.4, 10, "BUY"))["orderID"]
            assert wallet.get_order(order_id)["maker_address"] == WALLET
