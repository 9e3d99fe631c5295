"""What the embedded venue refuses, with the venue's texts."""

from __future__ import annotations

from typing import Any

import pytest

from invmm.errors import ConfigError
from invmm.replay.queue_models import Power, named
from invmm.sim import rules
from invmm.sim.batches import decimal_to_int
from invmm.sim.orders import Order
from invmm.sim.profile import VenueProfile
from invmm.sim.rules import OrderRequest, Refusal, check_shape, decimal, taker_fee_micro
from invmm.types import OrderType, Outcome, Reason, Side
from tests.reference.frames import at
from tests.reference.stage import SHARE, Stage

ID = bytes([0x51]) * 32
NAME = f"order 0x{ID.hex()} is invalid. "


def refusal(
    price_e4: int = 5000, size_micro: int = 10 * SHARE, *, tick_e4: int = 100, **more: Any
) -> str | None:
    """Text of the refusal of one order at 1000 s."""
    request = OrderRequest(ID, Outcome.UP, more.pop("side", Side.BUY), price_e4, size_micro, **more)
    answer = check_shape(
        request, tick_e4=tick_e4, min_size_micro=5 * SHARE, now_s=1000.0, gtd_min_ahead_s=180
    )
    return None if answer is None else answer.text


def test_order_on_the_grid_passes() -> None:
    assert refusal() is None


@pytest.mark.parametrize(
    ("price_e4", "tick_e4", "text"),
    [
        (5050, 100, "Price (0.505) breaks minimum tick size rule: 0.01"),
        (5005, 10, "Price (0.5005) breaks minimum tick size rule: 0.001"),
        (0, 100, "Price (0) breaks minimum tick size rule: 0.01"),
        (10_000, 100, "Price (1) breaks minimum tick size rule: 0.01"),
    ],
)
def test_price_off_the_grid_or_out_of_range_breaks_the_tick_rule(
    price_e4: int, tick_e4: int, text: str
) -> None:
    assert refusal(price_e4, tick_e4=tick_e4) == NAME + text


def test_price_at_the_ends_of_the_grid_passes() -> None:
    assert refusal(100) is None
    assert refusal(9_900) is None


def test_size_below_the_minimum_is_named_in_shares() -> None:
    assert refusal(size_micro=100_000) == NAME + "Size (0.1) lower than the minimum: 5"
    assert refusal(size_micro=4_990_000) == NAME + "Size (4.99) lower than the minimum: 5"
    assert refusal(size_micro=5_000_000) is None


def test_price_is_checked_before_size() -> None:
    text = refusal(5050, 100_000)
    assert text is not None
    assert "Price" in text


def test_sizes_have_two_decimals() -> None:
    assert refusal(size_micro=10_001_000) == (
        "invalid amounts, the buy orders maker amount supports a max accuracy of 4 decimals, "
        "taker amount a max of 2 decimals"
    )
    assert refusal(size_micro=10_001_000, side=Side.SELL, tick_e4=10) == (
        "invalid amounts, the sell orders maker amount supports a max accuracy of 2 decimals, "
        "taker amount a max of 5 decimals"
    )


def test_server_recomputes_the_product() -> None:
    # The observed case: 19.69 shares at 0.22 are 4.3318 dollars, 4.33 was sent.
    assert refusal(2200, 19_690_000, making_micro=4_330_000, taking_micro=19_690_000) == (
        "invalid amounts, the maker amount for a $0.22 order of size 19.69 should be '4.3318' but the value "
        "submited is '4.33'"
    )
    assert refusal(2200, 19_690_000, making_micro=4_331_800, taking_micro=19_690_000) is None


@pytest.mark.parametrize("kind", [OrderType.FOK, OrderType.FAK])
def test_market_buys_have_two_and_four_decimals(kind: OrderType) -> None:
    assert (
        refusal(5300, 18_867_900, order_type=kind, making_micro=10_000_000, taking_micro=18_867_900) is None
    )
    assert refusal(5300, 18_867_920, order_type=kind, making_micro=10_000_000, taking_micro=18_867_920) == (
        "invalid amounts, the market buy orders maker amount supports a max accuracy of 2 decimals, "
        "taker amount a max of 4 decimals"
    )


def test_gtd_needs_three_minutes_and_others_no_expiration() -> None:
    assert refusal(order_type=OrderType.GTD, expiration_s=1179) == "invalid expiration"
    assert refusal(order_type=OrderType.GTD, expiration_s=1180) is None
    assert refusal(order_type=OrderType.GTC, expiration_s=1180) == "invalid expiration"


