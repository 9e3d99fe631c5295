"""`py-clob-client-v2`, the venue's own, through its whole life on the embedded venue, unchanged."""

from __future__ import annotations

from typing import Any

import pytest
from eth_account import Account
from py_clob_client_v2.client import ClobClient
from py_clob_client_v2.clob_types import (
    AssetType,
    BalanceAllowanceParams,
    BookParams,
    MarketOrderArgsV2,
    OpenOrderParams,
    OrderArgsV2,
    OrderMarketCancelParams,
    OrderPayload,
    OrdersScoringParams,
    OrderType,
    PostOrdersV2Args,
    TradeParams,
)
from py_clob_client_v2.exceptions import PolyApiException

from invmm.errors import VenueError
from invmm.sim.access import AccessRules, Member
from tests.e2e.official_venue import (
    ADDRESS,
    KEY,
    OTHER_KEY,
    POSITION_UP,
    WALLET,
    venue,
)
from tests.reference.frames import CONDITION, START_S, UP


def client(url: str, key: str = KEY, kind: int = 0, nonce: int | None = None) -> ClobClient:
    """Logged in, with the API key that the venue made for this account and nonce."""
    made = ClobClient(url, 137, key, signature_type=kind, funder=WALLET if kind else None)
    made.set_api_creds(made.create_or_derive_api_key(nonce))
    return made


def terms(exchange: str) -> dict[str, Any]:
    """How this client names a token."""
    return {"token_id": None, "position_id": POSITION_UP} if exchange == "v3" else {"token_id": UP}


@pytest.mark.parametrize("exchange", ["v2", "v2-neg-risk", "v3"])
def test_its_whole_life(exchange: str) -> None:
    up, named = POSITION_UP if exchange == "v3" else UP, terms(exchange)
    with venue(exchange) as (child, profile):
        bot = client(profile.rest_url)
        key = bot.creds.api_key
        assert bot.get_ok() == "OK"
        assert bot.get_version() == 2
        assert bot.get_server_time() >= START_S
        assert bot.get_api_keys() == {"apiKeys": [key]}
        assert bot.get_closed_only_mode() == {"closed_only": False}

        assert bot.get_tick_size(up) == "0.01"
        assert bot.get_neg_risk(up) is (exchange == "v2-neg-risk")
        assert (bot.get_fee_rate_bps(up), bot.get_fee_exponent(up)) == (1000, 1)
        assert bot.get_clob_market_info(CONDITION)["v"] == ("v2" if exchange == "v3" else "v1")
        book = bot.get_order_book(up)
        assert (book["bids"][-1]["price"], book["asks"][-1]["price"]) == ("0.5", "0.53")
        assert bot.get_order_book_hash(book) == book["hash"]
        assert [one["asset_id"] for one in bot.get_order_books([BookParams(token_id=up)])] == [up]
        assert bot.get_midpoint(up) == {"mid": "0.515"}
        assert bot.get_price(up, "BUY") == {"price": "0.5"}
        assert bot.get_spreads([BookParams(token_id=up)]) == {up: "0.03"}

        rested = bot.create_and_post_order(
            OrderArgsV2(price=0.45, size=10, side="BUY", **named), post_only=True
        )
        assert (rested["success"], rested["status"]) == (True, "live")
        dated = bot.create_and_post_order(
            OrderArgsV2(price=0.44, size=10, side="BUY", expiration=START_S + 1000, **named),
            order_type=OrderType.GTD,
        )
        assert dated["status"] == "live"
        bought = bot.create_and_post_market_order(MarketOrderArgsV2(amount=10, side="BUY", **named))
        assert (bought["status"], bought["takingAmount"]) == ("matched", "18.8679")
        rest = bot.create_and_post_market_order(
            MarketOrderArgsV2(amount=5, side="BUY", order_type=OrderType.FAK, **named),
            order_type=OrderType.FAK,
        )
        assert rest["status"] == "matched"
        assert len(rest["transactionsHashes"]) == len(rest["tradeIDs"]) == 1
        with pytest.raises(PolyApiException, match="order crosses book"):
            bot.create_and_post_order(OrderArgsV2(price=0.6, size=10, side="BUY", **named), post_only=True)
        with pytest.raises(PolyApiException, match="FOK orders are fully filled or killed"):
            bot.create_and_post_market_order(
                MarketOrderArgsV2(amount=900, price=0.54, side="BUY", **named), order_type=OrderType.FOK
            )
        batch = bot.post_orders(
            [
                PostOrdersV2Args(
                    bot.create_order(OrderArgsV2(price=price, size=10, side="BUY", **named)), OrderType.GTC
                )
                for price in (0.41, 0.42)
            ]
        )
        assert [leg["status"] for leg in batch] == ["live", "live"]

        ours = [rested["orderID"], dated["orderID"], *(leg["orderID"] for leg in batch)]
        assert [order["id"] for order in bot.get_open_orders()] == ours
        assert [order["id"] for order in bot.get_open_orders(OpenOrderParams(id=ours[1]))] == [ours[1]]
        told = bot.get_order(rested["orderID"])
        assert (told["owner"], told["maker_address"], told["price"]) == (key, ADDRESS, "0.45")
        trades = bot.get_trades(TradeParams(market=CONDITION))
        assert [trade["id"] for trade in trades] == [*rest["tradeIDs"], *bought["tradeIDs"]]
        assert bot.get_trades_paginated()["count"] == 2
        money = BalanceAllowanceParams(asset_type=AssetType.COLLATERAL)
        bot.update_balance_allowance(money)
        assert len(bot.get_balance_allowance(money)["allowances"]) == 3
        assert bot.are_orders_scoring(OrdersScoringParams(ours[:1])) == {ours[0]: False}
        assert bot.get_notifications() == []
        beat = bot.post_heartbeat("")["heartbeat_id"]
        assert bot.post_heartbeat(beat)["heartbeat_id"] != beat
        with pytest.raises(PolyApiException, match="Invalid Heartbeat ID"):
            bot.post_heartbeat(beat)

        assert bot.cancel_order(OrderPayload(orderID=ours[0]))["canceled"] == ours[:1]
        again = bot.cancel_order(OrderPayload(orderID=ours[0]))
        assert again["not_canceled"] == {ours[0]: "Order not found or already canceled"}
        assert bot.cancel_orders(ours[1:2])["canceled"] == ours[1:2]
        assert bot.cancel_market_orders(OrderMarketCancelParams(market=CONDITION))["canceled"] == ours[2:]
        assert bot.cancel_all() == {"canceled": [], "not_canceled": {}}
        assert child.truth()["cash_micro"] < child.truth()["start_micro"]

        assert bot.delete_api_key() == "OK"
        with pytest.raises(PolyApiException, match="Unauthorized/Invalid api key"):
            bot.get_open_orders()


