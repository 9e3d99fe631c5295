"""Signing: hashes, rules, what is refused, and that a key shows itself nowhere."""

from __future__ import annotations

import base64
import copy
import gc
import hashlib
import hmac
import io
import pickle
import random
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import coincurve
import numpy as np
import pytest

from invmm._ext.amounts import OrderRuleError, order_amounts, rule_text
from invmm._ext.eip712 import checksum_address, keccak256
from invmm._ext.l2 import L2Signer
from invmm._ext.sign import OrderSigner as PureOrderSigner
from invmm._ext.template import OrderTemplate
from invmm.types import COMMAND_DTYPE, CommandFlag, CommandKind, OrderType, Side
from invmm.venue.auth import ApiCredentials, OrderSigner, l2_headers
from invmm.venue.profile import CONTRACTS, LIVE, Profile, exchange, exchange_of_market, loopback
from tests.reference import sign as reference

KEY = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
ACCOUNT = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
TOKEN = "25070934348813416902477876984955073880416401960631253331845590271167412497744"
OWNER = "9180014b-33c8-9240-a14b-bdca11c0a465"
NOW_MS = 1_790_767_298_635
SECRET = "4OHi4-Tl5ufo6err7O3u7_Dx8vP09fb3-Pn6-_z9_v8="


def signer(kind: int = 0) -> OrderSigner:
    return OrderSigner(KEY, kind, WALLET if kind else None)


def command(**fields: Any) -> np.ndarray[Any, Any]:
    record = np.zeros(1, COMMAND_DTYPE)
    defaults = {
        "kind": CommandKind.PLACE,
        "side": Side.BUY,
        "price_e4": 4800,
        "size_micro": 100_000_000,
        "salt": 7,
    }
    for name, value in {**defaults, **fields}.items():
        record[name] = value
    return record


def built(template: OrderTemplate, now_ms: int = NOW_MS, **fields: Any) -> tuple[bytes, bytes]:
    return template.build(command(**fields).view("u1"), now_ms)


def broken(template: OrderTemplate, now_ms: int = NOW_MS, **fields: Any) -> str:
    with pytest.raises(OrderRuleError) as caught:
        built(template, now_ms, **fields)
    return rule_text(caught.value.rule)


# Hashes


def test_keccak_equals_the_published_vectors() -> None:
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert keccak256(b"abc").hex() == "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"


def test_keccak_equals_its_twin_at_every_length_around_the_block() -> None:
    data = bytes(range(256)) * 2
    for size in [*range(5), *range(130, 142), *range(268, 276), 400]:
        assert keccak256(data[:size]) == reference.keccak(data[:size])


@pytest.mark.parametrize("portable", [False, True])
def test_request_signature_equals_the_standard_library_at_every_length(portable: bool) -> None:
    signing = L2Signer("key", SECRET, "pass", ACCOUNT, portable=portable)
    for size in [*range(140), 1000, 4096, 14_003]:
        body = random.Random(size).randbytes(size)
        lines = signing.headers("POST", "/orders", body, 1_790_767_298).decode()
        assert (
            f"POLY_SIGNATURE: {reference.l2_signature(SECRET, 1_790_767_298, 'POST', '/orders', body)}\r\n"
            in lines
        )


def test_secret_longer_than_a_block_is_hashed_first() -> None:
    key = bytes(range(100))
    secret = base64.urlsafe_b64encode(key).decode()
    expected = base64.urlsafe_b64encode(hmac.new(key, b"5GET/a", hashlib.sha256).digest())
    assert expected in L2Signer("k", secret, "p", ACCOUNT).headers("GET", "/a", b"", 5)


def test_secret_is_read_without_padding_and_in_either_alphabet() -> None:
    spellings = [SECRET, SECRET.rstrip("="), SECRET.replace("-", "+").replace("_", "/")]
    lines = {L2Signer("k", one, "p", ACCOUNT).headers("GET", "/a", b"", 5) for one in spellings}
    assert len(lines) == 1


def test_query_string_is_not_signed() -> None:
    keys = ApiCredentials("k", SECRET, "p")
    plain = l2_headers(keys, ACCOUNT, "GET", "/data/orders", None, 5)
    assert l2_headers(keys, ACCOUNT, "GET", "/data/orders?market=0x1", None, 5) == plain


