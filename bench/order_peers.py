"""How others build, sign and pack orders: from price and size to the body of one request, and its headers.

Each function gives a callable for `count` orders, or skips (pytest's `Skipped`) when its package is missing.
What a client would look up over the network (tick, fees, version) is given to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
ACCOUNT = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
TOKEN = "25070934348813416902477876984955073880416401960631253331845590271167412497744"
OWNER = "9180014b-33c8-9240-a14b-bdca11c0a465"
SECRET = "4OHi4-Tl5ufo6err7O3u7_Dx8vP09fb3-Pn6-_z9_v8="
PASSPHRASE = "p" * 64

Run = Callable[[], bytes]


def packed(orders: list[Any]) -> bytes:
    return json.dumps(orders, separators=(",", ":")).encode()


def client_v2(count: int, kind: int = 0) -> Run:
    """py-clob-client-v2, with the curve that eth-keys finds."""
    pytest.importorskip("py_clob_client_v2", reason="peer py-clob-client-v2 is not installed")
    from py_clob_client_v2.clob_types import CreateOrderOptions, OrderArgsV2, OrderType
    from py_clob_client_v2.order_builder.builder import OrderBuilder
    from py_clob_client_v2.order_utils import SignatureTypeV2
    from py_clob_client_v2.order_utils.model.order_data_v2 import order_to_json_v2
    from py_clob_client_v2.signer import Signer

    builder = OrderBuilder(Signer(KEY, 137), SignatureTypeV2(kind), WALLET if kind else None)
    arguments = OrderArgsV2(token_id=TOKEN, price=0.48, size=100, side="BUY")
    options = CreateOrderOptions("0.01", False)

    def run() -> bytes:
        signed = [builder.build_order(arguments, options) for _ in range(count)]
        return packed(
            [order_to_json_v2(one, OWNER, OrderType.GTC, post_only=True, defer_exec=False) for one in signed]
        )

    return run


def client_v1(count: int) -> Run:
    """py-clob-client, of the generation that the venue no longer takes."""
    pytest.importorskip("py_clob_client", reason="peer py-clob-client is not installed")
    from py_clob_client.clob_types import CreateOrderOptions, OrderArgs, OrderType
    from py_clob_client.order_builder.builder import OrderBuilder
    from py_clob_client.signer import Signer
    from py_clob_client.utilities import order_to_json

    builder = OrderBuilder(Signer(KEY, 137))
    arguments = OrderArgs(token_id=TOKEN, price=0.48, size=100, side="BUY")
    options = CreateOrderOptions("0.01", False)

    def run() -> bytes:
        signed = [builder.create_order(arguments, options) for _ in range(count)]
        return packed([order_to_json(one, OWNER, OrderType.GTC, True) for one in signed])

    return run


def polymarket_client(count: int) -> Run:
    """polymarket-client: the functions that its client calls between the look-ups and the request."""
    pytest.importorskip("polymarket", reason="peer polymarket-client is not installed")
    from eth_account import Account
    from polymarket._internal.actions.orders.limit import _compute_limit_order_amounts
    from polymarket._internal.actions.orders.orders import create_signed_order, create_unsigned_order
    from polymarket._internal.actions.orders.post import build_post_orders_request
    from polymarket._internal.actions.orders.typed_data import build_order_signature, build_order_typed_data
    from polymarket._internal.actions.orders.types import OrderDraft
    from polymarket._internal.wallet import WalletType

    from invmm.venue.profile import exchange

    account = Account.from_key(KEY)
    contract: Any = exchange("v2").contract
    who: Any = ACCOUNT
    eoa: Any = getattr(WalletType, "EOA", "EOA")

    def one() -> Any:
        amounts: Any = _compute_limit_order_amounts(
            price=Decimal("0.48"),
            size=Decimal(100),
            side="BUY",
            tick_size=Decimal("0.01"),  # type: ignore
        )
        draft = OrderDraft(
            chain_id=137,
            exchange_address=contract,
            expiration=0,
            funder_address=who,
            offered_amount=amounts[0],
            order_type="GTC",
            side="BUY",
            signer=who,
            requested_amount=amounts[1],
            asset_id=TOKEN,  # type: ignore[arg-type]
        )
        unsigned = create_unsigned_order(draft, wallet=who, wallet_type=eoa)
        message = account.sign_typed_data(full_message=build_order_typed_data(unsigned))
        signature: Any = "0x" + bytes(message.signature).hex()
        return create_signed_order(unsigned, build_order_signature(unsigned, signature), post_only=True)

    def run() -> bytes:
        return packed(build_post_orders_request([one() for _ in range(count)], owner_api_key=OWNER)[1])

    return run


def client_v2_headers(body: bytes) -> Callable[[], object]:
    """The L2 headers of py-clob-client-v2."""
    pytest.importorskip("py_clob_client_v2", reason="peer py-clob-client-v2 is not installed")
    from py_clob_client_v2.clob_types import ApiCreds, RequestArgs
    from py_clob_client_v2.headers.headers import create_level_2_headers
    from py_clob_client_v2.signer import Signer

    signer, credentials, text = Signer(KEY, 137), ApiCreds(OWNER, SECRET, PASSPHRASE), body.decode()
    asked = RequestArgs(method="POST", request_path="/orders", body=text, serialized_body=text)
    return lambda: create_level_2_headers(signer, credentials, asked)


def client_v1_headers(body: bytes) -> Callable[[], object]:
    """The L2 headers of py-clob-client."""
    pytest.importorskip("py_clob_client", reason="peer py-clob-client is not installed")
    from py_clob_client.clob_types import ApiCreds, RequestArgs
    from py_clob_client.headers.headers import create_level_2_headers
    from py_clob_client.signer import Signer

    signer, credentials, text = Signer(KEY, 137), ApiCreds(OWNER, SECRET, PASSPHRASE), body.decode()
    asked = RequestArgs(method="POST", request_path="/orders", body=text, serialized_body=text)
    return lambda: create_level_2_headers(signer, credentials, asked)


def polymarket_client_hmac(body: bytes) -> Callable[[], object]:
    """The request signature of polymarket-client; its headers are a dictionary around it."""
    pytest.importorskip("polymarket", reason="peer polymarket-client is not installed")
    from polymarket._internal.hmac import build_hmac_signature

    text = body.decode()
    return lambda: build_hmac_signature(
        secret=SECRET, timestamp=1_790_767_298, method="POST", path="/orders", body=text
    )


def httpx_request(body: bytes, headers: dict[str, str]) -> Callable[[], object]:
    """What an httpx client makes of body and headers before it sends them."""
    httpx = pytest.importorskip("httpx", reason="peer httpx is not installed")
    client = httpx.Client()
    return lambda: client.build_request("POST", "https://venue.test/orders", content=body, headers=headers)


def requests_request(body: bytes, headers: dict[str, str]) -> Callable[[], object]:
    """What a requests session makes of body and headers before it sends them."""
    requests = pytest.importorskip("requests", reason="peer requests is not installed")
    session = requests.Session()
    return lambda: session.prepare_request(
        requests.Request("POST", "https://venue.test/orders", data=body, headers=headers)
    )
