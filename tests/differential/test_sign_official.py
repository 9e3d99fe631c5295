"""Random orders and headers against the venue's own packages: equal hashes, signatures and bodies.

Salt and time are injected on both sides. `py-clob-client-v2` and `polymarket-client` sign the same orders
with code of their own; `py-clob-client` has the same logins.
"""

from __future__ import annotations

import base64
import json
import random
from dataclasses import dataclass, replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak
from polymarket._internal.actions.auth import build_l1_auth_headers
from polymarket._internal.actions.orders import limit, market, orders, post
from polymarket._internal.actions.orders.context import resolve_order_exchange_address
from polymarket._internal.actions.orders.typed_data import build_order_typed_data
from polymarket._internal.actions.orders.types import OrderDraft
from polymarket._internal.environment import PRODUCTION_CONFIG
from polymarket._internal.l1_auth import sign_api_key_auth
from polymarket.clients import secure
from polymarket.models.clob import ApiKeyCreds
from py_clob_client.headers import headers as old_headers
from py_clob_client.signer import Signer as OldSigner
from py_clob_client_v2.clob_types import (
    ApiCreds,
    CreateOrderOptions,
    MarketOrderArgsV2,
    OrderArgsV2,
    RequestArgs,
)
from py_clob_client_v2.headers.headers import create_level_1_headers, create_level_2_headers
from py_clob_client_v2.order_builder import builder as official_builder
from py_clob_client_v2.order_utils import SignatureTypeV2
from py_clob_client_v2.order_utils.model.order_data_v2 import order_to_json_v2
from py_clob_client_v2.signer import Signer

from invmm.venue.auth import ApiCredentials, OrderSigner, l1_headers, l2_headers

WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
OWNER = "9180014b-33c8-9240-a14b-bdca11c0a465"
ZERO = "0x" + "00" * 32
TICKS = {"0.1": 1000, "0.01": 100, "0.005": 50, "0.0025": 25, "0.001": 10, "0.0001": 1}
WALLET_TYPES = ("EOA", "POLY_PROXY", "GNOSIS_SAFE", "DEPOSIT_WALLET")
NOW_MS = 1_790_767_298_635
NOW_S = NOW_MS // 1000
PLACES = [(kind, exchange) for exchange in ("v2", "v2-neg-risk", "v3") for kind in range(4)]


@dataclass
class Terms:
    """An order as drawn; a market order when `is_market`, whose size is what it gives."""

    key: str
    kind: int
    exchange: str
    token: str
    side: str
    tick: str
    price_e4: int
    size_micro: int
    salt: int
    order_type: str
    expiration: int
    post_only: bool
    metadata: str
    builder: str
    is_market: bool

    @property
    def funder(self) -> str | None:
        return WALLET if self.kind else None


def drawn(draw: random.Random, kind: int, exchange: str, *, is_market: bool = False) -> Terms:
    tick = draw.choice(["0.1", "0.01"] if is_market else list(TICKS))
    step = TICKS[tick]
    # Ids of the third generation have zeros above their lowest forty bits.
    token = draw.getrandbits(152) << 104 | draw.getrandbits(40) if exchange == "v3" else draw.getrandbits(255)
    order_type = draw.choice(["FOK", "FAK"] if is_market else ["GTC", "GTD"])
    return Terms(
        key="0x" + draw.randbytes(32).hex(),
        kind=kind,
        exchange=exchange,
        token=str(token),
        side=draw.choice(["BUY", "SELL"]),
        tick=tick,
        price_e4=draw.randrange(step, 10_000, step),
        size_micro=draw.randrange(5, 100_000) * 1_000_000,  # whole: floats keep them
        salt=draw.getrandbits(53),
        order_type=order_type,
        expiration=NOW_S + draw.randrange(600, 90_000) if order_type == "GTD" else 0,
        post_only=not is_market and draw.random() < 0.5,
        # Market orders of `py-clob-client-v2` carry none.
        metadata=ZERO if is_market else draw.choice([ZERO, "0x" + draw.randbytes(32).hex()]),
        builder=draw.choice([ZERO, "0x" + draw.randbytes(32).hex()]),
        is_market=is_market,
    )