def test_overlong_path_is_refused_and_not_cut() -> None:
    with pytest.raises(OrderRuleError, match="too small"):
        L2Signer("k", SECRET, "p", ACCOUNT).headers("GET", "/" + "a" * 600, b"", 5)


def test_address_is_written_with_its_checksum_and_a_wrong_one_is_refused() -> None:
    assert checksum_address(ACCOUNT.lower()) == ACCOUNT
    assert all(
        checksum_address(one) == one for one in (CONTRACTS[137].exchange_v2, CONTRACTS[137].router) if one
    )
    with pytest.raises(ValueError, match="checksum"):
        checksum_address(ACCOUNT.replace("F", "f", 1))
    with pytest.raises(ValueError, match="40 hex digits"):
        checksum_address(ACCOUNT[:-1])


# Orders


@pytest.mark.parametrize("kind", [0, 1, 2, 3])
@pytest.mark.parametrize("place", ["v2", "v2-neg-risk", "v3"])
def test_random_orders_equal_the_twin(kind: int, place: str) -> None:
    draw = random.Random(f"{kind}{place}")
    domain = reference.separator(exchange(place).domain_version, exchange(place).contract)
    for _ in range(3):
        token = str(draw.getrandbits(256))
        side = draw.choice(list(Side))
        price_e4, size_micro = 10 * draw.randrange(1, 1000), draw.randrange(10_000, 10**12)
        now_ms, salt = draw.randrange(1, 10**14), draw.getrandbits(53)
        builder = "0x" + draw.randbytes(32).hex()
        order = signer(kind).sign(
            token,
            side,
            price_e4,
            size_micro,
            tick_e4=10,
            exchange=place,
            timestamp_ms=now_ms,
            salt=salt,
            builder=builder,
        )
        maker, taker = reference.limit_amounts(side.name, price_e4, size_micro, 10)
        paying = WALLET if kind else ACCOUNT
        signing = WALLET if kind == 3 else ACCOUNT
        twin = reference.Order(
            salt, paying, signing, int(token), maker, taker, side, kind, now_ms, builder=builder
        )
        assert order.struct_hash == "0x" + reference.struct_hash(twin).hex()
        assert order.order_id == "0x" + reference.order_id(twin, domain).hex()
        signed = reference.signature(twin, domain, bytes.fromhex(KEY))
        assert order.signature == "0x" + signed.hex()
        assert order.body(OWNER) == reference.body(twin, signed, OWNER, "GTC", 0, False)


def test_signature_recovers_to_the_account() -> None:
    order = signer().sign(TOKEN, "BUY", 4800, 100_000_000, tick_e4=100)
    raw = bytes.fromhex(order.signature[2:])
    public = coincurve.PublicKey.from_signature_and_message(
        raw[:64] + bytes([raw[64] - 27]), bytes.fromhex(order.order_id[2:]), hasher=None
    )
    assert checksum_address("0x" + keccak256(public.format(compressed=False)[1:])[12:].hex()) == ACCOUNT


def test_clock_and_salt_are_filled_in_only_by_the_signer_that_has_them() -> None:
    first, second = (signer().sign(TOKEN, "BUY", 4800, 5_000_000, tick_e4=100) for _ in range(2))
    assert first.salt != second.salt
    assert 0 <= first.salt < 2**53
    with pytest.raises(ValueError, match="no clock"):
        PureOrderSigner(KEY).sign(TOKEN, "BUY", 4800, 5_000_000, tick_e4=100, salt=1)
    with pytest.raises(ValueError, match="no random source"):
        PureOrderSigner(KEY).sign(TOKEN, "BUY", 4800, 5_000_000, tick_e4=100, timestamp_ms=1)


@pytest.mark.parametrize("kind", [0, 3])
@pytest.mark.parametrize("order_type", list(OrderType))
def test_template_builds_the_same_bytes_as_the_signer(kind: int, order_type: OrderType) -> None:
    expiration = 1_790_767_599 if order_type is OrderType.GTD else 0
    resting = order_type in (OrderType.GTC, OrderType.GTD)
    template = OrderTemplate(signer(kind), TOKEN, "v2", OWNER)
    fields = {"side": Side.SELL, "price_e4": 5700, "size_micro": 37_130_000, "salt": 8_111_222_333_444}
    made = built(
        template,
        order_type=order_type,
        expiration_s=expiration,
        flags=CommandFlag.POST_ONLY if resting else 0,
        **fields,
    )
    order = signer(kind).sign(
        TOKEN,
        "SELL",
        5700,
        37_130_000,
        tick_e4=100,
        order_type=order_type.name,
        expiration=expiration,
        post_only=resting,
        timestamp_ms=NOW_MS,
        salt=8_111_222_333_444,
    )
    assert made == (bytes.fromhex(order.order_id[2:]), order.body(OWNER))


