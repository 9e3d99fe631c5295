"""What a relayer is sent, byte for byte: fixed vectors, and the official client with its own transport."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from eth_account import Account
from polymarket._internal.actions.relayer import calls as official_calls
from polymarket._internal.actions.relayer import gasless
from polymarket._internal.environment import PRODUCTION_CONFIG

from invmm import OrderSigner
from invmm.errors import ConfigError
from invmm.settlement.calls import Approval, Call, Standard, route_of
from invmm.settlement.envelopes import LONGEST_NOTE, RelayedWallet, WalletKind, kind_of
from invmm.venue.profile import CONTRACTS, POLYGON

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "golden_onchain.json").read_text())["relayer"]
KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
V1 = "0xcd5f9f505e0c0182746aa65963f72f01e7463259e5ea9f56672c0fe3a37f348a"
MERGE = route_of("v1", False).merge(V1, 25_000_000)
SPLIT = route_of("v1", False).split(V1, 25_000_000)
WALLET = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
MONEY = CONTRACTS[POLYGON].collateral
DEADLINE_S = 1790767898
KINDS = {1: "POLY_PROXY", 2: "GNOSIS_SAFE", 3: "DEPOSIT_WALLET"}


def test_a_deposit_wallets_fixed_vector_is_met() -> None:
    sealed = RelayedWallet(OrderSigner(KEY, 3, WALLET)).seal([MERGE], nonce=7, deadline_s=DEADLINE_S)
    assert sealed.body == GOLDEN["wallet"]["payload"]
    assert (sealed.nonce, sealed.deadline_s) == (7, DEADLINE_S)


def test_a_safes_fixed_vectors_are_met() -> None:
    safe = RelayedWallet(OrderSigner(KEY, 2, "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"))
    assert safe.seal([MERGE], nonce=7).body == GOLDEN["safe"]["payload"]
    both = safe.seal([SPLIT, MERGE], nonce=7).body
    assert both["data"] == GOLDEN["safe"]["multisend_data_for_split_then_merge"]
    assert both["signatureParams"]["operation"] == "1"


def test_a_proxys_fixed_vector_is_met() -> None:
    golden = GOLDEN["proxy"]
    proxy = RelayedWallet(OrderSigner(KEY, 1, WALLET))
    body = proxy.seal([MERGE], nonce=7, relay=golden["relay"], gas=int(golden["gas_limit"])).body
    assert (body["data"], body["signature"]) == (golden["proxy_call_data"], golden["signature"])


def some_call(rng: random.Random) -> Call:
    condition = "0x" + rng.randbytes(32).hex()
    amount = rng.randrange(1, 1 << 64)
    older, newer = route_of("v1", rng.random() < 0.5), route_of("v2", False)
    return rng.choice(
        [
            older.split(condition, amount),
            older.merge(condition, amount),
            *older.redeem(condition, 1, 1),
            *newer.redeem(condition[:-2], amount, amount),
            *(right.give(amount) for right in (*older.approvals, *newer.approvals)),
        ]
    )


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("seed", range(4))
def test_payloads_are_the_official_clients(kind: int, seed: int, monkeypatch: Any) -> None:
    rng = random.Random(f"{kind}{seed}")
    key = rng.randbytes(32)
    signer: Any = Account.from_key(key)
    wallet = Account.from_key(rng.randbytes(32)).address
    relay = Account.from_key(rng.randbytes(32)).address
    nonce, now, gas = rng.randrange(1 << 40), rng.randrange(1 << 32), rng.randrange(1 << 24)
    calls = [some_call(rng) for _ in range(rng.randint(1, 3))]
    asked: list[str] = []

    def get_json(path: str, *, params: dict[str, str]) -> dict[str, str]:
        asked.append(f"{path}?{params['type']}")
        return {"address": relay, "nonce": str(nonce)}

    monkeypatch.setattr(gasless.time, "time", lambda: now)
    context: Any = SimpleNamespace(
        relayer=SimpleNamespace(get_json=get_json),
        rpc=SimpleNamespace(eth_estimate_gas=lambda call: gas),
        signer=signer,
        signer_type="OWNER",
        wallet=wallet,
        wallet_type=KINDS[kind],
        environment_config=PRODUCTION_CONFIG,
    )
    theirs: Any = [
        official_calls.TransactionCall(to=c.to, data="0x" + c.data.hex(), value=c.value)  # type: ignore[arg-type]
        for c in calls
    ]
    expected = gasless.build_signed_payload_for_wallet_type_sync(context, calls=theirs, metadata="note")
    sealed = RelayedWallet(OrderSigner(key, kind, wallet)).seal(
        calls, nonce=nonce, deadline_s=now + 600, note="note", relay=relay, gas=gas
    )
    assert json.dumps(sealed.body) == json.dumps(expected)  # the order of keys, too: it is signed in headers
    assert len(asked) == 1


def test_a_note_that_is_too_long_is_cut() -> None:
    body = RelayedWallet(OrderSigner(KEY, 2, WALLET)).seal([MERGE], nonce=1, note="x" * 600).body
    assert len(body["metadata"]) == LONGEST_NOTE


def test_an_account_of_its_own_has_no_relayer() -> None:
    assert [kind_of(number) for number in (1, 2, 3)] == list(WalletKind)
    with pytest.raises(ConfigError, match="found 0"):
        kind_of(0)
    with pytest.raises(ValueError, match="found none"):
        RelayedWallet(OrderSigner(KEY, 2, WALLET)).seal([], nonce=1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (Call(MERGE.to, MERGE.data, 1), "no POL"),
        (Call(WALLET, MERGE.data), "does not sign 9e7212ad"),
        (
            Call(CONTRACTS[POLYGON].collateral, bytes.fromhex("a9059cbb") + bytes(64)),
            "does not sign a9059cbb",
        ),
        (
            Approval(Standard.ERC20, CONTRACTS[POLYGON].collateral, WALLET, "a stranger").give(),
            "contracts only",
        ),
    ],
)
@pytest.mark.parametrize("kind", list(KINDS))
def test_what_settlement_never_does_is_not_signed(kind: int, call: Call, words: str) -> None:
    wallet = RelayedWallet(OrderSigner(KEY, kind, WALLET))
    with pytest.raises(ValueError, match=words):
        wallet.seal([MERGE, call], nonce=1, relay=WALLET)


def test_an_account_that_pays_itself_or_whose_key_was_wiped_signs_nothing() -> None:
    call = (MERGE.to, 0, MERGE.data)
    with pytest.raises(ValueError, match="found 0"):
        OrderSigner(KEY).sign_relayed([call], nonce=1)
    signer = OrderSigner(KEY, 3, WALLET)
    signer.close()
    with pytest.raises(ValueError, match="relayed call"):
        signer.sign_relayed([call], nonce=1)


def test_the_contracts_that_are_signed_for_are_the_official_clients() -> None:
    ours, config = CONTRACTS[POLYGON], PRODUCTION_CONFIG
    assert ours.safe_multisend == config.safe_multisend
    assert ours.relay_hub == config.relay_hub
    assert ours.proxy_factory == config.wallet_derivation.proxy_factory
    assert ours.deposit_wallet_factory == config.wallet_derivation.deposit_wallet_factory