def ours(terms: Terms) -> Any:
    signer = OrderSigner(terms.key, terms.kind, terms.funder)
    more: dict[str, Any] = {
        "tick_e4": TICKS[terms.tick],
        "order_type": terms.order_type,
        "exchange": terms.exchange,
        "timestamp_ms": NOW_MS,
        "salt": terms.salt,
        "metadata": terms.metadata,
        "builder": terms.builder,
    }
    if terms.is_market:
        return signer.sign_market(terms.token, terms.side, terms.size_micro, terms.price_e4, **more)
    more.update(expiration=terms.expiration, post_only=terms.post_only)
    return signer.sign(terms.token, terms.side, terms.price_e4, terms.size_micro, **more)


def clob_v2(terms: Terms, patch: pytest.MonkeyPatch) -> tuple[Any, dict[str, Any]]:
    """`py-clob-client-v2`: the signed order and its body."""
    module = official_builder
    patch.setattr(module.time, "time_ns", lambda: NOW_MS * 1_000_000)
    make = module.ExchangeOrderBuilderV2.__init__
    patch.setattr(make, "__defaults__", (lambda: str(terms.salt), "2"))
    made = module.OrderBuilder(Signer(terms.key, 137), SignatureTypeV2(terms.kind), terms.funder)
    named: dict[str, Any] = {"token_id": terms.token}
    if terms.exchange == "v3":
        named = {"token_id": None, "position_id": terms.token}
    named.update(
        side=terms.side, price=terms.price_e4 / 10_000, builder_code=terms.builder, metadata=terms.metadata
    )
    options = CreateOrderOptions(terms.tick, terms.exchange == "v2-neg-risk")
    size = terms.size_micro / 1_000_000
    if terms.is_market:
        del named["metadata"]
        signed = made.build_market_order(MarketOrderArgsV2(amount=size, **named), options)
    else:
        args = OrderArgsV2(size=size, expiration=terms.expiration, **named)
        signed = made.build_order(args, options)
    body = order_to_json_v2(signed, OWNER, terms.order_type, terms.post_only, False)
    return signed, body


def unified(terms: Terms, patch: pytest.MonkeyPatch) -> tuple[dict[str, Any], dict[str, Any]]:
    """`polymarket-client`: the typed data of the plain order and the body. It sends no metadata."""
    patch.setattr(orders, "_generate_salt", lambda: terms.salt)
    patch.setattr(orders, "_current_timestamp_ms", lambda: NOW_MS)
    size, price = Decimal(terms.size_micro) / 1_000_000, Decimal(terms.price_e4) / 10_000
    side: Any = terms.side
    if terms.is_market:
        offered, asked = market._compute_market_order_amounts(
            amount=size, price=price, side=side, tick_size=Decimal(terms.tick)
        )
    else:
        offered, asked = limit._compute_limit_order_amounts(
            price=price, size=size, side=side, tick_size=Decimal(terms.tick)
        )
    signer = Account.from_key(terms.key)
    draft = OrderDraft(
        chain_id=137,
        exchange_address=resolve_order_exchange_address(
            PRODUCTION_CONFIG, asset_id=terms.token, neg_risk=terms.exchange == "v2-neg-risk"
        ),
        expiration=terms.expiration,
        funder_address=terms.funder or signer.address,
        offered_amount=offered,
        order_type=terms.order_type,
        side=side,
        signer=signer.address,
        requested_amount=asked,
        asset_id=terms.token,
        builder_code=terms.builder,
    )
    wallet_type: Any = WALLET_TYPES[terms.kind]
    client: Any = SimpleNamespace(
        _ctx=SimpleNamespace(
            wallet=draft.funder_address, wallet_type=wallet_type, signer=signer, signer_type="OWNER"
        )
    )
    signed = secure.SecureClient._sign_order(client, draft, post_only=terms.post_only)
    unsigned = orders.create_unsigned_order(draft, wallet=draft.funder_address, wallet_type=wallet_type)
    typed = build_order_typed_data(unsigned)
    if terms.kind == 3:
        typed = {
            "types": {name: typed["types"][name] for name in ("EIP712Domain", "Order")},
            "primaryType": "Order",
            "domain": typed["domain"],
            "message": typed["message"]["contents"],
        }
    return typed, post.build_post_order_request(signed, owner_api_key=OWNER)[1]


