"""`buy`, `sell` and `cancel_orders` on the embedded venue, by our client and by real `ClobClient` objects."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from typing import Any

import py_clob_client.client
import py_clob_client.clob_types
import py_clob_client_v2.client
import py_clob_client_v2.clob_types
import pytest

from invmm import ApiCredentials, BlockingVenueClient, ExecutorHandle, LimitOrder, OrderSigner, loopback
from invmm.errors import ConfigError, OrderUnknownError, VenueError
from invmm.sim.child import VenueChild
from invmm.strategy.commands import CancelAll, ExecuteBatch, PlaceLimit
from invmm.strategy.vocabulary import TakerOrder
from invmm.venue.adapters import ClobClientTrading, adapt, credentials_of, profile_of, signer_of
from invmm.venue.trading import VenueTradingClient
from tests import markers
from tests.e2e.sim_client import ADDRESS, CREDENTIALS, a_child
from tests.reference.frames import UP

KEY = "0x" + markers.PRIVATE_KEY
API = ApiCredentials(CREDENTIALS.api_key, CREDENTIALS.secret, CREDENTIALS.passphrase)
TRIPLE = (CREDENTIALS.api_key, CREDENTIALS.secret, CREDENTIALS.passphrase)


@pytest.fixture
def child() -> Iterator[VenueChild]:
    with a_child() as started:
        started.begin(speed=1)
        yield started
        assert started.errors == ""


def current(child: VenueChild, **more: Any) -> Any:
    """The bot's own client object, of the package whose orders the venue takes."""
    creds = py_clob_client_v2.clob_types.ApiCreds(*TRIPLE)
    return py_clob_client_v2.client.ClobClient(child.base_url, 137, KEY, creds, **more)


def dead(child: VenueChild) -> Any:
    """The bot's own client object, of the package whose orders the venue refuses."""
    creds = py_clob_client.clob_types.ApiCreds(*TRIPLE)
    return py_clob_client.client.ClobClient(child.base_url, 137, KEY, creds)


@pytest.fixture(params=["ours", "clob client v2", "clob client v2, our signer", "clob client, our signer"])
def trader(request: pytest.FixtureRequest, child: VenueChild) -> Iterator[Any]:
    with BlockingVenueClient(loopback(child.port), OrderSigner(KEY), API) as client:
        made = {
            "ours": lambda: VenueTradingClient(client),
            "clob client v2": lambda: adapt(current(child)),
            "clob client v2, our signer": lambda: adapt(current(child), our_signer=True),
            "clob client, our signer": lambda: adapt(dead(child), our_signer=True),
        }[request.param]()
        yield made
        if isinstance(made, VenueTradingClient):
            made.client.close()


def test_a_resting_order_is_placed_refused_and_cancelled(trader: Any, child: VenueChild) -> None:
    order_id = trader.buy(UP, 0.45, 20.0, order_type="GTC", post_only=True)
    alive = [order for order in child.truth()["orders"] if order["order_id"] == order_id]
    assert len(alive) == 1
    with pytest.raises(VenueError, match="order crosses book"):
        trader.buy(UP, 0.99, 20.0, order_type="GTC", post_only=True)
    with pytest.raises(VenueError, match="not enough balance"):
        trader.sell(UP, 0.60, 20.0, order_type="GTC", post_only=True)
    assert list(trader.cancel_orders([order_id])) == [order_id]
    assert list(trader.cancel_orders([order_id])) == []
    second = trader.buy(UP, 0.44, 20.0)
    assert list(trader.cancel_all()) == [second]


def test_a_taker_order_fills_and_answers_without_waiting_for_its_settlement(trader: Any) -> None:
    start = time.monotonic()
    assert trader.buy(UP, 0.56, 10.0, order_type="FOK", post_only=False).startswith("0x")
    assert time.monotonic() - start < 5  # the package alone would poll for up to 30 s
    with pytest.raises(VenueError, match="fully filled"):
        trader.buy(UP, 0.45, 1000.0, order_type="FOK", post_only=False)


def test_the_executor_thread_trades_through_it(trader: Any, child: VenueChild) -> None:
    handle = ExecutorHandle(trader)
    handle.start()
    batch = ExecuteBatch(
        limit_orders=(LimitOrder(UP, 0.45, 20.0), LimitOrder(UP, 0.44, 20.0)),
        taker_orders=(TakerOrder(UP, 0.56, 10.0),),
    )
    assert handle.wait_result(handle.send(batch), 20)
    placed = handle.results()[0]
    assert (placed.errors, placed.placed, placed.taken) == ((), 2, 1)
    assert handle.wait_result(handle.send(CancelAll()), 20)
    assert handle.results()[0].cancelled == 2
    assert handle.shutdown()


