"""What the venue's own client does for us, against the embedded venue and a scripted relayer on loopback."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from invmm import BlockingVenueClient, OrderSigner, loopback
from invmm.errors import ConfigError, TransportError, VenueError
from invmm.sim.child import VenueChild
from invmm.venue.edges import Edges, Wallets
from tests import markers
from tests.e2e.scripted_venue import Reply, ScriptedVenue, Seen, http
from tests.e2e.sim_client import ADDRESS, a_child

KEY = "0x" + markers.PRIVATE_KEY


@pytest.fixture
def child() -> Iterator[VenueChild]:
    with a_child() as started:
        started.begin(speed=1)
        yield started


def relayer(reply: bytes) -> Iterator[tuple[Edges, list[Seen]]]:
    venue = ScriptedVenue(lambda seen: Reply(reply))
    profile = dataclasses.replace(loopback(venue.port), relayer_url=f"http://127.0.0.1:{venue.port}")
    with Edges(profile) as edges:
        yield edges, venue.seen
    venue.close()


def test_the_wallets_of_an_account_are_computed_and_recognised() -> None:
    with Edges(loopback(1)) as edges:
        wallets = edges.wallets(ADDRESS).result(30)
    addresses = dataclasses.astuple(wallets)
    assert len({address.lower() for address in addresses}) == 5
    assert [wallets.signature_type(address.lower()) for address in addresses] == [0, 1, 2, 3, 3]
    assert wallets.signature_type("0x" + "11" * 20) is None
    assert isinstance(wallets, Wallets)


def test_credentials_are_made_that_our_client_can_use(child: VenueChild) -> None:
    profile = loopback(child.port)
    with Edges(profile) as edges:
        found = edges.credentials(lambda: KEY).result(30)
    with BlockingVenueClient(profile, OrderSigner(KEY), found) as client:
        assert client.open_orders() == []
        assert client.derive_api_key() == found


@pytest.mark.parametrize("deployed", [True, False])
def test_the_relayer_says_whether_a_wallet_is_deployed(deployed: bool) -> None:
    for edges, seen in relayer(http(200, orjson.dumps({"deployed": deployed}))):
        assert edges.is_deployed(ADDRESS, 3).result(30) is deployed
        assert seen[0].path.startswith(f"/deployed?address={ADDRESS}&type=WALLET")
        assert edges.is_deployed(ADDRESS, 0).result(30) is True
        assert len(seen) == 1  # an account is no contract


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (http(429, b'{"error":"quota exceeded: 0 units remaining"}'), VenueError),
        (http(200, b"<html>", "text/html"), TransportError),
        (http(200, b'{"deployed":"perhaps"}'), TransportError),
    ],
)
def test_a_relayer_without_a_usable_answer_is_an_error_of_ours(reply: bytes, kind: type[Exception]) -> None:
    for edges, _ in relayer(reply):
        with pytest.raises(kind, match="deployed: "):
            edges.is_deployed(ADDRESS, 3).result(30)


def test_no_message_repeats_a_key() -> None:
    wrong = "0x" + "f" * 64  # larger than the curve's order
    with Edges(loopback(1)) as edges, pytest.raises(ConfigError) as caught:
        edges.credentials(lambda: wrong).result(30)
    told: Any = caught.value
    while told is not None:
        assert "f" * 64 not in repr(told)
        told = told.__cause__