@pytest.mark.parametrize("exchange", ["v2", "v3"])
def test_orders_of_every_kind_of_wallet(exchange: str) -> None:
    with venue(exchange) as (_, profile):
        for kind in range(4):
            bot = client(profile.rest_url, kind=kind)
            answer = bot.create_and_post_order(OrderArgsV2(price=0.4, size=10, side="BUY", **terms(exchange)))
            assert answer["status"] == "live"
            told = bot.get_order(answer["orderID"])
            assert told["maker_address"] == (WALLET if kind else ADDRESS)


def test_it_signs_for_the_first_generation_where_the_venue_says_so() -> None:
    with venue(domain="1") as (_, profile):
        bot = client(profile.rest_url)
        assert bot.get_version() == 1
        assert bot.create_and_post_order(OrderArgsV2(UP, 0.4, 10, "BUY"))["status"] == "live"


def test_accounts_have_keys_of_their_own_and_do_not_see_each_other() -> None:
    with venue() as (_, profile):
        first, second = client(profile.rest_url), client(profile.rest_url, OTHER_KEY)
        spare = client(profile.rest_url, nonce=7)
        assert len({first.creds.api_key, second.creds.api_key, spare.creds.api_key}) == 3
        assert first.get_api_keys() == {"apiKeys": [first.creds.api_key, spare.creds.api_key]}
        assert first.derive_api_key() == first.creds
        with pytest.raises(PolyApiException, match="Could not create api key"):
            first.create_api_key()
        with pytest.raises(PolyApiException, match="Could not derive api key!"):
            second.derive_api_key(99)

        order_id = first.create_and_post_order(OrderArgsV2(UP, 0.4, 10, "BUY"))["orderID"]
        assert second.get_open_orders() == []
        assert second.cancel_all()["canceled"] == []
        assert second.cancel_order(OrderPayload(orderID=order_id))["canceled"] == []
        assert [order["id"] for order in spare.get_open_orders()] == [order_id]

        signed = first.create_order(OrderArgsV2(UP, 0.4, 10, "BUY"))
        with pytest.raises(PolyApiException, match="signer address has to be the address of the API KEY"):
            second.post_order(signed)


BARRED = (
    ({"is_banned": True}, 0, "'{}' address banned"),
    ({"is_closed_only": True}, 0, "'{}' address in closed only mode"),
    ({"is_new": True}, 0, "maker address not allowed, please use the deposit wallet flow"),
    ({"is_new": True}, 2, "maker address not allowed, please use the deposit wallet flow"),
    ({"is_deployed": False}, 3, "the order signer address has to be the address of the API KEY"),
    ({"wallets": {2: ADDRESS}}, 2, "the order maker address has to be a wallet of the API KEY"),
)


def test_what_the_venue_tells_accounts_that_may_not_trade() -> None:
    keys = [f"0x{index:064x}" for index in range(1, len(BARRED) + 1)]
    addresses = [Account.from_key(key).address for key in keys]
    members = [Member(address, **flags) for address, (flags, _, _) in zip(addresses, BARRED, strict=True)]
    with venue(access=AccessRules(members=tuple(members), only_deposit_wallets=True)) as (child, profile):
        for key, address, (flags, kind, text) in zip(keys, addresses, BARRED, strict=True):
            bot = client(profile.rest_url, key, kind)
            assert bot.get_closed_only_mode() == {"closed_only": "is_closed_only" in flags}
            with pytest.raises(PolyApiException, match="address") as refused:
                bot.create_and_post_order(OrderArgsV2(UP, 0.4, 10, "BUY"))
            assert refused.value.status_code == 400
            assert refused.value.error_msg == {"error": text.format(address)}

        bot = client(profile.rest_url)
        with pytest.raises(PolyApiException, match="deposit wallet flow"):
            bot.create_and_post_order(OrderArgsV2(UP, 0.4, 10, "BUY"))
        child.control("account", {"address": ADDRESS, "is_new": False, "is_banned": True})
        with pytest.raises(PolyApiException, match="banned"):
            bot.create_and_post_order(OrderArgsV2(UP, 0.4, 10, "BUY"))
        child.control("account", {"address": ADDRESS, "is_banned": False})
        assert bot.create_and_post_order(OrderArgsV2(UP, 0.4, 10, "BUY"))["status"] == "live"
        with pytest.raises(VenueError, match="account: expected"):
            child.control("account", {"address": ADDRESS, "is_rich": True})
        wallet = client(profile.rest_url, kind=3)
        assert wallet.create_and_post_order(OrderArgsV2(UP, 0.4, 10, "BUY"))["status"] == "live"