def test_an_order_whose_answer_is_lost_is_found_by_its_id(child: VenueChild) -> None:
    with BlockingVenueClient(loopback(child.port), OrderSigner(KEY), API) as client:
        trader = VenueTradingClient(client)
        first = trader.buy(UP, 0.45, 20.0)
        child.fault("lose", count=1)
        order_id = trader.buy(UP, 0.44, 20.0)
        assert {row["id"] for row in client.open_orders()} == {first, order_id}


def test_an_order_that_nobody_knows_about_counts_as_alive(child: VenueChild) -> None:
    trader = adapt(current(child))
    handle = ExecutorHandle(trader)
    handle.start()
    assert handle.wait_result(handle.send(PlaceLimit(LimitOrder(UP, 0.45, 20.0))), 20)
    (first,) = handle.results()[0].order_ids
    child.fault("lose", count=1)
    assert handle.wait_result(handle.send(PlaceLimit(LimitOrder(UP, 0.44, 20.0))), 20)
    (error,) = handle.results()[0].errors
    assert "may be alive" in error
    (hidden,) = {order["order_id"] for order in child.truth()["orders"]} - {first}
    assert hidden in error
    # Without the client's own cancel-all the thread cancels what it knows: the hidden one is among it.
    trader.cancel_all = None  # type: ignore[assignment, method-assign]
    assert handle.wait_result(handle.send(CancelAll()), 20)
    assert handle.results()[0].cancelled == 2
    assert handle.shutdown()


def test_the_dead_packages_orders_are_said_to_be_refused(child: VenueChild) -> None:
    with pytest.warns(UserWarning, match="order_version_mismatch"):
        trader = adapt(dead(child))
    with pytest.raises(VenueError, match=r"order_version_mismatch.*our_signer=True"):
        trader.buy(UP, 0.45, 20.0)
    with BlockingVenueClient(loopback(child.port), OrderSigner(KEY), API) as client:
        order_id = VenueTradingClient(client).buy(UP, 0.45, 20.0)
    assert trader.cancel_orders([order_id]) == [order_id]


def test_what_a_clob_client_holds_is_taken_over(child: VenueChild) -> None:
    funder = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
    for client in (
        current(child, signature_type=2, funder=funder),
        py_clob_client.client.ClobClient(
            child.base_url, 137, KEY, py_clob_client.clob_types.ApiCreds(*TRIPLE), 2, funder
        ),
    ):
        signer = signer_of(client)
        assert (signer.address, signer.maker, signer.signature_type) == (ADDRESS, funder, 2)
        assert credentials_of(client) == API
        assert profile_of(client).rest_url == child.base_url
    assert profile_of(py_clob_client_v2.client.ClobClient("https://clob.polymarket.com/", 137)).name == "live"
    with pytest.raises(ConfigError, match=r"expected https://clob\.polymarket\.com"):
        profile_of(py_clob_client_v2.client.ClobClient("https://example.com", 137))


def test_only_a_clob_client_with_key_and_credentials_can_be_adapted(child: VenueChild) -> None:
    with pytest.raises(ConfigError, match=r"expected a ClobClient .* found builtins\.dict"):
        adapt({})
    with pytest.raises(ConfigError, match="private key and API credentials"):
        adapt(py_clob_client_v2.client.ClobClient(child.base_url, 137, KEY))


def test_a_subclass_is_adapted_and_nothing_is_sent_twice(child: VenueChild) -> None:
    class Mine(py_clob_client_v2.client.ClobClient):
        pass

    client = Mine(
        child.base_url, 137, KEY, py_clob_client_v2.clob_types.ApiCreds(*TRIPLE), retry_on_error=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trader = adapt(client)
    assert isinstance(trader, ClobClientTrading)
    trader.buy(UP, 0.44, 20.0)
    child.fault("http", status=500, count=1, method="POST", body={"error": "could not insert order"})
    with pytest.raises(OrderUnknownError, match="could not insert order") as caught:
        trader.buy(UP, 0.45, 20.0)
    assert len(caught.value.order_id) == 66
    assert client.retry_on_error is True
    assert len(child.truth()["orders"]) == 1
