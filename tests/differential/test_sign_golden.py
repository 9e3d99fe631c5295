"""Orders, bodies and headers against vectors that the venue's own packages produced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from invmm._ext.l2 import L2Signer
from invmm.venue.auth import ApiCredentials, OrderSigner, l1_headers, l2_headers
from invmm.venue.profile import exchange

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "golden_orders.json").read_text())
VECTORS = [*GOLDEN["exchange_v2_domain2"], *GOLDEN["exchange_v3_domain3"]]
KEYS = GOLDEN["l2_credentials"]
CREDENTIALS = ApiCredentials(KEYS["api_key"], KEYS["secret"], KEYS["passphrase"])


def exchange_of(vector: dict[str, Any]) -> str:
    if vector["typed_data_domain"]["version"] == "3":
        return "v3"
    return "v2-neg-risk" if vector["input"]["neg_risk"] else "v2"


def signed(vector: dict[str, Any]) -> Any:
    given, message = vector["input"], vector["typed_data_message"]
    kind = given["signature_type"]
    signer = OrderSigner(GOLDEN["private_key"], kind, message["maker"] if kind else None)
    price_e4 = round(given["price"] * 10_000)
    terms = {
        "tick_e4": round(float(given["tick_size"]) * 10_000),
        "order_type": given["order_type"],
        "exchange": exchange_of(vector),
        "timestamp_ms": int(message["timestamp"]),
        "salt": int(message["salt"]),
        "metadata": message["metadata"],
        "builder": message["builder"],
    }
    if "market_amount" in given:
        amount_micro = round(given["market_amount"] * 1_000_000)
        return signer.sign_market(message["tokenId"], given["side"], amount_micro, price_e4, **terms)
    return signer.sign(
        message["tokenId"],
        given["side"],
        price_e4,
        round(given["size"] * 1_000_000),
        expiration=int(given["expiration"]),
        post_only=given["post_only"],
        **terms,
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_order_equals_the_official_one_byte_for_byte(vector: dict[str, Any]) -> None:
    order = signed(vector)
    assert order.struct_hash == vector["struct_hash"]
    assert order.order_id == vector["digest_and_order_id"]
    assert order.signature == vector["signature"]
    assert order.maker_amount == int(vector["typed_data_message"]["makerAmount"])
    assert order.taker_amount == int(vector["typed_data_message"]["takerAmount"])
    assert order.body(CREDENTIALS.api_key) == vector["post_body_serialized"].encode()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_contract_of_the_profile_is_the_signed_one(vector: dict[str, Any]) -> None:
    place = exchange(exchange_of(vector))
    assert place.contract == vector["typed_data_domain"]["verifyingContract"]
    assert place.domain_version == vector["typed_data_domain"]["version"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_headers_of_the_post_equal_the_official_ones(vector: dict[str, Any]) -> None:
    expected = vector["l2_headers"]
    stamp = int(expected["POLY_TIMESTAMP"])
    body = vector["post_body_serialized"]
    assert l2_headers(CREDENTIALS, GOLDEN["signer"], "POST", "/order", body, stamp) == expected


@pytest.mark.parametrize("request_", GOLDEN["l2_requests"], ids=lambda one: f"{one['method']} {one['path']}")
@pytest.mark.parametrize("portable", [False, True], ids=["native", "portable"])
def test_headers_of_every_request_equal_the_official_ones(request_: dict[str, Any], portable: bool) -> None:
    signer = L2Signer(
        KEYS["api_key"], KEYS["secret"], KEYS["passphrase"], GOLDEN["signer"], portable=portable
    )
    expected = request_["headers"]
    body = (request_["body_serialized"] or "").encode()
    lines = signer.headers(
        request_["method"], request_["path"], body, int(expected["POLY_TIMESTAMP"])
    ).decode()
    assert lines.endswith("\r\n")
    assert dict(line.split(": ", 1) for line in lines.split("\r\n")[:-1]) == expected


def test_login_headers_equal_the_official_ones() -> None:
    login = GOLDEN["l1_headers"]
    signer = OrderSigner(GOLDEN["private_key"])
    assert l1_headers(signer, login["timestamp"], login["nonce"]) == login["headers"]
