"""Access to the embedded venue with one thing changed at a time: orders of every wallet and exchange, headers
of requests, logins, subscriptions.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from invmm.sim import signatures
from invmm.sim.access import (
    NOT_CREATED,
    NOT_DERIVED,
    WRONG_KEY,
    WRONG_LOGIN,
    WRONG_MAKER,
    WRONG_OWNER,
    WRONG_SIGNATURE,
    WRONG_SIGNER,
    WRONG_VERSION,
    Access,
    AccessRules,
    ApiKey,
    Member,
)
from invmm.sim.rules import INVALID_PAYLOAD, Refusal
from invmm.venue.auth import ApiCredentials, OrderSigner, l1_headers, l2_headers
from tests.reference.frames import UP
from tests.reference.tampered import STRANGER, TAMPERED, expected, other_hex

KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
NOW_S = 1_790_767_298
PLACES = [(kind, exchange) for exchange in ("v2", "v2-neg-risk", "v3") for kind in range(4)]


def an_access(**rules: Any) -> Access:
    return Access(AccessRules(**rules), venue_s=lambda: 1000.0, real_s=lambda: float(NOW_S))


def a_key(access: Access) -> ApiKey:
    made = access.create(l1_headers(OrderSigner(KEY), NOW_S))
    assert isinstance(made, ApiKey)
    return made


def a_body(owner: str, kind: int = 0, exchange: str = "v2") -> dict[str, Any]:
    signer = OrderSigner(KEY, kind, WALLET if kind else None)
    builder = "0x" + "0b" * 32
    order = signer.sign(UP, "BUY", 4800, 100_000_000, tick_e4=100, exchange=exchange, builder=builder)
    body: dict[str, Any] = json.loads(order.body(owner))
    return body


@pytest.mark.parametrize(("kind", "exchange"), PLACES)
def test_an_order_as_it_was_signed_is_admitted_under_its_own_id(kind: int, exchange: str) -> None:
    access = an_access()
    key = a_key(access)
    body = a_body(key.api_key, kind, exchange)
    assert access.admit(body, exchange, key) == signatures.order_digest(body["order"], exchange)


@pytest.mark.parametrize(("kind", "exchange"), PLACES)
@pytest.mark.parametrize("what", TAMPERED)
def test_an_order_with_one_field_changed_is_refused(what: str, kind: int, exchange: str) -> None:
    access = an_access()
    key = a_key(access)
    body = a_body(key.api_key, kind, exchange)
    field, change = TAMPERED[what]
    body["order"][field] = change(body["order"][field])
    assert access.admit(body, exchange, key) == expected(what, kind)


@pytest.mark.parametrize(("kind", "exchange"), PLACES)
def test_an_order_of_another_signature_type_is_refused(kind: int, exchange: str) -> None:
    access = an_access()
    key = a_key(access)
    for other in {0, 1, 2, 3, 4} - {kind}:
        body = a_body(key.api_key, kind, exchange)
        body["order"]["signatureType"] = other
        refused = access.admit(body, exchange, key)
        assert refused in (WRONG_SIGNATURE, WRONG_SIGNER, WRONG_MAKER, Refusal(400, INVALID_PAYLOAD))


@pytest.mark.parametrize(("kind", "exchange"), PLACES)
def test_an_order_for_another_exchange_is_refused(kind: int, exchange: str) -> None:
    access = an_access()
    key = a_key(access)
    body = a_body(key.api_key, kind, exchange)
    for other in {"v2", "v2-neg-risk", "v3"} - {exchange}:
        same_version = other[:2] == exchange[:2]
        refused = access.admit(body, other, key)
        assert refused == (WRONG_SIGNATURE if same_version else WRONG_VERSION)


def test_every_byte_of_a_wrapped_signature_counts() -> None:
    access = an_access()
    key = a_key(access)
    body = a_body(key.api_key, 3)
    signature = body["order"]["signature"]
    assert len(signature) == 636
    for at in range(2, len(signature), 2):
        body["order"]["signature"] = other_hex(signature, at)
        assert access.admit(body, "v2", key) == WRONG_SIGNATURE, at


def test_owner_is_the_key_that_asks_and_no_other_of_the_account() -> None:
    access = an_access()
    key, other = a_key(access), access.create(l1_headers(OrderSigner(KEY), NOW_S, 1))
    assert isinstance(other, ApiKey)
    for owner in (other.api_key, "", key.api_key.upper(), None, key.address):
        body = a_body(key.api_key)
        body["owner"] = owner
        assert access.admit(body, "v2", key) == WRONG_OWNER
    assert isinstance(access.admit(a_body(other.api_key), "v2", other), bytes)


@pytest.mark.parametrize("payload", [None, [], {}, {"order": 1}, {"order": {}}, {"order": {"salt": 1}}, "x"])
def test_what_is_no_order_is_no_order(payload: Any) -> None:
    access = an_access()
    assert access.admit(payload, "v2", a_key(access)) == Refusal(400, INVALID_PAYLOAD)


@pytest.mark.parametrize("field", ["expiration", "orderType", "postOnly", "deferExec"])
def test_what_is_not_signed_is_left_to_the_rules_of_orders(field: str) -> None:
    access = an_access()
    key = a_key(access)
    body = a_body(key.api_key)
    part = body["order"] if field == "expiration" else body
    assert field in part
    part[field] = "changed"
    assert isinstance(access.admit(body, "v2", key), bytes)


def test_a_wallet_that_is_named_is_the_only_one_of_its_type() -> None:
    access = an_access(members=(Member(ADDRESS, wallets={1: STRANGER, 3: WALLET}),))
    key = a_key(access)
    assert access.admit(a_body(key.api_key, 1), "v2", key) == WRONG_MAKER
    assert isinstance(access.admit(a_body(key.api_key, 2), "v2", key), bytes)
    assert isinstance(access.admit(a_body(key.api_key, 3), "v2", key), bytes)


# ---- headers ----

BODY = b'{"orderID":"0x11"}'


def headers(key: ApiKey, stamp: int = NOW_S, body: bytes = BODY) -> dict[str, str]:
    triple = ApiCredentials(key.api_key, key.secret, key.passphrase)
    return l2_headers(triple, key.address, "DELETE", "/order", body, stamp)


def test_headers_as_they_were_made_prove_the_key() -> None:
    access = an_access()
    key = a_key(access)
    assert access.prove("DELETE", "/order", headers(key), BODY) is key
    lower = {**headers(key), "POLY_ADDRESS": key.address.lower()}
    assert access.prove("DELETE", "/order", lower, BODY) is key


@pytest.mark.parametrize(
    "name", ["POLY_ADDRESS", "POLY_API_KEY", "POLY_PASSPHRASE", "POLY_SIGNATURE", "POLY_TIMESTAMP"]
)
def test_a_header_that_is_changed_or_missing_proves_nothing(name: str) -> None:
    access = an_access()
    key = a_key(access)
    good = headers(key)
    for value in (other_hex(good[name], 3), good[name] + "1", "", "ä"):
        assert access.prove("DELETE", "/order", {**good, name: value}, BODY) == WRONG_KEY
    del good[name]
    assert access.prove("DELETE", "/order", good, BODY) == WRONG_KEY


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/order", BODY),
        ("DELETE", "/orders", BODY),
        ("DELETE", "/order", BODY + b" "),
        ("DELETE", "/order", b""),
    ],
)
def test_headers_of_another_request_prove_nothing(method: str, path: str, body: bytes) -> None:
    access = an_access()
    assert access.prove(method, path, headers(a_key(access)), body) == WRONG_KEY


@pytest.mark.parametrize(
    ("ago_s", "is_fresh"), [(0, True), (60, True), (-60, True), (61, False), (-61, False)]
)
def test_a_timestamp_may_be_off_by_the_tolerance_of_either_clock(ago_s: int, is_fresh: bool) -> None:
    access = an_access(tolerance_s=60.0)
    key = a_key(access)
    found = access.prove("DELETE", "/order", headers(key, NOW_S - ago_s), BODY)
    assert found == (key if is_fresh else WRONG_KEY)
    found = access.prove("DELETE", "/order", headers(key, 1000 - ago_s), BODY)  # of the venue's clock
    assert found == (key if is_fresh else WRONG_KEY)


def test_a_revoked_key_proves_nothing_until_it_is_made_again() -> None:
    access = an_access()
    key = a_key(access)
    access.revoke(key)
    assert access.prove("DELETE", "/order", headers(key), BODY) == WRONG_KEY
    assert access.derive(l1_headers(OrderSigner(KEY), NOW_S)) == NOT_DERIVED
    assert a_key(access) == key


# ---- logins ----


def test_keys_follow_from_seed_account_and_nonce() -> None:
    first, same = a_key(an_access()), a_key(an_access())
    other = Access(AccessRules(), seed=1, real_s=lambda: float(NOW_S))
    assert first == same
    assert a_key(other).secret != first.secret
    access = an_access()
    made = a_key(access)
    assert access.create(l1_headers(OrderSigner(KEY), NOW_S)) == NOT_CREATED
    assert access.derive(l1_headers(OrderSigner(KEY), NOW_S)) is made
    second = access.create(l1_headers(OrderSigner(KEY), NOW_S, 5))
    assert isinstance(second, ApiKey)
    assert access.keys_of(ADDRESS) == [made.api_key, second.api_key]
    assert made.secret not in repr(made)
    assert made.passphrase not in repr(made)


@pytest.mark.parametrize("name", ["POLY_ADDRESS", "POLY_SIGNATURE", "POLY_TIMESTAMP", "POLY_NONCE"])
def test_a_login_with_one_header_changed_or_missing_is_none(name: str) -> None:
    access = an_access()
    good = l1_headers(OrderSigner(KEY), NOW_S)
    values = {
        "POLY_ADDRESS": [STRANGER, good["POLY_ADDRESS"][:-1]],
        "POLY_SIGNATURE": [other_hex(good["POLY_SIGNATURE"], 20), other_hex(good["POLY_SIGNATURE"], -1)],
        "POLY_TIMESTAMP": [str(NOW_S + 1), str(NOW_S) + ".0", f" {NOW_S}"],
        "POLY_NONCE": ["1", "-1", "0x0", "٠"],
    }[name]
    for value in [*values, ""]:
        assert access.create({**good, name: value}) == WRONG_LOGIN, value
    del good[name]
    assert access.derive(good) == WRONG_LOGIN


def test_a_login_of_an_hour_ago_is_none() -> None:
    assert an_access().create(l1_headers(OrderSigner(KEY), NOW_S - 3600)) == WRONG_LOGIN


# ---- the user channel, and no checks ----


def test_a_subscription_proves_its_key_by_the_whole_triple() -> None:
    access = an_access()
    key = a_key(access)
    good = {"apiKey": key.api_key, "secret": key.secret, "passphrase": key.passphrase}
    assert access.prove_triple(good) is key
    for name in good:
        assert access.prove_triple({**good, name: good[name][:-1]}) is None
        assert access.prove_triple({**good, name: None}) is None


def test_a_venue_that_checks_nothing_admits_everybody_and_still_names_orders() -> None:
    access = an_access(is_checked=False)
    nobody = access.prove("POST", "/order", {}, b"")
    assert isinstance(nobody, ApiKey)
    assert nobody.api_key == ""
    body = a_body("")
    body["order"]["signature"] = "0x"
    assert access.admit(body, "v2", nobody) == signatures.order_digest(body["order"])
    assert access.admit({"order": {}}, "v2", nobody) == Refusal(400, INVALID_PAYLOAD)
    assert access.prove_triple({}) is nobody