def test_body_fits_the_capacity_with_the_longest_numbers() -> None:
    longest = "9" * 77
    template = OrderTemplate(signer(3), longest, "v2-neg-risk", "o" * 64, tick_e4=1)
    _, body = built(
        template,
        now_ms=2**63 - 1,
        side=Side.SELL,
        price_e4=9999,
        size_micro=10**14,
        salt=2**53 - 1,
        order_type=OrderType.GTD,
        expiration_s=2**63 - 1,
    )
    assert len(body) <= template.body_capacity


def test_new_tick_holds_from_the_next_order_on() -> None:
    template = OrderTemplate(signer(), TOKEN)
    assert "tick size" in broken(template, price_e4=4805)
    template.tick_e4 = 10
    assert "multiple of the tick" in broken(template, price_e4=4805)
    template.tick_e4 = 1
    assert built(template, price_e4=4805)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"side": 2}, "side must be"),
        ({"order_type": 4}, "order type must be"),
        ({"price_e4": 0}, "price must lie between"),
        ({"price_e4": 9950}, "price must lie between"),
        ({"price_e4": 4850}, "multiple of the tick"),
        ({"size_micro": 0}, "above zero"),
        ({"size_micro": -1}, "above zero"),
        ({"size_micro": 9_999}, "above zero"),
        ({"size_micro": 10**14 + 1}, "100 million"),
        ({"size_micro": 4_999_999}, "minimum order size"),
        ({"order_type": OrderType.FAK, "size_micro": 2_000_000}, "minimum in dollars"),
        ({"order_type": OrderType.GTD}, "expiration must be"),
        ({"expiration_s": 1_790_767_599}, "expiration must be"),
        ({"order_type": OrderType.GTD, "expiration_s": -5}, "expiration must be"),
        ({"order_type": OrderType.GTD, "expiration_s": 1_790_767_477}, "nearer than the venue"),
        ({"order_type": OrderType.FOK, "flags": CommandFlag.POST_ONLY}, "post-only goes with"),
        ({"salt": 2**53}, "salt must be"),
    ],
)
def test_validator_names_the_rule_that_an_order_breaks(fields: dict[str, Any], words: str) -> None:
    template = OrderTemplate(
        signer(), TOKEN, tick_e4=100, min_size_micro=5_000_000, min_notional_micro=1_000_000, gtd_lead_s=180
    )
    assert words in broken(template, **fields)
    assert built(template), "the order without the change is allowed"


def test_timestamp_must_be_positive() -> None:
    assert "timestamp must" in broken(OrderTemplate(signer(), TOKEN), now_ms=0)


def test_unknown_tick_is_refused() -> None:
    with pytest.raises(OrderRuleError, match="tick size must be"):
        order_amounts("BUY", 5000, 5_000_000, tick_e4=20)


@pytest.mark.parametrize("token", ["", "abc", "-1", "01", " 1", "٣", str(2**256), 5, None])
def test_token_id_must_be_a_canonical_decimal(token: Any) -> None:
    with pytest.raises(ValueError, match="token id"):
        OrderTemplate(signer(), token)


def test_owner_cannot_break_out_of_the_body() -> None:
    order = signer().sign(TOKEN, "BUY", 4800, 5_000_000, tick_e4=100)
    for owner in ('a","x":"', "a\\", "a\n", "ü"):
        with pytest.raises(ValueError, match="owner"):
            order.body(owner)


def test_credentials_cannot_add_header_lines() -> None:
    with pytest.raises(ValueError, match="passphrase"):
        L2Signer("k", SECRET, "p\r\nX: y", ACCOUNT)


