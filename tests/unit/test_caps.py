"""Caps in the signer: what they refuse, what they count, and that no way of signing goes round them."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from invmm._ext.amounts import OrderRuleError
from invmm._ext.caps import SignerCaps
from invmm._ext.template import OrderTemplate
from invmm.clock import LiveClock
from invmm.errors import ConfigError
from invmm.execution.remote import RemoteVenue
from invmm.settings import RiskSettings, Settings
from invmm.types import COMMAND_DTYPE, CommandKind, OrderStatus, OrderType, Reason, Side
from invmm.venue.auth import ApiCredentials, OrderSigner
from invmm.venue.profile import loopback
from tests.e2e.executor_bench import TOKENS, Start, accept, begin_benches, told
from tests.reference.frames import MARKET

TOKEN, OTHER = "7131", str(2**256 - 1)
NOW_MS = 1_790_767_298_789
CAP_TOKEN, CAP_PRICE, CAP_SIZE, CAP_NOTIONAL, CAP_RATE, CLOSED = -17, -18, -19, -20, -21, -22


def signer(caps: SignerCaps | None = None) -> OrderSigner:
    one = OrderSigner("51" * 32)
    if caps is not None:
        one.caps = caps
    return one


def record(price_e4: int = 4800, size_micro: int = 5_000_000, side: Side = Side.BUY) -> Any:
    made = np.zeros(1, COMMAND_DTYPE)
    made["kind"], made["side"], made["order_type"] = CommandKind.PLACE, side, OrderType.GTC
    made["price_e4"], made["size_micro"], made["salt"] = price_e4, size_micro, 7
    return made.view("u1")


def by_signer(
    one: OrderSigner, price_e4: int = 4800, size_micro: int = 5_000_000, at_ms: int = NOW_MS
) -> None:
    one.sign(TOKEN, "BUY", price_e4, size_micro, tick_e4=100, timestamp_ms=at_ms)


def by_template(
    one: OrderSigner, price_e4: int = 4800, size_micro: int = 5_000_000, at_ms: int = NOW_MS
) -> None:
    OrderTemplate(one, TOKEN).build(record(price_e4, size_micro), at_ms)


def by_release(
    one: OrderSigner, price_e4: int = 4800, size_micro: int = 5_000_000, at_ms: int = NOW_MS
) -> None:
    template = OrderTemplate(one, TOKEN)
    template.build(record(price_e4, size_micro), at_ms, ahead=True)
    template.release(record(price_e4, size_micro), at_ms)


WAYS = pytest.mark.parametrize("way", [by_signer, by_template, by_release])


def rule_of(call: Callable[..., Any], *arguments: Any, **named: Any) -> int:
    """The rule that refuses; 0 if none does."""
    try:
        call(*arguments, **named)
    except OrderRuleError as error:
        return error.rule
    return 0


@WAYS
def test_price_range_is_inclusive_and_nothing_outside_is_signed(way: Callable[..., None]) -> None:
    one = signer(SignerCaps(min_price_e4=100, max_price_e4=4800))
    assert [rule_of(way, one, price) for price in (100, 4800, 4900)] == [0, 0, CAP_PRICE]
    low = signer(SignerCaps(min_price_e4=200))
    assert [rule_of(way, low, price) for price in (100, 200)] == [CAP_PRICE, 0]


@WAYS
def test_size_and_amount_are_capped_to_the_last_unit(way: Callable[..., None]) -> None:
    one = signer(SignerCaps(max_size_micro=5_000_000))
    assert [rule_of(way, one, 4800, size) for size in (5_000_000, 5_000_001)] == [0, CAP_SIZE]
    # 5 shares at 0.48 are 2.4 dollars; one micro-share more is 2.40000048, rounded up.
    rich = signer(SignerCaps(max_notional_micro=2_400_000))
    assert [rule_of(way, rich, 4800, size) for size in (5_000_000, 5_000_001)] == [0, CAP_NOTIONAL]


@WAYS
def test_only_listed_tokens_are_signed_for_and_the_list_can_change(way: Callable[..., None]) -> None:
    caps = SignerCaps([OTHER])
    one = signer(caps)
    assert rule_of(way, one) == CAP_TOKEN
    caps.allow(TOKEN)
    assert rule_of(way, one) == 0
    assert sorted(caps.tokens() or ()) == sorted([OTHER, TOKEN])
    caps.forbid(TOKEN)
    assert rule_of(way, one) == CAP_TOKEN
    assert caps.counts["refused_token"] == 2
    assert rule_of(way, signer(SignerCaps([]))) == CAP_TOKEN


@WAYS
def test_rate_allows_a_burst_and_then_one_order_an_interval(way: Callable[..., None]) -> None:
    one = signer(SignerCaps(orders_per_second=10, burst=3))
    # Each of three takes 100 ms; at 100 ms one of them is back.
    times = [0, 0, 0, 0, 99, 100, 100, 1_000, 1_000, 1_000, 1_000]
    wanted = [0, 0, 0, CAP_RATE, CAP_RATE, 0, CAP_RATE, 0, 0, 0, CAP_RATE]
    assert [rule_of(way, one, at_ms=NOW_MS + ms) for ms in times] == wanted


def test_time_that_runs_backwards_gives_no_room() -> None:
    one = signer(SignerCaps(orders_per_second=1, burst=1))
    assert rule_of(by_signer, one) == 0
    assert [rule_of(by_signer, one, at_ms=NOW_MS - ms) for ms in (1, 1_000, 1_000_000)] == [CAP_RATE] * 3
    assert rule_of(by_signer, one, at_ms=NOW_MS + 1_000) == 0


def test_orders_signed_ahead_take_nothing_from_the_rate_until_they_are_released() -> None:
    one = signer(SignerCaps(orders_per_second=1, burst=2))
    template = OrderTemplate(one, TOKEN)
    for _ in range(10):
        template.build(record(), NOW_MS, ahead=True)
    template.release(record(), NOW_MS)
    template.build(record(), NOW_MS)
    assert rule_of(template.release, record(), NOW_MS) == CAP_RATE
    assert one.caps is not None
    assert one.caps.counts == {
        "signed": 1,
        "ahead": 10,
        "released": 1,
        "refused_token": 0,
        "refused_price": 0,
        "refused_size": 0,
        "refused_notional": 0,
        "refused_rate": 1,
    }


def test_a_release_asks_the_caps_again() -> None:
    caps = SignerCaps([TOKEN])
    template = OrderTemplate(signer(caps), TOKEN)
    template.build(record(), NOW_MS, ahead=True)
    caps.forbid(TOKEN)
    assert rule_of(template.release, record(), NOW_MS) == CAP_TOKEN


def test_market_orders_are_capped_by_dollars_and_by_the_shares_they_ask_for() -> None:
    def market(one: OrderSigner, side: str, amount_micro: int) -> None:
        one.sign_market(TOKEN, side, amount_micro, 5000, tick_e4=100, timestamp_ms=NOW_MS)

    dollars = signer(SignerCaps(max_notional_micro=10_000_000))
    assert [rule_of(market, dollars, "BUY", n) for n in (10_000_000, 10_010_000)] == [0, CAP_NOTIONAL]
    shares = signer(SignerCaps(max_size_micro=20_000_000))
    assert [rule_of(market, shares, "BUY", n) for n in (10_000_000, 10_010_000)] == [0, CAP_SIZE]
    assert [rule_of(market, shares, "SELL", n) for n in (20_000_000, 20_010_000)] == [0, CAP_SIZE]


def test_caps_reach_templates_that_were_made_before_and_cannot_be_exchanged() -> None:
    one = signer()
    template = OrderTemplate(one, TOKEN)
    by_signer(one)
    assert one.caps is None
    caps = SignerCaps([])
    one.caps = caps
    assert rule_of(template.build, record(), NOW_MS) == CAP_TOKEN
    assert rule_of(by_signer, one) == CAP_TOKEN
    with pytest.raises(ValueError, match="set once"):
        one.caps = SignerCaps()
    with pytest.raises(TypeError):
        one.caps = None  # type: ignore[assignment]
    assert one.caps is caps


def test_a_refused_order_says_which_cap_and_what_was_asked() -> None:
    with pytest.raises(OrderRuleError, match=r"signer cap: size must not exceed .*size_micro=5000000"):
        by_signer(signer(SignerCaps(max_size_micro=1)))


def test_capped_orders_are_the_same_orders() -> None:
    free, capped = OrderTemplate(signer(), TOKEN), OrderTemplate(signer(SignerCaps([TOKEN])), TOKEN)
    assert capped.build(record(), NOW_MS) == free.build(record(), NOW_MS)
    assert capped.build(record(), NOW_MS, ahead=True) == free.build(record(), NOW_MS)


def test_no_more_than_512_tokens_and_forbidden_ones_make_room() -> None:
    caps = SignerCaps([str(n) for n in range(512)])
    caps.allow("511")  # known: nothing to do
    with pytest.raises(ValueError, match="512 are allowed already"):
        caps.allow("512")
    caps.forbid("17")
    caps.allow("512")
    assert sorted(map(int, caps.tokens() or ())) == [n for n in range(513) if n != 17]


def test_a_frozen_list_stays_as_it_is() -> None:
    caps = SignerCaps([TOKEN], frozen=True)
    caps.allow(TOKEN)
    with pytest.raises(ValueError, match="frozen and do not allow it"):
        caps.allow(OTHER)
    with pytest.raises(ValueError, match="frozen"):
        caps.forbid(TOKEN)
    assert caps.tokens() == [TOKEN]


@pytest.mark.parametrize(
    "bad",
    [
        {"tokens": "123"},
        {"tokens": ["0x12"]},
        {"tokens": [str(2**256)]},
        {"tokens": [5]},
        {"min_price_e4": 0},
        {"min_price_e4": 500, "max_price_e4": 400},
        {"max_price_e4": 10_000},
        {"max_size_micro": 0},
        {"max_size_micro": 1.5},
        {"max_notional_micro": True},
        {"orders_per_second": -1},
        {"burst": 0},
    ],
)
def test_caps_that_mean_nothing_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        SignerCaps(**bad)


def test_caps_cannot_be_copied() -> None:
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            attempt(SignerCaps())


def test_threads_share_one_budget() -> None:
    caps = SignerCaps(orders_per_second=1, burst=100)
    template = OrderTemplate(signer(caps), TOKEN)
    signed: list[int] = []

    def work() -> None:
        signed.append(sum(rule_of(template.build, record(), NOW_MS) == 0 for _ in range(80)))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(signed) == 100
    assert caps.counts["signed"] == 100
    assert caps.counts["refused_rate"] == 140


# Through the executor and the remote venue


@pytest.fixture
def start() -> Iterator[Start]:
    yield from begin_benches()


def test_the_executor_answers_a_refused_order_with_the_reason_and_sends_nothing(start: Start) -> None:
    bench = start(accept)
    one = signer(SignerCaps([]))
    bench.executor.set_template(0, 0, OrderTemplate(one, TOKENS[0], "v2", "key"))
    bench.submit(bench.place(1))
    assert told(bench.expect(1)) == [(1, OrderStatus.REFUSED, Reason.SIGNER_CAP)]
    assert one.caps is not None
    one.caps.allow(TOKENS[0])
    one.close()
    bench.submit(bench.place(2))
    assert told(bench.expect(1)) == [(2, OrderStatus.REFUSED, Reason.SHUTDOWN)]
    assert bench.venue.seen == []


def test_a_remote_venue_allows_the_tokens_of_its_open_markets_only(
    marker_credentials: ApiCredentials,
) -> None:
    one = signer()
    risk = RiskSettings(max_order_shares=50.0, orders_per_second=5, orders_burst=10)
    venue = RemoteVenue(loopback(1), marker_credentials, one, LiveClock(), Settings(risk=risk))
    caps = one.caps
    assert caps is not None
    assert caps.tokens() == []
    assert (caps.max_size_micro, caps.orders_per_second, caps.burst) == (50_000_000, 10, 20)
    venue.open_market(0, MARKET)
    assert caps.tokens() == [MARKET.up_token_id, MARKET.down_token_id]
    venue.close_market(0)
    assert caps.tokens() == []
    strict = signer(SignerCaps([MARKET.up_token_id], frozen=True))
    venue = RemoteVenue(loopback(1), marker_credentials, strict, LiveClock())
    with pytest.raises(ConfigError, match="frozen"):
        venue.open_market(0, MARKET)


# Closing


def test_a_closed_signer_signs_nothing_any_more_and_still_knows_its_address() -> None:
    one = signer()
    template = OrderTemplate(one, TOKEN)
    address = one.address
    assert not one.closed
    one.close()
    one.close()
    assert one.closed
    assert [rule_of(by_signer, one), rule_of(template.build, record(), NOW_MS)] == [CLOSED, CLOSED]
    with pytest.raises(OrderRuleError, match="the signer is closed"):
        one.sign_auth(1)
    assert one.address == address
    assert repr(one) == f"OrderSigner({address})"


def test_closing_while_others_sign_gives_whole_signatures_or_none() -> None:
    for _ in range(20):
        template = OrderTemplate(one := signer(), TOKEN)
        right = template.build(record(), NOW_MS)
        results: list[Any] = []

        def work(template: OrderTemplate = template, results: list[Any] = results) -> None:
            while True:
                try:
                    results.append(template.build(record(), NOW_MS))
                except OrderRuleError as error:
                    results.append(error.rule)
                    return

        thread = threading.Thread(target=work)
        thread.start()
        while not results:
            pass
        one.close()
        thread.join()
        assert results[-1] == CLOSED
        assert all(result == right for result in results[:-1])
