"""Signed transactions equal those of eth-account, and the signer signs nothing but settlement."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from invmm.settlement.calls import Call, Route, route_of
from invmm.venue.auth import OrderSigner
from invmm.venue.profile import CONTRACTS

KEY = "0x" + "4c" * 32
SIGNER = OrderSigner(KEY)
CONDITION = "0x" + "5d" * 32
CONDITION_V2 = "0x01" + "17" * 16 + "0000" + "00" * 8 + "0000" + "0000" + "00"
ROUTES = [
    (route_of("v1", False), CONDITION),
    (route_of("v1", True), CONDITION),
    (route_of("v2", False), CONDITION_V2),
]
MANY = st.integers(0, 2**64)
STRANGER = "0x" + "ab" * 20


def calls_of(route: Route, condition: str) -> list[Call]:
    return [
        route.split(condition, 1),
        route.merge(condition, 25_000_000),
        *route.redeem(condition, 3, 4),
        *(approval.give() for approval in route.approvals),
    ]


CALLS = [call for route, condition in ROUTES for call in calls_of(route, condition)]


def transaction(call: Call, **other: Any) -> dict[str, Any]:
    return {
        "type": 2,
        "chainId": 137,
        "nonce": 7,
        "to": call.to,
        "value": call.value,
        "data": call.data,
        "gas": 300_000,
        "maxFeePerGas": 131_000_000_000,
        "maxPriorityFeePerGas": 31_000_000_000,
        **other,
    }


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CALLS), MANY, st.integers(21_000, 2**32), MANY, MANY)
def test_the_bytes_are_those_of_eth_account(call: Call, nonce: int, gas: int, fee: int, tip: int) -> None:
    fields = transaction(call, nonce=nonce, gas=gas, maxFeePerGas=max(fee, tip), maxPriorityFeePerGas=tip)
    assert SIGNER.sign_transaction(fields) == bytes(
        Account.from_key(KEY).sign_transaction(fields).raw_transaction
    )


def test_every_call_of_the_official_client_to_a_wallets_contracts_is_signed() -> None:
    golden = json.loads((Path(__file__).parents[1] / "data" / "golden_onchain.json").read_text())
    assert len(golden["calls"]) >= 10
    for one in golden["calls"]:
        call = Call(one["to"], bytes.fromhex(one["data"][2:]))
        assert SIGNER.sign_transaction(transaction(call))[0] == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"chainId": 1}, "expected chain 137, found 1"),
        ({"value": 1}, "expected to send no POL"),
        ({"type": 1}, "expected type 2"),
        ({"accessList": [1]}, "without an access list"),
        ({"gasPrice": 5}, "gasPrice"),
        ({"nonce": -1}, "nonce: expected a number"),
        ({"gas": True}, "gas: expected a number"),
        ({"maxFeePerGas": None}, "maxFeePerGas: expected a number"),
        ({"to": None}, "expected an address"),
        ({"to": STRANGER}, "does not sign 9e7212ad"),
        ({"to": CONTRACTS[137].router}, "does not sign 9e7212ad"),
        ({"data": b""}, "does not sign no call"),
        ({"data": "0x9e7212ad"}, "bytes in `data`"),
    ],
)
def test_what_settlement_never_sends_is_not_signed(change: dict[str, Any], words: str) -> None:
    route, condition = ROUTES[0]
    with pytest.raises(ValueError, match=words):
        SIGNER.sign_transaction(transaction(route.merge(condition, 1), **change))


def test_no_collateral_is_sent_and_no_right_given_to_a_stranger() -> None:
    contracts = CONTRACTS[137]
    to_stranger = bytes(12) + bytes.fromhex(STRANGER[2:])
    transfer = bytes.fromhex("a9059cbb") + to_stranger + bytes(32)
    with pytest.raises(ValueError, match="does not sign a9059cbb"):
        SIGNER.sign_transaction(transaction(Call(contracts.collateral, transfer)))
    for target, selector in ((contracts.collateral, "095ea7b3"), (contracts.conditional_tokens, "a22cb465")):
        data = bytes.fromhex(selector) + to_stranger + (1).to_bytes(32, "big")
        with pytest.raises(ValueError, match="the venue's contracts only"):
            SIGNER.sign_transaction(transaction(Call(target, data)))
        with pytest.raises(ValueError, match="the venue's contracts only"):
            SIGNER.sign_transaction(transaction(Call(target, data[:-1])))


def test_a_wiped_key_signs_no_transaction() -> None:
    signer = OrderSigner(KEY)
    signer.close()
    with pytest.raises(ValueError, match="transaction"):
        signer.sign_transaction(transaction(CALLS[0]))