def test_wallet_types_need_a_wallet_and_the_plain_account_refuses_one() -> None:
    with pytest.raises(ValueError, match="needs the address"):
        OrderSigner(KEY, 3)
    with pytest.raises(ValueError, match="pays from the key's own account"):
        OrderSigner(KEY, 0, WALLET)
    with pytest.raises(ValueError, match="signature type"):
        OrderSigner(KEY, 4, WALLET)
    with pytest.raises(ValueError, match="chain id"):
        OrderSigner(KEY, chain_id=1)


# Secrets


@pytest.mark.parametrize(
    "form", [KEY, "0x" + KEY, bytes.fromhex(KEY), bytearray.fromhex(KEY), "0X" + KEY.upper()]
)
def test_key_is_taken_as_hex_or_bytes(form: Any) -> None:
    assert OrderSigner(form).address == ACCOUNT


@pytest.mark.parametrize(
    "bad", [KEY[:-1], KEY[:-1] + "g", KEY + "00", bytes(31), bytes(32), "f" * 64, "", 5, None]
)
def test_refused_key_is_not_repeated_in_the_error(bad: Any) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        OrderSigner(bad)
    assert "private key: expected" in str(caught.value)
    shown = "".join(traceback.format_exception_only(caught.value))
    for secret in (KEY[:8], "ffffffff", "00000000"):
        assert secret not in shown


@pytest.mark.parametrize(
    "holder",
    [
        signer(),
        PureOrderSigner(KEY),
        OrderTemplate(signer(), TOKEN),
        L2Signer("k", SECRET, "p", ACCOUNT),
        ApiCredentials("k", SECRET, "p"),
    ],
    ids=lambda holder: type(holder).__name__,
)
def test_holders_of_secrets_cannot_be_pickled_or_copied_and_show_nothing(holder: Any) -> None:
    for attempt in (copy.copy, copy.deepcopy, lambda one: pickle.Pickler(io.BytesIO(), 5).dump(one)):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            attempt(holder)
    for shown in (repr(holder), str(holder), f"{holder}"):
        assert KEY[:6] not in shown
        assert SECRET[:6] not in shown


def test_signer_shows_its_account() -> None:
    assert repr(signer()) == f"OrderSigner({ACCOUNT})"


def test_template_outlives_the_signer_that_made_it() -> None:
    first = signer()
    template = OrderTemplate(first, TOKEN)
    before = built(template)
    del first
    gc.collect()
    assert built(template) == before


def test_many_tokens_do_not_grow_the_signer() -> None:
    one = signer()
    orders = {
        one.sign(str(n), "BUY", 4800, 5_000_000, tick_e4=100, timestamp_ms=1, salt=1).order_id
        for n in range(200)
    }
    assert len(orders) == 200
    again = one.sign("0", "BUY", 4800, 5_000_000, tick_e4=100, timestamp_ms=1, salt=1)
    assert again.order_id in orders


def test_threads_share_one_template() -> None:
    template = OrderTemplate(signer(3), TOKEN)
    expected = [built(template, salt=n) for n in range(200)]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            assert list(pool.map(lambda n: built(template, salt=n), range(200))) == expected


# Profile


def test_generation_comes_from_the_market_and_an_unknown_one_is_not_tradable() -> None:
    assert exchange_of_market("v1", False) == "v2"
    assert exchange_of_market("v1", True) == "v2-neg-risk"
    assert exchange_of_market("v2", False) == "v3"
    for version in ("", "v3", "2"):
        with pytest.raises(ValueError, match="not tradable"):
            exchange_of_market(version, False)
    with pytest.raises(ValueError, match="exchange: expected"):
        exchange("v1")


def test_loopback_and_live_hosts_cannot_be_mixed() -> None:
    assert loopback(8080).contracts == LIVE.contracts
    with pytest.raises(ValueError, match="a loopback host"):
        Profile("mixed", True, "http://127.0.0.1:1", LIVE.market_url, "ws://127.0.0.1:1/ws/user")
    with pytest.raises(ValueError, match="a public host"):
        Profile("mixed", False, LIVE.rest_url, "ws://localhost:1/ws/market", LIVE.user_url)
    with pytest.raises(ValueError, match="https or wss"):
        Profile("plain", False, "http://clob.polymarket.com", LIVE.market_url, LIVE.user_url)
    with pytest.raises(ValueError, match="port"):
        loopback(0)
