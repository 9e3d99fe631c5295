"""Checks of the doctor one by one: each finds what is wrong and names the fix."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from invmm import OrderSigner, VenueClient
from invmm.ops import checks
from invmm.ops.checks import FAIL, PASS, SKIP, Line, Patient
from invmm.testing import TestVenue
from invmm.venue.edges import Edges, Wallets
from invmm.venue.identity import Identity


@pytest.fixture(scope="module")
def venue() -> Iterator[TestVenue]:
    with TestVenue("btc-updown-5m", light=True, seed=9) as started:
        yield started


@pytest.fixture(scope="module")
def wallets(venue: TestVenue) -> Wallets:
    with Edges(venue.profile) as edges:
        return edges.wallets(venue.address).result(30)


def examined(venue: TestVenue, check: Any, kind: int = 0, funder: str | None = None) -> list[Line]:
    """What a check says about the venue's account as a wallet of this kind."""
    signer = OrderSigner(venue.private_key, kind, funder)
    who = Identity(signer, venue.credentials, venue.address, funder or venue.address, kind, None, {})

    async def run() -> list[Line]:
        async with VenueClient(venue.profile, signer, venue.credentials, read_attempts=1) as client:
            patient = Patient(venue.profile, lambda: who, client, "btc-updown-5m", who)
            return list(await check(patient))

    return asyncio.run(run())


@pytest.mark.parametrize(("kind", "name"), [(1, "proxy"), (2, "safe"), (3, "deposit"), (3, "old_deposit")])
def test_each_kind_of_wallet_is_recognised(venue: TestVenue, wallets: Wallets, kind: int, name: str) -> None:
    wallet, deployed = examined(venue, checks.wallet, kind, getattr(wallets, name))
    assert (wallet.status, wallet.facts["wallet_type"]) == (PASS, kind)
    assert deployed.status == PASS


def test_a_wallet_that_is_not_on_the_chain_is_a_failure(venue: TestVenue, wallets: Wallets) -> None:
    account = {"address": venue.address, "wallets": {"3": wallets.deposit}, "is_deployed": False}
    venue.child.control("account", account)
    try:
        wallet, deployed = examined(venue, checks.wallet, 3, wallets.deposit)
    finally:
        venue.child.control("account", account | {"is_deployed": True})
    assert (wallet.status, deployed.status) == (PASS, FAIL)
    assert "web site" in deployed.fix


def test_the_wrong_type_or_a_foreign_wallet_is_a_failure(venue: TestVenue, wallets: Wallets) -> None:
    (line,) = examined(venue, checks.wallet, 3, wallets.safe)
    assert (line.status, line.fix) == (FAIL, "use --signature-type 2 (GNOSIS_SAFE)")
    (line,) = examined(venue, checks.wallet, 1, "0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
    assert (line.status, wallets.deposit in line.fix) == (FAIL, True)


def test_an_account_that_may_only_sell_is_a_failure(venue: TestVenue) -> None:
    venue.child.control("account", {"address": venue.address, "is_closed_only": True})
    try:
        keys, account = examined(venue, checks.credentials)
    finally:
        venue.child.control("account", {"address": venue.address, "is_closed_only": False})
    assert (keys.status, account.status) == (PASS, FAIL)


def test_recorded_time_is_not_called_a_wrong_clock() -> None:
    with TestVenue("btc-updown-5m", light=True, start_s=1_600_000_000) as old:
        (line,) = examined(old, checks.clock)
    assert line.status == SKIP