@pytest.mark.parametrize("kind", [OrderType.FOK, OrderType.FAK])
def test_post_only_goes_with_resting_orders_only(kind: OrderType) -> None:
    assert refusal(order_type=kind, post_only=True) == rules.POST_ONLY_TYPE


def test_same_order_twice_is_duplicated() -> None:
    stage = Stage([])
    request = OrderRequest(ID, Outcome.UP, Side.BUY, 4900, 10 * SHARE)
    assert isinstance(stage.core.place(request), Order)
    assert stage.core.place(request) == Refusal(400, NAME + "Duplicated.")


def test_market_without_a_book_is_not_ready() -> None:
    stage = Stage([], bids=[], asks=[])
    assert stage.ask(Outcome.UP, Side.BUY, 4900, 10) == Refusal(400, rules.NOT_READY, Reason.VENUE_NOT_READY)


def test_marketable_buy_is_worth_at_least_a_dollar() -> None:
    stage = Stage([], bids=[("0.09", "10")], asks=[("0.1", "100")])
    answer = stage.ask(Outcome.UP, Side.BUY, 1000, 9.99)
    assert answer == Refusal(400, "invalid amount for a marketable BUY order ($0.999), min size: $1")
    assert isinstance(stage.ask(Outcome.UP, Side.BUY, 1000, 10), Order)
    assert isinstance(stage.ask(Outcome.UP, Side.BUY, 900, 9.99), Order)  # rests: no such minimum


def test_balance_refusal_names_both_figures_as_integers() -> None:
    stage = Stage([])
    answer = stage.ask(Outcome.UP, Side.SELL, 6000, 10)
    assert answer == Refusal(
        400,
        "not enough balance / allowance: the balance is not enough -> balance: 0, order amount: 10000000",
        Reason.VENUE_BALANCE,
    )


def test_taker_must_afford_its_fee_too() -> None:
    # 18 000 × 0.53 = 9540 dollars, fee 18 000 × 0.07 × 0.53 × 0.47 = 313.866.
    stage = Stage([])
    assert isinstance(stage.ask(Outcome.UP, Side.BUY, 5300, 18_000), Order)
    stage = Stage([])
    answer = stage.ask(Outcome.UP, Side.BUY, 5300, 18_300)
    assert isinstance(answer, Refusal)
    # 9699 + 18 300 × 0.017437 = 319.0971
    assert answer.text.endswith("balance: 10000000000, order amount: 10018097100")


@pytest.mark.parametrize(
    ("shares", "price_e4", "micro"),
    [
        (100, 5000, 1_750_000),  # the published fee table
        (100, 4000, 1_680_000),
        (100, 500, 332_500),
        (5, 100, 3_470),  # 5 × 0.000693 = 0.003465, half up at 5 decimals
        (0.01, 100, 0),  # 0.00000693: smaller than 0.00001
        (0.02, 100, 10),  # 0.00001386
    ],
)
def test_taker_fee_has_five_decimals(shares: float, price_e4: int, micro: int) -> None:
    assert taker_fee_micro(round(shares * SHARE), price_e4, 0.07) == micro


def test_numbers_are_written_without_trailing_zeros() -> None:
    assert [decimal(v, 4) for v in (5000, 100, 10_000, 0, 4905)] == ["0.5", "0.01", "1", "0", "0.4905"]


@pytest.mark.parametrize("text", ["0.12345", "-1", "1e3", "", ".", "nan", "1.2.3"])
def test_decimals_that_are_not_plain_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="decimal"):
        decimal_to_int(text, 4)


def test_queue_models_are_named_and_bounded() -> None:
    assert named("power:3") == Power(3.0)
    with pytest.raises(ValueError, match="queue model"):
        named("optimistic")
    with pytest.raises(ValueError, match="exponent"):
        named("power:11")


def test_profile_refuses_negative_times_and_impossible_shares() -> None:
    with pytest.raises(ConfigError, match="ack_latency_ns"):
        VenueProfile(ack_latency_ns=-1)
    with pytest.raises(ConfigError, match="retry_rate"):
        VenueProfile(retry_rate=1.5)


def test_gtd_is_measured_on_the_venues_clock() -> None:
    stage = Stage([])
    now_s = at(0) // 1_000_000_000
    stage.to(60_000)
    answer = stage.ask(Outcome.UP, Side.BUY, 4900, 10, OrderType.GTD, expiration_s=now_s + 239)
    assert answer == Refusal(400, rules.INVALID_EXPIRATION)
    assert isinstance(
        stage.ask(Outcome.UP, Side.BUY, 4900, 10, OrderType.GTD, expiration_s=now_s + 240), Order
    )
