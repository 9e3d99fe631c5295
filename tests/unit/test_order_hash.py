"""The id of an order from its fields equals the one that the signer and the official clients compute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from invmm import OrderSigner
from invmm.venue.order_hash import order_hash

KEY = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
VECTORS = json.loads((Path(__file__).parents[1] / "data" / "golden_orders.json").read_text())


@pytest.mark.parametrize("exchange", ["v2", "v2-neg-risk", "v3"])
@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_it_is_the_signers_id(exchange: str, side: str) -> None:
    token = str(1 << 200) if exchange == "v3" else "7" * 77
    order = OrderSigner(KEY).sign(token, side, 4800, 100_000_000, tick_e4=100, exchange=exchange)
    fields = orjson.loads(order.body("owner"))["order"]
    assert order_hash(fields, exchange) == order.order_id
    assert order_hash(fields | {"side": ["BUY", "SELL"].index(side)}, exchange) == order.order_id


def test_every_signed_field_changes_it_and_no_other() -> None:
    order = OrderSigner(KEY).sign("7" * 77, "BUY", 4800, 100_000_000, tick_e4=100)
    fields = orjson.loads(order.body("owner"))["order"]
    for name, value in {
        "salt": 1,
        "maker": "0x" + "11" * 20,
        "signer": "0x" + "11" * 20,
        "tokenId": "8",
        "makerAmount": "8",
        "takerAmount": "8",
        "side": "SELL",
        "signatureType": 2,
        "timestamp": "8",
        "metadata": "0x" + "11" * 32,
        "builder": "0x" + "11" * 32,
    }.items():
        assert order_hash(fields | {name: value}, "v2") != order.order_id, name
    assert order_hash(fields | {"expiration": "99", "signature": "0x"}, "v2") == order.order_id


def test_missing_fields_are_named() -> None:
    with pytest.raises(ValueError, match="salt"):
        order_hash({"side": "BUY"}, "v2")


@pytest.mark.parametrize(
    "vector",
    VECTORS["exchange_v2_domain2"] + VECTORS["exchange_v3_domain3"],
    ids=lambda vector: vector["name"],
)
def test_it_is_the_official_clients_id(vector: dict[str, Any]) -> None:
    if vector["typed_data_domain"]["version"] == "3":
        exchange = "v3"
    else:
        exchange = "v2-neg-risk" if vector["input"]["neg_risk"] else "v2"
    assert order_hash(vector["typed_data_message"], exchange) == vector["digest_and_order_id"]
