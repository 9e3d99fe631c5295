"""Random orders, amounts and headers against the venue's own `py-clob-client-v2`, where it is installed."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest

from invmm._ext.amounts import OrderRuleError, market_amounts, order_amounts
from invmm.venue.auth import ApiCredentials, OrderSigner, l2_headers
from tests.reference import sign as reference

pytest.importorskip("py_clob_client_v2", reason="the official client py-clob-client-v2 is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the client and what it imports

KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
OWNER = "9180014b-33c8-9240-a14b-bdca11c0a465"
TICKS = {"0.1": 1000, "0.01": 100, "0.005": 50, "0.0025": 25, "0.001": 10, "0.0001": 1}
NOW_MS = 1_790_767_298_635


def builder(kind: int = 0) -> Any:
    from py_clob_client_v2.order_builder.builder import OrderBuilder
    from py_clob_client_v2.order_utils import SignatureTypeV2
    from py_clob_client_v2.signer import Signer

    return OrderBuilder(Signer(KEY, 137), SignatureTypeV2(kind), WALLET if kind else None)


@pytest.mark.parametrize("tick", TICKS)
@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_limit_amounts_equal_the_official_ones_wherever_its_floats_keep_the_size(
    side: str, tick: str
) -> None:
    from py_clob_client_v2.order_builder.builder import ROUNDING_CONFIG

    official, draw, kept = builder(), random.Random(tick + side), 0
    for price_e4 in range(TICKS[tick], 10_000, TICKS[tick]):
        shares_e2 = draw.randrange(500, 1_000_000)
        _, *expected = official.get_order_amounts(
            side, shares_e2 / 100, price_e4 / 10_000, ROUNDING_CONFIG[tick]
        )
        ours = order_amounts(side, price_e4, shares_e2 * 10_000, tick_e4=TICKS[tick])
        if expected[side == "BUY"] != shares_e2 * 10_000:
            # floor(size * 100) of a float such as 0.29 loses a hundredth of a share; integers do not.
            assert expected[side == "BUY"] == (shares_e2 - 1) * 10_000
            continue
        kept += 1
        assert ours == tuple(expected)
    assert kept > 0


@pytest.mark.parametrize("tick", ["0.1", "0.01"])
@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_market_amounts_equal_the_official_ones_on_ticks_that_the_server_takes(side: str, tick: str) -> None:
    """Finer ticks are left out: there the client sends five or six decimals, which the server refuses."""
    from py_clob_client_v2.order_builder.builder import ROUNDING_CONFIG

    official, draw, kept = builder(), random.Random(tick + side), 0
    for price_e4 in range(TICKS[tick], 10_000, TICKS[tick]):
        for _ in range(20):
            amount_e2 = draw.randrange(100, 1_000_000)
            _, *expected = official.get_market_order_amounts(
                side, amount_e2 / 100, price_e4 / 10_000, ROUNDING_CONFIG[tick]
            )
            ours = market_amounts(side, amount_e2 * 10_000, price_e4, tick_e4=TICKS[tick])
            if expected[0] != amount_e2 * 10_000 or round(price_e4 / 10_000 * 100) != int(
                price_e4 / 10_000 * 100
            ):
                continue  # its float floor lost a hundredth of the amount or of the price
            assert ours == reference.market_amounts(side, amount_e2 * 10_000, price_e4, TICKS[tick])
            kept += ours == tuple(expected)
            assert abs(ours[1] - expected[1]) <= 1000, "float noise moves the client by one step at most"
    assert kept > 1000 if tick == "0.01" else kept > 0


@pytest.mark.parametrize("kind", [0, 1, 2, 3])
@pytest.mark.parametrize("place", ["v2", "v2-neg-risk", "v3"])
def test_random_orders_have_the_official_signature_and_body(
    kind: int, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from py_clob_client_v2.clob_types import CreateOrderOptions, OrderArgsV2, OrderType
    from py_clob_client_v2.order_builder import builder as module
    from py_clob_client_v2.order_utils import exchange_order_builder_v2
    from py_clob_client_v2.order_utils.model.order_data_v2 import order_to_json_v2

    official, ours, draw = (
        builder(kind),
        OrderSigner(KEY, kind, WALLET if kind else None),
        random.Random(f"{kind}{place}"),
    )
    monkeypatch.setattr(module.time, "time_ns", lambda: NOW_MS * 1_000_000)
    assert exchange_order_builder_v2.time is module.time
    for _ in range(3):
        token, salt, side = str(draw.getrandbits(250)), draw.getrandbits(53), draw.choice(["BUY", "SELL"])
        price_e4, shares = 100 * draw.randrange(1, 100), draw.randrange(5, 1000)
        monkeypatch.setattr(
            module.ExchangeOrderBuilderV2.__init__, "__defaults__", (lambda salt=salt: str(salt), "2")
        )
        terms: dict[str, Any] = {"position_id": token} if place == "v3" else {}
        arguments = OrderArgsV2(
            token_id=None if place == "v3" else token,
            price=price_e4 / 10_000,
            size=shares,
            side=side,
            **terms,
        )
        signed = official.build_order(
            arguments, CreateOrderOptions("0.01", place == "v2-neg-risk"), version=2
        )
        body = order_to_json_v2(signed, OWNER, OrderType.GTC, post_only=True, defer_exec=False)
        order = ours.sign(
            token, side, price_e4, shares * 1_000_000, tick_e4=100, post_only=True, exchange=place,
            timestamp_ms=NOW_MS, salt=salt,
        )  # fmt: skip
        assert order.signature == signed.signature
        assert order.body(OWNER) == json.dumps(body, separators=(",", ":")).encode()


def test_request_signature_equals_the_official_one() -> None:
    from py_clob_client_v2.signing.hmac import build_hmac_signature

    draw = random.Random(5)
    for size in (0, 1, 44, 50, 200, 3000):
        secret = base64.urlsafe_b64encode(draw.randbytes(32)).decode()
        body = "".join(draw.choice('abc0123456789{}":,') for _ in range(size)) or None
        ours = l2_headers(ApiCredentials("k", secret, "p"), WALLET, "POST", "/orders", body, 1_790_767_298)
        expected = build_hmac_signature(secret, 1_790_767_298, "POST", "/orders", body)
        assert ours["POLY_SIGNATURE"] == expected


def test_an_order_that_the_client_would_send_wrongly_is_refused_here() -> None:
    with pytest.raises(OrderRuleError, match="multiple of the tick"):
        order_amounts("BUY", 4850, 5_000_000, tick_e4=100)