def check(terms: Terms, patch: pytest.MonkeyPatch) -> None:
    order = ours(terms)
    signed, theirs = clob_v2(terms, patch)
    if terms.is_market and int(signed.takerAmount) != order.taker_amount:
        # Float noise moves it by a step; or floor(price * 100) of a price such as 0.57 loses a cent of it.
        scale = 10_000 // TICKS[terms.tick]
        is_price_lost = int(terms.price_e4 / 10_000 * scale) * TICKS[terms.tick] != terms.price_e4
        assert is_price_lost or abs(int(signed.takerAmount) - order.taker_amount) <= 10_000
    else:
        assert order.signature == signed.signature
        assert order.body(OWNER) == json.dumps(theirs, separators=(",", ":")).encode()

    plain = replace(terms, metadata=ZERO)
    order = ours(plain)
    typed, theirs = unified(plain, patch)
    encoded = encode_typed_data(full_message=typed)
    assert order.struct_hash == "0x" + encoded.body.hex()
    digest = keccak(b"\x19" + encoded.version + encoded.header + encoded.body)
    assert order.order_id == "0x" + digest.hex()
    told = json.loads(order.body(OWNER))
    if not terms.post_only:
        told.pop("postOnly")  # left out by this client, which is the same to the venue
    assert theirs == told


@pytest.mark.parametrize(("kind", "exchange"), PLACES)
def test_random_limit_orders_are_the_official_ones(
    kind: int, exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(f"limit {kind} {exchange}")
    for _ in range(12):
        check(drawn(draw, kind, exchange), monkeypatch)


@pytest.mark.parametrize(("kind", "exchange"), PLACES)
def test_random_market_orders_are_the_official_ones(
    kind: int, exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(f"market {kind} {exchange}")
    for _ in range(6):
        check(drawn(draw, kind, exchange, is_market=True), monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "exchange"), PLACES)
def test_many_random_orders_are_the_official_ones(
    kind: int, exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(f"many {kind} {exchange}")
    for index in range(120):
        check(drawn(draw, kind, exchange, is_market=index % 3 == 0), monkeypatch)


def test_logins_are_those_of_all_three_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random("logins")
    for _ in range(8):
        key, stamp = "0x" + draw.randbytes(32).hex(), draw.randrange(1_700_000_000, 1_900_000_000)
        nonce = draw.choice([0, 1, draw.getrandbits(40)])
        made = l1_headers(OrderSigner(key), stamp, nonce)
        assert made == create_level_1_headers(Signer(key, 137), nonce, stamp)
        clock = SimpleNamespace(now=lambda stamp=stamp: SimpleNamespace(timestamp=lambda: stamp))
        monkeypatch.setattr(old_headers, "datetime", clock)
        assert made == old_headers.create_level_1_headers(OldSigner(key, 137), nonce)
        signature = sign_api_key_auth(Account.from_key(key), chain_id=137, timestamp=stamp, nonce=nonce)
        assert made == build_l1_auth_headers(signature)


def test_request_headers_are_those_of_both_live_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random("requests")
    monkeypatch.setattr(secure, "time", SimpleNamespace(time=lambda: NOW_S + 0.9))
    for size in (0, 1, 44, 50, 200, 3000):
        key = "0x" + draw.randbytes(32).hex()
        address = Account.from_key(key).address
        secret = base64.urlsafe_b64encode(draw.randbytes(32)).decode()
        method, path = draw.choice([("POST", "/orders"), ("DELETE", "/order"), ("GET", "/data/orders")])
        body = "".join(draw.choice('abcäß0123456789{}":,') for _ in range(size)) or None
        made = l2_headers(ApiCredentials(OWNER, secret, "pass"), address, method, path, body, NOW_S)
        request = RequestArgs(method, path, body, body)
        creds = ApiCreds(OWNER, secret, "pass")
        assert made == create_level_2_headers(Signer(key, 137), creds, request, NOW_S)
        triple = ApiKeyCreds(apiKey=OWNER, secret=secret, passphrase="pass")
        resolver = secure._make_l2_header_resolver_sync(Account.from_key(key), triple)
        assert made == resolver(method, path, body)
