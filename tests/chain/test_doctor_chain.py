"""The doctor looks at the chain: a node that answers, POL for gas, and what is wrong where something is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from invmm.ops.chain_check import chain as look
from invmm.ops.checks import FAIL, PASS, Line, Patient
from invmm.settings import SettlementSettings
from invmm.sim.chain import LocalChain
from invmm.venue.client import VenueClient
from invmm.venue.identity import Identity
from invmm.venue.profile import loopback


@pytest.fixture(scope="module")
def local() -> Iterator[LocalChain]:
    with LocalChain() as local:
        local.serve()
        local.fund(local.account("rich").address, 0, 2 * 10**18)
        yield local


def examined(urls: str, account: str = "", max_age_s: float = 0.0) -> list[Line]:
    profile = loopback(9)
    who = Identity(None, None, account, account, 0, None, {}) if account else None
    settings = SettlementSettings(rpc_urls=urls, head_max_age_s=max_age_s)
    client = VenueClient(profile)
    patient = Patient(profile, lambda: pytest.fail("not asked"), client, "", who, settlement=settings)
    return asyncio.run(look(patient))


def test_a_node_that_answers_is_shown_with_its_blocks_and_the_accounts_pol(local: LocalChain) -> None:
    seen, gas = examined(local.url, local.account("rich").address)
    assert (seen.status, seen.facts["nodes"]) == (PASS, 1)
    assert "a second node would have to agree" in seen.detail
    assert (gas.status, gas.facts["pol"]) == (PASS, 2.0)


def test_an_account_without_pol_is_a_failure(local: LocalChain) -> None:
    _, gas = examined(local.url, local.account("poor").address)
    assert (gas.status, gas.fix) == (FAIL, "send POL to the account: without it nothing is merged")


def test_a_node_that_does_not_answer_is_a_failure_even_beside_one_that_does(local: LocalChain) -> None:
    (line,) = examined(f"{local.url} http://127.0.0.1:1")
    assert (line.status, "ConnectionRefusedError" in line.detail) == (FAIL, True)
    assert "[settlement] rpc_urls" in line.fix


def test_a_node_of_the_wrong_place_is_a_failure_and_a_venue_without_a_chain_needs_none() -> None:
    (line,) = examined("https://a.example")
    assert (line.status, "expected a node on this machine" in line.detail) == (FAIL, True)
    assert examined("") == []
