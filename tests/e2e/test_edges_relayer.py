"""A deposit wallet is created by the venue's own client, through the relayer, once."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import orjson
import pytest
from eth_account import Account
from polymarket import BuilderApiKey

from invmm import loopback
from invmm.sim.envelopes import DEPOSIT_FACTORY, open_envelope
from invmm.sim.relayer import FakeRelayer
from invmm.venue.edges import Edges
from invmm.venue.profile import CONTRACTS, POLYGON
from tests import markers
from tests.e2e.scripted_venue import Reply, ScriptedVenue, Seen, http

KEY = "0x" + markers.PRIVATE_KEY
BEACON = "0x" + CONTRACTS[POLYGON].deposit_wallet_beacon[2:].lower().rjust(64, "0")


def test_a_wallet_that_is_missing_is_created_once() -> None:
    relayer = FakeRelayer(None)  # type: ignore[arg-type]
    account = Account.from_key(KEY).address
    submitted: list[bytes] = []

    def script(seen: Seen) -> Reply:
        if "/auth/" in seen.path:
            triple = {"apiKey": markers.API_KEY, "secret": markers.API_SECRET, "passphrase": "words"}
            return Reply(http(200, orjson.dumps({**triple, "apiKeys": [markers.API_KEY]})))
        if b"jsonrpc" in seen.body:
            asked = seen.json()
            result = "0x89" if asked["method"] == "eth_chainId" else BEACON
            return Reply(http(200, orjson.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result})))
        if seen.path == "/submit":
            submitted.append(seen.body)
        answer = relayer.handle(seen.method, seen.path, seen.headers, seen.body, 0.0)
        return Reply(http(answer.status, json.dumps(answer.body).encode()))

    venue = ScriptedVenue(script)
    url = f"http://127.0.0.1:{venue.port}"
    profile = dataclasses.replace(loopback(venue.port), relayer_url=url, rpc_url=url)
    key = BuilderApiKey(key=relayer.key, secret=relayer.secret, passphrase=relayer.passphrase)
    try:
        with Edges(profile) as edges:
            wallets = edges.wallets(account).result(30)
            wallet = wallets.deposit
            relayer.missing = {wallet.lower(), wallets.old_deposit.lower()}
            assert edges.deploy_wallet(lambda: KEY, key).result(30) == wallet
            relayer.missing = {wallets.old_deposit.lower()}
            assert edges.deploy_wallet(lambda: KEY, key).result(30) == wallet  # it is there: nothing is sent
    finally:
        venue.close()
    (body,) = submitted
    assert json.loads(body) == {
        "type": "WALLET-CREATE",
        "from": account,
        "to": DEPOSIT_FACTORY,
        "metadata": "Deploy Deposit Wallet",
    }
    assert list(relayer.created.values()) == [account]


@pytest.mark.parametrize(
    "body", [{}, {"type": "WALLET"}, {"type": "SAFE", "to": 5}, {"type": "WALLET-CREATE"}]
)
def test_an_envelope_of_no_known_kind_is_not_opened(body: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="invalid"):
        open_envelope(body)
