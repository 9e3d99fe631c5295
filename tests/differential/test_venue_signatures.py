"""The embedded venue's check of signatures: every vector of the venue's packages, and the library's hash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eth_account.messages import encode_typed_data

from invmm.sim import signatures

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "golden_orders.json").read_text())
LIVE = [*GOLDEN["exchange_v2_domain2"], *GOLDEN["exchange_v3_domain3"]]
OLD = GOLDEN["exchange_v1_legacy_dead"]
SECRET = GOLDEN["l2_credentials"]["secret"]


def order_of(vector: dict[str, Any]) -> dict[str, Any]:
    order: dict[str, Any] = json.loads(vector["post_body_serialized"])["order"]
    return order


def exchange_of(vector: dict[str, Any]) -> str:
    contract = vector.get("verifying_contract") or vector["typed_data_domain"]["verifyingContract"]
    every = {**signatures.EXCHANGES, **signatures.OLD_EXCHANGES}
    return next(name for name, address in every.items() if address == contract)


@pytest.mark.parametrize("vector", [*LIVE, *OLD], ids=lambda vector: vector["name"])
def test_order_has_the_published_hashes_and_its_signer(vector: dict[str, Any]) -> None:
    order, exchange = order_of(vector), exchange_of(vector)
    assert signatures.domain_separator(exchange).hex() == vector["domain_separator"][2:]
    assert signatures.contents_hash(order).hex() == vector["struct_hash"][2:]
    assert signatures.order_digest(order, exchange).hex() == vector["digest_and_order_id"][2:]
    assert signatures.signer_of(order, exchange) == GOLDEN["signer"]
    assert signatures.is_old(order) is (vector in OLD)


@pytest.mark.parametrize("vector", LIVE, ids=lambda vector: vector["name"])
def test_the_librarys_own_encoding_of_typed_data_gives_the_same_hashes(vector: dict[str, Any]) -> None:
    fields = [part.split(" ") for part in signatures.ORDER_TYPE[len("Order(") : -1].split(",")]
    types = {"Order": [{"name": name, "type": kind} for kind, name in fields]}
    encoded = encode_typed_data(vector["typed_data_domain"], types, vector["typed_data_message"])
    assert encoded.header == signatures.domain_separator(exchange_of(vector))
    assert encoded.body == signatures.contents_hash(order_of(vector))


@pytest.mark.parametrize("vector", [*LIVE, *OLD], ids=lambda vector: vector["name"])
def test_an_order_recovers_to_its_signer_under_no_other_exchange(vector: dict[str, Any]) -> None:
    order, own = order_of(vector), exchange_of(vector)
    for other in {**signatures.EXCHANGES, **signatures.OLD_EXCHANGES}.keys() - {own}:
        try:
            assert signatures.signer_of(order, other) != GOLDEN["signer"]
        except signatures.SignatureError:
            assert order["signatureType"] == 3  # it carries its domain


def test_a_strangers_real_order_is_recovered_under_the_live_domain_only() -> None:
    order = GOLDEN["third_party_real_order"]["order"]
    found = {name: signatures.signer_of(order, name) for name in signatures.EXCHANGES}
    assert [name for name, signer in found.items() if signer == order["maker"]] == ["v2"]


@pytest.mark.parametrize("vector", [*LIVE, *OLD], ids=lambda vector: vector["name"])
def test_the_headers_of_its_post_are_proven(vector: dict[str, Any]) -> None:
    headers, body = vector["l2_headers"], vector["post_body_serialized"].encode()
    made = signatures.l2_signature(SECRET, headers["POLY_TIMESTAMP"], "POST", "/order", body)
    assert made == headers["POLY_SIGNATURE"]


@pytest.mark.parametrize("told", GOLDEN["l2_requests"], ids=lambda one: f"{one['method']} {one['path']}")
def test_the_headers_of_every_other_request_are_proven(told: dict[str, Any]) -> None:
    stamp, body = told["headers"]["POLY_TIMESTAMP"], (told["body_serialized"] or "").encode()
    made = signatures.l2_signature(SECRET, stamp, told["method"], told["path"], body)
    assert made == told["headers"]["POLY_SIGNATURE"]


def test_a_login_is_recovered_and_any_other_login_is_not() -> None:
    login = GOLDEN["l1_headers"]
    signature, stamp = login["headers"]["POLY_SIGNATURE"], str(login["timestamp"])
    assert signatures.login_signer(GOLDEN["signer"], stamp, 0, signature) == GOLDEN["signer"]
    for address, when, nonce, chain in (
        ("0x70997970C51812dc3A010C7d01b50e0d17dc79C8", stamp, 0, 137),
        (GOLDEN["signer"], str(login["timestamp"] + 1), 0, 137),
        (GOLDEN["signer"], stamp, 1, 137),
        (GOLDEN["signer"], stamp, 0, 80002),
    ):
        assert signatures.login_signer(address, when, nonce, signature, chain) != GOLDEN["signer"]


def test_the_upper_twin_of_a_signature_is_none() -> None:
    order = order_of(LIVE[0])
    raw = bytes.fromhex(order["signature"][2:])
    curve_order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    s = curve_order - int.from_bytes(raw[32:64], "big")
    twin = raw[:32] + s.to_bytes(32, "big") + bytes([55 - raw[64]])
    with pytest.raises(signatures.SignatureError, match="lower s"):
        signatures.signer_of({**order, "signature": "0x" + twin.hex()})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("salt", "479249096354"),
        ("salt", 1 << 53),
        ("salt", -1),
        ("salt", True),
        ("maker", "0x1234"),
        ("maker", None),
        ("signer", 7),
        ("tokenId", 5),
        ("tokenId", "0x12"),
        ("tokenId", str(1 << 256)),
        ("makerAmount", "1_000"),
        ("makerAmount", "-1"),
        ("takerAmount", "1.5"),
        ("side", 0),
        ("side", "buy"),
        ("signatureType", "0"),
        ("signatureType", 256),
        ("timestamp", 1790767298635),
        ("metadata", "0x00"),
        ("builder", "00" * 33),
    ],
)
def test_a_field_of_another_type_is_malformed(field: str, value: object) -> None:
    with pytest.raises(signatures.MalformedError):
        signatures.contents_hash({**order_of(LIVE[0]), field: value})


@pytest.mark.parametrize(
    "field", [name for name in order_of(LIVE[0]) if name not in ("expiration", "signature")]
)
def test_a_missing_field_is_malformed(field: str) -> None:
    order = order_of(LIVE[0])
    del order[field]
    with pytest.raises(signatures.MalformedError):
        signatures.contents_hash(order)
