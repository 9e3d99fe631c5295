"""The REST client against the embedded venue over loopback sockets: what is asked, done and refused."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator

import pytest

from invmm import ApiCredentials, BlockingVenueClient, OrderSigner, VenueClient, loopback
from invmm.errors import ConfigError, VenueError
from invmm.sim.child import VenueChild
from invmm.types import OrderStatus, Reason
from invmm.venue.market_data import FeeSchedule
from tests import markers
from tests.e2e.sim_client import ADDRESS, CREDENTIALS, a_child
from tests.reference.frames import CONDITION, DOWN, UP

KEY = markers.PRIVATE_KEY
API = ApiCredentials(CREDENTIALS.api_key, CREDENTIALS.secret, CREDENTIALS.passphrase)
SHARE = 1_000_000
UNKNOWN_ID = "0x" + "ab" * 32


@pytest.fixture
def child() -> Iterator[VenueChild]:
    with a_child() as started:
        started.begin(speed=1)
        yield started
        assert started.errors == ""


@pytest.fixture
def client(child: VenueChild) -> Iterator[BlockingVenueClient]:
    with BlockingVenueClient(loopback(child.port), OrderSigner(KEY), API) as started:
        yield started


def signed(price_e4: int, shares: int, token: str = UP, **more: object) -> object:
    return OrderSigner(KEY).sign(token, "BUY", price_e4, shares * SHARE, tick_e4=100, **more)  # type: ignore[arg-type]


def test_an_order_is_placed_listed_found_and_cancelled(client: BlockingVenueClient) -> None:
    order = signed(4500, 20, post_only=True)
    outcome = client.post_orders([order])[0]
    assert (outcome.order_id, outcome.status) == (order.order_id, OrderStatus.LIVE)

    assert [row["id"] for row in client.open_orders()] == [order.order_id]
    assert [row["id"] for row in client.open_orders(market=CONDITION)] == [order.order_id]
    assert client.open_orders(asset_id=DOWN) == []
    found = client.order(order.order_id)
    assert found is not None
    assert (found["status"].removeprefix("ORDER_STATUS_"), found["original_size"]) == ("LIVE", "20")

    assert client.cancel(order.order_id.upper().replace("0X", "0x"))["canceled"] == [order.order_id]
    assert client.open_orders() == []
    again = client.cancel([order.order_id, UNKNOWN_ID])
    assert again["canceled"] == []
    assert set(again["not_canceled"]) == {order.order_id, UNKNOWN_ID}
    assert client.order(UNKNOWN_ID) is None


def test_each_leg_of_a_batch_has_its_own_outcome_with_the_venues_words(client: BlockingVenueClient) -> None:
    legs = [signed(4500, 20), signed(9900, 20, post_only=True), signed(4400, 20, DOWN)]
    outcomes = client.post_orders(legs)
    assert [outcome.order_id for outcome in outcomes] == [leg.order_id for leg in legs]
    assert [outcome.status for outcome in outcomes] == [
        OrderStatus.LIVE,
        OrderStatus.REJECTED,
        OrderStatus.LIVE,
    ]
    assert outcomes[1].reason == Reason.VENUE_POST_ONLY
    assert outcomes[1].text == "invalid post-only order: order crosses book"
    assert client.cancel_market_orders(asset_id=DOWN)["canceled"] == [legs[2].order_id]
    assert client.cancel_market_orders(market=CONDITION)["canceled"] == [legs[0].order_id]


def test_a_taken_order_shows_as_a_trade_and_in_the_balances(client: BlockingVenueClient) -> None:
    before = int(client.balance_allowance()["balance"])
    outcome = client.post_orders([signed(5600, 10, order_type="FOK")])[0]
    assert (outcome.status, outcome.filled_micro) == (OrderStatus.MATCHED, 10 * SHARE)
    trades = client.trades()
    assert trades
    assert {trade["taker_order_id"] for trade in trades} == {outcome.order_id}
    assert client.trades(id=trades[0]["id"]) == trades[:1]
    assert client.trades(before=1) == []
    assert client.trades(market="0x" + "00" * 32) == []
    client.update_balance_allowance()
    held = client.balance_allowance("CONDITIONAL", UP)
    assert int(held["balance"]) in (0, 10 * SHARE)  # settled a moment later
    assert before > 0


def test_everything_is_cancelled_at_once(client: BlockingVenueClient) -> None:
    legs = [signed(3000 + 100 * level, 10) for level in range(15)]
    assert {outcome.status for outcome in client.post_orders(legs)} == {OrderStatus.LIVE}
    assert sorted(client.cancel_all()["canceled"]) == sorted(leg.order_id for leg in legs)
    assert client.open_orders() == []


def test_the_market_is_told_with_exact_numbers(client: BlockingVenueClient) -> None:
    market = client.market(CONDITION)
    assert [token.token_id for token in market.tokens] == [UP, DOWN]
    assert [token.outcome for token in market.tokens] == ["Up", "Down"]
    assert (market.tick_e4, market.min_size_micro, market.neg_risk) == (100, 5 * SHARE, False)
    assert (market.version, market.exchange) == ("v1", "v2")
    assert client.fee_schedule(CONDITION) == market.fees == FeeSchedule(0.07, 1.0, True)
    assert client.tick_size(UP) == 100
    assert client.neg_risk(DOWN) is False
    assert client.version() == 2
    book = client.book(UP)
    assert book["asset_id"] == UP
    assert book["bids"]
    with pytest.raises(VenueError, match="404"):
        client.market("0x" + "12" * 32)
    with pytest.raises(VenueError, match="No orderbook exists"):
        client.book("77")


def test_the_heartbeat_chain_recovers_from_a_wrong_id(client: BlockingVenueClient) -> None:
    first = client.heartbeat()
    second = client.heartbeat(first)
    assert len({"", first, second}) == 3
    assert client.heartbeat("not the last one") not in ("", first, second)


def test_wrong_credentials_are_refused_in_the_venues_words(child: VenueChild) -> None:
    wrong = ApiCredentials(API.api_key, API.secret, "another passphrase")
    with (
        BlockingVenueClient(loopback(child.port), credentials=wrong, address=ADDRESS) as client,
        pytest.raises(VenueError, match=r"^venue answered 401: Unauthorized/Invalid api key$"),
    ):
        client.cancel_all()


def test_credentials_and_an_address_are_enough_to_cancel(child: VenueChild) -> None:
    profile = loopback(child.port)
    with BlockingVenueClient(profile, OrderSigner(KEY), API) as trader:
        trader.post_orders([signed(4000, 10)])
    with BlockingVenueClient(profile, credentials=API, address=ADDRESS) as client:
        assert len(client.cancel_all()["canceled"]) == 1


def test_an_asyncio_program_has_many_requests_under_way(child: VenueChild) -> None:
    async def scene() -> None:
        async with VenueClient(loopback(child.port), OrderSigner(KEY), API) as client:
            posted = await asyncio.gather(*(client.post_orders([signed(4000, 10 + n)]) for n in range(8)))
            assert {leg.status for (leg,) in posted} == {OrderStatus.LIVE}
            assert len(await client.open_orders()) == 8

    asyncio.run(scene())


def test_what_cannot_be_asked_is_refused_before_anything_is_sent(client: BlockingVenueClient) -> None:
    order = signed(4500, 20)
    for orders in ([], [order, order], [signed(4500, 20 + n) for n in range(16)]):
        with pytest.raises(ValueError, match="expected 1 to 15 different orders"):
            client.post_orders(orders)
    with pytest.raises(ValueError, match="order id: expected 0x and 64 hex digits, found '12'"):
        client.cancel(["12"])
    with pytest.raises(ValueError, match="asset type"):
        client.balance_allowance("USDC")
    with pytest.raises(ValueError, match="expected one with CONDITIONAL"):
        client.balance_allowance("CONDITIONAL")
    with pytest.raises(ValueError, match="condition id"):
        client.market("btc-updown-5m")
    client.credentials = None
    with pytest.raises(ConfigError, match="expected API credentials"):
        client.post_orders([order])
    with pytest.raises(ConfigError, match="expected API credentials"):
        client.open_orders()
    assert client.version() == 2


def test_the_blocking_client_has_every_method_of_the_other_one() -> None:
    methods = {
        name: method
        for name, method in inspect.getmembers(VenueClient, inspect.iscoroutinefunction)
        if not name.startswith("_") and name not in ("close", "login", "post_raw")
    }
    assert len(methods) > 25
    for name, method in methods.items():
        twin = getattr(BlockingVenueClient, name)
        assert inspect.signature(twin) == inspect.signature(method), name
        assert not inspect.iscoroutinefunction(twin)
        assert twin.__doc__ == method.__doc__


def test_a_blocking_client_that_was_closed_starts_anew(client: BlockingVenueClient) -> None:
    assert client.version() == 2
    client.close()
    client.close()
    assert client.version() == 2
